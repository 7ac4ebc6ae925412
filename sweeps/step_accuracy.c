/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * step_accuracy: runs samples of a data set through a back end in batches that are acknowledged one by one,
 * scores them, and puts power and energy beside the score. "infer" is the same without limits. */
#include "sweeps/cost.h"
#include "sweeps/energy.h"
#include "sweeps/plan_check.h"
#include "sweeps/stats.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH_DEFAULT = 100, BATCH_MAX = 1000, BATCH_PROBE = 10, LINK_READINGS = 2 };
enum { WINDOW_TRIES = 4 }; /* for one without a disturbed link */
#define WAIT_SHARE                                                                                           \
    0.1 /* of a window, lost by one batch: more is a wait for the link, not the chip's doing                 \
         */

static void parse(const struct json_at *at, const struct campaign *campaign, struct campaign_step *step)
{
    static const char *const backends[] = { "chip", "reference", NULL };
    struct step_accuracy *accuracy = &step->u.accuracy;

    accuracy->dataset = step_dataset(at, campaign, true);
    accuracy->samples = (int)json_integer(at, "samples", true, 1, CAMPAIGN_SAMPLES_MAX, 1);
    accuracy->batch = (int)json_integer(at, "batch", false, 1, BATCH_MAX, BATCH_DEFAULT);
    accuracy->repeat = (int)json_integer(at, "repeat", false, 1, CAMPAIGN_REPEATS_MAX, 1);
    accuracy->backend = json_choice(at, "backend", false, backends, campaign->backend);
    accuracy->adc = (struct adc_config){ .bits = 9, .gain = 1 };
    accuracy->has_adc = step_adc(at, "adc", false, &accuracy->adc);
    accuracy->energy_window_s = json_double(at, "energy_window_s", false, 0.0, 3600.0, 0.0);
    accuracy->idle_window_s = json_double(at, "idle_window_s", false, 0.0, 3600.0, 0.0);
    accuracy->compute_repeat = (int)json_integer(at, "compute_repeat", false, 0, 65535, 0);
    if (step->kind == STEP_ACCURACY)
        accuracy->limit_count = step_limits(at, accuracy->limit);
}

static int backend_of(const struct step_accuracy *accuracy, int run_backend)
{
    return accuracy->backend == CAMPAIGN_REFERENCE ? CAMPAIGN_REFERENCE : run_backend;
}

/* Idle power is measured when the supplies have moved since the last time; windows repeat until one pass over
 * all rails fits. */
static double idle_s(struct plan_state *state, double window_s)
{
    double pass_s = 2.0 * cost_rails_s(state->inputs);

    if (state->idle_known && memcmp(state->idle_v, state->rail_v, sizeof state->idle_v) == 0)
        return 0.0;
    state->idle_known = true;
    memcpy(state->idle_v, state->rail_v, sizeof state->idle_v);
    return window_s * ceil(fmax(1.0, pass_s / window_s));
}

/* A window without a whole pass over the rails gives no figure: better known before the evening than after.
 */
static void note_short_window(const struct plan_state *state, const struct step_accuracy *accuracy, int bits)
{
    double need_s = cost_window_s(state->inputs), window_s = accuracy->energy_window_s;
    double samples_s = accuracy->samples * cost_inference_s(state, state->network, bits);

    if (!(window_s > 0.0) || !(state->inputs->campaign->log_period_s > 0.0))
        return;
    if (fmax(window_s, samples_s) < need_s)
        plan_note(state,
                  "energy_window_s of %.3g s is too short: one pass over the rails surely falls into %.3g s; "
                  "there may be no energy figure",
                  window_s, need_s);
    else if (accuracy->compute_repeat > 0 && window_s < need_s)
        plan_note(
            state,
            "energy_window_s of %.3g s is too short for the energy of computing alone: one pass over the "
            "rails surely falls into %.3g s",
            window_s, need_s);
}

