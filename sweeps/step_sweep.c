/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * step_sweep: axes, and what is done at each cell. The run asks sweeps/strategy which cell comes next; one
 * execution here is one attempt of one cell: put its values in force, then do its steps. */
#include "sweeps/axes.h"
#include "sweeps/cost.h"
#include "sweeps/plan_check.h"
#include "sweeps/runner.h"
#include "sweeps/thermal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool measures(const struct campaign_step *step)
{
    const struct step_type *type = step_type_of(step->kind);

    return type->in_sweep && type->makes_point;
}

/* What one step of a point is called must not be what another one is called. */
static void refuse_same_name(const struct json_at *todo, const struct step_sweep *sweep, int index)
{
    const struct campaign_step *step = &sweep->step[index];
    struct json_at item = json_element(todo, index), name = json_member(&item, "name", false);

    for (int i = 0; i < index; i++) {
        if (!measures(&sweep->step[i]) || strcasecmp(sweep->step[i].name, step->name) != 0)
            continue;
        json_problem(name.node != NULL ? &name : &item, "add a \"name\", as \"second\"",
                     "step %d of this point is called \"%s\", too: nobody could tell their readings apart", i,
                     step->name);
        return;
    }
}

/* Where several steps of a point measure, whose reading it is stands in the reading's name. The first one,
 * while it has no name of its own, keeps the names of docs/names.md. */
static void name_readings(const struct json_at *todo, struct step_sweep *sweep)
{
    int count = 0;

    for (int i = sweep->do_count - 1; i >= 0; i--) {
        if (!measures(&sweep->step[i]))
            continue;
        sweep->main_step = i;
        sweep->several = count++ > 0;
    }
    for (int i = 0; i < sweep->do_count && sweep->several; i++) {
        struct campaign_step *step = &sweep->step[i];
        bool has_name = step->name[0] != '\0';

        if (!measures(step))
            continue;
        if (!has_name)
            snprintf(step->name, sizeof step->name, "%s", campaign_step_kind_name(step->kind));
        refuse_same_name(todo, sweep, i);
        if (strlen(step->name) > CAMPAIGN_PREFIX_MAX - 2) {
            struct json_at item = json_element(todo, i), name = json_member(&item, "name", false);
            json_problem(&name, "", "stands before the names of readings: longer than %d characters",
                         CAMPAIGN_PREFIX_MAX - 2);
        } else if (has_name || i != sweep->main_step) {
            snprintf(step->prefix, sizeof step->prefix, "%.*s.", CAMPAIGN_PREFIX_MAX - 2, step->name);
        }
    }
}

static void parse(const struct json_at *at, const struct campaign *campaign, struct campaign_step *step)
{
    struct step_sweep *sweep = &step->u.sweep;
    struct json_at todo = json_member(at, "do", true);
    int count = json_count(&todo);

    axes_parse(at, sweep);
    if (count < 1 || count > CAMPAIGN_DO_MAX || !cJSON_IsArray(todo.node)) {
        if (todo.node != NULL)
            json_problem(&todo, "[ {\"step\":\"accuracy\", ... } ]", "needs a list of 1 to %d steps",
                         CAMPAIGN_DO_MAX);
        return;
    }
    sweep->step = calloc((size_t)count, sizeof *sweep->step);
    if (sweep->step == NULL) {
        json_problem(&todo, "", "no memory for the steps of a sweep");
        return;
    }
    sweep->do_count = count;
    for (int i = 0; i < count; i++) {
        struct json_at item = json_element(&todo, i);
        step_parse(&item, campaign, true, &sweep->step[i]);
    }
    name_readings(&todo, sweep);
}

#define ROOM_C 25.0 /* where a chamber is taken to start from */

/* Where the k-th value of an axis stands in the campaign. */
static void value_pointer(const struct campaign_axis *axis, int k, char *out, size_t size)
{
    if (axis->is_list)
        snprintf(out, size, "%s/list/%d", axis->pointer, k);
    else
        snprintf(out, size, "%s", axis->pointer);
}

