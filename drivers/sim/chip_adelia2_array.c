/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * chip_adelia2_array: the crossbar's analog product and its converters, in floating point. With every
 * imperfection at zero the result is exactly the integer formula of docs/chip-adelia2.md: sums of integers
 * below 2^24 are exact in float, and the one division of a conversion is correctly rounded. */
#include "drivers/sim/chip_adelia2.h"

#include <math.h>
#include <string.h>

#include "daemon/base/rng.h"

/* Supply dependence of the array's current. The cells sit behind a regulated bias, so that a tenth of the
 * alpha-power law is left of it; the exponent is the field's usual one, the tenth is ours. */
#define ARRAY_VT_V        0.35
#define ARRAY_ALPHA       1.3
#define ARRAY_SUPPLY      0.1
#define ARRAY_TEMPERATURE 0.001 /* per degree */

/* Four columns in one register on every machine of interest; the order of additions in a column is that of
 * the rows whatever the width, so that results agree between compilers. */
typedef float v4 __attribute__((vector_size(16), aligned(4)));

void adelia2_array_load(struct adelia2 *chip, int index)
{
    struct adelia2_apu *apu = &chip->apu[index];
    const float *factor = chip->die.mismatch[index];

    for (int row = 0; row < A2_ROWS; row++) {
        float *weight = &apu->weight[row * A2_WEIGHT_STRIDE];

        for (int column = 0; column < A2_COLS; column++) {
            unsigned nibble = apu->xbar[row * (A2_COLS / 2) + column / 2] >> (column % 2 * 4) & 0xF;
            int cell = (nibble & 8) != 0 ? 0 : (int)(nibble & 7) - (int)((nibble & 4) << 1);

            weight[column] = (float)cell * factor[row * A2_COLS + column];
        }
        for (int column = A2_COLS; column < A2_WEIGHT_STRIDE; column++)
            weight[column] = 0.0f;
    }
}

unsigned adelia2_array_bits(const struct adelia2_apu *apu)
{
    unsigned bits = apu->adc_config & 0xF;

    return bits < 8 ? 8 : bits > 10 ? 10 : bits;
}

unsigned adelia2_array_gain(const struct adelia2 *chip, const struct adelia2_apu *apu)
{
    static const unsigned gain[] = { 1, 2, 4, 4 };

    return (chip->pwren & 1u << 9) != 0 ? gain[apu->adc_config >> 4 & 3] : 1;
}

/* Sixteen columns of the product. */
static void product16(const float *weight, const uint8_t *input, unsigned rows, float *sum)
{
    v4 s0 = { 0 }, s1 = { 0 }, s2 = { 0 }, s3 = { 0 };

    for (unsigned i = 0; i < rows; i++, weight += A2_WEIGHT_STRIDE) {
        const v4 *w = (const v4 *)(const void *)weight;
        float x = input[i];
        v4 x4 = { x, x, x, x };

        if (input[i] == 0) /* an undriven row gives no current; half of the rows after a ReLU */
            continue;
        s0 += w[0] * x4;
        s1 += w[1] * x4;
        s2 += w[2] * x4;
        s3 += w[3] * x4;
    }
    memcpy(sum, &s0, sizeof s0);
    memcpy(sum + 4, &s1, sizeof s1);
    memcpy(sum + 8, &s2, sizeof s2);
    memcpy(sum + 12, &s3, sizeof s3);
}

/* Signal at nominal conditions times this is the signal at the converters, in units of their full scale. */
static double array_gain(const struct adelia2 *chip)
{
    const struct adelia2_population *p = &chip->population;
    double over = chip->rail_v[A2_VDDA] - ARRAY_VT_V;
    double vref = chip->rail_v[A2_VREF];
    double gain = 1.0;

    if (p->sensitivity) {
        double drive = over > 0 ? pow(over / (A2_VDD_NOM_V - ARRAY_VT_V), ARRAY_ALPHA) : 0;

        gain *= 1.0 + ARRAY_TEMPERATURE * (chip->temp_c - A2_T_NOM_C);
        gain *= 1.0 + ARRAY_SUPPLY * (drive - 1.0);
    }
    /* The converters' full scale is the reference at the pin; the array's own follows it as far as it tracks.
     */
    if (p->vref_tracking < 1.0 && vref > 0)
        gain *= p->vref_tracking + (1.0 - p->vref_tracking) * A2_VREF_NOM_V / vref;
    return gain;
}

