/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * stats: Wilson, McNemar, line fit. No state, no allocation. */
#include "sweeps/stats.h"

#include <math.h>

struct stats_interval stats_wilson(int successes, int n)
{
    if (n <= 0)
        return (struct stats_interval){ 0.0, 1.0 };

    double p = (double)successes / n;
    double z2n = STATS_Z95 * STATS_Z95 / n;
    double half = STATS_Z95 * sqrt(p * (1.0 - p) / n + z2n / (4.0 * n));
    double middle = p + z2n / 2.0;

    /* At the ends the formula gives exactly 0 and 1, but for rounding. */
    double low = successes == 0 ? 0.0 : (middle - half) / (1.0 + z2n);
    double high = successes == n ? 1.0 : (middle + half) / (1.0 + z2n);
    return (struct stats_interval){ low, high };
}

double stats_wilson_u(int successes, int n)
{
    struct stats_interval interval = stats_wilson(successes, n);

    return n > 0 ? (interval.high - interval.low) / 2.0 / STATS_Z95 : NAN;
}

/* Probability of exactly k heads of n fair coins. */
static double coin(int n, int k)
{
    return exp(lgamma(n + 1.0) - lgamma(k + 1.0) - lgamma(n - k + 1.0) - n * M_LN2);
}

double stats_mcnemar(int b, int c)
{
    int n = b + c;
    int smaller = b < c ? b : c;
    double tail = 0.0;

    for (int k = 0; k <= smaller; k++)
        tail += coin(n, k);
    return fmin(1.0, 2.0 * tail);
}

double stats_mcnemar_mid_p(int b, int c)
{
    int n = b + c;
    int smaller = b < c ? b : c;
    double tail = 0.0;

    if (n == 0)
        return 1.0;
    if (b == c) /* the two tails meet in the middle point and share it */
        return 1.0 - coin(n, smaller) / 2.0;
    for (int k = 0; k < smaller; k++)
        tail += coin(n, k);
    return fmin(1.0, 2.0 * (tail + coin(n, smaller) / 2.0));
}

bool stats_fit(const double *x, const double *y, int n, struct stats_line *ret_line)
{
    double mean_x = 0.0, mean_y = 0.0, sxx = 0.0, sxy = 0.0, squares = 0.0;
    struct stats_line line = { .u_offset = NAN, .u_slope = NAN };

    for (int i = 0; i < n; i++) {
        mean_x += x[i] / n;
        mean_y += y[i] / n;
    }
    for (int i = 0; i < n; i++) {
        sxx += (x[i] - mean_x) * (x[i] - mean_x);
        sxy += (x[i] - mean_x) * (y[i] - mean_y);
    }
    if (n < 2 || !(sxx > 0.0))
        return false;

    line.slope = sxy / sxx;
    line.offset = mean_y - line.slope * mean_x;
    for (int i = 0; i < n; i++) {
        double residual = y[i] - line.offset - line.slope * x[i];
        squares += residual * residual;
        line.residual_max = fmax(line.residual_max, fabs(residual));
    }
    if (n > 2) {
        double variance = squares / (n - 2);
        line.u_slope = sqrt(variance / sxx);
        line.u_offset = sqrt(variance * (1.0 / n + mean_x * mean_x / sxx));
    }
    *ret_line = line;
    return true;
}
