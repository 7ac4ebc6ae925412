/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * query_logs: channels, traces, events and calibrations. */
#include <stdlib.h>
#include <string.h>

#include "daemon/base/units.h"
#include "db/query_internal.h"

enum { PATH_BYTES = 1024 };

int query_trace_open(struct query *query, const char *ulid, struct trace_reader **ret_reader,
                     struct error *err)
{
    char path[PATH_BYTES];

    store_trace_path(store_path(query->store), ulid, path, sizeof path);
    return trace_reader_open(path, ret_reader, err);
}

/* ---- Channels ---- */

static cJSON *channel_object(cJSON *list, const char *name, const char *unit, const char *instrument)
{
    cJSON *item = cJSON_CreateObject();

    cJSON_AddItemToArray(list, item);
    cJSON_AddStringToObject(item, "channel", name);
    cJSON_AddStringToObject(item, "unit", unit);
    cJSON_AddStringToObject(item, "instrument", instrument);
    return item;
}

static int add_traced_channels(struct query *query, const char *ulid, cJSON *list, struct error *err)
{
    struct trace_channel channel[TRACE_CHANNELS_MAX];
    struct trace_reader *reader;
    int count = 0, code = query_trace_open(query, ulid, &reader, err);

    if (code == ERR_NOT_FOUND)
        return 0; /* a run without traces */
    if (code != 0)
        return code;
    code = trace_reader_channels(reader, channel, &count, err);
    for (int i = 0; i < count; i++) {
        cJSON *item = channel_object(list, channel[i].name, unit_info(channel[i].unit)->symbol, "");

        json_add_int64(item, "readings", 0);
        cJSON_AddBoolToObject(item, "trace", true);
        json_add_int64(item, "first_ns", channel[i].first_ns);
        json_add_int64(item, "last_ns", channel[i].last_ns);
        json_add_int64(item, "samples", channel[i].samples);
    }
    trace_reader_close(reader);
    return code;
}

int query_channels(struct query *query, const char *run, cJSON **ret_json, struct error *err)
{
    struct query_run_key key;
    struct sqlite3_stmt *stmt = NULL;
    cJSON *list;
    int code = query_find(query, run, &key, err);

    if (code == 0)
        code = query_select(
            query, &stmt, err,
            "SELECT ch.name, u.symbol, ch.instrument, count(*), min(rd.time_ns), max(rd.time_ns)"
            " FROM cell c JOIN reading rd ON rd.id BETWEEN c.id << 34 AND (c.id << 34) + 17179869183"
            " JOIN channel ch ON ch.id = rd.channel_id JOIN unit u ON u.id = ch.unit"
            " WHERE c.run_id = ? GROUP BY ch.id ORDER BY ch.name, ch.instrument",
            "l", key.id);
    if (code != 0)
        return code;
    list = cJSON_CreateArray();
    while ((code = sql_step(stmt, err)) == 1) {
        cJSON *item =
            channel_object(list, sql_col_text(stmt, 0), sql_col_text(stmt, 1), sql_col_text(stmt, 2));

        query_add_int(item, "readings", stmt, 3);
        cJSON_AddBoolToObject(item, "trace", false);
        query_add_int(item, "first_ns", stmt, 4);
        query_add_int(item, "last_ns", stmt, 5);
        json_add_int64(item, "samples", 0);
    }
    if (code == 0)
        code = add_traced_channels(query, key.ulid, list, err);
    return query_give(stmt, code, list, ret_json, err);
}

/* ---- Traces ---- */

static void add_gap(void *context, int64_t from_ns, int64_t to_ns)
{
    cJSON *pair = cJSON_CreateArray();

    cJSON_AddItemToArray(pair, cJSON_CreateNumber((double)from_ns));
    cJSON_AddItemToArray(pair, cJSON_CreateNumber((double)to_ns));
    cJSON_AddItemToArray(context, pair);
}

