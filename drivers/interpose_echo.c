/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * interpose_echo: {"layer": "echo"} takes away what a link sends back of what was sent: two-wire RS-485
 * adapters that hear themselves, terminals. The echo is read within the write, so that no driver meets it and
 * a link that does not echo is found out at once. */
#include <string.h>

#include "daemon/base/text.h"
#include "drivers/interpose.h"

enum { CHUNK = 256 }; /* sent before its echo is read: less than any buffer on the way holds */

static int take_echo(struct interpose_link *link, const uint8_t *sent, size_t n, int64_t deadline_ns,
                     struct error *err)
{
    uint8_t back[CHUNK];
    char wanted_text[80], found_text[80];
    for (size_t done = 0; done < n;) {
        size_t got = 0;
        int code = transport_read(link->inner, back, n - done, deadline_ns, &got, err);
        if (code == ERR_TIMEOUT)
            return error_set(err, ERR_TIMEOUT, "%zu of %zu bytes were echoed: layer 'echo' expects all", done,
                             n);
        if (code)
            return code;
        if (memcmp(back, sent + done, got) != 0) {
            text_escape(sent + done, got < 16 ? got : 16, wanted_text, sizeof wanted_text);
            text_escape(back, got < 16 ? got : 16, found_text, sizeof found_text);
            return error_set(err, ERR_GARBAGE, "'%s' was sent and '%s' echoed", wanted_text, found_text);
        }
        done += got;
    }
    return 0;
}

static int echo_write(struct transport *transport, const void *data, size_t n, int64_t deadline_ns,
                      struct error *err)
{
    struct interpose_link *link = (struct interpose_link *)transport;
    const uint8_t *next = data;
    int code = 0;
    while (n > 0 && !code) {
        size_t part = n < CHUNK ? n : CHUNK;
        code = transport_write(link->inner, next, part, deadline_ns, err);
        if (!code)
            code = take_echo(link, next, part, deadline_ns, err);
        next += part;
        n -= part;
    }
    return code;
}

static const struct transport_ops ECHO_LINK = {
    .prefix = "echo",
    .read = interpose_pass_read,
    .write = echo_write,
    .flush = interpose_pass_flush,
    .close = interpose_pass_close,
    .fd = interpose_pass_fd,
};

static void read_layer(const struct json_at *at, struct interpose_layer *ret)
{
    static const char *const KNOWN[] = { "layer", NULL };
    (void)ret;
    json_only(at, KNOWN);
}

static int open_layer(const struct transport_env *env, const char *name, struct interpose_layer *layer,
                      struct transport *inner, struct transport **ret, struct error *err)
{
    struct interpose_link *link = NULL;
    (void)name;
    (void)layer;
    int code = interpose_new(sizeof *link, &ECHO_LINK, env, inner, &link, err);
    if (!code)
        *ret = &link->base;
    return code;
}

const struct interpose_ops interpose_echo = { .name = "echo", .read = read_layer, .open = open_layer };
