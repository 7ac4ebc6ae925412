/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * step_selftest: the two questions asked of silicon before its numbers are believed: "bist" (is the digital
 * part right, bit by bit?) and "golden" (is this chip running this network?). Both compare with the
 * reference, which is computed first. */
#include "chip/bist.h"
#include "chip/golden.h"
#include "sweeps/cost.h"
#include "sweeps/plan_check.h"
#include "sweeps/runner.h"
#include "sweeps/stats.h"

#include <math.h>

/* Stops per self test: every stage at a few windows, each with its transfers. */
enum { BIST_STOPS_PER_STAGE = 3, GOLDEN_STOPS_PER_STAGE = 8, TRANSFERS_PER_STOP = 6 };

static void parse_bist(const struct json_at *at, const struct campaign *campaign, struct campaign_step *step)
{
    (void)campaign;
    step->u.bist.seed = (int)json_integer(at, "seed", false, 0, 65535, 1);
}

static double stops_s(const struct plan_state *state, int stops)
{
    return stops *
           (TRANSFERS_PER_STOP * COST_EXCHANGE_S + cost_inference_s(state, state->network, state->adc.bits));
}

static void plan_bist(struct plan_state *state, const struct campaign_step *step, struct plan_cost *cost)
{
    (void)step;
    if (state->network >= 0)
        cost->seconds +=
            stops_s(state, BIST_STOPS_PER_STAGE * state->inputs->assets->network[state->network].stages);
    cost->bytes += 4 * COST_READING_BYTES;
}

/* The chip as it was loaded, and the reference for that; close with reference_close(). */
static int open_reference(struct run *run, struct reference **ret_reference, struct error *err)
{
    const struct asset_network *asset = &run->context->assets->network[run->network];
    int rc = runner_load_again(run, err);

    if (rc == 0)
        rc = reference_open(asset->network, asset->mapping, run->profile, ret_reference, err);
    if (rc == 0) {
        rc = reference_configure(*ret_reference, &run->loaded_adc, err);
        if (rc < 0)
            reference_close(*ret_reference);
    }
    return rc;
}

static int execute_bist(struct run *run, struct run_point *point, struct error *err)
{
    const struct asset_network *asset = &run->context->assets->network[run->network];
    struct bist_report report = { 0 };
    struct reference *reference = NULL;

    int rc = open_reference(run, &reference, err);
    if (rc < 0)
        return rc;
    rc = bist_run(run->chip, backend_chip_program(&run->chip_backend), reference, asset->network,
                  asset->mapping, point->what->u.bist.seed, &report, err);
    reference_close(reference);
    if (rc == 0)
        rc = runner_value(run, point, "bist.checked", UNIT_NONE, report.checked, 0.0, 0, err);
    if (rc == 0)
        rc = runner_value(run, point, "bist.mismatched", UNIT_NONE, report.mismatched, 0.0, 0, err);
    if (rc == 0)
        rc = runner_event(run, "bist", NULL, err, "%d of %d numbers differ at %d stops%s%s",
                          report.mismatched, report.checked, report.windows,
                          report.first[0] != '\0' ? "; first: " : "", report.first);
    if (rc == 0)
        point->verdict = report.mismatched == 0 && report.checked > 0 ? VERDICT_PASS : VERDICT_FAIL;
    return rc;
}

static void parse_golden(const struct json_at *at, const struct campaign *campaign,
                         struct campaign_step *step)
{
    struct step_golden *golden = &step->u.golden;

    golden->dataset = step_dataset(at, campaign, true);
    golden->samples = (int)json_integer(at, "samples", false, 1, GOLDEN_SAMPLES_MAX, GOLDEN_SAMPLES_MAX);
    struct golden_limits limits = golden_limits_default(golden->samples);
    golden->agree_min =
        (int)json_integer(at, "agree_min", false, 0, golden->samples,
                          limits.agree_min < golden->samples ? limits.agree_min : golden->samples);
    golden->sigma_lsb = json_double(at, "sigma_lsb", false, 0.0, 100.0, limits.spread.sigma_lsb);
    golden->k = json_double(at, "k", false, 0.5, 20.0, limits.k);
    golden->outlier_share = json_double(at, "outlier_share", false, 0.0, 1.0, limits.outlier_share);
    golden->gain_share = json_double(at, "gain_share", false, 0.0, 1.0, limits.spread.gain_share);
}

