/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * reaper: a list of descriptors, a queue of those that are unfinished, oldest first, and a ticker that looks
 * at the queue ten times in a deadline.
 */
#include "web/reaper.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "daemon/base/clock.h"
#include "daemon/base/ticker.h"

struct reaper_entry {
    struct reaper_entry *next, *previous; /* in the queue; NULL outside it */
    int fd;
    bool waiting, crowd; /* in the queue; counts towards the limit */
    int64_t since_ns;
};

struct reaper {
    struct ticker *ticker;

    pthread_mutex_t lock; /* guards all below; shutdown(2) is called under it so that the descriptor is still
                             the owner's */
    struct reaper_entry *first, *last; /* unfinished connections, by since_ns */
    int crowd, crowd_max;              /* of them */
    int64_t deadline_ns;
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

/* ---- The reaper's thread ---- */

static void cut_late(void *context)
{
    struct reaper *reaper = context;

    pthread_mutex_lock(&reaper->lock);
    int64_t now_ns = clock_host_now();
    while (reaper->first != NULL && now_ns - reaper->first->since_ns >= reaper->deadline_ns)
        cut(reaper, reaper->first);
    pthread_mutex_unlock(&reaper->lock);
}

int reaper_open(int64_t deadline_ns, int unfinished_max, struct reaper **ret_reaper, struct error *err)
{
    struct reaper *reaper = calloc(1, sizeof *reaper);

    if (reaper == NULL)
        return error_set(err, ERR_MEMORY, "no memory for the connection deadlines");
    reaper->deadline_ns = deadline_ns;
    reaper->crowd_max = unfinished_max;
    pthread_mutex_init(&reaper->lock, NULL);
    int code =
        ticker_start("the connection deadlines", deadline_ns / 10, cut_late, reaper, &reaper->ticker, err);
    if (code != 0) {
        pthread_mutex_destroy(&reaper->lock);
        free(reaper);
        return code;
    }
    *ret_reaper = reaper;
    return 0;
}

void reaper_close(struct reaper *reaper)
{
    if (reaper == NULL)
        return;
    ticker_stop(reaper->ticker);
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
