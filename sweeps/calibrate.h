/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * calibrate: the arithmetic of a converter calibration, as pure functions of measured points. Each point is
 * the mean code of many conversions at one applied voltage. Offset is the mean error near mid-scale, where a
 * network's sums lie; gain is the slope of the least squares line over all points. One trim changes what the
 * other sees only to second order, so trim and measurement alternate for a few rounds. */
#ifndef SWEEPS_CALIBRATE_H
#define SWEEPS_CALIBRATE_H

#include "sweeps/campaign.h"

enum {
    CALIBRATE_DITHER =
        4, /* voltages per level, a quarter of an LSB apart: averages out the rounding of codes */
    CALIBRATE_POINTS_MAX = CAMPAIGN_LEVELS_MAX * CALIBRATE_DITHER,
    CALIBRATE_ALGORITHM = 1 /* part of a calibration's key: a change of the arithmetic is another version */
};
/* Points within this share of full scale are "near mid-scale". */
#define CALIBRATE_MIDDLE 0.1

struct calibrate_point {
    double level;   /* nominal, of full scale */
    double ideal;   /* code that an ideal converter would give at the voltage that was measured */
    double mean;    /* of the codes */
    double u_mean;  /* standard uncertainty: noise / sqrt(n) */
    double u_ideal; /* from the meter; NaN when it states none */
};

struct calibrate_fit {
    double offset_lsb,
        gain; /* of the converter, with the trims that were in force: code = offset + gain * ideal */
    double u_offset_lsb, u_gain; /* standard; NaN when a part of it is not known */
    double residual_max;         /* of the line: bow and noise */
};
/* u_scale: relative standard uncertainty of what full scale was taken from (VREF); it is the gain's too.
 * False when the points do not span a line. */
bool calibrate_fit(const struct calibrate_point *point, int count, double u_scale,
                   struct calibrate_fit *ret_fit);

/* Is the offset within limit + U (k = 2)? A meter whose U is larger than the limit, or not known, cannot
 * tell: otherwise the worse meter would pass more converters. */
enum calibrate_judgement { CALIBRATE_WITHIN, CALIBRATE_BEYOND, CALIBRATE_UNDECIDED };
enum calibrate_judgement calibrate_judge(const struct calibrate_fit *fit, double limit_lsb);

/* What the trim codes do, from the profile: one step of offset in LSB of the setting that is calibrated, one
 * step of gain. */
struct calibrate_trims {
    double offset_step_lsb, gain_step;
    int offset_min, offset_max, gain_min, gain_max, gain_neutral;
};
struct calibrate_codes {
    int offset, gain;
    bool clipped; /* the range of a trim does not reach far enough */
};
/* Codes that correct what was measured with `now` in force. */
struct calibrate_codes calibrate_correct(const struct calibrate_fit *fit, const struct calibrate_trims *trims,
                                         const struct calibrate_codes *now);

/* Voltage to apply for a level and dither phase: middle_v + level * full scale, plus the phase's part of an
 * LSB. */
double calibrate_volt(double middle_v, double reference_v, int bits, double level, int phase);
/* Code of an ideal converter at a voltage. */
double calibrate_ideal(double volt_v, double middle_v, double reference_v, int bits, int gain);

#endif
