/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * walltime: calendars by the C library, their corners by hand. */
#include "daemon/base/walltime.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NS INT64_C(1000000000)

/* Nanoseconds since 1970 end in 2262. */
enum { DAYS_AHEAD = 2, YEAR_FIRST = 1970, YEAR_LAST = 2261 };

/* Two digits at *at, up to `max`; moves on. */
static bool digits(const char **at, int count, int max, int *ret_value)
{
    int value = 0;

    for (int i = 0; i < count; i++) {
        if (!isdigit((unsigned char)(*at)[i]))
            return false;
        value = 10 * value + (*at)[i] - '0';
    }
    *at += count;
    *ret_value = value;
    return value <= max;
}

static bool skip(const char **at, char expected)
{
    if (**at != expected)
        return false;
    (*at)++;
    return true;
}

/* HH:MM[:SS] */
static bool clock_of(const char **at, struct tm *tm)
{
    tm->tm_sec = 0;
    return digits(at, 2, 23, &tm->tm_hour) && skip(at, ':') && digits(at, 2, 59, &tm->tm_min) &&
           (**at != ':' || (skip(at, ':') && digits(at, 2, 59, &tm->tm_sec)));
}

static bool date_of(const char **at, struct tm *tm)
{
    int year, month;

    if (!digits(at, 4, 9999, &year) || !skip(at, '-') || !digits(at, 2, 12, &month) || !skip(at, '-') ||
        !digits(at, 2, 31, &tm->tm_mday) || year < YEAR_FIRST || year > YEAR_LAST || month < 1 ||
        tm->tm_mday < 1)
        return false;
    tm->tm_year = year - 1900;
    tm->tm_mon = month - 1;
    return true;
}

/* "Z", "+HH:MM", "-HH:MM"; *ret_zoned false where there is none. */
static bool zone_of(const char **at, bool *ret_zoned, int *ret_offset_s)
{
    int hours, minutes, sign = **at == '-' ? -1 : 1;

    *ret_zoned = **at != '\0';
    *ret_offset_s = 0;
    if (!*ret_zoned || skip(at, 'Z'))
        return true;
    if ((**at != '+' && **at != '-') || !skip(at, **at) || !digits(at, 2, 14, &hours) || !skip(at, ':') ||
        !digits(at, 2, 59, &minutes))
        return false;
    *ret_offset_s = sign * (hours * 3600 + minutes * 60);
    return true;
}

static bool same_clock(const struct tm *a, const struct tm *b)
{
    return a->tm_mday == b->tm_mday && a->tm_hour == b->tm_hour && a->tm_min == b->tm_min &&
           a->tm_sec == b->tm_sec;
}

static long offset_at(time_t when)
{
    struct tm tm;

    return localtime_r(&when, &tm) != NULL ? tm.tm_gmtoff : 0;
}

/* The first second of another offset from UTC between two moments. */
static time_t change_between(time_t early, time_t late)
{
    long before = offset_at(early);

    while (late - early > 1) {
        time_t middle = early + (late - early) / 2;
        if (offset_at(middle) == before)
            early = middle;
        else
            late = middle;
    }
    return late;
}

/* The first moment after `after` at which local clocks show this date and time; -1: none after it. */
static time_t local_moment(const struct tm *wanted, time_t after)
{
    time_t best = -1, reading[2] = { 0 };
    bool shown = false;

    for (int summer = 0; summer <= 1; summer++) {
        struct tm tm = *wanted;
        tm.tm_isdst = summer;
        reading[summer] = mktime(&tm);
        if (tm.tm_isdst != summer || !same_clock(&tm, wanted))
            continue;
        shown = true;
        if (reading[summer] > after && (best < 0 || reading[summer] < best))
            best = reading[summer];
    }
    if (shown)
        return best;
    time_t early = reading[0] < reading[1] ? reading[0] : reading[1];
    time_t late = reading[0] < reading[1] ? reading[1] : reading[0];
    best = change_between(early, late);
    return best > after ? best : -1;
}

/* A date that the calendar does not have, such as the 31st of April, is none. */
static bool date_exists(struct tm tm)
{
    int day = tm.tm_mday;

    tm.tm_hour = 12;
    return timegm(&tm) >= 0 && tm.tm_mday == day;
}

static bool next_time(struct tm clock, int64_t after_ns, time_t *ret_when)
{
    time_t after = (time_t)(after_ns / NS);
    struct tm day;

    if (localtime_r(&after, &day) == NULL)
        return false;
    for (int ahead = 0; ahead <= DAYS_AHEAD; ahead++) {
        struct tm wanted = {
            .tm_year = day.tm_year, .tm_mon = day.tm_mon, .tm_mday = day.tm_mday + ahead, .tm_hour = 12
        };
        timegm(&wanted); /* carries days over into the next month */
        wanted.tm_hour = clock.tm_hour;
        wanted.tm_min = clock.tm_min;
        wanted.tm_sec = clock.tm_sec;
        time_t when = local_moment(&wanted, after);
        if (when >= 0) {
            *ret_when = when;
            return true;
        }
    }
    return false;
}

int walltime_parse(const char *text, int64_t after_ns, int64_t *ret_ns, struct error *err)
{
    struct tm tm = { 0 };
    const char *at = text;
    bool zoned = false, ok;
    time_t when = -1;
    int offset_s = 0;

    if (clock_of(&at, &tm) && *at == '\0') {
        ok = next_time(tm, after_ns, &when);
    } else {
        at = text;
        ok = date_of(&at, &tm) && (skip(&at, 'T') || skip(&at, ' ')) && clock_of(&at, &tm) &&
             zone_of(&at, &zoned, &offset_s) && *at == '\0' && date_exists(tm);
        if (ok)
            when = zoned ? timegm(&tm) - offset_s : local_moment(&tm, -1);
    }
    if (!ok || when < 0)
        return error_set(err, ERR_INVALID,
                         "'%.40s' is no time; write 07:30 (the next one), 2026-01-31T07:30 or "
                         "2026-01-31T07:30:00Z",
                         text);
    *ret_ns = (int64_t)when * NS;
    return 0;
}

const char *walltime_local(int64_t wall_ns, char *out, size_t size)
{
    time_t when = (time_t)(wall_ns / NS);
    struct tm tm;

    if (localtime_r(&when, &tm) == NULL || strftime(out, size, "%Y-%m-%d %H:%M:%S", &tm) == 0)
        snprintf(out, size, "?");
    return out;
}

bool walltime_duration(const char *text, double *ret_seconds)
{
    static const struct {
        const char *word;
        double seconds;
    } units[] = { { "min", 60.0 }, { "ms", 0.001 }, { "d", 86400.0 },
                  { "h", 3600.0 }, { "m", 60.0 },   { "s", 1.0 } };
    double seconds = 0.0;

    do {
        char *end;
        size_t unit = 0;

        if (!isdigit((unsigned char)*text))
            return false;
        double value = strtod(text, &end);
        end += strspn(end, " ");
        while (unit < sizeof units / sizeof *units &&
               strncmp(end, units[unit].word, strlen(units[unit].word)) != 0)
            unit++;
        if (unit == sizeof units / sizeof *units)
            return false;
        seconds += value * units[unit].seconds;
        text = end + strlen(units[unit].word);
        text += strspn(text, " ");
    } while (*text != '\0');
    *ret_seconds = seconds;
    return seconds > 0.0 && seconds < 1e9;
}
