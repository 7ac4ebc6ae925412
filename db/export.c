/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * export: CSV tables and canonical records. */
#include "db/export.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/hash.h"
#include "daemon/base/text.h"
#include "daemon/base/units.h"
#include "db/query_internal.h"

enum { FLUSH_BYTES = 1 << 16, COLUMNS_MAX = 512, RECORD_FIELD_MAX = 1000 };

const char *const EXPORT_TABLES[] = { "points", "samples", "readings", "traces", "events", NULL };

/* Text on its way out; the first failure sticks in `code`. */
struct out {
    export_write_fn *write;
    void *context;
    struct strbuf buf;
    struct error *err;
    int code;
    bool first; /* no cell of this line yet */
    const char *separator;
};

static void flush(struct out *out)
{
    if (out->code == 0 && out->buf.failed)
        out->code = error_set(out->err, ERR_MEMORY, "no memory for an export");
    if (out->code == 0 && out->buf.length > 0) {
        out->code = out->write(out->context, out->buf.text, out->buf.length);
        if (out->code != 0)
            error_set(out->err, out->code, "the export could not be written");
    }
    out->buf.length = 0;
}

/* Writes what is left and frees; returns the code of the whole export. */
static int finish(struct out *out, int code)
{
    if (out->code == 0)
        out->code = code;
    flush(out);
    strbuf_free(&out->buf);
    return out->code;
}

static void separate(struct out *out)
{
    if (!out->first)
        strbuf_bytes(&out->buf, out->separator, 1);
    out->first = false;
}

static void end_line(struct out *out, const char *end)
{
    strbuf_bytes(&out->buf, end, strlen(end));
    out->first = true;
    if (out->buf.length >= FLUSH_BYTES)
        flush(out);
}

/* ---- CSV ---- */

static void csv_text(struct out *out, const char *text)
{
    separate(out);
    if (strpbrk(text, ",\"\r\n") == NULL) {
        strbuf_bytes(&out->buf, text, strlen(text));
        return;
    }
    strbuf_bytes(&out->buf, "\"", 1);
    for (; *text != '\0'; text++)
        strbuf_bytes(&out->buf, *text == '"' ? "\"\"" : text, *text == '"' ? 2 : 1);
    strbuf_bytes(&out->buf, "\"", 1);
}

static void csv_number(struct out *out, double value)
{
    char text[40];

    csv_text(out, isfinite(value) ? text_number(value, text, sizeof text) : "");
}

static void csv_integer(struct out *out, int64_t value)
{
    separate(out);
    strbuf_add(&out->buf, "%lld", (long long)value);
}

static void csv_json(struct out *out, const cJSON *item)
{
    char *text;

    if (cJSON_IsString(item)) {
        csv_text(out, item->valuestring);
    } else if (cJSON_IsNumber(item)) {
        csv_number(out, item->valuedouble);
    } else if (item == NULL || cJSON_IsNull(item)) {
        csv_text(out, "");
    } else {
        text = json_print(item, false);
        csv_text(out, text == NULL ? "" : text);
        free(text);
    }
}

/* The columns of a statement's rows: s text, i integer, d double, f flags by name. */
static int csv_rows(struct out *out, struct sqlite3_stmt *stmt, const char *header, const char *types)
{
    int code = 0;

    strbuf_add(&out->buf, "%s\r\n", header);
    while (out->code == 0 && (code = sql_step(stmt, out->err)) == 1) {
        for (int i = 0; types[i] != '\0'; i++) {
            if (types[i] == 's' || sql_col_null(stmt, i))
                csv_text(out, sql_col_text(stmt, i));
            else if (types[i] == 'd')
                csv_number(out, sql_col_double(stmt, i));
            else
                csv_integer(out, sql_col_int(stmt, i));
        }
        end_line(out, "\r\n");
    }
    return out->code != 0 ? out->code : code;
}

struct columns {
    const char *name[COLUMNS_MAX];
    const char *unit[COLUMNS_MAX];
    int count;
};

static int find_column(const struct columns *columns, const char *name)
{
    for (int i = 0; i < columns->count; i++) {
        if (strcmp(columns->name[i], name) == 0)
            return i;
    }
    return -1;
}

static int add_column(struct columns *columns, const char *name, const char *unit, struct error *err)
{
    if (find_column(columns, name) >= 0)
        return 0;
    if (columns->count == COLUMNS_MAX)
        return error_set(err, ERR_FULL, "the points have more than %d columns", COLUMNS_MAX);
    columns->name[columns->count] = name;
    columns->unit[columns->count++] = unit;
    return 0;
}

/* Every axis and every channel that any point has, in the order of their first appearance. */
static int collect_columns(const cJSON *points, struct columns *axes, struct columns *channels,
                           struct error *err)
{
    const cJSON *point, *item;
    int code = 0;