static cJSON *plot_object(const struct trace_channel *channel, int64_t t0, int64_t t1, int pixels, int source,
                          const struct trace_bucket *bucket)
{
    static const char *const SOURCES[] = { "samples", "chunks", "groups" };
    cJSON *object = cJSON_CreateObject();
    cJSON *t, *min, *max, *mean;

    cJSON_AddStringToObject(object, "channel", channel->name);
    cJSON_AddStringToObject(object, "unit", unit_info(channel->unit)->symbol);
    json_add_int64(object, "t0", t0);
    json_add_int64(object, "t1", t1);
    json_add_int64(object, "pixels", pixels);
    cJSON_AddStringToObject(object, "source", SOURCES[source]);
    t = cJSON_AddArrayToObject(object, "t");
    min = cJSON_AddArrayToObject(object, "min");
    max = cJSON_AddArrayToObject(object, "max");
    mean = cJSON_AddArrayToObject(object, "mean");
    for (int i = 0; i < pixels; i++) {
        if (bucket[i].count == 0)
            continue;
        cJSON_AddItemToArray(t, cJSON_CreateNumber((double)bucket[i].time_ns));
        cJSON_AddItemToArray(min, json_number((double)bucket[i].min));
        cJSON_AddItemToArray(max, json_number((double)bucket[i].max));
        cJSON_AddItemToArray(mean, json_number(bucket[i].sum / (double)bucket[i].count));
    }
    return object;
}

int query_trace(struct query *query, const char *run, const char *channel_name, int64_t t0_ns, int64_t t1_ns,
                int pixels, cJSON **ret_json, struct error *err)
{
    struct query_run_key key;
    struct trace_reader *reader = NULL;
    struct trace_channel channel;
    struct trace_bucket *bucket = NULL;
    cJSON *object = NULL;
    int source, code = query_find(query, run, &key, err);

    if (code != 0)
        return code;
    if (pixels < 1 || pixels > QUERY_PIXELS_MAX)
        return error_set(err, ERR_RANGE, "%d pixels: 1 to %d are possible", pixels, QUERY_PIXELS_MAX);
    code = query_trace_open(query, key.ulid, &reader, err);
    if (code == ERR_NOT_FOUND)
        return error_set(err, ERR_NOT_FOUND, "no trace of '%s' in this run", channel_name);
    if (code == 0)
        code = trace_reader_channel(reader, channel_name, &channel, err);
    if (code != 0)
        goto close_reader;
    if (t1_ns <= t0_ns) {
        t0_ns = channel.first_ns;
        t1_ns = channel.last_ns;
    }
    bucket = malloc((size_t)pixels * sizeof *bucket);
    if (bucket == NULL) {
        code = error_set(err, ERR_MEMORY, "no memory for a plot");
        goto close_reader;
    }
    code = trace_reader_plot(reader, &channel, t0_ns, t1_ns, pixels, bucket, &source, err);
    if (code == 0) {
        object = plot_object(&channel, t0_ns, t1_ns, pixels, source, bucket);
        code = trace_reader_gaps(reader, &channel, add_gap, cJSON_AddArrayToObject(object, "gaps"), err);
    }
    free(bucket);
close_reader:
    trace_reader_close(reader);
    return query_give(NULL, code, object, ret_json, err);
}

/* ---- Events and calibrations ---- */

int query_events(struct query *query, const char *run, int64_t after_id, int limit, cJSON **ret_json,
                 struct error *err)
{
    struct query_run_key key = { 0 };
    struct sqlite3_stmt *stmt = NULL;
    cJSON *list;
    int code = run == NULL ? 0 : query_find(query, run, &key, err);

