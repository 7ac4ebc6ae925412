/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_query: what was recorded comes back, by run, point, sample, trace, tensor; summaries of traces equal a
 * scan of all samples. */
#include "tests/unit/db_fixture.h"

#include <sqlite3.h>

#include "daemon/base/rng.h"
#include "db/trace.h"

static const char ULID_A[] = "01RUN0000000000000000000B1", ULID_B[] = "01RUN0000000000000000000B2";

static void record_extras(const struct record_sink *sink)
{
    static const double COEFFICIENTS[] = { 0.1 + 0.2, -3 };
    static const int16_t PSUMS[] = { -5, 300, 7 };
    struct record_calibration cal = {
        "die/0/adc", "adc_offset", "2450", COEFFICIENTS, 2, "[[0,1]]", 3600, 50
    };
    struct record_tensor tensor = { 0, 1,       1,           1001, 2,     TENSOR_PSUM,
                                    3, "conv2", { 1, 3, 1 }, 16,   PSUMS, sizeof PSUMS };
    struct record_event event = { "trip", "over current", "{\"rail\":\"vddd\"}", 60, 1769882400123456789 };
    struct record_reading reading = fixture_reading(-1, 0, "accuracy", 0.5, 70);
    int64_t first, second;
    struct error err;

    assert_ok(sink->calibration(sink->context, &cal, &first, &err));
    assert_ok(sink->calibration(sink->context, &cal, &second, &err));
    assert_int_equal(second, first + 1);
    assert_ok(sink->tensor(sink->context, &tensor, &err));
    assert_ok(sink->event(sink->context, &event, &err));
    reading.reading.calibration_id = second;
    reading.reading.flags |= READING_DERIVED;
    reading.reading.uncertainty = NAN;
    assert_ok(sink->reading(sink->context, &reading, &err));
}

/* Two runs: A ended with three points, B still running. The recorder stays open while the tests read. */
static struct recorder *record_two_runs(const struct fixture *f)
{
    struct record_run run = fixture_run(ULID_A);
    struct record_step step = { .kind = "sweep", .name = "s0", .time_ns = 1500 };
    struct recorder *recorder;
    const struct record_sink *sink;
    int64_t id;
    struct error err;

    assert_ok(recorder_open(f->db, &recorder, &err));
    sink = recorder_sink(recorder);
    assert_ok(sink->run_begin(sink->context, &run, &id, &err));
    assert_ok(sink->step(sink->context, &step, &err));
    fixture_point(sink, 0, 1, VERDICT_ERROR, 1);
    fixture_point(sink, 0, 2, VERDICT_PASS, 3);
    fixture_point(sink, 1, 1, VERDICT_FAIL, 2);
    fixture_samples(sink, 1, 1, 0, 100);
    fixture_samples(sink, 1, 1, 100, 20);
    record_extras(sink);
    step.end = true;
    step.time_ns = 4000;
    assert_ok(sink->step(sink->context, &step, &err));
    step = (struct record_step){ .index = 1, .kind = "power", .name = "up", .time_ns = 4000 };
    assert_ok(sink->step(sink->context, &step, &err));
    step.end = step.skipped = true;
    assert_ok(sink->step(sink->context, &step, &err));
    assert_ok(sink->cell(sink->context, &(struct record_cell){ 0, 2, "{\"vdd_v\":1}", "id0002", 0 }, &err));
    assert_ok(sink->run_end(sink->context, "done", 0, "", 5000, &err));
    run.ulid = ULID_B;
    assert_ok(sink->run_begin(sink->context, &run, &id, &err));
    assert_ok(sink->ack(sink->context, &err));
    return recorder;
}

static struct query *open_query(const struct fixture *f)
{
    struct query *query;
    struct error err;

    assert_ok(query_open(f->db, &query, &err));
    return query;
}

