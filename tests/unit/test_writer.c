/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_writer: what a run leaves behind in the writer when its end cannot be written. */
#include "tests/unit/db_fixture.h"

#include "db/sql.h"
#include "db/store.h"
#include "db/writer.h"

static void begin_and_trace(struct writer *writer, const char *ulid)
{
    const int64_t time_ns = 2000;
    const float value = 0.5f;
    const struct record_trace trace = { "rail.vddd.voltage", UNIT_VOLT, &time_ns, &value, 1 };
    struct record_run run = fixture_run(ulid);
    struct error err;
    int64_t id;

    assert_ok(writer_begin(writer, &err));
    assert_ok(writer_run_check(writer, &run, &err));
    assert_ok(writer_run_begin(writer, &run, &id, &err));
    assert_ok(writer_trace(writer, &trace, &err));
}

static void a_run_that_could_not_end_keeps_its_trace_to_itself(void **state)
{
    static const char a[] = "01ARZ3NDEKTSV4RRFFQ69G5FAA", b[] = "01ARZ3NDEKTSV4RRFFQ69G5FAB";
    const struct fixture *f = *state;
    struct store *store;
    struct writer *writer;
    struct error err;
    char path[160];

    assert_ok(store_open_writer(f->db, &store, &err));
    assert_ok(writer_open(store, &writer, &err));
    begin_and_trace(writer, a);
    /* Its attempt is still held: writing that fails, before the trace is closed. */
    assert_ok(sql_exec(store_handle(store),
                       "CREATE TRIGGER refuse BEFORE INSERT ON attempt BEGIN SELECT raise(FAIL, "
                       "'refused'); END",
                       &err));
    struct record_cell cell = { 0, 0, "{}", "id0000", 1 };
    struct record_attempt attempt = { .cell = 0, .attempt = 1, .time_ns = 2100, .message = "" };
    assert_ok(writer_cell(writer, &cell, &err));
    assert_ok(writer_attempt(writer, &attempt, &err));
    assert_int_not_equal(writer_run_end(writer, "failed", 0, "", 3000, 3000, &err), 0);
    assert_ok(sql_exec(store_handle(store), "DROP TRIGGER refuse", &err));
    assert_ok(sql_exec(store_handle(store), "COMMIT", &err));

    begin_and_trace(writer, b);
    assert_ok(writer_commit(writer, 0, &err));
    store_trace_path(f->db, b, path, sizeof path);
    if (access(path, R_OK) != 0)
        fail_msg("the second run has no trace file of its own");
    writer_close(writer);
    store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_run_that_could_not_end_keeps_its_trace_to_itself, fixture_setup,
                                        fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