    cJSON_ArrayForEach(point, points)
    {
        cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(point, "axes"))
        {
            if (code == 0 && item->string != NULL)
                code = add_column(axes, item->string, NULL, err);
        }
        cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(point, "readings"))
        {
            if (code == 0)
                code = add_column(channels, cJSON_GetObjectItemCaseSensitive(item, "channel")->valuestring,
                                  cJSON_GetObjectItemCaseSensitive(item, "unit")->valuestring, err);
        }
    }
    return code;
}

static const char *const POINT_COLUMNS[] = { "step",          "cell",        "repeat",  "identity",
                                             "verdict",       "attempts",    "message", "code",
                                             "begin_time_ns", "end_time_ns", NULL };

static void points_header(struct out *out, const struct columns *axes, const struct columns *channels)
{
    char name[160];

    for (int i = 0; POINT_COLUMNS[i] != NULL; i++)
        csv_text(out, POINT_COLUMNS[i]);
    for (int i = 0; i < axes->count; i++)
        csv_text(out, axes->name[i]);
    for (int i = 0; i < channels->count; i++) {
        snprintf(name, sizeof name, channels->unit[i][0] == '\0' ? "%s" : "%s [%s]", channels->name[i],
                 channels->unit[i]);
        csv_text(out, name);
    }
    end_line(out, "\r\n");
}

static void point_line(struct out *out, const cJSON *point, const struct columns *axes,
                       const struct columns *channels, double *values)
{
    const cJSON *cell_axes = cJSON_GetObjectItemCaseSensitive(point, "axes"), *reading;

    for (int i = 0; POINT_COLUMNS[i] != NULL; i++)
        csv_json(out, cJSON_GetObjectItemCaseSensitive(point, POINT_COLUMNS[i]));
    for (int i = 0; i < axes->count; i++)
        csv_json(out, cJSON_GetObjectItemCaseSensitive(cell_axes, axes->name[i]));
    for (int i = 0; i < channels->count; i++)
        values[i] = NAN;
    cJSON_ArrayForEach(reading, cJSON_GetObjectItemCaseSensitive(point, "readings"))
    {
        const cJSON *value = cJSON_GetObjectItemCaseSensitive(reading, "value");

        if (cJSON_IsNumber(value)) /* of several readings of one channel the last */
            values[find_column(channels, cJSON_GetObjectItemCaseSensitive(reading, "channel")->valuestring)] =
                value->valuedouble;
    }
    for (int i = 0; i < channels->count; i++)
        csv_number(out, values[i]);
    end_line(out, "\r\n");
}

static int csv_points(struct query *query, const char *run, struct out *out)
{
    struct columns *columns = calloc(2, sizeof *columns);
    double values[COLUMNS_MAX];
    cJSON *points = NULL;
    const cJSON *point;
    int code;

    if (columns == NULL)
        return error_set(out->err, ERR_MEMORY, "no memory for an export");
    code = query_points(query, run, -1, &points, out->err);
    if (code == 0)
        code = collect_columns(points, &columns[0], &columns[1], out->err);
    if (code == 0)
        points_header(out, &columns[0], &columns[1]);
    if (code == 0) {
        cJSON_ArrayForEach(point, points)
        {
            point_line(out, point, &columns[0], &columns[1], values);
        }
    }
    cJSON_Delete(points);
    free(columns);
    return code;
}

struct trace_walk {
    struct out *out;
    const struct trace_channel *channel;
};

static int csv_trace_chunk(void *context, const int64_t *time_ns, const float *value, int count)
{
    const struct trace_walk *walk = context;

    for (int i = 0; i < count; i++) {
        csv_text(walk->out, walk->channel->name);
        csv_integer(walk->out, time_ns[i]);
        separate(walk->out);
        if (!isnan(value[i]))
            strbuf_add(&walk->out->buf, "%.9g", (double)value[i]);
        csv_text(walk->out, unit_info(walk->channel->unit)->symbol);
        end_line(walk->out, "\r\n");
    }
    return walk->out->code;
}

/* Every trace of a run through `each`, channels in order of their names; a run without traces gives none. */
static int walk_traces(struct query *query, const char *ulid, struct out *out, trace_chunk_fn *each)
{
    struct trace_channel channel[TRACE_CHANNELS_MAX];
    struct trace_reader *reader = NULL;
    int count = 0, code = query_trace_open(query, ulid, &reader, out->err);

    if (code == ERR_NOT_FOUND)
        return 0;
    if (code == 0)
        code = trace_reader_channels(reader, channel, &count, out->err);
    for (int i = 0; code == 0 && i < count; i++) {
        struct trace_walk walk = { out, &channel[i] };

        code = trace_reader_each(reader, &channel[i], each, &walk, out->err);
    }
    trace_reader_close(reader);
    return code;
}

