/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_strategy: order of cells, constraints, bisection, and that the same outcomes give the same next cell.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/record.h"
#include "daemon/base/rng.h"
#include "sweeps/axes.h"
#include "sweeps/strategy.h"

static struct step_sweep sweep_of(const char *names[], const int *sets, const int *counts, int axes)
{
    struct step_sweep sweep = { .axis_count = axes, .bisect_axis = -1 };

    for (int i = 0; i < axes; i++) {
        snprintf(sweep.axis[i].name, sizeof sweep.axis[i].name, "%s", names[i]);
        sweep.axis[i].set = sets[i];
        sweep.axis[i].count = counts[i];
        for (int k = 0; k < counts[i]; k++)
            sweep.axis[i].value[k] = k;
    }
    return sweep;
}

static void costly_axes_change_slowest_whatever_the_writing(void **state)
{
    const char *names[] = { "adc_gain", "vdd_v" };
    struct step_sweep sweep = sweep_of(names, (int[]){ AXIS_ADC_GAIN, AXIS_GROUP }, (int[]){ 3, 2 }, 2);
    double value[CAMPAIGN_AXES_MAX];
    int moves = 0;
    double last = -1.0;

    (void)state;
    assert_int_equal(axes_count(&sweep), 6);
    for (int i = 0; i < 6; i++) {
        axes_values(&sweep, i, value);
        moves += value[1] != last;
        last = value[1];
    }
    assert_int_equal(moves, 2);
}

static void a_snake_moves_one_axis_at_a_time(void **state)
{
    const char *names[] = { "a", "b", "c" };
    struct step_sweep sweep =
        sweep_of(names, (int[]){ AXIS_GROUP, AXIS_ADC_BITS, AXIS_ADC_GAIN }, (int[]){ 3, 4, 2 }, 3);
    int grid[24], seen[24] = { 0 };

    (void)state;
    sweep.order = ORDER_SNAKE;
    axes_order(&sweep, 1, grid);
    for (int i = 0; i < 24; i++) {
        double now[CAMPAIGN_AXES_MAX], before[CAMPAIGN_AXES_MAX];
        int changed = 0;
        assert_int_equal(seen[grid[i]]++, 0);
        axes_values(&sweep, grid[i], now);
        axes_values(&sweep, grid[i > 0 ? i - 1 : 0], before);
        for (int k = 0; k < 3; k++) {
            changed += now[k] != before[k];
            assert_true(now[k] - before[k] <= 1.0 && before[k] - now[k] <= 1.0);
        }
        assert_int_equal(changed, i > 0);
    }
}

static void random_order_is_a_permutation_of_the_seed(void **state)
{
    const char *names[] = { "a" };
    struct step_sweep sweep = sweep_of(names, (int[]){ AXIS_GROUP }, (int[]){ 50 }, 1);
    int first[50], again[50], other[50], seen[50] = { 0 };

    (void)state;
    sweep.order = ORDER_RANDOM;
    axes_order(&sweep, 7, first);
    axes_order(&sweep, 7, again);
    axes_order(&sweep, 8, other);
    assert_memory_equal(first, again, sizeof first);
    assert_memory_not_equal(first, other, sizeof first);
    for (int i = 0; i < 50; i++)
        assert_int_equal(seen[first[i]]++, 0);
}

static void zipped_axes_move_together(void **state)
{
    const char *names[] = { "a", "b", "c" };
    struct step_sweep sweep =
        sweep_of(names, (int[]){ AXIS_RAIL, AXIS_RAIL, AXIS_ADC_GAIN }, (int[]){ 4, 4, 3 }, 3);
    double value[CAMPAIGN_AXES_MAX];

    (void)state;
    sweep.axis[0].zip = sweep.axis[1].zip = 1;
    assert_int_equal(axes_count(&sweep), 12);
    for (int i = 0; i < 12; i++) {
        axes_values(&sweep, i, value);
        assert_true(value[0] == value[1]);
    }
}

static void text_of_a_cell_is_canonical(void **state)
{
    const char *names[] = { "vdd_v", "adc_bits" };
    struct step_sweep sweep = sweep_of(names, (int[]){ AXIS_GROUP, AXIS_ADC_BITS }, (int[]){ 1, 1 }, 2);
    char text[100], small[10];

    (void)state;
    assert_true(axes_text(&sweep, (double[]){ 0.8, 9 }, text, sizeof text));
    assert_string_equal(text, "{\"adc_bits\":9,\"vdd_v\":0.8}");
    assert_false(axes_text(&sweep, (double[]){ 0.8, 9 }, small, sizeof small));
}

