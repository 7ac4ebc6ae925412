/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * clock_rig: a simulator's loop in this process and one connection to its clock. */
#ifndef TESTS_UNIT_CLOCK_RIG_H
#define TESTS_UNIT_CLOCK_RIG_H

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/base/clock.h"
#include "drivers/sim/loop.h"

struct fixture {
    char dir[64], socket[96];
    struct sim_loop *loop;
    struct clock *clock;
    pthread_t thread;
};

static inline void *serve(void *context)
{
    assert_int_equal(sim_loop_run(context, NULL), 0);
    return NULL;
}

/* The loop runs from start() on; links are opened before. */
static inline void prepare(struct fixture *f)
{
    struct error err;
    strcpy(f->dir, "/tmp/nightbench-clock-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->socket, sizeof f->socket, "%s/clock.sock", f->dir);
    assert_int_equal(sim_loop_open(f->dir, true, 1, &f->loop, &err), 0);
}

static inline void start(struct fixture *f)
{
    struct error err;
    assert_int_equal(pthread_create(&f->thread, NULL, serve, f->loop), 0);
    assert_int_equal(clock_open(f->socket, &f->clock, &err), 0);
    assert_true(clock_is_virtual(f->clock));
}

static inline void finish(struct fixture *f)
{
    clock_close(f->clock);
    sim_loop_stop(f->loop);
    pthread_join(f->thread, NULL);
    sim_loop_close(f->loop);
    rmdir(f->dir);
}

#endif
