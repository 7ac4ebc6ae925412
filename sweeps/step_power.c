/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * step_power: rails up in the order of the profile, or down through the keeper's undo list. */
#include "sweeps/cost.h"
#include "sweeps/plan_check.h"
#include "sweeps/runner.h"

#include <stdio.h>
#include <string.h>

static void parse(const struct json_at *at, const struct campaign *campaign, struct campaign_step *step)
{
    static const char *const states[] = { "down", "up", NULL };
    struct json_at core = json_member(at, "core_v", false);

    (void)campaign;
    step->u.power.up = json_choice(at, "state", true, states, 0) == 1;
    step->u.power.has_core = core.node != NULL;
    step->u.power.core_v = json_double(at, "core_v", false, -20.0, 20.0, 0.0);
    if (step->u.power.has_core && !step->u.power.up)
        json_problem(&core, "", "a voltage means nothing when rails go down");
}

static void targets(const struct chip_profile *profile, const struct step_power *power, double *target_v)
{
    power_targets(profile, power->has_core ? "core" : NULL, power->core_v, target_v);
}

static void plan(struct plan_state *state, const struct campaign_step *step, struct plan_cost *cost)
{
    const struct step_power *power = &step->u.power;

    if (power->up == state->powered && !state->partial)
        step_problem(state, step->pointer, "", "the rails are %s here already", power->up ? "up" : "down");
    state->powered = power->up;
    if (!power->up) {
        state->network = -1;
        state->idle_known = false;
        cost->seconds += cost_power_down_s(state->inputs);
        memset(state->rail_v, 0, sizeof state->rail_v);
        return;
    }
    double target_v[PROFILE_RAILS_MAX];
    char pointer[JSON_POINTER_MAX + 8];
    targets(state->inputs->profile, power, target_v);
    snprintf(pointer, sizeof pointer, "%s%s", step->pointer, power->has_core ? "/core_v" : "");
    plan_check_targets(state, pointer, target_v);
    memcpy(state->rail_v, target_v, sizeof target_v);
    cost->seconds += cost_power_up_s(state->inputs, target_v);
}

static int execute(struct run *run, struct run_point *point, struct error *err)
{
    double target_v[PROFILE_RAILS_MAX];

    if (!point->what->u.power.up)
        return runner_power_down(run, false, err);
    if (point->attempt > 1) {
        /* What a failed try has left on goes down in its order: set to the foot of its ramp where it stands,
         * a rail would fall while later ones are up. */
        int rc = runner_power_down(run, false, err);
        if (rc < 0)
            return rc;
    }
    targets(run->profile, &point->what->u.power, target_v);
    memcpy(run->home_v, target_v, sizeof run->home_v);
    return runner_power_up(run, target_v, err);
}

static const char *const keys[] = { "state", "core_v", NULL };
const struct step_type step_power_type = {
    .name = "power",
    .needs = STEP_NEEDS_CHIP,
    .keys = keys,
    .parse = parse,
    .plan = plan,
    .execute = execute,
};