static void plan(struct plan_state *state, const struct campaign_step *step, struct plan_cost *cost)
{
    const struct step_accuracy *accuracy = &step->u.accuracy;
    const struct adc_config *adc = accuracy->has_adc ? &accuracy->adc : &state->adc;
    bool logged = state->inputs->campaign->log_period_s > 0.0;

    plan_check_samples(state, step->pointer, "/samples", accuracy->dataset, accuracy->samples);
    if (accuracy->has_adc)
        step_check_adc(state, step, adc);
    if (accuracy->energy_window_s > 0.0 && !logged)
        step_problem(state, step->pointer, "\"log_period_s\": 0.1 in the campaign",
                     "energy needs the rails to be logged");
    cost->samples += accuracy->samples;
    cost->bytes += (double)accuracy->samples * COST_SAMPLE_BYTES +
                   (QUANTITY_POINT_COUNT + LINK_READINGS + 3.0 * state->inputs->profile->rail_count) *
                       COST_READING_BYTES;
    if (backend_of(accuracy, state->inputs->backend) == CAMPAIGN_REFERENCE || state->network < 0)
        return; /* the reference takes no bench time */

    note_short_window(state, accuracy, adc->bits);
    double active_s = accuracy->samples * cost_inference_s(state, state->network, adc->bits);
    if (accuracy->has_adc)
        active_s += cost_load_s(state, state->network, false);
    if (accuracy->energy_window_s > 0.0)
        active_s = fmax(active_s, accuracy->energy_window_s);
    if (accuracy->compute_repeat > 0)
        active_s += accuracy->energy_window_s;
    cost->seconds += active_s;
    if (accuracy->energy_window_s > 0.0 && accuracy->idle_window_s > 0.0)
        cost->seconds += idle_s(state, accuracy->idle_window_s);
}

/* What the scoring adds up. For two classes, class 1 is what is looked for ("speech"). */
struct score {
    int n, correct, positives, hits, false_alarms;
    double cycles;
};

static void add_result(struct score *score, int label, const struct inference *result)
{
    score->n++;
    score->correct += result->prediction == label;
    score->positives += label == 1;
    score->hits += label == 1 && result->prediction == 1;
    score->false_alarms += label != 1 && result->prediction == 1;
    score->cycles += result->cycles;
}

static int record_batch(struct run *run, struct run_point *point, const struct dataset *dataset, int first,
                        int count, const struct inference *result, struct error *err)
{
    struct record_sample sample[BATCH_MAX];
    struct record_samples batch = { .step = point->step,
                                    .cell = point->cell->index,
                                    .attempt = point->attempt,
                                    .first = point->first_sample + first,
                                    .count = count,
                                    .sample = sample,
                                    .time_ns = runner_now(run) };

    for (int i = 0; i < count; i++) {
        sample[i] = (struct record_sample){ .sample = first + i,
                                            .label = (int16_t)dataset_label(dataset, first + i),
                                            .prediction = (int16_t)result[i].prediction,
                                            .cycles = result[i].cycles,
                                            .status = (uint16_t)result[i].err_bits,
                                            .source = (int16_t)dataset_source(dataset, first + i),
                                            .clip = (int32_t)dataset_clip(dataset, first + i) };
        memcpy(sample[i].output, result[i].output, sizeof sample[i].output);
    }
    int rc = run->sink->samples(run->sink->context, &batch, err);
    return rc == 0 ? run->sink->ack(run->sink->context, err) : rc;
}

/* How the time of a window passed: each_s of one sample in the fastest batch; the slowest batch; and what the
 * scatter of the batches' means (of one sample) needs. */
struct pace {
    double each_s, slowest_s;
    int slowest_count;
    int batches;
    double sum_s, squares_s2; /* of the differences to the first batch: nothing cancels */
    double first_s;
};

static void take_pace(struct pace *pace, double batch_s, int count)
{
    double each_s = batch_s / count;

    if (pace->batches == 0)
        pace->first_s = each_s;
    pace->batches++;
    pace->sum_s += each_s - pace->first_s;
    pace->squares_s2 += (each_s - pace->first_s) * (each_s - pace->first_s);
    if (!(pace->each_s > 0.0) || each_s < pace->each_s)
        pace->each_s = each_s;
    if (pace->slowest_count == 0 || each_s > pace->slowest_s / pace->slowest_count) {
        pace->slowest_s = batch_s;
        pace->slowest_count = count;
    }
}

/* Standard uncertainty of the mean time of one sample. A single batch tells nothing of it. */
static double pace_u_s(const struct pace *pace)
{
    double n = pace->batches;

    return n < 2 ? 0.0 : sqrt(fmax(0.0, pace->squares_s2 - pace->sum_s * pace->sum_s / n) / (n - 1) / n);
}