/* What all conversions of one product share. */
struct conversion {
    unsigned bits, gain;
    double lsb10; /* codes per LSB of 10 bit */
    double half;  /* codes of half the range */
    double noise; /* rms in codes */
    double temp_c;
    double bit_flip;
};

static struct conversion conversion_setup(const struct adelia2 *chip, const struct adelia2_apu *apu)
{
    const struct adelia2_population *p = &chip->population;
    struct conversion cv = { .bits = adelia2_array_bits(apu), .gain = adelia2_array_gain(chip, apu) };
    double pga;

    cv.lsb10 = ldexp(1.0, (int)cv.bits - 10);
    cv.half = ldexp(1.0, (int)cv.bits - 1);
    pga = cv.gain > 1 ? p->pga_noise * 2.0 * cv.half : 0.0; /* at 1x the stage is bypassed */
    cv.noise = hypot(p->adc_noise_lsb * cv.lsb10, pga);
    cv.noise *= sqrt((chip->temp_c + 273.15) / (A2_T_NOM_C + 273.15));
    cv.temp_c = chip->temp_c;
    cv.bit_flip = p->bit_flip;
    return cv;
}

/* signal: at the converter in codes, ideal and not rounded; noise and flips are draws. */
static int convert(const struct conversion *cv, const struct adelia2_adc *adc, uint32_t trim, double signal,
                   double noise, unsigned flip, bool *clipped)
{
    double offset_trim = 0.125 * (int8_t)(trim >> 24);
    double gain_trim = 1.0 + 0.002 * ((int)(trim >> 16 & 0xFF) - 128);
    double z = signal / cv->half, code, limit = cv->half;
    double lsb10;

    if (z > 1.0 || z < -1.0) /* the bow of the curve belongs to the range */
        z = z > 0 ? 1.0 : -1.0;
    lsb10 = adc->offset_lsb + adc->drift_lsb_per_c * (cv->temp_c - A2_T_NOM_C) +
            adc->bow2_lsb * (1.0 - z * z) + adc->bow3_lsb * 2.598 * (z - z * z * z); /* 2.598: peak 1 */
    signal = (signal + noise) * (double)adc->gain * gain_trim + (lsb10 + offset_trim) * cv->lsb10;
    code = floor(signal + 0.5);
    *clipped = code < -limit || code > limit - 1;
    if (*clipped)
        code = code < 0 ? -limit : limit - 1;
    return (int)((unsigned)(int)code ^ flip);
}

static unsigned draw_flip(struct rng *rng, double probability)
{
    unsigned flip = 0;

    for (unsigned bit = 0; bit < 3; bit++)
        if (rng_uniform(rng) < probability)
            flip |= 1u << bit;
    return flip;
}

static void note(struct adelia2_apu *apu, unsigned converter, int code, bool clipped)
{
    struct adelia2_data *data = &apu->data;
    uint32_t *last = &data->adct[2 * converter + 1];

    *last = (uint32_t)code << 16 | ((*last + 1) & 0xFFFF);
    data->trace[data->trace_next] = (int16_t)code;
    data->trace_next = (data->trace_next + 1) % A2_TRACE_CODES;
    data->clip_count += clipped;
}

static int bist_code(uint32_t bist, unsigned bits, unsigned column, uint32_t k)
{
    uint32_t range = 1u << bits;

    return (int)(((bist >> 16) + 37u * column + 11u * k) % range) - (int)(range / 2);
}

