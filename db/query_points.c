/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * query_points: points with their readings, samples, tensors, and the row walks that compare uses. */
#include <string.h>

#include "daemon/base/record.h"
#include "db/query_internal.h"

#define READINGS_OF_ATTEMPT                                                                                  \
    "SELECT " QUERY_READING_COLUMNS " FROM reading rd JOIN channel ch ON ch.id = rd.channel_id"              \
    " JOIN unit u ON u.id = ch.unit WHERE rd.id BETWEEN ?1 << 24 AND (?1 << 24) + 16777215 ORDER BY rd.id"

static const char *const TENSOR_KINDS[] = { "input", "code", "psum", "activation", "output" };

static void add_point(cJSON *point, struct sqlite3_stmt *stmt)
{
    static const char *const NUMBERS[] = { "attempts", "attempt", "begin_time_ns", "end_time_ns", "host_ns" };

    query_add_int(point, "step", stmt, 0);
    query_add_int(point, "cell", stmt, 1);
    query_add_text(point, "identity", stmt, 2);
    query_add_int(point, "repeat", stmt, 3);
    cJSON_AddItemToObject(point, "axes", query_parsed(sql_col_text(stmt, 4)));
    query_add_text(point, "verdict", stmt, 5);
    query_add_text(point, "code", stmt, 6);
    query_add_text(point, "message", stmt, 7);
    for (int i = 0; i < 5; i++)
        query_add_int(point, NUMBERS[i], stmt, 8 + i);
}

int query_points(struct query *query, const char *run, int step, cJSON **ret_json, struct error *err)
{
    struct query_run_key key;
    struct sqlite3_stmt *points = NULL, *readings = NULL;
    cJSON *list;
    int code = query_find(query, run, &key, err);

    if (code == 0)
        code = query_select(
            query, &points, err,
            "SELECT v.step, v.cell, c.identity, c.repeat, c.axes, v.verdict, v.code, v.message,"
            " v.attempts, v.attempts, a.begin_time_ns, a.end_time_ns, a.host_ns, v.attempt_id"
            " FROM verdict v JOIN cell c ON c.id = v.cell_id LEFT JOIN attempt a ON a.id = v.attempt_id"
            " WHERE v.run_id = ?1 AND (?2 < 0 OR v.step = ?2) ORDER BY v.step, v.cell",
            "li", key.id, step);
    if (code == 0)
        code = query_select(query, &readings, err, READINGS_OF_ATTEMPT, "");
    list = code == 0 ? cJSON_CreateArray() : NULL;
    while (code == 0 && (code = sql_step(points, err)) == 1) {
        cJSON *point = cJSON_CreateObject(), *values;

        cJSON_AddItemToArray(list, point);
        add_point(point, points);
        values = cJSON_AddArrayToObject(point, "readings");
        code = sql_bind(readings, err, "l", sql_col_int(points, 13));
        while (code == 0 && !sql_col_null(points, 13) && (code = sql_step(readings, err)) == 1) {
            query_add_reading(values, readings, 0);
            code = 0;
        }
    }
    sql_finish(readings);
    return query_give(points, code, list, ret_json, err);
}

/* The last attempt of one point: its id, 0 when there is none. */
static int last_attempt(struct query *query, int64_t run_id, int step, int cell, int64_t *ret_id,
                        struct error *err)
{
    struct sqlite3_stmt *stmt = NULL;
    int code = query_select(query, &stmt, err,
                            "SELECT attempt_id FROM verdict WHERE run_id = ? AND step = ? AND cell = ?",
                            "lii", run_id, step, cell);

    if (code != 0)
        return code;
    code = sql_step(stmt, err);
    if (code == 1)
        *ret_id = sql_col_int(stmt, 0);
    else if (code == 0)
        code = error_set(err, ERR_NOT_FOUND, "no cell %d in step %d of this run", cell, step);
    sql_finish(stmt);
    return code < 0 ? code : 0;
}

static void add_sample(cJSON *list, struct sqlite3_stmt *stmt)
{
    static const char *const KEYS[] = { "position", "sample", "source", "clip", "label", "prediction" };
    cJSON *item = cJSON_CreateObject(), *output;

    cJSON_AddItemToArray(list, item);
    for (int i = 0; i < 6; i++)
        query_add_int(item, KEYS[i], stmt, i);
    cJSON_AddBoolToObject(item, "correct", sql_col_int(stmt, 4) == sql_col_int(stmt, 5));
    output = cJSON_AddArrayToObject(item, "output");
    for (int i = 6; i < 10; i++)
        cJSON_AddItemToArray(output, cJSON_CreateNumber((double)sql_col_int(stmt, i)));
    query_add_int(item, "cycles", stmt, 10);
    query_add_int(item, "status", stmt, 11);
}