static int infer_batch(struct run *run, struct backend *backend, const struct dataset *dataset, int first,
                       int count, struct pace *pace, struct inference *ret_result, struct error *err)
{
    const uint8_t *input[BATCH_MAX];
    int64_t begin_ns = runner_now(run);

    for (int i = 0; i < count; i++)
        input[i] = dataset_sample(dataset, (first + i) % dataset_count(dataset));
    int rc = backend->infer(backend->context, input, count, ret_result, err);
    take_pace(pace, (double)(runner_now(run) - begin_ns) / NS_PER_S, count);
    return rc;
}

/* So many of a batch as there is time for, at the slowest pace so far: a point whose time is up is cut
 * between batches, and one of a thousand samples may take minutes. */
static int fitting(const struct run *run, const struct pace *pace, int count)
{
    const struct budget *budget = &run->budget;

    if (budget->end_ns == 0)
        return count;
    if (pace->slowest_count == 0)
        return count < BATCH_PROBE ? count : BATCH_PROBE;
    double left_s = (double)(budget->end_ns - runner_now(run)) / NS_PER_S - budget->reserve_s;
    double each_s = pace->slowest_s / pace->slowest_count;
    if (left_s >= count * each_s)
        return count;
    return (int)fmax(1.0, left_s / each_s);
}

static int infer_all(struct run *run, struct run_point *point, struct backend *backend,
                     const struct dataset *dataset, struct score *score, struct pace *pace, struct error *err)
{
    const struct step_accuracy *accuracy = &point->what->u.accuracy;
    struct inference result[BATCH_MAX];

    for (int first = score->n, count; first < accuracy->samples; first += count) {
        count = accuracy->samples - first < accuracy->batch ? accuracy->samples - first : accuracy->batch;
        count = fitting(run, pace, count);
        int rc = runner_go_on(run, err);
        if (rc == 0)
            rc = infer_batch(run, backend, dataset, first, count, pace, result, err);
        if (rc == 0)
            rc = record_batch(run, point, dataset, first, count, result, err);
        if (rc < 0)
            return rc;
        for (int i = 0; i < count; i++) {
            add_result(score, dataset_label(dataset, first + i), &result[i]);
            if (point->outcome->prediction != NULL)
                point->outcome->prediction[first + i] = (int16_t)result[i].prediction;
        }
        runner_progress(run, count);
    }
    return 0;
}

/* The samples of this attempt that an interrupted run had recorded count as measured. */
static int take_samples(struct run *run, struct run_point *point, struct score *score, struct error *err)
{
    const struct run_history *history = run->context->history;
    int max = point->what->u.accuracy.samples, count = 0;

    if (point->open == NULL || point->open->samples <= point->first_sample)
        return 0;
    struct record_sample *sample = calloc((size_t)max, sizeof *sample);
    if (sample == NULL)
        return error_set(err, ERR_MEMORY, "no memory for %d recorded samples", max);
    int rc = history->samples(history->context, point->open, point->first_sample, sample, max, &count, err);
    for (int i = 0; i < count && rc == 0; i++) {
        struct inference result = { .prediction = sample[i].prediction, .cycles = sample[i].cycles };
        add_result(score, sample[i].label, &result);
        if (point->outcome->prediction != NULL)
            point->outcome->prediction[i] = sample[i].prediction;
    }
    free(sample);
    runner_progress(run, count);
    return rc;
}

/* Goes on inferring, without recording, until there has been enough activity for a power figure. In batches
 * of the step's own: with others the time of one inference would depend on how much of the window was
 * recorded, which is less where an interrupted point goes on. */
static int fill_window(struct run *run, int batch, struct backend *backend, const struct dataset *dataset,
                       int64_t until_ns, struct pace *pace, int64_t *n, struct error *err)
{
    struct inference result[BATCH_MAX];

    for (int first = 0, count; runner_now(run) < until_ns; first += count) {
        count = pace->slowest_count > 0 ? fitting(run, pace, batch) : batch;
        int rc = runner_go_on(run, err);
        if (rc == 0)
            rc = infer_batch(run, backend, dataset, first, count, pace, result, err);
        if (rc < 0)
            return rc;
        *n += count;
    }
    return 0;
}

