/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * reaper: a deadline for every connection that is in the middle of a request or idle. The HTTP library's
 * time-out starts again with every byte, so that fifty connections that drip one header byte a second would
 * keep everybody out; this one counts from the first byte. And when more are unfinished than the limit, the
 * one that has been so for longest is cut at once: whoever sends a whole request is never that one. It only
 * shuts a socket down; its owner closes it.
 */
#ifndef WEB_REAPER_H
#define WEB_REAPER_H

#include <stdint.h>

#include "daemon/base/error.h"

struct reaper;
struct reaper_entry;

/* Starts the reaper's thread. deadline_ns: from the start of a request (or of idleness) to its last byte.
 * unfinished_max: of the connections that are added as `crowd`. */
int reaper_open(int64_t deadline_ns, int unfinished_max, struct reaper **ret_reaper, struct error *err);
/* Every entry must have been removed. NULL is a no-op. */
void reaper_close(struct reaper *reaper);
/* crowd: counts towards unfinished_max. NULL when out of memory. Any thread. */
struct reaper_entry *reaper_add(struct reaper *reaper, int fd, bool crowd);
/* Before the descriptor is closed. NULL is a no-op. */
void reaper_remove(struct reaper *reaper, struct reaper_entry *entry);
/* The request is complete: its answer takes as long as it takes. */
void reaper_hold(struct reaper *reaper, struct reaper_entry *entry);
/* The answer is out: the next request has its own deadline. */
void reaper_restart(struct reaper *reaper, struct reaper_entry *entry);

#endif
