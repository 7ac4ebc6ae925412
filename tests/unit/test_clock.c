/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_clock: virtual time between threads and processes: order, lost wake-ups, dead and stopped actors. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/base/clock.h"
#include "daemon/base/rng.h"
#include "tests/unit/clock_rig.h"

enum { ROUNDS = 1000, ACTORS = 4, PING_PONGS = 20000, LOG_MAX = ACTORS * ROUNDS * 2 };

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

static void who_is_dropped_has_lost_the_clock(void **state)
{
    (void)state;
    struct fixture f;
    struct error err;
    struct clock_actor *actor;
    prepare(&f);
    start(&f);
    assert_int_equal(clock_actor_open(f.clock, "a", 1, &actor, NULL), 0);
    assert_int_equal(clock_sleep_until(actor, NS_PER_S, -1), 0);
    assert_false(clock_is_lost(f.clock));
    assert_int_equal(clock_evict(f.clock, getpid(), &err), 0);
    assert_int_equal(clock_sleep_until(actor, 2 * NS_PER_S, -1), ERR_FENCED);
    assert_true(clock_is_lost(f.clock));
    clock_actor_close(actor);
    finish(&f);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ties_order_by_rank_and_two_runs_are_identical),
        cmocka_unit_test(no_wake_up_is_lost),
        cmocka_unit_test(late_notify_is_harmless),
        cmocka_unit_test(a_running_actor_holds_time_until_it_dies),
        cmocka_unit_test(a_cut_ends_a_sleep),
        cmocka_unit_test(who_is_dropped_has_lost_the_clock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
