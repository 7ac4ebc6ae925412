/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * webhook: tells an address when a run ends, fails or holds, and when an interlock trips. A bounded queue and
 * a thread of its own: nothing else of the daemon ever waits for that address.
 */
#ifndef DAEMON_WEBHOOK_H
#define DAEMON_WEBHOOK_H

#include "daemon/events.h"

enum { WEBHOOK_QUEUE_MAX = 64, WEBHOOK_TRIES = 8, WEBHOOK_TIMEOUT_S = 10, WEBHOOK_BACKOFF_MAX_S = 60 };

struct webhook;

struct webhook_counts {
    uint64_t sent, failed, dropped; /* failed: given up after WEBHOOK_TRIES; dropped: the queue was full */
};

/* events is borrowed until close. url: http or https. */
int webhook_open(struct events *events, const char *url, struct webhook **ret_webhook, struct error *err);
/* What is queued gets one more try, for a few seconds altogether. NULL is a no-op. */
void webhook_close(struct webhook *webhook);
struct webhook_counts webhook_counts(struct webhook *webhook);

#endif
