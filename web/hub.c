/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * hub: a ring of formatted events and the list of the streams that read it.
 */
#include "web/hub.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/clock.h"

enum { HUB_BATCH = 32 };

struct hub_entry {
    uint64_t id;
    bool progress;
    size_t length; /* 0: a later one took its place */
    char text[HUB_TEXT_MAX];
};

struct hub_stream {
    struct hub_stream *next, *previous;
    struct hub *hub;
    hub_switch_fn pause, resume;
    void *context;
    uint64_t position; /* of the next entry, in the hub's count */
    bool greeted, paused, lost;
    int64_t written_ns;
};

struct hub {
    pthread_mutex_t lock; /* guards all below; held while a stream is paused or resumed */
    pthread_cond_t changed;
    const struct command *command;
    bool pending, closing;
    uint64_t last_id; /* of the newest event taken from the daemon */
    uint64_t count;   /* entries ever added; entry n is ring[n % HUB_KEPT] */
    struct hub_entry ring[HUB_KEPT];
    struct hub_stream *first;
    int streams;
    _Atomic uint64_t generation;
    struct daemon_event *batch; /* HUB_BATCH; the hub's thread alone */
    pthread_t thread;
};

static void on_event(void *context)
{
    struct hub *hub = context;

    atomic_fetch_add(&hub->generation, 1);
    pthread_mutex_lock(&hub->lock);
    hub->pending = true;
    pthread_cond_signal(&hub->changed);
    pthread_mutex_unlock(&hub->lock);
}

/* A progress event replaces the one before it in the same collection. */
static void add_event(struct hub *hub, const struct daemon_event *event, uint64_t collection)
{
    struct hub_entry *entry = &hub->ring[hub->count % HUB_KEPT];
    bool progress = strcmp(event->kind, "progress") == 0;

    for (uint64_t n = hub->count; progress && n > collection && n + HUB_KEPT > hub->count + 1; n--)
        if (hub->ring[(n - 1) % HUB_KEPT].progress)
            hub->ring[(n - 1) % HUB_KEPT].length = 0;
    entry->id = event->id;
    entry->progress = progress;
    int length = snprintf(entry->text, sizeof entry->text, "id: %llu\nevent: %s\ndata: %s\n\n",
                          (unsigned long long)event->id, event->kind, event->json);
    entry->length = length > 0 && (size_t)length < sizeof entry->text ? (size_t)length : 0;
    hub->count++;
}

static void resume_streams(struct hub *hub)
{
    for (struct hub_stream *stream = hub->first; stream != NULL; stream = stream->next) {
        if (!stream->paused)
            continue;
        stream->paused = false;
        stream->resume(stream->context);
    }
}

/* Takes everything the daemon has. The daemon is asked without the lock: it has locks of its own. */
static void collect(struct hub *hub)
{
    uint64_t collection = hub->count;
    int count;

    do {
        count = hub->command->events(hub->command->context, hub->last_id, hub->batch, HUB_BATCH);
        pthread_mutex_lock(&hub->lock);
        for (int i = 0; i < count; i++) {
            add_event(hub, &hub->batch[i], collection);
            hub->last_id = hub->batch[i].id;
        }
        pthread_mutex_unlock(&hub->lock);
    } while (count == HUB_BATCH);
}

static void wait_until(struct hub *hub, int64_t until_ns, bool for_event)
{
    struct timespec until = { .tv_sec = until_ns / NS_PER_S, .tv_nsec = until_ns % NS_PER_S };

    while (!hub->closing && !(for_event && hub->pending) && clock_host_now() < until_ns)
        pthread_cond_timedwait(&hub->changed, &hub->lock, &until);
}

static void *hub_main(void *context)
{
    struct hub *hub = context;

    pthread_mutex_lock(&hub->lock);
    while (!hub->closing) {
        int64_t begin_ns = clock_host_now();

        wait_until(hub, begin_ns + HUB_KEEPALIVE_S * NS_PER_S, true);
        if (hub->closing)
            break;
        hub->pending = false;
        pthread_mutex_unlock(&hub->lock);
        begin_ns = clock_host_now();
        collect(hub);
        pthread_mutex_lock(&hub->lock);
        resume_streams(hub); /* without an event too: they write a keep-alive */
        wait_until(hub, begin_ns + NS_PER_S / HUB_HZ, false);
    }
    pthread_mutex_unlock(&hub->lock);
    return NULL;
}

int hub_open(const struct command *command, struct hub **ret_hub, struct error *err)
{
    struct hub *hub = calloc(1, sizeof *hub);
    struct daemon_event *batch = calloc(HUB_BATCH, sizeof *batch);

    if (hub == NULL || batch == NULL) {
        free(hub);
        free(batch);
        return error_set(err, ERR_MEMORY, "no memory for the event streams");
    }
    hub->batch = batch;
    hub->command = command;
    pthread_mutex_init(&hub->lock, NULL);
    clock_host_cond_init(&hub->changed);
    int rc = command->subscribe(command->context, on_event, hub);
    if (rc != 0) {
        error_set(err, rc, "the daemon has no room for one more listener to its events");
        goto out_free;
    }
    collect(hub); /* what happened before: only for streams that ask for it by id */
    int failure = pthread_create(&hub->thread, NULL, hub_main, hub);
    if (failure != 0) {
        rc = error_set_errno(err, failure, "cannot start the thread of the event streams");
        goto out_unsubscribe;
    }
    *ret_hub = hub;
    return 0;

out_unsubscribe:
    command->unsubscribe(command->context, hub);
out_free:
    pthread_cond_destroy(&hub->changed);
    pthread_mutex_destroy(&hub->lock);
    free(hub->batch);
    free(hub);
    return rc;
}

