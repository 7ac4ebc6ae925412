/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * bench_record: what recording costs. Points of six readings go through the recorder and, as the limit,
 * through a bare loop that inserts one wide row per point with the same durability and the same group commit;
 * then trace samples, and an overview of them. Ratios of one run are what counts; aims that are missed are
 * printed all the same. */
#include <math.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "daemon/base/clock.h"
#include "daemon/base/text.h"
#include "db/query.h"
#include "db/recorder.h"

enum { POINTS = 100000, READINGS = 6, TRACE_SAMPLES = 20000000, PIECE = 4096, PIXELS = 2000, LOOKS = 20 };

static const char *const CHANNELS[READINGS] = { "rail.vddd.current", "rail.vdda.current",
                                                "rail.vddd.voltage", "chamber.temperature",
                                                "accuracy",          "energy_per_inference" };

struct timing {
    int64_t begin_ns, cpu_begin_ns;
    double wall_s, cpu_s;
};

static int64_t cpu_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return t.tv_sec * NS_PER_S + t.tv_nsec;
}

static struct timing start(void)
{
    return (struct timing){ .begin_ns = clock_host_now(), .cpu_begin_ns = cpu_now() };
}

static void stop(struct timing *t)
{
    t->wall_s = (double)(clock_host_now() - t->begin_ns) / 1e9;
    t->cpu_s = (double)(cpu_now() - t->cpu_begin_ns) / 1e9;
}

static double file_bytes(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 ? (double)st.st_size : NAN;
}

static void die(const char *what, const char *why)
{
    fprintf(stderr, "bench_record: %s: %s\n", what, why);
    exit(1);
}

