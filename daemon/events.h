/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * events: a ring of the last daemon events and the list of those who want to be woken by a new one. Any
 * thread; the lock is held for copies only, and never while a subscriber is called.
 */
#ifndef DAEMON_EVENTS_H
#define DAEMON_EVENTS_H

#include "daemon/command.h"

enum { EVENTS_KEPT = 256, EVENTS_SUBSCRIBERS_MAX = 8 };

struct events;

struct events *events_open(void);
void events_close(struct events *events);
/* Stamps the next id and wakes the subscribers. json longer than the field is replaced by {"truncated":true}.
 */
void events_post(struct events *events, const char *kind, const char *json);
/* As struct command: those after `after` that are still kept (0: all of them). */
int events_read(struct events *events, uint64_t after, struct daemon_event *out, int max);
uint64_t events_last(struct events *events);
int events_subscribe(struct events *events, void (*wake)(void *), void *wake_context);
void events_unsubscribe(struct events *events, void *wake_context);

#endif
