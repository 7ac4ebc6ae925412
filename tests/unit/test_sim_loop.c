/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_sim_loop: a simulated world that has no room for one more timer ends with an error; an actor that gets
 * up while the server decides is not passed over. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "drivers/sim/loop.c"

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

/* What clock_poll() does to its word and deadline, without its thread: so that the order is ours. */
static void lie_down(struct clock_slot *slot, int64_t deadline_ns)
{
    atomic_store(&slot->in_use, 1);
    atomic_store(&slot->deadline_ns, deadline_ns);
    atomic_fetch_or(&slot->word, CLOCK_BLOCKED | CLOCK_ASLEEP);
}

static void get_up(struct clock_slot *slot)
{
    uint64_t word = atomic_load(&slot->word);
    atomic_store(&slot->word, (word + CLOCK_COUNT) & ~(uint64_t)(CLOCK_BLOCKED | CLOCK_ASLEEP));
    atomic_store(&slot->deadline_ns, CLOCK_NEVER);
}

/* A nudge that comes late, a heartbeat, a limit in host time: an actor gets up between the server's look at
 * the words and its look at the deadlines. Its deadline is the earliest, and it is not there to be seen. */
static void who_gets_up_for_nothing_is_not_passed_over(void **state)
{
    char dir[] = "/tmp/nb-loop.XXXXXX";
    struct sim_loop *loop;
    struct error err = { 0 };

    (void)state;
    assert_non_null(mkdtemp(dir));
    assert_int_equal(sim_loop_open(dir, true, 1, &loop, &err), 0);
    struct clock_slot *early = &loop->page->actor[0], *late = &loop->page->actor[1];
    lie_down(early, NS_PER_MS);
    lie_down(late, NS_PER_S);
    assert_int_equal(clock_server_actors(loop), ACTORS_BLOCKED);
    get_up(early);
    assert_int_equal(perform_earliest(loop), LOOK_RUNNING);
    assert_int_equal(sim_now(loop), 0);

    lie_down(early, NS_PER_MS);
    assert_int_equal(look_virtual(loop), LOOK_AGAIN);
    assert_int_equal(sim_now(loop), NS_PER_MS);
    assert_int_equal(look_virtual(loop), LOOK_RUNNING); /* the early one was woken, and has not slept since */
    lie_down(early, CLOCK_NEVER);
    assert_int_equal(look_virtual(loop), LOOK_AGAIN);
    assert_int_equal(sim_now(loop), NS_PER_S);
    sim_loop_close(loop);
    rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_timer_that_does_not_fit_ends_the_world),
        cmocka_unit_test(who_gets_up_for_nothing_is_not_passed_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
