/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * audit: every command with who gave it, when, and what came of it, as events of kind "audit" in the store. A
 * queue and a thread of its own stand between, because whoever gives an e-stop must not wait for a disk.
 */
#ifndef DAEMON_AUDIT_H
#define DAEMON_AUDIT_H

#include "daemon/base/clock.h"
#include "daemon/base/record.h"
#include "daemon/command.h"

enum { AUDIT_QUEUE_MAX = 256 };

struct audit;

/* sink and clock are borrowed until close. */
int audit_open(const struct record_sink *sink, struct clock *clock, struct audit **ret_audit,
               struct error *err);
/* Writes what is queued, then ends the thread. NULL is a no-op. */
void audit_close(struct audit *audit);
/* Never waits: where the queue is full the log alone has the entry. Any thread. */
void audit_post(struct audit *audit, const struct command_audit *entry);
/* Entries that went to the log alone. */
uint64_t audit_dropped(const struct audit *audit);

#endif
