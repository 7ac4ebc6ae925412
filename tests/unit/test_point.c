/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_point: one point through its attempts: what the policy of each class makes of an error, how often,
 * after which pauses, and what of it is recorded. The step, the chip and the person are scripts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "sweeps/pause.h"
#include "sweeps/point.h"

#define step_type_of     script_type_of
#define pause_hold       script_hold
#define runner_wait      script_wait
#define runner_go_dark   script_go_dark
#define runner_come_home script_come_home
#define runner_go_back   script_go_back
static const struct step_type *script_type_of(int kind);
static int script_hold(struct run *run, const char *why, struct error *err);
static int script_wait(struct run *run, double seconds, struct error *err);
static int script_go_dark(struct run *run, struct run_dark *state, struct error *err);
static int script_come_home(struct run *run, const struct run_dark *state, struct error *err);
static int script_go_back(struct run *run, const struct run_dark *state, struct error *err);
#include "sweeps/point.c"

enum { CALIBRATE, GOLDEN, POINT, STEPS, CODES_MAX = 8, STORY_MAX = 400 };

/* What happens, and what has happened, in words: "1 wait:0.5 2 ..." */
static struct script {
    int code[CODES_MAX]; /* of the tries of the point, in order; 0 from then on */
    int next;
    int golden_verdict, mend_code;
    char story[STORY_MAX];
} script;

