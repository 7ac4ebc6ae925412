/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * strategy: which cell comes next, as a pure function of the plan and of what has been recorded. An
 * interrupted run continues by replay: the same outcomes give the same next cell. */
#ifndef SWEEPS_STRATEGY_H
#define SWEEPS_STRATEGY_H

#include "sweeps/plan.h"

enum { STRATEGY_DONE = -1 };

/* verdict[i]: of the step's i-th cell (enum verdict), VERDICT_NONE where nothing is recorded. Returns the
 * index within the step of the next cell to measure, or STRATEGY_DONE. Cells that the plan skips are never
 * returned. */
int strategy_next(const struct plan *plan, const struct plan_step *step, const int *verdict);
/* What bisection concludes about a cell that it has not measured: VERDICT_INFERRED when the boundary lies
 * elsewhere, else NONE. */
int strategy_inferred(const struct plan *plan, const struct plan_step *step, const int *verdict, int index);

#endif
