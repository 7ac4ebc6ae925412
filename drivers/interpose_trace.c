/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * interpose_trace: {"layer": "trace", "file": "/tmp/psu1.wire"} appends a readable line for every read and
 * write that passes its place in the list, with its bench time: 1.002000000 > VOLT 0.8,(@1)\n A trace that
 * cannot be written never fails the link. What it wrote can be replayed (tests/wire/lab/replay.c). */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/base/text.h"
#include "drivers/interpose.h"

enum { SHOWN_MAX = 256 }; /* bytes of one read or write that are shown */

struct trace {
    struct interpose_link link; /* first */
    FILE *file;
};

static void trace_line(struct trace *t, char way, const void *data, size_t n)
{
    char text[4 * SHOWN_MAX + 8];
    int64_t now_ns = clock_now(t->link.env->clock);
    text_escape(data, n < SHOWN_MAX ? n : SHOWN_MAX, text, sizeof text);
    fprintf(t->file, "%lld.%09lld %c %s%s\n", now_ns / NS_PER_S, now_ns % NS_PER_S, way, text,
            n > SHOWN_MAX ? " ..." : "");
}

static int trace_read(struct transport *transport, void *data, size_t size, int64_t deadline_ns,
                      size_t *ret_n, struct error *err)
{
    struct trace *t = (struct trace *)transport;
    size_t n = 0;
    int code = interpose_pass_read(transport, data, size, deadline_ns, &n, err);
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
    trace_line((struct trace *)transport, '>', data, n);
    return interpose_pass_write(transport, data, n, deadline_ns, err);
}

static void trace_close(struct transport *transport)
{
    fclose(((struct trace *)transport)->file);
    interpose_pass_close(transport);
}

static const struct transport_ops TRACE = {
    .prefix = "trace",
    .read = trace_read,
    .write = trace_write,
    .flush = interpose_pass_flush,
    .close = trace_close,
    .fd = interpose_pass_fd,
};

int interpose_trace_open(const struct transport_env *env, const char *path, struct transport *inner,
                         struct transport **ret, struct error *err)
{
    struct trace *t = NULL;
    FILE *file = fopen(path, "ae");
    if (!file) {
        transport_close(inner);
        return error_set_errno(err, errno, "wire trace %s", path);
    }
    int code = interpose_new(sizeof *t, &TRACE, env, inner, &t, err);
    if (code) {
        fclose(file);
        return code;
    }
    setvbuf(file, NULL, _IOLBF, 0);
    t->file = file;
    *ret = &t->link.base;
    return 0;
}

static void read_layer(const struct json_at *at, struct interpose_layer *ret)
{
    static const char *const KNOWN[] = { "layer", "file", NULL };
    json_only(at, KNOWN);
    const char *file = json_string(at, "file", true, "");
    if (strlen(file) >= sizeof ret->trace.file || (file[0] && file[0] != '/')) {
        struct json_at member = json_member(at, "file", false);
        json_problem(&member, "/tmp/psu1.wire", "must be an absolute path of less than %d characters",
                     INTERPOSE_PATH_MAX);
        return;
    }
    snprintf(ret->trace.file, sizeof ret->trace.file, "%s", file);
}

static int open_layer(const struct transport_env *env, const char *name, struct interpose_layer *layer,
                      struct transport *inner, struct transport **ret, struct error *err)
{
    (void)name;
    return interpose_trace_open(env, layer->trace.file, inner, ret, err);
}

const struct interpose_ops interpose_trace = { .name = "trace", .read = read_layer, .open = open_layer };
