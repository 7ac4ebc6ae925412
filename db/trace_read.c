/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * trace_read: the reading half of trace files. A plot walks groups, then chunks, then samples: each group or
 * chunk that is narrower than a pixel counts as a whole, and only those that are wider are looked into. */
#include <math.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/hash.h"
#include "db/sql.h"
#include "db/trace.h"

enum statement { CHANNELS, CHANNEL, GROUPS, CHUNKS, SAMPLES, ALL_CHUNKS, GAPS, CHAIN, STATEMENT_COUNT };

/* The samples are only counted for the list: that walks all chunks. */
#define CHANNEL_COLUMNS                                                                                      \
    "SELECT c.id, c.name, c.unit, (SELECT min(first_ns) FROM chunk WHERE channel_id = c.id),"                \
    " (SELECT last_ns FROM chunk WHERE channel_id = c.id ORDER BY first_ns DESC LIMIT 1), "

static const char *const SQL[STATEMENT_COUNT] = {
    [CHANNELS] = CHANNEL_COLUMNS "(SELECT sum(count) FROM chunk WHERE channel_id = c.id)"
                                 " FROM channel c ORDER BY c.name LIMIT 64",
    [CHANNEL] = CHANNEL_COLUMNS "0 FROM channel c WHERE c.name = ?",
    /* The first row may begin before the window and reach into it: it is found by its own lookup. */
    [GROUPS] =
        "SELECT first_ns, last_ns, valid, min, max, sum FROM chunk_group WHERE channel_id = ?1 AND first_ns "
        ">="
        " coalesce((SELECT max(first_ns) FROM chunk_group WHERE channel_id = ?1 AND first_ns <= ?2), ?2)"
        " AND first_ns <= ?3 ORDER BY first_ns",
    [CHUNKS] =
        "SELECT first_ns, last_ns, valid, min, max, sum, id FROM chunk WHERE channel_id = ?1 AND first_ns >="
        " coalesce((SELECT max(first_ns) FROM chunk WHERE channel_id = ?1 AND first_ns <= ?2), ?2)"
        " AND first_ns <= ?3 ORDER BY first_ns",
    [SAMPLES] = "SELECT first_ns, step_ns, count, times, samples FROM chunk WHERE id = ?",
    [ALL_CHUNKS] =
        "SELECT first_ns, step_ns, count, times, samples FROM chunk WHERE channel_id = ? ORDER BY id",
    [GAPS] = "SELECT from_ns, to_ns FROM gap WHERE channel_id = ? ORDER BY from_ns",
    [CHAIN] =
        ("SELECT k.first_ns, k.step_ns, k.count, k.times, k.samples, k.link, k.chain, c.name FROM chunk k"
         " JOIN channel c ON c.id = k.channel_id WHERE k.link IS NOT NULL ORDER BY k.link"),
};

struct trace_reader {
    sqlite3 *db;
    sqlite3_stmt *stmt[STATEMENT_COUNT];
    int64_t time_ns[TRACE_CHUNK_SAMPLES]; /* the chunk decoded last */
    float value[TRACE_CHUNK_SAMPLES];
};

