/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_clock: virtual time between threads, processes and links: order, lost wake-ups, dead and stopped
 * actors. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/base/clock.h"
#include "daemon/base/rng.h"
#include "drivers/sim/loop.h"

enum { ROUNDS = 1000, ACTORS = 4, PING_PONGS = 20000, LOG_MAX = ACTORS * ROUNDS * 2 };

struct fixture {
    char dir[64], socket[96];
    struct sim_loop *loop;
    struct clock *clock;
    pthread_t thread;
};

static void *serve(void *context)
{
    assert_int_equal(sim_loop_run(context, NULL), 0);
    return NULL;
}

/* The loop runs from start() on; links are opened before. */
static void prepare(struct fixture *f)
{
    struct error err;
    strcpy(f->dir, "/tmp/nightbench-clock-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->socket, sizeof f->socket, "%s/clock.sock", f->dir);
    assert_int_equal(sim_loop_open(f->dir, true, 1, &f->loop, &err), 0);
}

static void start(struct fixture *f)
{
    struct error err;
    assert_int_equal(pthread_create(&f->thread, NULL, serve, f->loop), 0);
    assert_int_equal(clock_open(f->socket, &f->clock, &err), 0);
    assert_true(clock_is_virtual(f->clock));
}

static void finish(struct fixture *f)
{
    clock_close(f->clock);
    sim_loop_stop(f->loop);
    pthread_join(f->thread, NULL);
    sim_loop_close(f->loop);
    rmdir(f->dir);
}

/* ---- Order ---- */

struct log {
    pthread_mutex_t lock;
    int n;
    struct entry {
        int64_t now_ns;
        int who, what;
    } entry[LOG_MAX];
};

static int compare_entries(const void *left, const void *right)
{
    const struct entry *a = left, *b = right;
    if (a->now_ns != b->now_ns)
        return a->now_ns < b->now_ns ? -1 : 1;
    return a->who != b->who ? a->who - b->who : a->what - b->what;
}

static void note(struct log *log, int64_t now_ns, int who, int what)
{
    pthread_mutex_lock(&log->lock);
    if (log->n < LOG_MAX) {
        log->entry[log->n].now_ns = now_ns;
        log->entry[log->n].who = who;
        log->entry[log->n++].what = what;
    }
    pthread_mutex_unlock(&log->lock);
}

struct player {
    struct clock *clock;
    struct clock_actor *actor;
    struct log *log;
    struct player *all;
    int index, mail_fd, slot;
};

/* Sleeps to a tie with everybody, then writes to a neighbour who waits for it after his own tie. */
static void *play(void *context)
{
    struct player *me = context;
    struct rng rng;
    rng_init(&rng, 7, "play", (uint64_t)me->index, 0, 0);
    for (int round = 1; round <= ROUNDS; round++) {
        assert_int_equal(clock_sleep_until(me->actor, round * NS_PER_MS, -1), 0);
        note(me->log, clock_now(me->clock), me->index, round);
        /* A private time inside the round, different for everyone. */
        int64_t own_ns = round * NS_PER_MS + 1000 * (int64_t)rng_below(&rng, 500) + me->index;
        assert_int_equal(clock_sleep_until(me->actor, own_ns, -1), 0);
        struct player *next = &me->all[(me->index + 1) % ACTORS];
        uint64_t one = 1;
        assert_int_equal(write(next->mail_fd, &one, sizeof one), sizeof one);
        clock_notify(me->clock, next->slot);
        struct pollfd mail = { .fd = me->mail_fd, .events = POLLIN };
        assert_int_equal(clock_poll(me->actor, &mail, 1, CLOCK_NEVER, 0), 1);
        assert_int_equal(read(me->mail_fd, &one, sizeof one), sizeof one);
        assert_int_equal(one, 1);
        note(me->log, clock_now(me->clock), me->index, -round);
    }
    clock_actor_close(me->actor);
    return NULL;
}

static void play_all(struct log *log)
{
    struct fixture f;
    prepare(&f);
    start(&f);
    struct player player[ACTORS];
    pthread_t thread[ACTORS];
    for (int i = 0; i < ACTORS; i++) {
        /* Ranks against the order of registration. */
        player[i] = (struct player){
            .clock = f.clock, .log = log, .all = player, .index = i, .mail_fd = eventfd(0, EFD_NONBLOCK)
        };
        char name[24];
        snprintf(name, sizeof name, "player%d", i);
        assert_int_equal(clock_actor_open(f.clock, name, ACTORS - i, &player[i].actor, NULL), 0);
        player[i].slot = clock_actor_slot(player[i].actor);
    }
    for (int i = 0; i < ACTORS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, play, &player[i]), 0);
    for (int i = 0; i < ACTORS; i++)
        pthread_join(thread[i], NULL);
    for (int i = 0; i < ACTORS; i++)
        close(player[i].mail_fd);
    finish(&f);
}