static const struct {
    const char *what, *sql, *header, *types;
} TABLES[] = {
    { "samples",
      "SELECT c.step, c.cell, a.number, s.position, s.sample, s.source, s.clip, s.label, s.prediction,"
      " s.label = s.prediction, s.out0, s.out1, s.out2, s.out3, s.cycles, s.status FROM cell c"
      " JOIN attempt a ON a.id BETWEEN c.id << 10 AND (c.id << 10) + 1023"
      " JOIN sample s ON s.id BETWEEN a.id << 24 AND (a.id << 24) + 16777215"
      " WHERE c.run_id = ? ORDER BY c.step, c.cell, s.id",
      "step,cell,attempt,position,sample,source,clip,label,prediction,correct,out0,out1,out2,out3,cycles,"
      "status",
      "iiiiiiiiiiiiiiii" },
    { "readings",
      "SELECT c.step, c.cell, a.number, ch.name, ch.instrument, rd.value, rd.uncertainty, rd.range, "
      "u.symbol, rd.flags,"
      " rd.time_ns, rd.wall_ns, rd.calibration_id FROM cell c"
      " JOIN attempt a ON a.id BETWEEN c.id << 10 AND (c.id << 10) + 1023"
      " JOIN reading rd ON rd.id BETWEEN a.id << 24 AND (a.id << 24) + 16777215"
      " JOIN channel ch ON ch.id = rd.channel_id JOIN unit u ON u.id = ch.unit"
      " WHERE c.run_id = ? ORDER BY c.step, c.cell, rd.id",
      "step,cell,attempt,channel,instrument,value,uncertainty,range,unit,flags,time_ns,wall_ns,calibration",
      "iiissdddsiiii" },
    { "events", "SELECT id, kind, text, details, time_ns, wall_ns FROM event WHERE run_id = ? ORDER BY id",
      "id,kind,text,details,time_ns,wall_ns", "isssii" },
};

int export_csv(struct query *query, const char *run, const char *what, export_write_fn *write, void *context,
               struct error *err)
{
    struct out out = { .write = write, .context = context, .err = err, .first = true, .separator = "," };
    struct query_run_key key;
    struct sqlite3_stmt *stmt = NULL;
    int code = query_find(query, run, &key, err);

    if (code != 0)
        return code;
    if (strcmp(what, "points") == 0)
        return finish(&out, csv_points(query, key.ulid, &out));
    if (strcmp(what, "traces") == 0) {
        strbuf_add(&out.buf, "channel,time_ns,value,unit\r\n");
        return finish(&out, walk_traces(query, key.ulid, &out, csv_trace_chunk));
    }
    for (size_t i = 0; i < sizeof TABLES / sizeof TABLES[0]; i++) {
        if (strcmp(what, TABLES[i].what) != 0)
            continue;
        code = query_select(query, &stmt, err, TABLES[i].sql, "l", key.id);
        if (code == 0)
            code = csv_rows(&out, stmt, TABLES[i].header, TABLES[i].types);
        sql_finish(stmt);
        return finish(&out, code);
    }
    return error_set(err, ERR_INVALID, "no table '%s': points, samples, readings, traces, events", what);
}

/* ---- Canonical records ---- */

static void record_hash(struct out *out, const void *data, size_t bytes)
{
    char text[SHA256_HEX];
    uint8_t digest[SHA256_BYTES];

    sha256(data, bytes, digest);
    hash_hex(digest, sizeof digest, text);
    strbuf_add(&out->buf, "sha256:%s", text);
}

/* One field; blobs and long texts as the SHA-256 of their bytes. */
static void record_field(struct out *out, struct sqlite3_stmt *stmt, int column, char type)
{
    char number[40], escaped[4 * RECORD_FIELD_MAX + 1];
    size_t bytes;
    const void *data;

    separate(out);
    if (sql_col_null(stmt, column)) {
        strbuf_add(&out->buf, "-");
    } else if (type == 'd') {
        strbuf_add(&out->buf, "%s", text_number(sql_col_double(stmt, column), number, sizeof number));
    } else if (type == 'i') {
        strbuf_add(&out->buf, "%lld", (long long)sql_col_int(stmt, column));
    } else {
        data = sql_col_blob(stmt, column, &bytes);
        if (type == 'b' || bytes > RECORD_FIELD_MAX)
            record_hash(out, data, bytes);
        else
            strbuf_add(&out->buf, "%s", text_escape(data, bytes, escaped, sizeof escaped));
    }
}

/* One line per row: its kind, then the columns. */
static int record_lines(struct query *query, struct out *out, const char *kind, const char *sql,
                        const char *types, int64_t run_id)
{
    struct sqlite3_stmt *stmt = NULL;
    int code = query_select(query, &stmt, out->err, sql, "l", run_id);

    while (code == 0 && out->code == 0 && (code = sql_step(stmt, out->err)) == 1) {
        code = 0;
        separate(out);
        strbuf_add(&out->buf, "%s", kind);
        for (int i = 0; types[i] != '\0'; i++)
            record_field(out, stmt, i, types[i]);
        end_line(out, "\n");
    }
    sql_finish(stmt);
    return code;
}

