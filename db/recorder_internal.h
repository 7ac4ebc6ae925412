/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * recorder_internal: what the parts of the recorder share: recorder_sink.c (producers), recorder_room.c, and
 * recorder.c (the writer thread, opening and closing). */
#ifndef DB_RECORDER_INTERNAL_H
#define DB_RECORDER_INTERNAL_H

#include <pthread.h>

#include "db/recorder.h"
#include "db/ring.h"
#include "db/space.h"
#include "db/store.h"
#include "db/writer.h"

struct sqlite3;

enum recorder_kind {
    KIND_RUN_BEGIN, /* kinds with a `struct recorder_call` keep their data on the waiting caller's stack */
    KIND_ANNOTATE,
    KIND_CALL,
    KIND_RUN_END,
    KIND_RUN_STATE,
    KIND_CHIP,
    KIND_STEP,
    KIND_CELL,
    KIND_ATTEMPT,
    KIND_READING,
    KIND_SAMPLES,
    KIND_TENSOR,
    KIND_CALIBRATION,
    KIND_TRACE,
    KIND_EVENT,
    KIND_WITHDRAWN /* a call whose caller was refused */
};

enum { RECORDER_RETRY_MS = 250, RECORDER_RETRY_NOW = -1, RECORDER_LOCK_MS = 500 };
enum { RECORDER_MEMORY_TRIES = 3 }; /* of one group that finds no memory */

/* What the writer may be asked to do, inside the transaction of a group: SQL and nothing else, for a full
 * disk, or no memory, makes the group, and so the function, come again. NOT_FOUND, CONFLICT, INVALID and FULL
 * (not retryable) are answers to the caller, and must leave nothing behind; the rest is a failure of the
 * store. */
typedef int recorder_fn(struct sqlite3 *db, void *argument, struct error *err);
/* Waits until it is done and on disk. Any thread but the writer's. */
int recorder_do(struct recorder *recorder, recorder_fn *function, void *argument, struct error *err);

/* A call that waits for the writer's answer. */
struct recorder_call {
    const struct record_run *run;
    const char *ulid, *notes, *tags;
    recorder_fn *function; /* of KIND_CALL */
    void *argument;
    int64_t run_id;
    int code;
    struct error err;
    bool done, continued;
};

struct recorder_state {
    const char *state, *message;
    int code;
    int64_t time_ns, wall_ns;
};

struct recorder_calibration {
    int64_t id, wall_ns;
    struct record_calibration record;
};

struct recorder {
    struct record_sink sink;
    struct store *store;                                  /* writer thread */
    struct writer *writer;                                /* writer thread */
    struct recorder_notice notices[RECORDER_NOTICES_MAX]; /* writer thread */
    int notice_count;
    struct space space; /* writer thread */
    int64_t retry_ns; /* writer thread: SQLite found the disk full, or locked; not before then again; 0: no */
    int64_t locked_ns; /* writer thread: since when another program holds the write lock; 0: it does not */
    int memory_tries;  /* writer thread: groups in a row that found no memory */
    bool run_ended;    /* writer thread: in the group that is being written */
    enum recorder_condition told; /* writer thread: what the log has been told */
    pthread_t thread;

    pthread_mutex_t mutex;
    pthread_cond_t work;    /* to the writer: something to do at once */
    pthread_cond_t changed; /* to producers: room in the ring, something durable, an answer, a failure */
    struct ring ring;
    uint64_t put, durable; /* entries ever put; entries on disk */
    int acks_waiting, rooms_waiting;
    bool hurry; /* no group shall gather: a word of a person is in the ring */
    bool idle, closing, run_open;
    int run_state;     /* enum run_state of the open run, as far as its producers have said */
    bool refuse_waits; /* nobody waits while `health` is PAUSED */
    struct recorder_health health;
    int64_t next_calibration;
    struct error failure; /* code 0: healthy */

    pthread_mutex_t listener_mutex; /* guards notify and notify_context, held during the callback */
    recorder_notice_fn *notify;
    void *notify_context;
};

/* Is the entry's record a pointer to a struct recorder_call? */
static inline bool recorder_is_call(int kind)
{
    return kind == KIND_RUN_BEGIN || kind == KIND_ANNOTATE || kind == KIND_CALL;
}
/* With the mutex held: true while a caller must not wait; fills err with ERR_FULL. */
bool recorder_refuses(const struct recorder *recorder, struct error *err);
/* Looks at disk and log, fills `health`, says what has changed. With the mutex held. */
enum recorder_condition recorder_look(struct recorder *recorder);
/* With the mutex held. False after a while without room; SQLite's own word for a full disk is only found
 * wrong by trying again. */
bool recorder_await_room(struct recorder *recorder);
/* Waits for work, but not for long. With the mutex held. */
void recorder_wait_a_while(struct recorder *recorder);
/* The calls of the sink, for recorder_open. */
struct record_sink recorder_sink_of(struct recorder *recorder);

#endif
