/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * loop_private: what loop.c (events, time), clock_server.c (actors) and link.c (bytes) share. Nobody else. */
#ifndef DRIVERS_SIM_LOOP_PRIVATE_H
#define DRIVERS_SIM_LOOP_PRIVATE_H

#include <sys/un.h>

#include "daemon/base/clock.h"
#include "drivers/sim/loop.h"

enum {
    WATCHES_MAX = 512,
    CONNECTIONS_MAX = CLOCK_ACTORS_MAX + 16, /* actors and passing requests (hello, evict) */
    INPUT_MAX = 16 << 20,                    /* bytes of one client that wait to be handled */
    RANK_WORLD = -1                          /* physics comes before whoever looks at it */
};

/* Something due at a time: a timer (fn) or bytes for a client (link). */
struct sim_event {
    int64_t at_ns;
    int32_t rank;
    uint64_t seq; /* also the id */
    sim_timer_fn fn;
    void *context;
    struct sim_link *link;
    int client;
    uint32_t generation; /* of that client: what is late for a gone client is dropped */
    uint8_t *bytes;      /* owned */
    size_t n;
};

struct watch {
    int fd; /* -1: free */
    uint32_t generation;
    sim_fd_fn fn;
    void *context;
};

struct connection {
    int fd; /* -1: free */
    int slot;
    int pid;
    uint64_t nudged; /* word at which the actor was last nudged */
};

struct client {
    int fd; /* -1: free */
    uint32_t generation, key;
    bool ended;              /* the other end has closed, but what it said last is not handled yet */
    int page_link;           /* slot in the clock page, -1: a third party */
    uint32_t page_opened;    /* which user of that slot */
    int rank;                /* of the actor behind it */
    uint64_t received, sent; /* since it was matched */
    uint64_t burst;          /* received since the last hand-over */
    int64_t last_at_ns;      /* of the latest answer scheduled */
    uint64_t answers;        /* counted, to key draws */
    uint8_t *in;
    size_t in_n, in_size;
    uint8_t *out;
    size_t out_n, out_size;
    int64_t heard_ns;         /* when the last message came */
    uint64_t waiting_sum;     /* counters when last seen undrained */
    int64_t waiting_since_ns; /* host time of that; 0: drained */
    bool asked, parked;       /* the client was woken to look at what lies there; and left it there */
    int64_t leaving_since_ns; /* host time when its actor closed the slot; 0: it has not */
    uint64_t stray;           /* bytes that the last actor sent into a terminal, still to be read; since: */
    int64_t stray_since_ns;
};

struct sim_link {
    struct sim_loop *loop;
    int index, kind, clients_max;
    bool whole;
    char name[SIM_NAME_MAX], resource[160], pty_path[128];
    int listen_fd, slave_fd;
    struct sim_link_ops ops;
    void *context;
    struct sim_fault fault;
    struct client client[SIM_CLIENTS_MAX];
};

struct sim_loop {
    bool is_virtual, started;
    bool full; /* a timer did not fit: physics would go on without it */
    _Atomic bool stop;
    uint64_t seed;
    int64_t start_ns;
    int epoll_fd, stop_fd, timer_fd;
    char dir[96];
    struct watch watch[WATCHES_MAX];

    struct sim_event *heap; /* a binary heap by (time, rank, sequence) */
    int heap_n, heap_size;
    uint64_t next_seq;

    struct sim_link *link[SIM_LINKS_MAX];
    int link_n;

    struct clock_page *page; /* NULL in real time */
    int page_fd, server_fd;
    char server_path[sizeof((struct sockaddr_un *)NULL)->sun_path];
    struct connection connection[CONNECTIONS_MAX];
    uint64_t seen_sum;             /* of the actors' words when all were blocked */
    uint32_t met[CLOCK_LINKS_MAX]; /* the opening of each link in the page whose connection was accepted */
    int64_t expecting_since_ns;    /* host time since which one is not; 0: all are */
};

/* clock_server.c */
int clock_server_open(struct sim_loop *loop, struct error *err);
void clock_server_close(struct sim_loop *loop);
/* BLOCKED is exact: at one instant during the call, all were. ASLEEP: some were woken for nothing they poll
 * for, or have not got up yet; nobody else runs, so nobody else will tell. */
enum actors_state { ACTORS_NONE, ACTORS_RUNNING, ACTORS_ASLEEP, ACTORS_BLOCKED };
enum actors_state clock_server_actors(struct sim_loop *loop);
/* Whether no actor has got up since clock_server_actors() said BLOCKED: what was read of them in between
 * (deadlines, bytes) belongs together. One may get up without any reason in virtual time: a late nudge, a
 * limit in host time, a heartbeat. It has no deadline then, and would be passed over. */
bool clock_server_unmoved(const struct sim_loop *loop);
/* Physically wakes running actors that may sleep on an event which they had already consumed. */
void clock_server_nudge(struct sim_loop *loop);
/* Slot of the earliest deadline by (time, rank, name), or -1. */
int clock_server_earliest(const struct sim_loop *loop);
void clock_server_wake(struct sim_loop *loop, int slot);
void clock_server_notify(struct sim_loop *loop, int slot);

/* account.c */
/* Finds the actor's slot for this client; a pty may change hands, so the old match is checked too. */
void account_match(struct sim_loop *loop, struct client *client);
/* Wakes the actor behind the client: there is something to read, or room to write. */
void account_notify_owner(struct sim_loop *loop, const struct client *client);
/* Whether every byte of every accounted link has arrived at its other end, or lies there unwanted, and every
 * connection is accepted or ended. Only while all actors are blocked. */
bool account_all_drained(struct sim_loop *loop);

/* link.c */
void link_close(struct sim_link *link);
/* Performs a delivery. */
void link_deliver(struct sim_event *event);
/* Hands collected bytes to the devices in (rank, link) order. False when there were none. */
bool link_hand_over(struct sim_loop *loop);
/* Drops the clients behind the links of an actor and frees the links' slots. */
void link_forget_actor(struct sim_loop *loop, int slot, bool drop_clients);

/* fault.c: whether what has come in is to be ignored; spoils an answer (its number keys the noise), false
 * when nothing is to be sent, *n = 0 when the client is to be dropped. */
/* Whether what comes in is sent back. */
bool fault_echoes(struct sim_link *link);
/* Whether the instrument hears what comes in, quiet_ns after the last byte either way; may change it. */
bool fault_hears(struct sim_link *link, int64_t quiet_ns, uint8_t *bytes, size_t n);
bool fault_spoil(struct sim_link *link, uint64_t answer, uint8_t *bytes, size_t *n, int64_t *at_ns);

/* loop.c: takes the event's bytes. False (bytes freed) when SIM_EVENTS_MAX are pending. */
bool loop_schedule(struct sim_loop *loop, const struct sim_event *event);

#endif
