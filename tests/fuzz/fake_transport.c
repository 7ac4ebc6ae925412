/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * fake_transport: see the header. */
#include "tests/fuzz/fake_transport.h"

#include <string.h>

#include "drivers/driver.h"
#include "drivers/transport.h"

static struct {
    const uint8_t *data;
    size_t size, at, piece, sent;
    bool lines;
    uint8_t out[FAKE_SENT_MAX];
    int64_t now_ns;
    struct transport transport;
} peer;

void fake_transport_feed(const uint8_t *data, size_t size, size_t piece, bool lines)
{
    peer.data = data;
    peer.size = size;
    peer.at = peer.sent = 0;
    peer.piece = piece > 0 ? piece : 1;
    peer.lines = lines;
    peer.now_ns = 0;
}

size_t fake_transport_sent(const uint8_t **ret_bytes)
{
    *ret_bytes = peer.out;
    return peer.sent < FAKE_SENT_MAX ? peer.sent : FAKE_SENT_MAX;
}

int64_t clock_now(const struct clock *clock)
{
    (void)clock;
    return peer.now_ns += NS_PER_MS;
}

int clock_sleep_until(struct clock_actor *actor, int64_t deadline_ns, int cut_fd)
{
    (void)actor;
    (void)cut_fd;
    peer.now_ns = deadline_ns > peer.now_ns ? deadline_ns : peer.now_ns;
    return 0;
}

/* A socket, in as far as that can be seen. */
static int no_fd(const struct transport *transport)
{
    (void)transport;
    return -1;
}

static const struct transport_ops OPS = { .prefix = "tcp", .fd = no_fd };

int transport_open(const struct transport_env *env, const char *name, const char *resource,
                   struct transport **ret, struct error *err)
{
    (void)env;
    (void)name;
    (void)resource;
    (void)err;
    peer.transport.ops = &OPS;
    *ret = &peer.transport;
    return 0;
}

int transport_read(struct transport *transport, void *data, size_t size, int64_t deadline_ns, size_t *ret_n,
                   struct error *err)
{
    size_t n = peer.size - peer.at;

    (void)transport;
    (void)deadline_ns;
    if (n == 0)
        return error_set(err, ERR_LINK, "the peer closed the link");
    n = n < size ? n : size;
    n = n < peer.piece ? n : peer.piece;
    const uint8_t *end = peer.lines ? memchr(peer.data + peer.at, '\n', n) : NULL;
    if (end != NULL)
        n = (size_t)(end + 1 - (peer.data + peer.at));
    memcpy(data, peer.data + peer.at, n);
    peer.at += n;
    *ret_n = n;
    return 0;
}

int transport_read_all(struct transport *transport, void *data, size_t n, int64_t deadline_ns,
                       struct error *err)
{
    int code = 0;

    for (size_t have = 0, part = 0; have < n && code == 0; have += part)
        code = transport_read(transport, (uint8_t *)data + have, n - have, deadline_ns, &part, err);
    return code;
}

int transport_write(struct transport *transport, const void *data, size_t n, int64_t deadline_ns,
                    struct error *err)
{
    (void)transport;
    (void)deadline_ns;
    (void)err;
    for (size_t i = 0; i < n && peer.sent + i < FAKE_SENT_MAX; i++)
        peer.out[peer.sent + i] = ((const uint8_t *)data)[i];
    peer.sent += n;
    return 0;
}

/* Nothing is thrown away: the peer's next bytes have not arrived yet. */
void transport_flush(struct transport *transport)
{
    (void)transport;
}

int transport_drain(struct transport *transport, const struct transport_env *env, int64_t quiet_ns,
                    struct error *err)
{
    (void)transport;
    (void)env;
    (void)quiet_ns;
    (void)err;
    return 0;
}

void transport_close(struct transport *transport)
{
    (void)transport;
}

int transport_line(const char *resource, struct driver_line *ret, struct error *err)
{
    (void)ret;
    return error_set(err, ERR_UNSUPPORTED, "'%s' is no line that several share", resource);
}
