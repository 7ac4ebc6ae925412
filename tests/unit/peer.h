/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * peer: the other end of a TCP link in a thread of the test: accepts one client after the other and hands
 * over what comes. With `lines`, whole lines without their line feed; else bytes as they come. */
#ifndef TESTS_UNIT_PEER_H
#define TESTS_UNIT_PEER_H

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct peer {
    bool lines;
    void (*on_data)(struct peer *peer, const char *data, size_t n);
    void *context;
    atomic_bool stop, drop; /* drop: close the present client */
    atomic_int accepted;
    int listen_fd, client_fd, port;
    char resource[64];
    pthread_t thread;
    char buffer[1 << 17];
    size_t have;
};

static inline void peer_say(struct peer *peer, const void *data, size_t n)
{
    if (peer->client_fd >= 0 && send(peer->client_fd, data, n, MSG_NOSIGNAL) < 0)
        return; /* the client has gone: the test sees that at its end */
}

static inline void peer_text(struct peer *peer, const char *text)
{
    peer_say(peer, text, strlen(text));
}

static inline void peer_take(struct peer *peer, ssize_t n)
{
    if (!peer->lines) {
        peer->on_data(peer, peer->buffer, (size_t)n);
        return;
    }
    peer->have += (size_t)n;
    char *start = peer->buffer, *end;
    while ((end = memchr(start, '\n', peer->have - (size_t)(start - peer->buffer)))) {
        *end = '\0';
        peer->on_data(peer, start, (size_t)(end - start));
        start = end + 1;
    }
    peer->have -= (size_t)(start - peer->buffer);
    memmove(peer->buffer, start, peer->have);
}

static inline void peer_serve(struct peer *peer)
{
    peer->have = 0;
    while (!atomic_load(&peer->stop) && !atomic_exchange(&peer->drop, false)) {
        struct pollfd fd = { .fd = peer->client_fd, .events = POLLIN };
        if (poll(&fd, 1, 5) <= 0)
            continue;
        ssize_t n = recv(peer->client_fd, peer->buffer + peer->have, sizeof peer->buffer - peer->have - 1, 0);
        if (n <= 0)
            return;
        peer_take(peer, n);
    }
}

static inline void *peer_main(void *argument)
{
    struct peer *peer = argument;
    while (!atomic_load(&peer->stop)) {
        struct pollfd fd = { .fd = peer->listen_fd, .events = POLLIN };
        if (poll(&fd, 1, 5) <= 0)
            continue;
        peer->client_fd = accept(peer->listen_fd, NULL, NULL);
        setsockopt(peer->client_fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
        atomic_fetch_add(&peer->accepted, 1);
        peer_serve(peer);
        close(peer->client_fd);
        peer->client_fd = -1;
    }
    return NULL;
}

static inline int peer_start(struct peer *peer)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t length = sizeof address;
    peer->client_fd = -1;
    peer->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(peer->listen_fd, (struct sockaddr *)&address, length) < 0 || listen(peer->listen_fd, 4) < 0 ||
        getsockname(peer->listen_fd, (struct sockaddr *)&address, &length) < 0)
        return -1;
    peer->port = ntohs(address.sin_port);
    snprintf(peer->resource, sizeof peer->resource, "tcp:127.0.0.1:%d", peer->port);
    return pthread_create(&peer->thread, NULL, peer_main, peer);
}

static inline void peer_stop(struct peer *peer)
{
    atomic_store(&peer->stop, true);
    pthread_join(peer->thread, NULL);
    close(peer->listen_fd);
}

#endif
