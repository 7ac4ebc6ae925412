/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * calibrate: fit, correction, levels. */
#include "sweeps/calibrate.h"

#include <math.h>

#include "sweeps/stats.h"

double calibrate_volt(double middle_v, double reference_v, int bits, double level, int phase)
{
    double lsb_v = reference_v / (double)(1 << bits);
    double part = (phase - (CALIBRATE_DITHER - 1) / 2.0) / CALIBRATE_DITHER;

    return middle_v + level * reference_v / 2.0 + part * lsb_v;
}

double calibrate_ideal(double volt_v, double middle_v, double reference_v, int bits, int gain)
{
    return (volt_v - middle_v) * gain / reference_v * (double)(1 << bits);
}

/* The larger of two uncertainties; what is not known (NaN) stays unknown. */
static double larger(double a, double b)
{
    return isnan(a) || isnan(b) ? NAN : fmax(a, b);
}

/* Scatter of the line, error of the meter over the span of the points, and what full scale was taken from. */
static double u_gain(const struct stats_line *line, double u_ideal, double span, double u_scale)
{
    double meter = M_SQRT2 * u_ideal / span;

    return hypot(line->u_slope, line->slope * hypot(meter, u_scale));
}

bool calibrate_fit(const struct calibrate_point *point, int count, double u_scale,
                   struct calibrate_fit *ret_fit)
{
    double x[CALIBRATE_POINTS_MAX], y[CALIBRATE_POINTS_MAX];
    struct stats_line line;
    double middle = 0.0, variance = 0.0, systematic = 0.0, u_ideal = 0.0, low = INFINITY, high = -INFINITY;
    int near = 0;

    if (count > CALIBRATE_POINTS_MAX)
        return false;
    for (int i = 0; i < count; i++) {
        x[i] = point[i].ideal;
        y[i] = point[i].mean;
        low = fmin(low, x[i]);
        high = fmax(high, x[i]);
        u_ideal = larger(u_ideal, point[i].u_ideal);
    }
    if (!stats_fit(x, y, count, &line))
        return false;

    struct calibrate_fit fit = { .offset_lsb = line.offset,
                                 .gain = line.slope,
                                 .u_offset_lsb = hypot(line.u_offset, u_ideal),
                                 .u_gain = u_gain(&line, u_ideal, high - low, u_scale),
                                 .residual_max = line.residual_max };
    for (int i = 0; i < count; i++) {
        if (fabs(point[i].level) > CALIBRATE_MIDDLE)
            continue;
        middle += point[i].mean - line.slope * point[i].ideal;
        variance += point[i].u_mean * point[i].u_mean;
        systematic = larger(systematic, point[i].u_ideal); /* one meter: its error does not average out */
        near++;
    }
    if (near > 0) {
        fit.offset_lsb = middle / near;
        fit.u_offset_lsb = hypot(sqrt(variance) / near, systematic);
    }
    *ret_fit = fit;
    return true;
}

enum calibrate_judgement calibrate_judge(const struct calibrate_fit *fit, double limit_lsb)
{
    double expanded = 2.0 * fit->u_offset_lsb;

    if (!(expanded <= limit_lsb)) /* NaN too */
        return CALIBRATE_UNDECIDED;
    return fabs(fit->offset_lsb) <= limit_lsb + expanded ? CALIBRATE_WITHIN : CALIBRATE_BEYOND;
}

static int clip(double code, int min, int max, bool *clipped)
{
    double rounded = floor(code + 0.5);

    if (rounded < min || rounded > max)
        *clipped = true;
    return (int)fmin(fmax(rounded, min), max);
}

struct calibrate_codes calibrate_correct(const struct calibrate_fit *fit, const struct calibrate_trims *trims,
                                         const struct calibrate_codes *now)
{
    struct calibrate_codes codes = { 0 };
    double factor_now = 1.0 + trims->gain_step * (now->gain - trims->gain_neutral);

    codes.offset = clip(now->offset - fit->offset_lsb / trims->offset_step_lsb, trims->offset_min,
                        trims->offset_max, &codes.clipped);
    codes.gain = clip(trims->gain_neutral + (factor_now / fit->gain - 1.0) / trims->gain_step,
                      trims->gain_min, trims->gain_max, &codes.clipped);
    return codes;
}