static void runs(void **state)
{
    struct fixture *f = *state;
    struct recorder *recorder = record_two_runs(f);
    struct query *query = open_query(f);
    const cJSON *run, *part;
    cJSON *json;
    char ulid[27];
    struct error err;

    assert_ok(query_runs(query, 10, NULL, &json, &err));
    assert_int_equal(cJSON_GetArraySize(json), 2);
    assert_string_equal(text_at(cJSON_GetArrayItem(json, 0), "ulid"), ULID_B);
    assert_string_equal(text_at(cJSON_GetArrayItem(json, 0), "state"), "running");
    cJSON_Delete(json);
    assert_ok(query_runs(query, 10, ULID_B, &json, &err));
    assert_int_equal(cJSON_GetArraySize(json), 1);
    run = cJSON_GetArrayItem(json, 0);
    assert_string_equal(text_at(run, "state"), "done");
    assert_string_equal(text_at(run, "seed"), "18446744073709551615");
    assert_string_equal(text_at(run, "clock"), "virtual");
    assert_string_equal(text_at(run, "begin"), "2026-01-31T18:00:00.123Z");
    part = cJSON_GetObjectItemCaseSensitive(run, "chip");
    assert_string_equal(text_at(part, "lot"), "007");
    assert_true(number_at(part, "y") == 5);
    part = cJSON_GetObjectItemCaseSensitive(run, "points");
    assert_true(number_at(part, "planned") == 3 && number_at(part, "attempts") == 3);
    assert_true(number_at(part, "pass") == 1 && number_at(part, "fail") == 1 && number_at(part, "none") == 1);
    cJSON_Delete(json);

    assert_ok(query_run(query, ULID_A, &json, &err));
    assert_true(cJSON_IsArray(cJSON_GetObjectItem(cJSON_GetObjectItemCaseSensitive(json, "plan"), "steps")));
    part = cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(json, "steps"), 0);
    assert_string_equal(text_at(part, "state"), "ended");
    assert_true(number_at(part, "end_time_ns") == 4000);
    part = cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(json, "steps"), 1);
    assert_string_equal(text_at(part, "state"), "skipped");
    assert_string_equal(text_at(part, "code"), "ok");
    part = cJSON_GetObjectItemCaseSensitive(json, "cursor");
    assert_true(number_at(part, "cell") == 1 && number_at(part, "next_sample") == 120);
    part = cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(json, "readings"), 0);
    assert_string_equal(text_at(part, "channel"), "accuracy");
    assert_true(cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(part, "uncertainty")));
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(part, "flags")), 2);
    cJSON_Delete(json);

    assert_ok(query_resolve(query, "latest", ulid, &err));
    assert_string_equal(ulid, ULID_B);
    assert_int_equal(query_resolve(query, "01RUN", ulid, &err), ERR_CONFLICT);
    assert_int_equal(query_resolve(query, "01X", ulid, &err), ERR_INVALID);
    assert_int_equal(query_resolve(query, "01XYZ", ulid, &err), ERR_NOT_FOUND);
    assert_ok(query_resolve(query, "01run0000000000000000000b1", ulid, &err));
    assert_string_equal(ulid, ULID_A);
    query_close(query);
    assert_ok(recorder_close(recorder, &err));
}

static void points_and_samples(void **state)
{
    struct fixture *f = *state;
    struct recorder *recorder = record_two_runs(f);
    struct query *query = open_query(f);
    const cJSON *point, *item;
    cJSON *json;
    struct error err;

    assert_ok(query_points(query, ULID_A, -1, &json, &err));
    assert_int_equal(cJSON_GetArraySize(json), 3);
    point = cJSON_GetArrayItem(json, 0);
    assert_string_equal(text_at(point, "verdict"), "pass");
    assert_true(number_at(point, "attempts") == 2 && number_at(point, "begin_time_ns") == 2000);
    assert_true(number_at(cJSON_GetObjectItemCaseSensitive(point, "axes"), "vdd_v") == 0.6);
    item = cJSON_GetObjectItemCaseSensitive(point, "readings");
    assert_int_equal(cJSON_GetArraySize(item), 3);
    item = cJSON_GetArrayItem(item, 2);
    assert_string_equal(text_at(item, "channel"), "rail.vdd2.voltage");
    assert_string_equal(text_at(item, "unit"), "V");
    assert_true(number_at(item, "value") == 0.2 && number_at(item, "uncertainty") == 1e-4);
    assert_true(cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(item, "range")));
    assert_true(cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(item, "calibration")));
    point = cJSON_GetArrayItem(json, 2);
    assert_string_equal(text_at(point, "verdict"), "none");
    assert_true(number_at(point, "attempts") == 0);
    cJSON_Delete(json);
    assert_ok(query_points(query, ULID_A, 7, &json, &err));
    assert_int_equal(cJSON_GetArraySize(json), 0);
    cJSON_Delete(json);

    assert_ok(query_samples(query, ULID_A, 0, 1, 90, 15, &json, &err));
    assert_true(number_at(json, "total") == 120);
    item = cJSON_GetObjectItemCaseSensitive(json, "samples");
    assert_int_equal(cJSON_GetArraySize(item), 15);
    item = cJSON_GetArrayItem(item, 11);
    assert_true(number_at(item, "position") == 101 && number_at(item, "sample") == 1101);
    assert_true(number_at(item, "cycles") == 4000000000.0 && number_at(item, "label") == 1);
    assert_true(cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(item, "output"), 1)->valuedouble == -1);
    cJSON_Delete(json);
    assert_int_equal(query_samples(query, ULID_A, 0, 9, 0, 15, &json, &err), ERR_NOT_FOUND);
    query_close(query);
    assert_ok(recorder_close(recorder, &err));
}

