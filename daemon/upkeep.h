/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * upkeep: what a daemon does in the background once it serves. It reads the store whole, once, to see that it
 * is sound; it marks jumps of the wall clock in the record; it tells the event stream how the store is. One
 * thread of lowest priority, which may wait for the recorder. */
#ifndef DAEMON_UPKEEP_H
#define DAEMON_UPKEEP_H

#include "daemon/base/clock.h"
#include "daemon/events.h"
#include "db/recorder.h"

#define UPKEEP_JUMP_NS 1000000000LL

struct upkeep;

/* The arguments are borrowed until close. */
int upkeep_open(const char *db_path, struct recorder *recorder, struct events *events, struct clock *clock,
                struct upkeep **ret_upkeep, struct error *err);
/* Jumps of the wall clock since the start. Any thread. */
uint64_t upkeep_jumps(const struct upkeep *upkeep);
/* NULL is a no-op. */
void upkeep_close(struct upkeep *upkeep);

/* Wall time against monotonic time. */
struct wall_watch {
    int64_t host_ns, wall_ns;
    bool started;
};
/* By how much the wall clock has jumped since the last look; 0 when it runs as time does, give or take
 * UPKEEP_JUMP_NS. A slow drift is none. */
int64_t wall_watch_look(struct wall_watch *watch, int64_t host_ns, int64_t wall_ns);

#endif
