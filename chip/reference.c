/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * reference: runs a mapped network as an ideal chip would. Follows stages, windows and blocks in the order of
 * the mapping; knows nothing of instructions, memories or wires.
 */
#include "chip/reference.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    STRIP = 16,    /* columns computed together: two SSE2 registers of 16-bit sums */
    SUM_ROWS = 32, /* rows that a 16-bit sum holds: 32 x 255 x 4 = 32,640 */
    COLUMNS_MAX = 4096
};

struct reference {
    const struct network *network;
    const struct mapping *mapping;
    const struct chip_profile *profile;
    struct adc_config adc;
    bool configured;
    int bist_seed; /* -1: off */
    int32_t sum_max;
    int mvms[PROFILE_CORES_MAX];       /* of this run so far: BIST codes depend on it */
    int16_t *cell[MAPPING_BLOCKS_MAX]; /* digits: [strip][row][STRIP] */
    struct compile_norm *norm[MAPPING_STAGES_MAX];
    int16_t vector[NETWORK_KERNEL_ELEMENTS_MAX];
    int32_t psum[NETWORK_CHANNELS_MAX];
    double variance[NETWORK_CHANNELS_MAX];
    const struct reference_spread *spread; /* variance is wanted too; NULL: not */
    int32_t sums[COLUMNS_MAX + STRIP];
    int16_t codes[COLUMNS_MAX];
    uint8_t *activation[2];
    int16_t *output; /* of a layer of i16 */
};

/* ---- The arithmetic of the page, each in one place ---- */

static int64_t floor_divide(int64_t a, int64_t b)
{
    int64_t q = a / b;

    return q - (a % b < 0);
}

int reference_code(int32_t sum, const struct adc_config *adc, int full_scale_codes)
{
    int64_t scaled = (int64_t)sum * adc->gain * (1 << adc->bits);
    int64_t code = floor_divide(scaled + full_scale_codes, 2 * (int64_t)full_scale_codes);
    int64_t half = 1 << (adc->bits - 1);

    return (int)(code < -half ? -half : code > half - 1 ? half - 1 : code);
}

int reference_bist_code(int seed, int column, int k, int bits)
{
    int64_t value = (int64_t)seed + 37 * (int64_t)column + 11 * (int64_t)k;

    return (int)(value & ((1 << bits) - 1)) - (1 << (bits - 1));
}

int32_t reference_norm(struct compile_norm norm, int32_t psum, enum network_output output)
{
    int64_t t = (int64_t)psum * norm.scale;
    int64_t half = norm.shift ? (int64_t)1 << (norm.shift - 1) : 0;
    int64_t y = floor_divide(t + half, (int64_t)1 << norm.shift) + norm.bias;
    int64_t min = output == NETWORK_I16 ? -32768 : 0, max = output == NETWORK_I16 ? 32767 : 255;

    return (int32_t)(y < min ? min : y > max ? max : y);
}

/* ---- Set-up ---- */

static int block_strips(const struct mapping_block *b, int slices)
{
    return (b->channels * slices + STRIP - 1) / STRIP;
}

static int make_cells(struct reference *ref, int index, struct error *err)
{
    const struct mapping_block *b = &ref->mapping->block[index];
    const struct mapping_stage *stage = &ref->mapping->stage[b->stage];
    const struct network_layer *layer = &ref->network->layer[stage->layer];
    size_t count = (size_t)block_strips(b, stage->slices) * (size_t)b->rows * STRIP;
    int16_t *cell = calloc(count, sizeof *cell);

    if (!cell)
        return error_set(err, ERR_MEMORY, "no memory for the reference's cells");
    ref->cell[index] = cell;
    for (int c = 0; c < b->channels; c++) {
        const int16_t *weight = layer->weight + (b->channel0 + c) * layer->rows + b->vector0;
        for (int r = 0; r < b->rows; r++) {
            int digit[MAPPING_SLICES_MAX];
            int rc = mapping_digits(weight[r], stage->slices, digit, err);
            if (rc)
                return rc;
            for (int k = 0; k < stage->slices; k++) {
                int column = c * stage->slices + k;
                cell[((size_t)(column / STRIP) * (size_t)b->rows + (size_t)r) * STRIP +
                     (size_t)(column % STRIP)] = (int16_t)digit[k];
            }
        }
    }
    return 0;
}