static int record_trace_chunk(void *context, const int64_t *time_ns, const float *value, int count)
{
    const struct trace_walk *walk = context;

    for (int i = 0; i < count; i++) {
        strbuf_add(&walk->out->buf, "trace\t%s\t%lld\t%.9g\t%s", walk->channel->name, (long long)time_ns[i],
                   (double)value[i], unit_info(walk->channel->unit)->symbol);
        end_line(walk->out, "\n");
    }
    return walk->out->code;
}

#define OF_ATTEMPTS " FROM cell c JOIN attempt a ON a.id BETWEEN c.id << 10 AND (c.id << 10) + 1023 "
#define IN_RUN      " WHERE c.run_id = ? ORDER BY c.step, c.cell, a.number"

static const struct {
    const char *kind, *sql, *types;
} RECORDS[] = {
    { "run",
      "SELECT r.campaign, r.plan_hash, r.state, r.code, b.name, r.socket, c.type, c.serial, r.backend, "
      "r.seed,"
      " r.network_hash, r.mapping_hash, r.dataset_hash, r.clock, r.simulated, r.begin_time_ns, r.end_time_ns"
      " FROM run r JOIN bench b ON b.id = r.bench_id JOIN chip c ON c.id = r.chip_id WHERE r.id = ?",
      "ssssssssssssssiii" },
    { "step",
      "SELECT step, kind, name, code, begin_time_ns, end_time_ns FROM step WHERE run_id = ? ORDER BY step",
      "isssii" },
    { "calibration",
      "SELECT key, kind, instrument_chain, coefficients, raw, validity_s, time_ns FROM calibration WHERE "
      "run_id = ?"
      " ORDER BY key, time_ns, id",
      "sssssdi" },
    { "cell", "SELECT step, cell, repeat, identity, axes FROM cell WHERE run_id = ? ORDER BY step, cell",
      "iiiss" },
    { "attempt",
      "SELECT c.step, c.cell, a.number, a.verdict, a.code, a.begin_time_ns, a.end_time_ns" OF_ATTEMPTS IN_RUN,
      "iiissii" },
    { "reading",
      "SELECT c.step, c.cell, a.number, ch.name, ch.instrument, rd.value, rd.uncertainty, rd.range, "
      "u.symbol, rd.flags,"
      " rd.time_ns, k.key" OF_ATTEMPTS
      "JOIN reading rd ON rd.id BETWEEN a.id << 24 AND (a.id << 24) + 16777215"
      " JOIN channel ch ON ch.id = rd.channel_id JOIN unit u ON u.id = ch.unit"
      " LEFT JOIN calibration k ON k.id = rd.calibration_id" IN_RUN
      ", ch.name, ch.instrument, rd.time_ns, rd.id",
      "iiissdddsiis" },
    { "sample",
      "SELECT c.step, c.cell, a.number, s.position, s.sample, s.source, s.clip, s.label, s.prediction, "
      "s.out0, s.out1,"
      " s.out2, s.out3, s.cycles, s.status" OF_ATTEMPTS
      "JOIN sample s ON s.id BETWEEN a.id << 24 AND (a.id << 24) + 16777215" IN_RUN ", s.id",
      "iiiiiiiiiiiiiii" },
    { "tensor",
      "SELECT c.step, c.cell, a.number, t.sample, t.layer, t.layer_name, t.kind, t.core, t.height, t.width, "
      "t.depth,"
      " t.type_bits, t.data" OF_ATTEMPTS "JOIN tensor t ON t.attempt_id = a.id" IN_RUN
      ", t.sample, t.layer, t.kind, t.core, t.id",
      "iiiiissiiiiib" },
    { "event",
      "SELECT time_ns, kind, text FROM event WHERE run_id = ? AND kind <> 'audit' ORDER BY time_ns, kind, "
      "text",
      "iss" },
};

int export_records(struct query *query, const char *run, export_write_fn *write, void *context,
                   struct error *err)
{
    struct out out = { .write = write, .context = context, .err = err, .first = true, .separator = "\t" };
    struct query_run_key key;
    int code = query_find(query, run, &key, err);

    if (code != 0)
        return code;
    for (size_t i = 0; code == 0 && i < sizeof RECORDS / sizeof RECORDS[0]; i++)
        code = record_lines(query, &out, RECORDS[i].kind, RECORDS[i].sql, RECORDS[i].types, key.id);
    if (code == 0)
        code = walk_traces(query, key.ulid, &out, record_trace_chunk);
    return finish(&out, code);
}
