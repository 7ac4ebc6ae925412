/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_rules: when a rule is due, where an interrupted execution goes on, what it costs in advance, and what
 * is wrong with one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "sweeps/rules.h"
#include "sweeps/runner.h"

#define S INT64_C(1000000000)

static void due(void **state)
{
    (void)state;
    assert_true(rules_due_ns(10 * S, 25.0, 20 * S) == 35 * S);
    assert_true(rules_due_ns(10 * S, 0.5, 100 * S) == 10 * S + S / 2); /* long over: now */
    assert_true(rules_due_ns(10 * S, 25.0, 10 * S) == 35 * S);
    assert_true(rules_due_ns(90 * S, 25.0, 20 * S) == 20 * S); /* a clock that was set back */
}

static void unfinished(void **state)
{
    static const struct {
        struct rules_step step[3];
        int wanted;
    } rows[] = {
        { { { false, false, 0 }, { false, false, 0 }, { false, false, 0 } }, -1 }, /* never begun */
        { { { true, true, 10 }, { false, false, 0 }, { false, false, 0 } }, 0 },
        { { { true, false, 10 }, { false, false, 0 }, { false, false, 0 } }, 1 },
        { { { true, false, 10 }, { true, true, 11 }, { false, false, 0 } }, 1 },
        { { { true, false, 10 }, { true, false, 11 }, { true, false, 12 } }, -1 },
        { { { true, true, 20 }, { true, false, 11 }, { true, false, 12 } }, 0 }, /* the second execution */
        { { { true, false, 20 }, { true, false, 11 }, { true, false, 12 } }, 1 },
        { { { true, false, 20 }, { true, false, 21 }, { true, false, 12 } }, 2 },
        { { { true, false, 20 }, { true, false, 21 }, { true, true, 22 } }, 2 },
        { { { true, false, 20 }, { true, false, 20 }, { true, false, 20 } }, -1 }, /* in no time */
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rules_unfinished(rows[i].step, 3) != rows[i].wanted)
            fail_msg("row %zu: %d, not %d", i, rules_unfinished(rows[i].step, 3), rows[i].wanted);
}

/* Up 5 s, a sweep of six points of 10 s, another step, a sweep of two; a rule every 25 s of 4 s. */
static void in_advance(void **state)
{
    static const int kinds[] = { STEP_POWER, STEP_SWEEP, STEP_WAIT, STEP_SWEEP };
    static const double seconds[] = { 5.0, 60.0, 30.0, 20.0 };
    struct campaign_step step[4] = { { .kind = 0 } };
    struct campaign_rule rule = { .every_s = 25.0 };
    struct plan_cell cell[8];
    struct plan *plan = calloc(1, sizeof *plan);
    struct rules_clock clock;
    struct budget_forecast forecast;
    bool cut[8];

    (void)state;
    assert_non_null(plan);
    plan->cell = cell;
    plan->step_count = 4;
    plan->cell_count = 8;
    plan->rule_count = 1;
    plan->rule[0] = (struct plan_rule){ .rule = &rule, .first_step = 4, .duration_s = 4.0 };
    for (int i = 0, first = 0; i < 4; i++) {
        step[i].kind = kinds[i];
        step[i].u.power.up = i == 0;
        plan->step[i] = (struct plan_step){ .step = &step[i], .duration_s = seconds[i], .first_cell = first };
        plan->step[i].cell_count = i == 1 ? 6 : i == 3 ? 2 : 0;
        for (int k = 0; k < plan->step[i].cell_count; k++, first++)
            cell[first] = (struct plan_cell){ .step = i, .index = k, .duration_s = 10.0 };
    }
    /* Points begin at 5, 15; due at 25: 29, 39, 49; due at 54, at 59: 63; then the wait, due again: at 103.
     */
    rules_forecast(plan, &clock);
    assert_int_equal(clock.executions[0], 3);
    budget_forecast(plan, 1000.0, NULL, &forecast);
    assert_true(forecast.used_s == 115.0 + 3 * 4.0);
    /* What is due and does not fit takes with it what would come after it. */
    budget_forecast(plan, 62.0, cut, &forecast);
    assert_true(!cut[4] && cut[5] && cut[6] && cut[7]);
    assert_int_equal(forecast.cut, 3);
    rule.every_s = 1000.0;
    rules_forecast(plan, &clock);
    assert_int_equal(clock.executions[0], 0);
    free(plan);
}

static int count_event(void *context, const struct record_event *event, struct error *err)
{
    int *events = context;

    (void)event;
    (*events)++;
    return error_set(err, ERR_IO, "no further");
}

