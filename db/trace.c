/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * trace: the writing half of trace files, and their schema. */
#include "db/trace.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/base/hash.h"
#include "db/sql.h"

/* The covering index serves every plot without touching the pages of the samples. Large pages: chunks are 16
 * KiB. NORMAL: a power cut may cost the last second of a trace, never its consistency. */
static const char SCHEMA[] =
    "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA "
    "journal_size_limit=67108864;"
    "PRAGMA trusted_schema=OFF; PRAGMA application_id=1851946086;"
    "CREATE TABLE IF NOT EXISTS channel(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, unit INTEGER NOT "
    "NULL)"
    " STRICT;"
    "CREATE TABLE IF NOT EXISTS chunk(id INTEGER PRIMARY KEY, channel_id INTEGER NOT NULL, first_ns INTEGER "
    "NOT NULL,"
    " last_ns INTEGER NOT NULL, count INTEGER NOT NULL, valid INTEGER NOT NULL, min REAL, max REAL, sum REAL "
    "NOT NULL,"
    " codec INTEGER NOT NULL, step_ns INTEGER, link INTEGER UNIQUE, chain BLOB, times BLOB, samples BLOB NOT "
    "NULL)"
    " STRICT;"
    "CREATE INDEX IF NOT EXISTS chunk_summary ON chunk(channel_id, first_ns, last_ns, count, valid, min, "
    "max, sum);"
    "CREATE TABLE IF NOT EXISTS chunk_group(channel_id INTEGER NOT NULL, first_ns INTEGER NOT NULL,"
    " last_ns INTEGER NOT NULL, count INTEGER NOT NULL, valid INTEGER NOT NULL, min REAL, max REAL,"
    " sum REAL NOT NULL, PRIMARY KEY(channel_id, first_ns)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS gap(channel_id INTEGER NOT NULL, from_ns INTEGER NOT NULL, to_ns INTEGER NOT "
    "NULL)"
    " STRICT;";

struct summary {
    int64_t first_ns, last_ns, count, valid;
    float min, max;
    double sum;
};

struct channel {
    char name[64];
    int64_t id, next_chunk; /* chunk.id = id << 32 | number */
    int64_t gap_from_ns;    /* last sample of an earlier process; valid while `resumed` */
    bool resumed, dirty;    /* dirty: the open chunk has samples that are not in the file */
    int count;              /* samples in the open chunk */
    int group_chunks;
    struct summary group;
    int64_t *time_ns; /* [TRACE_CHUNK_SAMPLES], then the values: one allocation */
    float *value;
};

struct trace_writer {
    sqlite3 *db;
    sqlite3_stmt *put_channel, *put_chunk, *put_group, *put_gap;
    bool in_transaction, again;
    int64_t links; /* chunks in the hash chain */
    uint8_t chain[SHA256_BYTES];
    int channel_count;
    struct channel channel[TRACE_CHANNELS_MAX];
};

static int add_channel(struct trace_writer *w, const char *name, int64_t id, struct channel **ret_channel,
                       struct error *err)
{
    struct channel *c = &w->channel[w->channel_count];

    if (w->channel_count == TRACE_CHANNELS_MAX)
        return error_set(err, ERR_FULL, "trace: more than %d channels", TRACE_CHANNELS_MAX);
    *c = (struct channel){ .id = id };
    snprintf(c->name, sizeof c->name, "%s", name);
    c->time_ns = malloc(TRACE_CHUNK_SAMPLES * (sizeof *c->time_ns + sizeof *c->value));
    if (c->time_ns == NULL)
        return error_set(err, ERR_MEMORY, "trace: no memory for a channel");
    c->value = (float *)(void *)(c->time_ns + TRACE_CHUNK_SAMPLES);
    w->channel_count++;
    *ret_channel = c;
    return 0;
}

/* Takes over the channels and the chain of a file that an earlier process wrote. Chunks that it left open
 * stay as they are, outside the chain: their samples may be older than what was lost. */
