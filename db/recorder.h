/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * recorder: the record_sink that writes to the store. Producers (runner, sampler) copy records into a bounded
 * ring; one writer thread, the only holder of a write handle, applies them and commits in groups. What `ack`
 * has confirmed survives a power cut.
 *
 * A full disk is waited for: nothing is acknowledged, producers block, and recording goes on by itself where
 * it was. After any other error of SQLite or the disk nothing more is acknowledged: every call returns that
 * error until the recorder is closed, because a store with a hole must not look whole. */
#ifndef DB_RECORDER_H
#define DB_RECORDER_H

#include "daemon/base/record.h"

enum {
    RECORDER_QUEUE_BYTES = 4 << 20, /* a full queue blocks its producers */
    RECORDER_QUEUE_ENTRIES = 65536,
    RECORDER_RECORD_MAX =
        1 << 20,            /* one record (a tensor, an event); larger ones are refused with ERR_FULL */
    RECORDER_GROUP_MS = 10, /* records wait this long for company; durable within twice that and one fsync */
    RECORDER_NOTICES_MAX = 1024 /* per group; more are told as one RECORDER_NOTICE_MANY */
};

struct recorder;

enum recorder_condition {
    RECORDER_FINE,
    RECORDER_LOW,    /* little room on the disk, or a log that grows because somebody reads for long */
    RECORDER_PAUSED, /* no room: nothing is acknowledged until there is */
    RECORDER_FAILED  /* for good */
};
struct recorder_health {
    enum recorder_condition condition;
    int64_t free_bytes, total_bytes, wal_bytes;
    char text[256]; /* what is wrong and what to do, "" when nothing is */
};

/* Opens or creates the store and starts the writer. Runs that a dead daemon left running become
 * "interrupted"; a run_begin with the ULID of such a run (and its plan hash) continues it. */
int recorder_open(const char *db_path, struct recorder **ret_recorder, struct error *err);
/* Drains the queue, commits, ends the writer. Returns the sticky error, if any. NULL is a no-op. */
int recorder_close(struct recorder *recorder, struct error *err);
/* The sink: valid until recorder_close. */
const struct record_sink *recorder_sink(struct recorder *recorder);

/* "fine", "low", "paused", "failed". */
const char *recorder_condition_name(enum recorder_condition condition);
/* From any thread; does not wait. */
void recorder_health(struct recorder *recorder, struct recorder_health *ret_health);
/* While set, nobody waits for room on the disk: calls that would, and those that wait now, return ERR_FULL
 * (retryable, nothing was recorded or acknowledged by them). For an abort, and for the end of the daemon. */
void recorder_refuse_waits(struct recorder *recorder, bool refuse);

/* What somebody has asked of the run that is open ("pausing", "stopping"), before the runner gets there: a
 * state of the run when it may follow the present one, and that is `from` (NULL: any); else nothing. Any
 * thread; never waits, but it is written at once. */
void recorder_hint_state(struct recorder *recorder, const char *from, const char *to, const char *why);

/* Sets operator's notes and tags of any run (NULL: unchanged). Waits until that is on disk. */
int recorder_annotate(struct recorder *recorder, const char *ulid, const char *notes, const char *tags,
                      struct error *err);

/* Records that were put and are not on disk yet. Any thread. */
uint64_t recorder_backlog(struct recorder *recorder);
/* Is its lock free just now? It is held for moments only: several misses in a row mean that a thread hangs
 * with it. Any thread; never waits. */
bool recorder_responds(struct recorder *recorder);

enum recorder_notice_kind {
    RECORDER_NOTICE_RUN,     /* a run began, ended or changed its state */
    RECORDER_NOTICE_STEP,    /* a step began or ended */
    RECORDER_NOTICE_POINT,   /* an attempt ended: verdict is valid */
    RECORDER_NOTICE_SAMPLES, /* a batch of samples: cursor moved to next_sample */
    RECORDER_NOTICE_EVENT,
    RECORDER_NOTICE_CALIBRATION,
    RECORDER_NOTICE_MANY /* so many changes that the listener had better look again */
};
struct recorder_notice {
    int kind;
    char run[27]; /* ULID or "" */
    int step, cell, attempt, verdict, next_sample;
};
typedef void recorder_notice_fn(void *context, const struct recorder_notice *notice);
/* One listener (NULL removes it), called by the writer thread after the commit that made the change durable.
 * It must be quick, must not call the recorder, and is never called after this function has returned with
 * another one. */
void recorder_subscribe(struct recorder *recorder, recorder_notice_fn *notify, void *context);

#endif
