/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * events: ring of daemon events.
 */
#include "daemon/events.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct subscriber {
    void (*wake)(void *);
    void *context; /* NULL: free place */
};

struct events {
    pthread_mutex_t lock; /* guards all below */
    uint64_t last_id;
    struct daemon_event ring[EVENTS_KEPT]; /* event id is at id % EVENTS_KEPT */
    struct subscriber subscriber[EVENTS_SUBSCRIBERS_MAX];
};

struct events *events_open(void)
{
    struct events *events = calloc(1, sizeof *events);

    if (events != NULL)
        pthread_mutex_init(&events->lock, NULL);
    return events;
}

void events_close(struct events *events)
{
    if (events == NULL)
        return;
    pthread_mutex_destroy(&events->lock);
    free(events);
}

void events_post(struct events *events, const char *kind, const char *json)
{
    struct subscriber wake[EVENTS_SUBSCRIBERS_MAX];

    pthread_mutex_lock(&events->lock);
    struct daemon_event *event = &events->ring[++events->last_id % EVENTS_KEPT];
    event->id = events->last_id;
    snprintf(event->kind, sizeof event->kind, "%s", kind);
    bool fits = strlen(json) < sizeof event->json;
    snprintf(event->json, sizeof event->json, "%s", fits ? json : "{\"truncated\":true}");
    memcpy(wake, events->subscriber, sizeof wake);
    pthread_mutex_unlock(&events->lock);
    for (int i = 0; i < EVENTS_SUBSCRIBERS_MAX; i++) {
        if (wake[i].context != NULL)
            wake[i].wake(wake[i].context);
    }
}

uint64_t events_last(struct events *events)
{
    pthread_mutex_lock(&events->lock);
    uint64_t last = events->last_id;
    pthread_mutex_unlock(&events->lock);
    return last;
}

int events_read(struct events *events, uint64_t after, struct daemon_event *out, int max)
{
    int count = 0;

    pthread_mutex_lock(&events->lock);
    uint64_t oldest = events->last_id >= EVENTS_KEPT ? events->last_id - EVENTS_KEPT + 1 : 1;
    uint64_t id = after + 1;
    if (id < oldest)
        id = oldest;
    for (; id <= events->last_id && count < max; id++)
        out[count++] = events->ring[id % EVENTS_KEPT];
    pthread_mutex_unlock(&events->lock);
    return count;
}

int events_subscribe(struct events *events, void (*wake)(void *), void *wake_context)
{
    int code = ERR_FULL;

    pthread_mutex_lock(&events->lock);
    for (int i = 0; i < EVENTS_SUBSCRIBERS_MAX && code != 0; i++) {
        if (events->subscriber[i].context == NULL) {
            events->subscriber[i] = (struct subscriber){ .wake = wake, .context = wake_context };
            code = 0;
        }
    }
    pthread_mutex_unlock(&events->lock);
    return code;
}

void events_unsubscribe(struct events *events, void *wake_context)
{
    pthread_mutex_lock(&events->lock);
    for (int i = 0; i < EVENTS_SUBSCRIBERS_MAX; i++) {
        if (events->subscriber[i].context == wake_context)
            events->subscriber[i] = (struct subscriber){ .wake = NULL, .context = NULL };
    }
    pthread_mutex_unlock(&events->lock);
}
