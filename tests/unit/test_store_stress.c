/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_store_stress: a full disk, a disk that cannot sync, a reader that does not end. */
#include "db_fixture.h"

#include <pthread.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "db/space.h"
#include "db/store.h"
#include "tests/fault/disk_shim.c" /* also of tests/fault/ */

#define RUN "01RUN0000000000000000000B1"

static struct recorder *begin(const struct fixture *f)
{
    struct recorder *recorder;
    struct record_run run = fixture_run(RUN);
    struct error err;
    int64_t id;

    assert_ok(recorder_open(f->db, &recorder, &err));
    const struct record_sink *sink = recorder_sink(recorder);
    assert_ok(sink->run_begin(sink->context, &run, &id, &err));
    return recorder;
}

static int64_t count(const struct fixture *f, const char *sql)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *stmt = NULL;
    int64_t n = -1;

    assert_int_equal(sqlite3_open_v2(f->db, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), SQLITE_OK);
    if (sqlite3_step(stmt) == SQLITE_ROW)
        n = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    return n;
}

static void room(int64_t bytes)
{
    disk_shim_fault(&(struct disk_fault){ .countdown = -1, .quota_bytes = bytes });
}

static bool becomes(struct recorder *recorder, enum recorder_condition condition)
{
    struct recorder_health health;

    for (int i = 0; i < 2000; i++) {
        recorder_health(recorder, &health);
        if (health.condition == condition)
            return true;
        usleep(5000);
    }
    return false;
}

static void marks_of_a_disk(void **state)
{
    int64_t small = 20LL << 30, large = 4000LL << 30;

    (void)state;
    assert_int_equal(space_judge(small / 100 * 11, small, SPACE_OK), SPACE_OK);
    assert_int_equal(space_judge(small / 100 * 9, small, SPACE_OK), SPACE_LOW);
    assert_int_equal(space_judge(small / 100 * 4, small, SPACE_OK), SPACE_OUT);
    /* It does not flutter at the mark. */
    assert_int_equal(space_judge(small / 1000 * 55, small, SPACE_OUT), SPACE_OUT);
    assert_int_equal(space_judge(small / 1000 * 65, small, SPACE_OUT), SPACE_LOW);
    assert_int_equal(space_judge(small / 100 * 11, small, SPACE_LOW), SPACE_LOW);
    assert_int_equal(space_judge(small / 100 * 13, small, SPACE_LOW), SPACE_OK);
    /* One per cent of four terabytes is room for many nights. */
    assert_int_equal(space_judge(large / 100, large, SPACE_OK), SPACE_OK);
    assert_int_equal(space_judge(2LL << 30, large, SPACE_OK), SPACE_LOW);
    assert_int_equal(space_judge(1LL << 29, large, SPACE_OK), SPACE_OUT);
}

static void ballast_stands_by_while_recording(void **state)
{
    struct fixture *f = *state;
    struct recorder *recorder = begin(f);
    char path[128];
    struct stat st;
    struct error err;

    snprintf(path, sizeof path, "%s.ballast", f->db);
    if (stat(path, &st) != 0)
        skip(); /* this file system cannot reserve */
    assert_int_equal(st.st_size, SPACE_BALLAST_BYTES);
    assert_true(st.st_blocks * 512 >= SPACE_BALLAST_BYTES);
    assert_ok(recorder_close(recorder, &err));
    assert_int_not_equal(stat(path, &st), 0);
}

static void *ack(void *context)
{
    const struct record_sink *sink = recorder_sink(context);
    struct error err;

    return sink->ack(sink->context, &err) == 0 ? context : NULL;
}

static void full_disk_pauses_and_goes_on(void **state)
{
    struct fixture *f = *state;
    struct recorder *recorder = begin(f);
    const struct record_sink *sink = recorder_sink(recorder);
    pthread_t thread;
    void *acknowledged = NULL;
    struct recorder_health health;
    struct error err;

    fixture_point(sink, 0, 1, VERDICT_PASS, 3);
    assert_ok(sink->ack(sink->context, &err));
    room(1);
    for (int i = 1; i < 40; i++)
        fixture_point(sink, i, 1, VERDICT_PASS, 6);
    pthread_create(&thread, NULL, ack, recorder);
    assert_true(becomes(recorder, RECORDER_PAUSED));
    for (int i = 0; i < 60; i++) { /* also while it tries again */
        recorder_health(recorder, &health);
        assert_int_equal(health.condition, RECORDER_PAUSED);
        usleep(10000);
    }
    assert_int_equal(count(f, "SELECT count(*) FROM attempt"), 1);                 /* reads go on */
    assert_true(recorder_annotate(recorder, RUN, "note", NULL, &err) == ERR_FULL); /* people are told */
    room(0);
    assert_true(becomes(recorder, RECORDER_FINE));
    pthread_join(thread, &acknowledged);
    assert_ptr_equal(acknowledged, recorder);
    assert_int_equal(count(f, "SELECT count(*) FROM attempt WHERE verdict = 'pass'"), 40);
    assert_int_equal(count(f, "SELECT count(*) FROM reading"), 3 + 39 * 6);
    assert_int_equal(count(f, "SELECT count(DISTINCT name) FROM channel"), 6);
    assert_ok(sink->run_end(sink->context, "done", 0, "", 9000, &err));
    assert_ok(recorder_close(recorder, &err));
}

