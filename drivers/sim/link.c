/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * link: the wires of the virtual bench: TCP listeners and pseudo-terminals, answers in pieces, and the faults
 * that tests put on a wire. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <termios.h>
#include <unistd.h>

#include "daemon/base/rng.h"
#include "drivers/sim/loop_private.h"

enum {
    READ_MAX = 65536,
    OUTPUT_MAX = 64 << 20, /* bytes that one client has not taken */
    PIECES_MAX = 4,
    PIECE_GAP_NS = 20000, /* between two pieces of one answer */
    BURST_TCP = 65536,    /* a client that sends that much at a time may be waiting for room */
    BURST_PTY = 1024
};

const char *sim_link_resource(const struct sim_link *link)
{
    return link->resource;
}

const char *sim_link_name(const struct sim_link *link)
{
    return link->name;
}

void *sim_link_context(const struct sim_link *link)
{
    return link->context;
}

struct sim_link *sim_link_find(struct sim_loop *loop, const char *name)
{
    for (int i = 0; i < loop->link_n; i++)
        if (strcmp(loop->link[i]->name, name) == 0)
            return loop->link[i];
    return NULL;
}

static int client_index(const struct sim_link *link, const struct client *client)
{
    return (int)(client - link->client);
}

/* ---- Bytes in ---- */

static void close_client(struct sim_link *link, struct client *client)
{
    sim_fd_remove(link->loop, client->fd);
    close(client->fd);
    client->fd = -1;
    client->page_link = -1;
    client->ended = false;
    free(client->in);
    free(client->out);
    client->in = client->out = NULL;
    client->in_n = client->in_size = client->out_n = client->out_size = 0;
    if (link->ops.on_close)
        link->ops.on_close(link->context, client_index(link, client));
}

void sim_link_disconnect(struct sim_link *link, int client)
{
    if (link->kind == SIM_LINK_TCP && link->client[client].fd >= 0)
        close_client(link, &link->client[client]);
}

void sim_link_reboot(struct sim_link *link)
{
    for (int c = 0; c < SIM_CLIENTS_MAX; c++)
        sim_link_disconnect(link, c);
    if (link->ops.on_reboot)
        link->ops.on_reboot(link->context);
}

static bool append(uint8_t **buffer, size_t *n, size_t *size, const void *bytes, size_t count, size_t max)
{
    if (*n + count > max)
        return false;
    if (*n + count > *size) {
        size_t larger = *size ? *size : 256;
        while (larger < *n + count)
            larger *= 2;
        uint8_t *moved = realloc(*buffer, larger);
        if (!moved)
            return false;
        *buffer = moved;
        *size = larger;
    }
    memcpy(*buffer + *n, bytes, count);
    *n += count;
    return true;
}

static void schedule(struct sim_link *link, struct client *client, const uint8_t *bytes, size_t n,
                     int64_t at_ns);

/* Gives what has come in to the device. */
static void hand_over(struct sim_link *link, struct client *client)
{
    uint8_t *bytes = client->in;
    size_t n = client->in_n;
    int64_t now_ns = sim_now(link->loop);
    int64_t last_ns = client->heard_ns > client->last_at_ns ? client->heard_ns : client->last_at_ns;
    client->heard_ns = now_ns;
    client->in = NULL;
    client->in_n = client->in_size = 0;
    client->burst = 0;
    if (n && fault_echoes(link))
        schedule(link, client, bytes, n, now_ns);
    if (n && link->ops.on_bytes && fault_hears(link, now_ns - last_ns, bytes, n))
        link->ops.on_bytes(link->context, client_index(link, client), bytes, n);
    free(bytes);
}

bool link_hand_over(struct sim_loop *loop)
{
    bool any = false;
    for (;;) {
        struct sim_link *first_link = NULL;
        struct client *first = NULL;
        for (int i = 0; i < loop->link_n; i++)
            for (int c = 0; c < SIM_CLIENTS_MAX; c++) {
                struct client *client = &loop->link[i]->client[c];
                if (client->fd >= 0 && client->in_n && (!first || client->rank < first->rank)) {
                    first = client;
                    first_link = loop->link[i];
                }
            }
        if (!first)
            return any;
        any = true;
        hand_over(first_link, first);
        if (first->fd >= 0 && first->ended)
            close_client(first_link, first);
    }
}

