/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * recorder: the writer thread, which drains the ring in groups, and the recorder's life.
 *
 * One mutex guards everything in struct recorder below it. The writer holds it only to look at the ring and
 * to give space back; entries themselves are read without it, since producers only append. */
#include "db/recorder.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "db/recorder_internal.h"

enum { BATCH = 64 };

static void notice(struct recorder *r, int kind, int step, int cell, int attempt, int verdict,
                   int next_sample)
{
    struct recorder_notice *n;

    if (r->notice_count == RECORDER_NOTICES_MAX) {
        r->notices[RECORDER_NOTICES_MAX - 1] = (struct recorder_notice){ .kind = RECORDER_NOTICE_MANY };
        return;
    }
    n = &r->notices[r->notice_count++];
    *n = (struct recorder_notice){ kind, "", step, cell, attempt, verdict, next_sample };
    snprintf(n->run, sizeof n->run, "%s", writer_run_ulid(r->writer));
}

static void tell_listener(struct recorder *r)
{
    pthread_mutex_lock(&r->listener_mutex);
    for (int i = 0; r->notify != NULL && i < r->notice_count; i++)
        r->notify(r->notify_context, &r->notices[i]);
    pthread_mutex_unlock(&r->listener_mutex);
    r->notice_count = 0;
}

/* Calls: a refusal (ERR_NOT_FOUND, ERR_CONFLICT) is an answer to the caller and no failure of the store. */
static int apply_annotate(struct recorder *r, struct recorder_call *call, struct error *err)
{
    call->code = writer_annotate(r->writer, call->ulid, call->notes, call->tags, &call->err);
    if (call->code == 0)
        notice(r, RECORDER_NOTICE_RUN, -1, -1, 0, 0, 0);
    if (call->code == 0 || call->code == ERR_NOT_FOUND)
        return 0;
    *err = call->err;
    return call->code;
}

static int apply_call(struct recorder *r, struct recorder_call *call, struct error *err)
{
    call->code = call->function(store_handle(r->store), call->argument, &call->err);
    if (call->code == 0 || call->code == ERR_NOT_FOUND || call->code == ERR_CONFLICT ||
        call->code == ERR_INVALID || (call->code == ERR_FULL && !call->err.retryable))
        return 0;
    *err = call->err;
    return call->code;
}

static int apply_run_begin(struct recorder *r, struct recorder_call *call, struct error *err)
{
    call->code = writer_run_check(r->writer, call->run, &call->err);
    if (call->code == ERR_CONFLICT)
        return 0;
    if (call->code == 0)
        call->code = writer_run_begin(r->writer, call->run, &call->run_id, &call->err);
    if (call->code == 0)
        call->continued = writer_run_continued(r->writer);
    if (call->code == 0)
        notice(r, RECORDER_NOTICE_RUN, -1, -1, 0, 0, 0);
    else
        *err = call->err;
    return call->code;
}

static int apply_state(struct recorder *r, int kind, const struct recorder_state *change, struct error *err)
{
    notice(r, RECORDER_NOTICE_RUN, -1, -1, 0, 0, 0);
    if (kind == KIND_RUN_STATE)
        return writer_run_state(r->writer, change->state, change->message, change->wall_ns, err);
    return writer_run_end(r->writer, change->state, change->code, change->message, change->time_ns,
                          change->wall_ns, err);
}

