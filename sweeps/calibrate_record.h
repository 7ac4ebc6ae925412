/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * calibrate_record: what a calibration of converters leaves in the store, one row per converter with the
 * points behind it, and how a resumed run takes its trims back from there. */
#ifndef SWEEPS_CALIBRATE_RECORD_H
#define SWEEPS_CALIBRATE_RECORD_H

#include "sweeps/calibrate.h"
#include "sweeps/runner.h"

/* All converters of all cores, at all voltages of one round. On the heap: some hundred kilobytes. */
struct calibration {
    struct run *run;
    struct run_point *point;
    const struct step_calibrate *step;
    const struct bench_channel *source, *meter;
    struct calibrate_trims trims;
    double reference_v, middle_v, u_reference_v, u_middle_v, temperature_c;
    int cores, converters, voltages;
    struct calibrate_point raw[RUNNER_CORES_MAX][RUNNER_CONVERTERS_MAX][CALIBRATE_POINTS_MAX];
    double volt_v[CALIBRATE_POINTS_MAX];
    struct calibrate_fit first[RUNNER_CORES_MAX][RUNNER_CONVERTERS_MAX]; /* as found */
    struct calibrate_fit fit[RUNNER_CORES_MAX][RUNNER_CONVERTERS_MAX];   /* as left */
    bool clipped[RUNNER_CORES_MAX][RUNNER_CONVERTERS_MAX];
};

/* Converters whose offset, as left, is not within what the campaign allows. */
int calibrate_failed(const struct calibration *cal);
/* Stores every converter, the worst offset, and a line that names those that failed. */
int calibrate_record(struct calibration *cal, struct error *err);
/* The trims that an interrupted run had found go back into the chip, which has lost its power since. */
int calibrate_restore(struct run *run, int step, struct error *err);

#endif
