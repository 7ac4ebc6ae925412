/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * interpose_terminator: {"layer": "terminator", "send": "\r\n", "receive": "\r"} gives messages another end
 * than the line feed that drivers write and wait for. Blocks of bytes (#512345...) pass as they are. */
#include <stdio.h>
#include <string.h>

#include "drivers/interpose.h"
#include "drivers/scpi_link.h"

enum { RAW_MAX = 2048, LINE_MAX_N = 1024 };

struct terminator {
    struct interpose_link link; /* first */
    const struct interpose_layer *layer;
    struct scpi_framer framer; /* tells blocks from text */
    char held[INTERPOSE_END_MAX];
    size_t held_n; /* bytes that may begin an end */
    char out[RAW_MAX + INTERPOSE_END_MAX];
    size_t out_from, out_n;
};

static bool in_block(const struct terminator *t)
{
    return t->framer.header_digits > 0 || t->framer.block_left > 0;
}

static void give(struct terminator *t, char byte)
{
    t->out[t->out_n++] = byte;
    if (scpi_framer_take(&t->framer, byte))
        t->framer = (struct scpi_framer){ 0 };
}

static void take(struct terminator *t, char byte)
{
    const char *end = t->layer->terminator.receive;
    if (t->held_n == 0 && in_block(t)) {
        give(t, byte);
        return;
    }
    t->held[t->held_n++] = byte;
    if (t->held_n == strlen(end) && memcmp(t->held, end, t->held_n) == 0) {
        t->held_n = 0;
        give(t, '\n');
        return;
    }
    while (t->held_n > 0 && memcmp(t->held, end, t->held_n) != 0) {
        give(t, t->held[0]);
        memmove(t->held, t->held + 1, --t->held_n);
    }
}

static int terminator_read(struct transport *transport, void *data, size_t size, int64_t deadline_ns,
                           size_t *ret_n, struct error *err)
{
    struct terminator *t = (struct terminator *)transport;
    char raw[RAW_MAX];
    while (t->out_from == t->out_n) {
        size_t n = 0;
        t->out_from = t->out_n = 0;
        int code = interpose_pass_read(transport, raw, sizeof raw, deadline_ns, &n, err);
        if (code)
            return code;
        for (size_t i = 0; i < n; i++)
            take(t, raw[i]);
    }
    size_t n = t->out_n - t->out_from < size ? t->out_n - t->out_from : size;
    memcpy(data, t->out + t->out_from, n);
    t->out_from += n;
    *ret_n = n;
    return 0;
}

/* In one piece where it fits: two small ones wait for each other on a network. */
static int terminator_write(struct transport *transport, const void *data, size_t n, int64_t deadline_ns,
                            struct error *err)
{
    struct terminator *t = (struct terminator *)transport;
    const char *text = data, *end = t->layer->terminator.send;
    char line[LINE_MAX_N + INTERPOSE_END_MAX];
    size_t end_n = strlen(end);
    if (n == 0 || text[n - 1] != '\n')
        return interpose_pass_write(transport, data, n, deadline_ns, err);
    n--;
    if (n > LINE_MAX_N) {
        int code = interpose_pass_write(transport, data, n, deadline_ns, err);
        return code || end_n == 0 ? code : interpose_pass_write(transport, end, end_n, deadline_ns, err);
    }
    memcpy(line, text, n);
    memcpy(line + n, end, end_n);
    return n + end_n ? interpose_pass_write(transport, line, n + end_n, deadline_ns, err) : 0;
}

static void terminator_flush(struct transport *transport)
{
    struct terminator *t = (struct terminator *)transport;
    t->held_n = t->out_from = t->out_n = 0;
    t->framer = (struct scpi_framer){ 0 };
    interpose_pass_flush(transport);
}

static const struct transport_ops TERMINATOR = {
    .prefix = "terminator",
    .read = terminator_read,
    .write = terminator_write,
    .flush = terminator_flush,
    .close = interpose_pass_close,
    .fd = interpose_pass_fd,
};

static void read_end(const struct json_at *at, const char *key, bool may_be_empty,
                     char end[INTERPOSE_END_MAX + 1])
{
    const char *text = json_string(at, key, false, "\n");
    size_t n = strlen(text);
    if (n > INTERPOSE_END_MAX || (n == 0 && !may_be_empty)) {
        struct json_at member = json_member(at, key, false);
        json_problem(&member, "\\r\\n", "must be %d to %d characters", may_be_empty ? 0 : 1,
                     INTERPOSE_END_MAX);
        return;
    }
    memcpy(end, text, n + 1);
}

static void read_layer(const struct json_at *at, struct interpose_layer *ret)
{
    static const char *const KNOWN[] = { "layer", "send", "receive", NULL };
    json_only(at, KNOWN);
    read_end(at, "send", true, ret->terminator.send);
    read_end(at, "receive", false, ret->terminator.receive);
}

static int open_layer(const struct transport_env *env, const char *name, struct interpose_layer *layer,
                      struct transport *inner, struct transport **ret, struct error *err)
{
    struct terminator *t = NULL;
    (void)name;
    int code = interpose_new(sizeof *t, &TERMINATOR, env, inner, &t, err);
    if (code)
        return code;
    t->layer = layer;
    *ret = &t->link.base;
    return 0;
}

const struct interpose_ops interpose_terminator = {
    .name = "terminator", .lines_only = true, .read = read_layer, .open = open_layer
};
