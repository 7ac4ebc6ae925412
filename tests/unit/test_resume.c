/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_resume: what an interrupted run has recorded is read back whole, or, when memory is short, not at all.
 */
#include "tests/unit/db_fixture.h"

#include "db/resume.h"
#include "tests/fault/store_memory.c" /* its allocator is this program's */

#define ULID "01RUN0000000000000000000R1"

enum { LONG = 6000 }; /* of several pages, which SQLite puts together in memory of its own */

struct found {
    struct resume_run run;
    struct resume_point *point;
    int points, values, calibrations, coefficients, fruitless;
    uint64_t steps;
    double last_value;
    size_t key_length;
    char *details;
};

static void take_value(void *context, const char *channel, double value, double uncertainty)
{
    struct found *found = context;

    (void)uncertainty;
    found->values += strncmp(channel, "rail.vdd", 8) == 0;
    found->last_value = value;
}

static void take_calibration(void *context, int64_t id, const struct record_calibration *calibration)
{
    struct found *found = context;

    found->calibrations += id > 0;
    found->key_length = strlen(calibration->key);
    found->coefficients = calibration->coefficient_count;
}

static int read_all(struct query *query, struct found *found, struct error *err)
{
    *found = (struct found){ .points = 0 };
    int code = resume_find(query, &found->run, err);
    if (code == 0)
        code = resume_points(query, &found->run, &found->point, &found->points, err);
    if (code == 0)
        code = resume_steps(query, &found->run, &found->steps, err);
    if (code == 0)
        code = resume_values(query, found->point[1].attempt_id, take_value, found, err);
    if (code == 0)
        code = resume_calibrations(query, &found->run, "adc", take_calibration, found, err);
    if (code == 0)
        code = resume_event(query, &found->run, "chamber", &found->details, err);
    if (code == 0)
        code = resume_fruitless(query, &found->run, found->details, &found->fruitless, err);
    return code;
}

static void check(const struct found *found)
{
    const struct resume_run *run = &found->run;

    assert_string_equal(run->ulid, ULID);
    assert_string_equal(run->plan_hash, "p1a2");
    assert_string_equal(run->backend, "chip");
    assert_string_equal(run->tags, "night");
    assert_string_equal(run->chip_serial, "d7");
    assert_int_equal(strlen(run->campaign_json), LONG + strlen("{\"name\":\"\"}"));
    assert_true(run->seed == UINT64_MAX && run->begin_time_ns == 1000 && isnan(run->budget_s));
    assert_string_equal(run->state, "stopping");
    assert_string_equal(run->reason, "abort");
    assert_int_equal(found->points, 2);
    assert_int_equal(found->point[0].verdict, VERDICT_PASS);
    assert_int_equal(found->point[1].verdict, VERDICT_FAIL);
    assert_int_equal(found->steps, 1);
    assert_true(found->values == 3 && found->last_value == 1.2);
    assert_true(found->calibrations == 1 && found->coefficients == 2 && found->key_length == LONG);
    assert_int_equal(strlen(found->details), LONG + 2);
    assert_int_equal(found->fruitless, 2);
}

static void forget(struct found *found)
{
    resume_run_free(&found->run);
    free(found->point);
    free(found->details);
}

static void record_interrupted(const struct fixture *f)
{
    char words[LONG + 1], plan[LONG + 64], details[LONG + 3];
    struct record_run run = fixture_run(ULID);
    struct record_step step = { .index = 0, .kind = "sweep", .name = "s", .time_ns = 1500 };
    struct record_calibration calibration = { .key = words,
                                              .kind = "adc",
                                              .instrument_chain = "",
                                              .coefficient = (const double[]){ 1.0, 2.0 },
                                              .coefficient_count = 2,
                                              .raw_json = "{}" };
    struct recorder *recorder;
    struct error err;
    int64_t id;

    memset(words, 'w', LONG);
    words[LONG] = '\0';
    snprintf(plan, sizeof plan, "{\"campaign\":{\"name\":\"%s\"},\"plan\":{}}", words);
    snprintf(details, sizeof details, "\"%s\"", words);
    run.plan_json = plan;
    run.budget_s = NAN;
    assert_ok(recorder_open(f->db, &recorder, &err));
    const struct record_sink *sink = recorder_sink(recorder);
    assert_ok(sink->run_begin(sink->context, &run, &id, &err));
    assert_ok(sink->step(sink->context, &step, &err));
    fixture_point(sink, 0, 1, VERDICT_PASS, 2);
    fixture_point(sink, 1, 1, VERDICT_FAIL, 3);
    step.end = true;
    assert_ok(sink->step(sink->context, &step, &err));
    assert_ok(sink->calibration(sink->context, &calibration, &id, &err));
    assert_ok(sink->event(sink->context, &(struct record_event){ "chamber", "found", details, 1, 2 }, &err));
    for (int i = 0; i < 2; i++)
        assert_ok(sink->event(sink->context, &(struct record_event){ "resumed", "", details, 1, 2 }, &err));
    recorder_hint_state(recorder, NULL, "stopping", "abort");
    assert_ok(sink->run_end(sink->context, "interrupted", ERR_FENCED, "", 9000, &err));
    assert_ok(recorder_close(recorder, &err));
}

/* Each allocation on the way, refused once: an error that says so, and never half of the record for all of
 * it, nor a run that was interrupted for one that was not. */
static void read_without_memory(void **state)
{
    const struct fixture *f = *state;
    struct query *query;
    struct found found;
    struct error err;
    bool refused = true;
    int failed = 0;

    record_interrupted(f);
    assert_ok(query_open(f->db, &query, &err));
    assert_ok(read_all(query, &found, &err));
    check(&found);
    forget(&found);
    for (int n = 0; refused && memory_can_fail(); n++) {
        memory_fault(n, false);
        int code = read_all(query, &found, &err);
        refused = memory_operations() > n;
        memory_fault(-1, false);
        if (code == 0)
            check(&found);
        else
            assert_int_equal(code, ERR_MEMORY);
        failed += code != 0;
        forget(&found);
    }
    assert_true(failed > 0 || !memory_can_fail());
    query_close(query);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(read_without_memory, fixture_setup, fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