/* Reads all there is. False at end of file or on an error. */
static bool read_all(struct sim_link *link, struct client *client)
{
    struct sim_loop *loop = link->loop;
    uint8_t bytes[READ_MAX];
    for (;;) {
        account_match(loop, client);
        ssize_t n = read(client->fd, bytes, sizeof bytes);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return true;
        if (n <= 0)
            return false;
        uint64_t old = client->stray < (uint64_t)n ? client->stray : (uint64_t)n;
        client->stray -= old;
        client->received += (uint64_t)n - old;
        client->burst += (uint64_t)n;
        if (!append(&client->in, &client->in_n, &client->in_size, bytes, (size_t)n, INPUT_MAX))
            return false;
        if (client->burst >= (link->kind == SIM_LINK_PTY ? BURST_PTY : BURST_TCP))
            account_notify_owner(loop, client);
        /* Who was an actor's is heard in its turn to the end. */
        bool is_leaving = link->kind == SIM_LINK_TCP && client->leaving_since_ns;
        if (client->page_link < 0 && !is_leaving)
            hand_over(link, client);
        if (client->fd < 0)
            return true; /* the device has dropped it */
    }
}

static bool flush_out(struct sim_link *link, struct client *client)
{
    size_t done = 0;
    bool alive = true;
    while (done < client->out_n) {
        ssize_t n = link->kind == SIM_LINK_TCP
                        ? send(client->fd, client->out + done, client->out_n - done, MSG_NOSIGNAL)
                        : write(client->fd, client->out + done, client->out_n - done);
        if (n > 0) {
            done += (size_t)n;
            continue;
        }
        if (n < 0 && errno == EINTR)
            continue;
        alive = n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
        break;
    }
    client->out_n -= done;
    memmove(client->out, client->out + done, client->out_n);
    if (done)
        account_notify_owner(link->loop, client);
    return alive;
}

static void watch_client(struct sim_link *link, struct client *client);

