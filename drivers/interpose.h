/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * interpose: layers between a driver and its transport, for quirks of links that no driver should know. A
 * bench file lists them for an instrument, from the driver to the wire; each is one small file,
 * drivers/interpose_NAME.c, that is a transport over another transport. A layer belongs to the thread of its
 * port. */
#ifndef DRIVERS_INTERPOSE_H
#define DRIVERS_INTERPOSE_H

#include "daemon/base/json.h"
#include "drivers/transport.h"

enum { INTERPOSE_LAYERS_MAX = 8, INTERPOSE_END_MAX = 4, INTERPOSE_PATH_MAX = 160 };

/* What the fault layer does to the answer to one write. */
enum interpose_fault {
    INTERPOSE_SILENCE,    /* it does not come */
    INTERPOSE_SLOW,       /* a byte at a time */
    INTERPOSE_GARBAGE,    /* noise of its length */
    INTERPOSE_TRUNCATION, /* its second half does not come */
    INTERPOSE_DUPLICATE,  /* it comes twice */
    INTERPOSE_DISCONNECT, /* the link breaks */
    INTERPOSE_FAULTS
};

struct interpose_ops;

/* One layer and its settings. */
struct interpose_layer {
    const struct interpose_ops *ops;
    union {
        struct {
            double between_s;
        } delay;
        struct {
            uint64_t seed, asked, struck; /* asked: outlives connections, or each would begin alike */
            double chance[INTERPOSE_FAULTS], byte_s;
        } fault;
        struct {
            char send[INTERPOSE_END_MAX + 1], receive[INTERPOSE_END_MAX + 1];
        } terminator;
        struct {
            char file[INTERPOSE_PATH_MAX];
        } trace;
    };
};

struct interpose {
    int count;
    struct interpose_layer layer[INTERPOSE_LAYERS_MAX]; /* the first one is the driver's neighbour */
};

struct interpose_ops {
    const char *name;
    bool lines_only; /* makes sense only where messages are lines of text */
    /* Takes the layer's settings from its object, where "layer" has been read already. */
    void (*read)(const struct json_at *at, struct interpose_layer *ret);
    /* Wraps: takes inner over, also on failure (then it is closed). */
    int (*open)(const struct transport_env *env, const char *name, struct interpose_layer *layer,
                struct transport *inner, struct transport **ret, struct error *err);
};

/* The registry: one line per layer, alphabetical. */
#define INTERPOSE_LIST(X)                                                                                    \
    X(delay)                                                                                                 \
    X(echo)                                                                                                  \
    X(fault)                                                                                                 \
    X(terminator)                                                                                            \
    X(trace)

#define INTERPOSE_DECLARE(name) extern const struct interpose_ops interpose_##name;
INTERPOSE_LIST(INTERPOSE_DECLARE)
#undef INTERPOSE_DECLARE

/* The list of a bench file; every mistake goes into its problems. is_lines: the driver speaks lines. */
void interpose_read(const struct json_at *list, bool is_lines, struct interpose *ret);
/* The first layer of that kind, or NULL. layers may be NULL. */
const struct interpose_layer *interpose_find(const struct interpose *layers, const struct interpose_ops *ops);
/* Wraps inner into all layers of the environment; takes it over, also on failure (then it is closed). */
int interpose_wrap(const struct transport_env *env, const char *name, struct transport *inner,
                   struct transport **ret, struct error *err);
/* The trace layer by itself, for a path that is not in a bench file. */
int interpose_trace_open(const struct transport_env *env, const char *path, struct transport *inner,
                         struct transport **ret, struct error *err);

/* ---- For layers: first member of each, and the methods that only pass on ---- */
struct interpose_link {
    struct transport base;
    const struct transport_env *env;
    struct transport *inner;
};
/* A zeroed layer of `size` bytes over inner; takes inner over, also on failure. */
int interpose_new(size_t size, const struct transport_ops *ops, const struct transport_env *env,
                  struct transport *inner, void *ret_link, struct error *err);
int interpose_pass_read(struct transport *transport, void *data, size_t size, int64_t deadline_ns,
                        size_t *ret_n, struct error *err);
int interpose_pass_write(struct transport *transport, const void *data, size_t n, int64_t deadline_ns,
                         struct error *err);
void interpose_pass_flush(struct transport *transport);
void interpose_pass_close(struct transport *transport);
int interpose_pass_fd(const struct transport *transport);

#endif
