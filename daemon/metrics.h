/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * metrics: the daemon's state as Prometheus text 0.0.4.
 */
#ifndef DAEMON_METRICS_H
#define DAEMON_METRICS_H

#include "daemon/daemon.h"

/* Any thread. */
int metrics_text(struct daemon *daemon, struct strbuf *out, struct error *err);

#endif