void adelia2_array_mvm(struct adelia2 *chip, int index, const struct a2_product *product, int16_t *codes)
{
    struct adelia2_apu *apu = &chip->apu[index];
    const struct adelia2_die *die = &chip->die;
    struct conversion cv = conversion_setup(chip, apu);
    bool bist = (chip->bist & 1) != 0, reference_on = (chip->pwren & 1u << 8) != 0;
    const float *weight = &apu->weight[product->row * A2_WEIGHT_STRIDE + product->column];
    double gain = array_gain(chip), scale = ldexp(cv.gain, (int)cv.bits);
    float sum[A2_COLS + A2_COLUMN_STEP];
    struct rng noise_rng, flip_rng;

    if (!bist && reference_on) {
        uint64_t unit = (uint64_t)die->number << 8 | (uint64_t)index;

        for (unsigned c = 0; c < product->columns; c += A2_COLUMN_STEP)
            product16(weight + c, product->input, product->rows, sum + c);
        rng_init(&noise_rng, die->seed, "adc_noise", unit, chip->run_number, product->mvm_index);
        rng_init(&flip_rng, die->seed, "adc_flip", unit, chip->run_number, product->mvm_index);
    }
    for (unsigned c = 0; c < product->columns; c++) {
        unsigned column = product->column + c, n = column % A2_ADCS;
        uint32_t trim = apu->data.adct[2 * n];
        bool clipped = false;
        int code = 0;

        if (bist) {
            code = bist_code(chip->bist, cv.bits, column, product->mvm_index);
        } else if (reference_on) {
            /* Draws stay aligned with columns, whichever converters are disabled. */
            double noise = cv.noise > 0 ? cv.noise * rng_normal(&noise_rng) : 0.0;
            unsigned flip = cv.bit_flip > 0 ? draw_flip(&flip_rng, cv.bit_flip) : 0;
            double s = sum[c] * gain;

            if (chip->population.ir_drop > 0)
                s *= 1.0 - chip->population.ir_drop * fmin(fabs(s) / A2_FSI, 1.0);
            if ((trim & 1) == 0)
                code = convert(&cv, &die->adc[index][n], trim, s * scale / (2.0 * A2_FSI), noise, flip,
                               &clipped);
        }
        codes[c] = (int16_t)code;
        note(apu, n, code, clipped);
    }
}

void adelia2_array_extin(struct adelia2 *chip, int index, unsigned converter, unsigned count, double volt)
{
    struct adelia2_apu *apu = &chip->apu[index];
    const struct adelia2_die *die = &chip->die;
    struct conversion cv = conversion_setup(chip, apu);
    uint32_t trim = apu->data.adct[2 * converter];
    bool alive = (chip->pwren & 1u << 8) != 0 && (chip->pwren & 1u << index) != 0 && (trim & 1) == 0;
    double vref = chip->rail_v[A2_VREF], signal = 0;
    uint64_t unit = (uint64_t)die->number << 8 | (uint64_t)index;
    struct rng noise_rng, flip_rng;

    rng_init(&noise_rng, die->seed, "extin_noise", unit, chip->run_number, converter);
    rng_init(&flip_rng, die->seed, "extin_flip", unit, chip->run_number, converter);
    apu->data.ext_sum = 0;
    apu->data.ext_square = 0;
    if (vref > 0.05)
        signal = cv.gain * (volt - vref / 2) / vref * 2.0 * cv.half;
    for (unsigned i = 0; i < count; i++) {
        double noise = cv.noise > 0 ? cv.noise * rng_normal(&noise_rng) : 0.0;
        unsigned flip = cv.bit_flip > 0 ? draw_flip(&flip_rng, cv.bit_flip) : 0;
        bool clipped = false;
        int code = alive ? convert(&cv, &die->adc[index][converter], trim, signal, noise, flip, &clipped) : 0;

        apu->data.ext_sum += code;
        apu->data.ext_square += (uint32_t)(code * code);
        note(apu, converter, code, clipped);
    }
}
