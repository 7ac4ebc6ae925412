/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * clock: every wait of a bench goes through here. A clock is real (the host's monotonic clock) or virtual
 * (time that the simulator's clock server moves). An ACTOR is one thread that waits on a clock: the runner,
 * a port, the sampler, the keeper's I/O thread. Threads that are not actors (recorder, HTTP, main) never wait
 * here.
 *
 * How virtual time stays exact. All actors of all processes share one page (a memfd handed over the server's
 * Unix socket at registration). Each actor has an eventcount word in it: bit 0 = blocked, upper bits = a
 * count that every waker bumps. Whoever makes an actor's descriptor readable (a queue post, a message to
 * another process, the simulator's reply) writes first and calls clock_notify() after. An actor about to
 * block reads its word, polls its descriptors without waiting, and sets the blocked bit only if the word has
 * not moved: a wake-up cannot be lost. The server moves time only when every actor is blocked and every byte
 * that left one end of a link was read at the other (clock_link_*): then it performs exactly one event, the
 * earliest by (time, rank, sequence): a reply that is due or an actor's deadline; and only if no actor has
 * got up since they were seen blocked, for one who is up (if only because of a heartbeat) shows no deadline.
 * That makes two runs with one seed identical. An actor that is running holds time still; so a wait for
 * something outside the virtual world (disk, HTTP) takes no virtual time. The registration socket's end of
 * file frees the actor, so a killed process cannot hold time for ever; a process that is stopped is removed
 * with clock_evict().
 */
#ifndef DAEMON_BASE_CLOCK_H
#define DAEMON_BASE_CLOCK_H

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>

#include "daemon/base/error.h"

#define CLOCK_NEVER INT64_MAX
#define NS_PER_S    1000000000LL
#define NS_PER_MS   1000000LL
#define NS_PER_US   1000LL

enum { CLOCK_ACTORS_MAX = 64, CLOCK_LINKS_MAX = 128, CLOCK_NAME_MAX = 32, CLOCK_PAGE_VERSION = 2 };

/* Fixed ranks: ties of equal virtual time are broken by rank, then by sequence. Ports take RANK_PORT + index.
 */
enum clock_rank {
    CLOCK_RANK_RUNNER = 0,
    CLOCK_RANK_SAMPLER = 1,
    CLOCK_RANK_KEEPER = 2,
    CLOCK_RANK_PORT = 16
};

/* A waker clears BLOCKED and adds COUNT; ASLEEP is cleared by the actor alone. Words only grow. */
enum clock_word { CLOCK_BLOCKED = 1, CLOCK_ASLEEP = 2, CLOCK_COUNT = 4 };

/* The shared page. Written by: server (now_ns), each actor (own slot), wakers (word), link ends (counters).
 */
struct clock_page {
    uint32_t version;
    _Atomic int64_t now_ns;
    struct clock_slot {
        _Atomic uint32_t in_use; /* 0 free; else pid of the owner */
        _Atomic uint64_t word;   /* enum clock_word bits, count above */
        _Atomic int64_t deadline_ns;
        int32_t rank;
        char name[CLOCK_NAME_MAX];
    } actor[CLOCK_ACTORS_MAX];
    struct clock_link {
        _Atomic uint32_t in_use;   /* 0 free; else actor slot + 1 */
        _Atomic uint32_t key;      /* local TCP port number of the actor's end, or pts number | 0x80000000 */
        _Atomic uint64_t sent;     /* bytes the actor has written */
        _Atomic uint64_t received; /* bytes the actor has read */
        int32_t rank;              /* of the owning actor: orders simultaneous commands */
        _Atomic uint32_t opened;   /* how often: tells the next user of a slot from the one before */
    } link[CLOCK_LINKS_MAX];
};

struct clock;       /* one per process and bench; thread-safe after clock_open */
struct clock_actor; /* one per thread; used by that thread alone */

/* path NULL or "": real clock (never fails but for memory). Else the Unix socket of a virtual clock server.
 */
int clock_open(const char *path, struct clock **ret_clock, struct error *err);
void clock_close(struct clock *clock);
bool clock_is_virtual(const struct clock *clock);
/* The server of a virtual clock has gone or has dropped this process: none of its actors can wait any more.
 * Any thread. */
bool clock_is_lost(const struct clock *clock);
/* Nanoseconds: CLOCK_MONOTONIC, or virtual time since the world began. Any thread. */
int64_t clock_now(const struct clock *clock);
/* Host monotonic nanoseconds, whatever the clock: heartbeats, deadlines of safety, durations for people. */
int64_t clock_host_now(void);
/* A condition whose timed waits end by clock_host_now(). */
void clock_host_cond_init(pthread_cond_t *cond);
/* Wall time, nanoseconds since the Unix epoch (host). */
int64_t clock_wall_now(void);
/* Asks the server to drop every actor and link of a process that is dead or stopped. No-op on a real clock.
 */
int clock_evict(struct clock *clock, int pid, struct error *err);

/* Registers the calling thread as an actor, in state running. */
int clock_actor_open(struct clock *clock, const char *name, int rank, struct clock_actor **ret_actor,
                     struct error *err);
void clock_actor_close(struct clock_actor *actor);
/* Slot number that wakers in other processes need; -1 on a real clock. */
int clock_actor_slot(const struct clock_actor *actor);
/* Process of the clock server; 0 on a real clock. */
int clock_server_pid(const struct clock_actor *actor);
/* The one blocking call: waits until a descriptor is ready (as poll) or deadline_ns of this clock
 * (CLOCK_NEVER: none). Returns the number of ready descriptors, 0 at the deadline, or a negative error code.
 * ERR_FENCED when the virtual clock is lost. A deadline in the past polls. Up to 14 descriptors.
 * host_limit_ns > 0 also ends the wait (returns ERR_TIMEOUT) after that much host time. */
int clock_poll(struct clock_actor *actor, struct pollfd *fds, int count, int64_t deadline_ns,
               int64_t host_limit_ns);
/* Waits until deadline_ns, or until the eventfd cut_fd (-1: none) is readable. 0, or ERR_CANCELLED when cut.
 */
int clock_sleep_until(struct clock_actor *actor, int64_t deadline_ns, int cut_fd);
/* Must follow every act that makes a descriptor of that actor readable. slot -1: no-op. Any thread. */
void clock_notify(struct clock *clock, int slot);

/* Byte accounting of a link between an actor and the simulator (transports call these). -1 on a real clock.
 */
int clock_link_open(struct clock_actor *actor, uint32_t key);
void clock_link_sent(struct clock *clock, int link, size_t bytes);
void clock_link_received(struct clock *clock, int link, size_t bytes);
void clock_link_close(struct clock *clock, int link);

/* ---- Wire of the server's socket (SOCK_SEQPACKET), for the server in drivers/sim/ ---- */
enum clock_request { CLOCK_HELLO = 1, CLOCK_REGISTER = 2, CLOCK_KICK = 3, CLOCK_EVICT = 4, CLOCK_WAKE = 5 };
struct clock_message {
    uint32_t request; /* HELLO: answered with the memfd (SCM_RIGHTS). REGISTER: answered with `slot`.
                       * KICK: an actor has blocked and no other runs: look again. WAKE: server to actor,
                       * deadline reached. EVICT: drop the process `value`; answered. */
    int32_t slot;
    int32_t rank;
    int32_t value;
    char name[CLOCK_NAME_MAX];
};

#endif