static int make_all(struct reference *ref, struct error *err)
{
    size_t largest = network_input_size(ref->network);

    for (int i = 0; i < ref->network->layer_count; i++) {
        size_t size = (size_t)network_shape_size(ref->network->layer[i].out);
        largest = size > largest ? size : largest;
    }
    ref->activation[0] = malloc(largest);
    ref->activation[1] = malloc(largest);
    ref->output = calloc(largest, sizeof *ref->output);
    if (!ref->activation[0] || !ref->activation[1] || !ref->output)
        return error_set(err, ERR_MEMORY, "no memory for the reference's activations");
    for (int i = 0; i < ref->mapping->stage_count; i++) {
        ref->norm[i] = calloc((size_t)ref->mapping->stage[i].channels, sizeof *ref->norm[i]);
        if (!ref->norm[i])
            return error_set(err, ERR_MEMORY, "no memory for the reference's norms");
    }
    for (int i = 0; i < ref->mapping->block_count; i++) {
        int rc = make_cells(ref, i, err);
        if (rc)
            return rc;
    }
    return 0;
}

int reference_open(const struct network *network, const struct mapping *mapping,
                   const struct chip_profile *profile, struct reference **ret_reference, struct error *err)
{
    if (mapping->columns > COLUMNS_MAX || profile->adc.input_max > 255)
        return error_set(err, ERR_UNSUPPORTED, "the reference knows arrays of up to %d columns", COLUMNS_MAX);
    struct reference *ref = calloc(1, sizeof *ref);
    if (!ref)
        return error_set(err, ERR_MEMORY, "no memory for the reference");
    ref->network = network;
    ref->mapping = mapping;
    ref->profile = profile;
    ref->bist_seed = -1;
    ref->sum_max = (int32_t)((1U << (profile->cores.accumulator_bits - 1)) - 1);
    int rc = make_all(ref, err);
    if (rc) {
        reference_close(ref);
        return rc;
    }
    *ret_reference = ref;
    return 0;
}

void reference_close(struct reference *reference)
{
    if (!reference)
        return;
    for (int i = 0; i < MAPPING_BLOCKS_MAX; i++)
        free(reference->cell[i]);
    for (int i = 0; i < MAPPING_STAGES_MAX; i++)
        free(reference->norm[i]);
    free(reference->activation[0]);
    free(reference->activation[1]);
    free(reference->output);
    free(reference);
}

int reference_configure(struct reference *reference, const struct adc_config *adc, struct error *err)
{
    reference->configured = false;
    if (!profile_has_bits(reference->profile, adc->bits) ||
        profile_gain_code(reference->profile, adc->gain) < 0)
        return error_set(err, ERR_RANGE, "no converter setting of %d bits at gain %d", adc->bits, adc->gain);
    for (int i = 0; i < reference->mapping->stage_count; i++) {
        const struct mapping_stage *stage = &reference->mapping->stage[i];
        const struct network_layer *layer = &reference->network->layer[stage->layer];
        for (int c = 0; c < stage->channels; c++) {
            int rc = compile_norm_entry(reference->profile, adc, layer->multiplier[stage->channel0 + c],
                                        layer->bias[stage->channel0 + c], &reference->norm[i][c], err);
            if (rc)
                return rc;
        }
    }
    reference->adc = *adc;
    reference->configured = true;
    return 0;
}

void reference_bist(struct reference *reference, int seed)
{
    reference->bist_seed = seed;
}

/* ---- One window ---- */

static void gather(struct reference *ref, const struct network_layer *layer, const uint8_t *input, int window)
{
    int y0 = window / layer->out.width * layer->stride_h - layer->pad_h;
    int x0 = window % layer->out.width * layer->stride_w - layer->pad_w;
    int channels = layer->in.channels;
    int16_t *out = ref->vector;

    for (int ky = 0; ky < layer->kernel_h; ky++) {
        for (int kx = 0; kx < layer->kernel_w; kx++, out += channels) {
            int y = y0 + ky, x = x0 + kx;
            bool inside = y >= 0 && y < layer->in.height && x >= 0 && x < layer->in.width;
            const uint8_t *from = input + (inside ? (y * layer->in.width + x) * channels : 0);
            for (int c = 0; c < channels; c++)
                out[c] = inside ? from[c] : 0;
        }
    }
}

/* Sums of STRIP columns. 16-bit partial sums over 32 rows cannot overflow, and let the compiler use its
 * widest lanes. */