static int count_samples(struct query *query, int64_t attempt, int64_t *ret_count, struct error *err)
{
    struct sqlite3_stmt *stmt = NULL;
    int code = query_select(query, &stmt, err,
                            "SELECT count(*) FROM sample WHERE id BETWEEN ?1 << 24 AND (?1 << 24) + 16777215",
                            "l", attempt);

    if (code == 0)
        code = sql_step(stmt, err);
    if (code == 1)
        *ret_count = sql_col_int(stmt, 0);
    sql_finish(stmt);
    return code < 0 ? code : 0;
}

int query_samples(struct query *query, const char *run, int step, int cell, int offset, int limit,
                  cJSON **ret_json, struct error *err)
{
    struct query_run_key key;
    struct sqlite3_stmt *stmt = NULL;
    cJSON *object, *list;
    int64_t attempt = 0, total = 0;
    int code = query_find(query, run, &key, err);

    if (code == 0)
        code = last_attempt(query, key.id, step, cell, &attempt, err);
    if (code == 0)
        code = count_samples(query, attempt, &total, err);
    if (code == 0)
        code = query_select(
            query, &stmt, err,
            "SELECT position, sample, source, clip, label, prediction, out0, out1, out2, out3, cycles,"
            " status FROM sample WHERE id BETWEEN ?1 << 24 AND (?1 << 24) + 16777215 ORDER BY id"
            " LIMIT ?2 OFFSET ?3",
            "lii", attempt, limit < 0 || limit > QUERY_SAMPLES_MAX ? QUERY_SAMPLES_MAX : limit,
            offset < 0 ? 0 : offset);
    if (code != 0)
        return code;
    object = cJSON_CreateObject();
    json_add_int64(object, "total", total);
    json_add_int64(object, "offset", offset < 0 ? 0 : offset);
    list = cJSON_AddArrayToObject(object, "samples");
    while ((code = sql_step(stmt, err)) == 1)
        add_sample(list, stmt);
    return query_give(stmt, code, object, ret_json, err);
}

int query_compare_rows(struct query *query, const char *run, query_compare_fn *each, void *context,
                       struct error *err)
{
    struct query_run_key key;
    struct sqlite3_stmt *stmt = NULL;
    int code = query_find(query, run, &key, err);

    if (code == 0)
        code = query_select(
            query, &stmt, err,
            "SELECT c.identity, c.axes, v.step, v.cell, v.attempts, v.verdict, s.position, s.sample,"
            " s.source, s.label, s.prediction, s.clip, s.out0, s.out1, s.out2, s.out3, s.cycles,"
            " s.status FROM verdict v JOIN cell c ON c.id = v.cell_id JOIN sample s"
            " ON s.id BETWEEN v.attempt_id << 24 AND (v.attempt_id << 24) + 16777215"
            " WHERE v.run_id = ? ORDER BY c.identity, c.id, s.id",
            "l", key.id);
    while (code == 0 && (code = sql_step(stmt, err)) == 1) {
        struct query_compare_row row = {
            .identity = sql_col_text(stmt, 0),
            .axes_json = sql_col_text(stmt, 1),
            .step = (int)sql_col_int(stmt, 2),
            .cell = (int)sql_col_int(stmt, 3),
            .attempt = (int)sql_col_int(stmt, 4),
            .verdict = verdict_from_name(sql_col_text(stmt, 5)),
            .position = (int)sql_col_int(stmt, 6),
            .sample = (int)sql_col_int(stmt, 7),
            .source = (int)sql_col_int(stmt, 8),
            .label = (int)sql_col_int(stmt, 9),
            .prediction = (int)sql_col_int(stmt, 10),
            .clip = (int)sql_col_int(stmt, 11),
            .cycles = (uint32_t)sql_col_int(stmt, 16),
            .status = (int)sql_col_int(stmt, 17),
        };

        for (int i = 0; i < 4; i++)
            row.output[i] = (int32_t)sql_col_int(stmt, 12 + i);
        code = each(context, &row);
    }
    sql_finish(stmt);
    return code;
}

