/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_silence: who hangs and who only waits for a processor: the judgement as a table, the counting, and the
 * evidence of real processes. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/base/clock.h"
#include "daemon/keeper/silence.h"

#define LIMIT_NS   NS_PER_S
#define STARVED_NS (10 * NS_PER_S)
#define RAN_NS     (SILENCE_RAN_MS * NS_PER_MS)

static void the_judgement_is_a_table(void **state)
{
    static const struct {
        int64_t counted_ns;
        char before, now;
        int64_t ran_ns;
        enum silence_verdict verdict;
    } rows[] = {
        { LIMIT_NS, 'S', 'S', 0, SILENCE_NONE },
        { LIMIT_NS + 1, 'S', 'S', 0, SILENCE_HANGS }, /* a deadlock */
        { LIMIT_NS + 1, 'S', 'T', 0, SILENCE_HANGS }, /* stopped */
        { LIMIT_NS + 1, 'S', 't', 0, SILENCE_HANGS }, /* in a debugger */
        { LIMIT_NS + 1, 'R', 'Z', 0, SILENCE_HANGS },
        { LIMIT_NS + 1, 'S', 'R', RAN_NS, SILENCE_HANGS }, /* a loop without end */
        { LIMIT_NS + 1, 'S', 'R', RAN_NS - 1, SILENCE_STARVED },
        { LIMIT_NS + 1, 'S', 'D', 0, SILENCE_STARVED },
        { STARVED_NS, 'S', 'R', 0, SILENCE_STARVED },
        { STARVED_NS + 1, 'S', 'R', 0, SILENCE_HANGS }, /* it has had its time */
        { LIMIT_NS + 1, 0, 'R', 0, SILENCE_HANGS },     /* no evidence, no extension */
        { LIMIT_NS + 1, 'S', 0, 0, SILENCE_HANGS },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct silence_sample before = { rows[i].before, 7 }, now = { rows[i].now, 7 + rows[i].ran_ns };
        enum silence_verdict verdict =
            silence_verdict(rows[i].counted_ns, LIMIT_NS, STARVED_NS, &before, &now);
        if (verdict != rows[i].verdict)
            fail_msg("row %zu: %d, expected %d", i, (int)verdict, (int)rows[i].verdict);
    }
}

static void the_judges_own_pauses_do_not_count(void **state)
{
    struct silence silence = { 0 };
    const int64_t period_ns = 100 * NS_PER_MS, beat_ns = 5 * NS_PER_S;
    int64_t now_ns = beat_ns;
    (void)state;
    silence_look(&silence, getpid(), beat_ns, now_ns, period_ns);
    assert_int_equal(silence.counted_ns, 0);
    now_ns += 90 * NS_PER_MS;
    silence_look(&silence, getpid(), beat_ns, now_ns, period_ns);
    assert_int_equal(silence.counted_ns, 90 * NS_PER_MS);
    now_ns += 30 * NS_PER_S; /* the whole machine stood still */
    silence_look(&silence, getpid(), beat_ns, now_ns, period_ns);
    assert_int_equal(silence.counted_ns, 290 * NS_PER_MS);
    silence_excuse(&silence, now_ns);
    assert_int_equal(silence.counted_ns, 0);
    now_ns += 50 * NS_PER_MS;
    silence_look(&silence, getpid(), beat_ns, now_ns, period_ns);
    assert_int_equal(silence.counted_ns, 50 * NS_PER_MS);
    silence_look(&silence, getpid(), now_ns, now_ns, period_ns); /* a beat ends the silence */
    assert_int_equal(silence.counted_ns, 0);
}

/* Until the child is in that state: what this waits for is an event, not a time. */
static struct silence_sample wait_for_state(pid_t child, char state)
{
    for (;;) {
        struct silence_sample sample = silence_sample(child);
        if (sample.state == state)
            return sample;
        usleep(1000);
    }
}

static void the_kernel_tells_a_loop_from_a_sleep(void **state)
{
    struct silence silence = { 0 };
    bool news;
    (void)state;
    alarm(60); /* instead of for ever */
    pid_t child = fork();
    if (child == 0)
        for (;;)
            pause();
    wait_for_state(child, 'S');
    while (silence_runs(child)) /* a sanitizer has a thread of its own in the child, which wakes at times */
        usleep(1000);
    silence_look(&silence, child, 1, 1, NS_PER_S);
    silence_look(&silence, child, 1, 2 * NS_PER_S, NS_PER_S);
    assert_int_equal(silence_judge(&silence, child, LIMIT_NS, &news), SILENCE_HANGS);
    assert_false(news);
    kill(child, SIGSTOP);
    wait_for_state(child, 'T');
    assert_int_equal(silence_judge(&silence, child, LIMIT_NS, &news), SILENCE_HANGS);
    kill(child, SIGKILL);
    wait_for_state(child, 'Z');
    assert_int_equal(silence_judge(&silence, child, LIMIT_NS, &news), SILENCE_HANGS);
    waitpid(child, NULL, 0);
    assert_int_equal(silence_sample(child).state, 0);
    assert_false(silence_runs(child));

    child = fork();
    if (child == 0)
        for (;;)
            ;
    wait_for_state(child, 'R');
    assert_true(silence_runs(child));
    silence = (struct silence){ 0 };
    silence_look(&silence, child, 1, 1, NS_PER_S);
    silence_look(&silence, child, 1, 2 * NS_PER_S, NS_PER_S);
    while (silence_sample(child).ran_ns - silence.at_beat.ran_ns < RAN_NS)
        usleep(1000);
    assert_int_equal(silence_judge(&silence, child, LIMIT_NS, &news), SILENCE_HANGS);
    silence.at_beat = silence_sample(child); /* as if it had not run since */
    silence.at_beat.ran_ns += 3600 * NS_PER_S;
    assert_int_equal(silence_judge(&silence, child, LIMIT_NS, &news), SILENCE_STARVED);
    assert_true(news);
    assert_int_equal(silence_judge(&silence, child, LIMIT_NS, &news), SILENCE_STARVED);
    assert_false(news); /* told once */
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    alarm(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_judgement_is_a_table),
        cmocka_unit_test(the_judges_own_pauses_do_not_count),
        cmocka_unit_test(the_kernel_tells_a_loop_from_a_sleep),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
