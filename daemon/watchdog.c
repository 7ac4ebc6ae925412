/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * watchdog: a table of signs of life.
 */
#include "daemon/watchdog.h"

#include "daemon/base/log.h"
#include "daemon/base/notify.h"

void watchdog_init(struct watchdog *watchdog)
{
    *watchdog = (struct watchdog){ .period_ns = notify_watchdog_ns() / WATCHDOG_SHARE };
}

/* NULL when everything lives; else the name of what does not. */
static const char *find_stuck(struct sched *sched, struct recorder *recorder)
{
    struct recorder_health health;
    int64_t silent_ns;

    if (!sched_silence(sched, &silent_ns))
        return "the scheduler's lock";
    if (!recorder_responds(recorder))
        return "the recorder's lock";
    recorder_health(recorder, &health); /* a runner that waits for room on the disk is silent, and right */
    if (silent_ns > WATCHDOG_RUNNER_S * NS_PER_S && health.condition != RECORDER_PAUSED)
        return "the runner";
    return NULL;
}

void watchdog_turn(struct watchdog *watchdog, struct sched *sched, struct recorder *recorder)
{
    int64_t now_ns = clock_host_now();

    if (watchdog->period_ns == 0 || now_ns < watchdog->next_ns)
        return;
    watchdog->next_ns = now_ns + watchdog->period_ns;
    const char *stuck = find_stuck(sched, recorder);
    watchdog->misses = stuck != NULL ? watchdog->misses + 1 : 0;
    if (watchdog->misses < WATCHDOG_MISSES)
        notify_send("WATCHDOG=1");
    else if (watchdog->misses == WATCHDOG_MISSES)
        log_warning("watchdog: %s does not move: the service manager will end this daemon", stuck);
}
