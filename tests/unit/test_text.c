/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_text: numbers for people, round-trip numbers, ULIDs, files, growing strings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/base/rng.h"
#include "daemon/base/text.h"

static void engineering(void **state)
{
    static const struct {
        double value;
        const char *unit;
        int digits;
        const char *want;
    } CASES[] = {
        { 3.3, "V", 4, "3.300 V" },
        { 0.0125, "A", 3, "12.5 mA" },
        { 180e-12, "J", 3, "180 pJ" },
        { 999.96, "V", 4, "1.000 kV" },
        { 999.94, "V", 4, "999.9 V" },
        { -1e-9, "A", 2, "-1.0 nA" },
        { 0, "V", 3, "0.00 V" },
        { 12.34e12, "OPS/W", 3, "12.3 TOPS/W" },
        { 5, "", 3, "5.00" },
        { NAN, "V", 3, "-" },
        { 1e-30, "J", 3, "1.00e-30 J" },
        { 0.5, "V", 3, "500 mV" },
        { 1e3, "Hz", 3, "1.00 kHz" },
    };
    char out[64];

    (void)state;
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++)
        assert_string_equal(text_engineering(CASES[i].value, CASES[i].unit, CASES[i].digits, out, sizeof out),
                            CASES[i].want);
}

static void durations_bytes_times(void **state)
{
    char out[64];

    (void)state;
    assert_string_equal(text_duration(47, out, sizeof out), "47 s");
    assert_string_equal(text_duration(200, out, sizeof out), "3 min 20 s");
    assert_string_equal(text_duration(7500, out, sizeof out), "2 h 05 min");
    assert_string_equal(text_duration(0.25, out, sizeof out), "250 ms");
    assert_string_equal(text_duration(59.7, out, sizeof out), "1 min 00 s");
    assert_string_equal(text_duration(90000, out, sizeof out), "1 d 01 h");
    assert_string_equal(text_bytes(812, out, sizeof out), "812 B");
    assert_string_equal(text_bytes(1.2e6, out, sizeof out), "1.2 MB");
    assert_string_equal(text_bytes(999999, out, sizeof out), "1.0 MB");
    assert_string_equal(text_time(1769882400123456789, out, sizeof out), "2026-01-31T18:00:00.123Z");
    /* Before 1970 the milliseconds still count upwards. */
    assert_string_equal(text_time(-1, out, sizeof out), "1969-12-31T23:59:59.999Z");
    assert_string_equal(text_time(-1000000001, out, sizeof out), "1969-12-31T23:59:58.999Z");
    assert_string_equal(text_time(-1000000000, out, sizeof out), "1969-12-31T23:59:59.000Z");
}

static void times_read(void **state)
{
    static const struct {
        const char *text;
        int64_t ns;
    } good[] = {
        { "2026-01-31", 1769817600000000000 },
        { "2026-01-31Z", 1769817600000000000 },
        { "2026-01-31T18:00", 1769882400000000000 },
        { "2026-01-31T18:00:00Z", 1769882400000000000 },
        { "2026-01-31T18:00:00.123456789Z", 1769882400123456789 },
        { "2028-02-29T23:59:59.5", 1835481599500000000 },
    };
    static const char *const bad[] = { "",
                                       "yesterday",
                                       "2026-02-29",
                                       "2026-13-01",
                                       "2026-01-31T18:00:00.",
                                       "2026-01-31T18:00:00+01:00",
                                       "2026-01-31 ",
                                       "2026-01-31T25:00",
                                       "1969-12-31" };
    int64_t ns = 7;

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_true(text_parse_time(good[i].text, &ns));
        assert_int_equal(ns, good[i].ns);
    }
    ns = 7;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(text_parse_time(bad[i], &ns));
    assert_int_equal(ns, 7);
}

static void escapes(void **state)
{
    char out[64], small[12];

    (void)state;
    assert_string_equal(text_escape("*IDN?\r\n\x01\\", 9, out, sizeof out), "*IDN?\\r\\n\\x01\\\\");
    assert_string_equal(text_escape("0123456789abcdef", 16, small, sizeof small), "01234567...");
    assert_string_equal(text_escape("0123456789a", 11, small, sizeof small), "0123456789a");
}

