/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_run_states: which state may follow which; and that the store keeps every one, and refuses the rest. */
#include "tests/unit/db_fixture.h"

#include <string.h>

#include "db/recorder.h"
#include "db/run_states.h"
#include "db/sql.h"
#include "db/store.h"

static void names(void **state)
{
    (void)state;
    for (int i = 0; i < RUN_STATE_COUNT; i++)
        assert_int_equal(run_state_from_name(run_state_name(i)), i);
    assert_int_equal(run_state_from_name("sleeping"), -1);
}

/* Every pair that is allowed, spelled out: a change of the table must be meant. */
static void pairs(void **state)
{
    static const char *const allowed[][13] = {
        { "", "queued", "validating", "running" },
        { "queued", "validating", "running", "aborted", "estop", "tripped", "failed", "interrupted" },
        { "validating", "running", "aborted", "estop", "tripped", "failed", "interrupted" },
        { "running", "pausing", "paused", "held", "stopping", "done", "stopped", "aborted", "estop",
          "tripped", "failed", "interrupted" },
        { "pausing", "paused", "held", "running", "stopping", "done", "stopped", "aborted", "estop",
          "tripped", "failed", "interrupted" },
        { "paused", "running", "stopping", "stopped", "aborted", "estop", "tripped", "failed",
          "interrupted" },
        { "held", "running", "stopping", "stopped", "aborted", "estop", "tripped", "failed", "interrupted" },
        { "stopping", "stopping", "stopped", "done", "aborted", "estop", "tripped", "failed", "interrupted" },
        { "interrupted", "resumed", "aborted" },
        { "resumed", "running", "paused", "held", "stopping", "done", "stopped", "aborted", "estop",
          "tripped", "failed", "interrupted" },
    };
    int wanted = 0, found = 0;

    (void)state;
    for (size_t i = 0; i < sizeof allowed / sizeof *allowed; i++) {
        for (int j = 1; j < 13 && allowed[i][j] != NULL; j++, wanted++)
            assert_true(
                run_state_allowed(run_state_from_name(allowed[i][0]), run_state_from_name(allowed[i][j])));
    }
    for (int from = -1; from < RUN_STATE_COUNT; from++) {
        for (int to = 0; to < RUN_STATE_COUNT; to++)
            found += run_state_allowed(from, to);
    }
    assert_int_equal(found, wanted);
}

static struct record_run a_run(void)
{
    return (struct record_run){ .ulid = "01HX00000000000000000000ST",
                                .campaign = "c",
                                .plan_hash = "p",
                                .bench = "b",
                                .socket = "s",
                                .chip_serial = "",
                                .chip_type = "t",
                                .operator_name = "",
                                .backend = "chip",
                                .build = "",
                                .network_hash = "",
                                .mapping_hash = "",
                                .dataset_hash = "",
                                .plan_json = "{}",
                                .bench_json = "{}",
                                .chip_json = "{}",
                                .tags = "" };
}

static void history(const char *db, char *out, size_t size)
{
    struct store *store;
    struct sqlite3_stmt *stmt;
    struct error err;

    assert_ok(store_open_reader(db, &store, &err));
    assert_ok(sql_prepare(store_handle(store),
                          "SELECT group_concat(state, ' ') FROM (SELECT state FROM"
                          " run_state ORDER BY id)",
                          &stmt, &err));
    assert_int_equal(sql_step(stmt, &err), 1);
    snprintf(out, size, "%s", sql_col_text(stmt, 0));
    sql_finish(stmt);
    store_close(store);
}

static void kept(void **state)
{
    struct fixture *f = *state;
    struct recorder *recorder;
    struct record_run run = a_run();
    char words[256];
    int64_t id;
    struct error err;

    assert_ok(recorder_open(f->db, &recorder, &err));
    const struct record_sink *sink = recorder_sink(recorder);
    assert_ok(sink->run_begin(sink->context, &run, &id, &err));
    assert_ok(sink->state(sink->context, "held", "no answer", &err));
    assert_int_equal(sink->state(sink->context, "paused", "", &err), ERR_CONFLICT);
    assert_non_null(strstr(err.message, "held"));
    assert_int_equal(sink->state(sink->context, "done", "", &err), ERR_INVALID);
    assert_ok(sink->state(sink->context, "running", "", &err));
    assert_ok(recorder_close(recorder, &err)); /* the daemon dies */

    assert_ok(recorder_open(f->db, &recorder, &err));
    sink = recorder_sink(recorder);
    assert_ok(sink->run_begin(sink->context, &run, &id, &err));
    assert_ok(sink->run_end(sink->context, "done", 0, "", 5, &err));
    assert_ok(recorder_close(recorder, &err));
    history(f->db, words, sizeof words);
    assert_string_equal(words, "running held running interrupted resumed done");

    /* What has ended stays ended. */
    assert_ok(recorder_open(f->db, &recorder, &err));
    sink = recorder_sink(recorder);
    assert_int_equal(sink->run_begin(sink->context, &run, &id, &err), ERR_CONFLICT);
    assert_ok(recorder_close(recorder, &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),
        cmocka_unit_test(pairs),
        cmocka_unit_test_setup_teardown(kept, fixture_setup, fixture_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
