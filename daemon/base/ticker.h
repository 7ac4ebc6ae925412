/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * ticker: a thread that looks after something every now and then, in host time, and can be told to end at
 * once.
 */
#ifndef DAEMON_BASE_TICKER_H
#define DAEMON_BASE_TICKER_H

#include "daemon/base/error.h"

struct ticker;

/* Calls tick(context) on a thread of its own: at once, and again period_ns after each call has returned.
 * `what` names the thread in an error. tick may wait for others; it must not stop its own ticker. */
int ticker_start(const char *what, int64_t period_ns, void (*tick)(void *context), void *context,
                 struct ticker **ret_ticker, struct error *err);
/* Does not wait for the period, but for a call that is under way; there is none after it. NULL is a no-op. */
void ticker_stop(struct ticker *ticker);

#endif