static void ties_order_by_rank_and_two_runs_are_identical(void **state)
{
    (void)state;
    struct log *log[2];
    for (int run = 0; run < 2; run++) {
        log[run] = calloc(1, sizeof *log[run]);
        assert_non_null(log[run]);
        pthread_mutex_init(&log[run]->lock, NULL);
        play_all(log[run]);
        assert_int_equal(log[run]->n, LOG_MAX);
    }
    /* Ties are woken one after the other, by rank. */
    int expect_who[ROUNDS + 1] = { 0 };
    for (int i = 0; i < LOG_MAX; i++) {
        int round = log[0]->entry[i].what;
        if (round < 0)
            continue;
        assert_int_equal(log[0]->entry[i].now_ns, round * NS_PER_MS);
        assert_int_equal(log[0]->entry[i].who, ACTORS - 1 - expect_who[round]++);
    }
    /* A writer and its reader run side by side at one virtual time, so that their lines may swap: compare
     * sorted. */
    for (int run = 0; run < 2; run++)
        qsort(log[run]->entry, LOG_MAX, sizeof log[run]->entry[0], compare_entries);
    assert_memory_equal(log[0]->entry, log[1]->entry, sizeof log[0]->entry);
    free(log[0]);
    free(log[1]);
}

/* ---- Lost wake-ups ---- */

struct pong {
    struct clock *clock;
    struct clock_actor *actor, *other;
    int in_fd, out_fd;
    bool first;
};

static void *ping_pong(void *context)
{
    struct pong *me = context;
    uint64_t one = 1;
    for (int i = 0; i < PING_PONGS; i++) {
        if (me->first || i > 0) {
            assert_int_equal(write(me->out_fd, &one, sizeof one), sizeof one);
            clock_notify(me->clock, clock_actor_slot(me->other));
        }
        struct pollfd in = { .fd = me->in_fd, .events = POLLIN };
        /* A lost wake-up would show as a jump of an hour. */
        assert_int_equal(clock_poll(me->actor, &in, 1, 3600 * NS_PER_S, 0), 1);
        assert_int_equal(read(me->in_fd, &one, sizeof one), sizeof one);
    }
    if (!me->first) {
        assert_int_equal(write(me->out_fd, &one, sizeof one), sizeof one);
        clock_notify(me->clock, clock_actor_slot(me->other));
    }
    assert_int_equal(clock_now(me->clock), 0);
    return NULL;
}

static void no_wake_up_is_lost(void **state)
{
    (void)state;
    struct fixture f;
    prepare(&f);
    start(&f);
    int fd[2] = { eventfd(0, EFD_NONBLOCK), eventfd(0, EFD_NONBLOCK) };
    struct pong a = { .clock = f.clock, .in_fd = fd[0], .out_fd = fd[1], .first = true };
    struct pong b = { .clock = f.clock, .in_fd = fd[1], .out_fd = fd[0] };
    assert_int_equal(clock_actor_open(f.clock, "a", 1, &a.actor, NULL), 0);
    assert_int_equal(clock_actor_open(f.clock, "b", 2, &b.actor, NULL), 0);
    a.other = b.actor;
    b.other = a.actor;
    pthread_t thread[2];
    pthread_create(&thread[0], NULL, ping_pong, &a);
    pthread_create(&thread[1], NULL, ping_pong, &b);
    pthread_join(thread[0], NULL);
    pthread_join(thread[1], NULL);
    clock_actor_close(a.actor);
    clock_actor_close(b.actor);
    close(fd[0]);
    close(fd[1]);
    finish(&f);
}

/* A notify that comes after its event was consumed must not freeze time: the actor sleeps, yet counts as
 * running. */