static int apply(struct recorder *r, struct ring_entry *entry, struct error *err)
{
    void *at = entry + 1;
    const struct record_attempt *a = at;
    const struct record_samples *s = at;
    const struct record_step *step = at;
    struct recorder_calibration *c = at;

    switch ((enum recorder_kind)entry->kind) {
    case KIND_RUN_BEGIN:
        return apply_run_begin(r, *(struct recorder_call **)at, err);
    case KIND_ANNOTATE:
        return apply_annotate(r, *(struct recorder_call **)at, err);
    case KIND_CALL:
        return apply_call(r, *(struct recorder_call **)at, err);
    case KIND_RUN_END:
        r->run_ended = true;
        return apply_state(r, entry->kind, at, err);
    case KIND_RUN_STATE:
        return apply_state(r, entry->kind, at, err);
    case KIND_STEP:
        notice(r, RECORDER_NOTICE_STEP, step->index, -1, 0, 0, 0);
        return writer_step(r->writer, step, err);
    case KIND_CELL:
        return writer_cell(r->writer, at, err);
    case KIND_ATTEMPT:
        if (a->end)
            notice(r, RECORDER_NOTICE_POINT, a->step, a->cell, a->attempt, a->verdict, 0);
        return writer_attempt(r->writer, a, err);
    case KIND_READING:
        return writer_reading(r->writer, at, err);
    case KIND_SAMPLES:
        notice(r, RECORDER_NOTICE_SAMPLES, s->step, s->cell, s->attempt, 0, s->first + s->count);
        return writer_samples(r->writer, s, err);
    case KIND_TENSOR:
        return writer_tensor(r->writer, at, err);
    case KIND_CALIBRATION:
        notice(r, RECORDER_NOTICE_CALIBRATION, -1, -1, 0, 0, 0);
        return writer_calibration(r->writer, c->id, &c->record, c->wall_ns, err);
    case KIND_TRACE:
        return writer_trace(r->writer, at, err);
    case KIND_CHIP:
        return writer_chip(r->writer, at, err);
    case KIND_EVENT:
        notice(r, RECORDER_NOTICE_EVENT, -1, -1, 0, 0, 0);
        return writer_event(r->writer, at, err);
    case KIND_WITHDRAWN:
        return 0;
    }
    return error_set(err, ERR_INTERNAL, "the queue holds a record of kind %d", entry->kind);
}

/* Applies what is in the ring, in one transaction. Entries stay there until they are durable: a full disk
 * makes the group come again. Calls wait for the commit, so they are collected. Takes and returns with the
 * mutex held; returns the number of entries applied, or a negative code. */
enum { CALLS_MAX = 16 };
static int drain(struct recorder *r, struct recorder_call **calls, int *call_count, struct error *err)
{
    int64_t deadline = clock_host_now() + RECORDER_GROUP_MS * NS_PER_MS;
    struct ring_entry *entry = NULL;
    int applied = 0, code = 0;

    while (applied < r->ring.entries && *call_count < CALLS_MAX &&
           (applied == 0 || clock_host_now() < deadline)) {
        int left = r->ring.entries - applied, batch = left < BATCH ? left : BATCH;

        if (applied == 0)
            entry = ring_oldest(&r->ring);
        pthread_mutex_unlock(&r->mutex);
        for (int i = 0; code == 0 && i < batch && *call_count < CALLS_MAX; i++, applied++) {
            if (applied > 0)
                entry = ring_next(&r->ring, entry);
            if (recorder_is_call(entry->kind))
                calls[(*call_count)++] = *(struct recorder_call **)(void *)(entry + 1);
            code = apply(r, entry, err);
        }
        pthread_mutex_lock(&r->mutex);
        if (code != 0)
            return code;
    }
    return applied;
}

/* Begin, drain, commit. Called with the mutex held. *ret_applied is 0 when nothing has become durable. */
static int write_entries(struct recorder *r, struct recorder_call **calls, int *call_count, int *ret_applied,
                         struct error *err)
{
    int code, applied = 0;

    r->hurry = false;
    pthread_mutex_unlock(&r->mutex);
    code = writer_begin(r->writer, err);
    pthread_mutex_lock(&r->mutex);
    if (code == 0) {
        applied = drain(r, calls, call_count, err);
        code = applied < 0 ? applied : 0;
    }
    pthread_mutex_unlock(&r->mutex);
    if (code == 0)
        code = writer_commit(r->writer, clock_host_now(), err);
    if (code == 0) {
        *ret_applied = applied;
        code =
            store_checkpoint(r->store, err); /* what it cannot copy is safe in the log, but the disk is not */
        if (r->run_ended)
            store_release_cache(r->store); /* of what is written, and not read back */
        r->run_ended = false;
    } else {
        writer_rollback(r->writer);
        r->notice_count = 0;
    }
    tell_listener(r);
    pthread_mutex_lock(&r->mutex);
    return code;
}

