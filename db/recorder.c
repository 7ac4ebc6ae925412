/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * recorder: the sink's calls copy records into the ring; the writer thread drains it in groups.
 *
 * One mutex guards everything in struct recorder below it. The writer holds it only to look at the ring and
 * to give space back; entries themselves are read without it, since producers only append. A record goes from
 * the sink to SQLite in one copy: its strings lie behind it in the ring and its pointers point at them. */
#include "db/recorder.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "daemon/base/text.h"
#include "db/ring.h"
#include "db/store.h"
#include "db/writer.h"

enum {
    TEXTS_MAX = 8,
    RELEASE_EVERY = 64,
    ATTEMPT_MAX = 1023,
    POSITION_MAX = (1 << 24) - 1,
    TRACE_PIECE = 4096
};

const char *const RECORDER_STATES[] = { "queued",  "running", "paused",  "hold",   "done",        "stopped",
                                        "aborted", "estop",   "tripped", "failed", "interrupted", NULL };
enum { STATE_RUNNING = 1, STATE_HOLD = 3 };

enum kind {
    KIND_RUN_BEGIN, /* kinds with a `struct call` keep their data on the waiting caller's stack */
    KIND_ANNOTATE,
    KIND_RUN_END,
    KIND_RUN_STATE,
    KIND_STEP,
    KIND_CELL,
    KIND_ATTEMPT,
    KIND_READING,
    KIND_SAMPLES,
    KIND_TENSOR,
    KIND_CALIBRATION,
    KIND_TRACE,
    KIND_EVENT
};

/* A call that waits for the writer's answer. */
struct call {
    const struct record_run *run;
    const char *ulid, *notes, *tags;
    int64_t run_id;
    int code;
    struct error err;
    bool done;
};

struct state_change {
    const char *state, *message;
    int code;
    int64_t time_ns, wall_ns;
};

struct calibration {
    int64_t id, wall_ns;
    struct record_calibration record;
};

struct recorder {
    struct record_sink sink;
    struct store *store;                                  /* writer thread */
    struct writer *writer;                                /* writer thread */
    struct recorder_notice notices[RECORDER_NOTICES_MAX]; /* writer thread */
    int notice_count;
    pthread_t thread;

    pthread_mutex_t mutex;
    pthread_cond_t work;    /* to the writer: something to do at once */
    pthread_cond_t changed; /* to producers: room in the ring, something durable, an answer, a failure */
    struct ring ring;
    uint64_t put, durable; /* entries ever put; entries on disk */
    int acks_waiting, rooms_waiting;
    bool idle, closing, run_open;
    int64_t next_calibration;
    struct error failure; /* code 0: healthy */

    pthread_mutex_t listener_mutex; /* guards notify and notify_context, held during the callback */
    recorder_notice_fn *notify;
    void *notify_context;
};

/* ---- Producers ---- */

/* A part of a record that lies outside its struct: the pointer field at `offset` gets the copy's address. */
struct part {
    size_t offset;
    const void *data; /* NULL stays NULL */
    size_t bytes;
};

#define TEXT_PART(type, record, field)                                                                       \
    {                                                                                                        \
        offsetof(type, field), (record)->field == NULL ? "" : (record)->field,                               \
            (record)->field == NULL ? 1 : strlen((record)->field) + 1                                        \
    }

static size_t padded(size_t bytes)
{
    return (bytes + 7) & ~(size_t)7;
}

static void copy_parts(char *at, size_t size, const void *record, const struct part *part, int parts)
{
    char *end = at + padded(size);

    memcpy(at, record, size);
    for (int i = 0; i < parts; i++) {
        void *copy = part[i].data == NULL ? NULL : end;

        memcpy(at + part[i].offset, &copy, sizeof copy);
        if (part[i].data == NULL)
            continue;
        memcpy(end, part[i].data, part[i].bytes);
        end += padded(part[i].bytes);
    }
}

/* The writer sleeps while there is nothing, and while a group gathers; only these end its sleep early. */
static void wake_writer(struct recorder *r)
{
    if (r->idle || r->acks_waiting > 0 || r->ring.used > r->ring.capacity / 4 ||
        r->ring.entries > r->ring.entries_max / 4)
        pthread_cond_signal(&r->work);
}