    if (code == 0)
        code = query_select(
            query, &stmt, err,
            "SELECT e.id, e.kind, e.text, e.details, e.time_ns, e.wall_ns, r.ulid FROM event e"
            " LEFT JOIN run r ON r.id = e.run_id WHERE e.id > ?1 AND (?2 = 0 OR e.run_id = ?2)"
            " ORDER BY e.id LIMIT ?3",
            "lli", after_id, key.id, limit < 0 || limit > QUERY_EVENTS_MAX ? QUERY_EVENTS_MAX : limit);
    if (code != 0)
        return code;
    list = cJSON_CreateArray();
    while ((code = sql_step(stmt, err)) == 1) {
        cJSON *item = cJSON_CreateObject();

        cJSON_AddItemToArray(list, item);
        query_add_int(item, "id", stmt, 0);
        query_add_text(item, "kind", stmt, 1);
        query_add_text(item, "text", stmt, 2);
        cJSON_AddItemToObject(item, "details",
                              sql_col_null(stmt, 3) ? cJSON_CreateNull()
                                                    : query_parsed(sql_col_text(stmt, 3)));
        query_add_int(item, "time_ns", stmt, 4);
        query_add_wall(item, "wall", stmt, 5);
        if (run == NULL)
            query_add_text(item, "run", stmt, 6);
    }
    return query_give(stmt, code, list, ret_json, err);
}

int query_audit_log(struct query *query, const struct query_audit *filter, int limit, cJSON **ret_json,
                    struct error *err)
{
    struct sqlite3_stmt *stmt = NULL;
    int code =
        query_select(query, &stmt, err,
                     "SELECT id, wall_ns, details FROM event WHERE kind = 'audit' AND id < ?1"
                     " AND wall_ns >= ?2 AND wall_ns < ?3"
                     " AND (?4 IS NULL OR json_extract(details, '$.user') = ?4) ORDER BY id DESC LIMIT ?5",
                     "llltl", filter->before_id, filter->from_ns, filter->to_ns, filter->user,
                     (int64_t)(limit < 0 || limit > QUERY_EVENTS_MAX ? QUERY_EVENTS_MAX : limit));

    if (code != 0)
        return code;
    cJSON *list = cJSON_CreateArray();
    while ((code = sql_step(stmt, err)) == 1) {
        cJSON *item = query_parsed(sql_col_text(stmt, 2)); /* as daemon/audit.c has written it */

        query_add_int(item, "id", stmt, 0);
        query_add_wall(item, "wall", stmt, 1);
        cJSON_AddItemToArray(list, item);
    }
    return query_give(stmt, code, list, ret_json, err);
}

int query_calibrations(struct query *query, const char *chip_serial, cJSON **ret_json, struct error *err)
{
    static const char *const TEXTS[] = { "key", "kind", "chip", "run", "instrument_chain" };
    struct sqlite3_stmt *stmt = NULL;
    cJSON *list;
    int code = query_select(
        query, &stmt, err,
        "SELECT k.id, k.key, k.kind, c.serial, r.ulid, k.instrument_chain, k.coefficients, k.raw,"
        " k.validity_s, k.time_ns, k.wall_ns, k.parent FROM calibration k"
        " LEFT JOIN chip c ON c.id = k.chip_id LEFT JOIN run r ON r.id = k.run_id"
        " WHERE ?1 IS NULL OR c.serial = ?1 ORDER BY k.id DESC LIMIT 10000",
        "t", chip_serial);

    if (code != 0)
        return code;
    list = cJSON_CreateArray();
    while ((code = sql_step(stmt, err)) == 1) {
        cJSON *item = cJSON_CreateObject();

        cJSON_AddItemToArray(list, item);
        query_add_int(item, "id", stmt, 0);
        for (int i = 0; i < 5; i++)
            query_add_text(item, TEXTS[i], stmt, 1 + i);
        cJSON_AddItemToObject(item, "coefficients", query_parsed(sql_col_text(stmt, 6)));
        cJSON_AddItemToObject(
            item, "raw", sql_col_null(stmt, 7) ? cJSON_CreateNull() : query_parsed(sql_col_text(stmt, 7)));
        json_add_number(item, "validity_s", sql_col_double(stmt, 8));
        query_add_int(item, "time_ns", stmt, 9);
        query_add_wall(item, "wall", stmt, 10);
        query_add_int(item, "parent", stmt, 11);
    }
    return query_give(stmt, code, list, ret_json, err);
}