static void traces_of_a_full_disk(void **state)
{
    struct fixture *f = *state;
    struct recorder *recorder = begin(f);
    const struct record_sink *sink = recorder_sink(recorder);
    static int64_t time_ns[4096];
    static float value[4096];
    struct record_trace trace = { "rail.vddd.current", UNIT_AMPERE, time_ns, value, 4096 };
    struct query *query;
    struct error err;
    cJSON *channels;

    for (int round = 0; round < 8; round++) {
        for (int i = 0; i < 4096; i++)
            time_ns[i] = (round * 4096LL + i) * 1000;
        assert_ok(sink->trace(sink->context, &trace, &err));
        if (round == 3) {
            assert_ok(sink->ack(sink->context, &err));
            room(1);
        }
    }
    assert_true(becomes(recorder, RECORDER_PAUSED));
    room(0);
    assert_ok(sink->ack(sink->context, &err));
    assert_ok(sink->run_end(sink->context, "done", 0, "", 9000, &err));
    assert_ok(recorder_close(recorder, &err));
    assert_ok(query_open(f->db, &query, &err));
    assert_ok(query_channels(query, "latest", &channels, &err));
    /* Whole chunks were in the file or in the queue: nothing is lost, nothing doubled. */
    assert_int_equal((int)number_at(cJSON_GetArrayItem(channels, 0), "samples"), 8 * 4096);
    cJSON_Delete(channels);
    query_close(query);
}

static void abort_while_the_disk_is_full(void **state)
{
    struct fixture *f = *state;
    struct recorder *recorder = begin(f);
    const struct record_sink *sink = recorder_sink(recorder);
    struct error err;

    room(1);
    fixture_point(sink, 0, 1, VERDICT_PASS, 3);
    assert_true(becomes(recorder, RECORDER_PAUSED));
    recorder_refuse_waits(recorder, true);
    assert_int_equal(sink->ack(sink->context, &err), ERR_FULL);
    assert_true(err.retryable);
    assert_ok(sink->run_end(sink->context, "aborted", ERR_CANCELLED, "no room", 9000, &err));
    room(0);
    recorder_refuse_waits(recorder, false);
    assert_ok(sink->ack(sink->context, &err));
    assert_int_equal(count(f, "SELECT count(*) FROM run WHERE state = 'aborted'"), 1);
    assert_int_equal(count(f, "SELECT count(*) FROM reading"), 3);
    assert_ok(recorder_close(recorder, &err));
}

static void full_queue_keeps_the_end_of_a_run(void **state)
{
    struct fixture *f = *state;
    struct recorder *recorder = begin(f);
    const struct record_sink *sink = recorder_sink(recorder);
    static char text[100000];
    struct record_event event = { "note", text, NULL, 1, 1 };
    struct error err;
    int code = 0, events = 0;

    memset(text, 'x', sizeof text - 1);
    room(1);
    assert_ok(sink->event(sink->context, &event, &err));
    assert_true(becomes(recorder, RECORDER_PAUSED));
    recorder_refuse_waits(recorder, true);
    for (events = 1; code == 0 && events < 1000; events++)
        code = sink->event(sink->context, &event, &err);
    assert_int_equal(code, ERR_FULL); /* the queue is bounded */
    event.text = "y";
    while (sink->event(sink->context, &event, &err) == 0)
        events++;
    assert_ok(sink->run_end(sink->context, "aborted", ERR_FULL, "no room", 9000, &err));
    recorder_refuse_waits(recorder, false);
    room(0);
    assert_ok(sink->ack(sink->context, &err));
    assert_int_equal(count(f, "SELECT count(*) FROM run WHERE state = 'aborted'"), 1);
    assert_ok(recorder_close(recorder, &err));
}

static void closing_a_full_store_says_so(void **state)
{
    struct fixture *f = *state;
    struct recorder *recorder = begin(f);
    const struct record_sink *sink = recorder_sink(recorder);
    struct error err;

    room(1);
    fixture_point(sink, 0, 1, VERDICT_PASS, 3);
    assert_int_equal(recorder_close(recorder, &err), ERR_FULL);
    room(0);
    assert_int_equal(count(f, "SELECT count(*) FROM attempt"), 0);
    recorder = begin(f); /* and the run can go on */
    assert_ok(recorder_close(recorder, &err));
}

