/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * daemon: the state that the modules of nightbenchd share, and what each module does. Only nightbenchd.c runs
 * the table.
 */
#ifndef DAEMON_DAEMON_H
#define DAEMON_DAEMON_H

#include <stdatomic.h>

#include "chip/profile.h"
#include "daemon/audit.h"
#include "daemon/events.h"
#include "daemon/options.h"
#include "daemon/sched.h"
#include "daemon/webhook.h"
#include "db/recorder.h"
#include "instruments/bench.h"

struct upkeep;           /* daemon/upkeep.h */
struct latch;            /* daemon/latch.h */
struct watchdog;         /* daemon/watchdog.h */
struct keeper_heartbeat; /* instruments/keeper_client.h */
struct web;              /* web/http.h */
struct auth;             /* web/auth.h */

/* Filled from top to bottom by the modules' init, emptied in reverse by their fini. Main thread, except what
 * the members themselves allow. */
struct daemon {
    struct daemon_options options;
    char sim_dir[OPTIONS_PATH_MAX + 8], links_path[OPTIONS_PATH_MAX + 24], clock_path[OPTIONS_PATH_MAX + 24],
        keeper_path[OPTIONS_PATH_MAX + 24], http_path[OPTIONS_PATH_MAX + 24];
    struct bench_file *bench_file;
    struct chip_profile *profile;
    struct events *events;
    struct clock *clock;
    struct recorder *recorder;
    struct upkeep *upkeep;
    struct latch *latch;
    struct watchdog *watchdog; /* NULL: no service manager watches */
    struct keeper_heartbeat *keeper;
    int keeper_pid; /* that this daemon has started; 0: it was there before */
    int signal_fd;  /* signals that ask for something; never waits */
    struct bench *bench;
    struct sched *sched;
    struct audit *audit;
    struct webhook *webhook; /* NULL: none wanted */
    struct auth *auth;
    struct command command;
    struct web *web;
    int http_port;
    _Atomic int64_t beat_ns; /* host time of the last heartbeat to the keeper; 0: none */
};

/* The adapter between struct command and the pieces (daemon/commands.c). */
void daemon_commands(struct daemon *daemon, struct command *ret_command);

#endif
