/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * query: opening, finding runs, and what there is to say about a run as a whole. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/record.h"
#include "daemon/base/text.h"
#include "db/query_internal.h"

enum { PREFIX_MIN = 4 };

int query_open(const char *db_path, struct query **ret_query, struct error *err)
{
    struct query *query = calloc(1, sizeof *query);
    int code;

    if (query == NULL)
        return error_set(err, ERR_MEMORY, "%s: no memory", db_path);
    code = store_open_reader(db_path, &query->store, err);
    if (code != 0) {
        free(query);
        return code;
    }
    query->db = store_handle(query->store);
    *ret_query = query;
    return 0;
}

void query_close(struct query *query)
{
    if (query == NULL)
        return;
    store_close(query->store);
    free(query);
}

int query_select(struct query *query, struct sqlite3_stmt **ret_stmt, struct error *err, const char *sql,
                 const char *types, ...)
{
    struct sqlite3_stmt *stmt = NULL;
    va_list args;
    int code = sql_prepare(query->db, sql, &stmt, err);

    if (code != 0)
        return code;
    va_start(args, types);
    code = sql_bind_list(stmt, 1, err, types, args);
    va_end(args);
    if (code != 0) {
        sql_finish(stmt);
        return code;
    }
    *ret_stmt = stmt;
    return 0;
}

int query_find(struct query *query, const char *run, struct query_run_key *ret_key, struct error *err)
{
    struct query_run_key key = { 0 };
    struct sqlite3_stmt *stmt = NULL;
    bool latest = strcmp(run, "latest") == 0;
    char end[ULID_TEXT + 1];
    int code;

    if (!latest && (strlen(run) < PREFIX_MIN || strlen(run) >= ULID_TEXT))
        return error_set(err, ERR_INVALID, "'%s' is no run: give 4 to 26 characters of its ULID, or latest",
                         run);
    snprintf(end, sizeof end, "%s~", run); /* '~' sorts after every character of a ULID */
    code = latest
               ? query_select(query, &stmt, err, "SELECT id, ulid FROM run ORDER BY id DESC LIMIT 1", "")
               : query_select(query, &stmt, err,
                              "SELECT id, ulid FROM run WHERE ulid >= upper(?1) AND ulid < upper(?2) LIMIT 2",
                              "tt", run, end);
    if (code != 0)
        return code;
    code = sql_step(stmt, err);
    if (code == 1) {
        key.id = sql_col_int(stmt, 0);
        snprintf(key.ulid, sizeof key.ulid, "%s", sql_col_text(stmt, 1));
        code = sql_step(stmt, err);
    }
    sql_finish(stmt);
    if (code < 0)
        return code;
    if (key.id == 0)
        return error_set(err, ERR_NOT_FOUND, latest ? "the store has no run" : "no run %s", run);
    if (code == 1)
        return error_set(err, ERR_CONFLICT, "%s is the beginning of more than one run", run);
    *ret_key = key;
    return 0;
}

int query_resolve(struct query *query, const char *run, char ret_ulid[27], struct error *err)
{
    struct query_run_key key;
    int code = query_find(query, run, &key, err);

    if (code == 0)
        memcpy(ret_ulid, key.ulid, sizeof key.ulid);
    return code;
}

int query_give(struct sqlite3_stmt *stmt, int code, cJSON *tree, cJSON **ret_json, struct error *err)
{
    sql_finish(stmt);
    if (code >= 0 && tree == NULL)
        code = error_set(err, ERR_MEMORY, "no memory for an answer");
    if (code < 0) {
        cJSON_Delete(tree);
        return code;
    }
    *ret_json = tree;
    return 0;
}

void query_add_text(cJSON *object, const char *key, struct sqlite3_stmt *stmt, int column)
{
    if (sql_col_null(stmt, column))
        cJSON_AddNullToObject(object, key);
    else
        cJSON_AddStringToObject(object, key, sql_col_text(stmt, column));
}

