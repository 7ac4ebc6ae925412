/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * queue: what people ask of the queue: to add a run, to look, to change, to hold. A campaign is checked when
 * it comes in, so that its mistakes are told to whoever can mend them; it is kept as text, so that it is what
 * was asked for, whatever becomes of the file. Threads that may wait for the store. */
#ifndef DAEMON_QUEUE_H
#define DAEMON_QUEUE_H

#include "daemon/daemon.h"

/* See struct command. */
int queue_start_run(struct daemon *daemon, const struct command_start *start, cJSON **ret,
                    struct json_problems *problems, struct error *err);
int queue_document(struct daemon *daemon, cJSON **ret, struct error *err);
int queue_entry_document(struct daemon *daemon, const char *run, cJSON **ret, struct error *err);
int queue_edit_entry(struct daemon *daemon, const char *run, const struct command_start *changes, cJSON **ret,
                     struct json_problems *problems, struct error *err);
int queue_move_entry(struct daemon *daemon, const char *run, int place, cJSON **ret, struct error *err);
int queue_remove_entry(struct daemon *daemon, const char *run, cJSON **ret, struct error *err);
int queue_hold_all(struct daemon *daemon, const char *who, const char *reason, cJSON **ret,
                   struct error *err);
int queue_release_all(struct daemon *daemon, cJSON **ret, struct error *err);
/* A person has cleared a trip: what a run's end has held goes on. */
void queue_cleared(struct daemon *daemon);

#endif
