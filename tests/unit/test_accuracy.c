/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_accuracy: what the accuracy step records of a score, seen by a sink that keeps the readings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "chip/runtime_wire.h"
#include "sweeps/step_accuracy.c"

enum { KEPT_MAX = 32 };

struct kept {
    int count;
    char channel[KEPT_MAX][RECORD_NAME_MAX];
    struct reading reading[KEPT_MAX];
};

static int keep_reading(void *context, const struct record_reading *record, struct error *err)
{
    struct kept *kept = context;

    (void)err;
    assert_true(kept->count < KEPT_MAX);
    snprintf(kept->channel[kept->count], RECORD_NAME_MAX, "%s", record->channel);
    kept->reading[kept->count++] = record->reading;
    return 0;
}

static const struct reading *find(const struct kept *kept, const char *channel)
{
    for (int i = 0; i < kept->count; i++) {
        if (strcmp(kept->channel[i], channel) == 0)
            return &kept->reading[i];
    }
    fail_msg("%s was not recorded", channel);
    return NULL;
}

/* A run that can record and nothing else. */
struct rig {
    struct kept kept;
    struct record_sink sink;
    struct run_context context;
    struct run_outcome outcome;
    struct run run;
    struct run_point point;
};

static void start(struct rig *rig)
{
    struct error err = { 0 };

    *rig = (struct rig){ .sink = { .context = &rig->kept, .reading = keep_reading } };
    assert_int_equal(clock_open(NULL, &rig->context.clock, &err), 0);
    judge_clear(&rig->outcome.judged);
    rig->run = (struct run){ .context = &rig->context, .sink = &rig->sink };
    rig->point = (struct run_point){ .outcome = &rig->outcome, .attempt = 1 };
}

static void all_right_is_not_certainty(void **state)
{
    const struct score all = { .n = 100, .correct = 100, .positives = 40, .hits = 40 };
    const struct score none = { .n = 100, .positives = 40, .false_alarms = 60 };
    struct error err = { 0 };
    struct rig rig;

    (void)state;
    start(&rig);
    assert_int_equal(record_score(&rig.run, &rig.point, &all, &err), 0);
    /* Wilson: 100 of 100 is [0.9630, 1], 40 of 40 [0.9124, 1]. */
    assert_true(fabs(find(&rig.kept, "accuracy")->uncertainty - 0.0370 / 2.0 / 1.96) < 1e-4);
    assert_true(fabs(find(&rig.kept, "recall")->uncertainty - 0.0876 / 2.0 / 1.96) < 1e-4);
    assert_true(find(&rig.kept, "false_alarm")->uncertainty > 0.01);
    clock_close(rig.context.clock);

    start(&rig);
    assert_int_equal(record_score(&rig.run, &rig.point, &none, &err), 0);
    assert_true(find(&rig.kept, "accuracy")->uncertainty > 0.009);
    assert_true(find(&rig.kept, "false_alarm")->uncertainty > 0.01);
    clock_close(rig.context.clock);
}

static void a_marginal_link_shows_in_the_point(void **state)
{
    const struct chip_link_stats before = { .retries = 3, .reruns = 1 };
    struct chip chip = { .stats = { .retries = 8, .reruns = 3 } };
    struct error err = { 0 };
    struct rig rig;

    (void)state;
    start(&rig);
    rig.run.chip = &chip;
    assert_int_equal(record_link(&rig.run, &rig.point, &before, &err), 0);
    assert_true(find(&rig.kept, "link.retries")->value == 5.0);
    assert_true(find(&rig.kept, "link.reruns")->value == 2.0);
    clock_close(rig.context.clock);
}

/* What is left of the time bounds a batch, once it is known how long a sample takes. */
static void a_batch_is_no_longer_than_the_time(void **state)
{
    const struct pace slow = { .each_s = 0.5, .slowest_s = 20.0, .slowest_count = 10 }, none = { 0 };
    struct rig rig;

    (void)state;
    start(&rig);
    assert_int_equal(fitting(&rig.run, &slow, 1000), 1000); /* as long as it takes */
    rig.run.budget = (struct budget){ .end_ns = runner_now(&rig.run) + 3600 * NS_PER_S, .reserve_s = 2500.0 };
    assert_int_equal(fitting(&rig.run, &none, 1000), BATCH_PROBE);
    assert_int_equal(fitting(&rig.run, &none, 3), 3);
    int fits = fitting(&rig.run, &slow, 1000); /* 1100 s, less what this test has taken */
    assert_true(fits > 500 && fits <= 550);
    assert_int_equal(fitting(&rig.run, &slow, 100), 100);
    rig.run.budget.reserve_s = 3599.0;
    assert_int_equal(fitting(&rig.run, &slow, 1000), 1);
    assert_int_equal(fitting(&rig.run, &(struct pace){ .slowest_count = 10 }, 1000),
                     1000); /* the reference */
    clock_close(rig.context.clock);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_right_is_not_certainty),
        cmocka_unit_test(a_marginal_link_shows_in_the_point),
        cmocka_unit_test(a_batch_is_no_longer_than_the_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