/* Puts a record with its parts into the ring; blocks while it is full. Called with the mutex held. */
static int put_locked(struct recorder *r, int kind, const void *record, size_t size, const struct part *part,
                      int parts, struct error *err)
{
    size_t bytes = padded(size);
    void *at;

    for (int i = 0; i < parts; i++)
        bytes += part[i].data == NULL ? 0 : padded(part[i].bytes);
    if (bytes > RECORDER_RECORD_MAX)
        return error_set(err, ERR_FULL, "a record of %zu bytes is above the limit of %d", bytes,
                         RECORDER_RECORD_MAX);
    while (r->failure.code == 0 && (at = ring_put(&r->ring, kind, bytes)) == NULL) {
        r->rooms_waiting++; /* the group in work, or the next one, makes room */
        pthread_cond_signal(&r->work);
        pthread_cond_wait(&r->changed, &r->mutex);
        r->rooms_waiting--;
    }
    if (r->failure.code != 0) {
        if (err != NULL)
            *err = r->failure;
        return r->failure.code;
    }
    copy_parts(at, size, record, part, parts);
    r->put++;
    wake_writer(r);
    return 0;
}

static int put(struct recorder *r, int kind, const void *record, size_t size, const struct part *part,
               int parts, struct error *err)
{
    int code;

    pthread_mutex_lock(&r->mutex);
    if (!r->run_open && kind != KIND_EVENT && kind != KIND_CALIBRATION)
        code = error_set(err, ERR_CONFLICT, "nothing can be recorded: no run has begun");
    else
        code = put_locked(r, kind, record, size, part, parts, err);
    pthread_mutex_unlock(&r->mutex);
    return code;
}

/* Hands a call to the writer and waits until it is answered and durable. */
static int ask(struct recorder *r, int kind, struct call *call, struct error *err)
{
    int code;

    pthread_mutex_lock(&r->mutex);
    r->acks_waiting++;
    code = put_locked(r, kind, &call, sizeof call, NULL, 0, err);
    while (code == 0 && !call->done)
        pthread_cond_wait(&r->changed, &r->mutex);
    r->acks_waiting--;
    if (code == 0 && call->code != 0) {
        code = call->code;
        if (err != NULL)
            *err = call->err;
    } else if (code == 0 && kind == KIND_RUN_BEGIN) {
        r->run_open = true;
    }
    pthread_mutex_unlock(&r->mutex);
    return code;
}

static int on_run_begin(void *context, const struct record_run *run, int64_t *ret_run_id, struct error *err)
{
    struct recorder *r = context;
    struct call call = { .run = run };
    bool busy;
    int code;

    pthread_mutex_lock(&r->mutex);
    busy = r->run_open;
    pthread_mutex_unlock(&r->mutex);
    if (busy)
        return error_set(err, ERR_CONFLICT, "a run is being recorded already");
    code = ask(r, KIND_RUN_BEGIN, &call, err);
    if (code == 0)
        *ret_run_id = call.run_id;
    return code;
}

static int state_index(const char *state)
{
    for (int i = 0; RECORDER_STATES[i] != NULL; i++) {
        if (strcmp(RECORDER_STATES[i], state) == 0)
            return i;
    }
    return -1;
}

static int put_state(struct recorder *r, int kind, const struct state_change *change, struct error *err)
{
    const struct part parts[] = { TEXT_PART(struct state_change, change, state),
                                  TEXT_PART(struct state_change, change, message) };

    return put(r, kind, change, sizeof *change, parts, 2, err);
}

static int on_run_end(void *context, const char *state, int code_of_run, const char *message, int64_t time_ns,
                      struct error *err)
{
    struct recorder *r = context;
    struct state_change change = { state, message, code_of_run, time_ns, clock_wall_now() };
    int code;

    if (state_index(state) <= STATE_HOLD)
        return error_set(err, ERR_INVALID, "'%s' is not a state in which a run can end", state);
    code = put_state(r, KIND_RUN_END, &change, err);
    pthread_mutex_lock(&r->mutex);
    r->run_open = r->run_open && code != 0;
    pthread_mutex_unlock(&r->mutex);
    return code;
}

int recorder_set_state(struct recorder *r, const char *state, struct error *err)
{
    struct state_change change = { .state = state };
    int index = state_index(state);

    if (index < STATE_RUNNING || index > STATE_HOLD)
        return error_set(err, ERR_INVALID, "'%s' is not a state of a run that goes on", state);
    return put_state(r, KIND_RUN_STATE, &change, err);
}

int recorder_annotate(struct recorder *r, const char *ulid, const char *notes, const char *tags,
                      struct error *err)
{
    struct call call = { .ulid = ulid, .notes = notes, .tags = tags };

    return ask(r, KIND_ANNOTATE, &call, err);
}