static void tell(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void tell(const char *format, ...)
{
    size_t used = strlen(script.story);
    va_list args;

    if (used > 0 && used < STORY_MAX - 1)
        script.story[used++] = ' ';
    va_start(args, format);
    vsnprintf(script.story + used, STORY_MAX - used, format, args);
    va_end(args);
}

static int execute(struct run *run, struct run_point *point, struct error *err)
{
    (void)run;
    if (point->step == GOLDEN)
        point->verdict = script.golden_verdict;
    if (point->step != POINT)
        return 0;
    int code = script.next < CODES_MAX ? script.code[script.next++] : 0;
    return code < 0 ? error_set(err, code, "as the script says") : 0;
}

static const struct step_type *script_type_of(int kind)
{
    static const struct step_type type = { .name = "script", .execute = execute };
    (void)kind;
    return &type;
}

static int script_hold(struct run *run, const char *why, struct error *err)
{
    (void)run;
    (void)why;
    (void)err;
    tell("hold");
    return 0;
}

static int script_wait(struct run *run, double seconds, struct error *err)
{
    (void)run;
    (void)err;
    tell("wait:%g", seconds);
    return 0;
}

static int script_go_dark(struct run *run, struct run_dark *state, struct error *err)
{
    (void)run;
    *state = (struct run_dark){ .was_up = true };
    tell("dark");
    return script.mend_code < 0 ? error_set(err, script.mend_code, "no power") : 0;
}

static int script_come_home(struct run *run, const struct run_dark *state, struct error *err)
{
    (void)run;
    (void)err;
    assert_true(state->was_up);
    tell("home");
    return 0;
}

static int script_go_back(struct run *run, const struct run_dark *state, struct error *err)
{
    (void)run;
    (void)err;
    assert_true(state->was_up);
    tell("back");
    return 0;
}

/* ---- The record ---- */
static int on_attempt(void *context, const struct record_attempt *attempt, struct error *err)
{
    static const char *const steps[STEPS] = { "calibrate#", "golden#", "" };
    (void)context;
    (void)err;
    if (attempt->end)
        tell("=%s", attempt->code < 0 ? error_name(attempt->code) : verdict_name(attempt->verdict));
    else
        tell("%s%d", steps[attempt->step], attempt->attempt);
    return 0;
}

static int on_event(void *context, const struct record_event *event, struct error *err)
{
    (void)context;
    (void)err;
    tell("%s", event->kind);
    return 0;
}

static int on_ack(void *context, struct error *err)
{
    (void)context;
    (void)err;
    return 0;
}

static const struct record_sink sink = { .attempt = on_attempt, .event = on_event, .ack = on_ack };

/* ---- One run of three steps, each with a cell; the first two have been measured ---- */
struct bench_of_tests {
    struct campaign campaign;
    struct plan plan;
    struct plan_cell cell[STEPS];
    struct run_outcome outcome[STEPS];
    struct run_context context;
    struct run run;
    struct run_point point;
    _Atomic int command, pause;
};

static struct clock *host_clock;

static struct bench_of_tests *begin(const struct campaign_policy *policy)
{
    static struct bench_of_tests t;
    static const int kinds[STEPS] = {
        [CALIBRATE] = STEP_CALIBRATE, [GOLDEN] = STEP_GOLDEN, [POINT] = STEP_ACCURACY
    };

    t = (struct bench_of_tests){ .campaign = { .retry_budget = 20 },
                                 .plan = { .step_count = STEPS, .cell_count = STEPS } };
    t.plan.cell = t.cell;
    for (int i = 0; i < STEPS; i++) {
        t.campaign.step[i].kind = kinds[i];
        t.plan.step[i] = (struct plan_step){ .step = &t.campaign.step[i], .first_cell = i, .cell_count = 1 };
        t.outcome[i].attempts = i != POINT;
    }
    t.campaign.step[POINT].policy = *policy;
    t.context =
        (struct run_context){ .clock = host_clock, .sink = &sink, .command = &t.command, .pause = &t.pause };
    t.run = (struct run){ .context = &t.context,
                          .plan = &t.plan,
                          .campaign = &t.campaign,
                          .sink = &sink,
                          .has_bench = true,
                          .outcome = t.outcome };
    t.point = (struct run_point){ .step = POINT,
                                  .what = &t.campaign.step[POINT],
                                  .cell = &t.cell[POINT],
                                  .cell_index = POINT,
                                  .outcome = &t.outcome[POINT] };
    return &t;
}

/* Every class `other`, but for one. */
static struct campaign_policy policy_of(int class, int action, int other, int attempts, int then)
{
    struct campaign_policy policy = { .attempts = attempts, .then = then, .backoff_s = 0.5 };

    for (int i = 0; i < ERROR_CLASS_COUNT; i++)
        policy.action[i] = i == class ? action : other;
    policy.action[ERROR_CLASS_TRIP] = POLICY_STOP;
    return policy;
}

static const struct row {
    const char *label;
    int codes[CODES_MAX];
    int action, attempts, then, budget;
    int golden_verdict, mend_code;
    int want_code;
    const char *want;
} rows[] = {
    { "goes well", { 0 }, POLICY_RETRY, 3, POLICY_RECORD, 20, VERDICT_PASS, 0, 0, "1 =pass" },
    { "a try more",
      { ERR_TIMEOUT },
      POLICY_RETRY,
      3,
      POLICY_RECORD,
      20,
      VERDICT_PASS,
      0,
      0,
      "1 error =timeout retry wait:0.5 2 =pass recovered" },
    { "pauses double",
      { ERR_TIMEOUT, ERR_TIMEOUT, ERR_TIMEOUT },
      POLICY_RETRY,
      4,
      POLICY_RECORD,
      20,
      VERDICT_PASS,
      0,
      0,
      "1 error =timeout retry wait:0.5 2 error =timeout retry wait:1 3 error =timeout retry wait:2 4 =pass "
      "recovered" },
    { "tries used up, on with the next",
      { ERR_TIMEOUT, ERR_TIMEOUT },
      POLICY_RETRY,
      2,
      POLICY_RECORD,
      20,
      VERDICT_PASS,
      0,
      0,
      "1 error =timeout retry wait:0.5 2 error =timeout" },
    { "tries used up, the end",
      { ERR_TIMEOUT, ERR_TIMEOUT },
      POLICY_RETRY,
      2,
      POLICY_STOP,
      20,
      VERDICT_PASS,
      0,
      ERR_TIMEOUT,
      "1 error =timeout retry wait:0.5 2 error =timeout" },
    { "tries used up, a person",
      { ERR_TIMEOUT, ERR_TIMEOUT },
      POLICY_RETRY,
      2,
      POLICY_HOLD,
      20,
      VERDICT_PASS,
      0,
      0,
      "1 error =timeout retry wait:0.5 2 error =timeout hold 3 =pass" },
    { "the run's budget is used up",
      { ERR_TIMEOUT, ERR_TIMEOUT },
      POLICY_RETRY,
      9,
      POLICY_RECORD,
      1,
      VERDICT_PASS,
      0,
      0,
      "1 error =timeout retry wait:0.5 2 error =timeout" },
    { "recorded at once",
      { ERR_TIMEOUT },
      POLICY_RECORD,
      9,
      POLICY_STOP,
      20,
      VERDICT_PASS,
      0,
      0,
      "1 error =timeout" },
    { "stopped at once",
      { ERR_TIMEOUT },
      POLICY_STOP,
      9,
      POLICY_RECORD,
      20,
      VERDICT_PASS,
      0,
      ERR_TIMEOUT,
      "1 error =timeout" },
    { "held at once",
      { ERR_TIMEOUT },
      POLICY_HOLD,
      9,
      POLICY_RECORD,
      20,
      VERDICT_PASS,
      0,
      0,
      "1 error =timeout hold 2 =pass" },
    { "rescued: dark, home, golden, back",
      { ERR_TIMEOUT },
      POLICY_RECOVER,
      2,
      POLICY_RECORD,
      20,
      VERDICT_PASS,
      0,
      0,
      "1 error =timeout retry recover dark home golden#2 =pass back 2 =pass recovered" },
    { "a rescue that fails its golden check ends the run",
      { ERR_TIMEOUT },
      POLICY_RECOVER,
      2,
      POLICY_RECORD,
      20,
      VERDICT_FAIL,
      0,
      ERR_MISMATCH,
      "1 error =timeout retry recover dark home golden#2 =fail" },
    { "or calls for a person",
      { ERR_TIMEOUT },
      POLICY_RECOVER,
      2,
      POLICY_HOLD,
      20,
      VERDICT_FAIL,
      0,
      0,
      "1 error =timeout retry recover dark home golden#2 =fail hold 2 =pass" },
    { "no power for a rescue",
      { ERR_TIMEOUT },
      POLICY_RECOVER,
      2,
      POLICY_RECORD,
      20,
      VERDICT_PASS,
      ERR_COMPLIANCE,
      ERR_COMPLIANCE,
      "1 error =timeout retry recover dark" },
    { "calibrated again",
      { ERR_TIMEOUT },
      POLICY_RECALIBRATE,
      2,
      POLICY_RECORD,
      20,
      VERDICT_PASS,
      0,
      0,
      "1 error =timeout retry calibrate#2 =pass 2 =pass recovered" },
};

static void what_a_policy_does(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct row *row = &rows[i];
        struct campaign_policy policy =
            policy_of(ERROR_CLASS_TIMEOUT, row->action, POLICY_STOP, row->attempts, row->then);
        struct bench_of_tests *t = begin(&policy);
        struct error err = { 0 };

        script = (struct script){ .golden_verdict = row->golden_verdict, .mend_code = row->mend_code };
        memcpy(script.code, row->codes, sizeof script.code);
        t->campaign.retry_budget = row->budget;
        int code = point_run(&t->run, &t->point, &err);
        if (code != row->want_code || strcmp(script.story, row->want) != 0)
            fail_msg("%s: %s, \"%s\"; wanted %s, \"%s\"", row->label, error_name(code), script.story,
                     error_name(row->want_code), row->want);
    }
}

