/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * transport: what carries the bytes of an instrument, picked by the prefix of its resource: "tcp:HOST:PORT",
 * "serial:PATH[?baud=N]", "usbtmc:/dev/usbtmcN", "prologix:tcp:HOST:PORT/ADDRESS",
 * "ftdi:VID:PID", "sim:" or "sim:NAME"
 * (looked up in the simulator's links.json by the instrument's name or by NAME); VISA strings are aliases
 * (drivers/visa.h). A transport belongs to the thread of its port. Every wait can be cut: when the
 * environment's cut descriptor is readable, calls return ERR_CANCELLED. */
#ifndef DRIVERS_TRANSPORT_H
#define DRIVERS_TRANSPORT_H

#include <stddef.h>

#include "daemon/base/clock.h"

struct interpose;
struct driver_line;

/* Where a driver lives: given by its port, valid as long as the port. */
struct transport_env {
    struct clock *clock;
    struct clock_actor *actor;   /* of the port's thread */
    int cut_fd;                  /* eventfd; readable while a safe request waits; -1 none */
    const char *links_path;      /* links.json of the simulator, or NULL */
    const char *trace_dir;       /* a readable log of every byte goes to TRACE_DIR/NAME.wire; NULL none */
    struct interpose *interpose; /* layers between driver and transport (drivers/interpose.h), or NULL */
    void **line; /* where the drivers of one port keep the line that they share; NULL: each has its own */
};

/* Host time. Virtual time stands still while a simulated peer is connected to or written to, and how long
 * that takes is the host's business: this only ends a wait for one that hangs. */
#define TRANSPORT_VIRTUAL_LIMIT_NS (30 * NS_PER_S)

struct transport;

/* All calls: 0 or a negative code. deadline_ns is bench time. NULL methods: none, every transport offers all.
 */
struct transport_ops {
    const char *prefix; /* without the colon */
    int (*open)(const struct transport_env *env, const char *name, const char *address,
                struct transport **ret, struct error *err);
    /* At least one byte, at most size. ERR_TIMEOUT at the deadline, ERR_LINK when the peer closed. */
    int (*read)(struct transport *transport, void *data, size_t size, int64_t deadline_ns, size_t *ret_n,
                struct error *err);
    /* All bytes. */
    int (*write)(struct transport *transport, const void *data, size_t n, int64_t deadline_ns,
                 struct error *err);
    /* Discards what has arrived; never waits. */
    void (*flush)(struct transport *transport);
    void (*close)(struct transport *transport);
    int (*fd)(const struct transport *transport);
};

/* First member of every transport. */
struct transport {
    const struct transport_ops *ops;
};

/* name is the instrument's bench name. */
int transport_open(const struct transport_env *env, const char *name, const char *resource,
                   struct transport **ret, struct error *err);
/* Resource of a link of the simulator by its name in links.json. */
int transport_sim_resource(const struct transport_env *env, const char *name, char *out, size_t size,
                           struct error *err);
int transport_read(struct transport *transport, void *data, size_t size, int64_t deadline_ns, size_t *ret_n,
                   struct error *err);
/* Exactly n bytes before the deadline. */
int transport_read_all(struct transport *transport, void *data, size_t n, int64_t deadline_ns,
                       struct error *err);
int transport_write(struct transport *transport, const void *data, size_t n, int64_t deadline_ns,
                    struct error *err);
void transport_flush(struct transport *transport);
/* Discards input until the line has been quiet for quiet_ns. */
int transport_drain(struct transport *transport, const struct transport_env *env, int64_t quiet_ns,
                    struct error *err);
void transport_close(struct transport *transport);

/* ---- For transports: a descriptor that carries bytes, with its accounting in virtual time ---- */
struct transport_stream {
    struct transport base;
    const struct transport_env *env;
    int fd, link;
    int64_t empty_ns; /* when a read last found less than it had room for */
};
int transport_stream_read(struct transport *transport, void *data, size_t size, int64_t deadline_ns,
                          size_t *ret_n, struct error *err);
int transport_stream_write(struct transport *transport, const void *data, size_t n, int64_t deadline_ns,
                           struct error *err);
void transport_stream_flush(struct transport *transport);
void transport_stream_close(struct transport *transport);
int transport_stream_fd(const struct transport *transport);

extern const struct transport_ops transport_ftdi, transport_tcp, transport_serial, transport_usbtmc,
    transport_prologix;
/* The adapter that a resource "prologix:...", or its VISA alias, is behind, as a line that several can share.
 * ERR_UNSUPPORTED: any other resource. */
int transport_line(const char *resource, struct driver_line *ret, struct error *err);
/* As transport_open, without "sim:", layers and trace: for transports that wrap. */
int transport_open_plain(const struct transport_env *env, const char *name, const char *resource,
                         struct transport **ret, struct error *err);

#endif
