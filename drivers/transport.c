/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * transport: choosing one by its prefix, the "sim:" lookup, and reading and writing a descriptor with
 * deadlines, the cut and the byte accounting of virtual time. */
#include "drivers/transport.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/base/json.h"
#include "drivers/interpose.h"
#include "drivers/visa.h"

static const struct transport_ops *const TRANSPORTS[] = { &transport_ftdi, &transport_prologix,
                                                          &transport_serial, &transport_tcp,
                                                          &transport_usbtmc };

enum { RESOURCE_MAX = 256, DRAIN_PASSES_MAX = 100000 };
/* What comes in so short a time could as well come after a flush: whoever asks must look at answers anyway.
 */
#define JUST_EMPTY_NS  (50 * NS_PER_US)
#define DRAIN_LIMIT_NS NS_PER_S /* and some times the quiet */

int transport_open_plain(const struct transport_env *env, const char *name, const char *resource,
                         struct transport **ret, struct error *err)
{
    char alias[RESOURCE_MAX];
    if (strstr(resource, "::")) {
        int code = visa_resource(resource, "/sys", alias, sizeof alias, err);
        if (code && code != ERR_NOT_FOUND)
            return code;
        if (!code)
            resource = alias;
    }
    for (size_t i = 0; i < sizeof TRANSPORTS / sizeof *TRANSPORTS; i++) {
        size_t n = strlen(TRANSPORTS[i]->prefix);
        if (strncmp(resource, TRANSPORTS[i]->prefix, n) == 0 && resource[n] == ':')
            return TRANSPORTS[i]->open(env, name, resource + n + 1, ret, err);
    }
    return error_set(
        err, ERR_INVALID,
        "resource '%s': unknown transport; write tcp:HOST:PORT, serial:PATH?baud=N, usbtmc:/dev/usbtmcN, "
        "prologix:tcp:HOST:1234/ADDRESS, ftdi:VID:PID[:SERIAL[:INTERFACE]] or sim:",
        resource);
}

/* Read afresh at every connect: a simulator that was started again has other ports. */
int transport_sim_resource(const struct transport_env *env, const char *name, char *out, size_t size,
                           struct error *err)
{
    if (!env->links_path)
        return error_set(err, ERR_INVALID, "resource 'sim:' needs the simulator's links.json (--links)");
    cJSON *root = NULL;
    int code = json_load(env->links_path, &root, err);
    if (code)
        return code;
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(root, name);
    if (cJSON_IsString(item) && strlen(item->valuestring) < size)
        snprintf(out, size, "%s", item->valuestring);
    else
        code = error_set(err, ERR_NOT_FOUND, "%s has no link for '%s'", env->links_path, name);
    cJSON_Delete(root);
    return code;
}

int transport_open(const struct transport_env *env, const char *name, const char *resource,
                   struct transport **ret, struct error *err)
{
    char found[RESOURCE_MAX];
    if (strncmp(resource, "sim:", 4) == 0) {
        int code = transport_sim_resource(env, resource[4] ? resource + 4 : name, found, sizeof found, err);
        if (code)
            return code;
        resource = found;
    }
    struct transport *transport = NULL;
    int code = transport_open_plain(env, name, resource, &transport, err);
    if (code)
        return code;
    if (env->trace_dir) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s.wire", env->trace_dir, name);
        code = interpose_trace_open(env, path, transport, &transport, err);
    }
    return code ? code : interpose_wrap(env, name, transport, ret, err);
}

int transport_read(struct transport *transport, void *data, size_t size, int64_t deadline_ns, size_t *ret_n,
                   struct error *err)
{
    return transport->ops->read(transport, data, size, deadline_ns, ret_n, err);
}

int transport_read_all(struct transport *transport, void *data, size_t n, int64_t deadline_ns,
                       struct error *err)
{
    uint8_t *next = data;
    while (n > 0) {
        size_t got = 0;
        int code = transport_read(transport, next, n, deadline_ns, &got, err);
        if (code)
            return code;
        next += got;
        n -= got;
    }
    return 0;
}

int transport_write(struct transport *transport, const void *data, size_t n, int64_t deadline_ns,
                    struct error *err)
{
    return transport->ops->write(transport, data, n, deadline_ns, err);
}

void transport_flush(struct transport *transport)
{
    transport->ops->flush(transport);
}

int transport_drain(struct transport *transport, const struct transport_env *env, int64_t quiet_ns,
                    struct error *err)
{
    int64_t end_ns = clock_now(env->clock) + DRAIN_LIMIT_NS + 4 * quiet_ns;
    for (int pass = 0; pass < DRAIN_PASSES_MAX && clock_now(env->clock) < end_ns; pass++) {
        uint8_t scrap[1024];
        size_t n;
        int code = transport_read(transport, scrap, sizeof scrap, clock_now(env->clock) + quiet_ns, &n, err);
        if (code == ERR_TIMEOUT)
            return 0;
        if (code)
            return code;
    }
    return error_set(err, ERR_GARBAGE, "the instrument does not stop sending");
}

