/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * migrations: the schema. Keys are made so that the rows of one attempt lie together without any index:
 *
 *     attempt.id = cell.id * 1024 + number            reading.id = attempt.id * 2^24 + n      (in order of
 * arrival) sample.id  = attempt.id * 2^24 + position
 *
 * so "the readings of attempt a" is a range of row ids, and the generated column attempt_id names the owner.
 * With trusted_schema=OFF SQLite 3.40 refuses its own JSON functions in CHECKs and views: no CHECK uses them,
 * and the views that do (cell_axis, v_point) are for people; nightbench itself reads without them.
 *
 * A change of the schema is a new entry at the end of STEPS; entries that were released never change. */
#include "db/migrations.h"

#include <stdio.h>

#include "db/sql.h"

/* clang-format off */
static const char STEP_1[] =
    "CREATE TABLE unit(id INTEGER PRIMARY KEY, symbol TEXT NOT NULL, name TEXT NOT NULL) STRICT;"
    "CREATE TABLE bench(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;"
    "CREATE TABLE chip(id INTEGER PRIMARY KEY, type TEXT NOT NULL, serial TEXT NOT NULL, revision TEXT, lot TEXT,"
    " wafer TEXT, x INTEGER, y INTEGER, UNIQUE(type, serial)) STRICT;"
    "CREATE TABLE run("
    " id INTEGER PRIMARY KEY, ulid TEXT NOT NULL UNIQUE, campaign TEXT NOT NULL, plan_hash TEXT NOT NULL,"
    " state TEXT NOT NULL CHECK(state IN ('queued','validating','running','pausing','paused','held','stopping',"
    "'interrupted','resumed','done','stopped','aborted','estop','tripped','failed')),"
    " code TEXT NOT NULL DEFAULT 'ok', message TEXT NOT NULL DEFAULT '',"
    " bench_id INTEGER NOT NULL REFERENCES bench, socket TEXT NOT NULL, chip_id INTEGER NOT NULL REFERENCES chip,"
    " backend TEXT NOT NULL, operator TEXT NOT NULL, tags TEXT NOT NULL, notes TEXT NOT NULL DEFAULT '',"
    " build TEXT NOT NULL, seed TEXT NOT NULL, network_hash TEXT NOT NULL, mapping_hash TEXT NOT NULL,"
    " dataset_hash TEXT NOT NULL, plan TEXT NOT NULL, bench_snapshot TEXT NOT NULL, chip_snapshot TEXT NOT NULL,"
    " clock TEXT NOT NULL CHECK(clock IN ('real','virtual')), simulated INTEGER NOT NULL,"
    " begin_time_ns INTEGER NOT NULL, begin_wall_ns INTEGER NOT NULL, end_time_ns INTEGER, end_wall_ns INTEGER,"
    " points TEXT) STRICT;" /* counts by verdict as JSON, once the run has ended: a list of runs need not visit cells */
    "CREATE INDEX run_chip ON run(chip_id);"
    "CREATE TABLE step(run_id INTEGER NOT NULL REFERENCES run, step INTEGER NOT NULL, kind TEXT NOT NULL,"
    " name TEXT NOT NULL, code TEXT, begin_time_ns INTEGER NOT NULL, end_time_ns INTEGER,"
    " PRIMARY KEY(run_id, step)) STRICT, WITHOUT ROWID;"
    /* cell = -1: what was read for the step or run itself; its axes are {}. */
    "CREATE TABLE cell(id INTEGER PRIMARY KEY, run_id INTEGER NOT NULL REFERENCES run, step INTEGER NOT NULL,"
    " cell INTEGER NOT NULL, repeat INTEGER NOT NULL, identity TEXT NOT NULL,"
    " axes TEXT NOT NULL,"
    " UNIQUE(run_id, step, cell)) STRICT;"
    "CREATE TABLE attempt(id INTEGER PRIMARY KEY, verdict TEXT NOT NULL, code TEXT NOT NULL, message TEXT NOT NULL,"
    " begin_time_ns INTEGER NOT NULL, end_time_ns INTEGER, host_ns INTEGER,"
    " cell_id INTEGER AS (id >> 10), number INTEGER AS (id & 1023)) STRICT;"
    "CREATE TABLE channel(id INTEGER PRIMARY KEY, name TEXT NOT NULL, instrument TEXT NOT NULL,"
    " unit INTEGER NOT NULL REFERENCES unit, UNIQUE(name, instrument, unit)) STRICT;"
    "CREATE TABLE reading(id INTEGER PRIMARY KEY, channel_id INTEGER NOT NULL, value REAL, uncertainty REAL,"
    " range REAL, flags INTEGER NOT NULL, time_ns INTEGER NOT NULL, wall_ns INTEGER NOT NULL, calibration_id INTEGER,"
    " attempt_id INTEGER AS (id >> 24)) STRICT;"
    "CREATE TABLE sample(id INTEGER PRIMARY KEY, sample INTEGER NOT NULL, label INTEGER NOT NULL,"
    " prediction INTEGER NOT NULL, out0 INTEGER NOT NULL, out1 INTEGER NOT NULL, out2 INTEGER NOT NULL,"
    " out3 INTEGER NOT NULL, cycles INTEGER NOT NULL, status INTEGER NOT NULL, source INTEGER NOT NULL,"
    " clip INTEGER NOT NULL, attempt_id INTEGER AS (id >> 24), position INTEGER AS (id & 16777215)) STRICT;"
    "CREATE TABLE cursor(run_id INTEGER PRIMARY KEY REFERENCES run, step INTEGER NOT NULL, cell INTEGER NOT NULL,"
    " attempt INTEGER NOT NULL, next_sample INTEGER NOT NULL) STRICT;"
    "CREATE TABLE tensor(id INTEGER PRIMARY KEY, attempt_id INTEGER NOT NULL, sample INTEGER NOT NULL,"
    " layer INTEGER NOT NULL, layer_name TEXT NOT NULL, kind TEXT NOT NULL, core INTEGER NOT NULL,"
    " height INTEGER NOT NULL, width INTEGER NOT NULL, depth INTEGER NOT NULL, type_bits INTEGER NOT NULL,"
    " data BLOB NOT NULL) STRICT;"
    "CREATE INDEX tensor_attempt ON tensor(attempt_id, sample, layer);"
    "CREATE TABLE calibration(id INTEGER PRIMARY KEY, run_id INTEGER REFERENCES run, chip_id INTEGER REFERENCES chip,"
    " bench_id INTEGER REFERENCES bench, parent INTEGER REFERENCES calibration, key TEXT NOT NULL, kind TEXT NOT NULL,"
    " instrument_chain TEXT NOT NULL, coefficients TEXT NOT NULL, raw TEXT, validity_s REAL, time_ns INTEGER NOT NULL,"
    " wall_ns INTEGER NOT NULL) STRICT;"
    "CREATE INDEX calibration_key ON calibration(key, chip_id);"
    "CREATE TABLE event(id INTEGER PRIMARY KEY, run_id INTEGER REFERENCES run, kind TEXT NOT NULL, text TEXT NOT NULL,"
    " details TEXT, time_ns INTEGER NOT NULL, wall_ns INTEGER NOT NULL) STRICT;"
    "CREATE INDEX event_run ON event(run_id);"
    /* The trace file stands beside the store in <store>.traces/; chain is the hash of its last chunk. */
    "CREATE TABLE trace_file(run_id INTEGER PRIMARY KEY REFERENCES run, file TEXT NOT NULL, chunks INTEGER NOT NULL,"
    " chain TEXT NOT NULL) STRICT;"

    "CREATE VIEW cell_axis AS SELECT c.id AS cell_id, j.key AS name,"
    " CASE WHEN j.type IN ('integer', 'real') THEN j.value END AS num,"
    " CASE WHEN j.type NOT IN ('integer', 'real') THEN CAST(j.value AS TEXT) END AS text"
    " FROM cell c, json_each(c.axes) j;"
    /* One row per cell: its last attempt decides. */
    "CREATE VIEW verdict AS SELECT c.run_id, c.step, c.cell, c.id AS cell_id, a.id AS attempt_id,"
    " coalesce(a.number, 0) AS attempts, coalesce(a.verdict, 'none') AS verdict, a.code, a.message"
    " FROM cell c LEFT JOIN attempt a ON a.id ="
    " (SELECT max(id) FROM attempt WHERE id BETWEEN (c.id << 10) + 1 AND (c.id << 10) + 1023) WHERE c.cell >= 0;"
    "CREATE VIEW v_reading AS SELECT r.ulid AS run, c.step, c.cell, a.number AS attempt, ch.name AS channel,"
    " ch.instrument, rd.value, rd.uncertainty, u.symbol AS unit, rd.flags, rd.time_ns, rd.calibration_id"
    " FROM run r JOIN cell c ON c.run_id = r.id"
    " JOIN attempt a ON a.id BETWEEN c.id << 10 AND (c.id << 10) + 1023"
    " JOIN reading rd ON rd.id BETWEEN a.id << 24 AND (a.id << 24) + 16777215"
    " JOIN channel ch ON ch.id = rd.channel_id JOIN unit u ON u.id = ch.unit;"
    /* One row per point: axes and readings as JSON objects, ready for json_extract() or the ->> operator. */
    "CREATE VIEW v_point AS SELECT r.ulid AS run, v.step, v.cell, c.axes, v.verdict, v.attempts, v.code,"
    " a.begin_time_ns, a.end_time_ns, (SELECT json_group_object(ch.name, rd.value) FROM reading rd"
    " JOIN channel ch ON ch.id = rd.channel_id"
    " WHERE rd.id BETWEEN a.id << 24 AND (a.id << 24) + 16777215) AS readings"
    " FROM verdict v JOIN run r ON r.id = v.run_id JOIN cell c ON c.id = v.cell_id"
    " LEFT JOIN attempt a ON a.id = v.attempt_id;"
    "CREATE VIEW v_accuracy AS SELECT r.ulid AS run, v.step, v.cell, c.axes, count(*) AS samples,"
    " sum(s.label = s.prediction) AS correct, avg(s.label = s.prediction) AS accuracy"
    " FROM verdict v JOIN run r ON r.id = v.run_id JOIN cell c ON c.id = v.cell_id"
    " JOIN sample s ON s.id BETWEEN v.attempt_id << 24 AND (v.attempt_id << 24) + 16777215 GROUP BY v.cell_id;";
