/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * scpi_log: starting, fetching and stopping; blocks of floats and lists of numbers taken apart. */
#include "drivers/scpi_log.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/record.h"
#include "drivers/scpi_text.h"
#include "instruments/bench.h"

enum { PERIOD_DECIMALS = 7 };
#define NAN_FROM 9.89e37

int scpi_log_start(struct scpi_talk *talk, struct scpi_log *log, struct message *m, struct error *err)
{
    const struct dialect *d = talk->dialect;
    int set = m->value[0] == QUANTITY_CURRENT ? DIALECT_LOG_CURRENT : DIALECT_LOG_VOLTAGE;
    double period_s = m->value[1];
    if (!scpi_talk_has(talk, set))
        return error_set(err, ERR_UNSUPPORTED, "%s has no '%s'", d->name, dialect_command_name(set));
    if (!(period_s >= d->log.period_min_s && period_s <= d->log.period_max_s))
        return error_set(err, ERR_RANGE, "%g s a value is outside %g .. %g s", period_s, d->log.period_min_s,
                         d->log.period_max_s);
    int code = scpi_talk_set_value(talk, set, m->channel, period_s, PERIOD_DECIMALS, err);
    if (!code)
        code = scpi_talk_set_value(talk, DIALECT_LOG_START, m->channel, 0, 0, err);
    if (!code)
        *log = (struct scpi_log){ .running = true, .period_s = period_s };
    return code;
}

int scpi_log_stop(struct scpi_talk *talk, struct scpi_log *log, struct message *m, struct error *err)
{
    log->running = false;
    return scpi_talk_set_value(talk, DIALECT_LOG_STOP, m->channel, 0, 0, err);
}

/* ---- Taking answers apart ---- */
/* The bytes of a definite block: "#15hello". False: it is none, or it is cut. */
static bool open_block(const char *answer, size_t length, const char **ret_bytes, size_t *ret_n)
{
    if (length < 2 || answer[0] != '#' || !isdigit((unsigned char)answer[1]) || answer[1] == '0')
        return false;
    size_t digits = (size_t)(answer[1] - '0'), n = 0;
    if (length < 2 + digits)
        return false;
    for (size_t i = 0; i < digits; i++) {
        if (!isdigit((unsigned char)answer[2 + i]))
            return false;
        n = n * 10 + (size_t)(answer[2 + i] - '0');
    }
    *ret_bytes = answer + 2 + digits;
    *ret_n = n;
    return length == 2 + digits + n;
}

static double from_big_endian(const char *bytes)
{
    uint32_t bits = 0;
    float value;
    for (int i = 0; i < 4; i++)
        bits = bits << 8 | (uint8_t)bytes[i];
    memcpy(&value, &bits, sizeof value);
    return (double)value;
}

static int take_floats(const struct scpi_talk *talk, double *ret, size_t max, size_t *ret_n,
                       struct error *err)
{
    const char *bytes;
    size_t n;
    if (!open_block(talk->link.answer, talk->link.answer_length, &bytes, &n) || n % 4 != 0 || n / 4 > max)
        return error_set(err, ERR_GARBAGE, "'%.20s': no block of up to %zu floats", talk->link.answer, max);
    for (size_t i = 0; i < n / 4; i++)
        ret[i] = from_big_endian(bytes + 4 * i);
    *ret_n = n / 4;
    return 0;
}

/* Numbers with commas, bare or within a block. */
static int take_list(const struct scpi_talk *talk, double *ret, size_t max, size_t *ret_n, struct error *err)
{
    char *text = talk->link.answer;
    const char *bytes;
    size_t length, n = 0;
    if (*text == '#') {
        if (!open_block(text, talk->link.answer_length, &bytes, &length))
            return error_set(err, ERR_GARBAGE, "'%.20s': no block", text);
        text += bytes - text;
    }
    while (*text) {
        char *end = text + strcspn(text, ",");
        bool more = *end == ',';
        *end = '\0';
        if (n == max || isalpha((unsigned char)*text) || !scpi_text_number(text, &ret[n]))
            return error_set(err, ERR_GARBAGE, "'%.20s' as value %zu of at most %zu", text, n + 1, max);
        n++;
        text = end + more;
    }
    *ret_n = n;
    return 0;
}

