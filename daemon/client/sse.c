/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * sse: reads a stream of server-sent events (the part of the format that our server writes: one data line an
 * event).
 */
#include "daemon/client/sse.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *field(const char *line, const char *name)
{
    size_t length = strlen(name);

    if (strncmp(line, name, length) != 0 || line[length] != ':')
        return NULL;
    line += length + 1;
    return *line == ' ' ? line + 1 : line;
}

/* One line without its end. An empty one ends an event. */
static int take_line(struct sse *sse, sse_fn *each, void *context)
{
    struct sse_event *event = &sse->event;
    const char *value;
    int rc = 0;

    if (sse->length == 0) {
        if (sse->has_data)
            rc = each(context, event);
        sse->has_data = false;
        event->kind[0] = '\0';
        return rc;
    }
    if ((value = field(sse->line, "id")) != NULL) {
        event->id = strtoull(value, NULL, 10);
    } else if ((value = field(sse->line, "event")) != NULL) {
        snprintf(event->kind, sizeof event->kind, "%.*s", SSE_KIND_MAX - 1, value);
    } else if ((value = field(sse->line, "data")) != NULL) {
        memmove(event->data, value, strlen(value) + 1);
        sse->has_data = true;
    }
    return 0;
}

int sse_feed(struct sse *sse, const char *bytes, size_t count, sse_fn *each, void *context)
{
    for (size_t i = 0; i < count; i++) {
        if (bytes[i] == '\r')
            continue;
        if (bytes[i] != '\n') {
            if (sse->length == SSE_LINE_MAX - 1)
                sse->too_long = true;
            else
                sse->line[sse->length++] = bytes[i];
            continue;
        }
        sse->line[sse->length] = '\0';
        int rc = sse->too_long ? 0 : take_line(sse, each, context);
        sse->length = 0;
        sse->too_long = false;
        if (rc != 0)
            return rc;
    }
    return 0;
}