static int load(struct trace_writer *w, struct error *err)
{
    sqlite3_stmt *stmt = NULL;
    int code =
        sql_prepare(w->db,
                    "SELECT c.id, c.name, (SELECT max(id) & 4294967295 FROM chunk WHERE channel_id = c.id),"
                    " (SELECT max(last_ns) FROM chunk WHERE channel_id = c.id) FROM channel c ORDER BY c.id",
                    &stmt, err);

    while (code == 0 && (code = sql_step(stmt, err)) == 1) {
        struct channel *c;

        code = add_channel(w, sql_col_text(stmt, 1), sql_col_int(stmt, 0), &c, err);
        if (code != 0 || sql_col_null(stmt, 2))
            continue;
        c->next_chunk = sql_col_int(stmt, 2) + 1;
        c->gap_from_ns = sql_col_int(stmt, 3);
        c->resumed = true;
    }
    sql_finish(stmt);
    stmt = NULL;
    if (code == 0)
        code = sql_prepare(w->db,
                           "SELECT link, chain FROM chunk WHERE link IS NOT NULL ORDER BY link DESC LIMIT 1",
                           &stmt, err);
    if (code == 0)
        code = sql_step(stmt, err);
    if (code == 1) {
        size_t bytes;
        const void *chain = sql_col_blob(stmt, 1, &bytes);

        w->links = sql_col_int(stmt, 0);
        if (bytes == sizeof w->chain)
            memcpy(w->chain, chain, sizeof w->chain);
        code = 0;
    }
    sql_finish(stmt);
    return code;
}

static int prepare(struct trace_writer *w, struct error *err)
{
    int code =
        sql_prepare(w->db, "INSERT INTO channel(id, name, unit) VALUES(?, ?, ?)", &w->put_channel, err);

    if (code == 0)
        code = sql_prepare(
            w->db,
            "INSERT OR REPLACE INTO chunk(id, channel_id, first_ns, last_ns, count, valid, min, max, sum,"
            " codec, step_ns, link, chain, times, samples)"
            " VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, nullif(?, 0), ?, ?, ?)",
            &w->put_chunk, err);
    if (code == 0)
        code = sql_prepare(
            w->db,
            "INSERT OR REPLACE INTO chunk_group(channel_id, first_ns, last_ns, count, valid, min, max, sum)"
            " VALUES(?, ?, ?, ?, ?, ?, ?, ?)",
            &w->put_group, err);
    if (code == 0)
        code = sql_prepare(w->db, "INSERT INTO gap(channel_id, from_ns, to_ns) VALUES(?, ?, ?)", &w->put_gap,
                           err);
    return code;
}

/* A new folder is not durable before the one that it lies in. */
static int sync_parent(char *folder, struct error *err)
{
    char *slash = strrchr(folder, '/');
    int fd, code = 0;

    if (slash != NULL)
        slash[slash == folder] = '\0';
    fd = open(slash == NULL ? "." : folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0)
        code = error_set_errno(err, errno, "%s: cannot sync", slash == NULL ? "." : folder);
    if (fd >= 0)
        close(fd);
    return code;
}

/* Makes the folder that holds the file; one that is there is fine. */
static int make_folder(const char *path, struct error *err)
{
    const char *slash = strrchr(path, '/');
    char folder[1024];

    if (slash == NULL || slash == path)
        return 0;
    snprintf(folder, sizeof folder, "%.*s", (int)(slash - path), path);
    if (mkdir(folder, 0755) != 0)
        return errno == EEXIST ? 0 : error_set_errno(err, errno, "%s: cannot create", folder);
    return sync_parent(folder, err);
}

void trace_chain(uint8_t chain[SHA256_BYTES], int64_t links, const char *channel, int64_t first_ns,
                 int64_t step_ns, const void *offsets, const void *samples, int count)
{
    int64_t times[2] = { first_ns, step_ns };
    struct sha256_ctx ctx;

    sha256_init(&ctx);
    sha256_update(&ctx, chain, links == 0 ? 0 : SHA256_BYTES);
    sha256_update(&ctx, channel, strlen(channel) + 1);
    sha256_update(&ctx, times, sizeof times);
    sha256_update(&ctx, offsets, offsets == NULL ? 0 : (size_t)count * sizeof(int64_t));
    sha256_update(&ctx, samples, (size_t)count * sizeof(float));
    sha256_final(&ctx, chain);
}

