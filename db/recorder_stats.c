/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * recorder_stats: how the recorder is doing, for metrics and watchdog.
 */
#include "db/recorder_internal.h"

#include <time.h>

uint64_t recorder_backlog(struct recorder *recorder)
{
    pthread_mutex_lock(&recorder->mutex);
    uint64_t backlog = recorder->put - recorder->durable;
    pthread_mutex_unlock(&recorder->mutex);
    return backlog;
}

bool recorder_responds(struct recorder *recorder)
{
    if (pthread_mutex_trylock(&recorder->mutex) != 0)
        return false;
    pthread_mutex_unlock(&recorder->mutex);
    return true;
}