static int count_rows(void *context, const struct query_compare_row *row)
{
    int *count = context;

    assert_string_equal(row->identity, "id0001");
    assert_int_equal(row->position, *count);
    assert_int_equal(row->verdict, VERDICT_FAIL);
    assert_int_equal(row->output[1], -(*count % 100));
    return ++*count == 110 ? -77 : 0;
}

static int take_tensor(void *context, const struct query_tensor_row *row)
{
    assert_string_equal(row->layer_name, "conv2");
    assert_int_equal(row->kind, TENSOR_PSUM);
    assert_int_equal(row->shape[1], 3);
    assert_int_equal(((const int16_t *)row->data)[0], -5);
    ++*(int *)context;
    return 0;
}

static void comparison_events_calibrations(void **state)
{
    struct fixture *f = *state;
    struct recorder *recorder = record_two_runs(f);
    struct query *query = open_query(f);
    const cJSON *item;
    cJSON *json;
    int count = 0;
    struct error err;

    assert_int_equal(query_compare_rows(query, ULID_A, count_rows, &count, &err), -77);
    assert_int_equal(count, 110);
    count = 0;
    assert_ok(query_tensor_each(query, ULID_A, take_tensor, &count, &err));
    assert_int_equal(count, 1);
    assert_ok(query_tensors(query, ULID_A, 1001, &json, &err));
    item = cJSON_GetObjectItemCaseSensitive(cJSON_GetArrayItem(json, 0), "data");
    assert_true(cJSON_GetArrayItem(item, 0)->valuedouble == -5 &&
                cJSON_GetArrayItem(item, 1)->valuedouble == 300);
    cJSON_Delete(json);
    assert_ok(query_tensors(query, ULID_A, 5, &json, &err));
    assert_int_equal(cJSON_GetArraySize(json), 0);
    cJSON_Delete(json);

    assert_ok(query_calibrations(query, "d7", &json, &err));
    assert_int_equal(cJSON_GetArraySize(json), 2);
    item = cJSON_GetArrayItem(json, 0);
    assert_true(number_at(item, "parent") == number_at(cJSON_GetArrayItem(json, 1), "id"));
    assert_true(cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(item, "coefficients"), 0)->valuedouble ==
                0.1 + 0.2);
    assert_string_equal(text_at(item, "run"), ULID_A);
    cJSON_Delete(json);
    assert_ok(query_calibrations(query, "other", &json, &err));
    assert_int_equal(cJSON_GetArraySize(json), 0);
    cJSON_Delete(json);

    assert_ok(query_events(query, ULID_A, 0, 10, &json, &err));
    item = cJSON_GetArrayItem(json, 0);
    assert_string_equal(text_at(cJSON_GetObjectItemCaseSensitive(item, "details"), "rail"), "vddd");
    count = (int)number_at(item, "id");
    cJSON_Delete(json);
    assert_ok(query_events(query, NULL, count, 10, &json, &err));
    assert_int_equal(cJSON_GetArraySize(json), 0);
    cJSON_Delete(json);
    query_close(query);
    assert_ok(recorder_close(recorder, &err));
}

enum { TRACE_SAMPLES = 300000 };

