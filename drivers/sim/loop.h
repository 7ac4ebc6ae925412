/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * loop: the single-threaded event loop of nightbench-sim. It owns time (a clock server in virtual mode), the
 * links to the outside (TCP listeners and pseudo-terminals) and the timers. Everything below runs on the
 * loop's thread, but sim_loop_stop().
 *
 * Virtual time: incoming bytes of accounted links are collected until every actor is blocked and every byte
 * has arrived; then they are handed to their devices in (rank of the client, sequence) order; then exactly
 * one event, the earliest by (time, rank, sequence), is performed: a timer of the world (rank -1), bytes due
 * at a client, or an actor's deadline. A client that is no actor (a third-party tool) is served at once. Real
 * time: the same events on the host's monotonic clock, counted from the start of the loop. */
#ifndef DRIVERS_SIM_LOOP_H
#define DRIVERS_SIM_LOOP_H

#include <stddef.h>

#include "daemon/base/error.h"

enum { SIM_LINKS_MAX = 48, SIM_CLIENTS_MAX = 4, SIM_EVENTS_MAX = 65536, SIM_NAME_MAX = 48 };
/* Of those, kept for timers: answers that a client does not fetch must not stop the world. */
enum { SIM_TIMERS_MAX = 4096 };

struct sim_loop;
struct sim_link;

/* dir: where sockets and pty symlinks go; must exist. seed keys the pieces and the faults. */
int sim_loop_open(const char *dir, bool is_virtual, uint64_t seed, struct sim_loop **ret_loop,
                  struct error *err);
void sim_loop_close(struct sim_loop *loop);
/* Until sim_loop_stop(). */
int sim_loop_run(struct sim_loop *loop, struct error *err);
/* Any thread, and from a signal handler. */
void sim_loop_stop(struct sim_loop *loop);
/* Virtual time, or host time since the start. */
int64_t sim_now(const struct sim_loop *loop);
bool sim_is_virtual(const struct sim_loop *loop);

/* ---- Timers ---- */
typedef void (*sim_timer_fn)(void *context, int64_t now_ns);
/* Calls at at_ns (at once, but never from inside this call, when that is past). Returns an id > 0. When
 * SIM_EVENTS_MAX are pending it returns 0 and the loop ends with ERR_FULL: no instrument could go on, so that
 * no caller need ask. */
uint64_t sim_at(struct sim_loop *loop, int64_t at_ns, sim_timer_fn fn, void *context);
void sim_cancel(struct sim_loop *loop, uint64_t id);

/* ---- Descriptors of other services (the ground-truth socket): level-triggered, served at once ---- */
typedef void (*sim_fd_fn)(void *context, int fd, uint32_t epoll_events);
int sim_fd_add(struct sim_loop *loop, int fd, uint32_t epoll_events, sim_fd_fn fn, void *context,
               struct error *err);
void sim_fd_remove(struct sim_loop *loop, int fd);

/* ---- Links ---- */
enum sim_link_kind { SIM_LINK_TCP, SIM_LINK_PTY };

struct sim_link_options {
    const char *name; /* of the instrument: names the pty symlink DIR/name */
    int kind;         /* enum sim_link_kind */
    int port;         /* TCP: 0 = any */
    int clients_max;  /* TCP: further clients are closed at once; 1..SIM_CLIENTS_MAX, 0 = 1 */
    bool whole;       /* answers in one piece; else split in 1..4 by a keyed draw */
};

/* What a device does on its link. All may be NULL. client: 0..SIM_CLIENTS_MAX-1. */
struct sim_link_ops {
    void (*on_open)(void *context, int client);
    void (*on_bytes)(void *context, int client, const uint8_t *bytes, size_t n);
    void (*on_close)(void *context, int client);
    void (*on_reboot)(void *context); /* power lost and back: forget everything, outputs off */
};

int sim_link_open(struct sim_loop *loop, const struct sim_link_options *options,
                  const struct sim_link_ops *ops, void *context, struct sim_link **ret_link,
                  struct error *err);
/* Delivers a copy of the bytes at at_ns (now when past), never before what was sent earlier to that client.
 * Dropped when the client has gone. */
void sim_link_send(struct sim_link *link, int client, const void *bytes, size_t n, int64_t at_ns);
/* Power-cycles the device: drops its clients, then on_reboot. */
void sim_link_reboot(struct sim_link *link);
/* Drops the client (TCP) now. */
void sim_link_disconnect(struct sim_link *link, int client);
/* "tcp:127.0.0.1:PORT" or "serial:DIR/NAME". */
const char *sim_link_resource(const struct sim_link *link);
const char *sim_link_name(const struct sim_link *link);
/* Who is called with its bytes: the device that it was opened for. */
void *sim_link_context(const struct sim_link *link);
/* By name; NULL when unknown. */
struct sim_link *sim_link_find(struct sim_loop *loop, const char *name);

/* ---- Faults of a link, for tests ---- */
enum sim_fault_kind {
    SIM_FAULT_NONE,
    SIM_FAULT_SILENCE,    /* answers are swallowed */
    SIM_FAULT_DELAY,      /* answers come value seconds later */
    SIM_FAULT_TRUNCATE,   /* the second half of an answer is lost; of answers of value bytes or more */
    SIM_FAULT_GARBAGE,    /* an answer's bytes are replaced by noise of the same length */
    SIM_FAULT_WRONG,      /* a well-formed answer with another value (a digit or a bit differs) */
    SIM_FAULT_DISCONNECT, /* the client is dropped instead of answered */
    SIM_FAULT_DEAF,       /* a lie: what comes in is acknowledged by nobody and acted on by nobody */
    /* Quirks of links, for the interpose layers that cure them; `count` messages to the instrument. */
    SIM_FAULT_ECHO,    /* what comes in is sent back before it is heard */
    SIM_FAULT_OVERRUN, /* what comes sooner than value seconds after the last answer or message is lost */
    SIM_FAULT_CR       /* lines end with a carriage return, both ways */
};
/* The next `count` answers are hit (-1: until cleared), after `skip` good ones. */
struct sim_fault {
    int kind;
    int count, skip;
    double value;
};
void sim_link_fault(struct sim_link *link, const struct sim_fault *fault);
/* kind of a name ("silence"); -1 when unknown. */
int sim_fault_kind(const char *name);

#endif
