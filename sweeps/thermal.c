/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * thermal: setting, soaking, leaving. */
#include "sweeps/thermal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "instruments/chamber.h"
#include "sweeps/runner.h"

#define POLL_S 1.0

const struct bench_channel *thermal_channel(const struct bench_file *file)
{
    const struct bench_channel *found = NULL;
    for (int i = 0; i < file->channel_count; i++) {
        const struct bench_channel *ch = &file->channel[i];
        if (file->instrument[ch->instrument].class != CLASS_CHAMBER)
            continue;
        if (found != NULL && found->instrument != ch->instrument)
            return NULL;
        if (found == NULL) /* the first loop of a controller with several has the air */
            found = ch;
    }
    return found;
}

void thermal_check(struct plan_state *state, const struct campaign_axis *axis, int k, const char *pointer)
{
    const struct plan_inputs *inputs = state->inputs;
    const struct chip_profile *profile = inputs->profile;
    const struct bench_channel *ch = inputs->bench != NULL ? thermal_channel(inputs->bench) : NULL;
    double celsius = axis->value[k];

    if (inputs->backend != CAMPAIGN_CHIP)
        return;
    if (ch == NULL) {
        if (k == 0)
            step_problem(state, axis->pointer, "",
                         "a temperature needs one chamber on the bench; this one has %s", "none, or several");
        return;
    }
    if (!(celsius >= ch->temp_min_c && celsius <= ch->temp_max_c))
        step_problem(state, pointer, "", "%g Celsius is outside %g .. %g of %s", celsius, ch->temp_min_c,
                     ch->temp_max_c, ch->name);
    if (!(celsius >= profile->operating.temperature_min_c && celsius <= profile->operating.temperature_max_c))
        step_problem(state, pointer, "", "%g Celsius is outside %g .. %g of %s", celsius,
                     profile->operating.temperature_min_c, profile->operating.temperature_max_c,
                     profile->type);
}

/* A chamber that the keeper holds is switched on only with an undo, as everything that energises. */
static int switch_on(struct run *run, const struct bench_channel *ch, struct error *err)
{
    struct bench_client *client = run->context->client;
    int rc = 0;

    if (run->context->bench_file->instrument[ch->instrument].energises)
        rc = bench_undo_register(client, UNDO_OUTPUT_OFF, ch, 0, 0, err);
    if (rc == 0)
        rc = chamber_switch(client, ch, true, err);
    run->thermal.switches = rc == 0;
    return rc == ERR_UNSUPPORTED ? 0 : rc; /* a controller without a switch works from the start */
}

/* On disk before anything is changed: the run that goes on after a death must find it there. */
static int remember(struct run *run, const struct bench_channel *ch, const struct chamber_state *state,
                    struct error *err)
{
    cJSON *details = cJSON_CreateObject();

    cJSON_AddStringToObject(details, "channel", ch->name);
    cJSON_AddBoolToObject(details, "on", state->on);
    json_add_number(details, "set_c", state->set_c);
    char *json = json_print(details, false);
    cJSON_Delete(details);
    if (json == NULL)
        return error_set(err, ERR_MEMORY, "no memory for the state of %s", ch->name);
    int rc = runner_event(run, "chamber", json, err, "%s was found at %g Celsius, %s", ch->name, state->set_c,
                          state->on ? "on" : "off");
    free(json);
    return rc == 0 ? run->sink->ack(run->sink->context, err) : rc;
}

static int begin(struct run *run, const struct bench_channel *ch, const struct campaign_axis *axis,
                 double celsius, struct error *err)
{
    struct bench_client *client = run->context->client;
    struct thermal *thermal = &run->thermal;
    struct chamber_state state;

    int rc = chamber_read(client, ch, &state, err);
    if (rc < 0)
        return rc;
    if (!thermal->touched && (rc = remember(run, ch, &state, err)) < 0)
        return rc;
    if (!thermal->touched)
        thermal->found = (struct run_chamber){ .known = true, .was_on = state.on, .set_c = state.set_c };
    thermal->touched = true;
    thermal->switches = state.on;
    thermal->set_c = NAN;
    if (state.settled != CHAMBER_DOES_NOT_SAY) {
        rc = chamber_setup(client, ch, NAN, axis->window_k, axis->soak_s, err);
        if (rc < 0 && rc != ERR_UNSUPPORTED)
            return rc;
    }
    rc = chamber_set(client, ch, celsius, err);
    return rc == 0 && !state.on ? switch_on(run, ch, err) : rc;
}