/* Uniform, with noise, one spike, one NaN and one hole of ten seconds. */
static void make_trace(int64_t *time_ns, float *value)
{
    struct rng rng;

    rng_init(&rng, 3, "test_query", 0, 0, 0);
    print_message("seed 3\n");
    for (int i = 0; i < TRACE_SAMPLES; i++) {
        time_ns[i] = 5000 + (int64_t)i * 100000 + (i > 200000 ? 10000000000 : 0);
        value[i] = (float)rng_normal(&rng);
    }
    value[123456] = 50;
    value[77] = NAN;
}

/* What a scan of every sample gives for the same window. */
static void check_plot(const cJSON *json, const int64_t *time_ns, const float *value, int64_t t0, int64_t t1)
{
    const cJSON *min = cJSON_GetObjectItemCaseSensitive(json, "min"),
                *max = cJSON_GetObjectItemCaseSensitive(json, "max");
    const cJSON *item;
    float least = INFINITY, most = -INFINITY;
    double shown_least = INFINITY, shown_most = -INFINITY;

    for (int i = 0; i < TRACE_SAMPLES; i++) {
        if (time_ns[i] < t0 || time_ns[i] > t1 || isnan(value[i]))
            continue;
        least = value[i] < least ? value[i] : least;
        most = value[i] > most ? value[i] : most;
    }
    cJSON_ArrayForEach(item, min) shown_least = fmin(shown_least, item->valuedouble);
    cJSON_ArrayForEach(item, max) shown_most = fmax(shown_most, item->valuedouble);
    assert_true(shown_least == (double)least && shown_most == (double)most);
}

/* Whatever the level, every sample is in exactly one pixel. */
static void check_counts(const struct fixture *f)
{
    static const int PIXELS[] = { 1, 2, 5, 9, 13, 30, 60, 100, 997, 4000 };
    static struct trace_bucket bucket[4000];
    char path[200];
    struct trace_reader *reader;
    struct trace_channel channel;
    struct error err;
    int source;

    snprintf(path, sizeof path, "%s.traces/%s.trace", f->db, ULID_B);
    assert_ok(trace_reader_open(path, &reader, &err));
    assert_ok(trace_reader_channel(reader, "rail.vddd.current", &channel, &err));
    for (size_t i = 0; i < sizeof PIXELS / sizeof PIXELS[0]; i++) {
        int64_t total = 0;

        assert_ok(trace_reader_plot(reader, &channel, channel.first_ns, channel.last_ns, PIXELS[i], bucket,
                                    &source, &err));
        for (int j = 0; j < PIXELS[i]; j++)
            total += bucket[j].count;
        assert_int_equal(total, TRACE_SAMPLES - 1); /* one is NaN */
    }
    trace_reader_close(reader);
}

static void traces(void **state)
{
    struct fixture *f = *state;
    struct recorder *recorder = record_two_runs(f); /* run B is open */
    const struct record_sink *sink = recorder_sink(recorder);
    int64_t *time_ns = malloc(TRACE_SAMPLES * sizeof *time_ns);
    float *value = malloc(TRACE_SAMPLES * sizeof *value);
    struct record_trace trace = { "rail.vddd.current", UNIT_AMPERE, time_ns, value, TRACE_SAMPLES };
    static const struct {
        int64_t t0, t1;
        int pixels;
        const char *source;
    } WINDOWS[] = {
        { 0, 0, 4, "groups" },
        { 0, 0, 60, NULL },
        { 0, 0, 2000, "samples" },
        { 10000000000, 15000000000, 100, "samples" },
        { 12345678912, 12345778912, 10, "samples" },
        { 20000000000, 30000000000, 3, NULL },
        { 3, 29000000000, 7, NULL },
        { 0, 20000000000, 40, "chunks" },
    };
    struct query *query;
    cJSON *json;
    struct error err;

    make_trace(time_ns, value);
    assert_ok(sink->trace(sink->context, &trace, &err));
    assert_ok(sink->run_end(sink->context, "done", 0, "", 9, &err));
    assert_ok(sink->ack(sink->context, &err));
    query = open_query(f);
    for (size_t i = 0; i < sizeof WINDOWS / sizeof WINDOWS[0]; i++) {
        int64_t t0 = WINDOWS[i].t0, t1 = WINDOWS[i].t1;

        assert_ok(query_trace(query, "latest", "rail.vddd.current", t0, t1, WINDOWS[i].pixels, &json, &err));
        if (WINDOWS[i].source != NULL)
            assert_string_equal(text_at(json, "source"), WINDOWS[i].source);
        assert_true(cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(json, "t")) <= WINDOWS[i].pixels);
        check_plot(json, time_ns, value, t1 == 0 ? INT64_MIN : t0, t1 == 0 ? INT64_MAX : t1);
        cJSON_Delete(json);
    }
    check_counts(f);
    assert_int_equal(query_trace(query, "latest", "nothing", 0, 0, 10, &json, &err), ERR_NOT_FOUND);
    assert_int_equal(query_trace(query, ULID_A, "rail.vddd.current", 0, 0, 10, &json, &err), ERR_NOT_FOUND);
    assert_int_equal(query_trace(query, "latest", "rail.vddd.current", 0, 0, 0, &json, &err), ERR_RANGE);
    assert_ok(query_channels(query, "latest", &json, &err));
    assert_int_equal(cJSON_GetArraySize(json), 1);
    assert_true(number_at(cJSON_GetArrayItem(json, 0), "samples") == TRACE_SAMPLES);
    cJSON_Delete(json);
    assert_ok(query_channels(query, ULID_A, &json, &err));
    assert_int_equal(cJSON_GetArraySize(json), 4); /* accuracy and three rails */
    cJSON_Delete(json);
    query_close(query);
    assert_ok(recorder_close(recorder, &err));
    free(value);
    free(time_ns);
}