void query_add_int(cJSON *object, const char *key, struct sqlite3_stmt *stmt, int column)
{
    if (sql_col_null(stmt, column))
        cJSON_AddNullToObject(object, key);
    else
        json_add_int64(object, key, sql_col_int(stmt, column));
}

void query_add_wall(cJSON *object, const char *key, struct sqlite3_stmt *stmt, int column)
{
    char text[40];

    if (sql_col_null(stmt, column))
        cJSON_AddNullToObject(object, key);
    else
        cJSON_AddStringToObject(object, key, text_time(sql_col_int(stmt, column), text, sizeof text));
}

cJSON *query_parsed(const char *text)
{
    cJSON *tree = NULL;

    return json_parse(text, strlen(text), &tree, NULL) == 0 ? tree : cJSON_CreateString(text);
}

void query_add_reading(cJSON *list, struct sqlite3_stmt *stmt, int column)
{
    cJSON *item = cJSON_CreateObject(), *names;
    int64_t flags = sql_col_int(stmt, column + 6);

    cJSON_AddItemToArray(list, item);
    cJSON_AddStringToObject(item, "channel", sql_col_text(stmt, column));
    cJSON_AddStringToObject(item, "instrument", sql_col_text(stmt, column + 1));
    json_add_number(item, "value", sql_col_double(stmt, column + 2));
    json_add_number(item, "uncertainty", sql_col_double(stmt, column + 3));
    json_add_number(item, "range", sql_col_double(stmt, column + 4));
    cJSON_AddStringToObject(item, "unit", sql_col_text(stmt, column + 5));
    names = cJSON_AddArrayToObject(item, "flags");
    for (int bit = 0; bit < READING_FLAG_COUNT; bit++) {
        if (flags >> bit & 1)
            cJSON_AddItemToArray(names, cJSON_CreateString(record_flag_name(bit)));
    }
    query_add_int(item, "time_ns", stmt, column + 7);
    query_add_int(item, "calibration", stmt, column + 8);
}

/* ---- Runs ---- */

#define RUN_COLUMNS                                                                                          \
    "SELECT r.id, r.ulid, r.campaign, r.state, r.code, r.message, r.plan_hash, b.name, r.socket, c.type, "   \
    "c.serial,"                                                                                              \
    " c.revision, c.lot, c.wafer, c.x, c.y, r.backend, r.operator, r.build, r.tags, r.seed, r.clock, "       \
    "r.simulated,"                                                                                           \
    " r.begin_wall_ns, r.end_wall_ns, r.begin_time_ns, r.end_time_ns, r.network_hash, r.mapping_hash, "      \
    "r.dataset_hash,"                                                                                        \
    " r.notes, r.plan, r.bench_snapshot, r.chip_snapshot, r.points FROM run r JOIN bench b ON b.id = "       \
    "r.bench_id"                                                                                             \
    " JOIN chip c ON c.id = r.chip_id "
enum { COLUMN_CHIP = 9, COLUMN_BACKEND = 16, COLUMN_CLOCK = 21, COLUMN_DETAILS = 27, COLUMN_POINTS = 34 };

/* Of a run that has not ended: one that has carries its counts. */
static int add_point_counts(struct query *query, int64_t run_id, cJSON *object, struct error *err)
{
    struct sqlite3_stmt *stmt = NULL;
    cJSON *points = cJSON_AddObjectToObject(object, "points");
    int64_t planned = 0, attempts = 0;
    int code =
        query_select(query, &stmt, err,
                     "SELECT verdict, count(*), sum(attempts) FROM verdict WHERE run_id = ? GROUP BY verdict",
                     "l", run_id);

    while (code == 0 && (code = sql_step(stmt, err)) == 1) {
        code = 0;
        planned += sql_col_int(stmt, 1);
        attempts += sql_col_int(stmt, 2);
        json_add_int64(points, sql_col_text(stmt, 0), sql_col_int(stmt, 1));
    }
    json_add_int64(points, "planned", planned);
    json_add_int64(points, "attempts", attempts);
    sql_finish(stmt);
    return code;
}

