/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_record: names of channels. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "daemon/base/record.h"

static void channels_are_in_lower_case_and_fit(void **state)
{
    char name[RECORD_NAME_MAX], rail[100];

    (void)state;
    record_channel(name, "rail.%s.%s", "VDDADC", "voltage");
    assert_string_equal(name, "rail.vddadc.voltage");
    memset(rail, 'V', sizeof rail - 1);
    rail[sizeof rail - 1] = '\0';
    record_channel(name, "contact.%s", rail);
    assert_int_equal(strlen(name), RECORD_NAME_MAX - 1);
    assert_null(strchr(name, 'V'));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(channels_are_in_lower_case_and_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