/* Both watch: the instrument, where it can, and we. */
static int soak(struct run *run, const struct bench_channel *ch, const struct campaign_axis *axis,
                double celsius, struct error *err)
{
    int64_t start_ns = runner_now(run), inside_ns = INT64_MAX;

    for (;;) {
        struct chamber_state state;
        int rc = chamber_read(run->context->client, ch, &state, err);
        if (rc == 0 && state.faulty)
            rc = error_set(err, ERR_REFUSED, "%s reports a fault at %g Celsius", ch->name, state.measured_c);
        if (rc < 0)
            return rc;
        int64_t now_ns = runner_now(run);
        if (!(fabs(state.measured_c - celsius) <= axis->window_k))
            inside_ns = INT64_MAX;
        else if (inside_ns == INT64_MAX)
            inside_ns = now_ns;
        bool soaked = inside_ns != INT64_MAX && (double)(now_ns - inside_ns) / NS_PER_S >= axis->soak_s;
        if (soaked && state.settled != CHAMBER_UNSETTLED)
            return 0;
        if ((double)(now_ns - start_ns) / NS_PER_S >= axis->limit_s)
            return error_set(err, ERR_TIMEOUT, "%s is at %g Celsius, not soaked at %g, after %g s", ch->name,
                             state.measured_c, celsius, axis->limit_s);
        rc = runner_wait(run, POLL_S, err);
        if (rc < 0)
            return rc;
    }
}

/* A power-down in between may have switched it off, and a person may have been there. */
static int is_there(struct run *run, const struct bench_channel *ch, const struct campaign_axis *axis,
                    bool *ret_there, struct error *err)
{
    const struct thermal *thermal = &run->thermal;
    struct chamber_state state;

    int rc = chamber_read(run->context->client, ch, &state, err);
    if (rc == 0)
        *ret_there = (state.on || !thermal->switches) && !state.faulty &&
                     fabs(state.set_c - thermal->set_c) < axis->window_k &&
                     fabs(state.measured_c - thermal->set_c) <= axis->window_k;
    return rc;
}

int thermal_apply(struct run *run, const struct campaign_axis *axis, double celsius, struct error *err)
{
    const struct bench_channel *ch = thermal_channel(run->context->bench_file);

    if (ch == NULL)
        return error_set(err, ERR_UNSUPPORTED, "this bench has no chamber, or several");
    bool there = false;
    int rc = run->thermal.touched && run->thermal.set_c == celsius ? is_there(run, ch, axis, &there, err) : 0;
    if (rc < 0 || there)
        return rc;
    rc = begin(run, ch, axis, celsius, err);
    if (rc == 0)
        rc = soak(run, ch, axis, celsius, err);
    if (rc == 0) {
        run->thermal.set_c = celsius;
        run->thermal.axis = axis;
    }
    return rc;
}

void thermal_take_over(struct run *run)
{
    const struct run_chamber *found = &run->context->history->chamber;

    if (run->has_bench && found->known)
        run->thermal = (struct thermal){ .touched = true, .switches = true, .found = *found, .set_c = NAN };
}

int thermal_again(struct run *run, struct error *err)
{
    const struct thermal *thermal = &run->thermal;

    if (thermal->axis == NULL || isnan(thermal->set_c))
        return 0;
    return thermal_apply(run, thermal->axis, thermal->set_c, err);
}

int thermal_leave(struct run *run, struct error *err)
{
    const struct thermal *thermal = &run->thermal;

    if (!thermal->touched)
        return 0;
    const struct bench_channel *ch = thermal_channel(run->context->bench_file);
    int rc = chamber_set(run->context->client, ch, thermal->found.set_c, err);
    if (thermal->switches && !thermal->found.was_on && rc == 0)
        rc = chamber_switch(run->context->client, ch, false, err);
    run->thermal.touched = false;
    return rc == ERR_UNSUPPORTED ? 0 : rc; /* of an earlier life's nobody knew whether it can be switched */
}
