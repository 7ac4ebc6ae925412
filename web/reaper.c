/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * reaper: a list of descriptors and one thread that looks at it ten times in a deadline.
 */
#include "web/reaper.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "daemon/base/clock.h"

struct reaper_entry {
    struct reaper_entry *next, *previous;
    int fd;
    int64_t since_ns; /* 0: held */
};

struct reaper {
    pthread_mutex_t lock; /* guards all below; shutdown(2) is called under it so that the descriptor is still
                             the owner's */
    pthread_cond_t changed;
    struct reaper_entry *first;
    int64_t deadline_ns;
    bool closing;
    pthread_t thread;
};

static void cut_late(struct reaper *reaper, int64_t now_ns)
{
    for (struct reaper_entry *entry = reaper->first; entry != NULL; entry = entry->next) {
        if (entry->since_ns == 0 || now_ns - entry->since_ns < reaper->deadline_ns)
            continue;
        shutdown(entry->fd, SHUT_RDWR);
        entry->since_ns = 0;
    }
}

static void *reaper_main(void *context)
{
    struct reaper *reaper = context;

    pthread_mutex_lock(&reaper->lock);
    while (!reaper->closing) {
        int64_t until_ns = clock_host_now() + reaper->deadline_ns / 10;
        struct timespec until = { .tv_sec = until_ns / NS_PER_S, .tv_nsec = until_ns % NS_PER_S };

        pthread_cond_timedwait(&reaper->changed, &reaper->lock, &until);
        cut_late(reaper, clock_host_now());
    }
    pthread_mutex_unlock(&reaper->lock);
    return NULL;
}

int reaper_open(int64_t deadline_ns, struct reaper **ret_reaper, struct error *err)
{
    struct reaper *reaper = calloc(1, sizeof *reaper);
    pthread_condattr_t monotonic;

    if (reaper == NULL)
        return error_set(err, ERR_MEMORY, "no memory for the connection deadlines");
    reaper->deadline_ns = deadline_ns;
    pthread_mutex_init(&reaper->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&reaper->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    int failure = pthread_create(&reaper->thread, NULL, reaper_main, reaper);
    if (failure != 0) {
        pthread_cond_destroy(&reaper->changed);
        pthread_mutex_destroy(&reaper->lock);
        free(reaper);
        return error_set_errno(err, failure, "cannot start the thread of the connection deadlines");
    }
    *ret_reaper = reaper;
    return 0;
}

void reaper_close(struct reaper *reaper)
{
    if (reaper == NULL)
        return;
    pthread_mutex_lock(&reaper->lock);
    reaper->closing = true;
    pthread_cond_signal(&reaper->changed);
    pthread_mutex_unlock(&reaper->lock);
    pthread_join(reaper->thread, NULL);
    pthread_cond_destroy(&reaper->changed);
    pthread_mutex_destroy(&reaper->lock);
    free(reaper);
}

struct reaper_entry *reaper_add(struct reaper *reaper, int fd)
{
    struct reaper_entry *entry = calloc(1, sizeof *entry);

    if (entry == NULL)
        return NULL;
    entry->fd = fd;
    entry->since_ns = clock_host_now();
    pthread_mutex_lock(&reaper->lock);
    entry->next = reaper->first;
    if (reaper->first != NULL)
        reaper->first->previous = entry;
    reaper->first = entry;
    pthread_mutex_unlock(&reaper->lock);
    return entry;
}

void reaper_remove(struct reaper *reaper, struct reaper_entry *entry)
{
    if (entry == NULL)
        return;
    pthread_mutex_lock(&reaper->lock);
    if (entry->previous != NULL)
        entry->previous->next = entry->next;
    else
        reaper->first = entry->next;
    if (entry->next != NULL)
        entry->next->previous = entry->previous;
    pthread_mutex_unlock(&reaper->lock);
    free(entry);
}

static void set_since(struct reaper *reaper, struct reaper_entry *entry, int64_t since_ns)
{
    if (entry == NULL)
        return;
    pthread_mutex_lock(&reaper->lock);
    entry->since_ns = since_ns;
    pthread_mutex_unlock(&reaper->lock);
}

void reaper_hold(struct reaper *reaper, struct reaper_entry *entry)
{
    set_since(reaper, entry, 0);
}

void reaper_restart(struct reaper *reaper, struct reaper_entry *entry)
{
    set_since(reaper, entry, clock_host_now());
}