static void add_chip(cJSON *object, struct sqlite3_stmt *stmt)
{
    static const char *const KEYS[] = { "type", "serial", "revision", "lot", "wafer", "x", "y" };
    cJSON *chip = cJSON_AddObjectToObject(object, "chip");

    for (int i = 0; i < 7; i++)
        (i < 5 ? query_add_text : query_add_int)(chip, KEYS[i], stmt, COLUMN_CHIP + i);
}

static int run_object(struct query *query, struct sqlite3_stmt *stmt, cJSON *object, struct error *err)
{
    static const char *const TEXTS[] = { "ulid",    "campaign",  "state", "code",
                                         "message", "plan_hash", "bench", "socket" };
    static const char *const MORE[] = { "backend", "operator", "build", "tags", "seed", "clock" };

    for (int i = 0; i < 8; i++)
        query_add_text(object, TEXTS[i], stmt, 1 + i);
    add_chip(object, stmt);
    for (int i = 0; i < 6; i++)
        query_add_text(object, MORE[i], stmt, COLUMN_BACKEND + i);
    cJSON_AddBoolToObject(object, "simulated", sql_col_int(stmt, COLUMN_CLOCK + 1) != 0);
    query_add_wall(object, "begin", stmt, COLUMN_CLOCK + 2);
    query_add_int(object, "begin_ns", stmt, COLUMN_CLOCK + 2);
    query_add_wall(object, "end", stmt, COLUMN_CLOCK + 3);
    query_add_int(object, "end_ns", stmt, COLUMN_CLOCK + 3);
    query_add_int(object, "begin_time_ns", stmt, COLUMN_CLOCK + 4);
    query_add_int(object, "end_time_ns", stmt, COLUMN_CLOCK + 5);
    if (sql_col_null(stmt, COLUMN_POINTS))
        return add_point_counts(query, sql_col_int(stmt, 0), object, err);
    cJSON_AddItemToObject(object, "points", query_parsed(sql_col_text(stmt, COLUMN_POINTS)));
    return 0;
}

int query_runs(struct query *query, int limit, const char *before_ulid, cJSON **ret_json, struct error *err)
{
    struct sqlite3_stmt *stmt = NULL;
    cJSON *list;
    int code = query_select(
        query, &stmt, err,
        RUN_COLUMNS "WHERE r.id < coalesce((SELECT id FROM run WHERE ulid = ?1), iif(?1 = '~', 1 << 62, 0))"
                    " ORDER BY r.id DESC LIMIT ?2",
        "ti", before_ulid == NULL ? "~" : before_ulid,
        limit < 0 || limit > QUERY_RUNS_MAX ? QUERY_RUNS_MAX : limit);

    if (code != 0)
        return code;
    list = cJSON_CreateArray();
    while (code == 0 && (code = sql_step(stmt, err)) == 1) {
        cJSON *object = cJSON_CreateObject();

        cJSON_AddItemToArray(list, object);
        code = run_object(query, stmt, object, err);
    }
    return query_give(stmt, code, list, ret_json, err);
}

static int add_steps(struct query *query, int64_t run_id, cJSON *object, struct error *err)
{
    struct sqlite3_stmt *stmt = NULL;
    cJSON *list = cJSON_AddArrayToObject(object, "steps");
    int code =
        query_select(query, &stmt, err,
                     "SELECT step, kind, name, code, begin_time_ns, end_time_ns FROM step WHERE run_id = ?"
                     " ORDER BY step",
                     "l", run_id);

    while (code == 0 && (code = sql_step(stmt, err)) == 1) {
        cJSON *item = cJSON_CreateObject();

        code = 0;
        cJSON_AddItemToArray(list, item);
        query_add_int(item, "step", stmt, 0);
        query_add_text(item, "kind", stmt, 1);
        query_add_text(item, "name", stmt, 2);
        bool skipped = strcmp(sql_col_text(stmt, 3) != NULL ? sql_col_text(stmt, 3) : "", "skipped") == 0;
        cJSON_AddStringToObject(item, "state",
                                sql_col_null(stmt, 5) ? "running"
                                : skipped             ? "skipped"
                                                      : "ended");
        if (skipped)
            cJSON_AddStringToObject(item, "code", error_name(ERR_OK));
        else
            query_add_text(item, "code", stmt, 3);
        query_add_int(item, "begin_time_ns", stmt, 4);
        query_add_int(item, "end_time_ns", stmt, 5);
    }
    sql_finish(stmt);
    return code;
}