static void begin_run(const struct record_sink *sink, const char *ulid)
{
    struct record_run run = { .ulid = ulid,
                              .campaign = "bench",
                              .plan_hash = "p",
                              .bench = "b",
                              .socket = "A",
                              .chip_serial = "s",
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
    struct error err;
    int64_t id;

    if (sink->run_begin(sink->context, &run, &id, &err) != 0)
        die("run_begin", err.message);
}

static int record_point(const struct record_sink *sink, int i, struct error *err)
{
    char axes[80], identity[17];
    struct record_cell cell = { 0, i, axes, identity, 0 };
    struct record_attempt attempt = { 0, i, 1, false, 0, 0, "", i * 1000, 0 };
    int code;

    snprintf(axes, sizeof axes, "{\"adc_bits\":%d,\"vdd_v\":0.%d}", 4 + i % 8, 6000 + i % 4000);
    snprintf(identity, sizeof identity, "%016x", (unsigned)i);
    code = sink->cell(sink->context, &cell, err);
    if (code == 0)
        code = sink->attempt(sink->context, &attempt, err);
    for (int k = 0; code == 0 && k < READINGS; k++) {
        struct record_reading r = {
            0,     i,
            1,     CHANNELS[k],
            "dmm", { i * 1e-6 + k * 0.123, 1e-5, 1.0, i * 1000 + k, i * 1000 + k, UNIT_VOLT, 0, 0 }
        };

        code = sink->reading(sink->context, &r, err);
    }
    attempt.end = true;
    attempt.verdict = VERDICT_PASS;
    return code == 0 ? sink->attempt(sink->context, &attempt, err) : code;
}

static struct timing bench_recorder(const char *db)
{
    struct recorder *recorder;
    const struct record_sink *sink;
    struct timing t;
    struct error err;

    if (recorder_open(db, &recorder, &err) != 0)
        die("open", err.message);
    sink = recorder_sink(recorder);
    begin_run(sink, "01BENCH0000000000000000001");
    t = start();
    for (int i = 0; i < POINTS; i++) {
        if (record_point(sink, i, &err) != 0)
            die("record", err.message);
    }
    if (sink->ack(sink->context, &err) != 0)
        die("ack", err.message);
    stop(&t);
    recorder_close(recorder, &err);
    return t;
}

static void must(sqlite3 *db, int rc)
{
    if (rc != SQLITE_OK && rc != SQLITE_DONE)
        die("sqlite", sqlite3_errmsg(db));
}

static struct timing bench_bare(const char *path)
{
    sqlite3 *db;
    sqlite3_stmt *stmt;
    struct timing t;
    int64_t group;

    must(NULL, sqlite3_open(path, &db));
    must(db,
         sqlite3_exec(
             db,
             "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE point(id INTEGER PRIMARY KEY,"
             " adc_bits INTEGER, vdd_v REAL, verdict INTEGER, begin INTEGER, end INTEGER, a REAL, b REAL,"
             " c REAL, d REAL, e REAL, f REAL) STRICT",
             NULL, NULL, NULL));
    must(db, sqlite3_prepare_v2(db, "INSERT INTO point VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", -1, &stmt,
                                NULL));
    t = start();
    must(db, sqlite3_exec(db, "BEGIN", NULL, NULL, NULL));
    group = clock_host_now();
    for (int i = 0; i < POINTS; i++) {
        sqlite3_bind_int(stmt, 1, i);
        sqlite3_bind_int(stmt, 2, 4 + i % 8);
        sqlite3_bind_double(stmt, 3, 0.6 + (i % 4000) / 1e4);
        sqlite3_bind_int(stmt, 4, 1);
        sqlite3_bind_int64(stmt, 5, i * 1000);
        sqlite3_bind_int64(stmt, 6, i * 1000);
        for (int k = 0; k < READINGS; k++)
            sqlite3_bind_double(stmt, 7 + k, i * 1e-6 + k * 0.123);
        must(db, sqlite3_step(stmt));
        sqlite3_reset(stmt);
        if (clock_host_now() - group > RECORDER_GROUP_MS * NS_PER_MS) {
            must(db, sqlite3_exec(db, "COMMIT; BEGIN", NULL, NULL, NULL));
            group = clock_host_now();
        }
    }
    must(db, sqlite3_exec(db, "COMMIT", NULL, NULL, NULL));
    stop(&t);
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    return t;
}

static struct timing bench_trace(const char *db)
{
    static int64_t time_ns[PIECE];
    static float value[PIECE];
    struct record_trace trace = { "rail", UNIT_AMPERE, time_ns, value, PIECE };
    struct recorder *recorder;
    const struct record_sink *sink;
    struct timing t;
    struct error err;

    if (recorder_open(db, &recorder, &err) != 0)
        die("open", err.message);
    sink = recorder_sink(recorder);
    begin_run(sink, "01BENCH0000000000000000002");
    t = start();
    for (int64_t i = 0; i < TRACE_SAMPLES; i += PIECE) {
        for (int j = 0; j < PIECE; j++) {
            time_ns[j] = (i + j) * 1000;
            value[j] = (float)((i + j) % 1000);
        }
        if (sink->trace(sink->context, &trace, &err) != 0)
            die("trace", err.message);
    }
    if (sink->run_end(sink->context, "done", 0, "", 0, &err) != 0 || sink->ack(sink->context, &err) != 0)
        die("ack", err.message);
    stop(&t);
    recorder_close(recorder, &err);
    return t;
}

/* Seconds of one overview, the best of some. */
static double bench_plot(const char *db)
{
    struct query *query;
    struct error err;
    double best = INFINITY;

    if (query_open(db, &query, &err) != 0)
        die("open", err.message);
    for (int i = 0; i < LOOKS; i++) {
        struct timing t = start();
        cJSON *json;

        if (query_trace(query, "latest", "rail", 0, 0, PIXELS, &json, &err) != 0)
            die("plot", err.message);
        cJSON_Delete(json);
        stop(&t);
        best = fmin(best, t.wall_s);
    }
    query_close(query);
    return best;
}

int main(int argc, char **argv)
{
    char folder[256], db[300], bare[300], trace[300], trace_file[400], command[300];
    struct timing ours, limit, log;
    double plot;

    snprintf(folder, sizeof folder, "%s/bench_record.XXXXXX", argc > 1 ? argv[1] : "/tmp");
    if (mkdtemp(folder) == NULL)
        die(folder, "cannot create");
    snprintf(db, sizeof db, "%s/a.db", folder);
    snprintf(bare, sizeof bare, "%s/b.db", folder);
    snprintf(trace, sizeof trace, "%s/t.db", folder);
    ours = bench_recorder(db);
    limit = bench_bare(bare);
    log = bench_trace(trace);
    plot = bench_plot(trace);
    snprintf(trace_file, sizeof trace_file, "%s.traces/01BENCH0000000000000000002.trace", trace);
    printf("points of %d readings, durable: recorder %.0f/s, bare wide rows %.0f/s, ratio %.2f, aim >= "
           "300000/s\n",
           READINGS, POINTS / ours.wall_s, POINTS / limit.wall_s, limit.wall_s / ours.wall_s);
    printf("CPU per point: recorder %.2f us, bare %.2f us, ratio %.1f; PyMeasure's CSV takes 23 us, aim <= "
           "1.15 us\n",
           ours.cpu_s * 1e6 / POINTS, limit.cpu_s * 1e6 / POINTS, ours.cpu_s / limit.cpu_s);
    printf("bytes per point: recorder %.0f, bare %.0f, aim <= 60\n", file_bytes(db) / POINTS,
           file_bytes(bare) / POINTS);
    printf("trace: %.1f M samples/s, aim >= 100; %.2f bytes per sample (float32), aim <= 1.3 for 16 bits\n",
           TRACE_SAMPLES / log.wall_s / 1e6, file_bytes(trace_file) / TRACE_SAMPLES);
    printf("overview of %d M samples in %d pixels, as JSON: %.2f ms, aim <= 1 ms\n", TRACE_SAMPLES / 1000000,
           PIXELS, plot * 1e3);
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command) == 0 ? 0 : 1;
}
