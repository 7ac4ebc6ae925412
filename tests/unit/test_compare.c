/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_compare: joining two runs by cell and sample, and what differs first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "sweeps/compare.h"

struct seen {
    int count;
    struct compare_cell cell[8];
};

static int keep(void *context, const struct compare_cell *cell)
{
    struct seen *seen = context;

    seen->cell[seen->count++] = *cell;
    return 0;
}

static void rows_join_by_cell_and_sample(void **state)
{
    const struct compare_row a[] = {
        { .identity = "aa", .sample = 0, .label = 1, .prediction = 1, .output = { 5 } },
        { .identity = "aa", .sample = 1, .label = 1, .prediction = 1 },
        { .identity = "aa", .sample = 2, .label = 0, .prediction = 1 },
        { .identity = "bb", .sample = 0, .label = 1, .prediction = 0 },
    };
    const struct compare_row b[] = {
        { .identity = "aa", .sample = 0, .label = 1, .prediction = 1, .output = { 6 } },
        { .identity = "aa", .sample = 2, .label = 0, .prediction = 0 },
        { .identity = "aa", .sample = 3, .label = 0, .prediction = 0 },
        { .identity = "cc", .sample = 0, .label = 1, .prediction = 0 },
    };
    struct seen seen = { 0 };

    (void)state;
    assert_int_equal(compare_rows(a, 4, b, 4, keep, &seen), 0);
    assert_int_equal(seen.count, 3);
    const struct compare_cell *cell = &seen.cell[0];
    assert_string_equal(cell->identity, "aa");
    assert_int_equal(cell->joined, 2);
    assert_int_equal(cell->only_a, 1);
    assert_int_equal(cell->only_b, 1);
    assert_int_equal(cell->both_right, 1);
    assert_int_equal(cell->a_right, 0);
    assert_int_equal(cell->b_right, 1);
    assert_int_equal(cell->predictions_differ, 1);
    assert_int_equal(cell->outputs_differ, 1);
    assert_int_equal(cell->first_sample, 2);
    assert_true(fabs(cell->accuracy_a - 0.5) < 1e-12);
    assert_true(fabs(cell->accuracy_b - 1.0) < 1e-12);
    assert_int_equal(seen.cell[1].joined, 0);
    assert_int_equal(seen.cell[1].only_a, 1);
    assert_true(isnan(seen.cell[1].accuracy_a));
    assert_int_equal(seen.cell[2].only_b, 1);
    assert_int_equal(compare_rows(NULL, 0, NULL, 0, keep, &seen), 0);
    assert_int_equal(seen.count, 3);
}

/* Two steps of one cell infer the same samples: each is held against its like. */
static void parts_of_a_cell_do_not_mix(void **state)
{
    const struct compare_row a[] = {
        { .identity = "aa", .part = 0, .sample = 0, .label = 1, .prediction = 1 },
        { .identity = "aa", .part = 1, .sample = 0, .label = 1, .prediction = 0 },
    };
    const struct compare_row b[] = {
        { .identity = "aa", .part = 1, .sample = 0, .label = 1, .prediction = 1 },
    };
    struct seen seen = { 0 };

    (void)state;
    assert_int_equal(compare_rows(a, 2, b, 1, keep, &seen), 0);
    assert_int_equal(seen.count, 2);
    assert_int_equal(seen.cell[0].part, 0);
    assert_int_equal(seen.cell[0].only_a, 1);
    assert_int_equal(seen.cell[1].part, 1);
    assert_int_equal(seen.cell[1].joined, 1);
    assert_int_equal(seen.cell[1].b_right, 1);
}

static void paired_predictions_give_mcnemar(void **state)
{
    int16_t a[56], b[56], label[56];
    struct compare_cell cell;

    (void)state;
    for (int i = 0; i < 56; i++) {
        label[i] = 1;
        a[i] = i < 5 ? 1 : i < 6 ? 0 : 1; /* five that a alone has right, one that b alone has */
        b[i] = i < 5 ? 0 : 1;
    }
    compare_predictions(a, b, label, 56, &cell);
    assert_int_equal(cell.a_right, 5);
    assert_int_equal(cell.b_right, 1);
    assert_int_equal(cell.both_right, 50);
    assert_true(fabs(cell.p - 0.21875) < 1e-9);
}

static void tensors_differ_from_their_first_element_on(void **state)
{
    const uint8_t a[] = { 1, 2, 3, 255 }, b[] = { 1, 2, 4, 254 };
    const int16_t c[] = { 7, -2 }, d[] = { 7, -3 };
    int64_t x = 0, y = 0, count = 0;

    (void)state;
    assert_int_equal(compare_tensor(a, 4, b, 4, 8, &x, &y, &count), 2);
    assert_int_equal(x, 3);
    assert_int_equal(y, 4);
    assert_int_equal(count, 2);
    assert_int_equal(compare_tensor(c, 4, d, 4, 16, &x, &y, &count), 1);
    assert_int_equal(x, -2);
    assert_int_equal(y, -3);
    assert_int_equal(compare_tensor(a, 4, a, 4, 8, &x, &y, &count), -1);
    assert_int_equal(count, 0);
    assert_int_equal(compare_tensor(a, 4, a, 3, 8, &x, &y, &count), 3);
    assert_int_equal(count, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_join_by_cell_and_sample),
        cmocka_unit_test(parts_of_a_cell_do_not_mix),
        cmocka_unit_test(paired_predictions_give_mcnemar),
        cmocka_unit_test(tensors_differ_from_their_first_element_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
