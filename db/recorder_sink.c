/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * recorder_sink: the producers' half. A record goes from the caller to SQLite in one copy: its strings lie
 * behind it in the ring, and its pointers point at them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/clock.h"
#include "db/recorder_internal.h"
#include "db/run_states.h"

/* Only the end of a run may use the last of the ring: a run that is aborted while the disk is full still
 * ends. */
enum { END_RESERVE = 4096 };
enum { ATTEMPT_MAX = 1023, POSITION_MAX = (1 << 24) - 1, TRACE_PIECE = 4096 };

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

static void *room_for(struct recorder *r, int kind, size_t bytes)
{
    if (kind != KIND_RUN_END &&
        (r->ring.capacity - r->ring.used < bytes + END_RESERVE || r->ring.entries + 1 >= r->ring.entries_max))
        return NULL;
    return ring_put(&r->ring, kind, bytes);
}

static size_t bytes_of(size_t size, const struct part *part, int parts)
{
    size_t bytes = padded(size);

    for (int i = 0; i < parts; i++)
        bytes += part[i].data == NULL ? 0 : padded(part[i].bytes);
    return bytes;
}

/* With the mutex held; false when there is no room just now. */
static bool try_put(struct recorder *r, int kind, const void *record, size_t size, const struct part *part,
                    int parts)
{
    void *at = room_for(r, kind, bytes_of(size, part, parts));

    if (at == NULL)
        return false;
    copy_parts(at, size, record, part, parts);
    r->put++;
    wake_writer(r);
    return true;
}

/* Puts a record with its parts into the ring; blocks while it is full. Called with the mutex held. */
static int put_locked(struct recorder *r, int kind, const void *record, size_t size, const struct part *part,
                      int parts, struct error *err)
{
    size_t bytes = bytes_of(size, part, parts);

    if (bytes > RECORDER_RECORD_MAX)
        return error_set(err, ERR_FULL, "a record of %zu bytes is above the limit of %d", bytes,
                         RECORDER_RECORD_MAX);
    while (r->failure.code == 0 && !try_put(r, kind, record, size, part, parts)) {
        if (recorder_refuses(r, err))
            return ERR_FULL;
        r->rooms_waiting++; /* the group in work, or the next one, makes room */
        pthread_cond_signal(&r->work);
        pthread_cond_wait(&r->changed, &r->mutex);
        r->rooms_waiting--;
    }
    if (r->failure.code != 0 && err != NULL)
        *err = r->failure;
    return r->failure.code;
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
static int ask(struct recorder *r, int kind, struct recorder_call *call, struct error *err)
{
    int code;

    pthread_mutex_lock(&r->mutex);
    /* Whoever asks is at the other end of a request: he is told, and not kept. */
    if (r->health.condition == RECORDER_PAUSED) {
        code = error_set(err, ERR_FULL, "%s", r->health.text);
        pthread_mutex_unlock(&r->mutex);
        return code;
    }
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
        r->run_state = call->continued      ? RUN_STATE_RESUMED
                       : call->run->invalid ? RUN_STATE_VALIDATING
                                            : RUN_STATE_RUNNING;
    }
    pthread_mutex_unlock(&r->mutex);
    return code;
}

