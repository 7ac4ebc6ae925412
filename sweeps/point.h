/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * point: one point through all its attempts: measure, record, and what the error policy does about a failure.
 * Runner thread. Internal to sweeps/. */
#ifndef SWEEPS_POINT_H
#define SWEEPS_POINT_H

#include "sweeps/runner.h"

/* Attempts until one succeeds or the policy has enough. 0: go on with the run, whatever the verdict; else the
 * error that ends it. Serves steps without points (point->cell NULL), too: those end the run when they fail.
 */
int point_run(struct run *run, struct run_point *point, struct error *err);
int point_record_cell(struct run *run, const struct plan_cell *cell, struct error *err);
int point_record_attempt(struct run *run, const struct run_point *point, bool end, int code,
                         const char *message, struct error *err);

#endif
