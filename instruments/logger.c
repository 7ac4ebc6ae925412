/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * logger: the loggers of supplies and sources, as messages to their ports. */
#include "instruments/logger.h"

#include <string.h>

#include "instruments/bench_private.h"

static struct message to_channel(int op, const struct bench_channel *ch)
{
    return (struct message){ .op = (uint16_t)op,
                             .instrument = (int16_t)ch->instrument,
                             .channel = (int16_t)ch->number };
}

int logger_start(struct bench_client *c, const struct bench_channel *ch, int quantity, double period_s,
                 int64_t *ret_begin_ns, struct error *err)
{
    struct message m = to_channel(MESSAGE_LOG_START, ch);
    m.value[0] = quantity;
    m.value[1] = period_s;
    int code = bench_client_call(c, &m, NULL, 0, NULL, 0, err);
    if (!code)
        *ret_begin_ns = m.time_ns;
    return code;
}

int logger_read(struct bench_client *c, const struct bench_channel *ch, struct logger_values *ret,
                struct error *err)
{
    struct message m = to_channel(MESSAGE_LOG_READ, ch);
    double payload[2 * LOGGER_READ_MAX];
    int code = bench_client_call(c, &m, NULL, 0, payload, sizeof payload, err);
    if (code)
        return code;
    if (m.count > LOGGER_READ_MAX || m.payload_length != 2 * m.count * sizeof *payload)
        return error_set(err, ERR_INTERNAL, "%u bytes for %u values of a logger", m.payload_length, m.count);
    ret->count = (int)m.count;
    ret->flags = m.flags;
    memcpy(ret->value, payload, m.count * sizeof *payload);
    memcpy(ret->at_s, payload + m.count, m.count * sizeof *payload);
    return 0;
}

int logger_stop(struct bench_client *c, const struct bench_channel *ch, struct error *err)
{
    struct message m = to_channel(MESSAGE_LOG_STOP, ch);
    return bench_client_call(c, &m, NULL, 0, NULL, 0, err);
}
