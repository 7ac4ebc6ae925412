/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * port_health: what a port knows of each of its instruments, for people who watch it from other threads: its
 * state, how long it has been at one request, what failed how often. Times are host time, because they ask
 * whether a thread moves. The log hears of a link that fails once, then now and then, and when it answers
 * again. */
#ifndef INSTRUMENTS_PORT_HEALTH_H
#define INSTRUMENTS_PORT_HEALTH_H

#include <stdatomic.h>

#include "daemon/base/json.h"
#include "daemon/base/streak.h"

enum { PORT_HEALTH_CODES = 32 };

struct port_health {
    atomic_bool connected;
    _Atomic int64_t answer_ns; /* the last request that went well; 0: none */
    _Atomic uint64_t requests, connects;
    _Atomic uint64_t failures[PORT_HEALTH_CODES]; /* by -code of enum error_code */
    struct streak streak;                         /* the port's thread's own */
};

/* The port's thread: a request has ended (error NULL: well). */
void port_health_ended(struct port_health *health, const char *instrument, const struct error *error);
/* {"instrument","connected","busy_s","answer_age_s":number|null,"requests","connects","failures":{code:n}};
 * NULL when out of memory. busy_ns: since when the port is at its present request, 0: idle. Any thread. */
cJSON *port_health_json(const struct port_health *health, int64_t busy_ns, const char *instrument);

#endif
