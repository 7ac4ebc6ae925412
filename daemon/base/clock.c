/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * clock: the client side of real and virtual time. Real: ppoll and CLOCK_MONOTONIC. Virtual: the shared page
 * of the clock server, one SOCK_SEQPACKET connection per actor for its wake-ups, and the eventcount protocol
 * of clock.h. */
#include "daemon/base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { POLL_MAX = 14 };

/* A link slot that is being filled in: nobody else may read it yet. */
#define LINK_CLAIMED UINT32_MAX

struct clock {
    bool is_virtual;
    char path[sizeof((struct sockaddr_un *)NULL)->sun_path];
    struct clock_page *page; /* NULL on a real clock */
    _Atomic bool lost;
    _Atomic unsigned
        next_link; /* slots are taken in turn, so that a re-opened link is never taken for the old one */
};

struct clock_actor {
    struct clock *clock;
    int socket; /* to the server; -1 on a real clock */
    int slot;
    int rank;
};

static int64_t from_timespec(const struct timespec *ts)
{
    return (int64_t)ts->tv_sec * NS_PER_S + ts->tv_nsec;
}

int64_t clock_host_now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return from_timespec(&ts);
}

void clock_host_cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

int64_t clock_wall_now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return from_timespec(&ts);
}

bool clock_is_virtual(const struct clock *clock)
{
    return clock->is_virtual;
}

bool clock_is_lost(const struct clock *clock)
{
    return atomic_load(&clock->lost);
}

int64_t clock_now(const struct clock *clock)
{
    return clock->is_virtual ? atomic_load(&clock->page->now_ns) : clock_host_now();
}

static int server_connect(const char *path, int *ret_fd, struct error *err)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return error_set_errno(err, errno, "clock socket");
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0) {
        int saved = errno;
        close(fd);
        return error_set(err, ERR_NO_ANSWER, "no clock server at %s: %s", path, strerror(saved));
    }
    *ret_fd = fd;
    return 0;
}

static int server_send(int fd, const struct clock_message *message, struct error *err)
{
    ssize_t n;
    do
        n = send(fd, message, sizeof *message, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    if (n != (ssize_t)sizeof *message)
        return error_set(err, ERR_LINK, "clock server went away: %s", strerror(errno));
    return 0;
}

/* Receives the answer; ret_fd NULL, or where the descriptor that must come with it goes. */
static int server_receive(int fd, struct clock_message *message, int *ret_fd, struct error *err)
{
    union {
        struct cmsghdr header; /* for its alignment */
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec iov = { .iov_base = message, .iov_len = sizeof *message };
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes
    };
    ssize_t n;
    do
        n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n != (ssize_t)sizeof *message)
        return error_set(err, ERR_LINK, "clock server closed the connection");
    if (!ret_fd)
        return 0;
    const struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
    if (!cmsg || cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
        return error_set(err, ERR_GARBAGE, "clock server sent no page");
    memcpy(ret_fd, CMSG_DATA(cmsg), sizeof *ret_fd);
    return 0;
}

static int map_page(const char *path, struct clock_page **ret_page, struct error *err)
{
    int fd = -1, page_fd = -1;
    int code = server_connect(path, &fd, err);
    if (code)
        return code;
    struct clock_message message = { .request = CLOCK_HELLO, .value = CLOCK_PAGE_VERSION };
    code = server_send(fd, &message, err);
    if (!code)
        code = server_receive(fd, &message, &page_fd, err);
    close(fd);
    if (code)
        return code;
    struct clock_page *page = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, page_fd, 0);
    int saved = errno;
    close(page_fd);
    if (page == MAP_FAILED)
        return error_set_errno(err, saved, "mapping the clock page of %s", path);
    if (page->version != CLOCK_PAGE_VERSION) {
        code = error_set(err, ERR_UNSUPPORTED, "clock page of %s has version %u, this build knows %d", path,
                         page->version, CLOCK_PAGE_VERSION);
        munmap(page, sizeof *page);
        return code;
    }
    *ret_page = page;
    return 0;
}

int clock_open(const char *path, struct clock **ret_clock, struct error *err)
{
    struct clock *clock = calloc(1, sizeof *clock);
    if (!clock)
        return error_set(err, ERR_MEMORY, "clock");
    if (path && *path) {
        if (strlen(path) >= sizeof clock->path) {
            free(clock);
            return error_set(err, ERR_RANGE, "clock socket path is longer than %zu bytes: %s",
                             sizeof clock->path - 1, path);
        }
        strcpy(clock->path, path);
        clock->is_virtual = true;
        int code = map_page(path, &clock->page, err);
        if (code) {
            free(clock);
            return code;
        }
    }
    *ret_clock = clock;
    return 0;
}

