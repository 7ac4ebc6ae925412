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

static void moments_are_those_of_the_textbook(void **state)
{
    static const double x[] = { 2, 4, 4, 4, 5, 5, 7, 9 };
    struct stats_moments moments = { 0 };

    (void)state;
    assert_true(isnan(stats_sd(&moments)));
    for (int i = 0; i < 8; i++)
        stats_add(&moments, x[i]);
    near(moments.mean, 5.0, 1e-12);
    near(stats_sd(&moments), sqrt(32.0 / 7.0), 1e-12);
    near(stats_sem(&moments), sqrt(32.0 / 7.0 / 8.0), 1e-12);
}

static void median_of_odd_and_even_counts(void **state)
{
    double odd[] = { 5, 1, 3 }, even[] = { 4, 1, 3, 2 };

    (void)state;
    near(stats_median(odd, 3), 3.0, 1e-12);
    near(stats_median(even, 4), 2.5, 1e-12);
    assert_true(isnan(stats_median(odd, 0)));
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

static void nonlinearity_of_one_wide_code(void **state)
{
    /* 8 codes; code 3 is half an LSB wide in excess, code 5 half short: the ends stay where they are. */
    static const double transition[8] = { 0, 1, 2, 3, 4.5, 5.5, 6, 7 };
    double dnl[8] = { 0 }, inl[8] = { 0 };

    (void)state;
    assert_true(stats_nonlinearity(transition, 8, dnl, inl));
    near(dnl[3], 0.5, 1e-12);
    near(dnl[5], -0.5, 1e-12);
    near(inl[3], 0.0, 1e-12);
    near(inl[4], 0.5, 1e-12);
    near(inl[7], 0.0, 1e-12);
    assert_false(stats_nonlinearity(transition, 3, dnl, inl));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wilson_matches_the_published_checks),
        cmocka_unit_test(mcnemar_matches_the_published_checks),
        cmocka_unit_test(mid_p_takes_half_of_the_observed_point),
        cmocka_unit_test(moments_are_those_of_the_textbook),
        cmocka_unit_test(median_of_odd_and_even_counts),
        cmocka_unit_test(line_fit_finds_line_and_uncertainty),
        cmocka_unit_test(nonlinearity_of_one_wide_code),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
