/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_backup: a copy is whole or is not there. */
#include "db_fixture.h"

#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>

#include "db/backup.h"

#define RUN "01RUN0000000000000000000B1"

struct names {
    char file[96];
};

static struct names names_of(const struct fixture *f)
{
    struct names n;

    snprintf(n.file, sizeof n.file, "%s/copy.db", f->folder);
    return n;
}

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

static void add_trace(const struct record_sink *sink, int count)
{
    int64_t time_ns[5000];
    float value[5000];
    struct error err;

    for (int i = 0; i < count; i++) {
        time_ns[i] = i * 1000;
        value[i] = (float)i;
    }
    assert_ok(sink->trace(sink->context,
                          &(struct record_trace){ "rail.vddd.current", UNIT_AMPERE, time_ns, value, count },
                          &err));
}

static void recorded(const struct fixture *f)
{
    struct recorder *recorder = begin(f);
    const struct record_sink *sink = recorder_sink(recorder);
    struct error err;

    for (int i = 0; i < 5; i++)
        fixture_point(sink, i, 1, VERDICT_PASS, 3);
    add_trace(sink, 5000);
    assert_ok(sink->run_end(sink->context, "done", 0, "", 9000, &err));
    assert_ok(recorder_close(recorder, &err));
}

static int points_in(const char *db)
{
    struct query *query;
    struct error err;
    cJSON *points;

    assert_ok(query_open(db, &query, &err));
    assert_ok(query_points(query, "latest", -1, &points, &err));
    int n = cJSON_GetArraySize(points);
    cJSON_Delete(points);
    query_close(query);
    return n;
}

static void copy_is_whole_and_sums_are_right(void **state)
{
    struct fixture *f = *state;
    struct names n = names_of(f);
    struct backup_result result;
    struct error err;
    char command[320];

    recorded(f);
    assert_ok(backup_store(f->db, n.file, &result, &err));
    assert_int_equal(result.runs, 1);
    assert_int_equal(result.traces, 1);
    assert_int_equal(result.missing, 0);
    assert_int_equal(points_in(n.file), 5);
    snprintf(command, sizeof command, "cd %s && sha256sum --quiet -c copy.db.sha256", f->folder);
    assert_int_equal(system(command), 0);
    /* One file, no log: it can be carried off. */
    snprintf(command, sizeof command, "test ! -e %s-wal -a ! -e %s.part", n.file, n.file);
    assert_int_equal(system(command), 0);
    assert_int_equal(backup_store(f->db, n.file, &result, &err), ERR_CONFLICT);
    snprintf(command, sizeof command, "rm %s", n.file);
    assert_int_equal(system(command), 0);
    assert_ok(backup_store(f->db, n.file, &result, &err)); /* a second one, over what the first has left */
}

static void damage(const char *path, long offset)
{
    unsigned char byte;
    int fd = open(path, O_RDWR);

    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, offset), 1);
    byte ^= 0x55;
    assert_int_equal(pwrite(fd, &byte, 1, offset), 1);
    close(fd);
}

static void damaged_store_gives_no_backup(void **state)
{
    struct fixture *f = *state;
    struct names n = names_of(f);
    struct backup_result result;
    struct error err;

    recorded(f);
    damage(f->db, 2 * 4096 + 3); /* the header of a page of the tree */
    assert_int_not_equal(backup_store(f->db, n.file, &result, &err), 0);
    assert_int_not_equal(access(n.file, F_OK), 0);
}

static void damaged_trace_gives_no_backup(void **state)
{
    struct fixture *f = *state;
    struct names n = names_of(f);
    struct backup_result result;
    char trace[192];
    struct error err;
    sqlite3 *db = NULL;

    recorded(f);
    snprintf(trace, sizeof trace, "%s.traces/" RUN ".trace", f->db);
    assert_int_equal(sqlite3_open(trace, &db), SQLITE_OK);
    /* SQLite sees nothing wrong, the hash chain does. */
    assert_int_equal(sqlite3_exec(db, "UPDATE chunk SET samples = zeroblob(length(samples)) WHERE link = 1",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    sqlite3_close(db);
    int code = backup_store(f->db, n.file, &result, &err);
    assert_int_equal(code, ERR_MISMATCH);
    assert_int_not_equal(access(n.file, F_OK), 0);
}

static void missing_trace_is_told(void **state)
{
    struct fixture *f = *state;
    struct names n = names_of(f);
    struct backup_result result;
    char trace[192];
    struct error err;

    recorded(f);
    snprintf(trace, sizeof trace, "%s.traces/" RUN ".trace", f->db);
    assert_int_equal(unlink(trace), 0);
    assert_ok(backup_store(f->db, n.file, &result, &err));
    assert_int_equal(result.missing, 1);
}

struct recording {
    const struct record_sink *sink;
    _Atomic bool stop;
    _Atomic int points; /* acknowledged */
};

static void *record_on(void *context)
{
    struct recording *r = context;
    struct error err;

    for (r->points = 0; !r->stop && r->points < 10000; r->points++) {
        fixture_point(r->sink, r->points, 1, VERDICT_PASS, 6);
        if (r->sink->ack(r->sink->context, &err) != 0)
            break;
    }
    return NULL;
}

static void recording_goes_on_meanwhile(void **state)
{
    struct fixture *f = *state;
    struct names n = names_of(f);
    struct recorder *recorder = begin(f);
    struct recording recording = { .sink = recorder_sink(recorder) };
    struct backup_result result;
    struct error err;
    pthread_t thread;

    add_trace(recording.sink, 5000);
    pthread_create(&thread, NULL, record_on, &recording);
    for (int i = 0; i < 5000 && recording.points < 20; i++)
        usleep(1000);
    assert_ok(backup_store(f->db, n.file, &result, &err));
    recording.stop = true;
    pthread_join(thread, NULL);
    assert_ok(recorder_close(recorder, &err));
    int copied = points_in(n.file);
    assert_true(copied >= 20);
    assert_true(copied <= recording.points);
    assert_int_equal(points_in(f->db), recording.points);
    /* What was backed up goes on as a store of its own. */
    struct fixture copy = *f;
    snprintf(copy.db, sizeof copy.db, "%s", n.file);
    recorder = begin(&copy);
    assert_ok(recorder_close(recorder, &err));
}

static void other_files_are_refused(void **state)
{
    struct fixture *f = *state;
    struct names n = names_of(f);
    struct backup_result result;
    struct error err;

    assert_int_equal(backup_store(f->db, n.file, &result, &err), ERR_NOT_FOUND);
    assert_ok(text_write_file(f->db, "not a store, but long enough to look at", 40, &err));
    assert_int_equal(backup_store(f->db, n.file, &result, &err), ERR_INVALID);
    assert_int_not_equal(access(n.file, F_OK), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(copy_is_whole_and_sums_are_right, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(damaged_store_gives_no_backup, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(damaged_trace_gives_no_backup, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(missing_trace_is_told, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(recording_goes_on_meanwhile, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(other_files_are_refused, fixture_setup, fixture_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
