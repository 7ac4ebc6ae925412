/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * recorder_room: how the recorder is, and how it waits for room: on the disk, or in a log that somebody who
 * reads keeps from starting over. */
#include <stdio.h>
#include <time.h>

#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "daemon/base/text.h"
#include "db/recorder_internal.h"

bool recorder_refuses(const struct recorder *r, struct error *err)
{
    if (!r->refuse_waits || r->health.condition != RECORDER_PAUSED)
        return false;
    error_set(err, ERR_FULL, "%s", r->health.text);
    if (err != NULL)
        err->retryable = true;
    return true;
}

static void describe(struct recorder_health *h, const char *db_path, bool locked)
{
    char room[32], log[32];

    text_bytes((double)h->free_bytes, room, sizeof room);
    text_bytes((double)h->wal_bytes, log, sizeof log);
    h->text[0] = '\0';
    if (locked)
        snprintf(h->text, sizeof h->text,
                 "another program holds the write lock of %.80s: recording waits until it lets go", db_path);
    else if (h->wal_bytes >= STORE_WAL_ALARM_BYTES)
        snprintf(h->text, sizeof h->text,
                 "the log of %.80s has grown to %s because somebody reads it for long: end old readers%s",
                 db_path, log, h->condition == RECORDER_PAUSED ? "; recording waits for that" : "");
    else if (h->condition != RECORDER_FINE)
        snprintf(h->text, sizeof h->text, "the disk of %.80s has %s left%s", db_path, room,
                 h->condition == RECORDER_PAUSED ? ": recording waits until there is room" : ": make room");
}

/* Says once what has changed, and that it is over. */
static void tell_health(struct recorder *r, const struct recorder_health *h)
{
    static const char *const BACK[] = { "there is room again", "recording goes on" };

    if (h->condition == r->told)
        return;
    if (h->condition == RECORDER_FINE)
        log_notice("recorder: %s", BACK[r->told == RECORDER_PAUSED]);
    else
        log_warning("recorder: %s", h->text);
    r->told = h->condition;
}

enum recorder_condition recorder_look(struct recorder *r)
{
    static const enum recorder_condition OF_SPACE[] = { RECORDER_FINE, RECORDER_LOW, RECORDER_PAUSED };
    struct recorder_health *h = &r->health;
    int64_t now = clock_host_now();

    h->condition = OF_SPACE[space_look(&r->space, now)];
    h->free_bytes = r->space.free_bytes;
    h->total_bytes = r->space.total_bytes;
    h->wal_bytes = store_wal_bytes(r->store);
    if (h->wal_bytes >= STORE_WAL_ALARM_BYTES && h->condition == RECORDER_FINE)
        h->condition = RECORDER_LOW;
    if (r->retry_ns != 0 || h->wal_bytes >= STORE_WAL_MAX_BYTES)
        h->condition = RECORDER_PAUSED;
    describe(h, store_path(r->store), r->locked_ns != 0);
    tell_health(r, h);
    return h->condition;
}

/* Those who may not wait leave; what they asked for stays in the ring as nothing. */
static void withdraw_calls(struct recorder *r)
{
    struct ring_entry *entry = NULL;

    for (int i = 0; i < r->ring.entries; i++) {
        struct recorder_call *call;

        entry = i == 0 ? ring_oldest(&r->ring) : ring_next(&r->ring, entry);
        if (entry->kind != KIND_RUN_BEGIN && entry->kind != KIND_ANNOTATE)
            continue;
        call = *(struct recorder_call **)(void *)(entry + 1);
        entry->kind = KIND_WITHDRAWN;
        call->code = ERR_FULL;
        recorder_refuses(r, &call->err);
        call->done = true;
    }
}

void recorder_wait_a_while(struct recorder *r)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += RECORDER_RETRY_MS * NS_PER_MS;
    until.tv_sec += until.tv_nsec / NS_PER_S;
    until.tv_nsec %= NS_PER_S;
    pthread_cond_timedwait(&r->work, &r->mutex, &until);
}

bool recorder_await_room(struct recorder *r)
{
    struct error ignored; /* of a checkpoint: it is tried again */

    if (recorder_look(r) != RECORDER_PAUSED || r->closing || r->retry_ns == RECORDER_RETRY_NOW)
        return true;
    if (r->space.level != SPACE_OUT && r->health.wal_bytes < STORE_WAL_MAX_BYTES &&
        clock_host_now() >= r->retry_ns)
        return true;
    if (r->health.wal_bytes >= STORE_WAL_MAX_BYTES)
        (void)store_checkpoint(r->store, &ignored);
    if (r->refuse_waits)
        withdraw_calls(r);
    pthread_cond_broadcast(&r->changed);
    recorder_wait_a_while(r);
    return false;
}

const char *recorder_condition_name(enum recorder_condition condition)
{
    static const char *const NAMES[] = { "fine", "low", "paused", "failed" };

    return NAMES[condition];
}

void recorder_health(struct recorder *r, struct recorder_health *ret_health)
{
    pthread_mutex_lock(&r->mutex);
    *ret_health = r->health;
    if (r->failure.code != 0) {
        ret_health->condition = RECORDER_FAILED;
        snprintf(ret_health->text, sizeof ret_health->text, "%.255s", r->failure.message);
    }
    pthread_mutex_unlock(&r->mutex);
}

void recorder_refuse_waits(struct recorder *r, bool refuse)
{
    pthread_mutex_lock(&r->mutex);
    r->refuse_waits = refuse;
    pthread_cond_signal(&r->work);
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->mutex);
}
