/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * interpose_delay: {"layer": "delay", "between_s": 0.1} keeps the link quiet that long before each message:
 * for instruments that lose what follows too soon on a command or on their own answer. */
#include "drivers/interpose.h"

#define BETWEEN_MAX_S 1.0 /* drivers wait longer than that for an answer */

struct delay {
    struct interpose_link link; /* first */
    int64_t between_ns, quiet_from_ns;
};

static void touched(struct delay *d)
{
    d->quiet_from_ns = clock_now(d->link.env->clock);
}

static int delay_read(struct transport *transport, void *data, size_t size, int64_t deadline_ns,
                      size_t *ret_n, struct error *err)
{
    int code = interpose_pass_read(transport, data, size, deadline_ns, ret_n, err);
    if (!code)
        touched((struct delay *)transport);
    return code;
}

static int delay_write(struct transport *transport, const void *data, size_t n, int64_t deadline_ns,
                       struct error *err)
{
    struct delay *d = (struct delay *)transport;
    int code = clock_sleep_until(d->link.env->actor, d->quiet_from_ns + d->between_ns, d->link.env->cut_fd);
    if (code)
        return error_set(err, code, "cut by a safe request");
    code = interpose_pass_write(transport, data, n, deadline_ns, err);
    touched(d);
    return code;
}

static const struct transport_ops DELAY = {
    .prefix = "delay",
    .read = delay_read,
    .write = delay_write,
    .flush = interpose_pass_flush,
    .close = interpose_pass_close,
    .fd = interpose_pass_fd,
};

static void read_layer(const struct json_at *at, struct interpose_layer *ret)
{
    static const char *const KNOWN[] = { "layer", "between_s", NULL };
    json_only(at, KNOWN);
    ret->delay.between_s = json_double(at, "between_s", true, 0, BETWEEN_MAX_S, 0);
}

static int open_layer(const struct transport_env *env, const char *name, struct interpose_layer *layer,
                      struct transport *inner, struct transport **ret, struct error *err)
{
    struct delay *d = NULL;
    (void)name;
    int code = interpose_new(sizeof *d, &DELAY, env, inner, &d, err);
    if (code)
        return code;
    d->between_ns = (int64_t)(layer->delay.between_s * 1e9);
    touched(d); /* whoever was connected before may have just spoken */
    *ret = &d->link.base;
    return 0;
}

const struct interpose_ops interpose_delay = { .name = "delay", .read = read_layer, .open = open_layer };
