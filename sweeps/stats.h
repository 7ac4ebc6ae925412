/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * stats: the statistics that verdicts and comparisons rest on, as pure functions of numbers. */
#ifndef SWEEPS_STATS_H
#define SWEEPS_STATS_H

#include <stdbool.h>

/* Two-sided 95 % quantile of the normal distribution. */
#define STATS_Z95 1.959963984540054

struct stats_interval {
    double low, high;
};

/* Wilson score interval of a proportion, 95 %. n = 0 gives 0..1. */
struct stats_interval stats_wilson(int successes, int n);
/* Standard uncertainty of a proportion: half of that interval / 1.96, so that none and all of n are not
 * certainty. NaN for n = 0: nothing is known. */
double stats_wilson_u(int successes, int n);

/* McNemar's exact test on discordant pairs: b right then wrong, c wrong then right. Two-sided, at most 1. */
double stats_mcnemar(int b, int c);
/* The mid-p variant: less conservative, recommended for small b + c. */
double stats_mcnemar_mid_p(int b, int c);

/* Least squares y = offset + slope * x. */
struct stats_line {
    double offset, slope;
    double u_offset, u_slope; /* standard uncertainties from the residuals; NaN below three points */
    double residual_max;      /* largest |residual| */
};
/* Returns false when fewer than two points or all x are equal; *ret_line is untouched then. */
bool stats_fit(const double *x, const double *y, int n, struct stats_line *ret_line);

#endif