/* Every state that a run has been in, in order; run.state is the last of them. */
static const char STEP_2[] =
    "CREATE TABLE run_state(id INTEGER PRIMARY KEY, run_id INTEGER NOT NULL REFERENCES run, state TEXT NOT NULL,"
    " wall_ns INTEGER NOT NULL, reason TEXT NOT NULL DEFAULT '') STRICT;"
    "CREATE INDEX run_state_run ON run_state(run_id);";
/* What waits to be run; a row goes in the transaction that begins its run. Order: priority, then place. One row in
 * queue_hold: nothing is begun until somebody says so. answer: what a request with an Idempotency-Key was told. */
static const char STEP_3[] =
    "CREATE TABLE queue(id INTEGER PRIMARY KEY, ulid TEXT NOT NULL UNIQUE, priority INTEGER NOT NULL,"
    " place INTEGER NOT NULL, taken INTEGER NOT NULL DEFAULT 0, campaign TEXT NOT NULL, document TEXT NOT NULL,"
    " backend TEXT NOT NULL, seed TEXT NOT NULL, operator TEXT NOT NULL, tags TEXT NOT NULL, notes TEXT NOT NULL,"
    " duration_s REAL NOT NULL, not_before_ns INTEGER, until_ns INTEGER, added_ns INTEGER NOT NULL) STRICT;"
    "CREATE TABLE queue_hold(id INTEGER PRIMARY KEY CHECK(id = 1), by_run INTEGER NOT NULL, reason TEXT NOT NULL,"
    " wall_ns INTEGER NOT NULL) STRICT;"
    "CREATE TABLE answer(key TEXT PRIMARY KEY, request BLOB NOT NULL, status INTEGER NOT NULL, body TEXT NOT NULL,"
    " location TEXT NOT NULL, wall_ns INTEGER NOT NULL) STRICT;"
    "CREATE INDEX answer_wall ON answer(wall_ns);"
    "ALTER TABLE run ADD COLUMN budget_s REAL;"; /* bench time that the run may take; NULL: any */