static void check_rails(struct plan_state *state, const struct campaign_axis *axis, int k,
                        const char *pointer)
{
    const struct chip_profile *profile = state->inputs->profile;
    int found = 0;

    for (int i = 0; i < profile->rail_count; i++) {
        const char *name = axis->set == AXIS_RAIL ? profile->rail[i].name : profile->rail[i].group;
        if (strcmp(name, axis->target) != 0)
            continue;
        plan_check_voltage(state, pointer, i, axis->value[k]);
        found++;
    }
    if (found == 0 && k == 0) {
        const char *names[2 * PROFILE_RAILS_MAX + 1] = { NULL };
        for (int i = 0; i < profile->rail_count; i++)
            names[i] = axis->set == AXIS_RAIL ? profile->rail[i].name : profile->rail[i].group;
        const char *nearest = json_nearest(axis->target, names);
        step_problem(state, axis->pointer, nearest != NULL ? nearest : "", "%s has no %s \"%s\"",
                     profile->type, axis->set == AXIS_RAIL ? "rail" : "group of rails", axis->target);
    }
}

static void check_axis(struct plan_state *state, const struct campaign_axis *axis)
{
    double spi_max = state->inputs->profile->spi.clock_max_hz;

    for (int k = 0; k < axis->count; k++) {
        char pointer[JSON_POINTER_MAX + 16];

        value_pointer(axis, k, pointer, sizeof pointer);
        switch (axis->set) {
        case AXIS_RAIL:
        case AXIS_GROUP:
            check_rails(state, axis, k, pointer);
            break;
        case AXIS_SPI_HZ:
            if (!(axis->value[k] > 0.0 && axis->value[k] <= spi_max)) {
                char hint[40];
                snprintf(hint, sizeof hint, "%.9g Hz", spi_max);
                step_problem(state, pointer, hint, "the SPI of %s cannot run at %.9g Hz",
                             state->inputs->profile->type, axis->value[k]);
            }
            break;
        case AXIS_TEMPERATURE:
            thermal_check(state, axis, k, pointer);
            break;
        case AXIS_ADC_BITS:
            step_check_bits(state, pointer, (int)axis->value[k]);
            break;
        default:
            step_check_gain(state, pointer, (int)axis->value[k]);
            break;
        }
    }
}

/* What the values of a cell would put in force. */
static void cell_state(const struct plan_state *state, const struct step_sweep *sweep, const double *value,
                       struct plan_state *ret_state)
{
    const struct chip_profile *profile = state->inputs->profile;

    *ret_state = *state;
    for (int i = 0; i < sweep->axis_count; i++) {
        const struct campaign_axis *axis = &sweep->axis[i];
        if (axis->set == AXIS_ADC_BITS)
            ret_state->adc.bits = (int)value[i];
        else if (axis->set == AXIS_ADC_GAIN)
            ret_state->adc.gain = (int)value[i];
        else if (axis->set == AXIS_SPI_HZ)
            ret_state->spi_hz = value[i];
        else if (axis->set == AXIS_TEMPERATURE) {
            ret_state->soaks = true;
            ret_state->temperature_c = value[i];
            ret_state->soak_s = axis->soak_s;
        }
        for (int rail = 0; rail < profile->rail_count; rail++) {
            if ((axis->set == AXIS_RAIL && strcmp(profile->rail[rail].name, axis->target) == 0) ||
                (axis->set == AXIS_GROUP && strcmp(profile->rail[rail].group, axis->target) == 0))
                ret_state->rail_v[rail] = value[i];
        }
    }
}

/* Number of cells that a strategy measures, for the estimate: bisection looks at the ends and then halves. */
static double measured_share(const struct step_sweep *sweep)
{
    if (sweep->strategy != STRATEGY_BISECT || sweep->bisect_axis < 0)
        return 1.0;
    int count = sweep->axis[sweep->bisect_axis].count;
    return fmin(1.0, (2.0 + ceil(log2(count > 1 ? count - 1 : 1))) / count);
}

static void add_cell_cost(struct plan_state *from, struct plan_state *to, const struct step_sweep *sweep,
                          struct plan_cost *cost)
{
    cost->bytes += COST_POINT_BYTES;
    if (from->inputs->backend == CAMPAIGN_CHIP) {
        cost->seconds += cost_move_s(from->inputs, from->rail_v, to->rail_v);
        if (to->soaks && !(from->soaks && from->temperature_c == to->temperature_c))
            cost->seconds +=
                cost_soak_s(from->soaks ? from->temperature_c : ROOM_C, to->temperature_c, to->soak_s);
        if (to->network >= 0 && (to->adc.bits != from->adc.bits || to->adc.gain != from->adc.gain))
            cost->seconds += cost_load_s(to, to->network, false);
    }
    for (int i = 0; i < sweep->do_count; i++) {
        const struct campaign_step *step = &sweep->step[i];
        struct plan_cost one = { 0 };
        step_type_of(step->kind)->plan(to, step, &one);
        cost->seconds += one.seconds;
        cost->bytes += one.bytes;
        cost->samples += one.samples;
    }
}

