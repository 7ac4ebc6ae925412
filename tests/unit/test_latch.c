/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_latch: which latches of the keeper are told by the daemon that looks at them, and how often.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "daemon/latch.h"

static void told_once(void **state)
{
    struct latch_view view = { .started = false };

    (void)state;
    assert_false(latch_look(&view, false, 0, false));
    assert_false(latch_look(&view, true, 0, false)); /* whoever did it here may be about to tell */
    assert_true(latch_look(&view, true, 0, false));
    assert_false(latch_look(&view, true, 1, false));
    assert_false(latch_look(&view, false, 1, false)); /* cleared */
    assert_false(latch_look(&view, true, 1, false));
    assert_true(latch_look(&view, true, 1, false));
}

static void told_elsewhere(void **state)
{
    struct latch_view view = { .started = false };

    (void)state;
    assert_false(latch_look(&view, false, 3, false));
    assert_false(latch_look(&view, true, 3, false));
    assert_false(latch_look(&view, true, 4, false)); /* an e-stop over HTTP tells itself */
    assert_false(latch_look(&view, true, 4, false));
}

static void old_at_the_start(void **state)
{
    struct latch_view view = { .started = false };

    (void)state;
    for (int i = 0; i < 3; i++)
        assert_false(latch_look(&view, true, 0, false));
}

static void after_the_run(void **state)
{
    struct latch_view view = { .started = false };

    (void)state;
    assert_false(latch_look(&view, false, 0, true));
    for (int i = 0; i < 3; i++)
        assert_false(latch_look(&view, true, 0, true));
    struct latch_view tripped = view;
    assert_true(latch_look(&view, true, 0, false));     /* ended by an e-stop at the keeper */
    assert_false(latch_look(&tripped, true, 1, false)); /* ended by a trip, and said so */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(told_once),
        cmocka_unit_test(told_elsewhere),
        cmocka_unit_test(old_at_the_start),
        cmocka_unit_test(after_the_run),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
