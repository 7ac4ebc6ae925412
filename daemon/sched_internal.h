/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * sched_internal: what sched.c (the runner and its run) and sched_queue.c (what it runs next) share. */
#ifndef DAEMON_SCHED_INTERNAL_H
#define DAEMON_SCHED_INTERNAL_H

#include <pthread.h>

#include "daemon/resume.h"
#include "daemon/sched.h"
#include "daemon/sched_snapshot.h"

/* What the runner has been given. */
struct sched_run {
    struct queue_item item; /* of a resumed run: ULID and words */
    char *document;         /* its campaign, to be made ready; NULL: it is ready */
    int64_t validating_wall_ns;
    struct job job;
    struct resume *resume; /* NULL: a new run */
};

struct sched {
    struct sched_setup setup;
    pthread_t runner;
    _Atomic int command; /* enum run_command, read by the runner inside run_execute */
    _Atomic int pause;   /* enum run_pause */
    _Atomic uint64_t trips;

    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t wake;
    bool quit, busy, borrowed;
    bool begun, promised;        /* the queue may be looked into; somebody is about to start a run */
    bool picking;                /* the runner is looking into the queue, without the lock */
    uint64_t wanted, looked;     /* looks */
    bool look_failed;            /* the last look */
    int64_t look_ns;             /* wall time of the next look that nobody has to ask for; 0: none */
    int waiting;                 /* as of the last look */
    char held[QUEUE_WORDS_MAX];  /* why the store says that nothing is begun */
    char latch[QUEUE_WORDS_MAX]; /* why the keeper would let nothing be switched on, while something waits */
    char stays[QUEUE_WORDS_MAX]; /* why this daemon does */
    struct sched_run run;        /* owned by the runner while busy */
    struct bench_client *client; /* of the run under way, for cancel */
    struct sched_snapshot snapshot;
};

/* Without the lock. */
void sched_set_state(struct sched *sched, const char *state);
/* All below with the lock held. May the runner look into the queue? */
bool sched_may_look(const struct sched *sched);
/* Looks; without the lock while the store is asked. Runner thread. */
void sched_pick(struct sched *sched);
/* Until something has changed, or an entry's time has come. Runner thread. */
void sched_wait_for_work(struct sched *sched);
/* sched_queue. */
void sched_queue_known(const struct sched *sched, struct sched_queue *ret);
/* Nothing is running: what the runner does next. */
void sched_hand_over(struct sched *sched, const struct sched_run *run, const char *state);
/* ERR_CONFLICT while there is a run, or the bench is borrowed. */
int sched_check_free(const struct sched *sched, struct error *err);
/* Without the lock: ERR_CONFLICT while the keeper would let nothing be switched on. */
int sched_check_latch(const struct sched *sched, struct error *err);
/* Without the lock: goes on with the interrupted run. `told`: with what it had been told before its daemon
 * ended; else a person wants it to go on. */
int sched_go_on(struct sched *sched, bool told, char ret_ulid[ULID_TEXT], struct error *err);

#endif
