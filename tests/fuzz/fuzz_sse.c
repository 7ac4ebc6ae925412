/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * fuzz_sse: a stream of server-sent events. The same bytes give the same events however they were cut up.
 *
 * sources: daemon/base/error.c daemon/base/text.c daemon/client/sse.c
 * aims: daemon/client/sse.c
 * edges: 25 */
#include "daemon/client/sse.h"

#include "tests/fuzz/fuzz.h"

enum { EVENTS_MAX = 64 };

struct seen {
    int count;
    uint64_t id[EVENTS_MAX];
    size_t kind[EVENTS_MAX], data[EVENTS_MAX];
};

static int note(void *context, const struct sse_event *event)
{
    struct seen *seen = context;

    FUZZ_CHECK(strnlen(event->kind, SSE_KIND_MAX) < SSE_KIND_MAX);
    FUZZ_CHECK(strnlen(event->data, SSE_LINE_MAX) < SSE_LINE_MAX);
    if (seen->count == EVENTS_MAX)
        return 7;
    seen->id[seen->count] = event->id;
    seen->kind[seen->count] = strlen(event->kind);
    seen->data[seen->count++] = strlen(event->data);
    return 0;
}

static void read_stream(const uint8_t *data, size_t size, size_t piece, struct seen *seen)
{
    static struct sse sse;
    int code = 0;

    memset(&sse, 0, sizeof sse);
    memset(seen, 0, sizeof *seen);
    for (size_t at = 0; at < size && code == 0; at += piece)
        code = sse_feed(&sse, (const char *)data + at, piece < size - at ? piece : size - at, note, seen);
    FUZZ_CHECK(code == 0 || code == 7);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct seen whole, pieces;
    struct fuzz_input in = { data, size };
    size_t piece = fuzz_take(&in, 1) + 1u;

    read_stream(in.data, in.size, in.size + 1, &whole);
    read_stream(in.data, in.size, piece, &pieces);
    FUZZ_CHECK(memcmp(&whole, &pieces, sizeof whole) == 0);
    return 0;
}
