/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * mpsse_engine: a small engine that executes the opcodes of AN_108, and a chip whose answer is a running
 * checksum of what was written since CS fell, so that a lost or swapped byte cannot pass. */
#ifndef TESTS_UNIT_MPSSE_ENGINE_H
#define TESTS_UNIT_MPSSE_ENGINE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct mpsse_engine {
    void (*say)(struct mpsse_engine *engine, const void *data, size_t n);
    void *context;
    uint8_t in[1 << 16];
    size_t have;
    uint8_t pins, direction, sum;
    unsigned divisor;
    atomic_bool mute, divide_by_5, loopback, cs_stuck;
    atomic_int selections;
};

static inline uint8_t mpsse_engine_shift(struct mpsse_engine *e, uint8_t byte)
{
    e->sum = (uint8_t)(e->sum * 31 + byte + 1);
    return e->sum;
}

static inline void mpsse_engine_pins(struct mpsse_engine *e, uint8_t value, uint8_t direction)
{
    if ((e->pins & 8) && !(value & 8) && (direction & 8)) {
        e->sum = 0;
        atomic_fetch_add(&e->selections, 1);
    }
    e->pins = value;
    e->direction = direction;
}

/* Bytes taken; 0 when the command is not complete. */
static inline size_t mpsse_engine_opcode(struct mpsse_engine *e, const uint8_t *p, size_t n)
{
    size_t length = n >= 3 ? (p[1] | (size_t)p[2] << 8) + 1 : 0;
    uint8_t out[1 << 12], answer[2] = { 0xfa, p[0] };
    switch (p[0]) {
    case 0x11:
        if (n < 3 || n < 3 + length)
            return 0;
        for (size_t i = 0; i < length; i++)
            mpsse_engine_shift(e, p[3 + i]);
        return 3 + length;
    case 0x20:
        if (n < 3)
            return 0;
        for (size_t i = 0; i < length && i < sizeof out; i++)
            out[i] = mpsse_engine_shift(e, 0xa5);
        e->say(e, out, length);
        return 3;
    case 0x80:
        if (n < 3)
            return 0;
        mpsse_engine_pins(e, p[1], p[2]);
        return 3;
    case 0x81:
        answer[0] = atomic_load(&e->cs_stuck) ? 0 : e->pins;
        e->say(e, answer, 1);
        return 1;
    case 0x85:
        atomic_store(&e->loopback, false);
        return 1;
    case 0x86:
        e->divisor = (unsigned)length - 1;
        return n < 3 ? 0 : 3;
    case 0x87:
        return 1;
    case 0x8a:
        atomic_store(&e->divide_by_5, false);
        return 1;
    default:
        e->say(e, answer, 2);
        return 1;
    }
}

/* Executes every command that is complete. */
static inline void mpsse_engine_feed(struct mpsse_engine *e, const void *data, size_t n)
{
    if (atomic_load(&e->mute))
        return;
    memcpy(e->in + e->have, data, n);
    e->have += n;
    size_t done = 0, used;
    while (done < e->have && (used = mpsse_engine_opcode(e, e->in + done, e->have - done)) > 0)
        done += used;
    memmove(e->in, e->in + done, e->have - done);
    e->have -= done;
}

#endif
