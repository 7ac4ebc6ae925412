/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * record_logic: what the bench's logic analyzer sees on pins of the chip, as part of the step "record". A
 * pin's capture is recorded as its level and its edges, and as the trace logic.PIN: every sample at which the
 * level is another one than before, the sample before it, the first and the last. */
#ifndef SWEEPS_RECORD_LOGIC_H
#define SWEEPS_RECORD_LOGIC_H

#include "sweeps/cost.h"
#include "sweeps/runner.h"

/* at: of the member "logic"; absent: no capture. */
void record_logic_parse(const struct json_at *at, struct record_logic *ret);
void record_logic_plan(const struct plan_state *state, const struct campaign_step *step,
                       struct plan_cost *cost);
int record_logic_execute(struct run *run, const struct run_point *point, struct error *err);

#endif