static int record_score(struct run *run, struct run_point *point, const struct score *score,
                        struct error *err)
{
    struct stats_interval interval = stats_wilson(score->correct, score->n);
    double p = (double)score->correct / score->n;
    int negatives = score->n - score->positives;

    point->outcome->judged.successes = score->correct;
    point->outcome->judged.n = score->n;
    int rc = runner_quantity(run, point, QUANTITY_ACCURACY, p, stats_wilson_u(score->correct, score->n), err);
    if (rc == 0)
        rc = runner_quantity(run, point, QUANTITY_ACCURACY_LOW, interval.low, NAN, err);
    if (rc == 0)
        rc = runner_quantity(run, point, QUANTITY_ACCURACY_HIGH, interval.high, NAN, err);
    if (rc == 0 && score->positives > 0)
        rc = runner_quantity(run, point, QUANTITY_RECALL, (double)score->hits / score->positives,
                             stats_wilson_u(score->hits, score->positives), err);
    if (rc == 0 && negatives > 0)
        rc = runner_quantity(run, point, QUANTITY_FALSE_ALARM, (double)score->false_alarms / negatives,
                             stats_wilson_u(score->false_alarms, negatives), err);
    if (rc == 0 && score->cycles > 0.0)
        rc = runner_quantity(run, point, QUANTITY_CYCLES, score->cycles / score->n, NAN, err);
    return rc;
}

/* What the link cost this point: retries show a marginal wire before it fails. */
static int record_link(struct run *run, const struct run_point *point, const struct chip_link_stats *before,
                       struct error *err)
{
    struct chip_link_stats now = chip_link_stats(run->chip);
    int rc = runner_value(run, point, "link.retries", UNIT_NONE, (double)(now.retries - before->retries), 0.0,
                          0, err);

    return rc < 0 ? rc
                  : runner_value(run, point, "link.reruns", UNIT_NONE, (double)(now.reruns - before->reruns),
                                 0.0, 0, err);
}

/* A window in which the link had to be asked again, or took its time, holds the wait for it: time and power
 * would be those of a chip that stood still. It is measured again; *t0_ns and *n are those of a window
 * without. */
static int undisturbed_window(struct run *run, const struct step_accuracy *accuracy, struct backend *backend,
                              const struct dataset *dataset, struct chip_link_stats before, struct pace *pace,
                              int64_t *t0_ns, int64_t *n, struct error *err)
{
    for (int i = 0; i < WINDOW_TRIES; i++) {
        int64_t until_ns = *t0_ns + (int64_t)(accuracy->energy_window_s * NS_PER_S);
        int rc = fill_window(run, accuracy->batch, backend, dataset, until_ns, pace, n, err);
        struct chip_link_stats now = chip_link_stats(run->chip);
        bool asked_again = now.retries != before.retries || now.reruns != before.reruns;
        double window_s = (double)(runner_now(run) - *t0_ns) / NS_PER_S;
        bool waited = pace->slowest_s - pace->slowest_count * pace->each_s > WAIT_SHARE * window_s;
        if (rc < 0 || (!asked_again && !waited))
            return rc;
        before = now;
        *pace = (struct pace){ 0 };
        *t0_ns = runner_now(run);
        *n = 0;
    }
    return error_set(err, ERR_LINK, "the link to the chip was disturbed in each of %d windows of %.3g s",
                     WINDOW_TRIES, accuracy->energy_window_s);
}

static int measure_energy(struct run *run, struct run_point *point, struct backend *backend,
                          const struct dataset *dataset, const struct chip_link_stats *before,
                          struct pace *pace, int64_t t0_ns, int64_t n, struct error *err)
{
    const struct step_accuracy *accuracy = &point->what->u.accuracy;

    int rc = undisturbed_window(run, accuracy, backend, dataset, *before, pace, &t0_ns, &n, err);
    if (rc == 0)
        rc = energy_activity(run, point, t0_ns, runner_now(run), n, pace_u_s(pace), err);
    if (rc == 0 && accuracy->compute_repeat > 0)
        rc = energy_compute(run, point, dataset_sample(dataset, 0), accuracy->energy_window_s,
                            accuracy->compute_repeat, err);
    return rc;
}