int trace_writer_open(const char *path, bool again, struct trace_writer **ret_writer, struct error *err)
{
    struct trace_writer *w = calloc(1, sizeof *w);
    int code;

    if (w == NULL)
        return error_set(err, ERR_MEMORY, "%s: no memory", path);
    w->again = again;
    code = make_folder(path, err);
    if (code == 0 &&
        sqlite3_open_v2(path, &w->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
                        NULL) != SQLITE_OK)
        code = w->db == NULL ? error_set(err, ERR_MEMORY, "no memory") : sql_error(w->db, err, "cannot open");
    if (code == 0)
        code = sql_exec(w->db, SCHEMA, err);
    if (code == 0)
        code = prepare(w, err);
    if (code == 0)
        code = load(w, err);
    if (code != 0) {
        error_prefix(err, "%s", path);
        trace_writer_close(w);
        return code;
    }
    *ret_writer = w;
    return 0;
}

void trace_writer_close(struct trace_writer *w)
{
    if (w == NULL)
        return;
    for (int i = 0; i < w->channel_count; i++)
        free(w->channel[i].time_ns);
    sql_finish(w->put_channel);
    sql_finish(w->put_chunk);
    sql_finish(w->put_group);
    sql_finish(w->put_gap);
    sqlite3_close_v2(w->db);
    free(w);
}

static int begin(struct trace_writer *w, struct error *err)
{
    int code = w->in_transaction ? 0 : sql_exec(w->db, "BEGIN IMMEDIATE", err);

    w->in_transaction = code == 0;
    return code;
}

static struct summary summarise(const struct channel *c)
{
    struct summary s = { c->time_ns[0], c->time_ns[c->count - 1], c->count, 0, INFINITY, -INFINITY, 0 };

    for (int i = 0; i < c->count; i++) {
        float v = c->value[i];

        if (isnan(v))
            continue;
        s.valid++;
        s.min = v < s.min ? v : s.min;
        s.max = v > s.max ? v : s.max;
        s.sum += v;
    }
    return s;
}

/* The step of evenly spaced times, or -1. */
static int64_t uniform_step(const struct channel *c)
{
    int64_t step = c->count > 1 ? c->time_ns[1] - c->time_ns[0] : 0;

    for (int i = 2; i < c->count; i++) {
        if (c->time_ns[i] - c->time_ns[i - 1] != step)
            return -1;
    }
    return step;
}

static double finite_or_nan(float value)
{
    return isinf(value) ? NAN : value; /* min and max of nothing */
}

static void extend_chain(struct trace_writer *w, const struct channel *c, int64_t step_ns,
                         const int64_t *offsets)
{
    trace_chain(w->chain, w->links++, c->name, c->time_ns[0], step_ns, step_ns < 0 ? offsets : NULL, c->value,
                c->count);
}

static int put_group(struct trace_writer *w, struct channel *c, struct error *err)
{
    const struct summary *g = &c->group;

    if (c->group_chunks == 0)
        return 0;
    c->group_chunks = 0;
    return sql_run(w->put_group, err, "lllllddd", c->id, g->first_ns, g->last_ns, g->count, g->valid,
                   finite_or_nan(g->min), finite_or_nan(g->max), g->sum);
}

static int join_group(struct trace_writer *w, struct channel *c, const struct summary *s, struct error *err)
{
    struct summary *g = &c->group;

    if (c->group_chunks++ == 0) {
        *g = *s;
    } else {
        g->last_ns = s->last_ns;
        g->count += s->count;
        g->valid += s->valid;
        g->min = s->min < g->min ? s->min : g->min;
        g->max = s->max > g->max ? s->max : g->max;
        g->sum += s->sum;
    }
    return c->group_chunks == TRACE_GROUP_CHUNKS ? put_group(w, c, err) : 0;
}

/* Writes the open chunk. seal: it is complete, joins the chain and its group, and the next sample opens
 * another. */
