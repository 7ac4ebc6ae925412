/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_ticker: looks at once and again, not before the period is over, and ends without waiting for it.
 */
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/base/clock.h"
#include "daemon/base/ticker.h"

enum { PATIENCE_S = 60, LOOKS = 4 };

struct rig {
    sem_t looked;
    int64_t time_ns[LOOKS]; /* of the first looks; the ticker's until LOOKS of them have been seen */
    int looks;
    int busy_us; /* how long a look takes */
    bool over;   /* the last look has come to its end */
};

static void look(void *context)
{
    struct rig *rig = context;

    rig->over = false;
    if (rig->looks < LOOKS)
        rig->time_ns[rig->looks++] = clock_host_now();
    sem_post(&rig->looked);
    usleep((useconds_t)rig->busy_us);
    rig->over = true;
}

static struct ticker *started(struct rig *rig, int64_t period_ns)
{
    struct ticker *ticker = NULL;
    struct error err;

    sem_init(&rig->looked, 0, 0);
    assert_int_equal(ticker_start("the test", period_ns, look, rig, &ticker, &err), 0);
    return ticker;
}

static void looks_once_in_a_period(void **state)
{
    const int64_t period_ns = 5 * NS_PER_MS;
    struct rig rig = { .looks = 0 };
    struct ticker *ticker = started(&rig, period_ns);

    (void)state;
    for (int i = 0; i < LOOKS; i++)
        sem_wait(&rig.looked);
    ticker_stop(ticker);
    for (int i = 1; i < LOOKS; i++)
        assert_true(rig.time_ns[i] - rig.time_ns[i - 1] >= period_ns);
    sem_destroy(&rig.looked);
}

/* Neither the first look nor the end waits for the period: main()'s alarm would come first. */
static void begins_and_ends_at_once(void **state)
{
    struct rig rig = { .looks = 0 };
    struct ticker *ticker = started(&rig, 3600 * NS_PER_S);

    (void)state;
    sem_wait(&rig.looked);
    usleep(20000); /* it waits by now; if not yet, this proves less, and still passes */
    ticker_stop(ticker);
    assert_int_equal(rig.looks, 1);
    sem_destroy(&rig.looked);
}

static void end_waits_for_a_look(void **state)
{
    struct rig rig = { .busy_us = 20000 };
    struct ticker *ticker = started(&rig, 3600 * NS_PER_S);

    (void)state;
    sem_wait(&rig.looked);
    ticker_stop(ticker);
    assert_true(rig.over);
    sem_destroy(&rig.looked);
}

static void none_is_stopped(void **state)
{
    (void)state;
    ticker_stop(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(looks_once_in_a_period),
        cmocka_unit_test(begins_and_ends_at_once),
        cmocka_unit_test(end_waits_for_a_look),
        cmocka_unit_test(none_is_stopped),
    };

    alarm(PATIENCE_S); /* a ticker that does not look, or does not end, ends the test */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