/* One line of the live table. */
static void write_row(struct run *run, const struct run_point *point, const struct adc_config *adc)
{
    const struct judged *judged = &point->outcome->judged;
    struct stats_interval interval = stats_wilson(judged->successes, judged->n);
    char energy[32], axes[sizeof point->cell->axes_json];
    bool known = !isnan(judged->value[QUANTITY_ENERGY]);
    size_t used = 0;

    /* {"vdd_v":0.8,"n":3} as vdd_v=0.8 n=3: names hold none of these marks. */
    for (const char *from = point->cell->axes_json; *from != '\0'; from++)
        if (strchr("{}\"", *from) == NULL)
            axes[used++] = *from == ':' ? '=' : *from == ',' ? ' ' : *from;
    axes[used] = '\0';
    snprintf(run->row, sizeof run->row, "%2d bit  %dx  %.60s  %5.1f %%  [%.1f, %.1f]  %s%s%s", adc->bits,
             adc->gain, axes, 100.0 * judged->value[QUANTITY_ACCURACY], 100.0 * interval.low,
             100.0 * interval.high, verdict_name(point->verdict), known ? "  " : "",
             known ? text_engineering(judged->value[QUANTITY_ENERGY], "J", 3, energy, sizeof energy) : "");
}

static int execute(struct run *run, struct run_point *point, struct error *err)
{
    const struct step_accuracy *accuracy = &point->what->u.accuracy;
    const struct dataset *dataset = run->context->assets->dataset[accuracy->dataset].dataset;
    int which = backend_of(accuracy, run->context->backend);
    const struct adc_config adc = accuracy->has_adc ? accuracy->adc : run->loaded_adc;
    bool energy = which == CAMPAIGN_CHIP && accuracy->energy_window_s > 0.0;
    struct score score = { 0 };
    struct pace pace = { 0 };

    int rc = runner_load(run, which, run->network, &adc, err);
    if (rc == 0 && which == CAMPAIGN_CHIP)
        rc = runner_temperature(run, point, err);
    if (rc == 0 && which == CAMPAIGN_CHIP && point->calibrated)
        rc = runner_check_calibration(run, err);
    if (rc == 0 && energy && accuracy->idle_window_s > 0.0)
        rc = energy_idle(run, accuracy->idle_window_s, err);
    if (rc < 0)
        return rc;

    struct backend *backend = runner_backend(run, which);
    struct chip_link_stats link = { 0 };
    if (which == CAMPAIGN_CHIP)
        link = chip_link_stats(run->chip);
    int64_t t0_ns = runner_now(run);
    point->outcome->dataset = accuracy->dataset;
    rc = take_samples(run, point, &score, err);
    int taken = score.n;
    if (rc == 0)
        rc = infer_all(run, point, backend, dataset, &score, &pace, err);
    if (rc == 0)
        rc = record_score(run, point, &score, err);
    if (rc == 0 && energy)
        rc =
            measure_energy(run, point, backend, dataset, &link, &pace, t0_ns, accuracy->samples - taken, err);
    if (rc == 0 && which == CAMPAIGN_CHIP)
        rc = record_link(run, point, &link, err);
    if (rc < 0)
        return rc;
    point->verdict = judge_limits(&point->outcome->judged, accuracy->limit, accuracy->limit_count);
    write_row(run, point, &adc);
    return 0;
}

static const char *const accuracy_keys[] = {
    "dataset",         "samples",       "batch",          "repeat", "backend", "adc",
    "energy_window_s", "idle_window_s", "compute_repeat", "limits", NULL
};
const struct step_type step_accuracy_type = {
    .name = "accuracy",
    .needs = STEP_NEEDS_POWER | STEP_NEEDS_NETWORK,
    .makes_point = true,
    .in_sweep = true,
    .keys = accuracy_keys,
    .parse = parse,
    .plan = plan,
    .execute = execute,
};

static const char *const infer_keys[] = { "dataset",        "samples", "batch",           "repeat",
                                          "backend",        "adc",     "energy_window_s", "idle_window_s",
                                          "compute_repeat", NULL };
const struct step_type step_infer_type = {
    .name = "infer",
    .needs = STEP_NEEDS_POWER | STEP_NEEDS_NETWORK,
    .makes_point = true,
    .in_sweep = true,
    .keys = infer_keys,
    .parse = parse,
    .plan = plan,
    .execute = execute,
};
