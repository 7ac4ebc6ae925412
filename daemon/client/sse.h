/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * sse: reads a stream of server-sent events from pieces of any size. Pure.
 */
#ifndef DAEMON_CLIENT_SSE_H
#define DAEMON_CLIENT_SSE_H

#include <stddef.h>
#include <stdint.h>

#include "daemon/base/error.h"

enum { SSE_LINE_MAX = 4096, SSE_KIND_MAX = 32 };

struct sse_event {
    uint64_t id; /* the last one seen when the event has none */
    char kind[SSE_KIND_MAX];
    char data[SSE_LINE_MAX];
};

/* Return 0 to go on; anything else ends the reading and is returned. */
typedef int sse_fn(void *context, const struct sse_event *event);

struct sse {
    char line[SSE_LINE_MAX];
    size_t length;
    bool too_long; /* the rest of this line is dropped, and its event with it */
    struct sse_event event;
    bool has_data;
};

/* A zeroed struct sse is ready. */
int sse_feed(struct sse *sse, const char *bytes, size_t count, sse_fn *each, void *context);

#endif
