/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * energy: power and energy figures of a point, with their conventions in one place.
 *   energy_per_inference                  sum over all rails of mean V x I while inferring, times the time
 * per inference: idle is NOT subtracted, transfers over SPI are included, loading the weights is not
 *   energy_per_inference.idle_subtracted  the same with the idle power of the same supplies subtracted
 *   energy_per_inference.compute          mean power while the chip repeats one input without any transfer,
 * times its compute time efficiency, efficiency.compute        2 operations per multiply-accumulate (as the
 * profile accounts) over that energy */
#ifndef SWEEPS_ENERGY_H
#define SWEEPS_ENERGY_H

#include "sweeps/runner.h"

/* Idle power at the voltages in force: measured when they have moved since the last time. */
int energy_idle(struct run *run, double window_s, struct error *err);
/* Figures of an activity of n inferences between two times. u_each_s: of the mean time of one, from the
 * scatter of what they took; the clock's own comes on top. */
int energy_activity(struct run *run, struct run_point *point, int64_t t0_ns, int64_t t1_ns, int64_t n,
                    double u_each_s, struct error *err);
/* Repeats one input inside the chip, often enough to fill window_s (at least `repeat` times). */
int energy_compute(struct run *run, struct run_point *point, const uint8_t *input, double window_s,
                   int repeat, struct error *err);

#endif
