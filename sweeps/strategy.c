/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * strategy: the grid takes every cell in planned order. Bisection looks, for each combination of the other
 * axes, for the place along one axis where the verdict turns from pass to fail. */
#include "sweeps/strategy.h"

#include <string.h>

#include "daemon/base/record.h"

static int next_of_grid(const struct plan *plan, const struct plan_step *step, const int *verdict)
{
    for (int i = 0; i < step->cell_count; i++) {
        if (verdict[i] == VERDICT_NONE && plan->cell[step->first_cell + i].skip[0] == '\0')
            return i;
    }
    return STRATEGY_DONE;
}

/* Do two cells differ in the bisected axis alone? */
static bool same_line(const struct step_sweep *sweep, const struct plan_cell *a, const struct plan_cell *b)
{
    if (a->repeat != b->repeat)
        return false;
    for (int i = 0; i < sweep->axis_count; i++) {
        if (i != sweep->bisect_axis && a->value[i] != b->value[i])
            return false;
    }
    return true;
}

/* The cells of one line, from the side that should pass to the side that should fail; without those that are
 * not measured, by plan or because there was no time. */
static int line_of(const struct plan *plan, const struct plan_step *step, const int *verdict, int member,
                   int *ret_index)
{
    const struct step_sweep *sweep = &step->step->u.sweep;
    const struct plan_cell *cell = &plan->cell[step->first_cell];
    int n = 0;

    for (int i = 0; i < step->cell_count && n < CAMPAIGN_VALUES_MAX; i++) {
        if (!same_line(sweep, &cell[i], &cell[member]) || cell[i].skip[0] != '\0' ||
            verdict[i] == VERDICT_SKIPPED)
            continue;
        double value = cell[i].value[sweep->bisect_axis];
        int k = n++;
        for (; k > 0; k--) {
            double other = cell[ret_index[k - 1]].value[sweep->bisect_axis];
            if (sweep->bisect_low_passes ? other <= value : other >= value)
                break;
            ret_index[k] = ret_index[k - 1];
        }
        ret_index[k] = i;
    }
    return n;
}

/* Marginal counts as passing: the boundary is where failing begins. */
static bool passes(int verdict)
{
    return verdict == VERDICT_PASS || verdict == VERDICT_MARGINAL;
}

/* Bounds of the boundary on a line: *low is the last known pass (-1 none), *high the first known non-pass (n
 * none). */
static void bounds(const int *index, int n, const int *verdict, int *low, int *high)
{
    *low = -1;
    *high = n;
    for (int i = 0; i < n; i++) {
        if (passes(verdict[index[i]]))
            *low = i;
    }
    for (int i = n - 1; i > *low; i--) {
        if (verdict[index[i]] != VERDICT_NONE && verdict[index[i]] != VERDICT_INFERRED)
            *high = i;
    }
}

static int next_of_line(const int *index, int n, const int *verdict)
{
    int low, high;

    bounds(index, n, verdict, &low, &high);
    if (high - low <= 1)
        return STRATEGY_DONE;
    if (low < 0 && high == n)
        return index[0]; /* the side that should pass, first: if it fails, the line is settled */
    if (low == 0 && high == n)
        return index[n - 1];
    return index[(low + high) / 2];
}

static int next_of_bisection(const struct plan *plan, const struct plan_step *step, const int *verdict)
{
    int index[CAMPAIGN_VALUES_MAX];

    for (int i = 0; i < step->cell_count; i++) {
        int n = line_of(plan, step, verdict, i, index);
        if (n == 0 || plan->cell[step->first_cell + i].skip[0] != '\0')
            continue;
        int next = next_of_line(index, n, verdict);
        if (next != STRATEGY_DONE)
            return next;
    }
    return STRATEGY_DONE;
}

int strategy_next(const struct plan *plan, const struct plan_step *step, const int *verdict)
{
    if (step->step->kind == STEP_SWEEP && step->step->u.sweep.strategy == STRATEGY_BISECT)
        return next_of_bisection(plan, step, verdict);
    return next_of_grid(plan, step, verdict);
}

int strategy_inferred(const struct plan *plan, const struct plan_step *step, const int *verdict, int index)
{
    int line[CAMPAIGN_VALUES_MAX];

    if (step->step->kind != STEP_SWEEP || step->step->u.sweep.strategy != STRATEGY_BISECT ||
        verdict[index] != VERDICT_NONE || plan->cell[step->first_cell + index].skip[0] != '\0')
        return VERDICT_NONE;
    int n = line_of(plan, step, verdict, index, line);
    return next_of_line(line, n, verdict) == STRATEGY_DONE ? VERDICT_INFERRED : VERDICT_NONE;
}
