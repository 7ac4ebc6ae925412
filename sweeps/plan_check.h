/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * plan_check: every value that a plan would ask an output for, held against chip profile and instrument. */
#ifndef SWEEPS_PLAN_CHECK_H
#define SWEEPS_PLAN_CHECK_H

#include "sweeps/step.h"

/* Does the bench feed every rail of the profile, has it the SPI bridge and the test bus that the steps need?
 */
void plan_check_bench(const struct plan_state *state);
/* Lists a value that the plan will ask an output for, once, with the limits that it was held against. */
void plan_list_setpoint(const struct plan_state *state, const struct plan_setpoint *setpoint);
/* A remark about the step being planned, for who reads the plan; the first one stays. */
void plan_note(const struct plan_state *state, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* One voltage of one rail: listed in the plan, and a problem at `pointer` when it is outside of the tighter
 * limits. */
void plan_check_voltage(const struct plan_state *state, const char *pointer, int rail, double volt_v);
/* All rails that `target_v` moves (NaN: stays). */
void plan_check_targets(const struct plan_state *state, const char *pointer, const double *target_v);
/* Does the data set fit the loaded network, and hold so many samples? */
void plan_check_samples(const struct plan_state *state, const char *pointer, const char *key, int dataset,
                        int samples);

#endif