/* Limits that the keys of the store set (migrations.c). */
static int check_place(int cell, int attempt, struct error *err)
{
    if (cell >= 0 && (attempt < 1 || attempt > ATTEMPT_MAX))
        return error_set(err, ERR_RANGE, "attempt %d of cell %d is outside 1 to %d", attempt, cell,
                         ATTEMPT_MAX);
    return 0;
}

static int on_step(void *context, const struct record_step *step, struct error *err)
{
    const struct part parts[] = { TEXT_PART(struct record_step, step, kind),
                                  TEXT_PART(struct record_step, step, name) };

    return put(context, KIND_STEP, step, sizeof *step, parts, 2, err);
}

static int on_cell(void *context, const struct record_cell *cell, struct error *err)
{
    const struct part parts[] = { TEXT_PART(struct record_cell, cell, axes_json),
                                  TEXT_PART(struct record_cell, cell, identity) };

    return put(context, KIND_CELL, cell, sizeof *cell, parts, 2, err);
}

static int on_attempt(void *context, const struct record_attempt *attempt, struct error *err)
{
    const struct part parts[] = { TEXT_PART(struct record_attempt, attempt, message) };
    int code = check_place(attempt->cell, attempt->attempt, err);

    if (code != 0)
        return code;
    if (attempt->verdict < 0 || attempt->verdict >= VERDICT_COUNT)
        return error_set(err, ERR_INVALID, "%d is no verdict", attempt->verdict);
    return put(context, KIND_ATTEMPT, attempt, sizeof *attempt, parts, 1, err);
}

static int on_reading(void *context, const struct record_reading *reading, struct error *err)
{
    const struct part parts[] = { TEXT_PART(struct record_reading, reading, channel),
                                  TEXT_PART(struct record_reading, reading, instrument) };
    int code = check_place(reading->cell, reading->attempt, err);

    if (code != 0)
        return code;
    if (parts[0].bytes > RECORD_NAME_MAX || parts[1].bytes > RECORD_NAME_MAX)
        return error_set(err, ERR_RANGE, "channel '%s' has a name of more than %d characters",
                         (const char *)parts[0].data, RECORD_NAME_MAX - 1);
    if (reading->reading.unit < 0 || reading->reading.unit >= UNIT_COUNT)
        return error_set(err, ERR_INVALID, "channel '%s' has no unit (%d)", (const char *)parts[0].data,
                         reading->reading.unit);
    return put(context, KIND_READING, reading, sizeof *reading, parts, 2, err);
}

static int on_samples(void *context, const struct record_samples *samples, struct error *err)
{
    const struct part parts[] = { { offsetof(struct record_samples, sample), samples->sample,
                                    (size_t)samples->count * sizeof *samples->sample } };
    int code = check_place(samples->cell, samples->attempt, err);

    if (code != 0)
        return code;
    if (samples->first < 0 || samples->count < 0 || samples->first > POSITION_MAX - samples->count)
        return error_set(err, ERR_RANGE, "samples %d to %d are outside 0 to %d", samples->first,
                         samples->first + samples->count - 1, POSITION_MAX);
    return put(context, KIND_SAMPLES, samples, sizeof *samples, parts, 1, err);
}

static int on_tensor(void *context, const struct record_tensor *tensor, struct error *err)
{
    const struct part parts[] = { TEXT_PART(struct record_tensor, tensor, layer_name),
                                  { offsetof(struct record_tensor, data), tensor->data, tensor->bytes } };
    int code = check_place(tensor->cell, tensor->attempt, err);

    if (code != 0)
        return code;
    if (tensor->kind < TENSOR_INPUT || tensor->kind > TENSOR_OUTPUT)
        return error_set(err, ERR_INVALID, "%d is no kind of tensor", tensor->kind);
    return put(context, KIND_TENSOR, tensor, sizeof *tensor, parts, 2, err);
}

static int on_calibration(void *context, const struct record_calibration *cal, int64_t *ret_id,
                          struct error *err)
{
    struct recorder *r = context;
    struct calibration c = { .wall_ns = clock_wall_now(), .record = *cal };
    const struct part parts[] = {
        TEXT_PART(struct calibration, &c, record.key),
        TEXT_PART(struct calibration, &c, record.kind),
        TEXT_PART(struct calibration, &c, record.instrument_chain),
        { offsetof(struct calibration, record.coefficient), cal->coefficient,
          (size_t)cal->coefficient_count * sizeof *cal->coefficient },
        { offsetof(struct calibration, record.raw_json), cal->raw_json,
          cal->raw_json == NULL ? 0 : strlen(cal->raw_json) + 1 },
    };
    int code;

