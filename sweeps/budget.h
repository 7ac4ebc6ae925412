/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * budget: how long a run may take, and what fits into that. Pure arithmetic: before a run with planned costs,
 * during one with the measured ones. The end of the run, power-down and reports, is always kept free. */
#ifndef SWEEPS_BUDGET_H
#define SWEEPS_BUDGET_H

#include "sweeps/plan.h"

/* ---- In advance ---- */
struct budget_forecast {
    int fits, cut;    /* points; what the plan skips anyway counts as neither */
    double reserve_s; /* kept for the end of the run */
    double used_s;    /* planned, of what fits and of the end */
};
/* Walks through the plan as the run will. ret_cut[plan->cell_count] or NULL: which points do not fit. */
void budget_forecast(const struct plan *plan, double budget_s, bool *ret_cut,
                     struct budget_forecast *ret_forecast);
/* {"budget_s","reserve_s","used_s","fits","cut","cells":[{step,name,cell,axes,duration_s}, at most
 * BUDGET_CELLS_MAX]}; NULL when out of memory. */
enum { BUDGET_CELLS_MAX = 100 };
cJSON *budget_json(const struct plan *plan, double budget_s);
/* Planned seconds of a point of the plan. */
double budget_cell_s(const struct plan *plan, int cell_index);
/* Power-down, what is reported after it, and the last look at the outputs. */
double budget_reserve_s(const struct plan *plan);
/* Nothing is measured by a step of this kind: it is done however late it is, for it ends the run. */
bool budget_ends_run(const struct campaign_step *step);
/* What comes after such a step is worth nothing without it: when it does not fit nothing does. */
bool budget_rests_on(const struct campaign_step *step);

/* ---- On the way ---- */
struct budget {
    int64_t end_ns;                /* bench clock; 0: as long as it takes */
    double reserve_s;              /* kept for the end of the run */
    double planned_s, spent_s;     /* of the points that were measured so far */
    double step_planned_s, step_s; /* the same in this step */
};
/* What a point planned for so long will take, by what those before it took: of its own step, or else of any.
 */
double budget_estimate_s(const struct budget *budget, double planned_s);
bool budget_fits(const struct budget *budget, int64_t now_ns, double planned_s);
/* Nothing but the end of the run may be done any more. */
bool budget_is_over(const struct budget *budget, int64_t now_ns);
void budget_begin_step(struct budget *budget);
void budget_measured(struct budget *budget, double planned_s, double spent_s);

#endif
