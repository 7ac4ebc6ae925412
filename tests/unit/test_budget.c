/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_budget: what fits into a time, by planned costs and by measured ones; what is built on what; and that
 * a bisection draws no conclusions from points for which there was no time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "daemon/base/record.h"
#include "sweeps/budget.h"
#include "sweeps/strategy.h"

#define S INT64_C(1000000000)

enum { CELLS = 5, POWER_UP = 0, GOLDEN, SWEEP, POWER_DOWN, REPORT, STEPS };

/* Up 1 s, golden 2 s, five points of 1 to 5 s, down 0.5 s, report. */
struct fixture {
    struct campaign_step step[STEPS];
    struct plan_cell cell[1 + CELLS];
    struct plan plan;
};

static int setup(void **state)
{
    static const int kinds[STEPS] = { STEP_POWER, STEP_GOLDEN, STEP_SWEEP, STEP_POWER, STEP_REPORT };
    static const double seconds[STEPS] = { 1.0, 2.0, 15.0, 0.5, 0.0 };
    struct fixture *f = calloc(1, sizeof *f);

    if (f == NULL)
        return -1;
    f->plan.cell = f->cell;
    f->plan.step_count = STEPS;
    f->plan.cell_count = 1 + CELLS;
    f->plan.down_s = 0.5;
    for (int i = 0; i < STEPS; i++) {
        f->step[i].kind = kinds[i];
        f->plan.step[i] = (struct plan_step){ .step = &f->step[i],
                                              .duration_s = seconds[i],
                                              .first_cell = i < SWEEP ? 0 : 1 };
    }
    f->step[POWER_UP].u.power.up = true;
    f->plan.step[GOLDEN].cell_count = 1;
    f->plan.step[SWEEP].cell_count = CELLS;
    f->cell[0].step = GOLDEN;
    snprintf(f->cell[0].axes_json, sizeof f->cell[0].axes_json, "{}");
    for (int i = 0; i < CELLS; i++) {
        f->cell[1 + i] = (struct plan_cell){
            .step = SWEEP, .index = i, .repeat = 1, .duration_s = i + 1.0, .axes_json = "{\"x\":1}"
        };
        f->cell[1 + i].value[0] = i;
    }
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    free(*state);
    return 0;
}

static void in_advance(void **state)
{
    static const struct {
        double budget_s;
        const char *cut; /* by point: the golden check, then the sweep */
    } rows[] = {
        { 1000.0, "......" }, { 19.0, "......" }, { 18.9, ".....x" },
        { 14.0, ".....x" },   { 9.5, "...xxx" },  { 5.0, "..xxxx" },
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct budget_forecast forecast;
        bool cut[1 + CELLS];
        char text[2 + CELLS] = "";

        budget_forecast(&f->plan, rows[i].budget_s, cut, &forecast);
        for (int k = 0; k < 1 + CELLS; k++)
            text[k] = cut[k] ? 'x' : '.';
        assert_string_equal(text, rows[i].cut);
        assert_int_equal(forecast.fits + forecast.cut, 1 + CELLS);
        assert_true(forecast.used_s <= rows[i].budget_s && forecast.reserve_s == 1.0);
    }
    /* What the sweep is built on does not fit: nothing does, though its first point would. */
    struct budget_forecast forecast;
    budget_forecast(&f->plan, 3.0, NULL, &forecast);
    assert_int_equal(forecast.cut, 1 + CELLS);
    assert_true(forecast.used_s == 2.0); /* up, and down again */
    budget_forecast(&f->plan, 1.2, NULL, &forecast);
    assert_true(forecast.used_s == 1.0);

    /* A cheaper point behind one that does not fit is done; one that the plan skips is neither. */
    f->cell[1].duration_s = 9.0;
    f->cell[2].duration_s = 2.0;
    snprintf(f->cell[3].skip, sizeof f->cell[3].skip, "constraint");
    f->cell[3].duration_s = 0.0;
    f->cell[4].duration_s = f->cell[5].duration_s = 2.0;
    bool cut[1 + CELLS];
    budget_forecast(&f->plan, 8.5, cut, &forecast);
    assert_true(cut[1] && !cut[2] && !cut[3] && !cut[4] && cut[5]);
    assert_int_equal(forecast.fits, 3);
    assert_int_equal(forecast.cut, 2);

    cJSON *json = budget_json(&f->plan, 8.0);
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(json, "cells")), 2);
    cJSON_Delete(json);
}

/* A strategy that looks at half of the points is planned to take half of the time. */
static void shares(void **state)
{
    struct fixture *f = *state;

    f->plan.step[SWEEP].duration_s = 7.5;
    assert_true(budget_cell_s(&f->plan, 2) == 1.0);
    assert_true(budget_cell_s(&f->plan, 0) == 2.0); /* no sweep: its part of the step */
}

static void on_the_way(void **state)
{
    struct budget budget = { .end_ns = 100 * S, .reserve_s = 10.0 };

    (void)state;
    assert_true(budget_fits(&budget, 80 * S, 10.0));
    assert_false(budget_fits(&budget, 80 * S + 1, 10.0));
    budget_measured(&budget, 5.0, 10.0); /* twice as slow as planned */
    assert_true(budget_estimate_s(&budget, 3.0) == 6.0);
    assert_false(budget_fits(&budget, 80 * S, 5.1));
    budget_begin_step(&budget); /* until it has points of its own */
    assert_true(budget_estimate_s(&budget, 3.0) == 6.0);
    budget_measured(&budget, 4.0, 2.0);
    assert_true(budget_estimate_s(&budget, 3.0) == 1.5);
    budget_measured(&budget, 1e-9, 1e9); /* one odd point does not rule out all others */
    assert_true(budget_estimate_s(&budget, 1.0) <= 20.0);
    assert_false(budget_is_over(&budget, 90 * S));
    assert_true(budget_is_over(&budget, 90 * S + 1));
    budget.end_ns = 0;
    assert_true(budget_fits(&budget, INT64_MAX, 1e9) && !budget_is_over(&budget, INT64_MAX));
}

static void bisection(void **state)
{
    struct fixture *f = *state;
    struct step_sweep *sweep = &f->step[SWEEP].u.sweep;
    const struct plan_step *step = &f->plan.step[SWEEP];
    int verdict[CELLS] = { VERDICT_NONE };

    sweep->axis_count = 1;
    sweep->strategy = STRATEGY_BISECT; /* passes above a threshold: from the top down */
    assert_int_equal(strategy_next(&f->plan, step, verdict), 4);
    verdict[4] = VERDICT_PASS;
    assert_int_equal(strategy_next(&f->plan, step, verdict), 0);
    verdict[0] = VERDICT_SKIPPED; /* no time: says nothing about its neighbours */
    assert_int_equal(strategy_next(&f->plan, step, verdict), 1);
    assert_int_equal(strategy_inferred(&f->plan, step, verdict, 2), VERDICT_NONE);
    verdict[1] = VERDICT_FAIL;
    assert_int_equal(strategy_next(&f->plan, step, verdict), 2 + 1);
    verdict[3] = VERDICT_SKIPPED;
    assert_int_equal(strategy_next(&f->plan, step, verdict), 2);
    verdict[2] = VERDICT_SKIPPED;
    assert_int_equal(strategy_next(&f->plan, step, verdict), STRATEGY_DONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(in_advance, setup, teardown),
        cmocka_unit_test_setup_teardown(shares, setup, teardown),
        cmocka_unit_test(on_the_way),
        cmocka_unit_test_setup_teardown(bisection, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
