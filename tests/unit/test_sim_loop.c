/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_sim_loop: a simulated world that has no room for one more timer ends with an error. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "drivers/sim/loop.h"

static void never(void *context, int64_t now_ns)
{
    (void)context;
    (void)now_ns;
    fail_msg("a timer of the far future has come");
}

static void a_timer_that_does_not_fit_ends_the_world(void **state)
{
    char dir[] = "/tmp/nb-loop.XXXXXX";
    struct sim_loop *loop;
    struct error err = { 0 };

    (void)state;
    assert_non_null(mkdtemp(dir));
    assert_int_equal(sim_loop_open(dir, false, 1, &loop, &err), 0);
    for (int i = 0; i < SIM_EVENTS_MAX; i++)
        assert_true(sim_at(loop, INT64_MAX / 2, never, NULL) != 0);
    assert_true(sim_at(loop, INT64_MAX / 2, never, NULL) == 0);
    alarm(5); /* instead of for ever */
    assert_int_equal(sim_loop_run(loop, &err), ERR_FULL);
    alarm(0);
    sim_loop_close(loop);
    rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_timer_that_does_not_fit_ends_the_world),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
