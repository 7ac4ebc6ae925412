/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * call: the requests of the keeper's own to its ports, from a fixed store, so that nothing is allocated while
 * outputs are switched off. All is for the I/O thread. */
#ifndef DAEMON_KEEPER_CALL_H
#define DAEMON_KEEPER_CALL_H

#include <stdatomic.h>

#include "instruments/port.h"

struct keeper;

/* Given back by whoever comes last: us, or the port after we gave up. */
struct call {
    struct port_request request; /* the answer, once call_answered() */
    struct keeper *keeper;
    atomic_int state;
    uint8_t payload[64];
};

/* NULL without memory; free() ends it, after the ports. */
struct call *call_store_new(void);
/* instrument, channel, priority: as a port takes them. NULL when all of the store still waits for answers.
 * The answer passes the observer. */
struct call *call_post(struct keeper *keeper, int op, int instrument, int channel, int priority);
bool call_answered(const struct call *call);
/* What comes after it goes nowhere. NULL is a no-op. */
void call_free(struct call *call);
/* Waits for the calls, at most limit_ns of host time; false when it was overtaken, which `ordinary` allows.
 * In virtual time a process that stands still with the clock in its hands would hold us up too: after half
 * the time it loses it, or begins another half. While virtual time goes on nobody holds it: an instrument's
 * time-out takes as long as this machine needs for it. */
bool call_wait(struct keeper *keeper, struct call *const *call, int count, int64_t limit_ns, bool ordinary);
/* How long an instrument is given for one: a second, scaled (keeper_client_time_scale()). */
int64_t call_limit_ns(void);

#endif
