/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * writer_sql: the texts of the writer's statements. Their parameters are bound in writer.c, in this order. */
#include "db/writer_sql.h"

#define TIMES_4(row)  row "," row "," row "," row
#define TIMES_16(row) TIMES_4(row) "," TIMES_4(row) "," TIMES_4(row) "," TIMES_4(row)
#define READING_INTO                                                                                         \
    "INSERT INTO reading(id, channel_id, value, uncertainty, range, flags, time_ns, wall_ns, "               \
    "calibration_id) VALUES"
#define READING_ROW "(?, ?, ?, ?, ?, ?, ?, ?, ?)"
#define SAMPLE_INTO                                                                                          \
    "INSERT OR REPLACE INTO sample(id, sample, label, prediction, out0, out1, out2, out3, cycles, status, "  \
    "source,"                                                                                                \
    " clip) VALUES"
#define SAMPLE_ROW "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"

const char *const WRITER_SQL[STATEMENT_COUNT] = {
    [RUN_FIND] = "SELECT id, plan_hash, chip_id, bench_id, state FROM run WHERE ulid = ?",
    [RUN_INSERT] =
        "INSERT INTO run(id, ulid, campaign, plan_hash, bench_id, socket, chip_id, "
        "backend, operator, tags, build,"
        " seed, network_hash, mapping_hash, dataset_hash, plan, bench_snapshot, chip_snapshot, "
        "clock, simulated,"
        " begin_time_ns, begin_wall_ns, state, notes, budget_s)"
        " VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, nullif(?, 0.0))",
    [RUN_UNQUEUE] = "DELETE FROM queue WHERE ulid = ?",
    /* After such an end the bench is not known to be fit for the next run: somebody has to look first. */
    [RUN_HOLDS] =
        "INSERT INTO queue_hold(id, by_run, reason, wall_ns)"
        " SELECT 1, 1, 'run ' || ulid || ' ended ' || ?1 || CASE WHEN ?2 = '' THEN '' ELSE ': ' || ?2 END, ?3"
        " FROM run WHERE id = ?4 AND (?1 IN ('tripped', 'estop') OR (?1 <> 'interrupted' AND EXISTS(SELECT 1 "
        "FROM"
        " run_state WHERE run_id = ?4 AND state = 'held' AND id > coalesce((SELECT max(id) FROM run_state"
        " WHERE run_id = ?4 AND state = 'running'), 0))))" QUEUE_HOLD_AGAIN,
    [RUN_CONTINUE] = "UPDATE run SET state = 'resumed', code = 'ok', message = '', end_time_ns = NULL,"
                     " end_wall_ns = NULL, points = NULL WHERE id = ?",
    [RUN_END] = "WITH v AS MATERIALIZED (SELECT verdict, count(*) AS n, sum(attempts) AS a FROM verdict "
                "WHERE run_id = ?6"
                " GROUP BY verdict) UPDATE run SET state = ?1, code = ?2, message = ?3, end_time_ns = ?4, "
                "end_wall_ns = ?5,"
                " points = (SELECT json_group_object(k, n) FROM (SELECT verdict AS k, n FROM v UNION ALL"
                " SELECT 'planned', coalesce(sum(n), 0) FROM v UNION ALL SELECT 'attempts', coalesce(sum(a), "
                "0) FROM v))"
                " WHERE id = ?6",
    [RUN_CHIP] = "UPDATE run SET chip_id = ? WHERE id = ?",
    [RUN_STATE] = "UPDATE run SET state = ? WHERE id = ?",
    [RUN_STATE_ADD] = "INSERT INTO run_state(run_id, state, wall_ns, reason) VALUES(?, ?, ?, ?)",
    [RUN_ANNOTATE] =
        "UPDATE run SET notes = coalesce(?, notes), tags = coalesce(?, tags) WHERE ulid = ? RETURNING id",
    [BENCH_ID] = "INSERT INTO bench(name) VALUES(?) ON CONFLICT(name) DO UPDATE SET name = name RETURNING id",
    [CHIP_ID] = "INSERT INTO chip(type, serial, revision, lot, wafer, x, y) VALUES(?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT(type, serial) DO UPDATE SET revision = coalesce(excluded.revision, revision),"
                " lot = coalesce(excluded.lot, lot), wafer = coalesce(excluded.wafer, wafer),"
                " x = coalesce(excluded.x, x), y = coalesce(excluded.y, y) RETURNING id",
    [STEP_BEGIN] = "INSERT INTO step(run_id, step, kind, name, begin_time_ns) VALUES(?, ?, ?, ?, ?)"
                   " ON CONFLICT(run_id, step) DO UPDATE SET code = NULL, end_time_ns = NULL",
    [STEP_END] = "UPDATE step SET code = ?, end_time_ns = ? WHERE run_id = ? AND step = ?",
    [CELL_INSERT] =
        "INSERT INTO cell(id, run_id, step, cell, repeat, identity, axes) VALUES(?, ?, ?, ?, ?, ?, ?)",
    [CELL_FIND] = "SELECT id, identity FROM cell WHERE run_id = ? AND step = ? AND cell = ?",
    [ATTEMPT_INSERT] =
        "INSERT INTO attempt(id, verdict, code, message, begin_time_ns, end_time_ns, host_ns)"
        " VALUES(?, ?, ?, ?, ?, ?, ?) ON CONFLICT(id) DO UPDATE SET verdict = excluded.verdict,"
        " code = excluded.code, message = excluded.message, end_time_ns = excluded.end_time_ns,"
        " host_ns = excluded.host_ns",
    [ATTEMPT_END] =
        "UPDATE attempt SET verdict = ?, code = ?, message = ?, end_time_ns = ?, host_ns = ? WHERE id = ?",
    [ATTEMPT_FIND] = "SELECT begin_time_ns, end_time_ns FROM attempt WHERE id = ?",
    [ATTEMPT_READINGS_DROP] = "DELETE FROM reading WHERE id BETWEEN ?1 << 24 AND (?1 << 24) + 16777215",
    [ATTEMPT_TENSORS_DROP] = "DELETE FROM tensor WHERE attempt_id = ?",
    [READING_LAST] = "SELECT max(id) FROM reading WHERE id BETWEEN ? AND ?",
    [CHANNEL_ID] = "INSERT INTO channel(name, instrument, unit) VALUES(?, ?, ?)"
                   " ON CONFLICT(name, instrument, unit) DO UPDATE SET name = name RETURNING id",
    [READING_INSERT] = READING_INTO READING_ROW,
    [READING_INSERT_MANY] = READING_INTO TIMES_16(READING_ROW),
    [SAMPLE_INSERT] = SAMPLE_INTO SAMPLE_ROW,
    [SAMPLE_INSERT_MANY] = SAMPLE_INTO TIMES_16(SAMPLE_ROW),
    [CURSOR_MOVE] =
        "INSERT OR REPLACE INTO cursor(run_id, step, cell, attempt, next_sample) VALUES(?, ?, ?, ?, ?)",
    [TENSOR_INSERT] =
        "INSERT INTO tensor(attempt_id, sample, layer, layer_name, kind, core, height, width, depth,"
        " type_bits, data) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    [CALIBRATION_INSERT] =
        "INSERT INTO calibration(id, run_id, chip_id, bench_id, parent, key, kind, instrument_chain, "
        "coefficients, raw,"
        " validity_s, time_ns, wall_ns) VALUES(?1, nullif(?2, 0), nullif(?3, 0), nullif(?4, 0),"
        " (SELECT max(id) FROM calibration WHERE key = ?5 AND chip_id IS nullif(?3, 0)), ?5, ?6, ?7, ?8, ?9, "
        "?10, ?11,"
        " ?12)",
    [EVENT_INSERT] = "INSERT INTO event(run_id, kind, text, details, time_ns, wall_ns)"
                     " VALUES(nullif(?, 0), ?, ?, ?, ?, ?)",
    [TRACE_FILE] = "INSERT OR REPLACE INTO trace_file(run_id, file, chunks, chain) VALUES(?, ?, ?, ?)",
};