static void strip_sums(const int16_t *cell, const int16_t *x, int rows, int32_t *ret_sums)
{
    int32_t total[STRIP] = { 0 };

    for (int r0 = 0; r0 < rows; r0 += SUM_ROWS) {
        int16_t part[STRIP] = { 0 };
        int end = r0 + SUM_ROWS < rows ? r0 + SUM_ROWS : rows;
        for (int r = r0; r < end; r++) {
            const int16_t *w = cell + (size_t)r * STRIP;
            int16_t xr = x[r];
            for (int c = 0; c < STRIP; c++)
                part[c] = (int16_t)(part[c] + xr * w[c]);
        }
        for (int c = 0; c < STRIP; c++)
            total[c] += part[c];
    }
    memcpy(ret_sums, total, sizeof total);
}

static void block_codes(struct reference *ref, const struct mapping_block *b, int columns, int mvm)
{
    int full_scale = ref->profile->adc.full_scale * ref->profile->adc.input_max;
    const int16_t *cell = ref->cell[b - ref->mapping->block];

    if (ref->bist_seed >= 0) {
        for (int c = 0; c < columns; c++)
            ref->codes[c] = (int16_t)reference_bist_code(ref->bist_seed, b->column0 + c, mvm, ref->adc.bits);
        return;
    }
    for (int c = 0; c < columns; c += STRIP, cell += (size_t)b->rows * STRIP)
        strip_sums(cell, ref->vector + b->vector0, b->rows, ref->sums + c);
    for (int c = 0; c < columns; c++)
        ref->codes[c] = (int16_t)reference_code(ref->sums[c], &ref->adc, full_scale);
}

static int32_t saturate(const struct reference *ref, int64_t sum)
{
    return (int32_t)(sum > ref->sum_max ? ref->sum_max : sum < -ref->sum_max - 1 ? -ref->sum_max - 1 : sum);
}

/* Errors of conversions are taken as independent: their variances add, each with the weight of its slice. */
static void add_variance(struct reference *ref, const struct mapping_stage *stage,
                         const struct mapping_block *b)
{
    const int16_t *code = ref->codes;

    for (int c = 0; c < b->channels; c++) {
        for (int k = 0; k < stage->slices; k++, code++) {
            double gain = ref->spread->gain_share * *code, weight = (double)(1 << 3 * k);
            ref->variance[b->channel0 - stage->channel0 + c] +=
                (ref->spread->sigma_lsb * ref->spread->sigma_lsb + gain * gain) * weight * weight;
        }
    }
}

/* All blocks of a stage in one window: ref->psum. The vector must hold the window. */
static int window_sums(struct reference *ref, int index, int window, const struct reference_watch *watch,
                       struct error *err)
{
    const struct mapping_stage *stage = &ref->mapping->stage[index];

    memset(ref->psum, 0, (size_t)stage->channels * sizeof *ref->psum);
    memset(ref->variance, 0, (size_t)stage->channels * sizeof *ref->variance);
    for (int i = 0; i < stage->block_count; i++) {
        int block = stage->first_block + i;
        const struct mapping_block *b = &ref->mapping->block[block];
        int columns = b->channels * stage->slices;
        int mvm = ref->mvms[b->core]++;
        block_codes(ref, b, columns, mvm);
        int32_t *psum = ref->psum + (b->channel0 - stage->channel0);
        const int16_t *code = ref->codes;
        for (int c = 0; c < b->channels; c++, code += stage->slices) {
            int64_t sum = psum[c];
            for (int k = 0; k < stage->slices; k++)
                sum += (int64_t)code[k] * (1 << 3 * k);
            psum[c] = saturate(ref, sum);
        }
        if (ref->spread)
            add_variance(ref, stage, b);
        if (watch && watch->codes) {
            struct reference_codes seen = { index, window, block, mvm, columns, ref->codes };
            int rc = watch->codes(watch->context, &seen, err);
            if (rc)
                return rc;
        }
    }
    return 0;
}

/* ---- Runs ---- */

static int run_stage(struct reference *ref, int index, const uint8_t *in, uint8_t *out,
                     const struct reference_watch *watch, struct error *err)
{
    const struct mapping_stage *stage = &ref->mapping->stage[index];
    const struct network_layer *layer = &ref->network->layer[stage->layer];
    int windows = network_windows(layer);

    for (int w = 0; w < windows; w++) {
        gather(ref, layer, in, w);
        int rc = window_sums(ref, index, w, watch, err);
        if (rc)
            return rc;
        if (watch && watch->window) {
            struct reference_window seen = { index, w, stage->channels, ref->psum };
            rc = watch->window(watch->context, &seen, err);
            if (rc)
                return rc;
        }
        for (int c = 0; c < stage->channels; c++) {
            int32_t y = reference_norm(ref->norm[index][c], ref->psum[c], layer->output);
            int at = w * layer->out.channels + stage->channel0 + c;
            if (layer->output == NETWORK_I16)
                ref->output[at] = (int16_t)y;
            else
                out[at] = (uint8_t)y;
        }
    }
    return 0;
}

