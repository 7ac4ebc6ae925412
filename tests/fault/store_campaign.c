/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * store_campaign: the run and its judge. */
#include "tests/fault/store_campaign.h"

#include <math.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "db/migrations.h"
#include "db/recorder.h"
#include "db/sql.h"
#include "db/store.h"
#include "db/trace.h"

#define RUN_ULID "01RUN0000000000000000000TT"

struct live {
    const struct campaign_life *life;
    const struct record_sink *sink;
    pthread_mutex_t mutex;       /* guards promise: the writer thread's notices and this thread's acks */
    struct disk_promise promise; /* acknowledged */
    struct disk_promise sent;    /* this thread: what the next ack will have acknowledged */
};

/* ---- What the store promises ---- */

static void promised(struct live *live, const struct disk_promise *p)
{
    if (live->life->log != NULL)
        disk_mark(live->life->log, p);
}

static void on_notice(void *context, const struct recorder_notice *notice)
{
    struct live *live = context;

    pthread_mutex_lock(&live->mutex);
    if (notice->kind == RECORDER_NOTICE_POINT)
        live->promise.points++;
    else if (notice->kind == RECORDER_NOTICE_SAMPLES)
        live->promise.samples += CAMPAIGN_BATCH;
    else if (notice->kind == RECORDER_NOTICE_EVENT)
        live->promise.events++;
    promised(live, &live->promise);
    pthread_mutex_unlock(&live->mutex);
}

static int acknowledge(struct live *live, struct error *err)
{
    int code = live->sink->ack(live->sink->context, err);

    if (code != 0)
        return code;
    pthread_mutex_lock(&live->mutex);
    live->promise = live->sent;
    promised(live, &live->promise);
    pthread_mutex_unlock(&live->mutex);
    return 0;
}

/* ---- Recording ---- */

static const struct record_run RUN = {
    .ulid = RUN_ULID,
    .campaign = "torture",
    .plan_hash = "p1",
    .bench = "sim",
    .socket = "A",
    .chip_serial = "d7",
    .chip_type = "adelia2",
    .operator_name = "eve",
    .backend = "chip",
    .build = "test",
    .network_hash = "n1",
    .mapping_hash = "m1",
    .dataset_hash = "s1",
    .plan_json = "{\"steps\":[]}",
    .bench_json = "{}",
    .chip_json = "{}",
    .tags = "",
    .seed = 1,
    .clock_virtual = true,
    .simulated = true,
    .time_ns = 1000,
    .wall_ns = 1769882400123456789,
};

static double value_of(int cell, int n)
{
    return cell * 100 + n;
}

static int record_readings(struct live *live, int cell, int attempt, struct error *err)
{
    char channel[32];
    int code = 0;

    for (int i = 0; code == 0 && i < CAMPAIGN_READINGS; i++) {
        snprintf(channel, sizeof channel, "rail.%d.voltage", i);
        struct record_reading reading = {
            0, cell, attempt, channel, "dmm", { value_of(cell, i), 1e-4, NAN, 2500, 2507, UNIT_VOLT, 1, 0 }
        };
        code = live->sink->reading(live->sink->context, &reading, err);
    }
    return code;
}

static int record_samples(struct live *live, int cell, int attempt, struct error *err)
{
    struct record_sample sample[CAMPAIGN_BATCH];
    int code = 0;

    for (int first = 0; code == 0 && first < CAMPAIGN_SAMPLES; first += CAMPAIGN_BATCH) {
        for (int i = 0; i < CAMPAIGN_BATCH; i++)
            sample[i] = (struct record_sample){ .sample = first + i,
                                                .prediction = 1,
                                                .output = { cell, first + i, cell ^ (first + i), 0 },
                                                .cycles = 1000 };
        struct record_samples batch = { 0, cell, attempt, first, CAMPAIGN_BATCH, sample, 2600 };
        code = live->sink->samples(live->sink->context, &batch, err);
        live->sent.samples += code == 0 ? CAMPAIGN_BATCH : 0;
    }
    return code;
}

static int record_trace(struct live *live, int cell, struct error *err)
{
    int64_t time_ns[200];
    float value[200];

    for (int i = 0; i < 200; i++) {
        time_ns[i] = (cell * 200 + i) * 1000000LL;
        value[i] = (float)(cell * 200 + i);
    }
    return live->sink->trace(live->sink->context,
                             &(struct record_trace){ "rail.vddd.current", UNIT_AMPERE, time_ns, value, 200 },
                             err);
}

