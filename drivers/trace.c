/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * trace: an interpose layer that writes a readable line for every read and write of a link, with its bench
 * time: 1.002000000 > VOLT 0.8,(@1)\n A trace that cannot be written never fails the link. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/text.h"
#include "drivers/transport.h"

enum { SHOWN_MAX = 256 }; /* bytes of one read or write that are shown */

struct trace {
    struct transport base;
    const struct transport_env *env;
    struct transport *inner;
    FILE *file;
};

static void trace_line(struct trace *t, char way, const void *data, size_t n)
{
    char text[4 * SHOWN_MAX + 8];
    int64_t now_ns = clock_now(t->env->clock);
    text_escape(data, n < SHOWN_MAX ? n : SHOWN_MAX, text, sizeof text);
    fprintf(t->file, "%lld.%09lld %c %s%s\n", now_ns / NS_PER_S, now_ns % NS_PER_S, way, text,
            n > SHOWN_MAX ? " ..." : "");
}

static int trace_read(struct transport *transport, void *data, size_t size, int64_t deadline_ns,
                      size_t *ret_n, struct error *err)
{
    struct trace *t = (struct trace *)transport;
    size_t n = 0;
    int code = transport_read(t->inner, data, size, deadline_ns, &n, err);
    if (code) {
        trace_line(t, '!', error_name(code), strlen(error_name(code)));
        return code;
    }
    trace_line(t, '<', data, n);
    *ret_n = n;
    return 0;
}

static int trace_write(struct transport *transport, const void *data, size_t n, int64_t deadline_ns,
                       struct error *err)
{
    struct trace *t = (struct trace *)transport;
    trace_line(t, '>', data, n);
    return transport_write(t->inner, data, n, deadline_ns, err);
}

static void trace_flush(struct transport *transport)
{
    transport_flush(((struct trace *)transport)->inner);
}

static void trace_close(struct transport *transport)
{
    struct trace *t = (struct trace *)transport;
    transport_close(t->inner);
    fclose(t->file);
    free(t);
}

static int trace_fd(const struct transport *transport)
{
    const struct transport *inner = ((const struct trace *)transport)->inner;
    return inner->ops->fd(inner);
}

static const struct transport_ops TRACE = {
    .prefix = "trace",
    .read = trace_read,
    .write = trace_write,
    .flush = trace_flush,
    .close = trace_close,
    .fd = trace_fd,
};

int transport_trace(const struct transport_env *env, const char *name, struct transport *inner,
                    struct transport **ret, struct error *err)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s.wire", env->trace_dir, name);
    struct trace *t = calloc(1, sizeof *t);
    FILE *file = t ? fopen(path, "ae") : NULL;
    if (!file) {
        int code =
            t ? error_set_errno(err, errno, "wire trace %s", path) : error_set(err, ERR_MEMORY, "trace");
        free(t);
        transport_close(inner);
        return code;
    }
    setvbuf(file, NULL, _IOLBF, 0);
    *t = (struct trace){ .base.ops = &TRACE, .env = env, .inner = inner, .file = file };
    *ret = &t->base;
    return 0;
}
