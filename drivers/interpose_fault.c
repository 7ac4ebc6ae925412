/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * interpose_fault: {"layer": "fault", "seed": 7, "silence": 0.01, "garbage": 0.01} spoils the answers to
 * some messages: to which ones, the seed, the instrument's name and the count of messages decide, so that a
 * night can be repeated. For trying what a bench and its plans do when wires fail; the port says so in the
 * log and in every reading (READING_SIMULATED). */
#include <string.h>

#include "daemon/base/rng.h"
#include "drivers/interpose.h"

enum { KEPT_MAX = 4096, NONE = -1 };

#define BYTE_S     0.1 /* a byte of a slow answer, unless the file says otherwise */
#define BYTE_MAX_S 10.0

static const char *const CHANCES[INTERPOSE_FAULTS] = {
    [INTERPOSE_SILENCE] = "silence",     [INTERPOSE_SLOW] = "slow",
    [INTERPOSE_GARBAGE] = "garbage",     [INTERPOSE_TRUNCATION] = "truncation",
    [INTERPOSE_DUPLICATE] = "duplicate", [INTERPOSE_DISCONNECT] = "disconnect",
};

struct fault {
    struct interpose_link link; /* first */
    struct interpose_layer *layer;
    struct rng rng; /* of the present message */
    uint64_t entity;
    int kind; /* enum interpose_fault or NONE */
    bool broken;
    uint8_t kept[KEPT_MAX]; /* arrived, and not handed over yet */
    size_t kept_n;
    int64_t due_ns; /* of the next byte of a slow answer */
};

static int broken(struct error *err)
{
    return error_set(err, ERR_LINK, "the fault layer has broken the link");
}

static void draw(struct fault *f)
{
    rng_init(&f->rng, f->layer->fault.seed, "fault layer", f->entity, f->layer->fault.asked++, 0);
    double at = rng_uniform(&f->rng);
    f->kind = NONE;
    for (int i = 0; i < INTERPOSE_FAULTS && f->kind == NONE; i++) {
        if (at < f->layer->fault.chance[i])
            f->kind = i;
        at -= f->layer->fault.chance[i];
    }
    f->layer->fault.struck += f->kind != NONE;
}

static int fault_write(struct transport *transport, const void *data, size_t n, int64_t deadline_ns,
                       struct error *err)
{
    struct fault *f = (struct fault *)transport;
    if (!f->broken)
        draw(f);
    f->broken |= f->kind == INTERPOSE_DISCONNECT;
    return f->broken ? broken(err) : interpose_pass_write(transport, data, n, deadline_ns, err);
}

static size_t hand_over(struct fault *f, void *data, size_t n)
{
    memcpy(data, f->kept, n);
    f->kept_n -= n;
    memmove(f->kept, f->kept + n, f->kept_n);
    return n;
}

static void keep(struct fault *f, const uint8_t *bytes, size_t n)
{
    n = n < KEPT_MAX - f->kept_n ? n : KEPT_MAX - f->kept_n;
    memcpy(f->kept + f->kept_n, bytes, n);
    f->kept_n += n;
}

/* Takes what arrives until then; virtual time does not pass bytes that lie unread. */
static int keep_until(struct fault *f, int64_t until_ns, struct error *err)
{
    for (;;) {
        uint8_t bytes[1024];
        size_t n = 0;
        int code = transport_read(f->link.inner, bytes, sizeof bytes, until_ns, &n, err);
        if (code)
            return code;
        keep(f, bytes, n);
    }
}

static int read_slow(struct fault *f, uint8_t *data, int64_t deadline_ns, size_t *ret_n, struct error *err)
{
    int64_t byte_ns = (int64_t)(f->layer->fault.byte_s * 1e9);
    if (f->kept_n == 0) {
        size_t n = 0;
        uint8_t first;
        int code = transport_read(f->link.inner, &first, 1, deadline_ns, &n, err);
        if (code)
            return code;
        keep(f, &first, 1);
        f->due_ns = clock_now(f->link.env->clock) + byte_ns;
    }
    bool in_time = f->due_ns <= deadline_ns;
    int code = keep_until(f, in_time ? f->due_ns : deadline_ns, err);
    if (code != ERR_TIMEOUT || !in_time)
        return code;
    f->due_ns += byte_ns;
    *ret_n = hand_over(f, data, 1);
    return 0;
}

/* What has come of an answer; returns how much of it goes on. */
static size_t spoil(struct fault *f, uint8_t *bytes, size_t n)
{
    switch (f->kind) {
    case INTERPOSE_SILENCE:
        return 0;
    case INTERPOSE_TRUNCATION:
        f->kind = INTERPOSE_SILENCE;
        return n / 2;
    case INTERPOSE_DUPLICATE:
        keep(f, bytes, n);
        return n;
    case INTERPOSE_GARBAGE:
        for (size_t i = 0; i < n; i++)
            bytes[i] = (uint8_t)rng_below(&f->rng, 256);
        return n;
    default:
        return n;
    }
}

static int fault_read(struct transport *transport, void *data, size_t size, int64_t deadline_ns,
                      size_t *ret_n, struct error *err)
{
    struct fault *f = (struct fault *)transport;
    size_t n = 0;
    if (f->broken)
        return broken(err);
    if (f->kind == INTERPOSE_SLOW)
        return read_slow(f, data, deadline_ns, ret_n, err);
    if (f->kept_n > 0)
        n = hand_over(f, data, f->kept_n < size ? f->kept_n : size);
    while (n == 0) {
        int code = interpose_pass_read(transport, data, size, deadline_ns, &n, err);
        if (code)
            return code;
        n = spoil(f, data, n);
    }
    *ret_n = n;
    return 0;
}

static void fault_flush(struct transport *transport)
{
    ((struct fault *)transport)->kept_n = 0;
    interpose_pass_flush(transport);
}

static const struct transport_ops FAULT = {
    .prefix = "fault",
    .read = fault_read,
    .write = fault_write,
    .flush = fault_flush,
    .close = interpose_pass_close,
    .fd = interpose_pass_fd,
};

static void read_layer(const struct json_at *at, struct interpose_layer *ret)
{
    static const char *const KNOWN[] = { "layer",      "seed",      "silence",    "slow",   "garbage",
                                         "truncation", "duplicate", "disconnect", "byte_s", NULL };
    double sum = 0;
    json_only(at, KNOWN);
    ret->fault.seed = (uint64_t)json_integer(at, "seed", true, 0, INT64_MAX, 0);
    ret->fault.byte_s = json_double(at, "byte_s", false, 1e-3, BYTE_MAX_S, BYTE_S);
    for (int i = 0; i < INTERPOSE_FAULTS; i++) {
        ret->fault.chance[i] = json_double(at, CHANCES[i], false, 0, 1, 0);
        sum += ret->fault.chance[i];
    }
    if (!(sum > 0 && sum <= 1))
        json_problem(at, "\"silence\": 0.01", "the chances of the faults are %g together: 0 < sum <= 1", sum);
}

static int open_layer(const struct transport_env *env, const char *name, struct interpose_layer *layer,
                      struct transport *inner, struct transport **ret, struct error *err)
{
    struct fault *f = NULL;
    int code = interpose_new(sizeof *f, &FAULT, env, inner, &f, err);
    if (code)
        return code;
    f->layer = layer;
    f->entity = rng_entity(name);
    f->kind = NONE;
    *ret = &f->link.base;
    return 0;
}

const struct interpose_ops interpose_fault = { .name = "fault", .read = read_layer, .open = open_layer };