    pthread_mutex_lock(&r->mutex);
    c.id = r->next_calibration;
    code = put_locked(r, KIND_CALIBRATION, &c, sizeof c, parts, 5, err);
    if (code == 0)
        *ret_id = r->next_calibration++;
    pthread_mutex_unlock(&r->mutex);
    return code;
}

static int on_trace(void *context, const struct record_trace *trace, struct error *err)
{
    int code = 0;

    if (strlen(trace->channel) >= RECORD_NAME_MAX)
        return error_set(err, ERR_RANGE, "channel '%s' has a name of more than %d characters", trace->channel,
                         RECORD_NAME_MAX - 1);
    for (int done = 0; code == 0 && done < trace->count; done += TRACE_PIECE) {
        struct record_trace piece = *trace;

        piece.count = trace->count - done < TRACE_PIECE ? trace->count - done : TRACE_PIECE;
        const struct part parts[] = {
            TEXT_PART(struct record_trace, trace, channel),
            { offsetof(struct record_trace, time_ns), trace->time_ns + done,
              (size_t)piece.count * sizeof(int64_t) },
            { offsetof(struct record_trace, value), trace->value + done,
              (size_t)piece.count * sizeof(float) },
        };
        code = put(context, KIND_TRACE, &piece, sizeof piece, parts, 3, err);
    }
    return code;
}

static int on_event(void *context, const struct record_event *event, struct error *err)
{
    const struct part parts[] = {
        TEXT_PART(struct record_event, event, kind),
        TEXT_PART(struct record_event, event, text),
        { offsetof(struct record_event, json), event->json,
          event->json == NULL ? 0 : strlen(event->json) + 1 },
    };

    return put(context, KIND_EVENT, event, sizeof *event, parts, 3, err);
}

static int on_ack(void *context, struct error *err)
{
    struct recorder *r = context;
    uint64_t target;
    int code;

    pthread_mutex_lock(&r->mutex);
    target = r->put;
    r->acks_waiting++;
    pthread_cond_signal(&r->work);
    while (r->durable < target && r->failure.code == 0)
        pthread_cond_wait(&r->changed, &r->mutex);
    r->acks_waiting--;
    code = r->durable < target ? r->failure.code : 0;
    if (code != 0 && err != NULL)
        *err = r->failure;
    pthread_mutex_unlock(&r->mutex);
    return code;
}

/* ---- The writer thread ---- */

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
static int apply_annotate(struct recorder *r, struct call *call, struct error *err)
{
    call->code = writer_annotate(r->writer, call->ulid, call->notes, call->tags, &call->err);
    if (call->code == 0)
        notice(r, RECORDER_NOTICE_RUN, -1, -1, 0, 0, 0);
    if (call->code == 0 || call->code == ERR_NOT_FOUND)
        return 0;
    *err = call->err;
    return call->code;
}

static int apply_run_begin(struct recorder *r, struct call *call, struct error *err)
{
    call->code = writer_run_check(r->writer, call->run, &call->err);
    if (call->code == ERR_CONFLICT)
        return 0;
    if (call->code == 0)
        call->code = writer_run_begin(r->writer, call->run, &call->run_id, &call->err);
    if (call->code == 0)
        notice(r, RECORDER_NOTICE_RUN, -1, -1, 0, 0, 0);
    else
        *err = call->err;
    return call->code;
}

static int apply_state(struct recorder *r, int kind, const struct state_change *change, struct error *err)
{
    notice(r, RECORDER_NOTICE_RUN, -1, -1, 0, 0, 0);
    if (kind == KIND_RUN_STATE)
        return writer_run_state(r->writer, change->state, err);
    return writer_run_end(r->writer, change->state, change->code, change->message, change->time_ns,
                          change->wall_ns, err);
}

static int apply(struct recorder *r, struct ring_entry *entry, struct error *err)
{
    void *at = entry + 1;
    const struct record_attempt *a = at;
    const struct record_samples *s = at;
    const struct record_step *step = at;
    struct calibration *c = at;

    switch ((enum kind)entry->kind) {
    case KIND_RUN_BEGIN:
        return apply_run_begin(r, *(struct call **)at, err);
    case KIND_ANNOTATE:
        return apply_annotate(r, *(struct call **)at, err);
    case KIND_RUN_END:
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
    case KIND_EVENT:
        notice(r, RECORDER_NOTICE_EVENT, -1, -1, 0, 0, 0);
        return writer_event(r->writer, at, err);
    }
    return error_set(err, ERR_INTERNAL, "the queue holds a record of kind %d", entry->kind);
}

