/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * notify: words to the service manager (the protocol of sd_notify(3), without its library).
 */
#ifndef DAEMON_BASE_NOTIFY_H
#define DAEMON_BASE_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>

/* Is there a service manager that listens? */
bool notify_wanted(void);
/* Sends "READY=1", "STOPPING=1", "WATCHDOG=1", "STATUS=..."; false where nobody listens. Never waits: a
 * manager that does not read must not stop the heartbeat of whoever sends. */
bool notify_send(const char *state);
/* Within which time WATCHDOG=1 must come again, in nanoseconds; 0: no watchdog. */
int64_t notify_watchdog_ns(void);

#endif
