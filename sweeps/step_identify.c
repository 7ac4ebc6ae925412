/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * step_identify: who is on the bench: every instrument by its own word ("instruments"), or the die in the
 * socket ("chip"). */
#include "sweeps/cost.h"
#include "sweeps/runner.h"

#include <stdlib.h>
#include <string.h>

static void parse(const struct json_at *at, const struct campaign *campaign, struct campaign_step *step)
{
    static const char *const whats[] = { "instruments", "chip", NULL };

    (void)campaign;
    step->u.identify.chip = json_choice(at, "what", false, whats, 0) == 1;
}

static void plan(struct plan_state *state, const struct campaign_step *step, struct plan_cost *cost)
{
    if (step->u.identify.chip && !state->powered && !state->partial)
        step_problem(state, step->pointer, "add {\"step\":\"power\",\"state\":\"up\"} before it",
                     "a chip answers with its rails up, and they are down here");
    cost->seconds += step->u.identify.chip ? 5.0 * COST_EXCHANGE_S
                                           : state->inputs->bench->instrument_count * COST_IDENTIFY_S;
}

static int identify_instrument(struct run *run, int index, struct error *err)
{
    const struct bench_instrument *expected = &run->context->bench_file->instrument[index];
    struct bench_identity found;

    int rc = bench_identity(run->context->client, index, &found, err);
    if (rc == ERR_UNSUPPORTED) /* a bridge that has no name of its own */
        return runner_event(run, "identity", NULL, err, "%s: says no name", expected->name);
    if (rc < 0)
        return rc;

    cJSON *details = cJSON_CreateObject();
    cJSON_AddStringToObject(details, "instrument", expected->name);
    cJSON_AddStringToObject(details, "vendor", found.vendor);
    cJSON_AddStringToObject(details, "model", found.model);
    cJSON_AddStringToObject(details, "serial", found.serial);
    cJSON_AddStringToObject(details, "firmware", found.firmware);
    char *json = json_print(details, false);
    cJSON_Delete(details);
    rc = runner_event(run, "identity", json, err, "%s: %s %s, serial %s, firmware %s", expected->name,
                      found.vendor, found.model, found.serial, found.firmware);
    free(json);
    if (rc == 0 && strcmp(expected->serial, "any") != 0 && strcmp(expected->serial, found.serial) != 0)
        rc = error_set(err, ERR_IDENTITY, "%s should have serial %s and has %s", expected->name,
                       expected->serial, found.serial);
    return rc;
}

static int execute(struct run *run, struct run_point *point, struct error *err)
{
    if (point->what->u.identify.chip)
        return runner_identify_chip(run, err);
    for (int i = 0; i < run->context->bench_file->instrument_count; i++) {
        int rc = identify_instrument(run, i, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static const char *const keys[] = { "what", NULL };
const struct step_type step_identify_type = {
    .name = "identify",
    .needs = STEP_NEEDS_CHIP,
    .keys = keys,
    .parse = parse,
    .plan = plan,
    .execute = execute,
};
