/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * record_rails: currents or volts of rails by the loggers of the instruments that feed them, as part of the
 * step "record": every value by the instrument's own clock, recorded as the trace log.RAIL.QUANTITY, and its
 * mean, least and greatest. */
#ifndef SWEEPS_RECORD_RAILS_H
#define SWEEPS_RECORD_RAILS_H

#include "sweeps/cost.h"
#include "sweeps/runner.h"

/* at: of the member "rails"; absent: no log. */
void record_rails_parse(const struct json_at *at, struct record_rails *ret);
void record_rails_plan(const struct plan_state *state, const struct campaign_step *step,
                       struct plan_cost *cost);
int record_rails_execute(struct run *run, const struct run_point *point, struct error *err);

#endif
