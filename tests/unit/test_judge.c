/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_judge: verdicts of limits and errors; every quantity's name is in docs/names.md. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/text.h"
#include "sweeps/judge.h"

static int accuracy_verdict(int right, int n, double min, double max)
{
    struct campaign_limit limit = { .quantity = "accuracy", .min = min, .max = max };
    struct judged judged;

    judge_clear(&judged);
    judged.successes = right;
    judged.n = n;
    judged.value[QUANTITY_ACCURACY] = (double)right / n;
    return judge_limit(&judged, &limit);
}

static void accuracy_is_judged_by_its_interval(void **state)
{
    (void)state;
    /* 820 of 1000 is [0.795, 0.843]. */
    assert_int_equal(accuracy_verdict(820, 1000, 0.79, NAN), VERDICT_PASS);
    assert_int_equal(accuracy_verdict(820, 1000, 0.80, NAN), VERDICT_MARGINAL);
    assert_int_equal(accuracy_verdict(820, 1000, 0.84, NAN), VERDICT_MARGINAL);
    assert_int_equal(accuracy_verdict(820, 1000, 0.85, NAN), VERDICT_FAIL);
    assert_int_equal(accuracy_verdict(500, 1000, 0.45, 0.55), VERDICT_PASS);
    assert_int_equal(accuracy_verdict(820, 1000, 0.45, 0.55), VERDICT_FAIL);
    /* All right, but of twenty only. */
    assert_int_equal(accuracy_verdict(20, 20, 0.90, NAN), VERDICT_MARGINAL);
}

static void others_are_judged_by_two_uncertainties(void **state)
{
    struct campaign_limit limit = { .quantity = "power.total", .min = NAN, .max = 0.010 };
    struct judged judged;

    (void)state;
    judge_clear(&judged);
    assert_int_equal(judge_limit(&judged, &limit), VERDICT_SUSPECT);
    judged.value[QUANTITY_POWER] = 0.009;
    judged.uncertainty[QUANTITY_POWER] = 0.0001;
    assert_int_equal(judge_limit(&judged, &limit), VERDICT_PASS);
    judged.uncertainty[QUANTITY_POWER] = 0.0006;
    assert_int_equal(judge_limit(&judged, &limit), VERDICT_MARGINAL);
    judged.value[QUANTITY_POWER] = 0.0113;
    assert_int_equal(judge_limit(&judged, &limit), VERDICT_FAIL);
}

static void an_unknown_uncertainty_never_passes(void **state)
{
    struct campaign_limit limit = { .quantity = "power.total", .min = NAN, .max = 0.010 };
    struct campaign_limit cycles = { .quantity = "cycles_per_inference", .min = NAN, .max = 9000.0 };
    struct judged judged;

    (void)state;
    judge_clear(&judged);
    judged.value[QUANTITY_POWER] = 0.001;
    assert_int_equal(judge_limit(&judged, &limit), VERDICT_MARGINAL);
    judged.value[QUANTITY_POWER] = 0.011;
    assert_int_equal(judge_limit(&judged, &limit), VERDICT_FAIL);
    judged.value[QUANTITY_CYCLES] = 8000.0; /* counted */
    assert_int_equal(judge_limit(&judged, &cycles), VERDICT_PASS);
}

static void the_worst_limit_decides(void **state)
{
    struct campaign_limit limits[] = { { .quantity = "power.total", .min = NAN, .max = 1.0 },
                                       { .quantity = "recall", .min = 0.9, .max = NAN } };
    struct judged judged;

    (void)state;
    judge_clear(&judged);
    assert_int_equal(judge_limits(&judged, limits, 0), VERDICT_PASS);
    judged.value[QUANTITY_POWER] = 0.5;
    judged.uncertainty[QUANTITY_POWER] = judged.uncertainty[QUANTITY_RECALL] = 0.01;
    judged.value[QUANTITY_RECALL] = 0.95;
    assert_int_equal(judge_limits(&judged, limits, 2), VERDICT_PASS);
    judged.value[QUANTITY_RECALL] = 0.5;
    assert_int_equal(judge_limits(&judged, limits, 2), VERDICT_FAIL);
    judged.value[QUANTITY_RECALL] = NAN;
    assert_int_equal(judge_limits(&judged, limits, 2), VERDICT_SUSPECT);
}

static void errors_have_classes_and_verdicts(void **state)
{
    (void)state;
    assert_int_equal(judge_error_class(ERR_TIMEOUT), ERROR_CLASS_TIMEOUT);
    assert_int_equal(judge_error_class(ERR_LINK), ERROR_CLASS_LINK);
    assert_int_equal(judge_error_class(ERR_IDENTITY), ERROR_CLASS_IDENTITY);
    assert_int_equal(judge_error_class(ERR_HANG), ERROR_CLASS_HANG);
    assert_int_equal(judge_error_class(ERR_MISMATCH), ERROR_CLASS_MISMATCH);
    assert_int_equal(judge_error_class(ERR_FENCED), ERROR_CLASS_TRIP);
    assert_int_equal(judge_error_class(ERR_INVALID), ERROR_CLASS_OTHER);
    assert_int_equal(judge_error_verdict(ERR_GARBAGE), VERDICT_LINK_ERROR);
    assert_int_equal(judge_error_verdict(ERR_HANG), VERDICT_HANG);
    assert_int_equal(judge_error_verdict(ERR_COMPLIANCE), VERDICT_TRIPPED);
    assert_int_equal(judge_error_verdict(ERR_RANGE), VERDICT_ERROR);
}

static void every_name_is_in_the_reviewed_list(void **state)
{
    struct error err = { 0 };
    char *text = NULL, quoted[80];
    size_t length;

    (void)state;
    assert_int_equal(text_read_file("docs/names.md", 1 << 20, &text, &length, &err), 0);
    for (int i = 0; i < QUANTITY_POINT_COUNT; i++) {
        const char *name = quantity_info(i)->name;
        assert_non_null(name);
        assert_string_equal(name, quantity_names()[i]);
        assert_int_equal(quantity_from_name(name), i);
        snprintf(quoted, sizeof quoted, "`%s`", name);
        if (strstr(text, quoted) == NULL)
            fail_msg("%s is not in docs/names.md", name);
    }
    assert_null(quantity_names()[QUANTITY_POINT_COUNT]);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accuracy_is_judged_by_its_interval),
        cmocka_unit_test(others_are_judged_by_two_uncertainties),
        cmocka_unit_test(an_unknown_uncertainty_never_passes),
        cmocka_unit_test(the_worst_limit_decides),
        cmocka_unit_test(errors_have_classes_and_verdicts),
        cmocka_unit_test(every_name_is_in_the_reviewed_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