void clock_close(struct clock *clock)
{
    if (!clock)
        return;
    if (clock->page)
        munmap(clock->page, sizeof *clock->page);
    free(clock);
}

int clock_evict(struct clock *clock, int pid, struct error *err)
{
    if (!clock->is_virtual)
        return 0;
    int fd;
    int code = server_connect(clock->path, &fd, err);
    if (code)
        return code;
    struct clock_message message = { .request = CLOCK_EVICT, .value = pid };
    code = server_send(fd, &message, err);
    if (!code)
        code = server_receive(fd, &message, NULL, err);
    close(fd);
    return code;
}

int clock_actor_open(struct clock *clock, const char *name, int rank, struct clock_actor **ret_actor,
                     struct error *err)
{
    struct clock_actor *actor = calloc(1, sizeof *actor);
    if (!actor)
        return error_set(err, ERR_MEMORY, "clock actor %s", name);
    *actor = (struct clock_actor){ .clock = clock, .socket = -1, .slot = -1, .rank = rank };
    if (clock->is_virtual) {
        struct clock_message message = { .request = CLOCK_REGISTER, .rank = rank, .value = getpid() };
        snprintf(message.name, sizeof message.name, "%s", name);
        int code = server_connect(clock->path, &actor->socket, err);
        if (!code)
            code = server_send(actor->socket, &message, err);
        if (!code)
            code = server_receive(actor->socket, &message, NULL, err);
        if (!code && (message.slot < 0 || message.slot >= CLOCK_ACTORS_MAX))
            code = error_set(err, ERR_FULL, "clock server has no slot left for actor %s", name);
        if (code) {
            if (actor->socket >= 0)
                close(actor->socket);
            free(actor);
            return code;
        }
        actor->slot = message.slot;
    }
    *ret_actor = actor;
    return 0;
}

void clock_actor_close(struct clock_actor *actor)
{
    if (!actor)
        return;
    if (actor->socket >= 0)
        close(actor->socket); /* the server frees the slot at end of file */
    free(actor);
}

int clock_actor_slot(const struct clock_actor *actor)
{
    return actor->slot;
}

int clock_server_pid(const struct clock_actor *actor)
{
    struct ucred who = { 0 };
    socklen_t length = sizeof who;
    if (actor->socket < 0 || getsockopt(actor->socket, SOL_SOCKET, SO_PEERCRED, &who, &length) < 0)
        return 0;
    return who.pid;
}

/* Moves the count and clears bits, so that no two blocked states of one actor look alike. */
static void word_bump(_Atomic uint64_t *word, uint64_t clear)
{
    uint64_t old = atomic_load(word);
    while (!atomic_compare_exchange_weak(word, &old, (old + CLOCK_COUNT) & ~clear))
        ;
}

void clock_notify(struct clock *clock, int slot)
{
    if (slot < 0 || slot >= CLOCK_ACTORS_MAX || !clock->page)
        return;
    word_bump(&clock->page->actor[slot].word, CLOCK_BLOCKED);
}

/* Somebody who was woken without being in need of it sleeps on; the server must shake him, so he counts here
 * too. */
static bool all_asleep(const struct clock_page *page)
{
    for (int i = 0; i < CLOCK_ACTORS_MAX; i++) {
        const struct clock_slot *slot = &page->actor[i];
        if (atomic_load(&slot->in_use) && !(atomic_load(&slot->word) & CLOCK_ASLEEP))
            return false;
    }
    return true;
}

/* Empties the actor's own socket. False when the server is gone or has evicted this actor. */
static bool drain_wakes(int fd)
{
    for (;;) {
        struct clock_message message;
        ssize_t n = recv(fd, &message, sizeof message, MSG_DONTWAIT);
        if (n > 0 || (n < 0 && errno == EINTR))
            continue;
        return n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
    }
}

static int poll_host(struct pollfd *fds, int count, int64_t wait_ns)
{
    struct timespec ts = { .tv_sec = wait_ns / NS_PER_S, .tv_nsec = wait_ns % NS_PER_S };
    int n = ppoll(fds, (nfds_t)count, wait_ns == CLOCK_NEVER ? NULL : &ts, NULL);
    return n < 0 && errno == EINTR ? 0 : n;
}

/* What is left until a host deadline, never negative. */
static int64_t remaining(int64_t host_end_ns)
{
    if (host_end_ns == CLOCK_NEVER)
        return CLOCK_NEVER;
    int64_t left = host_end_ns - clock_host_now();
    return left > 0 ? left : 0;
}

