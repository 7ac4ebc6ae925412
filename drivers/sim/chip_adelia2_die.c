/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * chip_adelia2_die: who a simulated die is. Every quantity is drawn from (seed, its name, die, place), so
 * that a die is the same whatever is switched on or measured before. */
#include "drivers/sim/chip_adelia2.h"

#include <math.h>
#include <string.h>

#include "daemon/base/rng.h"

const char *const adelia2_rail_name[A2_RAILS] = {
    [A2_VDDIO] = "VDDIO",   [A2_VDDD] = "VDDD", [A2_VDDM] = "VDDM", [A2_VDDA] = "VDDA",
    [A2_VDDADC] = "VDDADC", [A2_VREF] = "VREF", [A2_VBN] = "VBN",   [A2_VBP] = "VBP",
};

/* Spread from die to die at die_spread 1, all ours: plausible for a 22 nm process, from nobody's data. */
#define LEAK_SPREAD      0.25 /* lognormal sigma, common to the die */
#define LEAK_SPREAD_RAIL 0.05 /* and of each rail */
#define VT_SPREAD_V      0.006
#define SPEED_SPREAD     0.02
#define BANDGAP_SPREAD   0.006
#define PTAT_SPREAD_C    0.8
#define SENSOR_SPREAD_C  0.5
#define DRIFT_SIGMA_LSB  0.01 /* converter offset, LSB of 10 bit per degree */

/* The alpha-power law of chip_adelia2_power.c puts a nominal die's Vmin at 100 MHz to 0.625 V with these. */
#define VT_NOM_V     0.35
#define SPEED_NOM_HZ 334.8e6

int adelia2_die_population(const cJSON *options, struct adelia2_population *ret, struct error *err)
{
    static const char *const known[] = {
        "mismatch_sigma", "adc_offset_lsb", "adc_gain_sigma", "adc_noise_lsb",
        "pga_noise",      "inl_lsb",        "bit_flip",       "ir_drop",
        "die_spread",     "vref_tracking",  "drift",          "sensitivity",
        "timing",         "self_heating",   "ideal",          NULL
    };
    struct json_problems problems = { 0 };
    struct json_at root = json_root(options, &problems);
    struct json_at at = json_member(&root, "population", false);
    struct adelia2_population p = { 0 };
    bool ideal;

    if (at.node != NULL)
        json_only(&at, known);
    ideal = json_boolean(&at, "ideal", false, false);
    p.mismatch_sigma = json_double(&at, "mismatch_sigma", false, 0, 1, 0);
    p.adc_offset_lsb = json_double(&at, "adc_offset_lsb", false, 0, 64, 0);
    p.adc_gain_sigma = json_double(&at, "adc_gain_sigma", false, 0, 0.5, 0);
    p.adc_noise_lsb = json_double(&at, "adc_noise_lsb", false, 0, 64, 0);
    p.pga_noise = json_double(&at, "pga_noise", false, 0, 0.1, 0);
    p.inl_lsb = json_double(&at, "inl_lsb", false, 0, 16, 0);
    p.bit_flip = json_double(&at, "bit_flip", false, 0, 1, 0);
    p.ir_drop = json_double(&at, "ir_drop", false, 0, 0.5, 0);
    p.die_spread = json_double(&at, "die_spread", false, 0, 4, ideal ? 0 : 1);
    p.vref_tracking = json_double(&at, "vref_tracking", false, 0, 1, ideal ? 1 : 0);
    p.drift = json_boolean(&at, "drift", false, false);
    p.sensitivity = json_boolean(&at, "sensitivity", false, !ideal);
    p.timing = json_boolean(&at, "timing", false, !ideal);
    p.self_heating = json_boolean(&at, "self_heating", false, false);
    if (problems.count > 0)
        return error_set(err, ERR_INVALID, "chip simulate%.100s: %.200s", problems.item[0].pointer,
                         problems.item[0].reason);
    *ret = p;
    return 0;
}

static double draw(const struct adelia2_die *die, const char *what, uint64_t place, uint64_t index)
{
    struct rng rng;

    rng_init(&rng, die->seed, what, (uint64_t)die->number, place, index);
    return rng_normal(&rng);
}

static void draw_identity(struct adelia2_die *die)
{
    enum { ROW = 16 }; /* dies in a row of the wafer map */
    struct rng rng;
    uint32_t lot, wafer;

    rng_init(&rng, die->seed, "lot", 0, 0, 0);
    lot = rng_below(&rng, 0x10000);
    wafer = 1 + rng_below(&rng, 25);
    die->id_hi = lot << 16 | wafer << 8;
    die->id_lo = (uint32_t)(die->number % ROW) << 24 | (uint32_t)(die->number / ROW & 0xFF) << 16 |
                 (uint32_t)(die->number & 0xFFFF);
}

