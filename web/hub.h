/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * hub: the daemon's events, formatted once and read by every event stream. One thread collects at most HUB_HZ
 * times a second; of several progress events in one collection only the last is kept. A stream that reads too
 * slowly is told that it has lost some ("gap"), never served stale ones silently.
 */
#ifndef WEB_HUB_H
#define WEB_HUB_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "daemon/command.h"

enum {
    HUB_HZ = 20,
    HUB_KEPT = 256,      /* events that a reconnecting stream can still get */
    HUB_TEXT_MAX = 1152, /* one formatted event */
    HUB_STREAMS_MAX = 1200,
    HUB_KEEPALIVE_S = 10 /* a comment this often on a silent stream */
};

struct hub;
struct hub_stream;

/* Pauses or resumes the connection of a stream. Called with the hub's lock held, so that no wake-up falls
 * between "nothing there" and "paused"; must not call the hub. */
typedef void (*hub_switch_fn)(void *context);

/* command is borrowed. Starts the hub's thread. */
int hub_open(const struct command *command, struct hub **ret_hub, struct error *err);
/* Resumes every stream and makes each read end, now and later. Idempotent. */
void hub_shut(struct hub *hub);
/* Every stream must have been closed. NULL is a no-op. */
void hub_close(struct hub *hub);
/* Changes with every event: a cached answer is as old as this. Any thread. */
uint64_t hub_generation(const struct hub *hub);

/* last_id: of the Last-Event-ID header, 0 none (then only what comes from now on). */
int hub_stream_open(struct hub *hub, uint64_t last_id, hub_switch_fn pause, hub_switch_fn resume,
                    void *context, struct hub_stream **ret_stream, struct error *err);
void hub_stream_close(struct hub_stream *stream);
/* Copies whole events. 0: none, and pause was called; negative: the stream has ended. size >= HUB_TEXT_MAX.
 */
ssize_t hub_stream_read(struct hub_stream *stream, char *out, size_t size);

#endif
