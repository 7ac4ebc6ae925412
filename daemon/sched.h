/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * sched: one bench, one run at a time. It owns the runner thread, which takes one run after the other out of
 * the queue, and gives everybody else a snapshot of how the run goes. Threads: every public function may be
 * called from any thread but open and close (main).
 */
#ifndef DAEMON_SCHED_H
#define DAEMON_SCHED_H

#include "daemon/command.h"
#include "daemon/events.h"
#include "db/queue.h"
#include "db/recorder.h"
#include "instruments/bench.h"
#include "sweeps/run.h"

struct sched;

struct sched_setup {
    struct clock *clock;
    const struct bench_file *bench_file; /* NULL: no bench, documents only */
    const struct chip_profile *profile;  /* of the bench file; NULL without a bench */
    struct bench *bench;                 /* NULL without a bench: only the reference back end can run */
    struct recorder *recorder;
    struct events *events;
    const char *db_path;    /* of the recorder's store: interrupted runs are read back from it */
    const char *bench_path; /* as the daemon was given it: a campaign must name the same bench */
    /* Outputs off first, by the keeper, whatever the runner does. */
    int (*estop)(void *context, const char *who, struct error *err);
    /* Whether nothing may be switched on, and why; NULL: nobody keeps anything off. May wait for the keeper.
     */
    bool (*latched)(void *context, char *out, size_t size);
    void *keeper_context; /* of both */
};

/* The setup's pointers are borrowed until close. */
int sched_open(const struct sched_setup *setup, struct sched **ret_sched, struct error *err);
/* As it was opened with. */
const struct sched_setup *sched_setup_of(const struct sched *sched);
/* Ends the run as interrupted (the next daemon resumes it), accepts no other, and waits for its ordered
 * power-down, but no longer than wait_ms. True when no run is left. */
bool sched_halt(struct sched *sched, int wait_ms);
/* Halts, however long that takes, and ends the runner thread. */
void sched_close(struct sched *sched);

/* Goes on with what a dead daemon left behind, as `policy` (--resume) says; then, and from now on, begins
 * what waits in the queue. A run that waited for a person waits again, one that was to end ends. That
 * something cannot be gone on with is said, and is no reason not to serve. */
void sched_begin(struct sched *sched, const char *policy);
/* The queue has changed: the runner looks into it. Returns when it has, and a run that was ready is under way
 * (or there is one, or nothing may be begun). Any thread that may wait for the store. */
void sched_look(struct sched *sched);
/* ERR_CONFLICT while a run that the latch ends is under way: cleared before that, it might switch on again,
 * and its end would hold the queue after the clear. */
int sched_check_clear(struct sched *sched, struct error *err);
/* For a start at once: ERR_CONFLICT unless nothing is under way and nothing keeps runs away; then the runner
 * leaves the queue alone until sched_keep, which is also sched_look. */
int sched_promise(struct sched *sched, struct error *err);
void sched_keep(struct sched *sched);
/* An interrupted run that waits for a person no longer keeps the queue waiting. */
void sched_let_go(struct sched *sched);

/* What the store says of the queue now: how many wait, and why nothing is begun ("": nothing keeps them). */
void sched_tell_queue(struct sched *sched, int waiting, const char *held);
/* What everybody may know without asking the store: */
struct sched_queue {
    int waiting;
    bool busy;
    double eta_s;                 /* of the run under way */
    char reason[QUEUE_WORDS_MAX]; /* why nothing is begun, or "" */
};
void sched_queue(struct sched *sched, struct sched_queue *ret);

int sched_stop(struct sched *sched, struct error *err);
/* Between points; dark: with the outputs off meanwhile. */
int sched_pause(struct sched *sched, bool dark, struct error *err);
/* Goes on with a run that is paused or held, else with the newest run of the store, if a dead daemon left it
 * interrupted; ERR_NOT_FOUND: there is none. Not while something is latched. */
int sched_resume(struct sched *sched, char ret_ulid[ULID_TEXT], struct error *err);
int sched_abort(struct sched *sched, struct error *err);
int sched_estop(struct sched *sched, const char *who, struct error *err);
/* Keeps runs away while somebody asks the instruments something. ERR_CONFLICT while there is a run, or
 * somebody else asks. */
int sched_borrow(struct sched *sched, struct error *err);
void sched_give_back(struct sched *sched);
/* State of the bench and progress of the run, from a snapshot. */
int sched_status(struct sched *sched, cJSON **ret, struct error *err);
/* True while a run is accepted or under way. */
bool sched_busy(struct sched *sched);
/* Host time since the runner last told anything, 0 while nothing runs. False when the scheduler's lock is not
 * free just now: it is held for moments only, so several misses in a row mean that a thread hangs with it.
 * Never waits. */
bool sched_silence(struct sched *sched, int64_t *ret_silent_ns);
/* Tells of a trip that no run has met. Any thread. */
void sched_trip(struct sched *sched, const char *why);
/* Emergency stops, and runs that a trip has ended, since the start. */
uint64_t sched_trips(const struct sched *sched);
/* Serial of the chip that the last run identified, or "". */
void sched_chip_serial(struct sched *sched, char *out, size_t size);

#endif
