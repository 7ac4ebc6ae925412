/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * golden: computes and hashes what must come out, then asks the chip.
 */
#include "chip/golden.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chip/runtime_look.h"

enum {
    STAGE_CHANNELS_MAX = 256,
    STAGE_SAMPLES = 3 /* whose stages are looked into, one window after another */
};

/* What a check works with. */
struct checker {
    struct chip *chip;
    const struct chip_program *program;
    struct reference *reference;
    const struct network *network;
    const struct mapping *mapping;
    const struct golden_limits *limits;
    struct golden_report report;
    double square_sum; /* of (chip - reference) / sigma */
    double worst;      /* largest mean square of a stage */
    uint8_t *layer_input;
};

struct golden_limits golden_limits_default(int count)
{
    return (struct golden_limits){ .spread = { .sigma_lsb = 1.2, .gain_share = 0.02 },
                                   .k = 4,
                                   .outlier_share = 0.005,
                                   .agree_min = (7 * count + 9) / 10 };
}

static void hash_number(struct sha256_ctx *ctx, int64_t value)
{
    uint8_t bytes[8];

    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)((uint64_t)value >> 8 * i);
    sha256_update(ctx, bytes, sizeof bytes);
}

static void hash_golden(const struct golden *g, const struct network *network, const struct mapping *mapping,
                        const uint8_t *const *input, char ret_hash[SHA256_HEX])
{
    struct sha256_ctx ctx;
    uint8_t digest[SHA256_BYTES];

    sha256_init(&ctx);
    sha256_update(&ctx, network->hash, strlen(network->hash));
    sha256_update(&ctx, mapping->hash, strlen(mapping->hash));
    hash_number(&ctx, g->adc.bits);
    hash_number(&ctx, g->adc.gain);
    for (int i = 0; i < g->count; i++) {
        sha256_update(&ctx, input[i], network_input_size(network));
        hash_number(&ctx, g->prediction[i]);
        for (int o = 0; o < network->class_count; o++)
            hash_number(&ctx, g->output[i][o]);
    }
    sha256_final(&ctx, digest);
    hash_hex(digest, sizeof digest, ret_hash);
}

int golden_compute(struct reference *reference, const struct network *network, const struct mapping *mapping,
                   const struct adc_config *adc, const uint8_t *const *input, int count,
                   struct golden *ret_golden, struct error *err)
{
    struct golden g = { .adc = *adc, .count = count };

    if (count < 1 || count > GOLDEN_SAMPLES_MAX || network->class_count > BACKEND_OUTPUTS_MAX)
        return error_set(err, ERR_RANGE, "a golden result of %d samples; 1 to %d are possible", count,
                         GOLDEN_SAMPLES_MAX);
    int rc = reference_configure(reference, adc, err);
    for (int i = 0; i < count && rc == 0; i++) {
        rc = reference_run(reference, input[i], g.output[i], NULL, err);
        g.prediction[i] = network_argmax(g.output[i], network->class_count);
    }
    if (rc)
        return rc;
    hash_golden(&g, network, mapping, input, g.hash);
    *ret_golden = g;
    return 0;
}

/* ---- The chip ---- */