static int poll_real(struct pollfd *fds, int count, int64_t deadline_ns, int64_t host_end_ns)
{
    for (;;) {
        int64_t end_ns = deadline_ns < host_end_ns ? deadline_ns : host_end_ns;
        int n = poll_host(fds, count, remaining(end_ns));
        if (n < 0)
            return ERR_IO;
        if (n > 0)
            return n;
        int64_t now_ns = clock_host_now();
        if (now_ns >= deadline_ns)
            return 0;
        if (now_ns >= host_end_ns)
            return ERR_TIMEOUT;
    }
}

static int lost(struct clock_actor *actor)
{
    atomic_store(&actor->clock->lost, true);
    return ERR_FENCED;
}

static int poll_virtual(struct clock_actor *actor, struct pollfd *fds, int count, int64_t deadline_ns,
                        int64_t host_end_ns)
{
    struct clock_page *page = actor->clock->page;
    struct clock_slot *slot = &page->actor[actor->slot];
    struct pollfd all[POLL_MAX + 1] = { { .fd = actor->socket, .events = POLLIN } };
    for (int i = 0; i < count; i++)
        all[i + 1] = fds[i];
    for (;;) {
        uint64_t word = atomic_load(&slot->word);
        int n = poll_host(all, count + 1, 0);
        if (n < 0)
            return ERR_IO;
        if (all[0].revents && !drain_wakes(actor->socket))
            return lost(actor);
        for (int i = 0; i < count; i++)
            fds[i].revents = all[i + 1].revents;
        n -= all[0].revents != 0;
        if (n > 0)
            return n;
        if (atomic_load(&page->now_ns) >= deadline_ns)
            return 0;
        if (remaining(host_end_ns) == 0)
            return ERR_TIMEOUT;
        atomic_store(&slot->deadline_ns, deadline_ns);
        if (!atomic_compare_exchange_strong(&slot->word, &word, word | CLOCK_BLOCKED | CLOCK_ASLEEP))
            continue; /* woken since the poll: look again */
        if (all_asleep(page)) {
            struct clock_message kick = { .request = CLOCK_KICK, .slot = actor->slot };
            if (server_send(actor->socket, &kick, NULL))
                return lost(actor);
        }
        n = poll_host(all, count + 1, remaining(host_end_ns));
        word_bump(&slot->word, CLOCK_BLOCKED | CLOCK_ASLEEP);
        atomic_store(&slot->deadline_ns, CLOCK_NEVER);
        if (n < 0)
            return ERR_IO;
    }
}

int clock_poll(struct clock_actor *actor, struct pollfd *fds, int count, int64_t deadline_ns,
               int64_t host_limit_ns)
{
    if (count < 0 || count > POLL_MAX)
        return ERR_RANGE;
    int64_t host_end_ns = host_limit_ns > 0 ? clock_host_now() + host_limit_ns : CLOCK_NEVER;
    return actor->clock->is_virtual ? poll_virtual(actor, fds, count, deadline_ns, host_end_ns)
                                    : poll_real(fds, count, deadline_ns, host_end_ns);
}

int clock_sleep_until(struct clock_actor *actor, int64_t deadline_ns, int cut_fd)
{
    struct pollfd cut = { .fd = cut_fd, .events = POLLIN };
    int n = clock_poll(actor, &cut, cut_fd >= 0 ? 1 : 0, deadline_ns, 0);
    return n > 0 ? ERR_CANCELLED : n;
}

int clock_link_open(struct clock_actor *actor, uint32_t key)
{
    if (!actor->clock->is_virtual)
        return -1;
    for (int tried = 0; tried < CLOCK_LINKS_MAX; tried++) {
        int i = (int)(atomic_fetch_add(&actor->clock->next_link, 1) % CLOCK_LINKS_MAX);
        struct clock_link *link = &actor->clock->page->link[i];
        uint32_t unused = 0;
        if (!atomic_compare_exchange_strong(&link->in_use, &unused, LINK_CLAIMED))
            continue;
        atomic_store(&link->key, key);
        atomic_store(&link->sent, 0);
        atomic_store(&link->received, 0);
        link->rank = actor->rank;
        atomic_fetch_add(&link->opened, 1);
        atomic_store(&link->in_use, (uint32_t)actor->slot + 1);
        return i;
    }
    return -1;
}

void clock_link_sent(struct clock *clock, int link, size_t bytes)
{
    if (link >= 0 && clock->page)
        atomic_fetch_add(&clock->page->link[link].sent, bytes);
}

void clock_link_received(struct clock *clock, int link, size_t bytes)
{
    if (link >= 0 && clock->page)
        atomic_fetch_add(&clock->page->link[link].received, bytes);
}

void clock_link_close(struct clock *clock, int link)
{
    if (link >= 0 && clock->page)
        atomic_store(&clock->page->link[link].in_use, 0);
}