static void last_outputs(const struct reference *ref, const uint8_t *u8, int32_t *ret_output)
{
    const struct network_layer *last = &ref->network->layer[ref->network->layer_count - 1];

    for (int i = 0; i < ref->network->class_count; i++)
        ret_output[i] = last->output == NETWORK_I16 ? ref->output[i] : u8[i];
}

static int report_layer(const struct reference *ref, int index, const uint8_t *out,
                        const struct reference_watch *watch, struct error *err)
{
    const struct network_layer *layer = &ref->network->layer[index];
    bool wide = layer->output == NETWORK_I16;
    struct reference_layer seen = { index, layer->out, wide ? 2 : 1, wide ? NULL : out,
                                    wide ? ref->output : NULL };

    return watch && watch->layer ? watch->layer(watch->context, &seen, err) : 0;
}

int reference_run(struct reference *ref, const uint8_t *input, int32_t *ret_output,
                  const struct reference_watch *watch, struct error *err)
{
    const uint8_t *in = input;
    const struct mapping *m = ref->mapping;

    if (!ref->configured)
        return error_set(err, ERR_CONFLICT, "the reference has no converter setting yet");
    memset(ref->mvms, 0, sizeof ref->mvms);
    for (int i = 0; i < m->stage_count; i++) {
        int layer = m->stage[i].layer;
        uint8_t *out = ref->activation[layer % 2];
        int rc = run_stage(ref, i, in, out, watch, err);
        if (rc)
            return rc;
        if (i + 1 == m->stage_count || m->stage[i + 1].layer != layer) {
            rc = report_layer(ref, layer, out, watch, err);
            if (rc)
                return rc;
            in = out;
        }
    }
    last_outputs(ref, in, ret_output);
    return 0;
}

int reference_run_exact(struct reference *ref, const uint8_t *input, int32_t *ret_output, struct error *err)
{
    const uint8_t *in = input;

    (void)err;
    for (int l = 0; l < ref->network->layer_count; l++) {
        const struct network_layer *layer = &ref->network->layer[l];
        uint8_t *out = ref->activation[l % 2];
        for (int w = 0; w < network_windows(layer); w++) {
            gather(ref, layer, in, w);
            for (int c = 0; c < layer->out.channels; c++) {
                const int16_t *weight = layer->weight + c * layer->rows;
                int64_t acc = 0;
                for (int r = 0; r < layer->rows; r++)
                    acc += weight[r] * ref->vector[r];
                double y = floor((double)acc * layer->multiplier[c] + 0.5) + layer->bias[c];
                int at = w * layer->out.channels + c;
                if (layer->output == NETWORK_I16)
                    ref->output[at] = (int16_t)fmin(fmax(y, -32768), 32767);
                else
                    out[at] = (uint8_t)fmin(fmax(y, 0), 255);
            }
        }
        in = out;
    }
    last_outputs(ref, in, ret_output);
    return 0;
}

int reference_psums(struct reference *ref, int stage, int window, const uint8_t *layer_input,
                    const struct reference_spread *spread, int32_t *ret_psum, double *ret_sigma,
                    struct error *err)
{
    if (!ref->configured || stage < 0 || stage >= ref->mapping->stage_count)
        return error_set(err, ERR_CONFLICT, "the reference has no converter setting yet, or no stage %d",
                         stage);
    int channels = ref->mapping->stage[stage].channels;
    memset(ref->mvms, 0, sizeof ref->mvms);
    gather(ref, &ref->network->layer[ref->mapping->stage[stage].layer], layer_input, window);
    ref->spread = ret_sigma ? spread : NULL;
    int rc = window_sums(ref, stage, window, NULL, err);
    ref->spread = NULL;
    if (rc)
        return rc;
    memcpy(ret_psum, ref->psum, (size_t)channels * sizeof *ref->psum);
    for (int c = 0; c < channels && ret_sigma; c++)
        ret_sigma[c] = sqrt(ref->variance[c]);
    return 0;
}
