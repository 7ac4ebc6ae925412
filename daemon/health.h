/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * health: how the keeper is, and how the ports are: those of this process and those of the keeper in one
 * list.
 */
#ifndef DAEMON_HEALTH_H
#define DAEMON_HEALTH_H

#include "daemon/base/json.h"
#include "instruments/bench.h"

struct health {
    char reason[160]; /* why it is latched, or "" */
    bool latched;     /* an emergency stop or a trip waits for a person */
    int generation;   /* keepers that the keeper's parent has started beyond the first */
    int armed;        /* steps of the undo list */
    cJSON *ports;     /* a list of what instruments/port_health.h says */
};

/* bench and keeper_path may be NULL. Waits for the keeper, for seconds at most. Caller: health_free(). */
int health_read(const struct bench *bench, const char *keeper_path, struct health *ret_health,
                struct error *err);
void health_free(struct health *health);

#endif