static void draw_converters(struct adelia2_die *die, const struct adelia2_population *p)
{
    for (uint64_t apu = 0; apu < A2_APUS; apu++)
        for (uint64_t n = 0; n < A2_ADCS; n++)
            die->adc[apu][n] = (struct adelia2_adc){
                .offset_lsb = (float)(p->adc_offset_lsb * draw(die, "adc_offset", apu, n)),
                .gain = (float)(1.0 + p->adc_gain_sigma * draw(die, "adc_gain", apu, n)),
                .bow2_lsb = (float)(p->inl_lsb * draw(die, "adc_bow2", apu, n)),
                .bow3_lsb = (float)(p->inl_lsb * draw(die, "adc_bow3", apu, n)),
                .drift_lsb_per_c =
                    p->drift ? (float)(DRIFT_SIGMA_LSB * draw(die, "adc_drift", apu, n)) : 0.0f,
            };
}

static void draw_mismatch(struct adelia2_die *die, double sigma)
{
    uint64_t entity = rng_entity("mismatch");

    for (uint64_t apu = 0; apu < A2_APUS; apu++)
        for (uint64_t row = 0; row < A2_ROWS; row++) {
            float *factor = &die->mismatch[apu][row * A2_COLS];
            struct rng rng;

            rng_init_hashed(&rng, die->seed, entity, (uint64_t)die->number, apu, row);
            for (int column = 0; column < A2_COLS; column++)
                factor[column] = (float)(1.0 + sigma * rng_normal(&rng));
        }
}

void adelia2_die_init(struct adelia2 *chip, const struct adelia2_population *population, uint64_t seed,
                      int number)
{
    struct adelia2_die *die = &chip->die;
    double spread = population->die_spread;
    double leak;

    memset(chip, 0, sizeof *chip);
    chip->population = *population;
    chip->temp_c = A2_T_NOM_C;
    die->seed = seed;
    die->number = number;
    draw_identity(die);
    leak = draw(die, "leak", 0, 0);
    for (int rail = 0; rail < A2_RAILS; rail++)
        die->leak_factor[rail] =
            exp(spread * (LEAK_SPREAD * leak + LEAK_SPREAD_RAIL * draw(die, "leak_rail", 0, (uint64_t)rail)));
    die->vt_v = VT_NOM_V + spread * VT_SPREAD_V * draw(die, "vt", 0, 0);
    die->speed_hz = SPEED_NOM_HZ * exp(spread * SPEED_SPREAD * draw(die, "speed", 0, 0));
    die->bandgap_v = 0.5 * (1.0 + spread * BANDGAP_SPREAD * draw(die, "bandgap", 0, 0));
    die->ptat_error_c = spread * PTAT_SPREAD_C * draw(die, "ptat", 0, 0);
    die->sensor_error_c = spread * SENSOR_SPREAD_C * draw(die, "sensor", 0, 0);
    draw_converters(die, population);
    draw_mismatch(die, population->mismatch_sigma);
    adelia2_regs_reset(chip);
    adelia2_die_scramble(chip);
}

static void scramble(const struct adelia2_die *die, uint64_t apu, uint64_t part, void *memory, size_t bytes)
{
    uint8_t *byte = memory;
    struct rng rng;

    rng_init(&rng, die->seed, "powerup", (uint64_t)die->number, apu, part);
    for (size_t i = 0; i < bytes; i++)
        byte[i] = (uint8_t)(rng_u32(&rng) >> 24);
}

void adelia2_die_scramble(struct adelia2 *chip)
{
    for (int i = 0; i < A2_APUS; i++) {
        struct adelia2_apu *apu = &chip->apu[i];
        uint64_t place = (uint64_t)i;

        scramble(&chip->die, place, 0, apu->imem, sizeof apu->imem);
        scramble(&chip->die, place, 1, apu->wmem, sizeof apu->wmem);
        scramble(&chip->die, place, 2, apu->xbar, sizeof apu->xbar);
        scramble(&chip->die, place, 3, apu->data.dmem, sizeof apu->data.dmem);
        scramble(&chip->die, place, 4, apu->bnp, sizeof apu->bnp);
        for (int j = 0; j < A2_BNP_WORDS; j++) /* the register is 30 bits wide */
            apu->data.psum[j] =
                (int32_t)(draw(&chip->die, "powerup_psum", place, (uint64_t)j) * (1 << 27)) >> 2;
        memset(apu->data.trace, 0, sizeof apu->data.trace);
        apu->before = apu->data;
        adelia2_array_load(chip, i);
    }
}