static void a_lost_tail_is_a_gap(void **state)
{
    struct fixture *f = *state;
    struct record_run run = fixture_run(ULID_A);
    struct recorder *recorder;
    const struct record_sink *sink;
    struct query *query;
    const cJSON *gap;
    cJSON *json;
    int64_t id, time_ns[2] = { 1000, 2000 };
    float value[2] = { 1, 2 };
    struct record_trace trace = { "rail", UNIT_VOLT, time_ns, value, 2 };
    struct error err;

    for (int life = 0; life < 2; life++) {
        assert_ok(recorder_open(f->db, &recorder, &err));
        sink = recorder_sink(recorder);
        assert_ok(sink->run_begin(sink->context, &run, &id, &err));
        assert_ok(sink->trace(sink->context, &trace, &err));
        assert_ok(recorder_close(recorder, &err)); /* without run_end: as after a crash */
        time_ns[0] = 9000;
        time_ns[1] = 9500;
    }
    query = open_query(f);
    assert_ok(query_trace(query, ULID_A, "rail", 0, 0, 20, &json, &err));
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(json, "t")), 4);
    gap = cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(json, "gaps"), 0);
    assert_true(cJSON_GetArrayItem(gap, 0)->valuedouble == 2000 &&
                cJSON_GetArrayItem(gap, 1)->valuedouble == 9000);
    cJSON_Delete(json);
    query_close(query);
}

/* The queries of the documentation give rows. The path is that of the repository's root, where tests run. */
static void documented_queries(void **state)
{
    struct fixture *f = *state;
    struct recorder *recorder = record_two_runs(f);
    char *text, *at, *end;
    sqlite3 *db;
    int queries = 0;
    struct error err;

    assert_ok(text_read_file("docs/database.md", 1 << 20, &text, NULL, &err));
    assert_int_equal(sqlite3_open_v2(f->db, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    for (at = strstr(text, "```sql\n"); at != NULL; at = strstr(end + 3, "```sql\n")) {
        sqlite3_stmt *stmt;

        at += strlen("```sql\n");
        end = strstr(at, "```");
        assert_non_null(end);
        if (sqlite3_prepare_v2(db, at, (int)(end - at), &stmt, NULL) != SQLITE_OK)
            fail_msg("%s in: %.*s", sqlite3_errmsg(db), (int)(end - at), at);
        if (sqlite3_step(stmt) != SQLITE_ROW)
            fail_msg("no row from: %.*s", (int)(end - at), at);
        sqlite3_finalize(stmt);
        queries++;
    }
    assert_int_equal(queries, 7);
    sqlite3_close(db);
    free(text);
    assert_ok(recorder_close(recorder, &err));
}

#define in_store(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_store(runs),
        in_store(points_and_samples),
        in_store(comparison_events_calibrations),
        in_store(documented_queries),
        in_store(traces),
        in_store(a_lost_tail_is_a_gap),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
