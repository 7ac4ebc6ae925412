/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * pause: a run that waits for a person, between points: because somebody asked for it, or because the error
 * policy holds it. Runner thread. Internal to sweeps/. */
#ifndef SWEEPS_PAUSE_H
#define SWEEPS_PAUSE_H

#include "sweeps/runner.h"

/* Somebody wants the run to wait, or it does. */
bool pause_wanted(const struct run *run);
/* Returns when nobody wants a pause (any more), or a stop or abort was asked for. */
int pause_here(struct run *run, struct error *err);
/* Holds: outputs down, until a person resumes; then everything is put back. `why` is recorded. */
int pause_hold(struct run *run, const char *why, struct error *err);

#endif