static void plan(struct plan_state *state, const struct campaign_step *step, struct plan_cost *cost)
{
    const struct step_sweep *sweep = &step->u.sweep;
    const struct plan_step *planned = &state->plan->step[state->step];
    int problems = state->problems->count;
    struct plan_cost total = { 0 };
    struct plan_state here = *state;

    for (int i = 0; i < sweep->axis_count; i++)
        check_axis(state, &sweep->axis[i]);
    for (int i = 0; i < sweep->do_count; i++) {
        struct plan_state now = *state;
        if (sweep->step[i].kind >= 0)
            step_check_needs(&now, &sweep->step[i]);
    }
    if (state->problems->count > problems)
        return; /* said once per axis value, not once per cell */
    for (int i = 0; i < planned->cell_count; i++) {
        struct plan_cell *cell = &state->plan->cell[planned->first_cell + i];
        double before_s = total.seconds;
        struct plan_state there;
        if (cell->skip[0] != '\0')
            continue;
        cell_state(&here, sweep, cell->value, &there);
        add_cell_cost(&here, &there, sweep, &total);
        cell->duration_s = total.seconds - before_s;
        here = there;
        if (state->problems->count > problems)
            return;
    }
    double share = measured_share(sweep);
    cost->seconds += total.seconds * share;
    cost->bytes += total.bytes * share;
    cost->samples += (int64_t)((double)total.samples * share);
    *state = here;
}

/* The worse of two verdicts of steps at one cell. */
static int worse(int a, int b)
{
    static const int rank[VERDICT_COUNT] = {
        [VERDICT_PASS] = 1, [VERDICT_MARGINAL] = 2, [VERDICT_SUSPECT] = 3, [VERDICT_FAIL] = 4
    };

    return rank[a] >= rank[b] ? a : b;
}

/* Samples that a step of a cell records; those of the next step follow behind them. */
static int samples_of(const struct campaign_step *step)
{
    return step->kind == STEP_ACCURACY || step->kind == STEP_INFER ? step->u.accuracy.samples : 0;
}

static int execute(struct run *run, struct run_point *point, struct error *err)
{
    const struct step_sweep *sweep = &point->what->u.sweep;
    struct judged *further = point->outcome->further;
    int verdict = VERDICT_PASS, first_sample = 0;

    for (int i = 0; i < sweep->do_count && further != NULL; i++)
        judge_clear(&further[i]);
    int rc = runner_apply(run, sweep, point->cell, err);
    for (int i = 0; i < sweep->do_count && rc == 0; i++) {
        struct run_point inner = *point;
        const struct step_type *type = step_type_of(sweep->step[i].kind);
        struct run_outcome own = { .dataset = -1 };

        judge_clear(&own.judged);
        inner.first_sample = first_sample;
        first_sample += samples_of(&sweep->step[i]);
        if (!run->has_bench && (type->needs & STEP_NEEDS_CHIP))
            continue;
        inner.what = &sweep->step[i];
        inner.prefix = sweep->step[i].prefix;
        inner.verdict = VERDICT_PASS;
        if (i != sweep->main_step) /* limits are held against what the step itself has found */
            inner.outcome = &own;
        rc = type->execute(run, &inner, err);
        if (i != sweep->main_step && further != NULL)
            further[i] = own.judged;
        verdict = worse(verdict, inner.verdict);
    }
    point->verdict = verdict;
    return rc;
}

/* The values of the cell that was measured last: what comes after a sweep finds them in force. */
static int restore(struct run *run, int step, struct error *err)
{
    const struct plan_step *planned = &run->plan->step[step];
    int64_t newest = 0;
    int last = -1;

    for (int i = planned->first_cell; i < planned->first_cell + planned->cell_count; i++) {
        const struct run_outcome *outcome = &run->outcome[i];
        if (outcome->verdict == VERDICT_SKIPPED || outcome->verdict == VERDICT_INFERRED ||
            outcome->order <= newest)
            continue;
        newest = outcome->order;
        last = i;
    }
    return last >= 0 ? runner_apply(run, &planned->step->u.sweep, &run->plan->cell[last], err) : 0;
}

static const char *const keys[] = { "axes", "order", "strategy", "constraints", "do", NULL };
const struct step_type step_sweep_type = {
    .name = "sweep",
    .needs = STEP_NEEDS_POWER,
    .makes_point = true,
    .keys = keys,
    .parse = parse,
    .plan = plan,
    .execute = execute,
    .restore = restore,
};