static void sync_error_is_for_good(void **state)
{
    struct fixture *f = *state;
    struct recorder *recorder = begin(f);
    const struct record_sink *sink = recorder_sink(recorder);
    struct recorder_health health;
    struct record_event event = { "note", "x", NULL, 1, 1 };
    struct error err;

    fixture_point(sink, 0, 1, VERDICT_PASS, 3);
    assert_ok(sink->ack(sink->context, &err));
    disk_shim_fault(&(struct disk_fault){ .countdown = 0, .sync_only = true });
    fixture_point(sink, 1, 1, VERDICT_PASS, 3);
    assert_int_equal(sink->ack(sink->context, &err), ERR_IO);
    assert_int_equal(disk_shim_injected(), 1);
    /* The next sync would succeed, and mean nothing: the kernel has forgotten what it could not write. */
    assert_int_equal(sink->ack(sink->context, &err), ERR_IO);
    assert_int_equal(sink->event(sink->context, &event, &err), ERR_IO);
    assert_non_null(strstr(err.message, "recording has stopped"));
    recorder_health(recorder, &health);
    assert_int_equal(health.condition, RECORDER_FAILED);
    assert_int_equal(recorder_close(recorder, &err), ERR_IO);
    assert_int_equal(count(f, "SELECT count(*) FROM attempt WHERE cell_id = 1"), 1);
}

/* Somebody's shell with an open transaction, for as long as he likes: said, and waited for. */
static void foreign_writer_is_waited_for(void **state)
{
    struct fixture *f = *state;
    struct recorder *recorder = begin(f);
    const struct record_sink *sink = recorder_sink(recorder);
    struct recorder_health health = { .condition = RECORDER_FINE };
    struct error err;
    sqlite3 *other = NULL;

    assert_ok(sink->ack(sink->context, &err));
    assert_int_equal(sqlite3_open(f->db, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    fixture_point(sink, 0, 1, VERDICT_PASS, 3);
    while (health.condition == RECORDER_FINE) {
        usleep(1000);
        recorder_health(recorder, &health);
    }
    assert_int_equal(health.condition, RECORDER_PAUSED);
    assert_non_null(strstr(health.text, "holds the write lock"));
    assert_int_equal(sqlite3_exec(other, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(other);
    assert_ok(sink->ack(sink->context, &err));
    assert_int_equal(count(f, "SELECT count(*) FROM reading"), 3);
    recorder_health(recorder, &health);
    assert_int_equal(health.condition, RECORDER_FINE);
    assert_ok(recorder_close(recorder, &err));
}

static void long_reader_costs_only_the_log(void **state)
{
    struct fixture *f = *state;
    struct recorder *recorder = begin(f);
    const struct record_sink *sink = recorder_sink(recorder);
    struct recorder_health health;
    static char text[60000];
    struct record_event event = { "note", text, NULL, 1, 1 };
    struct error err;
    sqlite3 *reader = NULL;

    memset(text, 'x', sizeof text - 1);
    assert_ok(sink->ack(sink->context, &err));
    assert_int_equal(sqlite3_open_v2(f->db, &reader, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_exec(reader, "BEGIN; SELECT count(*) FROM run", NULL, NULL, NULL), SQLITE_OK);
    for (int i = 0; i < 200; i++)
        assert_ok(sink->event(sink->context, &event, &err));
    assert_ok(sink->ack(sink->context, &err));
    usleep(20000);
    assert_ok(sink->event(sink->context, &event, &err));
    assert_ok(sink->ack(sink->context, &err));
    recorder_health(recorder, &health);
    assert_true(health.wal_bytes > STORE_CHECKPOINT_BYTES); /* it grows, and nothing else happens */
    assert_int_equal(health.condition, RECORDER_FINE);
    sqlite3_exec(reader, "COMMIT", NULL, NULL, NULL);
    sqlite3_close(reader);
    for (int i = 0; i < 120; i++)
        assert_ok(sink->event(sink->context, &event, &err));
    assert_ok(sink->ack(sink->context, &err));
    assert_ok(sink->event(sink->context, &event, &err));
    assert_ok(sink->ack(sink->context, &err));
    assert_ok(sink->event(sink->context, &event, &err));
    assert_ok(sink->ack(sink->context, &err));
    recorder_health(recorder, &health);
    assert_true(health.wal_bytes < STORE_CHECKPOINT_BYTES); /* the log has started over */
    assert_int_equal(count(f, "SELECT count(*) FROM event"), 323);
    assert_ok(recorder_close(recorder, &err));
}

static int setup(void **state)
{
    disk_shim_fault(&(struct disk_fault){ .countdown = -1 });
    return fixture_setup(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(marks_of_a_disk),
        cmocka_unit_test_setup_teardown(ballast_stands_by_while_recording, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(full_disk_pauses_and_goes_on, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(traces_of_a_full_disk, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(abort_while_the_disk_is_full, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(full_queue_keeps_the_end_of_a_run, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(closing_a_full_store_says_so, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(sync_error_is_for_good, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(foreign_writer_is_waited_for, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(long_reader_costs_only_the_log, setup, fixture_teardown),
    };

    log_init("test", LOG_ERR + 1);
    if (disk_shim_install() != 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
