/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_error: codes, names, one-line messages, errno mapping. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/base/error.h"
#include "daemon/base/record.h"

static void names_round_trip(void **state)
{
    (void)state;
    for (int code = 0; code >= ERR_CALIBRATION; code--) {
        assert_string_not_equal(error_name(code), "unknown");
        assert_int_equal(error_from_name(error_name(code)), code);
    }
    assert_string_equal(error_name(ERR_NO_ANSWER), "no_answer");
    assert_string_equal(error_name(1), "unknown");
    assert_string_equal(error_name(ERR_CALIBRATION - 1), "unknown");
    assert_int_equal(error_from_name("no such"), ERR_INTERNAL);
    for (int v = 0; v < VERDICT_COUNT; v++)
        assert_int_equal(verdict_from_name(verdict_name(v)), v);
    assert_int_equal(verdict_from_name("passed"), -1);
}

static void set_fills_and_clears(void **state)
{
    struct error err;

    (void)state;
    assert_int_equal(error_set(&err, ERR_TIMEOUT, "no reply\nafter %d tries", 3), ERR_TIMEOUT);
    assert_string_equal(err.message, "no reply after 3 tries");
    assert_true(err.retryable);
    assert_int_equal(error_at(&err, "psu", "MEAS:VOLT?\n", 12), ERR_TIMEOUT);
    assert_string_equal(err.instrument, "psu");
    assert_string_equal(err.command, "MEAS:VOLT?\\n");
    assert_int_equal(err.elapsed_ns, 12);
    error_set(&err, ERR_RANGE, "again: %s", err.message);
    assert_string_equal(err.message, "again: no reply after 3 tries");
    assert_string_equal(err.instrument, "");
    assert_false(err.retryable);
    assert_int_equal(error_set(NULL, ERR_RANGE, "nobody listens"), ERR_RANGE);
    assert_int_equal(error_at(NULL, "psu", "", 0), ERR_INTERNAL);
}

static void prefix_and_errno(void **state)
{
    struct error err;
    char wide[ERROR_TEXT_MAX + 100];

    (void)state;
    assert_int_equal(error_set_errno(&err, ENOSPC, "%s: cannot write", "a.db"), ERR_FULL);
    assert_string_equal(err.message, "a.db: cannot write: No space left on device");
    assert_int_equal(error_set_errno(&err, ENOENT, "x"), ERR_NOT_FOUND);
    assert_int_equal(error_set_errno(&err, ENOMEM, "x"), ERR_MEMORY);
    assert_int_equal(error_set_errno(&err, EACCES, "x"), ERR_IO);
    assert_int_equal(error_prefix(&err, "step %d", 4), ERR_IO);
    assert_string_equal(err.message, "step 4: x: Permission denied");
    memset(wide, 'w', sizeof wide - 1);
    wide[sizeof wide - 1] = '\0';
    error_prefix(&err, "%s", wide);
    assert_int_equal(strlen(err.message), ERROR_TEXT_MAX - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_round_trip),
        cmocka_unit_test(set_fills_and_clears),
        cmocka_unit_test(prefix_and_errno),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
