/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_calibrate: the arithmetic against converters whose offset, gain, bow and noise are known. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>

#include "daemon/base/rng.h"
#include "sweeps/calibrate.h"

enum { AVERAGE = 256 };

static const struct calibrate_trims trims = { .offset_step_lsb = 0.125,
                                              .gain_step = 0.002,
                                              .offset_min = -128,
                                              .offset_max = 127,
                                              .gain_min = 0,
                                              .gain_max = 255,
                                              .gain_neutral = 128 };

struct converter {
    double offset_lsb, gain, bow_lsb, noise_lsb;
    struct calibrate_codes trim;
};

/* Mean code of many conversions at one ideal code, rounded as a converter does. */
static double convert(const struct converter *converter, double ideal, struct rng *rng)
{
    double factor = 1.0 + trims.gain_step * (converter->trim.gain - trims.gain_neutral);
    double bow = converter->bow_lsb * (1.0 - ideal * ideal / (512.0 * 512.0));
    double sum = 0.0;

    for (int i = 0; i < AVERAGE; i++)
        sum += floor((ideal * converter->gain + converter->offset_lsb + bow) * factor +
                     converter->trim.offset * trims.offset_step_lsb + converter->noise_lsb * rng_normal(rng) +
                     0.5);
    return sum / AVERAGE;
}

static struct calibrate_fit measure(const struct converter *converter, struct rng *rng)
{
    static const double levels[] = { -0.8, 0.0, 0.8 };
    struct calibrate_point point[CALIBRATE_POINTS_MAX];
    struct calibrate_fit fit;
    int n = 0;

    for (int i = 0; i < 3; i++) {
        for (int phase = 0; phase < CALIBRATE_DITHER; phase++) {
            double volt_v = calibrate_volt(0.3, 0.6, 10, levels[i], phase);
            double ideal = calibrate_ideal(volt_v, 0.3, 0.6, 10, 1);
            point[n++] = (struct calibrate_point){ .level = levels[i],
                                                   .ideal = ideal,
                                                   .mean = convert(converter, ideal, rng),
                                                   .u_mean = converter->noise_lsb / sqrt(AVERAGE) };
        }
    }
    assert_true(calibrate_fit(point, n, 0.0, &fit));
    return fit;
}

static void voltages_are_a_quarter_of_an_lsb_apart(void **state)
{
    double lsb_v = 0.6 / 1024;

    (void)state;
    assert_true(fabs(calibrate_volt(0.3, 0.6, 10, 0.0, 1) - calibrate_volt(0.3, 0.6, 10, 0.0, 0) -
                     lsb_v / 4) < 1e-12);
    assert_true(fabs(calibrate_ideal(calibrate_volt(0.3, 0.6, 10, 0.5, 0), 0.3, 0.6, 10, 1) -
                     (256.0 - 0.375)) < 1e-9);
    assert_true(fabs(calibrate_ideal(0.3 + lsb_v, 0.3, 0.6, 10, 4) - 4.0) < 1e-9);
}

static void known_offset_and_gain_are_found(void **state)
{
    struct converter converter = {
        .offset_lsb = 1.7, .gain = 1.013, .noise_lsb = 0.3, .trim = { .gain = 128 }
    };
    struct rng rng;

    (void)state;
    rng_init(&rng, 1, "calibrate", 0, 0, 0);
    struct calibrate_fit fit = measure(&converter, &rng);
    assert_true(fabs(fit.offset_lsb - 1.7) < 0.04);
    assert_true(fabs(fit.gain - 1.013) < 2e-4);
    assert_true(fit.u_offset_lsb > 0.0 && fit.u_offset_lsb < 0.05);
}

/* A bow moves the middle, not the ends: the offset that matters is the middle's. */
static void offset_is_that_of_mid_scale(void **state)
{
    struct converter converter = {
        .offset_lsb = 0.5, .gain = 1.0, .bow_lsb = 0.3, .noise_lsb = 0.3, .trim = { .gain = 128 }
    };
    struct rng rng;

    (void)state;
    rng_init(&rng, 2, "calibrate", 0, 0, 0);
    assert_true(fabs(measure(&converter, &rng).offset_lsb - 0.8) < 0.04);
}

static void two_rounds_bring_every_converter_within_a_tenth(void **state)
{
    uint64_t seed = 20260131;

    (void)state;
    print_message("seed %llu\n", (unsigned long long)seed);
    for (int n = 0; n < 100; n++) {
        struct rng rng;
        rng_init(&rng, seed, "calibrate", (uint64_t)n, 0, 0);
        struct converter converter = { .offset_lsb = 2.0 * rng_normal(&rng),
                                       .gain = 1.0 + 0.02 * rng_normal(&rng),
                                       .bow_lsb = 0.2 * rng_normal(&rng),
                                       .noise_lsb = 0.3,
                                       .trim = { .gain = 128 } };
        for (int round = 0; round < 2; round++) {
            struct calibrate_fit fit = measure(&converter, &rng);
            converter.trim = calibrate_correct(&fit, &trims, &converter.trim);
            assert_false(converter.trim.clipped);
        }
        struct calibrate_fit left = measure(&converter, &rng);
        if (fabs(left.offset_lsb) > 0.1 || fabs(left.gain - 1.0) > 0.0015)
            fail_msg("converter %d: offset %.3f LSB, gain %.5f are left", n, left.offset_lsb, left.gain);
    }
}

