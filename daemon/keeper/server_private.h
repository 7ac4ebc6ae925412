/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * server_private: what the two halves of the keeper's server share: server.c has the loop, the connections
 * and the death of processes; server_requests.c what a client may ask for. */
#ifndef DAEMON_KEEPER_SERVER_PRIVATE_H
#define DAEMON_KEEPER_SERVER_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "daemon/keeper/keeper.h"
#include "daemon/keeper/silence.h"

enum { LINKS_MAX = 64, JOBS_PER_LINK = 96, EVENTS_MAX = 16, SMALL_PAYLOAD = MESSAGE_TEXT_MAX };

struct server;

/* One connection. The I/O thread and every job in a port hold a reference. */
struct link {
    struct server *server;
    int fd, pid, slot; /* slot: of the client in the clock, -1 unknown */
    bool greeted, beats;
    int64_t beat_ns;
    struct silence silence;
    atomic_int references, jobs;
    struct link *next;
};

/* One request on its way through a port. Recycled: large ones are rare, small ones many. */
struct job {
    struct port_request request;
    struct link *link;
    struct job *next;
    double asked; /* value[0] of the request: its answer stands in the same place */
    size_t room;
    uint8_t payload[];
};

struct server {
    struct keeper *keeper;
    int epoll_fd, listen_fd, signal_fd;
    struct link *links;
    int link_count;
    bool had_client;
    int64_t idle_ns;            /* host time since which nobody is there and nothing armed; 0: not idle */
    int64_t again_ns, pause_ns; /* bench time: what stays tripped is answered again at, and this much later */
    uint8_t *frame;

    pthread_mutex_t lock; /* guards what follows; never held across I/O */
    struct job *free_small, *free_large;
};

/* ---- server.c ---- */
bool server_has_links(const struct server *server, int pid);
/* Ends every request below PORT_SAFE, waiting or pending, at every port. */
void server_drop_requests(struct server *server, int code, const char *why);
/* Gives one reference back; the last one closes. Any thread. */
void server_link_unref(struct link *link);

/* ---- server_requests.c ---- */
/* One message of a client: answered now, or by the port it goes to. */
void server_request(struct link *link, struct message *message, const uint8_t *payload);
void server_jobs_free(struct server *server);

#endif
