/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * guard: rules for what may reach the outputs. */
#include "daemon/keeper/guard.h"

#include <math.h>
#include <string.h>

const struct bench_channel *guard_channel(const struct bench_file *file, const struct message *message)
{
    for (int i = 0; i < file->channel_count; i++) {
        if (file->channel[i].instrument == message->instrument && file->channel[i].number == message->channel)
            return &file->channel[i];
    }
    return NULL;
}

/* What may raise a voltage or feed a pin. Switching off, reading and measuring are always allowed. */
static bool energises(const struct message *m)
{
    switch (m->op) {
    case MESSAGE_OUTPUT:
    case MESSAGE_SPI_DRIVE:
        return m->value[0] != 0;
    case MESSAGE_SET_VOLTAGE:
    case MESSAGE_SET_LIMIT:
    case MESSAGE_SET_PROTECTION:
    case MESSAGE_CLEAR_TRIP:
    case MESSAGE_SPI_BATCH:
        return true;
    default:
        return false;
    }
}

/* Every part of the message must be a question: "OUTP ON;*IDN?" ends in '?' and is none. */
static bool only_asks(const uint8_t *text, size_t n)
{
    size_t start = 0;
    bool any = false;
    for (size_t i = 0; i <= n; i++) {
        if (i < n &&
            (text[i] < ' ' || text[i] > '~')) /* white space or the end of a message to some instruments */
            return false;
        if (i < n && text[i] != ';')
            continue;
        while (start < i && (text[start] == ' ' || text[start] == ':'))
            start++;
        size_t end = start;
        while (end < i && text[end] != ' ')
            end++;
        if (end == start || text[end - 1] != '?')
            return false;
        any = true;
        start = i + 1;
    }
    return any;
}

static int check_limits(const struct bench_channel *ch, const struct message *m, struct error *err)
{
    bool volts = m->op == MESSAGE_SET_VOLTAGE;
    double min = volts ? ch->volt_min_v : ch->limit_min_a, max = volts ? ch->volt_max_v : ch->limit_max_a;
    if (m->value[0] >= min && m->value[0] <= max)
        return 0;
    return error_set(err, ERR_RANGE, "%s: %g %s is outside %g .. %g", ch->name, m->value[0],
                     volts ? "V" : "A", min, max);
}

static int check_undo(const struct guard *guard, const struct message *m, const struct bench_channel *ch,
                      struct error *err)
{
    bool spi = m->op == MESSAGE_SPI_DRIVE;
    if (!spi && !ch)
        return error_set(err, ERR_INVALID, "no channel %d to switch on", m->channel);
    if (undo_find(guard->undo, spi ? UNDO_SPI_RELEASE : UNDO_OUTPUT_OFF, spi ? -1 : ch->index) >= 0)
        return 0;
    return error_set(err, ERR_REFUSED, "%s may not be switched on: no undo is registered for it",
                     spi ? "the SPI bridge" : ch->name);
}

int guard_check(const struct guard *guard, const struct message *message, const uint8_t *payload,
                struct error *err)
{
    const struct message *m = message;
#ifdef KEEPER_WITHOUT_GUARD /* a variant for tests/fault: its judge must fail then */
    return 0;
#endif
    if (m->instrument < 0 || m->instrument >= guard->file->instrument_count ||
        !guard->file->instrument[m->instrument].energises)
        return error_set(err, ERR_INVALID, "the keeper hosts no instrument %d", m->instrument);
    if (m->op == 0 || m->op >= MESSAGE_PORT_COUNT || m->op == MESSAGE_SAFE_OFF)
        return error_set(err, ERR_INVALID, "operation %u is not for clients", m->op);
    if (guard->latched && energises(m))
        return error_set(
            err, ERR_TRIPPED,
            "latched (%s): nightbench clear REASON ends it; without a daemon, nightbench-safe clear REASON",
            guard->latch_reason);
    const struct bench_channel *ch = guard_channel(guard->file, m);
    switch (m->op) {
    case MESSAGE_SET_VOLTAGE:
    case MESSAGE_SET_LIMIT:
        return ch ? check_limits(ch, m, err) : error_set(err, ERR_INVALID, "no channel %d", m->channel);
    case MESSAGE_OUTPUT:
    case MESSAGE_SPI_DRIVE:
        return energises(m) ? check_undo(guard, m, ch, err) : 0;
    case MESSAGE_QUERY:
        if (!only_asks(payload, m->payload_length))
            return error_set(err, ERR_REFUSED, "raw commands to an instrument that energises may only ask");
        return 0;
    default:
        return 0;
    }
}
