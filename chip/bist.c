/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * bist: known codes in, exact agreement out.
 */
#include "chip/bist.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chip/runtime_look.h"

enum { PICKS_MAX = MAPPING_STAGES_MAX * BIST_WINDOWS_PER_STAGE, PICK_CHANNELS_MAX = 256 };

/* A window at which the chip will be stopped, and the sums that it must show there. */
struct pick {
    int stage, window;
    int32_t psum[PICK_CHANNELS_MAX];
};

struct bist {
    const struct network *network;
    const struct mapping *mapping;
    int count;
    struct pick pick[PICKS_MAX];
};

/* First, middle and last window: corners have padding, the middle has none. */
static void choose_windows(struct bist *b)
{
    for (int stage = 0; stage < b->mapping->stage_count; stage++) {
        int windows = network_windows(&b->network->layer[b->mapping->stage[stage].layer]);
        const int choice[BIST_WINDOWS_PER_STAGE] = { 0, windows / 2, windows - 1 };
        for (int i = 0; i < BIST_WINDOWS_PER_STAGE; i++) {
            if (i > 0 && choice[i] == choice[i - 1])
                continue;
            b->pick[b->count].stage = stage;
            b->pick[b->count++].window = choice[i];
        }
    }
}

static int keep_sums(void *context, const struct reference_window *seen, struct error *err)
{
    struct bist *b = context;

    if (seen->channels > PICK_CHANNELS_MAX)
        return error_set(err, ERR_UNSUPPORTED, "a stage of %d channels", seen->channels);
    for (int i = 0; i < b->count; i++) {
        if (b->pick[i].stage == seen->stage && b->pick[i].window == seen->window)
            memcpy(b->pick[i].psum, seen->psum, (size_t)seen->channels * sizeof *seen->psum);
    }
    return 0;
}

static void compare(struct bist_report *report, const char *layer, int window, const char *what, int index,
                    int32_t got, int32_t want)
{
    report->checked++;
    if (got == want)
        return;
    if (report->mismatched++ == 0)
        snprintf(report->first, sizeof report->first, "%s, window %d, %s %d: chip %d, expected %d", layer,
                 window, what, index, (int)got, (int)want);
}

static int check_pick(struct bist *b, const struct pick *pick, struct chip *chip,
                      const struct chip_program *program, struct bist_report *report, struct error *err)
{
    const struct mapping_stage *stage = &b->mapping->stage[pick->stage];
    const struct network_layer *layer = &b->network->layer[stage->layer];
    int32_t psum[PICK_CHANNELS_MAX];
    int16_t result[PICK_CHANNELS_MAX];

    int rc = runtime_look_stop(chip, program, pick->stage, pick->window, err);
    if (rc == 0)
        rc = runtime_look_psums(chip, b->mapping, pick->stage, psum, err);
    if (rc == 0)
        rc = runtime_look_results(chip, b->network, b->mapping, pick->stage, pick->window, 1, result, err);
    if (rc)
        return rc;
    report->windows++;
    for (int c = 0; c < stage->channels; c++) {
        struct compile_norm norm = program->core[stage->owner].norm[stage->bn0 + c];
        compare(report, layer->name, pick->window, "sum", c, psum[c], pick->psum[c]);
        compare(report, layer->name, pick->window, "result", c, result[c],
                reference_norm(norm, pick->psum[c], layer->output));
    }
    return 0;
}

static int check_outputs(struct chip *chip, const struct chip_program *program, const int32_t *want,
                         struct bist_report *report, struct error *err)
{
    int32_t got[BACKEND_OUTPUTS_MAX];
    uint32_t cycles, err_bits;
    int rc = chip_break(chip, -1, 0, err);

    if (rc == 0)
        rc = chip_run(chip, program, &cycles, &err_bits, err);
    if (rc == 0)
        rc = chip_result(chip, program, got, err);
    for (int i = 0; i < program->outputs && rc == 0; i++)
        compare(report, "output", 0, "value", i, got[i], want[i]);
    return rc;
}

static int run_checks(struct bist *b, struct chip *chip, const struct chip_program *program,
                      const int32_t *want, int seed, struct bist_report *report, struct error *err)
{
    int rc = chip_bist(chip, seed, err);

    for (int i = 0; i < b->count && rc == 0; i++)
        rc = check_pick(b, &b->pick[i], chip, program, report, err);
    return rc ? rc : check_outputs(chip, program, want, report, err);
}

int bist_run(struct chip *chip, const struct chip_program *program, struct reference *reference,
             const struct network *network, const struct mapping *mapping, int seed,
             struct bist_report *ret_report, struct error *err)
{
    struct bist *b = calloc(1, sizeof *b);
    uint8_t *input = calloc(1, network_input_size(network)); /* the codes do not depend on it */
    struct bist_report report = { 0 };
    int32_t want[NETWORK_CLASSES_MAX];
    int rc;

    if (!b || !input) {
        rc = error_set(err, ERR_MEMORY, "no memory for the digital self-test");
        goto free_all;
    }
    b->network = network;
    b->mapping = mapping;
    choose_windows(b);
    struct reference_watch watch = { .context = b, .window = keep_sums };
    rc = reference_configure(reference, &program->adc, err);
    if (rc)
        goto free_all;
    reference_bist(reference, seed);
    rc = reference_run(reference, input, want, &watch, err);
    reference_bist(reference, -1);
    if (rc == 0)
        rc = run_checks(b, chip, program, want, seed, &report, err);
    /* Modes must go even after an error, or later runs are not what they seem. */
    int rc_break = chip_break(chip, -1, 0, rc ? NULL : err);
    int rc_bist = chip_bist(chip, -1, rc || rc_break ? NULL : err);
    rc = rc ? rc : rc_break ? rc_break : rc_bist;
    if (rc == 0)
        *ret_report = report;
free_all:
    free(input);
    free(b);
    return rc;
}