/* A rule that is due and needs a chip, in a run without one, is not even begun. */
static void on_the_reference(void **state)
{
    struct campaign_rule rule = { .every_s = 1.0, .step_count = 1, .step = { { .kind = STEP_CALIBRATE } } };
    struct plan_cell cell = { .skip = "needs a chip" };
    struct plan *plan = calloc(1, sizeof *plan);
    struct run_outcome outcome = { 0 };
    int events = 0;
    struct record_sink sink = { .context = &events, .event = count_event };
    struct run_context context = { .sink = &sink };
    struct run run = { .context = &context, .plan = plan, .sink = &sink, .outcome = &outcome };
    struct error err = { 0 };

    (void)state;
    assert_non_null(plan);
    assert_int_equal(clock_open(NULL, &context.clock, &err), 0);
    plan->cell = &cell;
    plan->rule_count = 1;
    plan->rule[0] = (struct plan_rule){ .rule = &rule, .step_count = 1 };
    plan->step[0] = (struct plan_step){ .step = &rule.step[0], .cell_count = 1 };
    run.rule[0] = (struct run_rule){ .last_ns = runner_now(&run) - 2 * S, .unfinished = -1 };
    assert_int_equal(rules_pass(&run, &err), 0);
    assert_int_equal(events, 0);
    cell.skip[0] = '\0';
    assert_int_equal(rules_pass(&run, &err), ERR_IO); /* it was due */
    assert_int_equal(events, 1);
    clock_close(context.clock);
    free(plan);
}

static void mistakes(void **state)
{
    static const struct {
        const char *rules, *pointer, *reason;
    } rows[] = {
        { "[{\"every\":\"2h\",\"steps\":[{\"step\":\"calibrate\"}]}]", NULL, NULL },
        { "[{\"every\":\"90 min\",\"name\":\"r\",\"steps\":[{\"step\":\"measure\",\"window_s\":1}]}]", NULL,
          NULL },
        { "{}", "/rules", "list of at most" },
        { "[{\"steps\":[{\"step\":\"calibrate\"}]}]", "/rules/0/every", "required" },
        { "[{\"every\":\"often\",\"steps\":[{\"step\":\"calibrate\"}]}]", "/rules/0/every", "no time" },
        { "[{\"every\":\"0.5s\",\"steps\":[{\"step\":\"calibrate\"}]}]", "/rules/0/every", "at least 1 s" },
        { "[{\"every\":\"2h\",\"steps\":[]}]", "/rules/0/steps", "1 to 4" },
        { "[{\"every\":\"2h\",\"steps\":[{\"step\":\"power\",\"state\":\"down\"}]}]", "/rules/0/steps/0/step",
          "cannot do \"power\"" },
        { "[{\"every\":\"2h\",\"steps\":[{\"step\":\"sweep\",\"axes\":[],\"do\":[]}]}]",
          "/rules/0/steps/0/step", "between the points" },
        { "[{\"every\":\"2h\",\"steps\":[{\"step\":\"calibrate\",\"averge\":3}]}]", "/rules/0/steps/0/averge",
          "not a known name" },
        { "[{\"evry\":\"2h\",\"every\":\"2h\",\"steps\":[{\"step\":\"calibrate\"}]}]", "/rules/0/evry",
          "not a known name" },
        { "[{\"every\":\"2h\",\"steps\":[{\"step\":\"calibrate\",\"name\":\"wait\"}]}]",
          "/rules/0/steps/0/name", "already the name" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct json_problems *problems = calloc(1, sizeof *problems);
        struct campaign *campaign = NULL;
        struct error err = { 0 };
        cJSON *root = NULL;
        char text[600];

        int length =
            snprintf(text, sizeof text,
                     "{\"format\":\"nightbench-campaign\",\"version\":1,\"name\":\"t\",\"bench\":\"b\","
                     "\"steps\":[{\"step\":\"wait\",\"seconds\":1}],\"rules\":%s}",
                     rows[i].rules);
        assert_int_equal(json_parse(text, (size_t)length, &root, &err), 0);
        int rc = campaign_read(root, "t", &campaign, problems, &err);
        if (rows[i].pointer == NULL) {
            if (rc != 0)
                fail_msg("%s: %s", rows[i].rules, err.message);
            assert_int_equal(campaign->rule_count, 1);
        } else if (problems->count != 1 || strcmp(problems->item[0].pointer, rows[i].pointer) != 0 ||
                   strstr(problems->item[0].reason, rows[i].reason) == NULL) {
            fail_msg("%s: %d problems, %s: %s", rows[i].rules, problems->count, problems->item[0].pointer,
                     problems->item[0].reason);
        }
        campaign_free(campaign);
        cJSON_Delete(root);
        free(problems);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(due),        cmocka_unit_test(unfinished),
        cmocka_unit_test(in_advance), cmocka_unit_test(on_the_reference),
        cmocka_unit_test(mistakes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