static void a_trim_that_does_not_reach_says_so(void **state)
{
    struct calibrate_fit fit = { .offset_lsb = 30.0, .gain = 1.0 };
    struct calibrate_codes now = { .gain = 128 };

    (void)state;
    struct calibrate_codes codes = calibrate_correct(&fit, &trims, &now);
    assert_true(codes.clipped);
    assert_int_equal(codes.offset, -128);
}

static void points_at_one_voltage_are_no_line(void **state)
{
    struct calibrate_point point[2] = { { .ideal = 1.0, .mean = 1.0 }, { .ideal = 1.0, .mean = 2.0 } };
    struct calibrate_fit fit;

    (void)state;
    assert_false(calibrate_fit(point, 2, 0.0, &fit));
}

/* An ideal converter at nine points, by a meter with this uncertainty in LSB. */
static struct calibrate_fit ideal_by(double u_ideal, double u_scale, double offset_lsb)
{
    struct calibrate_point point[9];
    struct calibrate_fit fit;

    for (int i = 0; i < 9; i++)
        point[i] = (struct calibrate_point){ .level = (i - 4) / 5.0,
                                             .ideal = 100.0 * (i - 4),
                                             .mean = 100.0 * (i - 4) + offset_lsb,
                                             .u_ideal = u_ideal };
    assert_true(calibrate_fit(point, 9, u_scale, &fit));
    return fit;
}

static void what_the_meter_does_not_state_stays_unknown(void **state)
{
    (void)state;
    assert_true(fabs(ideal_by(0.02, 0.0, 0.0).u_offset_lsb - 0.02) < 1e-12);
    assert_true(isnan(ideal_by(NAN, 0.0, 0.0).u_offset_lsb));
    assert_true(isnan(ideal_by(NAN, 0.0, 0.0).u_gain));
    assert_true(isnan(ideal_by(0.02, NAN, 0.0).u_gain));

    /* Two points tell no scatter. */
    struct calibrate_point point[2] = { { .level = -0.5, .ideal = -250.0, .mean = -250.0 },
                                        { .level = 0.5, .ideal = 250.0, .mean = 250.0 } };
    struct calibrate_fit fit;
    assert_true(calibrate_fit(point, 2, 0.0, &fit));
    assert_true(isnan(fit.u_offset_lsb) && isnan(fit.u_gain));
}

static void the_gain_is_as_uncertain_as_what_it_refers_to(void **state)
{
    (void)state;
    assert_true(fabs(ideal_by(0.0, 1e-4, 0.0).u_gain - 1e-4) < 1e-9);
    assert_true(fabs(ideal_by(0.08, 0.0, 0.0).u_gain - 0.08 * sqrt(2.0) / 800.0) < 1e-9);
}

static void a_worse_meter_passes_no_more_converters(void **state)
{
    struct calibrate_fit fit;

    (void)state;
    fit = ideal_by(0.02, 0.0, 0.12);
    assert_int_equal(calibrate_judge(&fit, 0.1), CALIBRATE_WITHIN); /* 0.1 + 0.04 */
    fit = ideal_by(0.02, 0.0, 0.15);
    assert_int_equal(calibrate_judge(&fit, 0.1), CALIBRATE_BEYOND);
    fit = ideal_by(0.06, 0.0, 0.15);
    assert_int_equal(calibrate_judge(&fit, 0.1), CALIBRATE_UNDECIDED);
    fit = ideal_by(NAN, 0.0, 0.0);
    assert_int_equal(calibrate_judge(&fit, 0.1), CALIBRATE_UNDECIDED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(voltages_are_a_quarter_of_an_lsb_apart),
        cmocka_unit_test(known_offset_and_gain_are_found),
        cmocka_unit_test(offset_is_that_of_mid_scale),
        cmocka_unit_test(two_rounds_bring_every_converter_within_a_tenth),
        cmocka_unit_test(a_trim_that_does_not_reach_says_so),
        cmocka_unit_test(points_at_one_voltage_are_no_line),
        cmocka_unit_test(what_the_meter_does_not_state_stays_unknown),
        cmocka_unit_test(the_gain_is_as_uncertain_as_what_it_refers_to),
        cmocka_unit_test(a_worse_meter_passes_no_more_converters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