/* ---- Fetching ---- */
static int fetch(struct scpi_talk *talk, const struct scpi_log *log, int channel, size_t max, double *ret,
                 size_t *ret_n, struct error *err)
{
    const struct dialect *d = talk->dialect;
    char text[DIALECT_TEXT_MAX * 2];
    double first = (double)max, last = (double)max;
    *ret_n = 0;
    if (scpi_talk_has(talk, DIALECT_LOG_COUNT)) {
        double count = 0;
        int code = scpi_talk_ask_one(talk, DIALECT_LOG_COUNT, channel, &count, err);
        if (code)
            return code;
        if (!(count >= 0 && count <= 1e9) || count != floor(count) || count < (double)log->fetched)
            return error_set(err, ERR_GARBAGE, "%g values are in the logger where %lld were read", count,
                             (long long)log->fetched);
        if (count == (double)log->fetched)
            return 0;
        first = (double)log->fetched + 1;
        last = fmin(count, (double)log->fetched + (double)max);
        max = (size_t)(last - first) + 1;
    }
    int code = dialect_format_span(d, DIALECT_LOG_FETCH, channel, first, last, 0, text, sizeof text, err);
    if (!code)
        code = scpi_talk_query(talk, text, d->timeout_s, err);
    if (code)
        return code;
    max *= (size_t)d->log.fields;
    return d->log.binary ? take_floats(talk, ret, max, ret_n, err) : take_list(talk, ret, max, ret_n, err);
}

/* `n` values out of their fields, then as many times: seconds since the start. */
static void sort_out(struct scpi_log *log, const struct dialect_log *as, const double *fields, size_t n,
                     double *ret, uint32_t *ret_flags)
{
    for (size_t i = 0; i < n; i++) {
        const double *record = fields + i * (size_t)as->fields;
        bool number = isfinite(record[as->value]) && fabs(record[as->value]) < NAN_FROM;
        ret[i] = number ? record[as->value] : NAN;
        *ret_flags |= number ? 0 : READING_NOT_A_NUMBER;
        if (as->time < 0) {
            ret[n + i] = (double)(log->fetched + (int64_t)i + 1) * log->period_s;
            continue;
        }
        if (log->fetched == 0 && i == 0)
            log->zero_s = record[as->time] - log->period_s;
        ret[n + i] = record[as->time] - log->zero_s;
    }
}

int scpi_log_read(struct scpi_talk *talk, struct scpi_log *log, struct message *m, uint8_t *payload,
                  size_t room, struct error *err)
{
    const struct dialect_log *as = &talk->dialect->log;
    size_t max = room / (2 * sizeof(double)), got = 0, fields = (size_t)as->fields;
    if (!log->running)
        return error_set(err, ERR_REFUSED, "the logger of channel %d does not run: it must be started again",
                         m->channel);
    if (max > (size_t)as->values_max)
        max = (size_t)as->values_max;
    double *values = max > 0 ? malloc(max * (fields + 2) * sizeof *values) : NULL;
    if (!values)
        return error_set(err, max > 0 ? ERR_MEMORY : ERR_INTERNAL, "values of a logger");
    int code = fetch(talk, log, m->channel, max, values, &got, err);
    if (!code && got % fields != 0)
        code = error_set(err, ERR_GARBAGE, "%zu numbers are no values of %zu fields", got, fields);
    if (code && !scpi_talk_has(talk, DIALECT_LOG_COUNT))
        log->running =
            false; /* what was fetched and lost on the way is gone: nobody knows when the next one is */
    if (!code) {
        size_t n = got / fields;
        double *sorted = values + max * fields;
        m->flags = 0;
        sort_out(log, as, values, n, sorted, &m->flags);
        memcpy(payload, sorted, 2 * n * sizeof *sorted);
        m->value[0] = (double)log->fetched;
        m->count = (uint32_t)n;
        m->payload_length = (uint32_t)(2 * n * sizeof *sorted);
        log->fetched += (int64_t)n;
    }
    free(values);
    return code;
}