static void answer(struct recorder *r, struct recorder_call **calls, int call_count,
                   const struct error *failure)
{
    for (int i = 0; i < call_count; i++) {
        if (failure != NULL) {
            calls[i]->code = failure->code;
            calls[i]->err = *failure;
        }
        calls[i]->done = true;
    }
    pthread_cond_broadcast(&r->changed);
}

/* Another program holds the write lock: a shell with an open transaction. However long it does, that is no
 * reason to lose a night; only the end of the recorder's life does not wait for ever. */
static bool postpone_locked(struct recorder *r)
{
    int64_t now_ns = clock_host_now();

    if (r->locked_ns == 0)
        r->locked_ns = now_ns;
    r->retry_ns = now_ns + RECORDER_RETRY_MS * NS_PER_MS;
    return !r->closing || now_ns - r->locked_ns < STORE_WRITER_BUSY_MS * NS_PER_MS;
}

/* The disk is full: the group will come again; with the ballast given back, at once. False at the end of the
 * recorder's life: then it is a failure as any other. So it is when no memory is found again and again; one
 * allocation that failed is worth another try. */
static bool postpone(struct recorder *r, const struct error *err)
{
    if (err->code == ERR_MEMORY && ++r->memory_tries < RECORDER_MEMORY_TRIES) {
        log_notice("recorder: %s: the same again", err->message);
        return true;
    }
    if (err->code == ERR_CONFLICT && err->retryable)
        return postpone_locked(r);
    r->locked_ns = 0; /* let go: else it would be told in the place of a full disk */
    if (err->code != ERR_FULL || !err->retryable)
        return false;
    if (space_release(&r->space)) {
        log_notice("recorder: the disk is full (%s): the ballast is given back", err->message);
        r->retry_ns = RECORDER_RETRY_NOW;
        return true;
    }
    r->retry_ns = clock_host_now() + RECORDER_RETRY_MS * NS_PER_MS;
    return !r->closing;
}

/* One group. Called with the mutex held. */
static void write_group(struct recorder *r)
{
    struct recorder_call *calls[CALLS_MAX];
    struct error err;
    int call_count = 0, applied = 0;
    int code = write_entries(r, calls, &call_count, &applied, &err);

    r->durable += (uint64_t)applied;
    ring_release(&r->ring, applied);
    if (code != 0 && applied == 0 && postpone(r, &err))
        return;
    r->retry_ns = r->locked_ns = 0;
    r->memory_tries = 0;
    r->space.spent = r->space.spent && code != 0;
    recorder_look(r);
    if (code != 0) {
        error_prefix(&err, "recording has stopped");
        log_error("recorder", &err);
        r->failure = err;
    }
    answer(r, calls, call_count, applied == 0 && code != 0 ? &err : NULL);
}

/* Lets a group gather for RECORDER_GROUP_MS, unless somebody waits for it or the ring fills up. */
static void gather(struct recorder *r)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += RECORDER_GROUP_MS * NS_PER_MS;
    if (until.tv_nsec >= NS_PER_S) {
        until.tv_sec++;
        until.tv_nsec -= NS_PER_S;
    }
    while (r->acks_waiting == 0 && r->rooms_waiting == 0 && !r->hurry && !r->closing &&
           r->ring.used <= r->ring.capacity / 4 && r->ring.entries <= r->ring.entries_max / 4) {
        if (pthread_cond_timedwait(&r->work, &r->mutex, &until) == ETIMEDOUT)
            break;
    }
}

/* After a failure the ring is emptied unheard: its producers have got the error, or get it at their next
 * call. */