static void on_client(void *context, int fd, uint32_t events)
{
    struct sim_link *link = context;
    struct client *client = NULL;
    for (int c = 0; c < SIM_CLIENTS_MAX; c++)
        if (link->client[c].fd == fd)
            client = &link->client[c];
    if (!client)
        return;
    bool alive = true, was_full = client->out_n > 0;
    if (events & EPOLLOUT)
        alive = flush_out(link, client);
    if (alive && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
        alive = read_all(link, client);
    if (client->fd != fd)
        return;
    if (!alive && client->in_n) {
        client->ended = true; /* its last words are heard in their turn */
        sim_fd_remove(link->loop, fd);
    } else if (!alive)
        close_client(link, client);
    else if (was_full && client->out_n == 0)
        watch_client(link, client);
}

/* Watches for input, and for room when output waits. */
static void watch_client(struct sim_link *link, struct client *client)
{
    sim_fd_remove(link->loop, client->fd);
    sim_fd_add(link->loop, client->fd, client->out_n ? EPOLLIN | EPOLLOUT : EPOLLIN, on_client, link, NULL);
}

/* ---- Bytes out ---- */

static void write_now(struct sim_link *link, struct client *client, const uint8_t *bytes, size_t n)
{
    bool was_full = client->out_n > 0;
    if (!append(&client->out, &client->out_n, &client->out_size, bytes, n, OUTPUT_MAX)) {
        sim_link_disconnect(link, client_index(link, client));
        return;
    }
    client->sent += n;
    if (!flush_out(link, client)) {
        sim_link_disconnect(link, client_index(link, client));
        return;
    }
    if ((client->out_n > 0) != was_full)
        watch_client(link, client);
}

void link_deliver(struct sim_event *event)
{
    struct client *client = &event->link->client[event->client];
    if (client->fd < 0 || client->generation != event->generation)
        return;
    if (event->n == 0)
        sim_link_disconnect(event->link, event->client); /* the fault's disconnect */
    else
        write_now(event->link, client, event->bytes, event->n);
}

/* Schedules one piece; a third party of a virtual world gets it at once. */
static void schedule(struct sim_link *link, struct client *client, const uint8_t *bytes, size_t n,
                     int64_t at_ns)
{
    if (link->loop->is_virtual && client->page_link < 0) {
        if (n)
            write_now(link, client, bytes, n);
        else
            sim_link_disconnect(link, client_index(link, client));
        return;
    }
    struct sim_event event = { .at_ns = at_ns,
                               .rank = client->rank,
                               .link = link,
                               .client = client_index(link, client),
                               .generation = client->generation,
                               .n = n };
    if (n) {
        event.bytes = malloc(n);
        if (!event.bytes)
            return;
        memcpy(event.bytes, bytes, n);
    }
    client->last_at_ns = at_ns;
    loop_schedule(link->loop, &event);
}

void sim_link_send(struct sim_link *link, int client_number, const void *bytes, size_t n, int64_t at_ns)
{
    struct client *client = &link->client[client_number];
    if (client->fd < 0 || n == 0)
        return;
    uint8_t *copy = malloc(n);
    if (!copy)
        return;
    memcpy(copy, bytes, n);
    client->answers++;
    int64_t now_ns = sim_now(link->loop);
    if (at_ns < now_ns)
        at_ns = now_ns;
    if (!fault_spoil(link, client->answers, copy, &n, &at_ns))
        goto out;
    if (at_ns < client->last_at_ns)
        at_ns = client->last_at_ns;
    if (n == 0) {
        schedule(link, client, copy, 0, at_ns);
        goto out;
    }
    struct rng rng;
    rng_init(&rng, link->loop->seed, "pieces", rng_entity(link->name), client->answers,
             (uint64_t)client_number);
    int pieces = link->whole ? 1 : 1 + (int)rng_below(&rng, PIECES_MAX);
    for (size_t done = 0; done < n && client->fd >= 0; pieces--) {
        size_t left = n - done;
        size_t count = pieces <= 1 ? left : 1 + rng_below(&rng, (uint32_t)left);
        schedule(link, client, copy + done, count, at_ns);
        done += count;
        at_ns += PIECE_GAP_NS;
    }
out:
    free(copy);
}

/* ---- Coming and going ---- */

static bool hung_up(int fd)
{
    struct pollfd pollfd = { .fd = fd, .events = POLLRDHUP };
    return poll(&pollfd, 1, 0) > 0 && (pollfd.revents & (POLLRDHUP | POLLHUP | POLLERR));
}

static void on_accept(void *context, int fd, uint32_t events)
{
    (void)events;
    struct sim_link *link = context;
    struct sockaddr_in peer;
    socklen_t length = sizeof peer;
    int accepted = accept4(fd, (struct sockaddr *)&peer, &length, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (accepted < 0)
        return;
    int one = 1;
    setsockopt(accepted, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    for (int c = 0; c < link->clients_max; c++) {
        struct client *client = &link->client[c];
        /* Somebody who left a moment ago must not lock out who comes back. */
        if (client->fd >= 0 && hung_up(client->fd)) {
            read_all(link, client);
            if (client->fd >= 0 && client->in_n)
                hand_over(link, client);
            if (client->fd >= 0)
                close_client(link, client);
        }
        if (client->fd >= 0)
            continue;
        uint32_t generation = client->generation + 1;
        *client = (struct client){
            .fd = accepted, .generation = generation, .key = ntohs(peer.sin_port), .page_link = -1
        };
        if (sim_fd_add(link->loop, accepted, EPOLLIN, on_client, link, NULL)) {
            client->fd = -1;
            break;
        }
        account_match(link->loop, client);
        if (link->ops.on_open)
            link->ops.on_open(link->context, c);
        return;
    }
    struct client refused = { .fd = accepted, .key = ntohs(peer.sin_port), .page_link = -1 };
    account_match(link->loop, &refused); /* nobody need wait for it any more */
    close(accepted);
}

void link_forget_actor(struct sim_loop *loop, int slot, bool drop_clients)
{
    for (int p = 0; p < CLOCK_LINKS_MAX; p++) {
        if (atomic_load(&loop->page->link[p].in_use) != (uint32_t)slot + 1)
            continue;
        atomic_store(&loop->page->link[p].in_use, 0);
        for (int i = 0; drop_clients && i < loop->link_n; i++)
            for (int c = 0; c < SIM_CLIENTS_MAX; c++)
                if (loop->link[i]->client[c].fd >= 0 && loop->link[i]->client[c].page_link == p)
                    sim_link_disconnect(loop->link[i], c);
    }
}

static int open_tcp(struct sim_link *link, int port, struct error *err)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_port = htons((uint16_t)port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t length = sizeof address;
    int one = 1;
    link->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (link->listen_fd < 0 || setsockopt(link->listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) < 0 ||
        bind(link->listen_fd, (struct sockaddr *)&address, sizeof address) < 0 ||
        listen(link->listen_fd, 8) < 0 ||
        getsockname(link->listen_fd, (struct sockaddr *)&address, &length) < 0)
        return error_set_errno(err, errno, "%s: listening on 127.0.0.1:%d", link->name, port);
    snprintf(link->resource, sizeof link->resource, "tcp:127.0.0.1:%d", ntohs(address.sin_port));
    return sim_fd_add(link->loop, link->listen_fd, EPOLLIN, on_accept, link, err);
}

static int open_pty(struct sim_link *link, struct error *err)
{
    struct client *client = &link->client[0];
    char slave[64];
    struct stat status;
    struct termios raw;
    int n = snprintf(link->pty_path, sizeof link->pty_path, "%s/%s", link->loop->dir, link->name);
    if (n >= (int)sizeof link->pty_path)
        return error_set(err, ERR_RANGE, "path of the pseudo-terminal of %s is too long", link->name);
    client->fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    if (client->fd < 0 || grantpt(client->fd) < 0 || unlockpt(client->fd) < 0 ||
        ptsname_r(client->fd, slave, sizeof slave))
        return error_set_errno(err, errno, "%s: pseudo-terminal", link->name);
    /* Held open: without it every read would fail until somebody opens the other end. */
    link->slave_fd = open(slave, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (link->slave_fd < 0 || fstat(link->slave_fd, &status) < 0 || tcgetattr(link->slave_fd, &raw) < 0)
        return error_set_errno(err, errno, "%s: %s", link->name, slave);
    cfmakeraw(&raw);
    tcsetattr(link->slave_fd, TCSANOW, &raw);
    client->key = minor(status.st_rdev) | 0x80000000u;
    client->page_link = -1;
    unlink(link->pty_path);
    if (symlink(slave, link->pty_path) < 0)
        return error_set_errno(err, errno, "%s", link->pty_path);
    snprintf(link->resource, sizeof link->resource, "serial:%s", link->pty_path);
    return sim_fd_add(link->loop, client->fd, EPOLLIN, on_client, link, err);
}

int sim_link_open(struct sim_loop *loop, const struct sim_link_options *options,
                  const struct sim_link_ops *ops, void *context, struct sim_link **ret_link,
                  struct error *err)
{
    if (loop->link_n == SIM_LINKS_MAX)
        return error_set(err, ERR_FULL, "more than %d links", SIM_LINKS_MAX);
    if (options->clients_max < 0 || options->clients_max > SIM_CLIENTS_MAX)
        return error_set(err, ERR_RANGE, "%s: 1 to %d clients, not %d", options->name, SIM_CLIENTS_MAX,
                         options->clients_max);
    struct sim_link *link = calloc(1, sizeof *link);
    if (!link)
        return error_set(err, ERR_MEMORY, "link %s", options->name);
    *link = (struct sim_link){ .loop = loop,
                               .index = loop->link_n,
                               .kind = options->kind,
                               .clients_max = options->clients_max ? options->clients_max : 1,
                               .whole = options->whole,
                               .listen_fd = -1,
                               .slave_fd = -1,
                               .ops = *ops,
                               .context = context };
    snprintf(link->name, sizeof link->name, "%s", options->name);
    for (int c = 0; c < SIM_CLIENTS_MAX; c++)
        link->client[c].fd = link->client[c].page_link = -1;
    int code = options->kind == SIM_LINK_PTY ? open_pty(link, err) : open_tcp(link, options->port, err);
    if (code) {
        link_close(link);
        return code;
    }
    loop->link[loop->link_n++] = link;
    *ret_link = link;
    return 0;
}

void link_close(struct sim_link *link)
{
    /* The device may be gone: no callbacks. */
    link->ops = (struct sim_link_ops){ .on_open = NULL };
    for (int c = 0; c < SIM_CLIENTS_MAX; c++)
        if (link->client[c].fd >= 0)
            close_client(link, &link->client[c]);
    if (link->listen_fd >= 0) {
        sim_fd_remove(link->loop, link->listen_fd);
        close(link->listen_fd);
    }
    if (link->slave_fd >= 0)
        close(link->slave_fd);
    if (*link->pty_path)
        unlink(link->pty_path);
    free(link);
}