/* Several steps at one point may infer the same samples: first is the position at which those of a step begin. */
static const char STEP_4[] =
    "DROP VIEW v_accuracy;"
    "CREATE VIEW v_accuracy AS SELECT r.ulid AS run, v.step, v.cell, c.axes, s.position - s.sample AS first,"
    " count(*) AS samples, sum(s.label = s.prediction) AS correct, avg(s.label = s.prediction) AS accuracy"
    " FROM verdict v JOIN run r ON r.id = v.run_id JOIN cell c ON c.id = v.cell_id"
    " JOIN sample s ON s.id BETWEEN v.attempt_id << 24 AND (v.attempt_id << 24) + 16777215"
    " GROUP BY v.cell_id, s.position - s.sample;";
/* clang-format on */

static const char *const STEPS[] = { STEP_1, STEP_2, STEP_3, STEP_4 };
enum { NEWEST = sizeof STEPS / sizeof STEPS[0] };

int migrations_newest(void)
{
    return NEWEST;
}

/* Reads the two marks of a file; an error means that it is no SQLite file at all. */
static int read_marks(struct sqlite3 *db, int64_t *ret_application, int64_t *ret_version, struct error *err)
{
    int code = sql_integer(db, "PRAGMA application_id", 0, ret_application, err);

    if (code == 0)
        code = sql_integer(db, "PRAGMA user_version", 0, ret_version, err);
    return code;
}

