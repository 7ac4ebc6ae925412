/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * budget: sums of planned and of measured times. */
#include "sweeps/budget.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sweeps/rules.h"

#define NS_PER_SECOND 1e9
/* A first point that was odd must not rule out all others, or let all others in. */
#define FACTOR_MIN 0.2
#define FACTOR_MAX 20.0

bool budget_ends_run(const struct campaign_step *step)
{
    return (step->kind == STEP_POWER && !step->u.power.up) || step->kind == STEP_REPORT ||
           step->kind == STEP_COMPARE;
}

bool budget_rests_on(const struct campaign_step *step)
{
    switch (step->kind) {
    case STEP_SWEEP:
    case STEP_ACCURACY:
    case STEP_INFER:
    case STEP_MEASURE:
    case STEP_RECORD:
        return false;
    default:
        return !budget_ends_run(step);
    }
}

double budget_reserve_s(const struct plan *plan)
{
    /* Whatever the campaign's own power-down has done, the end of the run looks at every output once more. */
    double reserve_s = plan->down_s;

    for (int i = 0; i < plan->step_count; i++)
        if (budget_ends_run(plan->step[i].step))
            reserve_s += plan->step[i].duration_s;
    return reserve_s;
}

double budget_cell_s(const struct plan *plan, int cell_index)
{
    const struct plan_step *step = &plan->step[plan->cell[cell_index].step];
    double whole_s = 0.0;

    for (int i = 0; i < step->cell_count; i++)
        whole_s += plan->cell[step->first_cell + i].duration_s;
    if (!(whole_s > 0.0))
        return step->duration_s / step->cell_count;
    /* A strategy that looks at some cells only is planned to take a share of the whole. */
    return plan->cell[cell_index].duration_s * (step->duration_s / whole_s);
}

static bool is_measured(const struct plan *plan, int cell_index)
{
    return plan->cell[cell_index].skip[0] == '\0';
}

void budget_forecast(const struct plan *plan, double budget_s, bool *ret_cut,
                     struct budget_forecast *ret_forecast)
{
    struct budget_forecast forecast = { .reserve_s = budget_reserve_s(plan) };
    struct rules_clock rules;
    double spent_s = 0.0;
    bool over = false;

    rules_clock_start(plan, &rules);
    for (int i = 0; i < plan->step_count; i++) {
        const struct plan_step *step = &plan->step[i];
        if (budget_ends_run(step->step))
            continue; /* in the reserve */
        if (step->cell_count == 0) {
            over = over || spent_s + step->duration_s + forecast.reserve_s > budget_s;
            spent_s += over ? 0.0 : step->duration_s;
        }
        for (int k = step->first_cell; k < step->first_cell + step->cell_count; k++) {
            double cell_s = budget_cell_s(plan, k);
            if (step->step->kind == STEP_SWEEP && is_measured(plan, k) && !over) {
                double due_s = rules_clock_pass(plan, &rules, spent_s);
                over = due_s > 0.0 && spent_s + due_s + forecast.reserve_s > budget_s;
                spent_s += over ? 0.0 : due_s;
            }
            bool cut = is_measured(plan, k) && (over || spent_s + cell_s + forecast.reserve_s > budget_s);
            spent_s += cut || !is_measured(plan, k) ? 0.0 : cell_s;
            forecast.cut += cut;
            forecast.fits += is_measured(plan, k) && !cut;
            over = over || (cut && budget_rests_on(step->step));
            if (ret_cut != NULL)
                ret_cut[k] = cut;
        }
    }
    forecast.used_s = spent_s + forecast.reserve_s;
    *ret_forecast = forecast;
}

static void add_cell(const struct plan *plan, int index, cJSON *list)
{
    const struct plan_cell *cell = &plan->cell[index];
    cJSON *item = cJSON_CreateObject(), *axes = NULL;

    cJSON_AddItemToArray(list, item);
    json_add_number(item, "step", cell->step);
    cJSON_AddStringToObject(item, "name", plan->step[cell->step].step->name);
    json_add_number(item, "cell", cell->index);
    if (json_parse(cell->axes_json, strlen(cell->axes_json), &axes, NULL) == 0)
        cJSON_AddItemToObject(item, "axes", axes);
    json_add_number(item, "duration_s", budget_cell_s(plan, index));
}

cJSON *budget_json(const struct plan *plan, double budget_s)
{
    bool *cut = calloc((size_t)plan->cell_count + 1, sizeof *cut);
    cJSON *root = cJSON_CreateObject();
    struct budget_forecast forecast;
    int told = 0;

    if (cut == NULL || root == NULL) {
        free(cut);
        cJSON_Delete(root);
        return NULL;
    }
    budget_forecast(plan, budget_s, cut, &forecast);
    json_add_number(root, "budget_s", budget_s);
    json_add_number(root, "reserve_s", forecast.reserve_s);
    json_add_number(root, "used_s", forecast.used_s);
    json_add_number(root, "fits", forecast.fits);
    json_add_number(root, "cut", forecast.cut);
    cJSON *list = cJSON_AddArrayToObject(root, "cells");
    for (int i = 0; i < plan->cell_count && told < BUDGET_CELLS_MAX; i++) {
        if (!cut[i])
            continue;
        add_cell(plan, i, list);
        told++;
    }
    free(cut);
    return root;
}

double budget_estimate_s(const struct budget *budget, double planned_s)
{
    double planned = budget->step_planned_s, spent = budget->step_s;

    if (!(planned > 0.0)) {
        planned = budget->planned_s;
        spent = budget->spent_s;
    }
    return planned > 0.0 ? planned_s * fmin(fmax(spent / planned, FACTOR_MIN), FACTOR_MAX) : planned_s;
}

bool budget_fits(const struct budget *budget, int64_t now_ns, double planned_s)
{
    double left_s = (double)(budget->end_ns - now_ns) / NS_PER_SECOND;

    return budget->end_ns == 0 || budget_estimate_s(budget, planned_s) + budget->reserve_s <= left_s;
}

bool budget_is_over(const struct budget *budget, int64_t now_ns)
{
    return !budget_fits(budget, now_ns, 0.0);
}

void budget_begin_step(struct budget *budget)
{
    budget->step_planned_s = budget->step_s = 0.0;
}

void budget_measured(struct budget *budget, double planned_s, double spent_s)
{
    budget->planned_s += planned_s;
    budget->spent_s += spent_s;
    budget->step_planned_s += planned_s;
    budget->step_s += spent_s;
}
