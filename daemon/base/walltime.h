/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * walltime: times as people write them, on this host's calendar and clock. */
#ifndef DAEMON_BASE_WALLTIME_H
#define DAEMON_BASE_WALLTIME_H

#include <stddef.h>

#include "daemon/base/error.h"

/* "07:30" or "07:30:15": the next time after after_ns that local clocks show it. Where they show it twice
 * (end of summer time) the first of the two that is still to come; where they skip it, the moment of the
 * skip. "2026-11-21T07:30", with or without seconds, and with "Z" or "+01:00", else local: that moment,
 * whenever it is. All in nanoseconds of wall time. */
int walltime_parse(const char *text, int64_t after_ns, int64_t *ret_ns, struct error *err);
/* Local "2026-11-21 07:30:00". Returns out. */
const char *walltime_local(int64_t wall_ns, char *out, size_t size);
/* A length of time as people write it: "2h", "90 min", "1h30m", "45s". False when it is none, or not above 0.
 */
bool walltime_duration(const char *text, double *ret_seconds);

#endif
