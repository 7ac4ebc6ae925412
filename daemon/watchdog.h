/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * watchdog: feeds the service manager's watchdog, but only while the pieces that a night depends on make
 * progress. When it starves, the service manager ends the daemon, and the keeper switches the bench off.
 */
#ifndef DAEMON_WATCHDOG_H
#define DAEMON_WATCHDOG_H

#include "daemon/sched.h"

enum {
    WATCHDOG_MISSES = 5, /* a lock that could not be had so many times in a row is a deadlock */
    WATCHDOG_RUNNER_S =
        2700,          /* a run that has not reported anything for so long hangs: longer than any soak */
    WATCHDOG_SHARE = 3 /* looks this often within the time that the service manager allows */
};

struct watchdog {
    int64_t period_ns; /* 0: nobody watches */
    int64_t next_ns;   /* host time of the next look */
    int misses;        /* looks in a row that found something stuck */
};

void watchdog_init(struct watchdog *watchdog);
/* Main thread, in every turn of its loop. */
void watchdog_turn(struct watchdog *watchdog, struct sched *sched, struct recorder *recorder);

#endif
