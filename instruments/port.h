/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * port: one thread per physical link, for the instrument on it, or for all of them where several share a line
 * (units of a Modbus line): they are served in turn, out of one queue. It alone touches the link; everybody
 * else posts requests to its queue, which is ordered safe > normal. A safe request cuts the transaction that
 * is pending; the link is then brought back to a message boundary before the safe request goes out. A broken
 * link is connected again with back-off, and the identity of what answers is checked each time. Hosts any
 * driver, in the daemon (links that only measure) and in the keeper. */
#ifndef INSTRUMENTS_PORT_H
#define INSTRUMENTS_PORT_H

#include "instruments/bench.h"
#include "instruments/message.h"

enum port_priority { PORT_SAFE, PORT_NORMAL, PORT_PRIORITIES };
enum { PORT_QUEUE_MAX = 256 };

struct port;

/* Owned by the poster, untouched by it from port_post until `done` is called. */
struct port_request {
    struct message message; /* in; then the answer */
    uint8_t *payload;       /* room bytes; in, then the answer's */
    size_t room;
    struct error error; /* detail when message.code is not 0 */
    int priority;
    /* On the port's thread (or in port_post's or port_close's caller, when refused). Must not block. */
    void (*done)(struct port_request *request);
    void *context;
    struct port_request *next; /* the port's */
};

struct port_options {
    struct clock *clock;
    const char *links_path, *trace_dir; /* or NULL; borrowed */
};

/* Starts the thread for an instrument of the file (borrowed), and for those that share its line, and returns
 * when the thread is an actor; the first connect follows by itself. Requests say which instrument they are
 * for. Virtual time stands still meanwhile if the caller is a running actor. */
int port_open(const struct bench_file *file, int instrument, const struct port_options *options,
              struct port **ret, struct error *err);
/* Cuts what is pending, completes what is queued with ERR_CANCELLED, joins the thread. */
void port_close(struct port *port);
/* Any thread. Completes with ERR_FULL when PORT_QUEUE_MAX are waiting. A request of priority PORT_SAFE cuts.
 */
void port_post(struct port *port, struct port_request *request);
/* Completes every queued request below PORT_SAFE with this code, and cuts a pending one. Any thread. */
void port_drop(struct port *port, int code, const char *why);

/* How one instrument of it is, as port_health_json() says. Any thread; never waits. */
cJSON *port_health_of(const struct port *port, int instrument);

#endif
