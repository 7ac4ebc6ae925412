/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * thermal: the temperature around the chip, as an axis of a sweep: the bench's chamber is set, and what
 * follows waits until the air has been within a window for a soak time. The runner's thread. */
#ifndef SWEEPS_THERMAL_H
#define SWEEPS_THERMAL_H

#include "sweeps/campaign.h"
#include "sweeps/run.h"
#include "sweeps/step.h"

struct run;

/* What a run has done to the chamber, so that it is left as it was found. Zero: nothing yet. */
struct thermal {
    bool touched;                     /* `found` is to be put back */
    bool switches;                    /* it has a switch, and this run has used it */
    struct run_chamber found;         /* before the run's first life */
    double set_c;                     /* soaked at this one; NAN: at none */
    const struct campaign_axis *axis; /* that wanted it */
};

/* The only chamber channel of the bench that feeds no axis of its own; NULL when there is none, or several.
 */
const struct bench_channel *thermal_channel(const struct bench_file *file);
/* Values against the limits of chamber and chip, and that there is a chamber. */
void thermal_check(struct plan_state *state, const struct campaign_axis *axis, int k, const char *pointer);
/* Sets and soaks; nothing when it has soaked there already. ERR_TIMEOUT when it does not get there within the
 * axis's limit. */
int thermal_apply(struct run *run, const struct campaign_axis *axis, double celsius, struct error *err);
/* What an interrupted run had found is put back at the end of the one that goes on. */
void thermal_take_over(struct run *run);
/* After outputs were off, which may have switched the chamber off: to where it was, and soaks. */
int thermal_again(struct run *run, struct error *err);
/* At the end of a run: set point and switch as they were found, without waiting. */
int thermal_leave(struct run *run, struct error *err);

#endif
