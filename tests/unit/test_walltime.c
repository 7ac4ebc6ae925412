/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_walltime: the next 07:30 across midnight, both ends of summer time, and what is no time at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "daemon/base/walltime.h"

/* In UTC, for the expectations. */
static int64_t utc(const char *text)
{
    int64_t ns = 0;
    struct error err;

    if (walltime_parse(text, 0, &ns, &err) != 0)
        fail_msg("%s", err.message);
    return ns;
}

static void next(void **state)
{
    static const struct {
        const char *zone, *after, *text, *wanted;
    } rows[] = {
        { "UTC0", "2026-11-20T22:00:00Z", "07:30", "2026-11-21T07:30:00Z" },
        { "UTC0", "2026-11-20T06:00:00Z", "07:30", "2026-11-20T07:30:00Z" },
        { "UTC0", "2026-11-20T07:30:00Z", "07:30", "2026-11-21T07:30:00Z" }, /* not now: the next one */
        { "UTC0", "2026-12-31T23:59:59Z", "00:00", "2027-01-01T00:00:00Z" },
        { "UTC0", "2028-02-28T12:00:00Z", "11:00:05", "2028-02-29T11:00:05Z" },
        { "Europe/Berlin", "2026-11-20T22:00:00Z", "07:30", "2026-11-21T06:30:00Z" },
        { "Europe/Berlin", "2026-07-20T22:30:00Z", "00:15", "2026-07-21T22:15:00Z" }, /* 00:30 there */
        /* 02:00 to 03:00 does not exist on 2026-03-29: the skip is at 01:00 UTC */
        { "Europe/Berlin", "2026-03-28T22:00:00Z", "02:30", "2026-03-29T01:00:00Z" },
        { "Europe/Berlin", "2026-03-28T22:00:00Z", "07:30", "2026-03-29T05:30:00Z" },
        { "Europe/Berlin", "2026-03-29T01:00:00Z", "02:30", "2026-03-30T00:30:00Z" },
        /* 02:00 to 03:00 comes twice on 2026-10-25: at 00:00 and at 01:00 UTC */
        { "Europe/Berlin", "2026-10-24T20:00:00Z", "02:30", "2026-10-25T00:30:00Z" },
        { "Europe/Berlin", "2026-10-25T00:45:00Z", "02:30", "2026-10-25T01:30:00Z" },
        { "Europe/Berlin", "2026-10-25T01:30:00Z", "02:30", "2026-10-26T01:30:00Z" },
        { "Asia/Kolkata", "2026-10-25T01:30:00Z", "07:30", "2026-10-25T02:00:00Z" },
        { "Pacific/Auckland", "2026-09-26T13:00:00Z", "02:30", "2026-09-26T14:00:00Z" },
        /* Dates stand for themselves, local without a zone. */
        { "Europe/Berlin", "2026-11-20T22:00:00Z", "2026-07-01T07:30", "2026-07-01T05:30:00Z" },
        { "Europe/Berlin", "2026-11-20T22:00:00Z", "2026-12-01 07:30:20", "2026-12-01T06:30:20Z" },
        { "Europe/Berlin", "2026-11-20T22:00:00Z", "2026-12-01T07:30:00-05:30", "2026-12-01T13:00:00Z" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int64_t found = 0;
        struct error err = { .message = "" };

        setenv("TZ", rows[i].zone, 1);
        tzset();
        int code = walltime_parse(rows[i].text, utc(rows[i].after), &found, &err);
        if (code != 0 || found != utc(rows[i].wanted))
            fail_msg("%s after %s in %s: %s (off by %lld s) %s", rows[i].text, rows[i].after, rows[i].zone,
                     rows[i].wanted, (long long)((found - utc(rows[i].wanted)) / 1000000000), err.message);
    }
}

static void refused(void **state)
{
    static const char *const rows[] = { "",
                                        "7:30",
                                        "24:00",
                                        "07:60",
                                        "07:30 ",
                                        "07:30:60",
                                        "0730",
                                        "tomorrow",
                                        "2026-04-31T07:30",
                                        "2026-02-29T07:30",
                                        "2026-13-01T07:30",
                                        "2026-01-01",
                                        "2026-01-01T07:30+1",
                                        "2026-01-01T07:30:00Zulu",
                                        "1969-01-01T00:00",
                                        "9999-12-31T23:59:59Z" /* no nanoseconds so late */ };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int64_t found = -7;
        struct error err;

        assert_int_equal(walltime_parse(rows[i], 0, &found, &err), ERR_INVALID);
        assert_int_equal(found, -7);
    }
}

static void durations(void **state)
{
    static const struct {
        const char *text;
        double seconds; /* 0: none */
    } rows[] = { { "2h", 7200 },    { "90 min", 5400 }, { "1h30m", 5400 }, { "45s", 45 },
                 { "1.5 h", 5400 }, { "1d", 86400 },    { "250ms", 0.25 }, { "1 h 5 s", 3605 },
                 { "", 0 },         { "2", 0 },         { "h", 0 },        { "0s", 0 },
                 { "-2h", 0 },      { "2 weeks", 0 },   { "2hours", 0 } };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        double seconds = 0;
        bool ok = walltime_duration(rows[i].text, &seconds);

        if (ok != (rows[i].seconds > 0) || (ok && seconds != rows[i].seconds))
            fail_msg("'%s': %d %g", rows[i].text, ok, seconds);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(next),
        cmocka_unit_test(refused),
        cmocka_unit_test(durations),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