static int record_point(struct live *live, int cell, int attempt, struct error *err)
{
    const struct record_sink *sink = live->sink;
    char axes[40], identity[24];
    struct record_cell definition = { 0, cell, axes, identity, 0 };
    struct record_attempt begin = { 0, cell, attempt, false, VERDICT_NONE, 0, "", 2000, 0 };
    struct record_attempt end = { 0, cell, attempt, true, VERDICT_PASS, 0, "", 3000, 42 };
    struct record_event event = { "note", "a point", NULL, 2700, 1 };
    int code;

    snprintf(axes, sizeof axes, "{\"vdd_v\":%d}", cell);
    snprintf(identity, sizeof identity, "id%04d", cell);
    code = sink->cell(sink->context, &definition, err);
    if (code == 0)
        code = sink->attempt(sink->context, &begin, err);
    if (code == 0)
        code = record_readings(live, cell, attempt, err);
    if (code == 0)
        code = record_samples(live, cell, attempt, err);
    if (code == 0)
        code = record_trace(live, cell, err);
    if (code == 0)
        code = sink->event(sink->context, &event, err);
    if (code == 0)
        live->sent.events++;
    if (code == 0)
        code = sink->attempt(sink->context, &end, err);
    if (code == 0)
        live->sent.points++;
    return code;
}

/* ---- A life ---- */

struct place {
    int attempts[CAMPAIGN_POINTS]; /* recorded so far */
    bool done[CAMPAIGN_POINTS];
    int64_t ended; /* the run has: there is nothing to go on with */
};

/* Where an earlier life has come to; everything zero for a store that is not there. */
static int find_place(const char *db_path, struct place *place, struct error *err)
{
    struct store *store;
    sqlite3_stmt *stmt = NULL;
    int code;

    *place = (struct place){ 0 };
    if (access(db_path, F_OK) != 0)
        return 0;
    code = store_open_writer(db_path, &store, err);
    if (code != 0)
        return code;
    code = sql_prepare(
        store_handle(store),
        "SELECT c.cell, a.number, a.verdict = 'pass' FROM attempt a JOIN cell c ON c.id = a.cell_id"
        " WHERE c.cell >= 0 ORDER BY a.id",
        &stmt, err);
    while (code == 0 && (code = sql_step(stmt, err)) == 1) {
        int cell = (int)sql_col_int(stmt, 0);

        code = cell >= CAMPAIGN_POINTS ? error_set(err, ERR_GARBAGE, "cell %d was never recorded", cell) : 0;
        if (code != 0)
            break;
        place->attempts[cell] = (int)sql_col_int(stmt, 1);
        place->done[cell] = sql_col_int(stmt, 2) != 0;
    }
    sql_finish(stmt);
    if (code == 0)
        code = sql_integer(store_handle(store), "SELECT count(*) FROM run WHERE state = 'done'", 0,
                           &place->ended, err);
    store_close(store);
    return code;
}

