/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * reaper: a list of descriptors, a queue of those that are unfinished, oldest first, and one thread that
 * looks at the queue ten times in a deadline.
 */
#include "web/reaper.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "daemon/base/clock.h"

struct reaper_entry {
    struct reaper_entry *next, *previous; /* in the queue; NULL outside it */
    int fd;
    bool waiting, crowd; /* in the queue; counts towards the limit */
    int64_t since_ns;
};

struct reaper {
    pthread_mutex_t lock; /* guards all below; shutdown(2) is called under it so that the descriptor is still
                             the owner's */
    pthread_cond_t changed;
    struct reaper_entry *first, *last; /* unfinished connections, by since_ns */
    int crowd, crowd_max;              /* of them */
    int64_t deadline_ns;
    bool closing;
    pthread_t thread;
};

/* ---- The queue; with the lock held ---- */

static void unlink_entry(struct reaper *reaper, struct reaper_entry *entry)
{
    if (!entry->waiting)
        return;
    if (entry->previous != NULL)
        entry->previous->next = entry->next;
    else
        reaper->first = entry->next;
    if (entry->next != NULL)
        entry->next->previous = entry->previous;
    else
        reaper->last = entry->previous;
    entry->next = entry->previous = NULL;
    entry->waiting = false;
    reaper->crowd -= entry->crowd;
}

static void cut(struct reaper *reaper, struct reaper_entry *entry)
{
    unlink_entry(reaper, entry);
    shutdown(entry->fd, SHUT_RDWR);
}

static struct reaper_entry *oldest_of_crowd(const struct reaper *reaper)
{
    struct reaper_entry *entry = reaper->first;

    while (entry != NULL && !entry->crowd)
        entry = entry->next;
    return entry;
}

/* At the end of the queue, which so stays sorted; then whoever is too many goes. */
static void append(struct reaper *reaper, struct reaper_entry *entry)
{
    unlink_entry(reaper, entry);
    entry->since_ns = clock_host_now();
    entry->previous = reaper->last;
    if (reaper->last != NULL)
        reaper->last->next = entry;
    else
        reaper->first = entry;
    reaper->last = entry;
    entry->waiting = true;
    reaper->crowd += entry->crowd;
    if (reaper->crowd > reaper->crowd_max)
        cut(reaper, oldest_of_crowd(reaper));
}

static void cut_late(struct reaper *reaper, int64_t now_ns)
{
    while (reaper->first != NULL && now_ns - reaper->first->since_ns >= reaper->deadline_ns)
        cut(reaper, reaper->first);
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

int reaper_open(int64_t deadline_ns, int unfinished_max, struct reaper **ret_reaper, struct error *err)
{
    struct reaper *reaper = calloc(1, sizeof *reaper);
    pthread_condattr_t monotonic;

    if (reaper == NULL)
        return error_set(err, ERR_MEMORY, "no memory for the connection deadlines");
    reaper->deadline_ns = deadline_ns;
    reaper->crowd_max = unfinished_max;
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

struct reaper_entry *reaper_add(struct reaper *reaper, int fd, bool crowd)
{
    struct reaper_entry *entry = calloc(1, sizeof *entry);

    if (entry == NULL)
        return NULL;
    entry->fd = fd;
    entry->crowd = crowd;
    reaper_restart(reaper, entry);
    return entry;
}

void reaper_remove(struct reaper *reaper, struct reaper_entry *entry)
{
    reaper_hold(reaper, entry);
    free(entry);
}

void reaper_hold(struct reaper *reaper, struct reaper_entry *entry)
{
    if (entry == NULL)
        return;
    pthread_mutex_lock(&reaper->lock);
    unlink_entry(reaper, entry);
    pthread_mutex_unlock(&reaper->lock);
}

void reaper_restart(struct reaper *reaper, struct reaper_entry *entry)
{
    if (entry == NULL)
        return;
    pthread_mutex_lock(&reaper->lock);
    append(reaper, entry);
    pthread_mutex_unlock(&reaper->lock);
}
