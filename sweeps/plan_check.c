/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * plan_check: limits of chip and bench. A campaign that asks for more is refused before anything is switched
 * on. */
#include "sweeps/plan_check.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void plan_check_bench(const struct plan_state *state)
{
    const struct chip_profile *profile = state->inputs->profile;
    const struct bench_file *bench = state->inputs->bench;

    for (int i = 0; i < profile->rail_count; i++) {
        const struct profile_rail *rail = &profile->rail[i];
        const struct bench_channel *channel = bench_file_rail(bench, rail->name);

        if (channel == NULL || !channel->can_source) {
            step_problem(state, "/bench", "", "%s feeds no rail \"%s\", which %s needs", bench->name,
                         rail->name, profile->type);
        } else if (rail->limit_a < channel->limit_min_a || rail->limit_a > channel->limit_max_a) {
            char hint[80];
            snprintf(hint, sizeof hint, "%.4g to %.4g A", channel->limit_min_a, channel->limit_max_a);
            step_problem(state, "/bench", hint, "%s cannot be limited to %.4g A by %s", rail->name,
                         rail->limit_a, channel->name);
        }
    }
    if (profile->rail_count > 0 && bench->spi_instrument < 0)
        step_problem(state, "/bench", "", "%s has no SPI bridge", bench->name);
}

void plan_note(const struct plan_state *state, const char *format, ...)
{
    struct plan_step *step = &state->plan->step[state->step];
    va_list args;

    if (step->note[0] != '\0')
        return;
    va_start(args, format);
    vsnprintf(step->note, sizeof step->note, format, args);
    va_end(args);
}

void plan_list_setpoint(const struct plan_state *state, const struct plan_setpoint *setpoint)
{
    struct plan *plan = state->plan;

    for (int i = 0; i < plan->setpoint_count; i++) {
        if (strcmp(plan->setpoint[i].rail, setpoint->rail) == 0 &&
            plan->setpoint[i].volt_v == setpoint->volt_v)
            return;
    }
    if (plan->setpoint_count < PLAN_SETPOINTS_MAX)
        plan->setpoint[plan->setpoint_count++] = *setpoint;
}

void plan_check_voltage(const struct plan_state *state, const char *pointer, int rail, double volt_v)
{
    const struct profile_rail *limits = &state->inputs->profile->rail[rail];
    const struct bench_channel *channel = bench_file_rail(state->inputs->bench, limits->name);
    struct plan_setpoint setpoint = { .step = state->step, .volt_v = volt_v, .limit_a = limits->limit_a };

    if (channel == NULL)
        return; /* reported once, by plan_check_bench */
    snprintf(setpoint.rail, sizeof setpoint.rail, "%s", limits->name);
    setpoint.min_v = fmax(limits->min_v, channel->volt_min_v);
    setpoint.max_v = fmin(limits->max_v, channel->volt_max_v);
    plan_list_setpoint(state, &setpoint);

    if (volt_v >= setpoint.min_v && volt_v <= setpoint.max_v)
        return;
    bool above = volt_v > setpoint.max_v;
    double bound = above ? setpoint.max_v : setpoint.min_v;
    bool by_chip = bound == (above ? limits->max_v : limits->min_v);
    char hint[80];
    snprintf(hint, sizeof hint, "%.4g V", bound);
    step_problem(state, pointer, hint, "%s would be set to %.4g V, %s the %.4g V that %s allows",
                 limits->name, volt_v, above ? "above" : "below", bound,
                 by_chip ? state->inputs->profile->type : channel->name);
}

void plan_check_targets(const struct plan_state *state, const char *pointer, const double *target_v)
{
    for (int i = 0; i < state->inputs->profile->rail_count; i++) {
        if (!isnan(target_v[i]))
            plan_check_voltage(state, pointer, i, target_v[i]);
    }
}

void plan_check_samples(const struct plan_state *state, const char *pointer, const char *key, int dataset,
                        int samples)
{
    const struct assets *assets = state->inputs->assets;

    if (dataset < 0 || dataset >= assets->dataset_count)
        return;
    const struct asset_dataset *set = &assets->dataset[dataset];
    char place[JSON_POINTER_MAX + 16];

    if (set->count == 0)
        return; /* could not be opened: reported there */
    if (samples > set->count) {
        char hint[40];
        snprintf(hint, sizeof hint, "%d", set->count);
        snprintf(place, sizeof place, "%s%s", pointer, key);
        step_problem(state, place, hint, "%d samples are asked for; the data set has %d", samples,
                     set->count);
    }
    int input_bytes = state->network >= 0 ? assets->network[state->network].input_bytes : 0;
    if (input_bytes > 0 && set->sample_bytes != input_bytes) {
        snprintf(place, sizeof place, "%s/dataset", pointer);
        step_problem(state, place, "", "a sample has %d bytes, the network's input %d", set->sample_bytes,
                     input_bytes);
    }
}
