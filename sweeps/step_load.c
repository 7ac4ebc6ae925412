/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * step_load: compiles a network for a converter setting and loads it, with read back, on the run's back end.
 */
#include "sweeps/cost.h"
#include "sweeps/runner.h"

static void parse(const struct json_at *at, const struct campaign *campaign, struct campaign_step *step)
{
    step->u.load.adc = (struct adc_config){ .bits = 9, .gain = 1 };
    step->u.load.network = step_network(at, campaign);
    step_adc(at, "adc", true, &step->u.load.adc);
}

static void plan(struct plan_state *state, const struct campaign_step *step, struct plan_cost *cost)
{
    step_check_adc(state, step, &step->u.load.adc);
    if (state->inputs->profile->cores.count == 0)
        step_problem(state, step->pointer, "", "%s has no cores: no network can be loaded",
                     state->inputs->profile->type);
    state->network = step->u.load.network;
    state->adc = step->u.load.adc;
    if (state->network >= 0)
        cost->seconds += cost_load_s(state, state->network, true);
}

static int execute(struct run *run, struct run_point *point, struct error *err)
{
    const struct step_load *load = &point->what->u.load;
    int rc = runner_load(run, run->context->backend, load->network, &load->adc, err);

    if (rc == 0)
        run->loaded_adc = run->home_adc = load->adc;
    return rc;
}

static const char *const keys[] = { "network", "adc", NULL };
const struct step_type step_load_type = {
    .name = "load",
    .needs = STEP_NEEDS_POWER,
    .keys = keys,
    .parse = parse,
    .plan = plan,
    .execute = execute,
};
