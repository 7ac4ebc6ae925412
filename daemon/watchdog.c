/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * watchdog: signs of life, and one thread that asks for those of the ports.
 */
#include "daemon/watchdog.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/base/log.h"
#include "daemon/base/notify.h"
#include "daemon/base/ticker.h"
#include "daemon/health.h"
#include "instruments/keeper_client.h"

struct watchdog {
    struct watchdog_setup setup;
    int64_t period_ns;
    int64_t next_ns; /* main thread: host time of the next look */
    int misses;      /* main thread: looks in a row that found something stuck */
    struct ticker *prober;

    pthread_mutex_t lock; /* guards all below; held for moments */
    int64_t told_ns;      /* host time at which the ports were last heard of */
    char stuck[64];       /* what hung then, or "" */
};

const char *watchdog_stuck_port(const cJSON *ports, double limit_s)
{
    const cJSON *port;

    cJSON_ArrayForEach(port, ports)
    {
        const cJSON *busy = cJSON_GetObjectItemCaseSensitive(port, "busy_s");
        const cJSON *name = cJSON_GetObjectItemCaseSensitive(port, "instrument");
        if (cJSON_IsNumber(busy) && busy->valuedouble > limit_s)
            return cJSON_IsString(name) ? name->valuestring : "?";
    }
    return NULL;
}

/* ---- The prober's thread ---- */

static void probe(void *context)
{
    struct watchdog *watchdog = context;
    const struct watchdog_setup *setup = &watchdog->setup;
    struct error err = { .code = 0 };
    struct health health;

    if (health_read(setup->bench, setup->keeper_path, &health, &err) != 0)
        return; /* a keeper that does not answer for long is found by the age of what it said last */
    const char *port = watchdog_stuck_port(health.ports, setup->port_limit_s);
    pthread_mutex_lock(&watchdog->lock);
    watchdog->told_ns = clock_host_now();
    watchdog->stuck[0] = '\0';
    if (port != NULL)
        snprintf(watchdog->stuck, sizeof watchdog->stuck, "the port of %.40s", port);
    pthread_mutex_unlock(&watchdog->lock);
    health_free(&health);
}

/* ---- The main thread ---- */

/* What the prober has found last, or that it finds nothing any more. */
static const char *find_stuck_port(struct watchdog *watchdog, char text[64])
{
    if (pthread_mutex_trylock(&watchdog->lock) != 0)
        return "the watchdog's lock";
    bool silent = (double)(clock_host_now() - watchdog->told_ns) > watchdog->setup.port_limit_s * 1e9;
    snprintf(text, 64, "%s", watchdog->stuck);
    pthread_mutex_unlock(&watchdog->lock);
    if (silent)
        return "the keeper";
    return text[0] != '\0' ? text : NULL;
}

/* NULL when everything lives; else the name of what does not. */
static const char *find_stuck(struct watchdog *watchdog, char text[64])
{
    struct recorder_health health;
    int64_t silent_ns;

    if (!sched_silence(watchdog->setup.sched, &silent_ns))
        return "the scheduler's lock";
    if (!recorder_responds(watchdog->setup.recorder))
        return "the recorder's lock";
    recorder_health(watchdog->setup.recorder,
                    &health); /* a runner that waits for room on the disk is silent, and right */
    if (silent_ns > WATCHDOG_RUNNER_S * NS_PER_S && health.condition != RECORDER_PAUSED)
        return "the runner";
    return find_stuck_port(watchdog, text);
}

void watchdog_turn(struct watchdog *watchdog)
{
    int64_t now_ns = clock_host_now();
    char text[64];

    if (watchdog == NULL || now_ns < watchdog->next_ns)
        return;
    watchdog->next_ns = now_ns + watchdog->period_ns;
    const char *stuck = find_stuck(watchdog, text);
    watchdog->misses = stuck != NULL ? watchdog->misses + 1 : 0;
    if (watchdog->misses < WATCHDOG_MISSES)
        notify_send("WATCHDOG=1");
    else if (watchdog->misses == WATCHDOG_MISSES)
        log_warning("watchdog: %s does not move: the service manager will end this daemon", stuck);
}

int watchdog_open(const struct watchdog_setup *setup, struct watchdog **ret_watchdog, struct error *err)
{
    int64_t limit_ns = notify_watchdog_ns();

    *ret_watchdog = NULL;
    if (limit_ns == 0)
        return 0;
    struct watchdog *watchdog = calloc(1, sizeof *watchdog);
    if (watchdog == NULL)
        return error_set(err, ERR_MEMORY, "no memory for the watchdog");
    watchdog->setup = *setup;
    watchdog->period_ns = limit_ns / WATCHDOG_SHARE;
    watchdog->told_ns = clock_host_now();
    pthread_mutex_init(&watchdog->lock, NULL);
    int code = ticker_start("the watchdog", watchdog->period_ns, probe, watchdog, &watchdog->prober, err);
    if (code != 0) {
        pthread_mutex_destroy(&watchdog->lock);
        free(watchdog);
        return code;
    }
    *ret_watchdog = watchdog;
    return 0;
}

void watchdog_close(struct watchdog *watchdog)
{
    if (watchdog == NULL)
        return;
    ticker_stop(watchdog->prober);
    pthread_mutex_destroy(&watchdog->lock);
    free(watchdog);
}
