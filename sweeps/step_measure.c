/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * step_measure: means of all rails over a window, without touching the chip; and step_wait, which lets time
 * pass. */
#include "sweeps/cost.h"
#include "sweeps/runner.h"

#include <math.h>

#define WAIT_SLICE_S 30.0

static void parse_measure(const struct json_at *at, const struct campaign *campaign,
                          struct campaign_step *step)
{
    (void)campaign;
    step->u.measure.window_s = json_double(at, "window_s", false, 0.01, 3600.0, 1.0);
    step->u.measure.limit_count = step_limits(at, step->u.measure.limit);
}

static void plan_measure(struct plan_state *state, const struct campaign_step *step, struct plan_cost *cost)
{
    if (!(state->inputs->campaign->log_period_s > 0.0))
        step_problem(state, step->pointer, "\"log_period_s\": 0.1 in the campaign",
                     "a window mean needs the rails to be logged");
    cost->seconds += fmax(step->u.measure.window_s, 2.0 * cost_rails_s(state->inputs));
    cost->bytes += state->inputs->profile->rail_count * 3 * COST_READING_BYTES;
}

static int execute_measure(struct run *run, struct run_point *point, struct error *err)
{
    const struct step_measure *measure = &point->what->u.measure;
    struct sampler_window window;
    int64_t t0_ns = runner_now(run);
    bool found = false;

    /* At least the window; longer when one pass over all rails takes longer. */
    for (int tries = 0; tries < 20 && !found; tries++) {
        int rc = runner_wait(run, measure->window_s, err);
        if (rc < 0)
            return rc;
        found = run->sampler != NULL && sampler_window(run->sampler, t0_ns, runner_now(run), &window);
    }
    if (!found)
        return error_set(err, ERR_TIMEOUT, "no rail reading fell into %.3g s", 20.0 * measure->window_s);
    int rc = runner_rails(run, point, &window, err);
    if (rc == 0)
        point->verdict = judge_limits(&point->outcome->judged, measure->limit, measure->limit_count);
    return rc;
}

static void parse_wait(const struct json_at *at, const struct campaign *campaign, struct campaign_step *step)
{
    (void)campaign;
    step->u.wait.seconds = json_double(at, "seconds", true, 0.0, 86400.0, 0.0);
}

static void plan_wait(struct plan_state *state, const struct campaign_step *step, struct plan_cost *cost)
{
    (void)state;
    cost->seconds += step->u.wait.seconds;
}

/* While nobody measures, the keeper may switch off, and nothing of the run's would be refused: it asks. */
static int execute_wait(struct run *run, struct run_point *point, struct error *err)
{
    double left_s = point->what->u.wait.seconds;
    int rc = 0;

    while (rc == 0 && left_s > 0.0) {
        rc = runner_wait(run, fmin(left_s, WAIT_SLICE_S), err);
        if (rc == 0 && run->has_bench && run->power.up)
            rc = power_check(&run->power, err);
        left_s -= WAIT_SLICE_S;
    }
    return rc;
}

static const char *const measure_keys[] = { "window_s", "limits", NULL };
const struct step_type step_measure_type = {
    .name = "measure",
    .needs = STEP_NEEDS_POWER | STEP_NEEDS_CHIP,
    .makes_point = true,
    .in_sweep = true,
    .keys = measure_keys,
    .parse = parse_measure,
    .plan = plan_measure,
    .execute = execute_measure,
};

static const char *const wait_keys[] = { "seconds", NULL };
const struct step_type step_wait_type = {
    .name = "wait",
    .once = true,
    .needs = STEP_NEEDS_CHIP,
    .in_sweep = true,
    .keys = wait_keys,
    .parse = parse_wait,
    .plan = plan_wait,
    .execute = execute_wait,
};