static int tensor_kind(const char *name)
{
    for (int i = 0; i < (int)(sizeof TENSOR_KINDS / sizeof TENSOR_KINDS[0]); i++) {
        if (strcmp(name, TENSOR_KINDS[i]) == 0)
            return i;
    }
    return -1;
}

/* sample -1: all. */
static int walk_tensors(struct query *query, const char *run, int sample, query_tensor_fn *each,
                        void *context, struct error *err)
{
    struct query_run_key key;
    struct sqlite3_stmt *stmt = NULL;
    int code = query_find(query, run, &key, err);

    if (code == 0)
        code = query_select(
            query, &stmt, err,
            "SELECT c.identity, t.layer_name, v.step, v.cell, v.attempts, t.sample, t.layer, t.kind,"
            " t.core, t.height, t.width, t.depth, t.type_bits, t.data"
            " FROM verdict v JOIN cell c ON c.id = v.cell_id JOIN tensor t ON t.attempt_id = v.attempt_id"
            " WHERE v.run_id = ?1 AND (?2 < 0 OR t.sample = ?2)"
            " ORDER BY c.identity, c.id, t.sample, t.layer, CASE t.kind WHEN 'input' THEN 0"
            " WHEN 'code' THEN 1 WHEN 'psum' THEN 2 WHEN 'activation' THEN 3 ELSE 4 END, t.core, t.id",
            "li", key.id, sample);
    while (code == 0 && (code = sql_step(stmt, err)) == 1) {
        struct query_tensor_row row = {
            .identity = sql_col_text(stmt, 0),
            .layer_name = sql_col_text(stmt, 1),
            .step = (int)sql_col_int(stmt, 2),
            .cell = (int)sql_col_int(stmt, 3),
            .attempt = (int)sql_col_int(stmt, 4),
            .sample = (int)sql_col_int(stmt, 5),
            .layer = (int)sql_col_int(stmt, 6),
            .kind = tensor_kind(sql_col_text(stmt, 7)),
            .core = (int)sql_col_int(stmt, 8),
            .type_bits = (int)sql_col_int(stmt, 12),
        };

        for (int i = 0; i < 3; i++)
            row.shape[i] = (int)sql_col_int(stmt, 9 + i);
        row.data = sql_col_blob(stmt, 13, &row.bytes);
        code = each(context, &row);
    }
    sql_finish(stmt);
    return code;
}

int query_tensor_each(struct query *query, const char *run, query_tensor_fn *each, void *context,
                      struct error *err)
{
    return walk_tensors(query, run, -1, each, context, err);
}

/* Element i of little-endian data: 8 bits unsigned, 16 and 32 signed. */
static double element(const struct query_tensor_row *row, size_t i)
{
    const unsigned char *p = (const unsigned char *)row->data + i * (size_t)(row->type_bits / 8);

    if (row->type_bits == 8)
        return p[0];
    if (row->type_bits == 16)
        return (int16_t)(p[0] | p[1] << 8);
    return (int32_t)((uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24);
}

static int add_tensor(void *context, const struct query_tensor_row *row)
{
    cJSON *item = cJSON_CreateObject(), *shape, *data;
    size_t count = row->type_bits >= 8 ? row->bytes / (size_t)(row->type_bits / 8) : 0;

    cJSON_AddItemToArray(context, item);
    json_add_int64(item, "step", row->step);
    json_add_int64(item, "cell", row->cell);
    json_add_int64(item, "attempt", row->attempt);
    json_add_int64(item, "sample", row->sample);
    json_add_int64(item, "layer", row->layer);
    cJSON_AddStringToObject(item, "layer_name", row->layer_name);
    cJSON_AddStringToObject(item, "kind", row->kind < 0 ? "unknown" : TENSOR_KINDS[row->kind]);
    json_add_int64(item, "core", row->core);
    shape = cJSON_AddArrayToObject(item, "shape");
    for (int i = 0; i < 3; i++)
        cJSON_AddItemToArray(shape, cJSON_CreateNumber(row->shape[i]));
    json_add_int64(item, "type_bits", row->type_bits);
    data = cJSON_AddArrayToObject(item, "data");
    for (size_t i = 0; i < count; i++)
        cJSON_AddItemToArray(data, cJSON_CreateNumber(element(row, i)));
    return 0;
}

int query_tensors(struct query *query, const char *run, int sample, cJSON **ret_json, struct error *err)
{
    cJSON *list = cJSON_CreateArray();
    int code = walk_tensors(query, run, sample, add_tensor, list, err);

    return query_give(NULL, code, list, ret_json, err);
}