static void blame(struct checker *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void blame(struct checker *c, const char *format, ...)
{
    va_list args;

    if (c->report.reason[0])
        return;
    va_start(args, format);
    vsnprintf(c->report.reason, sizeof c->report.reason, format, args);
    va_end(args);
}

/* Batch norm of the chip's own sums is digital: it must be exact. */
static int check_norms(struct checker *c, int stage, int window, const int32_t *psum, struct error *err)
{
    const struct mapping_stage *st = &c->mapping->stage[stage];
    const struct network_layer *layer = &c->network->layer[st->layer];
    int16_t result[STAGE_CHANNELS_MAX];
    int rc = runtime_look_results(c->chip, c->network, c->mapping, stage, window, 1, result, err);

    for (int i = 0; i < st->channels && rc == 0; i++) {
        struct compile_norm norm;
        int channel = st->channel0 + i;
        rc = compile_norm_entry(chip_profile_of(c->chip), &c->program->adc, layer->multiplier[channel],
                                layer->bias[channel], &norm, err);
        int32_t want = rc ? 0 : reference_norm(norm, psum[i], layer->output);
        c->report.norms++;
        if (rc == 0 && result[i] != want) {
            c->report.norm_errors++;
            blame(c, "%s, window %d, channel %d: the norm of sum %d gives %d on the chip and must give %d",
                  layer->name, window, channel, (int)psum[i], result[i], (int)want);
        }
    }
    return rc;
}

/* Sums of the chip against the ideal sums of the same input. */
static int check_sums(struct checker *c, int stage, int window, const int32_t *psum, struct error *err)
{
    const struct mapping_stage *st = &c->mapping->stage[stage];
    int32_t want[STAGE_CHANNELS_MAX];
    double sigma[STAGE_CHANNELS_MAX], squares = 0;

    int rc = runtime_look_input(c->chip, c->network, c->mapping, stage, c->layer_input, err);
    if (rc == 0)
        rc = reference_psums(c->reference, stage, window, c->layer_input, &c->limits->spread, want, sigma,
                             err);
    if (rc)
        return rc;
    for (int i = 0; i < st->channels; i++) {
        double z = fabs((double)psum[i] - want[i]) / sigma[i];
        squares += z * z;
        c->report.sums++;
        c->report.outliers += z > c->limits->k;
    }
    c->square_sum += squares;
    if (squares / st->channels > c->worst) {
        c->worst = squares / st->channels;
        c->report.worst_stage = stage;
    }
    return 0;
}

static int check_window(struct checker *c, int stage, int window, struct error *err)
{
    int32_t psum[STAGE_CHANNELS_MAX];

    if (c->mapping->stage[stage].channels > STAGE_CHANNELS_MAX)
        return error_set(err, ERR_UNSUPPORTED, "a stage of %d channels", c->mapping->stage[stage].channels);
    int rc = runtime_look_stop(c->chip, c->program, stage, window, err);
    if (rc == 0)
        rc = runtime_look_psums(c->chip, c->mapping, stage, psum, err);
    if (rc == 0)
        rc = check_norms(c, stage, window, psum, err);
    return rc ? rc : check_sums(c, stage, window, psum, err);
}

static int check_stages(struct checker *c, const uint8_t *input, struct error *err)
{
    int rc = chip_input(c->chip, c->program, input, err);

    for (int stage = 0; stage < c->mapping->stage_count && rc == 0; stage++) {
        int windows = network_windows(&c->network->layer[c->mapping->stage[stage].layer]);
        rc = check_window(c, stage, windows - 1, err);
        if (rc == 0 && windows > 1)
            rc = check_window(c, stage, windows / 2, err);
    }
    /* The break must go even after an error. */
    int rc_break = chip_break(c->chip, -1, 0, rc ? NULL : err);
    return rc ? rc : rc_break;
}

static int check_predictions(struct checker *c, const struct golden *golden, const uint8_t *const *input,
                             struct error *err)
{
    struct inference result[GOLDEN_SAMPLES_MAX];
    int rc = chip_infer(c->chip, c->program, input, golden->count, result, err);

    c->report.count = golden->count;
    for (int i = 0; i < golden->count && rc == 0; i++)
        c->report.agreed += result[i].prediction == golden->prediction[i];
    return rc;
}

static void judge(struct checker *c)
{
    struct golden_report *r = &c->report;

    if (r->sums > 0)
        r->rms_sigma = sqrt(c->square_sum / r->sums);
    if (r->outliers > c->limits->outlier_share * r->sums) {
        int layer = c->mapping->stage[r->worst_stage].layer;
        blame(c, "%d of %d sums are outside %.1f sigma; worst in %s", r->outliers, r->sums, c->limits->k,
              c->network->layer[layer].name);
    }
    if (r->agreed < c->limits->agree_min)
        blame(c, "%d of %d predictions agree; at least %d must", r->agreed, r->count, c->limits->agree_min);
    r->pass = r->reason[0] == '\0';
}

int golden_check(struct chip *chip, const struct chip_program *program, struct reference *reference,
                 const struct network *network, const struct mapping *mapping, const uint8_t *const *input,
                 const struct golden *golden, const struct golden_limits *limits,
                 struct golden_report *ret_report, struct error *err)
{
    char hash[SHA256_HEX];

    if (golden->count < 1 || golden->count > GOLDEN_SAMPLES_MAX)
        return error_set(err, ERR_INVALID, "a golden result of %d samples", golden->count);
    hash_golden(golden, network, mapping, input, hash);
    if (strcmp(hash, golden->hash) != 0 || golden->adc.bits != program->adc.bits ||
        golden->adc.gain != program->adc.gain)
        return error_set(
            err, ERR_INVALID,
            "the golden result was changed, or belongs to another network, mapping, setting or input");
    struct checker *c = calloc(1, sizeof *c);
    uint8_t *layer_input = malloc(NETWORK_ACTIVATION_MAX);
    int rc = c && layer_input ? reference_configure(reference, &program->adc, err)
                              : error_set(err, ERR_MEMORY, "no memory for a check");
    if (rc)
        goto free_all;
    *c = (struct checker){ .chip = chip,
                           .program = program,
                           .reference = reference,
                           .network = network,
                           .mapping = mapping,
                           .limits = limits,
                           .layer_input = layer_input };
    rc = check_predictions(c, golden, input, err);
    for (int i = 0; i < golden->count && i < STAGE_SAMPLES && rc == 0; i++)
        rc = check_stages(c, input[i], err);
    if (rc)
        goto free_all;
    judge(c);
    *ret_report = c->report;
    if (!c->report.pass)
        rc = error_set(err, ERR_MISMATCH, "not the golden result: %s", c->report.reason);
free_all:
    free(layer_input);
    free(c);
    return rc;
}
