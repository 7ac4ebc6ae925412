/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * latch: the looking thread.
 */
#include "daemon/latch.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/base/log.h"
#include "daemon/health.h"

enum { LOOK_S = 1 };

struct latch {
    struct latch_setup setup;
    pthread_t thread;

    pthread_mutex_t lock; /* guards closing */
    pthread_cond_t wake;
    bool closing;
};

bool latch_look(struct latch_view *view, bool latched, uint64_t trips, bool busy)
{
    if (!view->started || !latched) {
        *view = (struct latch_view){ .started = true, .latched = latched, .told = latched, .trips = trips };
        return false;
    }
    if (!view->latched) {
        view->latched = true;
        return false;
    }
    if (view->told || busy)
        return false;
    view->told = true;
    return trips == view->trips;
}

/* A person or a program of this user has asked the keeper for it; else it was an interlock. */
static void tell(const struct latch *latch, const char *reason)
{
    static const char by_hand[] = "emergency stop: ";
    const struct latch_setup *setup = &latch->setup;
    struct record_event event = {
        .kind = "trip", .text = reason, .time_ns = clock_now(setup->clock), .wall_ns = clock_wall_now()
    };
    struct error err = { .code = 0 };

    log_warning("the keeper is latched: %s", reason);
    if (strncmp(reason, by_hand, sizeof by_hand - 1) == 0) {
        struct command_audit entry = { .user = "local",
                                       .role = "admin",
                                       .action = "e-stop at the keeper",
                                       .status = 202,
                                       .subject = reason + sizeof by_hand - 1 };
        audit_post(setup->audit, &entry);
    }
    sched_trip(setup->sched, reason); /* first: the store may have to wait for room */
    if (setup->sink->event(setup->sink->context, &event, &err) != 0)
        log_error("recording a trip", &err);
}

static void look(const struct latch *latch, struct latch_view *view)
{
    struct error err = { .code = 0 };
    struct health health;

    if (health_read(NULL, latch->setup.keeper_path, &health, &err) != 0)
        return; /* whoever needs the keeper says that it is away */
    /* First: a run that is over by then has told its trip before. */
    bool busy = sched_busy(latch->setup.sched);
    if (latch_look(view, health.latched, sched_trips(latch->setup.sched), busy))
        tell(latch, health.reason);
    health_free(&health);
}

static void *latch_main(void *context)
{
    struct latch *latch = context;
    struct latch_view view = { .started = false };
    struct timespec until;

    pthread_mutex_lock(&latch->lock);
    while (!latch->closing) {
        pthread_mutex_unlock(&latch->lock);
        look(latch, &view);
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += LOOK_S;
        pthread_mutex_lock(&latch->lock);
        if (!latch->closing)
            pthread_cond_timedwait(&latch->wake, &latch->lock, &until);
    }
    pthread_mutex_unlock(&latch->lock);
    return NULL;
}

static void destroy(struct latch *latch)
{
    pthread_cond_destroy(&latch->wake);
    pthread_mutex_destroy(&latch->lock);
    free(latch);
}

int latch_open(const struct latch_setup *setup, struct latch **ret_latch, struct error *err)
{
    pthread_condattr_t attributes;

    *ret_latch = NULL;
    if (setup->keeper_path == NULL)
        return 0;
    struct latch *latch = calloc(1, sizeof *latch);
    if (latch == NULL)
        return error_set(err, ERR_MEMORY, "no memory to watch the keeper's latch");
    latch->setup = *setup;
    pthread_mutex_init(&latch->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&latch->wake, &attributes);
    pthread_condattr_destroy(&attributes);
    int failure = pthread_create(&latch->thread, NULL, latch_main, latch);
    if (failure != 0) {
        destroy(latch);
        return error_set_errno(err, failure, "cannot start the thread that watches the keeper's latch");
    }
    *ret_latch = latch;
    return 0;
}

void latch_close(struct latch *latch)
{
    if (latch == NULL)
        return;
    pthread_mutex_lock(&latch->lock);
    latch->closing = true;
    pthread_cond_signal(&latch->wake);
    pthread_mutex_unlock(&latch->lock);
    pthread_join(latch->thread, NULL);
    destroy(latch);
}