/* Each class has an action of its own, and takes no other's. */
static void each_class_by_itself(void **state)
{
    static const struct {
        int code, class;
    } classes_of[] = { { ERR_TIMEOUT, ERROR_CLASS_TIMEOUT },
                       { ERR_NO_ANSWER, ERROR_CLASS_NO_ANSWER },
                       { ERR_GARBAGE, ERROR_CLASS_GARBAGE },
                       { ERR_LINK, ERROR_CLASS_LINK },
                       { ERR_REFUSED, ERROR_CLASS_REFUSED },
                       { ERR_RANGE, ERROR_CLASS_RANGE },
                       { ERR_COMPLIANCE, ERROR_CLASS_COMPLIANCE },
                       { ERR_IDENTITY, ERROR_CLASS_IDENTITY },
                       { ERR_HANG, ERROR_CLASS_HANG },
                       { ERR_MISMATCH, ERROR_CLASS_MISMATCH },
                       { ERR_CALIBRATION, ERROR_CLASS_CALIBRATION },
                       { ERR_UNSUPPORTED, ERROR_CLASS_OTHER } };

    (void)state;
    for (size_t i = 0; i < sizeof classes_of / sizeof *classes_of; i++) {
        for (int mine = 0; mine < 2; mine++) {
            struct campaign_policy policy =
                policy_of(classes_of[i].class, mine ? POLICY_RETRY : POLICY_RECORD,
                          mine ? POLICY_RECORD : POLICY_RETRY, 2, POLICY_RECORD);
            struct bench_of_tests *t = begin(&policy);

            script = (struct script){ .code = { classes_of[i].code } };
            assert_int_equal(point_run(&t->run, &t->point, NULL), 0);
            assert_int_equal(t->point.attempt, mine ? 2 : 1);
            assert_int_equal(t->outcome[POINT].attempts, mine ? 2 : 1);
        }
    }
}