static int put_chunk(struct trace_writer *w, struct channel *c, bool seal, struct error *err)
{
    int64_t offsets[TRACE_CHUNK_SAMPLES];
    struct summary s;
    int64_t step;
    int code;

    if (c->count == 0)
        return 0;
    s = summarise(c);
    step = uniform_step(c);
    for (int i = 0; step < 0 && i < c->count; i++)
        offsets[i] = c->time_ns[i] - s.first_ns;
    if (seal)
        extend_chain(w, c, step, offsets);
    code =
        sql_bind(w->put_chunk, err, "lllllldddi", c->id << 32 | c->next_chunk, c->id, s.first_ns, s.last_ns,
                 s.count, s.valid, finite_or_nan(s.min), finite_or_nan(s.max), s.sum, TRACE_CODEC_F32_RAW);
    if (code == 0 && step >= 0)
        sqlite3_bind_int64(w->put_chunk, 11, step);
    else
        sqlite3_bind_null(w->put_chunk, 11);
    sqlite3_bind_int64(w->put_chunk, 12, seal ? w->links : 0);
    sqlite3_bind_blob(w->put_chunk, 13, seal ? w->chain : NULL, sizeof w->chain, SQLITE_STATIC);
    sqlite3_bind_blob(w->put_chunk, 14, step < 0 ? offsets : NULL, c->count * (int)sizeof offsets[0],
                      SQLITE_STATIC);
    sqlite3_bind_blob(w->put_chunk, 15, c->value, c->count * (int)sizeof c->value[0], SQLITE_STATIC);
    if (code == 0)
        code = sql_step(w->put_chunk, err);
    c->dirty = false;
    if (code != 0 || !seal)
        return code;
    c->count = 0;
    c->next_chunk++;
    return join_group(w, c, &s, err);
}

static int find_channel(struct trace_writer *w, const char *name, int unit, struct channel **ret_channel,
                        struct error *err)
{
    int code;

    for (int i = 0; i < w->channel_count; i++) {
        if (strcmp(w->channel[i].name, name) == 0) {
            *ret_channel = &w->channel[i];
            return 0;
        }
    }
    code = add_channel(w, name, w->channel_count + 1, ret_channel, err);
    return code == 0 ? sql_run(w->put_channel, err, "lti", (*ret_channel)->id, (*ret_channel)->name, unit)
                     : code;
}

int trace_writer_add(struct trace_writer *w, const char *channel, int unit, const int64_t *time_ns,
                     const float *value, int count, struct error *err)
{
    struct channel *c;
    int code = begin(w, err);

    if (code == 0)
        code = find_channel(w, channel, unit, &c, err);
    if (code != 0 || count == 0)
        return code;
    for (; w->again && c->resumed && count > 0 && *time_ns <= c->gap_from_ns; count--) {
        time_ns++;
        value++;
    }
    if (count == 0)
        return 0;
    if (c->resumed)
        code = sql_run(w->put_gap, err, "lll", c->id, c->gap_from_ns, time_ns[0]);
    c->resumed = false;
    while (code == 0 && count > 0) {
        int room = TRACE_CHUNK_SAMPLES - c->count;
        int take = count < room ? count : room;

        memcpy(c->time_ns + c->count, time_ns, (size_t)take * sizeof *time_ns);
        memcpy(c->value + c->count, value, (size_t)take * sizeof *value);
        c->count += take;
        c->dirty = true;
        time_ns += take;
        value += take;
        count -= take;
        if (c->count == TRACE_CHUNK_SAMPLES)
            code = put_chunk(w, c, true, err);
    }
    return code;
}

int trace_writer_commit(struct trace_writer *w, bool flush, struct error *err)
{
    int code = flush ? begin(w, err) : 0;

    for (int i = 0; code == 0 && flush && i < w->channel_count; i++) {
        if (w->channel[i].dirty)
            code = put_chunk(w, &w->channel[i], false, err);
    }
    if (code != 0 || !w->in_transaction)
        return code;
    w->in_transaction = false;
    return sql_exec(w->db, "COMMIT", err);
}

int trace_writer_seal(struct trace_writer *w, struct error *err)
{
    int code = trace_writer_commit(w, false, err);

    /* The store is about to vouch for this file: from here it is as durable as the store. */
    if (code == 0)
        code = sql_exec(w->db, "PRAGMA synchronous=FULL", err);
    if (code == 0)
        code = begin(w, err);
    for (int i = 0; code == 0 && i < w->channel_count; i++) {
        code = put_chunk(w, &w->channel[i], true, err);
        if (code == 0)
            code = put_group(w, &w->channel[i], err);
    }
    return code == 0 ? trace_writer_commit(w, false, err) : code;
}

int64_t trace_writer_chunks(const struct trace_writer *w)
{
    return w->links;
}

void trace_writer_chain(const struct trace_writer *w, char ret_hex[TRACE_CHAIN_HEX])
{
    hash_hex(w->chain, sizeof w->chain, ret_hex);
}
