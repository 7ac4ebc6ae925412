/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * ticker: the thread and how it is told to end.
 */
#include "daemon/base/ticker.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "daemon/base/clock.h"

struct ticker {
    int64_t period_ns;
    void (*tick)(void *context);
    void *context;
    pthread_t thread;

    pthread_mutex_t lock; /* guards stopping; not held across a tick */
    pthread_cond_t wake;
    bool stopping;
};

/* With the lock held. */
static void wait_period(struct ticker *ticker)
{
    int64_t until_ns = clock_host_now() + ticker->period_ns;
    struct timespec until = { .tv_sec = until_ns / NS_PER_S, .tv_nsec = until_ns % NS_PER_S };

    while (!ticker->stopping && clock_host_now() < until_ns)
        pthread_cond_timedwait(&ticker->wake, &ticker->lock, &until);
}

static void *ticker_main(void *context)
{
    struct ticker *ticker = context;

    pthread_mutex_lock(&ticker->lock);
    while (!ticker->stopping) {
        pthread_mutex_unlock(&ticker->lock);
        ticker->tick(ticker->context);
        pthread_mutex_lock(&ticker->lock);
        wait_period(ticker);
    }
    pthread_mutex_unlock(&ticker->lock);
    return NULL;
}

static void destroy(struct ticker *ticker)
{
    pthread_cond_destroy(&ticker->wake);
    pthread_mutex_destroy(&ticker->lock);
    free(ticker);
}

int ticker_start(const char *what, int64_t period_ns, void (*tick)(void *context), void *context,
                 struct ticker **ret_ticker, struct error *err)
{
    struct ticker *ticker = calloc(1, sizeof *ticker);

    if (ticker == NULL)
        return error_set(err, ERR_MEMORY, "no memory for the thread of %s", what);
    ticker->period_ns = period_ns;
    ticker->tick = tick;
    ticker->context = context;
    pthread_mutex_init(&ticker->lock, NULL);
    clock_host_cond_init(&ticker->wake);
    int failure = pthread_create(&ticker->thread, NULL, ticker_main, ticker);
    if (failure != 0) {
        destroy(ticker);
        return error_set_errno(err, failure, "cannot start the thread of %s", what);
    }
    *ret_ticker = ticker;
    return 0;
}

void ticker_stop(struct ticker *ticker)
{
    if (ticker == NULL)
        return;
    pthread_mutex_lock(&ticker->lock);
    ticker->stopping = true;
    pthread_cond_signal(&ticker->wake);
    pthread_mutex_unlock(&ticker->lock);
    pthread_join(ticker->thread, NULL);
    destroy(ticker);
}
