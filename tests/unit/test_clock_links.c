/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_clock_links: bytes under way hold virtual time, over sockets and pseudo-terminals. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/base/clock.h"
#include "tests/unit/clock_rig.h"

struct echo {
    struct sim_loop *loop;
    struct sim_link *link;
    struct echo *order; /* shared: who was handled first */
    int id, handled[64], handled_n;
    int64_t delay_ns;
};

static void echo_bytes(void *context, int client, const uint8_t *bytes, size_t n)
{
    struct echo *echo = context;
    if (echo->order->handled_n < 64)
        echo->order->handled[echo->order->handled_n++] = echo->id;
    sim_link_send(echo->link, client, bytes, n, sim_now(echo->loop) + echo->delay_ns);
}

struct caller {
    struct clock *clock;
    struct clock_actor *actor;
    int port, rounds;
    int64_t done_ns;
    int fd, link;
};

static void caller_connect(struct caller *me)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)me->port) }, own;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof own;
    me->fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(me->fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(getsockname(me->fd, (struct sockaddr *)&own, &length), 0);
    me->link = clock_link_open(me->actor, ntohs(own.sin_port));
    assert_true(me->link >= 0);
}

static void *call(void *context)
{
    struct caller *me = context;
    caller_connect(me);
    for (int i = 0; i < me->rounds; i++) {
        /* Everybody asks at the same instant; nobody hears an answer before. */
        assert_int_equal(clock_sleep_until(me->actor, (i + 1) * NS_PER_S, -1), 0);
        char text[64], back[64];
        int n = snprintf(text, sizeof text, "MEASURE:VOLTAGE? %d", i);
        assert_int_equal(write(me->fd, text, (size_t)n), n);
        clock_link_sent(me->clock, me->link, (size_t)n);
        for (int got = 0; got < n;) {
            struct pollfd in = { .fd = me->fd, .events = POLLIN };
            assert_int_equal(clock_poll(me->actor, &in, 1, clock_now(me->clock) + NS_PER_S, 0), 1);
            ssize_t count = read(me->fd, back + got, sizeof back - (size_t)got);
            assert_true(count > 0);
            clock_link_received(me->clock, me->link, (size_t)count);
            got += (int)count;
            if (got == n)
                assert_memory_equal(back, text, (size_t)n);
        }
        me->done_ns = clock_now(me->clock) - (i + 1) * NS_PER_S;
        assert_in_range(me->done_ns, NS_PER_MS, NS_PER_MS + 60 * NS_PER_US);
    }
    close(me->fd);
    clock_link_close(me->clock, me->link);
    clock_actor_close(me->actor);
    return NULL;
}

static int resource_port(const struct sim_link *link)
{
    return atoi(strrchr(sim_link_resource(link), ':') + 1);
}

static void links_answer_in_rank_order_at_their_time(void **state)
{
    (void)state;
    struct fixture f;
    prepare(&f);
    const struct sim_link_ops ops = { .on_bytes = echo_bytes };
    struct echo echo[3] = { { .loop = f.loop, .id = 0 },
                            { .loop = f.loop, .id = 1 },
                            { .loop = f.loop, .id = 2 } };
    struct caller caller[3];
    pthread_t thread[3];
    for (int i = 0; i < 3; i++) {
        char name[24];
        snprintf(name, sizeof name, "echo%d", i);
        echo[i].delay_ns = NS_PER_MS;
        echo[i].order = echo;
        assert_int_equal(sim_link_open(f.loop, &(struct sim_link_options){ .name = name }, &ops, &echo[i],
                                       &echo[i].link, NULL),
                         0);
    }
    start(&f);
    for (int i = 0; i < 3; i++) {
        caller[i] = (struct caller){ .clock = f.clock, .port = resource_port(echo[i].link), .rounds = 20 };
        assert_int_equal(clock_actor_open(f.clock, "caller", CLOCK_RANK_PORT + 2 - i, &caller[i].actor, NULL),
                         0);
    }
    for (int i = 0; i < 3; i++)
        pthread_create(&thread[i], NULL, call, &caller[i]);
    for (int i = 0; i < 3; i++)
        pthread_join(thread[i], NULL);
    assert_int_equal(echo[0].handled_n, 60);
    for (int i = 0; i < 60; i++)
        assert_int_equal(echo[0].handled[i], 2 - i % 3);
    finish(&f);
}

