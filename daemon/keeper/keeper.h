/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * keeper: owns every link that can energise, and the undo list. It outlives what runs the plan. keeper.c
 * opens the ports and runs the list; server.c serves clients on a socket. Everything here is of one thread,
 * the keeper's I/O thread; ports have their own and report back through completions. */
#ifndef DAEMON_KEEPER_KEEPER_H
#define DAEMON_KEEPER_KEEPER_H

#include "daemon/keeper/observer.h"
#include "daemon/keeper/supervise.h"
#include "daemon/keeper/undo.h"
#include "instruments/port.h"

enum { KEEPER_REASON_MAX = LATCH_REASON_MAX, KEEPER_STEP_TEXT_MAX = 160 };

struct keeper_options {
    const char *bench_path, *socket_path;
    const char *links_path, *clock_path, *trace_dir; /* or NULL */
    const char *state_dir;                           /* where the latch is kept; NULL: beside the socket */
    struct supervise_page
        *page; /* of the parent that restarts us, or NULL: then we lock and listen ourselves */
};

/* How one step of the last run went. */
struct keeper_step {
    char target[BENCH_NAME_MAX];
    int barrier;
    bool confirmed;
    int64_t elapsed_ns; /* host */
    char text[KEEPER_STEP_TEXT_MAX];
};

struct call; /* a request of the keeper's own */

struct keeper {
    struct keeper_options options;
    struct bench_file *file;
    struct clock *clock;
    struct clock_actor *actor;
    int lock_fd;
    int done_fd; /* raised by the completion of a call of ours */
    struct port *port[BENCH_INSTRUMENTS_MAX];
    struct observer *observer;
    struct call *calls; /* a fixed number: nothing is allocated while outputs are switched off */
    struct undo_list undo;
    int step_count;
    struct keeper_step step[2 * UNDO_STEPS_MAX]; /* of the run of the list that is under way */
    bool latched, latch_kept;                    /* kept: the file says so, too */
    struct latch_record latch;
    char latch_path[LATCH_PATH_MAX];
    char *last_safe; /* JSON text of the last run's report, or NULL */
    /* Called when virtual time stands still while the list waits: frees it from processes that hold it. False
     * when it is to be waited for them: with patience, if they only wait for a processor. */
    bool (*stalled)(void *context, bool patient);
    /* Whether an emergency stop waits to be read: an ordinary list that waits makes room for it. */
    bool (*overtaken)(void *context);
    void *server; /* context of both */
    bool patient; /* who asked for the list is alive, and waits for it */
};

/* Takes the lock file SOCKET.lock (ERR_CONFLICT when another keeper holds it), connects every port, reads
 * which outputs are on ("adopt"): those get an undo. Changes nothing, unless it replaces a keeper that died:
 * then it first runs the list that one left in the page. */
int keeper_open(const struct keeper_options *options, struct keeper **ret, struct error *err);
/* Closes the ports; does not switch anything. */
void keeper_close(struct keeper *keeper);
/* Before the rest: what is pending there is completed. */
void keeper_close_ports(struct keeper *keeper);
/* Runs the undo list. all: afterwards also every source of the bench and the bridge, whether armed or not.
 * Steps that confirm leave the list. Writes the report (memory, log, SOCKET.last-safe.json), and the
 * latch, if there is one that is not on disk. Returns the steps that did not confirm. */
int keeper_safe(struct keeper *keeper, bool emergency, bool all, const char *reason);
/* In force at once; on disk at the end of the next keeper_safe(). */
void keeper_latch(struct keeper *keeper, const char *reason);
/* On failure it stays latched: one whose file cannot be removed would come back. */
int keeper_unlatch(struct keeper *keeper, struct error *err);
/* Adds a step to the list; what survives us knows it when this returns. */
int keeper_arm(struct keeper *keeper, const struct undo_step *step, struct error *err);

/* Serves clients until SIGTERM or SIGINT (the list is run first), or, with exit_when_idle, until the last
 * client has gone and nothing is armed. */
int keeper_serve(struct keeper *keeper, bool exit_when_idle, struct error *err);

#endif