/* One row of integers or texts as an object under `key`, or null when there is no row. */
static int add_row(struct query *query, int64_t run_id, cJSON *object, const char *key, const char *sql,
                   const char *const *names, bool text_first, struct error *err)
{
    struct sqlite3_stmt *stmt = NULL;
    cJSON *item;
    int code = query_select(query, &stmt, err, sql, "l", run_id);

    if (code == 0)
        code = sql_step(stmt, err);
    if (code == 1) {
        item = cJSON_AddObjectToObject(object, key);
        for (int i = 0; names[i] != NULL; i++)
            (text_first && i != 1 ? query_add_text : query_add_int)(item, names[i], stmt, i);
        code = 0;
    } else if (code == 0) {
        cJSON_AddNullToObject(object, key);
    }
    sql_finish(stmt);
    return code;
}

static int add_run_readings(struct query *query, int64_t run_id, cJSON *object, struct error *err)
{
    struct sqlite3_stmt *stmt = NULL;
    cJSON *list = cJSON_AddArrayToObject(object, "readings");
    int code =
        query_select(query, &stmt, err,
                     "SELECT c.step, " QUERY_READING_COLUMNS
                     " FROM cell c JOIN reading rd ON rd.id BETWEEN c.id << 34 AND (c.id << 34) + 16777215"
                     " JOIN channel ch ON ch.id = rd.channel_id JOIN unit u ON u.id = ch.unit"
                     " WHERE c.run_id = ? AND c.cell < 0 ORDER BY c.step, rd.id",
                     "l", run_id);

    while (code == 0 && (code = sql_step(stmt, err)) == 1) {
        code = 0;
        query_add_reading(list, stmt, 1);
        query_add_int(cJSON_GetArrayItem(list, cJSON_GetArraySize(list) - 1), "step", stmt, 0);
    }
    sql_finish(stmt);
    return code;
}

int query_run(struct query *query, const char *run, cJSON **ret_json, struct error *err)
{
    static const char *const DETAILS[] = { "network_hash", "mapping_hash",   "dataset_hash", "notes",
                                           "plan",         "bench_snapshot", "chip_snapshot" };
    static const char *const CURSOR[] = { "step", "cell", "attempt", "next_sample", NULL };
    static const char *const TRACE[] = { "file", "chunks", "chain", NULL };
    struct query_run_key key;
    struct sqlite3_stmt *stmt = NULL;
    cJSON *object;
    int code = query_find(query, run, &key, err);

    if (code == 0)
        code = query_select(query, &stmt, err, RUN_COLUMNS "WHERE r.id = ?", "l", key.id);
    if (code != 0)
        return code;
    object = cJSON_CreateObject();
    code = sql_step(stmt, err);
    if (code == 1) {
        code = run_object(query, stmt, object, err);
        for (int i = 0; i < 4; i++)
            query_add_text(object, DETAILS[i], stmt, COLUMN_DETAILS + i);
        for (int i = 4; i < 7; i++)
            cJSON_AddItemToObject(object, DETAILS[i], query_parsed(sql_col_text(stmt, COLUMN_DETAILS + i)));
    }
    if (code == 0)
        code = add_steps(query, key.id, object, err);
    if (code == 0)
        code = add_row(query, key.id, object, "cursor",
                       "SELECT step, cell, attempt, next_sample FROM cursor WHERE run_id = ?", CURSOR, false,
                       err);
    if (code == 0)
        code = add_run_readings(query, key.id, object, err);
    if (code == 0)
        code = add_row(query, key.id, object, "trace",
                       "SELECT file, chunks, chain FROM trace_file WHERE run_id = ?", TRACE, true, err);
    return query_give(stmt, code, object, ret_json, err);
}