static int on_run_begin(void *context, const struct record_run *run, int64_t *ret_run_id, struct error *err)
{
    struct recorder *r = context;
    struct recorder_call call = { .run = run };
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

/* With the mutex held; the ring has the states in the order in which they were allowed. */
static int put_state(struct recorder *r, int kind, int to, const struct recorder_state *change,
                     struct error *err)
{
    const struct part parts[] = { TEXT_PART(struct recorder_state, change, state),
                                  TEXT_PART(struct recorder_state, change, message) };

    if (!r->run_open)
        return error_set(err, ERR_CONFLICT, "nothing can be recorded: no run has begun");
    if (!run_state_allowed(r->run_state, to))
        return error_set(err, ERR_CONFLICT, "a run that is %s cannot become %s", run_state_name(r->run_state),
                         run_state_name(to));
    int code = put_locked(r, kind, change, sizeof *change, parts, 2, err);
    if (code == 0)
        r->run_state = to;
    return code;
}

static int on_run_end(void *context, const char *state, int code_of_run, const char *message, int64_t time_ns,
                      struct error *err)
{
    struct recorder *r = context;
    struct recorder_state change = { state, message, code_of_run, time_ns, clock_wall_now() };
    int to = run_state_from_name(state);
    int code;

    if (!run_state_is_end(to) && to != RUN_STATE_INTERRUPTED)
        return error_set(err, ERR_INVALID, "'%s' is not a state in which a run can end", state);
    pthread_mutex_lock(&r->mutex);
    code = put_state(r, KIND_RUN_END, to, &change, err);
    r->run_open = r->run_open && code != 0;
    pthread_mutex_unlock(&r->mutex);
    return code;
}

static int on_state(void *context, const char *state, const char *why, struct error *err)
{
    struct recorder *r = context;
    struct recorder_state change = { .state = state, .message = why, .wall_ns = clock_wall_now() };
    int to = run_state_from_name(state);
    int code;

    if (to < 0 || run_state_is_end(to) || to == RUN_STATE_INTERRUPTED)
        return error_set(err, ERR_INVALID, "'%s' is not a state of a run that goes on", state);
    pthread_mutex_lock(&r->mutex);
    /* The runner does not know yet that somebody has asked for a stop: that stays. */
    code = r->run_open && r->run_state == RUN_STATE_STOPPING ? 0
                                                             : put_state(r, KIND_RUN_STATE, to, &change, err);
    pthread_mutex_unlock(&r->mutex);
    return code;
}

void recorder_hint_state(struct recorder *r, const char *from, const char *to, const char *why)
{
    struct recorder_state change = { .state = to, .message = why, .wall_ns = clock_wall_now() };
    const struct part parts[] = { TEXT_PART(struct recorder_state, &change, state),
                                  TEXT_PART(struct recorder_state, &change, message) };
    int state = run_state_from_name(to);

    pthread_mutex_lock(&r->mutex);
    if (r->run_open && r->failure.code == 0 && run_state_allowed(r->run_state, state) &&
        (from == NULL || r->run_state == run_state_from_name(from)) &&
        try_put(r, KIND_RUN_STATE, &change, sizeof change, parts, 2)) {
        r->run_state = state;
        r->hurry = true; /* it is to outlive us, and nobody waits for it */
        pthread_cond_signal(&r->work);
    }
    pthread_mutex_unlock(&r->mutex);
}

int recorder_annotate(struct recorder *r, const char *ulid, const char *notes, const char *tags,
                      struct error *err)
{
    struct recorder_call call = { .ulid = ulid, .notes = notes, .tags = tags };

    return ask(r, KIND_ANNOTATE, &call, err);
}

int recorder_do(struct recorder *r, recorder_fn *function, void *argument, struct error *err)
{
    struct recorder_call call = { .function = function, .argument = argument };

    return ask(r, KIND_CALL, &call, err);
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
    struct recorder_calibration c = { .wall_ns = clock_wall_now(), .record = *cal };
    const struct part parts[] = {
        TEXT_PART(struct recorder_calibration, &c, record.key),
        TEXT_PART(struct recorder_calibration, &c, record.kind),
        TEXT_PART(struct recorder_calibration, &c, record.instrument_chain),
        { offsetof(struct recorder_calibration, record.coefficient), cal->coefficient,
          (size_t)cal->coefficient_count * sizeof *cal->coefficient },
        { offsetof(struct recorder_calibration, record.raw_json), cal->raw_json,
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

static int on_chip(void *context, const struct record_chip *chip, struct error *err)
{
    const struct part parts[] = {
        TEXT_PART(struct record_chip, chip, type),     TEXT_PART(struct record_chip, chip, serial),
        TEXT_PART(struct record_chip, chip, revision), TEXT_PART(struct record_chip, chip, lot),
        TEXT_PART(struct record_chip, chip, wafer),
    };

    return put(context, KIND_CHIP, chip, sizeof *chip, parts, 5, err);
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
    code = 0;
    while (code == 0 && r->durable < target && r->failure.code == 0) {
        if (recorder_refuses(r, err))
            code = ERR_FULL;
        else
            pthread_cond_wait(&r->changed, &r->mutex);
    }
    r->acks_waiting--;
    if (code == 0 && r->durable < target) {
        code = r->failure.code;
        if (err != NULL)
            *err = r->failure;
    }
    pthread_mutex_unlock(&r->mutex);
    return code;
}

struct record_sink recorder_sink_of(struct recorder *r)
{
    return (struct record_sink){
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
        .chip = on_chip,
        .event = on_event,
        .ack = on_ack,
        .state = on_state,
    };
}