static void discard(struct recorder *r)
{
    while (r->ring.entries > 0) {
        struct ring_entry *entry = ring_oldest(&r->ring);

        if (recorder_is_call(entry->kind)) {
            struct recorder_call *call = *(struct recorder_call **)(void *)(entry + 1);

            call->code = r->failure.code;
            call->err = r->failure;
            call->done = true;
        }
        ring_release(&r->ring, 1);
    }
    pthread_cond_broadcast(&r->changed);
}

static void *run_writer(void *context)
{
    struct recorder *r = context;

    pthread_mutex_lock(&r->mutex);
    for (;;) {
        r->idle = true;
        while (r->ring.entries == 0 && !r->closing) {
            if (r->health.condition == RECORDER_FINE)
                pthread_cond_wait(&r->work, &r->mutex);
            else if (recorder_look(r) !=
                     RECORDER_FINE) /* nobody asks, but he who is refused would like to know */
                recorder_wait_a_while(r);
        }
        r->idle = false;
        if (r->ring.entries == 0)
            break;
        if (r->failure.code != 0) {
            discard(r);
            continue;
        }
        if (!recorder_await_room(r))
            continue;
        gather(r);
        write_group(r);
    }
    pthread_mutex_unlock(&r->mutex);
    return NULL;
}

/* ---- Life ---- */

static int start(struct recorder *r, struct error *err)
{
    pthread_attr_t attributes;
    int rc;

    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 1 << 20);
    rc = pthread_create(&r->thread, &attributes, run_writer, r);
    pthread_attr_destroy(&attributes);
    return rc == 0 ? 0 : error_set_errno(err, rc, "cannot start the recorder's thread");
}

static void init_locks(struct recorder *r)
{
    pthread_mutex_init(&r->mutex, NULL);
    pthread_mutex_init(&r->listener_mutex, NULL);
    clock_host_cond_init(&r->work);
    clock_host_cond_init(&r->changed);
}

static void destroy(struct recorder *r)
{
    writer_close(r->writer);
    store_close(r->store);
    space_close(&r->space);
    ring_fini(&r->ring);
    pthread_cond_destroy(&r->changed);
    pthread_cond_destroy(&r->work);
    pthread_mutex_destroy(&r->listener_mutex);
    pthread_mutex_destroy(&r->mutex);
    free(r);
}

int recorder_open(const char *db_path, struct recorder **ret_recorder, struct error *err)
{
    struct recorder *r = calloc(1, sizeof *r);
    int code;

    if (r == NULL)
        return error_set(err, ERR_MEMORY, "%s: no memory for the recorder", db_path);
    init_locks(r);
    r->sink = recorder_sink_of(r);
    code = ring_init(&r->ring, RECORDER_QUEUE_BYTES, RECORDER_QUEUE_ENTRIES, err);
    if (code == 0)
        code = store_open_writer(db_path, &r->store, err);
    if (code == 0)
        code = writer_open(r->store, &r->writer, err);
    if (code == 0) {
        store_set_patience(r->store, RECORDER_LOCK_MS);
        space_open(&r->space, db_path);
        recorder_look(r);
        r->next_calibration = writer_last_calibration(r->writer) + 1;
        code = start(r, err);
    }
    if (code != 0) {
        destroy(r);
        return code;
    }
    *ret_recorder = r;
    return 0;
}

int recorder_close(struct recorder *r, struct error *err)
{
    int code;

    if (r == NULL)
        return 0;
    pthread_mutex_lock(&r->mutex);
    r->closing = true;
    pthread_cond_signal(&r->work);
    pthread_mutex_unlock(&r->mutex);
    pthread_join(r->thread, NULL);
    code = r->failure.code;
    if (code != 0 && err != NULL)
        *err = r->failure;
    destroy(r);
    return code;
}

const struct record_sink *recorder_sink(struct recorder *r)
{
    return &r->sink;
}

void recorder_subscribe(struct recorder *r, recorder_notice_fn *notify, void *context)
{
    pthread_mutex_lock(&r->listener_mutex);
    r->notify = notify;
    r->notify_context = context;
    pthread_mutex_unlock(&r->listener_mutex);
}