static void checkpoint(const char *db_path)
{
    sqlite3 *db = NULL;

    if (sqlite3_open_v2(db_path, &db, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK)
        sqlite3_wal_checkpoint_v2(db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    sqlite3_close(db);
}

static int record_points(struct live *live, const struct place *place, bool *ret_all, struct error *err)
{
    int recorded = 0, code = 0;

    for (int cell = 0; code == 0 && cell < CAMPAIGN_POINTS; cell++) {
        if (place->done[cell])
            continue;
        if (live->life->stop_after > 0 && recorded == live->life->stop_after)
            return 0;
        code = record_point(live, cell, place->attempts[cell] + 1, err);
        if (code == 0 && cell % 3 != 0) /* some by ack, some by notice alone */
            code = acknowledge(live, err);
        if (code == 0 && live->life->checkpoint && cell % 8 == 7)
            checkpoint(live->life->db_path);
        recorded++;
    }
    *ret_all = code == 0;
    return code;
}

static int live_recorded(struct live *live, const struct place *place, struct error *err)
{
    const struct record_sink *sink = live->sink;
    struct record_calibration calibration = { "d7/0/adc", "adc_offset", "dmm", (double[]){ 1.5, 2.5 },
                                              2,          NULL,         60,    1 };
    int64_t id;
    bool all = false;
    int code = sink->run_begin(sink->context, &RUN, &id, err);

    if (code != 0)
        return code;
    live->sent.run = true;
    code = sink->calibration(sink->context, &calibration, &id, err);
    if (code == 0)
        code = acknowledge(live, err);
    if (code == 0)
        code = record_points(live, place, &all, err);
    if (code == 0 && all) {
        code = sink->run_end(sink->context, "done", 0, "", 9000, err);
        live->sent.ended = code == 0;
    }
    return code == 0 ? acknowledge(live, err) : code;
}

int campaign_live(const struct campaign_life *life, struct disk_promise *promise, struct error *err)
{
    struct live live = { .life = life, .promise = *promise, .sent = *promise };
    struct recorder *recorder;
    struct place place;
    int code = find_place(life->db_path, &place, err), closing;

    if (code == 0 && place.ended > 0)
        return 0;
    if (code == 0)
        code = recorder_open(life->db_path, &recorder, err);
    if (code != 0)
        return code;
    if (life->running != NULL)
        __atomic_store_n(life->running, recorder, __ATOMIC_SEQ_CST);
    pthread_mutex_init(&live.mutex, NULL);
    live.sink = recorder_sink(recorder);
    recorder_subscribe(recorder, on_notice, &live);
    code = live_recorded(&live, &place, err);
    if (life->running != NULL)
        __atomic_store_n(life->running, NULL, __ATOMIC_SEQ_CST);
    closing = recorder_close(recorder, code == 0 ? err : NULL);
    pthread_mutex_destroy(&live.mutex);
    *promise = live.promise;
    return code == 0 ? closing : code;
}

int campaign_old_store(const char *db_path, int version, struct disk_log *log, struct disk_promise *promise,
                       struct error *err)
{
    sqlite3 *db = NULL;
    int code = 0;

    if (sqlite3_open(db_path, &db) != SQLITE_OK)
        code = sql_error(db, err, "an old store");
    if (code == 0)
        code = migrations_run_to(db, version, err);
    if (code == 0)
        code = sql_exec(
            db,
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; BEGIN;"
            "INSERT INTO bench(id, name) VALUES(1, 'sim');"
            "INSERT INTO chip(id, type, serial) VALUES(1, 'adelia2', 'd7');"
            "INSERT INTO run(id, ulid, campaign, plan_hash, state, bench_id, socket, chip_id, backend,"
            " operator, tags, build, seed, network_hash, mapping_hash, dataset_hash, plan,"
            " bench_snapshot, chip_snapshot, clock, simulated, begin_time_ns, begin_wall_ns)"
            " VALUES(1, '" RUN_ULID "', 'torture', 'p1', 'interrupted', 1, 'A', 1, 'chip', 'eve', '',"
            " 'old', '1', 'n1', 'm1', 's1', '{}', '{}', '{}', 'virtual', 1, 1000, 1); COMMIT",
            err);
    if (code == 0) {
        promise->run = true;
        disk_mark(log, promise);
    }
    sqlite3_close(db);
    return code;
}

/* ---- The judge ---- */

static int expect(sqlite3 *db, const char *what, const char *sql, int64_t least, int64_t most, int code_below,
                  struct error *err)
{
    int64_t n = 0;
    int code = sql_integer(db, sql, 0, &n, err);

    if (code != 0)
        return error_prefix(err, "%s", what);
    if (n < least)
        return error_set(err, code_below, "%s: %lld, promised %lld", what, (long long)n, (long long)least);
    if (n > most)
        return error_set(err, ERR_GARBAGE, "%s: %lld, at most %lld is right", what, (long long)n,
                         (long long)most);
    return 0;
}

static int check_integrity(sqlite3 *db, struct error *err)
{
    sqlite3_stmt *stmt = NULL;
    int code = sql_prepare(db, "PRAGMA integrity_check(1)", &stmt, err);

    if (code == 0)
        code = sql_step(stmt, err);
    if (code == 1)
        code = strcmp(sql_col_text(stmt, 0), "ok") == 0
                   ? 0
                   : error_set(err, ERR_INVALID, "integrity: %s", sql_col_text(stmt, 0));
    sql_finish(stmt);
    return code != 0
               ? code
               : expect(db, "foreign keys", "SELECT count(*) FROM pragma_foreign_key_check", 0, 0, 0, err);
}

/* Rows that are there are right, and ended points are whole. Counts of what is wrong. */
static const struct {
    const char *what, *sql;
} WRONG[] = {
    { "wrong readings", "SELECT count(*) FROM reading rd JOIN cell c ON c.id = rd.attempt_id >> 10"
                        " WHERE rd.value <> c.cell * 100 + (rd.id & 16777215)" },
    { "wrong samples", "SELECT count(*) FROM sample s JOIN cell c ON c.id = s.attempt_id >> 10"
                       " WHERE s.out0 <> c.cell OR s.out1 <> s.position OR s.sample <> s.position"
                       " OR s.out2 <> ((c.cell | s.position) - (c.cell & s.position))" },
    { "rows of nobody",
      "SELECT (SELECT count(*) FROM reading WHERE attempt_id NOT IN (SELECT id FROM attempt))"
      " + (SELECT count(*) FROM sample WHERE attempt_id NOT IN (SELECT id FROM attempt))"
      " + (SELECT count(*) FROM attempt WHERE cell_id NOT IN (SELECT id FROM cell))" },
    { "points without their readings",
      "SELECT count(*) FROM attempt a WHERE verdict = 'pass' AND 6 <>"
      " (SELECT count(*) FROM reading WHERE id BETWEEN a.id << 24 AND (a.id << 24) + 16777215)" },
    { "points without their samples",
      "SELECT count(*) FROM attempt a WHERE verdict = 'pass' AND 60 <>"
      " (SELECT count(*) FROM sample WHERE id BETWEEN a.id << 24 AND (a.id << 24) + 16777215)" },
    { "points that passed twice",
      "SELECT count(*) - count(DISTINCT cell_id) FROM attempt WHERE verdict = 'pass'" },
    { "a cursor beyond the samples", "SELECT count(*) FROM cursor k JOIN cell c ON c.run_id = k.run_id AND "
                                     "c.step = k.step AND c.cell = k.cell"
                                     " WHERE k.next_sample <> (SELECT count(*) FROM sample"
                                     " WHERE attempt_id = (c.id << 10 | k.attempt))" },
};

static int check_rows(sqlite3 *db, const struct disk_promise *p, bool complete, struct error *err)
{
    int64_t all = CAMPAIGN_POINTS;
    int code = check_integrity(db, err);

    for (size_t i = 0; code == 0 && i < sizeof WRONG / sizeof WRONG[0]; i++)
        code = expect(db, WRONG[i].what, WRONG[i].sql, 0, 0, 0, err);
    if (code == 0)
        code = expect(db, "points", "SELECT count(*) FROM attempt WHERE verdict = 'pass'",
                      complete ? all : p->points, all, ERR_MISMATCH, err);
    if (code == 0)
        code = expect(db, "samples", "SELECT count(*) FROM sample", p->samples, INT64_MAX, ERR_MISMATCH, err);
    if (code == 0)
        code = expect(db, "events", "SELECT count(*) FROM event", p->events, INT64_MAX, ERR_MISMATCH, err);
    if (code == 0)
        code = expect(db, "runs", "SELECT count(*) FROM run", p->run, 1, ERR_MISMATCH, err);
    if (code == 0)
        code = expect(db, "ended runs", "SELECT count(*) FROM run WHERE state = 'done'", complete || p->ended,
                      1, ERR_MISMATCH, err);
    return code;
}

/* A trace may have lost its tail, never its order; that of an ended run has lost nothing. */
static int check_trace(const char *db_path, sqlite3 *db, struct error *err)
{
    char path[512], chain[TRACE_CHAIN_HEX];
    struct trace_reader *reader;
    sqlite3_stmt *stmt = NULL;
    int code;

    store_trace_path(db_path, RUN_ULID, path, sizeof path);
    code = sql_prepare(db, "SELECT chain FROM trace_file", &stmt, err);
    if (code == 0)
        code = sql_step(stmt, err);
    if (code < 0 || (code == 0 && access(path, F_OK) != 0)) {
        sql_finish(stmt);
        return code;
    }
    int ended = code;
    code = trace_reader_open(path, &reader, err);
    if (code == 0) {
        code = trace_reader_verify(reader, chain, err);
        trace_reader_close(reader);
        if (code == 0 && ended == 1 && strcmp(chain, sql_col_text(stmt, 0)) != 0)
            code = error_set(err, ERR_MISMATCH, "the trace of an ended run is not the one that was recorded");
    } else if (ended != 1) {
        code = 0; /* its schema has not arrived: the next life starts it again */
    }
    sql_finish(stmt);
    return code;
}

int campaign_judge(const char *db_path, const struct disk_promise *promise, bool complete, struct error *err)
{
    struct store *store;
    int code;

    if (access(db_path, F_OK) != 0 && (promise->run || complete))
        return error_set(err, ERR_MISMATCH, "the store is gone");
    code = store_open_writer(db_path, &store, err);
    if (code != 0)
        return code;
    code = check_rows(store_handle(store), promise, complete, err);
    if (code == 0)
        code = check_trace(db_path, store_handle(store), err);
    store_close(store);
    return code;
}