/* The same over a pseudo-terminal, closed and opened again: its accounting starts afresh each time. */
static void a_pty_is_accounted_too(void **state)
{
    (void)state;
    struct fixture f;
    prepare(&f);
    const struct sim_link_ops ops = { .on_bytes = echo_bytes };
    struct echo echo = { .loop = f.loop, .delay_ns = NS_PER_MS };
    struct sim_link_options options = { .name = "tty", .kind = SIM_LINK_PTY };
    echo.order = &echo;
    assert_int_equal(sim_link_open(f.loop, &options, &ops, &echo, &echo.link, NULL), 0);
    start(&f);
    struct clock_actor *actor;
    assert_int_equal(clock_actor_open(f.clock, "caller", 1, &actor, NULL), 0);
    static uint8_t sent[20000], got[20000];
    for (size_t i = 0; i < sizeof sent; i++)
        sent[i] = (uint8_t)(i * 7 + i / 256);
    for (int round = 0; round < 10; round++) {
        struct stat status;
        int fd = open(strchr(sim_link_resource(echo.link), ':') + 1, O_RDWR | O_NOCTTY | O_NONBLOCK);
        assert_true(fd >= 0);
        assert_int_equal(fstat(fd, &status), 0);
        int link = clock_link_open(actor, minor(status.st_rdev) | 0x80000000u);
        int64_t start_ns = clock_now(f.clock);
        /* More than a terminal holds: writing has to wait for room. */
        for (size_t out = 0, in = 0; in < sizeof got;) {
            struct pollfd p = { .fd = fd, .events = (short)(POLLIN | (out < sizeof sent ? POLLOUT : 0)) };
            assert_int_equal(clock_poll(actor, &p, 1, start_ns + NS_PER_S, 0), 1);
            ssize_t n = p.revents & POLLOUT ? write(fd, sent + out, sizeof sent - out) : 0;
            if (n > 0) {
                clock_link_sent(f.clock, link, (size_t)n);
                out += (size_t)n;
            }
            n = p.revents & POLLIN ? read(fd, got + in, sizeof got - in) : 0;
            if (n > 0) {
                clock_link_received(f.clock, link, (size_t)n);
                in += (size_t)n;
            }
        }
        assert_memory_equal(sent, got, sizeof got);
        assert_in_range(clock_now(f.clock) - start_ns, NS_PER_MS, 3 * NS_PER_MS);
        close(fd);
        clock_link_close(f.clock, link);
    }
    clock_actor_close(actor);
    finish(&f);
}

/* Opens the link as an actor does, by its kind. */
static void caller_open(struct caller *me, const struct sim_link *link, int kind)
{
    struct stat status;
    if (kind == SIM_LINK_TCP) {
        me->port = resource_port(link);
        caller_connect(me);
        return;
    }
    me->fd = open(strchr(sim_link_resource(link), ':') + 1, O_RDWR | O_NOCTTY | O_NONBLOCK);
    assert_true(me->fd >= 0);
    assert_int_equal(fstat(me->fd, &status), 0);
    me->link = clock_link_open(me->actor, minor(status.st_rdev) | 0x80000000u);
}

static void caller_close(struct caller *me)
{
    close(me->fd);
    clock_link_close(me->clock, me->link);
    clock_actor_close(me->actor);
}

/* One echo that answers after delay_ns, and one who calls it. */
static void open_pair(struct fixture *f, struct echo *echo, struct caller *me, int kind, int64_t delay_ns)
{
    const struct sim_link_ops ops = { .on_bytes = echo_bytes };
    struct sim_link_options options = { .name = "echo", .kind = kind };
    prepare(f);
    *echo = (struct echo){ .loop = f->loop, .delay_ns = delay_ns, .order = echo };
    assert_int_equal(sim_link_open(f->loop, &options, &ops, echo, &echo->link, NULL), 0);
    start(f);
    *me = (struct caller){ .clock = f->clock };
    assert_int_equal(clock_actor_open(f->clock, "caller", 1, &me->actor, NULL), 0);
    caller_open(me, echo->link, kind);
}

/* An answer that nobody wants any more (its reader has timed out) must not stop the world. */
static void unread_bytes_do_not_hold_time(void **state)
{
    (void)state;
    for (int kind = SIM_LINK_TCP; kind <= SIM_LINK_PTY; kind++) {
        struct fixture f;
        struct echo echo;
        struct caller me;
        open_pair(&f, &echo, &me, kind, 2 * NS_PER_S);
        assert_int_equal(write(me.fd, "?", 1), 1);
        clock_link_sent(me.clock, me.link, 1);
        struct pollfd in = { .fd = me.fd, .events = POLLIN };
        assert_int_equal(clock_poll(me.actor, &in, 1, NS_PER_S, 0), 0);
        assert_int_equal(clock_sleep_until(me.actor, 10 * NS_PER_S, -1), 0); /* the answer comes at 2 s */
        assert_int_equal(clock_now(f.clock), 10 * NS_PER_S);
        assert_int_equal(clock_poll(me.actor, &in, 1, 11 * NS_PER_S, 0), 1);
        caller_close(&me);
        finish(&f);
    }
}

static void *write_late(void *context)
{
    const struct caller *me = context;
    usleep(120000);
    assert_int_equal(write(me->fd, "?", 1), 1);
    return NULL;
}

/* A kernel that is short of time brings bytes late: they still belong to the instant they were sent at. */
static void bytes_on_their_way_hold_time(void **state)
{
    (void)state;
    for (int kind = SIM_LINK_TCP; kind <= SIM_LINK_PTY; kind++) {
        struct fixture f;
        struct echo echo;
        struct caller me;
        pthread_t thread;
        open_pair(&f, &echo, &me, kind, NS_PER_MS);
        clock_link_sent(me.clock, me.link, 1);
        assert_int_equal(pthread_create(&thread, NULL, write_late, &me), 0);
        struct pollfd in = { .fd = me.fd, .events = POLLIN };
        assert_int_equal(clock_poll(me.actor, &in, 1, NS_PER_S, 0), 1);
        assert_int_equal(clock_now(f.clock), NS_PER_MS);
        pthread_join(thread, NULL);
        caller_close(&me);
        finish(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(links_answer_in_rank_order_at_their_time),
        cmocka_unit_test(a_pty_is_accounted_too),
        cmocka_unit_test(unread_bytes_do_not_hold_time),
        cmocka_unit_test(bytes_on_their_way_hold_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
