/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * tcp: raw sockets. TCP_NODELAY always (two writes without it cost 40 ms), no SIGPIPE, a bounded connect. In
 * virtual time the local port is known to the clock's page before the peer can see the connection. */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "drivers/transport.h"

enum { CONNECT_LIMIT_MS = 2000, HOST_MAX = 200 };

/* "host:port", or "[v6]:port". */
static int split(const char *address, char host[HOST_MAX], char port[8], struct error *err)
{
    const char *colon = strrchr(address, ':');
    size_t n = colon ? (size_t)(colon - address) : 0;
    char *end = NULL;
    long number = colon ? strtol(colon + 1, &end, 10) : 0;
    if (n == 0 || n >= HOST_MAX || end == colon + 1 || *end || number < 1 || number > 65535)
        return error_set(err, ERR_INVALID, "resource 'tcp:%s': write tcp:HOST:PORT", address);
    if (address[0] == '[' && address[n - 1] == ']')
        snprintf(host, HOST_MAX, "%.*s", (int)n - 2, address + 1);
    else
        snprintf(host, HOST_MAX, "%.*s", (int)n, address);
    snprintf(port, 8, "%ld", number);
    return 0;
}

/* Binds to any port now and returns its number, so that the link can be announced before the connection
 * exists. */
static int bind_first(int fd, int family, uint32_t *ret_port, struct error *err)
{
    struct sockaddr_storage local = { .ss_family = (sa_family_t)family };
    socklen_t length = family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    if (bind(fd, (struct sockaddr *)&local, length) < 0)
        return error_set_errno(err, errno, "bind");
    length = sizeof local;
    if (getsockname(fd, (struct sockaddr *)&local, &length) < 0)
        return error_set_errno(err, errno, "getsockname");
    *ret_port = ntohs(family == AF_INET6 ? ((struct sockaddr_in6 *)&local)->sin6_port
                                         : ((struct sockaddr_in *)&local)->sin_port);
    return 0;
}

/* Connecting is the host's business: it takes host time and holds virtual time still. */
static int finish_connect(int fd, const struct transport_env *env, const char *address, struct error *err)
{
    struct pollfd fds[2] = { { .fd = fd, .events = POLLOUT }, { .fd = env->cut_fd, .events = POLLIN } };
    int64_t limit_ns =
        clock_is_virtual(env->clock) ? TRANSPORT_VIRTUAL_LIMIT_NS : CONNECT_LIMIT_MS * NS_PER_MS;
    int64_t end_ns = clock_host_now() + limit_ns;
    for (;;) {
        int64_t left_ns = end_ns - clock_host_now();
        if (left_ns <= 0)
            return error_set(err, ERR_NO_ANSWER, "tcp:%s does not answer (%lld ms)", address,
                             limit_ns / NS_PER_MS);
        int n = poll(fds, env->cut_fd >= 0 ? 2 : 1, (int)(left_ns / NS_PER_MS) + 1);
        if (n < 0 && errno != EINTR)
            return error_set_errno(err, errno, "poll");
        if (n > 0 && fds[1].revents)
            return error_set(err, ERR_CANCELLED, "cut by a safe request");
        if (n > 0)
            break;
    }
    int failure = 0;
    socklen_t length = sizeof failure;
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure, &length);
    if (failure)
        return error_set(err, ERR_NO_ANSWER, "tcp:%s: %s", address, strerror(failure));
    return 0;
}

static int connect_one(struct transport_stream *s, const struct addrinfo *info, const char *address,
                       struct error *err)
{
    s->fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s->fd < 0)
        return error_set_errno(err, errno, "socket");
    int one = 1;
    setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(s->fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
    int code = 0;
    if (clock_is_virtual(s->env->clock)) {
        uint32_t port = 0;
        code = bind_first(s->fd, info->ai_family, &port, err);
        if (!code)
            s->link = clock_link_open(s->env->actor, port);
    }
    if (!code && connect(s->fd, info->ai_addr, info->ai_addrlen) < 0) {
        if (errno == EINPROGRESS)
            code = finish_connect(s->fd, s->env, address, err);
        else
            code = error_set(err, ERR_NO_ANSWER, "tcp:%s: %s", address, strerror(errno));
    }
    if (code) {
        clock_link_close(s->env->clock, s->link);
        s->link = -1;
        close(s->fd);
    }
    return code;
}

static int tcp_open(const struct transport_env *env, const char *name, const char *address,
                    struct transport **ret, struct error *err)
{
    (void)name;
    char host[HOST_MAX], port[8];
    int code = split(address, host, port, err);
    if (code)
        return code;
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
                              .ai_family = AF_UNSPEC,
                              .ai_flags = AI_NUMERICSERV };
    struct addrinfo *list = NULL;
    int failure = getaddrinfo(host, port, &hints, &list);
    if (failure)
        return error_set(err, ERR_NO_ANSWER, "tcp:%s: %s", address, gai_strerror(failure));
    struct transport_stream *s = calloc(1, sizeof *s);
    if (!s) {
        freeaddrinfo(list);
        return error_set(err, ERR_MEMORY, "transport");
    }
    *s = (struct transport_stream){ .base.ops = &transport_tcp, .env = env, .fd = -1, .link = -1 };
    code = ERR_NO_ANSWER;
    for (const struct addrinfo *info = list; info && code && code != ERR_CANCELLED; info = info->ai_next)
        code = connect_one(s, info, address, err);
    freeaddrinfo(list);
    if (code) {
        free(s);
        return code;
    }
    *ret = &s->base;
    return 0;
}

const struct transport_ops transport_tcp = {
    .prefix = "tcp",
    .open = tcp_open,
    .read = transport_stream_read,
    .write = transport_stream_write,
    .flush = transport_stream_flush,
    .close = transport_stream_close,
    .fd = transport_stream_fd,
};
