/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_stats: statistics against published numbers and against slow, direct computation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "sweeps/stats.h"

#define near(a, b, eps) assert_true(fabs((a) - (b)) < (eps))

static void wilson_matches_the_published_checks(void **state)
{
    static const struct {
        int k, n;
        double low, high;
    } rows[] = {
        { 820, 1000, 0.7950, 0.8426 }, { 540, 1000, 0.5090, 0.5707 }, { 8400, 10000, 0.8327, 0.8471 },
        { 20, 20, 0.8389, 1.0 },       { 0, 20, 0.0, 0.1611 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct stats_interval interval = stats_wilson(rows[i].k, rows[i].n);
        near(interval.low, rows[i].low, 5e-5);
        near(interval.high, rows[i].high, 5e-5);
    }
    near(stats_wilson(0, 0).low, 0.0, 1e-12);
    near(stats_wilson(0, 0).high, 1.0, 1e-12);
    near(stats_wilson_u(20, 20), 0.1611 / 2.0 / 1.96, 5e-5);
    near(stats_wilson_u(820, 1000), sqrt(0.82 * 0.18 / 1000), 5e-5);
    assert_true(isnan(stats_wilson_u(0, 0)));
}

static void mcnemar_matches_the_published_checks(void **state)
{
    (void)state;
    near(stats_mcnemar(30, 20), 0.2026, 5e-5);
    near(stats_mcnemar(60, 20), 1e-5, 1e-6 * 5);
    near(stats_mcnemar(5, 1), 0.21875, 1e-9);
    near(stats_mcnemar(0, 8), 0.0078125, 1e-9);
    near(stats_mcnemar(0, 0), 1.0, 1e-12);
    near(stats_mcnemar(7, 7), 1.0, 1e-12);
    near(stats_mcnemar(20, 30), stats_mcnemar(30, 20), 1e-12);
}

static void mid_p_takes_half_of_the_observed_point(void **state)
{
    (void)state;
    /* 5 of 6: 2 * (1/64) + 6/64 = 0.125 */
    near(stats_mcnemar_mid_p(5, 1), 0.125, 1e-9);
    near(stats_mcnemar_mid_p(0, 8), 0.00390625, 1e-9);
    /* 1 of 2: 1 - (2/4)/2 */
    near(stats_mcnemar_mid_p(1, 1), 0.75, 1e-9);
    near(stats_mcnemar_mid_p(0, 0), 1.0, 1e-12);
}

static void line_fit_finds_line_and_uncertainty(void **state)
{
    /* y = 1 + 2 x with residuals +1 -1 -1 +1: they do not move the line. */
    static const double x[] = { 0, 1, 2, 3 };
    static const double y[] = { 2, 2, 4, 8 };
    struct stats_line line;

    (void)state;
    assert_true(stats_fit(x, y, 4, &line));
    near(line.slope, 2.0, 1e-12);
    near(line.offset, 1.0, 1e-12);
    near(line.residual_max, 1.0, 1e-12);
    near(line.u_slope, sqrt(2.0 / 5.0), 1e-12);
    near(line.u_offset, sqrt(2.0 * (0.25 + 2.25 / 5.0)), 1e-12);
    assert_false(stats_fit(x, y, 1, &line));
    static const double same[] = { 1, 1, 1 };
    assert_false(stats_fit(same, y, 3, &line));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wilson_matches_the_published_checks),
        cmocka_unit_test(mcnemar_matches_the_published_checks),
        cmocka_unit_test(mid_p_takes_half_of_the_observed_point),
        cmocka_unit_test(line_fit_finds_line_and_uncertainty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