static void late_notify_is_harmless(void **state)
{
    (void)state;
    struct fixture f;
    prepare(&f);
    start(&f);
    struct clock_actor *actor;
    assert_int_equal(clock_actor_open(f.clock, "a", 1, &actor, NULL), 0);
    for (int i = 1; i <= 20; i++) {
        pid_t child = fork();
        if (child == 0) {
            usleep(1000);
            clock_notify(f.clock, clock_actor_slot(actor)); /* nothing became readable */
            _exit(0);
        }
        struct pollfd never = { .fd = -1 };
        assert_int_equal(clock_poll(actor, &never, 1, CLOCK_NEVER, 5 * NS_PER_MS), ERR_TIMEOUT);
        waitpid(child, NULL, 0);
        assert_int_equal(clock_sleep_until(actor, i * NS_PER_S, -1), 0);
        assert_int_equal(clock_now(f.clock), i * NS_PER_S);
    }
    clock_actor_close(actor);
    finish(&f);
}

/* ---- Dead and stopped processes ---- */

/* Registers in a child and never blocks. Returns its pid once it is an actor. */
static pid_t spawn_runaway(struct fixture *f)
{
    int ready[2];
    char byte = 0;
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        struct clock *clock;
        struct clock_actor *actor;
        bool ok = clock_open(f->socket, &clock, NULL) == 0 &&
                  clock_actor_open(clock, "runaway", 5, &actor, NULL) == 0;
        if (!ok || write(ready[1], &byte, 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    return child;
}

static void a_running_actor_holds_time_until_it_dies(void **state)
{
    (void)state;
    for (int evict = 0; evict < 2; evict++) {
        struct fixture f;
        struct error err;
        struct clock_actor *actor;
        prepare(&f);
        start(&f);
        pid_t child = spawn_runaway(&f);
        assert_int_equal(clock_actor_open(f.clock, "a", 1, &actor, NULL), 0);
        struct pollfd never = { .fd = -1 };
        assert_int_equal(clock_poll(actor, &never, 1, NS_PER_S, 30 * NS_PER_MS), ERR_TIMEOUT);
        assert_int_equal(clock_now(f.clock), 0);
        if (evict) {
            kill(child, SIGSTOP);
            assert_int_equal(clock_evict(f.clock, child, &err), 0);
        } else {
            kill(child, SIGKILL);
        }
        assert_int_equal(clock_sleep_until(actor, NS_PER_S, -1), 0);
        assert_int_equal(clock_now(f.clock), NS_PER_S);
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        clock_actor_close(actor);
        finish(&f);
    }
}

static void a_cut_ends_a_sleep(void **state)
{
    (void)state;
    for (int is_virtual = 0; is_virtual < 2; is_virtual++) {
        struct fixture f;
        struct clock *clock = NULL;
        struct clock_actor *actor;
        prepare(&f);
        start(&f);
        assert_int_equal(clock_open(is_virtual ? f.socket : NULL, &clock, NULL), 0);
        assert_int_equal(clock_actor_open(clock, "a", 1, &actor, NULL), 0);
        int cut = eventfd(1, EFD_NONBLOCK);
        assert_int_equal(clock_sleep_until(actor, clock_now(clock) + 3600 * NS_PER_S, cut), ERR_CANCELLED);
        uint64_t count;
        assert_int_equal(read(cut, &count, sizeof count), sizeof count);
        int64_t end_ns = clock_now(clock) + 2 * NS_PER_MS;
        assert_int_equal(clock_sleep_until(actor, end_ns, cut), 0);
        assert_true(clock_now(clock) >= end_ns);
        close(cut);
        clock_actor_close(actor);
        clock_close(clock);
        finish(&f);
    }
}

/* ---- Links ---- */

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
        cmocka_unit_test(ties_order_by_rank_and_two_runs_are_identical),
        cmocka_unit_test(no_wake_up_is_lost),
        cmocka_unit_test(late_notify_is_harmless),
        cmocka_unit_test(a_running_actor_holds_time_until_it_dies),
        cmocka_unit_test(a_cut_ends_a_sleep),
        cmocka_unit_test(links_answer_in_rank_order_at_their_time),
        cmocka_unit_test(a_pty_is_accounted_too),
        cmocka_unit_test(unread_bytes_do_not_hold_time),
        cmocka_unit_test(bytes_on_their_way_hold_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