void transport_close(struct transport *transport)
{
    if (transport)
        transport->ops->close(transport);
}

static bool is_socket(const struct transport_stream *s)
{
    return s->base.ops == &transport_tcp;
}

static ssize_t take(struct transport_stream *s, void *data, size_t size)
{
    ssize_t n = is_socket(s) ? recv(s->fd, data, size, 0) : read(s->fd, data, size);
    if (n > 0)
        clock_link_received(s->env->clock, s->link, (size_t)n);
    s->empty_ns = n > 0 && (size_t)n < size ? clock_now(s->env->clock) : 0;
    return n;
}

int transport_stream_read(struct transport *transport, void *data, size_t size, int64_t deadline_ns,
                          size_t *ret_n, struct error *err)
{
    struct transport_stream *s = (struct transport_stream *)transport;
    for (;;) {
        struct pollfd fds[2] = { { .fd = s->fd, .events = POLLIN },
                                 { .fd = s->env->cut_fd, .events = POLLIN } };
        int ready = clock_poll(s->env->actor, fds, s->env->cut_fd >= 0 ? 2 : 1, deadline_ns, 0);
        if (ready < 0)
            return error_set(err, ready, "waiting for an answer");
        if (ready == 0)
            return error_set(err, ERR_TIMEOUT, "no answer before the deadline");
        if (fds[1].revents)
            return error_set(err, ERR_CANCELLED, "cut by a safe request");
        ssize_t n = take(s, data, size);
        if (n > 0) {
            *ret_n = (size_t)n;
            return 0;
        }
        if (n == 0)
            return error_set(err, ERR_LINK, "the instrument closed the connection");
        if (errno != EINTR && errno != EAGAIN)
            return error_set(err, ERR_LINK, "read: %s", strerror(errno));
    }
}

/* A full send buffer is waited for in host time: the waiting actor then holds virtual time still, as it must
 * while bytes are on their way. */
static int wait_writable(const struct transport_stream *s, int64_t host_end_ns, struct error *err)
{
    struct pollfd fds[2] = { { .fd = s->fd, .events = POLLOUT }, { .fd = s->env->cut_fd, .events = POLLIN } };
    int64_t left_ms = (host_end_ns - clock_host_now()) / NS_PER_MS + 1;
    if (left_ms <= 0)
        return error_set(err, ERR_TIMEOUT, "the link does not take what is sent");
    if (poll(fds, s->env->cut_fd >= 0 ? 2 : 1, left_ms > 60000 ? 60000 : (int)left_ms) < 0 && errno != EINTR)
        return error_set_errno(err, errno, "poll");
    if (fds[1].revents)
        return error_set(err, ERR_CANCELLED, "cut by a safe request");
    return 0;
}

int transport_stream_write(struct transport *transport, const void *data, size_t n, int64_t deadline_ns,
                           struct error *err)
{
    struct transport_stream *s = (struct transport_stream *)transport;
    const uint8_t *next = data;
    int64_t host_end_ns = 0; /* known when it is needed */
    while (n > 0) {
        ssize_t sent = is_socket(s) ? send(s->fd, next, n, MSG_NOSIGNAL) : write(s->fd, next, n);
        if (sent > 0) {
            clock_link_sent(s->env->clock, s->link, (size_t)sent);
            next += sent;
            n -= (size_t)sent;
            continue;
        }
        if (sent < 0 && errno != EINTR && errno != EAGAIN)
            return error_set(err, ERR_LINK, "write: %s", strerror(errno));
        if (host_end_ns == 0)
            host_end_ns =
                clock_host_now() + (clock_is_virtual(s->env->clock) ? TRANSPORT_VIRTUAL_LIMIT_NS
                                                                    : deadline_ns - clock_now(s->env->clock));
        int code = wait_writable(s, host_end_ns, err);
        if (code)
            return code;
    }
    return 0;
}

void transport_stream_flush(struct transport *transport)
{
    struct transport_stream *s = (struct transport_stream *)transport;
    uint8_t scrap[1024];
    bool was_empty = s->empty_ns && clock_now(s->env->clock) - s->empty_ns < JUST_EMPTY_NS;
    if (was_empty && !clock_is_virtual(s->env->clock))
        return;
    while (take(s, scrap, sizeof scrap) > 0)
        ;
}

void transport_stream_close(struct transport *transport)
{
    struct transport_stream *s = (struct transport_stream *)transport;
    clock_link_close(s->env->clock, s->link);
    close(s->fd);
    free(s);
}

int transport_stream_fd(const struct transport *transport)
{
    return ((const struct transport_stream *)transport)->fd;
}