static int check_marks(int64_t application, int64_t version, struct error *err)
{
    if (application != MIGRATIONS_APPLICATION_ID)
        return error_set(err, ERR_INVALID, "is an SQLite file, but not a nightbench store");
    if (version > NEWEST)
        return error_set(
            err, ERR_INVALID,
            "was written by a newer nightbench (schema %d, this build knows %d): use that version",
            (int)version, NEWEST);
    return 0;
}

static int apply(struct sqlite3 *db, int step, struct error *err)
{
    struct error ignored;
    char marks[96];
    int code = sql_exec(db, "BEGIN IMMEDIATE", err);

    if (code != 0)
        return code;
    snprintf(marks, sizeof marks, "PRAGMA application_id=%d; PRAGMA user_version=%d",
             MIGRATIONS_APPLICATION_ID, step + 1);
    code = sql_exec(db, STEPS[step], err);
    if (code == 0)
        code = sql_exec(db, marks, err);
    if (code == 0)
        code = sql_exec(db, "COMMIT", err);
    if (code != 0) {
        sql_exec(db, "ROLLBACK", &ignored); /* the first error is the one to tell */
        error_prefix(err, "migration %d", step + 1);
    }
    return code;
}

int migrations_run(struct sqlite3 *db, struct error *err)
{
    return migrations_run_to(db, NEWEST, err);
}

int migrations_run_to(struct sqlite3 *db, int target, struct error *err)
{
    int64_t application, version, objects = 0;
    int code = read_marks(db, &application, &version, err);

    if (code == 0)
        code = sql_integer(db, "SELECT count(*) FROM sqlite_schema", 0, &objects, err);
    if (code != 0)
        return code;
    if (objects > 0 || application != 0 || version != 0) {
        code = check_marks(application, version, err);
        if (code != 0)
            return code;
    }
    for (int step = (int)version; code == 0 && step < target; step++)
        code = apply(db, step, err);
    return code;
}

int migrations_check(struct sqlite3 *db, struct error *err)
{
    int64_t application, version;
    int code = read_marks(db, &application, &version, err);

    if (code == 0)
        code = check_marks(application, version, err);
    if (code == 0 && version < NEWEST)
        code = error_set(err, ERR_INVALID, "has schema %d, this build needs %d: start nightbenchd on it once",
                         (int)version, NEWEST);
    return code;
}