static void plan_golden(struct plan_state *state, const struct campaign_step *step, struct plan_cost *cost)
{
    plan_check_samples(state, step->pointer, "/samples", step->u.golden.dataset, step->u.golden.samples);
    if (state->network >= 0)
        cost->seconds +=
            stops_s(state, GOLDEN_STOPS_PER_STAGE * state->inputs->assets->network[state->network].stages) +
            step->u.golden.samples * cost_inference_s(state, state->network, state->adc.bits);
    cost->bytes += 4 * COST_READING_BYTES;
}

static int execute_golden(struct run *run, struct run_point *point, struct error *err)
{
    const struct step_golden *step = &point->what->u.golden;
    const struct asset_network *asset = &run->context->assets->network[run->network];
    const struct dataset *dataset = run->context->assets->dataset[step->dataset].dataset;
    struct golden_limits limits = { .spread = { .sigma_lsb = step->sigma_lsb,
                                                .gain_share = step->gain_share },
                                    .k = step->k,
                                    .outlier_share = step->outlier_share,
                                    .agree_min = step->agree_min };
    const uint8_t *input[GOLDEN_SAMPLES_MAX];
    struct golden_report report = { 0 };
    struct reference *reference = NULL;
    struct golden golden;

    for (int i = 0; i < step->samples; i++)
        input[i] = dataset_sample(dataset, i);
    int rc = open_reference(run, &reference, err);
    if (rc < 0)
        return rc;
    rc = golden_compute(reference, asset->network, asset->mapping, &run->loaded_adc, input, step->samples,
                        &golden, err);
    if (rc == 0)
        rc = runner_event(run, "golden", NULL, err, "reference result of %d samples, hash %s", golden.count,
                          golden.hash);
    if (rc == 0)
        rc = golden_check(run->chip, backend_chip_program(&run->chip_backend), reference, asset->network,
                          asset->mapping, input, &golden, &limits, &report, err);
    reference_close(reference);

    /* A broken limit is a result, not an error: what was measured is recorded either way. */
    bool compared = rc == 0 || (rc == ERR_MISMATCH && report.count > 0);
    if (!compared)
        return rc;
    rc = runner_quantity(run, point, QUANTITY_AGREEMENT, (double)report.agreed / report.count,
                         stats_wilson_u(report.agreed, report.count), err);
    if (rc == 0)
        rc = runner_value(run, point, "golden.rms_sigma", UNIT_NONE, report.rms_sigma, NAN, 0, err);
    if (rc == 0)
        rc = runner_value(run, point, "golden.norm_errors", UNIT_NONE, report.norm_errors, 0.0, 0, err);
    if (rc == 0)
        rc = runner_event(run, "golden", NULL, err,
                          "%d of %d predictions agree, %d of %d sums are outliers, %d norm errors%s%s",
                          report.agreed, report.count, report.outliers, report.sums, report.norm_errors,
                          report.reason[0] != '\0' ? ": " : "", report.reason);
    if (rc == 0)
        point->verdict = report.pass ? VERDICT_PASS : VERDICT_FAIL;
    return rc;
}

static const char *const bist_keys[] = { "seed", NULL };
const struct step_type step_bist_type = {
    .name = "bist",
    .needs = STEP_NEEDS_POWER | STEP_NEEDS_NETWORK | STEP_NEEDS_CHIP,
    .makes_point = true,
    .keys = bist_keys,
    .parse = parse_bist,
    .plan = plan_bist,
    .execute = execute_bist,
};

static const char *const golden_keys[] = { "dataset", "samples",       "agree_min",  "sigma_lsb",
                                           "k",       "outlier_share", "gain_share", NULL };
const struct step_type step_golden_type = {
    .name = "golden",
    .verifies = true,
    .needs = STEP_NEEDS_POWER | STEP_NEEDS_NETWORK | STEP_NEEDS_CHIP,
    .makes_point = true,
    .keys = golden_keys,
    .parse = parse_golden,
    .plan = plan_golden,
    .execute = execute_golden,
};
