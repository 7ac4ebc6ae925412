/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * watchdog: feeds the service manager's watchdog, but only while the pieces that a night depends on make
 * progress: the main loop, the scheduler, the runner, the recorder, the keeper and every port, there and
 * here. When it starves, the service manager ends the daemon, and the keeper switches the bench off. What can
 * be seen without waiting is looked at by the main thread itself; the ports by a thread that may wait for the
 * keeper.
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

struct watchdog_setup { /* borrowed until close */
    struct sched *sched;
    struct recorder *recorder;
    const struct bench *bench; /* NULL without a bench */
    const char *keeper_path;   /* NULL without a keeper */
    double port_limit_s;       /* a port that is at one request for longer hangs */
};

struct watchdog;

/* Starts nothing where no service manager watches; ret_watchdog is then NULL. */
int watchdog_open(const struct watchdog_setup *setup, struct watchdog **ret_watchdog, struct error *err);
/* NULL is a no-op. */
void watchdog_close(struct watchdog *watchdog);
/* Main thread, in every turn of its loop; never waits. NULL is a no-op. */
void watchdog_turn(struct watchdog *watchdog);

/* Name of the first port of a list (instruments/port_health.h) that is at one request for longer than
 * limit_s; NULL when every one makes progress. Belongs to the list. */
const char *watchdog_stuck_port(const cJSON *ports, double limit_s);

#endif