int trace_reader_open(const char *path, struct trace_reader **ret_reader, struct error *err)
{
    struct trace_reader *r = calloc(1, sizeof *r);
    int code = 0;

    if (r == NULL)
        return error_set(err, ERR_MEMORY, "%s: no memory", path);
    if (sqlite3_open_v2(path, &r->db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
        code = r->db == NULL ? error_set(err, ERR_MEMORY, "no memory") : sql_error(r->db, err, "cannot open");
    if (code == 0)
        code = sql_exec(r->db, "PRAGMA query_only=ON; PRAGMA trusted_schema=OFF; PRAGMA mmap_size=268435456",
                        err);
    for (int i = 0; code == 0 && i < STATEMENT_COUNT; i++)
        code = sql_prepare(r->db, SQL[i], &r->stmt[i], err);
    if (code != 0) {
        error_prefix(err, "%s", path);
        trace_reader_close(r);
        return code;
    }
    *ret_reader = r;
    return 0;
}

void trace_reader_close(struct trace_reader *r)
{
    if (r == NULL)
        return;
    for (int i = 0; i < STATEMENT_COUNT; i++)
        sql_finish(r->stmt[i]);
    sqlite3_close_v2(r->db);
    free(r);
}

static void take_channel(sqlite3_stmt *stmt, struct trace_channel *out)
{
    snprintf(out->name, sizeof out->name, "%s", sql_col_text(stmt, 1));
    out->id = sql_col_int(stmt, 0);
    out->unit = (int)sql_col_int(stmt, 2);
    out->first_ns = sql_col_int(stmt, 3);
    out->last_ns = sql_col_int(stmt, 4);
    out->samples = sql_col_int(stmt, 5);
}

int trace_reader_channels(struct trace_reader *r, struct trace_channel *out, int *ret_count,
                          struct error *err)
{
    sqlite3_stmt *stmt = r->stmt[CHANNELS];
    int count = 0, code;

    while ((code = sql_step(stmt, err)) == 1 && count < TRACE_CHANNELS_MAX)
        take_channel(stmt, &out[count++]);
    sql_reset(stmt);
    if (code >= 0)
        *ret_count = count;
    return code < 0 ? code : 0;
}

int trace_reader_channel(struct trace_reader *r, const char *name, struct trace_channel *ret_channel,
                         struct error *err)
{
    sqlite3_stmt *stmt = r->stmt[CHANNEL];
    int code = sql_bind(stmt, err, "t", name);

    if (code == 0)
        code = sql_step(stmt, err);
    if (code == 0)
        code = error_set(err, ERR_NOT_FOUND, "no trace of '%s' in this run", name);
    if (code < 0)
        return code;
    take_channel(stmt, ret_channel);
    sql_reset(stmt);
    return 0;
}

/* Decodes the chunk of a row (first_ns, step_ns, count, times, samples) into the reader's buffers. */
static int decode(struct trace_reader *r, sqlite3_stmt *stmt, int *ret_count, struct error *err)
{
    int64_t first = sql_col_int(stmt, 0), count = sql_col_int(stmt, 2);
    bool uniform = !sql_col_null(stmt, 1);
    size_t time_bytes, sample_bytes;
    const void *times = sql_col_blob(stmt, 3, &time_bytes), *samples = sql_col_blob(stmt, 4, &sample_bytes);

    if (count < 1 || count > TRACE_CHUNK_SAMPLES || sample_bytes != (size_t)count * sizeof r->value[0] ||
        (!uniform && time_bytes != (size_t)count * sizeof r->time_ns[0]))
        return error_set(err, ERR_INVALID, "trace: a chunk of the wrong size (at %lld ns)", (long long)first);
    memcpy(r->value, samples, sample_bytes);
    if (!uniform)
        memcpy(r->time_ns, times, time_bytes);
    for (int i = 0; i < count; i++)
        r->time_ns[i] = first + (uniform ? i * sql_col_int(stmt, 1) : r->time_ns[i]);
    *ret_count = (int)count;
    return 0;
}

struct plot {
    struct trace_reader *reader;
    int64_t channel, t0, t1;
    double pixel_ns;
    int pixels, source;
    struct trace_bucket *bucket;
};

struct summary {
    int64_t first_ns, last_ns, valid;
    float min, max;
    double sum;
};

static struct summary take_summary(sqlite3_stmt *stmt)
{
    return (struct summary){ sql_col_int(stmt, 0),           sql_col_int(stmt, 1),
                             sql_col_int(stmt, 2),           (float)sql_col_double(stmt, 3),
                             (float)sql_col_double(stmt, 4), sql_col_double(stmt, 5) };
}

static void add(struct plot *p, const struct summary *s)
{
    int64_t from = s->first_ns < p->t0 ? p->t0 : s->first_ns;
    int pixel = (int)((double)(from - p->t0) / p->pixel_ns);
    struct trace_bucket *b = &p->bucket[pixel >= p->pixels ? p->pixels - 1 : pixel];

    if (s->valid == 0)
        return;
    if (b->count == 0)
        *b = (struct trace_bucket){ from, 0, 0, s->min, s->max };
    b->count += s->valid;
    b->sum += s->sum;
    b->min = s->min < b->min ? s->min : b->min;
    b->max = s->max > b->max ? s->max : b->max;
}

static bool fits_in_pixel(const struct plot *p, const struct summary *s)
{
    return s->first_ns >= p->t0 && s->last_ns <= p->t1 && (double)(s->last_ns - s->first_ns) <= p->pixel_ns;
}

static int plot_samples(struct plot *p, int64_t chunk, struct error *err)
{
    struct trace_reader *r = p->reader;
    int count = 0, code = sql_bind(r->stmt[SAMPLES], err, "l", chunk);

    if (code == 0)
        code = sql_step(r->stmt[SAMPLES], err);
    if (code == 1)
        code = decode(r, r->stmt[SAMPLES], &count, err);
    sql_reset(r->stmt[SAMPLES]);
    for (int i = 0; i < count; i++) {
        float v = r->value[i];

        if (!isnan(v) && r->time_ns[i] >= p->t0 && r->time_ns[i] <= p->t1)
            add(p, &(struct summary){ r->time_ns[i], r->time_ns[i], 1, v, v, v });
    }
    return code;
}

/* Chunks that begin in [from, to], and the one that reaches into it. */
static int plot_chunks(struct plot *p, int64_t from, int64_t to, struct error *err)
{
    sqlite3_stmt *stmt = p->reader->stmt[CHUNKS];
    int code = sql_bind(stmt, err, "lll", p->channel, from, to);

    while (code == 0 && (code = sql_step(stmt, err)) == 1) {
        struct summary s = take_summary(stmt);

        code = 0;
        if (s.last_ns < from)
            continue;
        if (fits_in_pixel(p, &s)) {
            add(p, &s);
            p->source = p->source < TRACE_FROM_CHUNKS ? TRACE_FROM_CHUNKS : p->source;
        } else {
            code = plot_samples(p, sql_col_int(stmt, 6), err);
        }
    }
    sql_reset(stmt);
    return code;
}

/* Groups while they fit, then chunks: those after the last group, and all from the first group on that is
 * wider than a pixel, since its successors are as wide. */
static int plot_groups(struct plot *p, struct error *err)
{
    sqlite3_stmt *stmt = p->reader->stmt[GROUPS];
    int64_t rest = p->t0;
    int code = sql_bind(stmt, err, "lll", p->channel, p->t0, p->t1);

    while (code == 0 && (code = sql_step(stmt, err)) == 1) {
        struct summary s = take_summary(stmt);
        int64_t last = s.last_ns < p->t1 ? s.last_ns : p->t1;

        code = 0;
        if (s.last_ns < rest)
            continue;
        if ((double)(s.last_ns - s.first_ns) > p->pixel_ns)
            break;
        if (s.first_ns > rest)
            code = plot_chunks(p, rest, s.first_ns - 1, err); /* left open by a process that died */
        if (code == 0 && fits_in_pixel(p, &s)) {
            add(p, &s);
            p->source = TRACE_FROM_GROUPS;
        } else if (code == 0) {
            code = plot_chunks(p, s.first_ns > rest ? s.first_ns : rest, last,
                               err); /* cut by the window's edge */
        }
        rest = s.last_ns + 1;
    }
    sql_reset(stmt);
    return code == 0 && rest <= p->t1 ? plot_chunks(p, rest, p->t1, err) : code;
}

int trace_reader_plot(struct trace_reader *r, const struct trace_channel *channel, int64_t t0_ns,
                      int64_t t1_ns, int pixels, struct trace_bucket *bucket, int *ret_source,
                      struct error *err)
{
    struct plot p = { r, channel->id, t0_ns, t1_ns, 0, pixels, TRACE_FROM_SAMPLES, bucket };
    int code;

    if (pixels < 1 || t1_ns < t0_ns)
        return error_set(err, ERR_INVALID, "a plot needs at least one pixel and a window");
    p.pixel_ns = ((double)(t1_ns - t0_ns) + 1) / pixels;
    memset(bucket, 0, (size_t)pixels * sizeof *bucket);
    code = plot_groups(&p, err);
    if (code == 0)
        *ret_source = p.source;
    return code;
}

int trace_reader_gaps(struct trace_reader *r, const struct trace_channel *channel, trace_gap_fn *each,
                      void *context, struct error *err)
{
    int code = sql_bind(r->stmt[GAPS], err, "l", channel->id);

    while (code == 0 && (code = sql_step(r->stmt[GAPS], err)) == 1) {
        each(context, sql_col_int(r->stmt[GAPS], 0), sql_col_int(r->stmt[GAPS], 1));
        code = 0;
    }
    return code;
}

int trace_reader_each(struct trace_reader *r, const struct trace_channel *channel, trace_chunk_fn *each,
                      void *context, struct error *err)
{
    sqlite3_stmt *stmt = r->stmt[ALL_CHUNKS];
    int count, code = sql_bind(stmt, err, "l", channel->id);

    while (code == 0 && (code = sql_step(stmt, err)) == 1) {
        code = decode(r, stmt, &count, err);
        if (code == 0)
            code = each(context, r->time_ns, r->value, count);
    }
    sql_reset(stmt);
    return code;
}

int trace_reader_verify(struct trace_reader *r, char ret_chain[TRACE_CHAIN_HEX], struct error *err)
{
    sqlite3_stmt *stmt = r->stmt[CHAIN];
    uint8_t chain[SHA256_BYTES] = { 0 };
    int64_t link = 0;
    int count, code = 0;

    while (code == 0 && (code = sql_step(stmt, err)) == 1) {
        const char *name = sql_col_text(stmt, 7);
        bool uniform = !sql_col_null(stmt, 1);
        const void *stored, *times;
        size_t bytes;

        code = decode(r, stmt, &count, err); /* checks the sizes */
        if (code != 0)
            break;
        times = sql_col_blob(stmt, 3, &bytes);
        trace_chain(chain, link, name, sql_col_int(stmt, 0), uniform ? sql_col_int(stmt, 1) : -1,
                    uniform ? NULL : times, r->value, count);
        stored = sql_col_blob(stmt, 6, &bytes);
        if (sql_col_int(stmt, 5) != ++link || bytes != sizeof chain || memcmp(stored, chain, bytes) != 0)
            code = error_set(err, ERR_MISMATCH, "trace: chunk %lld of '%s' was changed or lost",
                             (long long)link, name);
    }
    sql_reset(stmt);
    if (code == 0 && ret_chain != NULL)
        hash_hex(chain, sizeof chain, ret_chain);
    return code;
}