/* Applies all that is in the ring, in one transaction. Calls wait for the commit, so they are collected.
 * Takes and returns with the mutex held; returns the number of entries applied, or a negative code. */
enum { CALLS_MAX = 16 };
static int drain(struct recorder *r, struct call **calls, int *call_count, struct error *err)
{
    int64_t deadline = clock_host_now() + RECORDER_GROUP_MS * NS_PER_MS;
    int applied = 0, code = 0;

    while (r->ring.entries > 0 && *call_count < CALLS_MAX && (applied == 0 || clock_host_now() < deadline)) {
        int batch = r->ring.entries < RELEASE_EVERY ? r->ring.entries : RELEASE_EVERY, done = 0;
        struct ring_entry *entry = ring_oldest(&r->ring);

        pthread_mutex_unlock(&r->mutex);
        for (; code == 0 && done < batch && *call_count < CALLS_MAX; done++) {
            if (done > 0)
                entry = ring_next(&r->ring, entry);
            if (entry->kind == KIND_RUN_BEGIN || entry->kind == KIND_ANNOTATE)
                calls[(*call_count)++] = *(struct call **)(void *)(entry + 1);
            code = apply(r, entry, err);
        }
        pthread_mutex_lock(&r->mutex);
        ring_release(&r->ring, done);
        applied += done;
        /* A producer that waited for room gets much of it at once: waking it for every entry costs more than
         * SQLite. */
        if (r->rooms_waiting > 0 && r->ring.used < r->ring.capacity / 2)
            pthread_cond_broadcast(&r->changed);
        if (code != 0)
            return code;
    }
    return applied;
}

/* One group: begin, drain, commit, tell. Called with the mutex held. */
static void write_group(struct recorder *r)
{
    struct call *calls[CALLS_MAX];
    struct error err;
    int call_count = 0, code, applied = 0;

    pthread_mutex_unlock(&r->mutex);
    code = writer_begin(r->writer, &err);
    pthread_mutex_lock(&r->mutex);
    if (code == 0) {
        applied = drain(r, calls, &call_count, &err);
        code = applied < 0 ? applied : 0;
    }
    pthread_mutex_unlock(&r->mutex);
    if (code == 0)
        code = writer_commit(r->writer, clock_host_now(), &err);
    if (code != 0) {
        writer_rollback(r->writer);
        error_prefix(&err, "recording has stopped");
        log_error("recorder", &err);
        r->notice_count = 0;
    }
    tell_listener(r);
    pthread_mutex_lock(&r->mutex);
    if (code != 0)
        r->failure = err;
    else
        r->durable += (uint64_t)applied;
    for (int i = 0; i < call_count; i++) {
        if (code != 0) {
            calls[i]->code = code;
            calls[i]->err = err;
        }
        calls[i]->done = true;
    }
    pthread_cond_broadcast(&r->changed);
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
    while (r->acks_waiting == 0 && r->rooms_waiting == 0 && !r->closing &&
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

        if (entry->kind == KIND_RUN_BEGIN || entry->kind == KIND_ANNOTATE) {
            struct call *call = *(struct call **)(void *)(entry + 1);

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
        while (r->ring.entries == 0 && !r->closing)
            pthread_cond_wait(&r->work, &r->mutex);
        r->idle = false;
        if (r->ring.entries == 0)
            break;
        if (r->failure.code != 0) {
            discard(r);
            continue;
        }
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
    pthread_condattr_t attributes;

    pthread_mutex_init(&r->mutex, NULL);
    pthread_mutex_init(&r->listener_mutex, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&r->work, &attributes);
    pthread_cond_init(&r->changed, &attributes);
    pthread_condattr_destroy(&attributes);
}

static void destroy(struct recorder *r)
{
    writer_close(r->writer);
    store_close(r->store);
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
    r->sink = (struct record_sink){
        .context = r,
        .run_begin = on_run_begin,
        .run_end = on_run_end,
        .step = on_step,
        .cell = on_cell,
        .attempt = on_attempt,
        .reading = on_reading,
        .samples = on_samples,
        .tensor = on_tensor,
        .calibration = on_calibration,
        .trace = on_trace,
        .event = on_event,
        .ack = on_ack,
    };
    code = ring_init(&r->ring, RECORDER_QUEUE_BYTES, RECORDER_QUEUE_ENTRIES, err);
    if (code == 0)
        code = store_open_writer(db_path, &r->store, err);
    if (code == 0)
        code = writer_open(r->store, &r->writer, err);
    if (code == 0) {
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