/* ---- Strategies ---- */

struct world {
    struct campaign_step step;
    struct plan_step planned;
    struct plan plan;
    int verdict[64];
};

static void make_line(struct world *world, int values, int lines)
{
    const char *names[] = { "vdd_v", "adc_gain" };

    memset(world, 0, sizeof *world);
    world->step.kind = STEP_SWEEP;
    world->step.u.sweep = sweep_of(names, (int[]){ AXIS_GROUP, AXIS_ADC_GAIN }, (int[]){ values, lines }, 2);
    world->step.u.sweep.strategy = STRATEGY_BISECT;
    world->step.u.sweep.bisect_axis = 0;
    world->planned = (struct plan_step){ .step = &world->step, .cell_count = values * lines };
    world->plan.cell_count = values * lines;
    world->plan.cell = calloc((size_t)(values * lines), sizeof *world->plan.cell);
    assert_non_null(world->plan.cell);
    for (int i = 0; i < values * lines; i++) {
        world->plan.cell[i].repeat = 1;
        axes_values(&world->step.u.sweep, i, world->plan.cell[i].value);
    }
}

static void grid_takes_every_cell_once_and_skips_what_is_skipped(void **state)
{
    struct world world;
    int taken = 0, next;

    (void)state;
    make_line(&world, 4, 3);
    world.step.u.sweep.strategy = STRATEGY_GRID;
    snprintf(world.plan.cell[5].skip, sizeof world.plan.cell[5].skip, "illegal");
    while ((next = strategy_next(&world.plan, &world.planned, world.verdict)) != STRATEGY_DONE) {
        assert_int_not_equal(next, 5);
        assert_int_equal(world.verdict[next], VERDICT_NONE);
        world.verdict[next] = taken % 2 ? VERDICT_FAIL : VERDICT_PASS;
        taken++;
    }
    assert_int_equal(taken, 11);
    free(world.plan.cell);
}

static void bisection_finds_every_boundary_in_few_steps(void **state)
{
    (void)state;
    for (int boundary = 0; boundary <= 16; boundary++) { /* values at or above it pass; 16: none does */
        struct world world;
        int measured = 0, next;
        make_line(&world, 16, 2);
        while ((next = strategy_next(&world.plan, &world.planned, world.verdict)) != STRATEGY_DONE) {
            assert_int_equal(strategy_next(&world.plan, &world.planned, world.verdict), next); /* pure */
            world.verdict[next] = world.plan.cell[next].value[0] >= boundary ? VERDICT_PASS : VERDICT_FAIL;
            measured++;
            assert_true(measured <= 2 * 6);
        }
        for (int i = 0; i < world.plan.cell_count; i++) {
            double value = world.plan.cell[i].value[0];
            bool neighbour = value == boundary || value == boundary - 1;
            if (neighbour && world.verdict[i] == VERDICT_NONE)
                fail_msg("boundary %d: the value %g beside it was not measured", boundary, value);
            if (world.verdict[i] == VERDICT_NONE)
                assert_int_equal(strategy_inferred(&world.plan, &world.planned, world.verdict, i),
                                 VERDICT_INFERRED);
        }
        free(world.plan.cell);
    }
}

static void bisection_can_pass_at_the_low_side(void **state)
{
    struct world world;
    int next;

    (void)state;
    make_line(&world, 8, 1);
    world.step.u.sweep.bisect_low_passes = true;
    assert_int_equal(strategy_next(&world.plan, &world.planned, world.verdict), 0);
    while ((next = strategy_next(&world.plan, &world.planned, world.verdict)) != STRATEGY_DONE)
        world.verdict[next] = world.plan.cell[next].value[0] <= 2 ? VERDICT_PASS : VERDICT_HANG;
    assert_int_equal(world.verdict[2], VERDICT_PASS);
    assert_int_equal(world.verdict[3], VERDICT_HANG);
    free(world.plan.cell);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(costly_axes_change_slowest_whatever_the_writing),
        cmocka_unit_test(a_snake_moves_one_axis_at_a_time),
        cmocka_unit_test(random_order_is_a_permutation_of_the_seed),
        cmocka_unit_test(zipped_axes_move_together),
        cmocka_unit_test(text_of_a_cell_is_canonical),
        cmocka_unit_test(grid_takes_every_cell_once_and_skips_what_is_skipped),
        cmocka_unit_test(bisection_finds_every_boundary_in_few_steps),
        cmocka_unit_test(bisection_can_pass_at_the_low_side),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
