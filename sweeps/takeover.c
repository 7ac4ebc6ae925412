/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * takeover: recorded points to outcomes. */
#include "sweeps/takeover.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "sweeps/pause.h"

static struct run_outcome *outcome_of(struct run *run, const struct run_done *done)
{
    if (done->step < 0 || done->step >= plan_all_steps(run->plan))
        return NULL;
    const struct plan_step *step = &run->plan->step[done->step];
    return done->cell >= 0 && done->cell < step->cell_count ? &run->outcome[step->first_cell + done->cell]
                                                            : NULL;
}

/* Predictions of finished points serve the steps that compare them. */
static int take_predictions(struct run *run, const struct run_done *done, struct run_outcome *outcome,
                            struct error *err)
{
    const struct run_history *history = run->context->history;
    int count = 0;

    if (outcome->prediction == NULL || done->samples == 0)
        return 0;
    struct record_sample *sample = calloc((size_t)outcome->count, sizeof *sample);
    if (sample == NULL)
        return error_set(err, ERR_MEMORY, "no memory for %d recorded samples", outcome->count);
    int rc = history->samples(history->context, done, 0, sample, outcome->count, &count, err);
    for (int i = 0; i < count && rc == 0; i++)
        outcome->prediction[i] = sample[i].prediction;
    outcome->dataset = run->plan->step[done->step].step->u.accuracy.dataset;
    free(sample);
    return rc;
}

/* What one step has found at a point; how many were right is in the share that was. */
static int take_values(struct run *run, const struct run_done *done, const struct campaign_step *step,
                       struct judged *judged, struct error *err)
{
    const struct run_history *history = run->context->history;

    int rc = history->values(history->context, done, step->prefix, judged, err);
    double share = judged->value[QUANTITY_ACCURACY];
    if (rc == 0 && !isnan(share) && (step->kind == STEP_ACCURACY || step->kind == STEP_INFER)) {
        judged->n = step->u.accuracy.samples;
        judged->successes = (int)lround(share * judged->n);
    }
    return rc;
}

static int take_all_values(struct run *run, const struct run_done *done, const struct campaign_step *step,
                           struct run_outcome *outcome, struct error *err)
{
    if (step->kind != STEP_SWEEP)
        return take_values(run, done, step, &outcome->judged, err);
    const struct step_sweep *sweep = &step->u.sweep;
    int rc = take_values(run, done, &sweep->step[sweep->main_step], &outcome->judged, err);
    for (int i = 0; i < sweep->do_count && rc == 0; i++) {
        if (sweep->step[i].prefix[0] != '\0' && i != sweep->main_step)
            rc = take_values(run, done, &sweep->step[i], &outcome->further[i], err);
    }
    return rc;
}

static int take_point(struct run *run, const struct run_done *done, struct run_outcome *outcome,
                      struct error *err)
{
    const struct plan_step *step = &run->plan->step[done->step];

    outcome->attempts = done->attempts;
    outcome->begin_ns = done->begin_ns;
    if (done->open) {
        outcome->open = done;
        return 0;
    }
    outcome->verdict = done->verdict;
    outcome->order = done->order;
    int rc = take_all_values(run, done, step->step, outcome, err);
    if (rc == 0)
        rc = take_predictions(run, done, outcome, err);
    if (done->step >= run->plan->step_count) /* of a rule: no point of the plan */
        return rc;
    run->progress.points_done++;
    run->progress.samples_done += done->samples;
    run->planned_done_s += step->duration_s / step->cell_count;
    return rc;
}

static bool point_left(const struct run *run)
{
    for (int i = 0; i < run->plan->cell_count; i++) {
        if (run->outcome[i].verdict == VERDICT_NONE && run->plan->cell[i].skip[0] == '\0')
            return true;
    }
    return false;
}

/* What has been measured once more does not count twice. */
static void measure_again(struct run *run, const struct plan_step *step)
{
    for (int i = 0; i < step->cell_count; i++) {
        struct run_outcome *outcome = &run->outcome[step->first_cell + i];
        if (outcome->verdict == VERDICT_NONE)
            continue;
        outcome->verdict = VERDICT_NONE;
        run->progress.points_done--;
    }
}

int takeover_begin(struct run *run, struct error *err)
{
    const struct run_history *history = run->context->history;
    int rc = 0;

    if (history == NULL)
        return 0;
    snprintf(run->identity.serial, sizeof run->identity.serial, "%s", history->chip_serial);
    thermal_take_over(run);
    for (int i = 0; i < history->done_count && rc == 0; i++) {
        struct run_outcome *outcome = outcome_of(run, &history->done[i]);
        if (outcome != NULL)
            rc = take_point(run, &history->done[i], outcome, err);
    }
    bool left = point_left(run);
    for (int i = 0; i < run->plan->step_count && left; i++) {
        if (step_type_of(run->plan->step[i].step->kind)->verifies)
            measure_again(run, &run->plan->step[i]);
    }
    if (rc == 0)
        rc = runner_event(run, "resumed", history->details, err, "continues with %d of %d points recorded",
                          run->progress.points_done, run->plan->cell_count);
    /* One that waits for a person, or is to end, does not run in between: what it was told outlives another
     * death. */
    if (rc == 0 && run->sink->state != NULL && !pause_wanted(run) && !runner_stopping(run))
        rc = run->sink->state(run->sink->context, "running", "", err);
    return rc;
}

bool takeover_skips(const struct run *run, int step)
{
    const struct run_history *history = run->context->history;

    return history != NULL && step_type_of(run->plan->step[step].step->kind)->once &&
           (history->steps_ended >> step & 1) != 0;
}

int takeover_restore(struct run *run, int step, struct error *err)
{
    const struct plan_step *planned = &run->plan->step[step];
    const struct step_type *type = step_type_of(planned->step->kind);

    if (run->context->history == NULL || type->restore == NULL)
        return 0;
    for (int i = 0; i < planned->cell_count; i++) {
        if (run->outcome[planned->first_cell + i].order > 0)
            return type->restore(run, step, err);
    }
    return 0;
}
