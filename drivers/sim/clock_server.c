/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * clock_server: the server's end of virtual time: the shared page, registration and death of actors. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "drivers/sim/loop_private.h"

void clock_server_notify(struct sim_loop *loop, int slot)
{
    _Atomic uint64_t *word = &loop->page->actor[slot].word;
    uint64_t old = atomic_load(word);
    while (!atomic_compare_exchange_weak(word, &old, (old + CLOCK_COUNT) & ~(uint64_t)CLOCK_BLOCKED))
        ;
}

/* One pass over the words. *ret_bits: those that all actors have. The sum tells two passes apart. */
static int scan(const struct sim_loop *loop, uint64_t *ret_bits, uint64_t *ret_sum)
{
    int actors = 0;
    uint64_t sum = 0, bits = CLOCK_BLOCKED | CLOCK_ASLEEP;
    for (int i = 0; i < CLOCK_ACTORS_MAX; i++) {
        const struct clock_slot *slot = &loop->page->actor[i];
        if (!atomic_load(&slot->in_use))
            continue;
        uint64_t word = atomic_load(&slot->word);
        actors++;
        sum += word;
        bits &= word;
    }
    *ret_bits = bits;
    *ret_sum = sum;
    return actors;
}

enum actors_state clock_server_actors(struct sim_loop *loop)
{
    /* One pass is no snapshot: an actor seen blocked may be woken by one that is seen blocked later. Words
     * only grow, so two passes with one sum had no change between them, and all were blocked in between. */
    uint64_t bits, first, second;
    if (scan(loop, &bits, &first) == 0)
        return ACTORS_NONE;
    if (!(bits & CLOCK_ASLEEP))
        return ACTORS_RUNNING;
    if (!(bits & CLOCK_BLOCKED))
        return ACTORS_ASLEEP;
    scan(loop, &bits, &second);
    loop->seen_sum = second;
    return first == second ? ACTORS_BLOCKED : ACTORS_RUNNING;
}

bool clock_server_unmoved(const struct sim_loop *loop)
{
    uint64_t bits, sum;
    scan(loop, &bits, &sum);
    return sum == loop->seen_sum;
}

int clock_server_earliest(const struct sim_loop *loop)
{
    int best = -1;
    int64_t best_ns = CLOCK_NEVER;
    for (int i = 0; i < CLOCK_ACTORS_MAX; i++) {
        const struct clock_slot *slot = &loop->page->actor[i];
        int64_t deadline_ns = atomic_load(&slot->deadline_ns);
        if (!atomic_load(&slot->in_use) || deadline_ns == CLOCK_NEVER || deadline_ns > best_ns)
            continue;
        if (best >= 0 && deadline_ns == best_ns) {
            const struct clock_slot *other = &loop->page->actor[best];
            if (slot->rank > other->rank ||
                (slot->rank == other->rank && strcmp(slot->name, other->name) >= 0))
                continue;
        }
        best = i;
        best_ns = deadline_ns;
    }
    return best;
}