static void numbers_read_back_equal(void **state)
{
    struct rng rng;
    char out[40];

    (void)state;
    assert_string_equal(text_number(0.8, out, sizeof out), "0.8");
    assert_string_equal(text_number(0.1 + 0.2, out, sizeof out), "0.30000000000000004");
    assert_string_equal(text_number(1e15, out, sizeof out), "1e+15");
    assert_string_equal(text_number(NAN, out, sizeof out), "null");
    assert_string_equal(text_number(-INFINITY, out, sizeof out), "null");
    assert_true(strtod(text_number(DBL_MAX, out, sizeof out), NULL) == DBL_MAX);
    assert_true(strtod(text_number(5e-324, out, sizeof out), NULL) == 5e-324);
    rng_init(&rng, 11, "test_text", 0, 0, 0);
    print_message("seed 11\n");
    for (int i = 0; i < 20000; i++) {
        uint64_t bits = (uint64_t)rng_u32(&rng) << 32 | rng_u32(&rng);
        double value;

        memcpy(&value, &bits, sizeof value);
        if (isfinite(value))
            assert_true(strtod(text_number(value, out, sizeof out), NULL) == value);
    }
}

static void ulids_sort_by_time(void **state)
{
    char a[ULID_TEXT], b[ULID_TEXT];

    (void)state;
    text_ulid(a);
    usleep(2000);
    text_ulid(b);
    assert_int_equal(strlen(a), 26);
    assert_int_equal(strspn(a, "0123456789ABCDEFGHJKMNPQRSTVWXYZ"), 26);
    assert_true(strcmp(a, b) < 0);
    assert_true(a[0] <= '7');
}

static void files(void **state)
{
    char path[] = "/tmp/test_text.XXXXXX";
    char *text = NULL;
    size_t length = 99;
    struct error err;

    (void)state;
    close(mkstemp(path));
    assert_int_equal(text_write_file(path, "one\0two", 7, &err), 0);
    assert_int_equal(text_read_file(path, 7, &text, &length, &err), 0);
    assert_int_equal(length, 7);
    assert_memory_equal(text, "one\0two", 8);
    free(text);
    assert_int_equal(text_read_file(path, 6, &text, &length, &err), ERR_RANGE);
    unlink(path);
    assert_int_equal(text_read_file(path, 6, &text, &length, &err), ERR_NOT_FOUND);
    assert_non_null(strstr(err.message, path));
    assert_int_equal(text_write_file("/nowhere/x", "", 0, &err), ERR_NOT_FOUND);
}

static void a_named_pipe_is_refused(void **state)
{
    char path[64], *text = NULL;
    struct error err = { .code = 0 };

    (void)state;
    snprintf(path, sizeof path, "/tmp/test-text-pipe-%d", (int)getpid());
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(text_read_file(path, 100, &text, NULL, &err), ERR_INVALID);
    unlink(path);
}

static void growing(void **state)
{
    struct strbuf buf = { 0 };

    (void)state;
    for (int i = 0; i < 1000; i++)
        strbuf_add(&buf, "%d,", i);
    strbuf_bytes(&buf, "end", 3);
    assert_false(buf.failed);
    assert_int_equal(buf.length, 10 * 2 + 90 * 3 + 900 * 4 + 3);
    assert_string_equal(buf.text + buf.length - 7, "999,end");
    strbuf_add(&buf, "%500s", "x");
    assert_int_equal(strlen(buf.text), buf.length);
    strbuf_free(&buf);
    assert_null(buf.text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(engineering),
        cmocka_unit_test(times_read),
        cmocka_unit_test(durations_bytes_times),
        cmocka_unit_test(escapes),
        cmocka_unit_test(numbers_read_back_equal),
        cmocka_unit_test(ulids_sort_by_time),
        cmocka_unit_test(files),
        cmocka_unit_test(a_named_pipe_is_refused),
        cmocka_unit_test(growing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
