/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * takeover: what an interrupted run has recorded becomes the state of the run that continues it. Runner
 * thread. Internal to sweeps/. */
#ifndef SWEEPS_TAKEOVER_H
#define SWEEPS_TAKEOVER_H

#include "sweeps/runner.h"

/* Fills outcomes, counts and progress from context->history; without one it does nothing. */
int takeover_begin(struct run *run, struct error *err);
/* Is there nothing left to do about this step? */
bool takeover_skips(const struct run *run, int step);
/* Puts in force what the points of a finished step had found. */
int takeover_restore(struct run *run, int step, struct error *err);

#endif