void clock_server_wake(struct sim_loop *loop, int slot)
{
    clock_server_notify(loop, slot);
    struct clock_message message = { .request = CLOCK_WAKE, .slot = slot };
    for (int i = 0; i < CONNECTIONS_MAX; i++)
        if (loop->connection[i].fd >= 0 && loop->connection[i].slot == slot)
            send(loop->connection[i].fd, &message, sizeof message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

void clock_server_nudge(struct sim_loop *loop)
{
    for (int i = 0; i < CONNECTIONS_MAX; i++) {
        struct connection *connection = &loop->connection[i];
        if (connection->fd < 0 || connection->slot < 0)
            continue;
        uint64_t word = atomic_load(&loop->page->actor[connection->slot].word);
        if ((word & CLOCK_BLOCKED) || word == connection->nudged)
            continue;
        connection->nudged = word;
        struct clock_message message = { .request = CLOCK_WAKE, .slot = connection->slot };
        send(connection->fd, &message, sizeof message, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
}

static void drop(struct sim_loop *loop, struct connection *connection, bool drop_clients)
{
    sim_fd_remove(loop, connection->fd);
    close(connection->fd);
    connection->fd = -1;
    if (connection->slot < 0)
        return;
    link_forget_actor(loop, connection->slot, drop_clients);
    struct clock_slot *slot = &loop->page->actor[connection->slot];
    atomic_store(&slot->deadline_ns, CLOCK_NEVER);
    atomic_store(&slot->in_use, 0);
    connection->slot = -1;
}

static void evict(struct sim_loop *loop, int pid)
{
    for (int i = 0; i < CONNECTIONS_MAX; i++)
        if (loop->connection[i].fd >= 0 && loop->connection[i].slot >= 0 && loop->connection[i].pid == pid)
            drop(loop, &loop->connection[i], true);
}

static int register_actor(struct sim_loop *loop, struct connection *connection,
                          const struct clock_message *message)
{
    for (int i = 0; connection->slot < 0 && i < CLOCK_ACTORS_MAX; i++) {
        struct clock_slot *slot = &loop->page->actor[i];
        if (atomic_load(&slot->in_use))
            continue;
        memcpy(slot->name, message->name, sizeof slot->name);
        slot->name[sizeof slot->name - 1] = '\0';
        slot->rank = message->rank;
        atomic_store(&slot->deadline_ns, CLOCK_NEVER);
        /* Running, and unlike the slot's last owner. */
        uint64_t word = atomic_load(&slot->word) + CLOCK_COUNT;
        atomic_store(&slot->word, word & ~(uint64_t)(CLOCK_BLOCKED | CLOCK_ASLEEP));
        connection->pid = message->value > 0 ? message->value : 1;
        connection->slot = i;
        connection->nudged = 0;
        atomic_store(&slot->in_use, (uint32_t)connection->pid);
    }
    return connection->slot;
}

static void send_page(struct sim_loop *loop, int fd, struct clock_message *message)
{
    union {
        struct cmsghdr header; /* for its alignment */
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = { 0 };
    struct iovec iov = { .iov_base = message, .iov_len = sizeof *message };
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes
    };
    struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
    cmsg->cmsg_level = SOL_SOCKET;
    cmsg->cmsg_type = SCM_RIGHTS;
    cmsg->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(cmsg), &loop->page_fd, sizeof loop->page_fd);
    sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void on_message(void *context, int fd, uint32_t events)
{
    (void)events;
    struct sim_loop *loop = context;
    struct connection *connection = NULL;
    for (int i = 0; i < CONNECTIONS_MAX; i++)
        if (loop->connection[i].fd == fd)
            connection = &loop->connection[i];
    struct clock_message message;
    ssize_t n = recv(fd, &message, sizeof message, MSG_DONTWAIT);
    if (!connection || (n < 0 && (errno == EAGAIN || errno == EINTR)))
        return;
    if (n != (ssize_t)sizeof message) {
        drop(loop, connection, false);
        return;
    }
    switch (message.request) {
    case CLOCK_HELLO:
        send_page(loop, fd, &message);
        break;
    case CLOCK_REGISTER:
        message.slot = register_actor(loop, connection, &message);
        send(fd, &message, sizeof message, MSG_NOSIGNAL | MSG_DONTWAIT);
        break;
    case CLOCK_EVICT:
        evict(loop, message.value);
        send(fd, &message, sizeof message, MSG_NOSIGNAL | MSG_DONTWAIT);
        break;
    default: /* CLOCK_KICK: being awake is all it asks for */
        break;
    }
}

static void on_connect(void *context, int fd, uint32_t events)
{
    (void)events;
    struct sim_loop *loop = context;
    int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (client < 0)
        return;
    for (int i = 0; i < CONNECTIONS_MAX; i++) {
        struct connection *connection = &loop->connection[i];
        if (connection->fd >= 0)
            continue;
        if (sim_fd_add(loop, client, EPOLLIN, on_message, loop, NULL))
            break;
        *connection = (struct connection){ .fd = client, .slot = -1 };
        return;
    }
    close(client);
}

int clock_server_open(struct sim_loop *loop, struct error *err)
{
    loop->page_fd = memfd_create("nightbench-clock", MFD_CLOEXEC);
    if (loop->page_fd < 0 || ftruncate(loop->page_fd, sizeof *loop->page) < 0)
        return error_set_errno(err, errno, "clock page");
    void *page = mmap(NULL, sizeof *loop->page, PROT_READ | PROT_WRITE, MAP_SHARED, loop->page_fd, 0);
    if (page == MAP_FAILED)
        return error_set_errno(err, errno, "clock page");
    loop->page = page;
    loop->page->version = CLOCK_PAGE_VERSION;

    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int n = snprintf(address.sun_path, sizeof address.sun_path, "%s/clock.sock", loop->dir);
    if (n >= (int)sizeof address.sun_path)
        return error_set(err, ERR_RANGE, "socket path is too long: %s/clock.sock", loop->dir);
    unlink(address.sun_path);
    loop->server_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (loop->server_fd < 0 || bind(loop->server_fd, (struct sockaddr *)&address, sizeof address) < 0 ||
        listen(loop->server_fd, CLOCK_ACTORS_MAX) < 0)
        return error_set_errno(err, errno, "clock server at %s", address.sun_path);
    strcpy(loop->server_path, address.sun_path);
    return sim_fd_add(loop, loop->server_fd, EPOLLIN, on_connect, loop, err);
}

void clock_server_close(struct sim_loop *loop)
{
    for (int i = 0; i < CONNECTIONS_MAX; i++)
        if (loop->connection[i].fd >= 0)
            close(loop->connection[i].fd);
    if (loop->server_fd >= 0)
        close(loop->server_fd);
    if (*loop->server_path)
        unlink(loop->server_path);
    if (loop->page)
        munmap(loop->page, sizeof *loop->page);
    if (loop->page_fd >= 0)
        close(loop->page_fd);
}