void hub_shut(struct hub *hub)
{
    pthread_mutex_lock(&hub->lock);
    hub->closing = true;
    resume_streams(hub);
    pthread_cond_broadcast(&hub->changed);
    pthread_mutex_unlock(&hub->lock);
}

void hub_close(struct hub *hub)
{
    if (hub == NULL)
        return;
    hub_shut(hub);
    pthread_join(hub->thread, NULL);
    hub->command->unsubscribe(hub->command->context, hub);
    pthread_cond_destroy(&hub->changed);
    pthread_mutex_destroy(&hub->lock);
    free(hub->batch);
    free(hub);
}

uint64_t hub_generation(const struct hub *hub)
{
    return atomic_load(&hub->generation);
}

/* Where a stream that has seen last_id goes on; ret_lost when something in between is no longer there. */
static uint64_t position_after(const struct hub *hub, uint64_t last_id, bool *ret_lost)
{
    uint64_t oldest = hub->count > HUB_KEPT ? hub->count - HUB_KEPT : 0;
    uint64_t position = hub->count;

    *ret_lost = false;
    if (last_id == 0 || hub->last_id == last_id)
        return hub->count;
    while (position > oldest && hub->ring[(position - 1) % HUB_KEPT].id > last_id)
        position--;
    /* Ids from before a restart of the daemon, or older than what is kept. */
    *ret_lost =
        last_id > hub->last_id || (position == oldest && hub->ring[oldest % HUB_KEPT].id != last_id + 1);
    return last_id > hub->last_id ? oldest : position;
}

int hub_stream_open(struct hub *hub, uint64_t last_id, hub_switch_fn pause, hub_switch_fn resume,
                    void *context, struct hub_stream **ret_stream, struct error *err)
{
    struct hub_stream *stream = calloc(1, sizeof *stream);

    if (stream == NULL)
        return error_set(err, ERR_MEMORY, "no memory for an event stream");
    stream->hub = hub;
    stream->pause = pause;
    stream->resume = resume;
    stream->context = context;
    pthread_mutex_lock(&hub->lock);
    bool room = hub->streams < HUB_STREAMS_MAX;
    if (room) {
        stream->position = position_after(hub, last_id, &stream->lost);
        stream->next = hub->first;
        if (hub->first != NULL)
            hub->first->previous = stream;
        hub->first = stream;
        hub->streams++;
    }
    pthread_mutex_unlock(&hub->lock);
    if (!room) {
        free(stream);
        return error_set(err, ERR_FULL, "all %d event streams are in use; close one", HUB_STREAMS_MAX);
    }
    *ret_stream = stream;
    return 0;
}

void hub_stream_close(struct hub_stream *stream)
{
    if (stream == NULL)
        return;
    struct hub *hub = stream->hub;

    pthread_mutex_lock(&hub->lock);
    if (stream->previous != NULL)
        stream->previous->next = stream->next;
    else
        hub->first = stream->next;
    if (stream->next != NULL)
        stream->next->previous = stream->previous;
    hub->streams--;
    pthread_mutex_unlock(&hub->lock);
    free(stream);
}

static size_t append(char *out, size_t used, size_t size, const char *text, size_t length)
{
    if (used + length > size)
        return 0;
    memcpy(out + used, text, length);
    return length;
}

/* What the stream has not seen yet, as much as fits. */
static size_t copy_events(struct hub_stream *stream, char *out, size_t size)
{
    static const char greeting[] = "retry: 2000\n: nightbench events\n\n";
    static const char gap[] = "event: gap\ndata: {\"lost\":true}\n\n";
    struct hub *hub = stream->hub;
    size_t used = 0;

    if (!stream->greeted)
        used += append(out, used, size, greeting, sizeof greeting - 1);
    stream->greeted = true;
    if (stream->position + HUB_KEPT < hub->count) {
        stream->position = hub->count - HUB_KEPT;
        stream->lost = true;
    }
    if (stream->lost)
        used += append(out, used, size, gap, sizeof gap - 1);
    stream->lost = false;
    for (; stream->position < hub->count; stream->position++) {
        const struct hub_entry *entry = &hub->ring[stream->position % HUB_KEPT];
        size_t copied = append(out, used, size, entry->text, entry->length);

        if (copied == 0 && entry->length > 0)
            break;
        used += copied;
    }
    return used;
}

ssize_t hub_stream_read(struct hub_stream *stream, char *out, size_t size)
{
    struct hub *hub = stream->hub;
    ssize_t result = -1;

    pthread_mutex_lock(&hub->lock);
    if (!hub->closing) {
        int64_t now_ns = clock_host_now();
        size_t used = copy_events(stream, out, size);

        if (used == 0 && now_ns - stream->written_ns >= HUB_KEEPALIVE_S * NS_PER_S)
            used = append(out, 0, size, ":\n\n", 3);
        if (used > 0)
            stream->written_ns = now_ns;
        result = (ssize_t)used;
        if (used == 0) {
            stream->paused = true;
            stream->pause(stream->context);
        }
    }
    pthread_mutex_unlock(&hub->lock);
    return result;
}