/* Whatever the policy says. */
static void no_retry_helps_against_these(void **state)
{
    static const int final[] = { ERR_TRIPPED, ERR_FENCED, ERR_FULL, ERR_IO, ERR_MEMORY, ERR_INTERNAL };
    struct campaign_policy policy = policy_of(-1, 0, POLICY_RETRY, 9, POLICY_RECORD);

    (void)state;
    policy.action[ERROR_CLASS_TRIP] = POLICY_RETRY;
    for (size_t i = 0; i < sizeof final / sizeof *final; i++) {
        struct bench_of_tests *t = begin(&policy);

        script = (struct script){ .code = { final[i] } };
        assert_int_equal(point_run(&t->run, &t->point, NULL), final[i]);
        assert_int_equal(t->point.attempt, 1);
    }
}

static void a_pause_has_an_end(void **state)
{
    struct campaign_policy policy = policy_of(-1, 0, POLICY_RETRY, 3, POLICY_RECORD);
    struct bench_of_tests *t;

    (void)state;
    policy.backoff_s = 40.0;
    t = begin(&policy);
    script = (struct script){ .code = { ERR_LINK, ERR_LINK } };
    assert_int_equal(point_run(&t->run, &t->point, NULL), 0);
    assert_string_equal(script.story,
                        "1 error =link retry wait:40 2 error =link retry wait:60 3 =pass recovered");
}

/* A daemon that is told to end leaves the attempt open for its resumption; an abort ends it. */
static void what_is_cut_stays_open(void **state)
{
    struct campaign_policy policy = policy_of(-1, 0, POLICY_RETRY, 9, POLICY_RECORD);
    struct bench_of_tests *t = begin(&policy);

    (void)state;
    script = (struct script){ .code = { ERR_CANCELLED } };
    atomic_store(&t->command, RUN_HALT);
    assert_int_equal(point_run(&t->run, &t->point, NULL), ERR_CANCELLED);
    assert_string_equal(script.story, "1");

    t = begin(&policy);
    script = (struct script){ .code = { ERR_CANCELLED } };
    atomic_store(&t->command, RUN_ABORT);
    assert_int_equal(point_run(&t->run, &t->point, NULL), ERR_CANCELLED);
    assert_string_equal(script.story, "1 =cancelled");
}

/* A step without points ends the run when its tries are used up, also where the policy would record. */
static void a_step_without_points_ends_the_run(void **state)
{
    struct campaign_policy policy = policy_of(-1, 0, POLICY_RETRY, 2, POLICY_RECORD);
    struct bench_of_tests *t = begin(&policy);

    (void)state;
    t->point.cell = NULL;
    t->point.outcome = NULL;
    script = (struct script){ .code = { ERR_LINK, ERR_LINK } };
    assert_int_equal(point_run(&t->run, &t->point, NULL), ERR_LINK);
    assert_string_equal(script.story, "error retry wait:0.5 error");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_policy_does),           cmocka_unit_test(each_class_by_itself),
        cmocka_unit_test(no_retry_helps_against_these), cmocka_unit_test(a_pause_has_an_end),
        cmocka_unit_test(what_is_cut_stays_open),       cmocka_unit_test(a_step_without_points_ends_the_run),
    };

    if (clock_open(NULL, &host_clock, NULL) < 0)
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    clock_close(host_clock);
    return failed;
}
