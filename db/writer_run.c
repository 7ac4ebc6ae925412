/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * writer_run: the rows of a run as a whole: its bench, its chip, its states, its end, and its trace file. */
#include <stdio.h>
#include <string.h>

#include "daemon/base/json.h"
#include "daemon/base/text.h"
#include "db/sql.h"
#include "db/trace.h"
#include "db/writer_private.h"

/* A member of the chip's snapshot as text; NULL when it is not there, or no integer where the column wants
 * one. */
static const char *identity_text(const cJSON *identity, const char *key, bool integer, char *out, size_t size)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(identity, key);

    if (cJSON_IsString(item) && !integer)
        return item->valuestring;
    if (!cJSON_IsNumber(item) || (integer && item->valuedouble != (double)item->valueint))
        return NULL;
    return text_number(item->valuedouble, out, size);
}

static int find_chip(struct writer *w, const struct record_run *run, struct error *err)
{
    static const char *const KEYS[] = { "revision", "lot", "wafer", "x", "y" };
    const char *value[5];
    char number[5][40];
    cJSON *snapshot = NULL;
    const cJSON *identity;
    int code;

    /* A snapshot that cannot be read leaves the columns empty; it is stored with the run as it is. */
    if (json_parse(run->chip_json, strlen(run->chip_json), &snapshot, NULL) != 0)
        snapshot = NULL;
    identity = cJSON_GetObjectItemCaseSensitive(snapshot, "identity");
    for (int i = 0; i < 5; i++)
        value[i] = identity_text(identity != NULL ? identity : snapshot, KEYS[i], i >= 3, number[i],
                                 sizeof number[i]);
    code = sql_bind(w->stmt[CHIP_ID], err, "ttttttt", run->chip_type, run->chip_serial, value[0], value[1],
                    value[2], value[3], value[4]);
    if (code == 0)
        code = writer_returning(w->stmt[CHIP_ID], &w->place.chip_id, err);
    cJSON_Delete(snapshot);
    return code;
}

static int add_state(struct writer *w, const char *state, int64_t wall_ns, const char *reason,
                     struct error *err)
{
    return sql_run(w->stmt[RUN_STATE_ADD], err, "ltlt", w->place.run_id, state, wall_ns, reason);
}

/* The row, and the states that have led to it; it leaves the queue in the same transaction, so that no death
 * of the daemon runs it twice. */
static int insert_run(struct writer *w, const struct record_run *run, struct error *err)
{
    const char *state = run->invalid ? "validating" : "running";
    char seed[24];
    int code = sql_bind(w->stmt[BENCH_ID], err, "t", run->bench);

    if (code == 0)
        code = writer_returning(w->stmt[BENCH_ID], &w->place.bench_id, err);
    if (code == 0)
        code = find_chip(w, run, err);
    if (code != 0)
        return code;
    w->place.run_id = w->place.next_run++;
    snprintf(seed, sizeof seed, "%llu", (unsigned long long)run->seed);
    code = sql_run(w->stmt[RUN_INSERT], err, "ltttltlttttttttttttillttd", w->place.run_id, run->ulid,
                   run->campaign, run->plan_hash, w->place.bench_id, run->socket, w->place.chip_id,
                   run->backend, run->operator_name, run->tags, run->build, seed, run->network_hash,
                   run->mapping_hash, run->dataset_hash, run->plan_json, run->bench_json, run->chip_json,
                   run->clock_virtual ? "virtual" : "real", (int)run->simulated, run->time_ns, run->wall_ns,
                   state, run->notes != NULL ? run->notes : "", run->budget_s);
    if (code == 0)
        code = sql_run(w->stmt[RUN_UNQUEUE], err, "t", run->ulid);
    if (code == 0 && run->queued_wall_ns != 0)
        code = add_state(w, "queued", run->queued_wall_ns, "", err);
    if (code == 0 && run->validating_wall_ns != 0)
        code = add_state(w, "validating", run->validating_wall_ns, "", err);
    return code == 0 && !run->invalid ? add_state(w, state, run->wall_ns, "", err) : code;
}

/* Looks for a run of that ULID; a different plan is refused before anything was written. */
int writer_run_check(struct writer *w, const struct record_run *run, struct error *err)
{
    struct sqlite3_stmt *stmt = w->stmt[RUN_FIND];
    int code = sql_bind(stmt, err, "t", run->ulid);

    w->place.run_id = 0;
    if (code == 0)
        code = sql_step(stmt, err);
    if (code <= 0)
        return code;
    if (strcmp(sql_col_text(stmt, 1), run->plan_hash) != 0) {
        code = error_set(err, ERR_CONFLICT, "run %s exists with another plan (%s, not %s)", run->ulid,
                         sql_col_text(stmt, 1), run->plan_hash);
        sql_reset(stmt);
        return code;
    }
    if (strcmp(sql_col_text(stmt, 4), "interrupted") != 0) {
        code = error_set(err, ERR_CONFLICT, "run %s has ended (%s): it cannot be continued", run->ulid,
                         sql_col_text(stmt, 4));
        sql_reset(stmt);
        return code;
    }
    w->place.run_id = sql_col_int(stmt, 0);
    w->place.chip_id = sql_col_int(stmt, 2);
    w->place.bench_id = sql_col_int(stmt, 3);
    code = sql_step(stmt, err);
    return code < 0 ? code : 0;
}

int writer_run_begin(struct writer *w, const struct record_run *run, int64_t *ret_id, struct error *err)
{
    int code;

    w->place.continued = w->place.run_id != 0;
    w->place.current = (struct current){ 0 };
    w->place.last_cell_id = 0;
    code = w->place.continued ? sql_run(w->stmt[RUN_CONTINUE], err, "l", w->place.run_id)
                              : insert_run(w, run, err);
    if (code == 0 && w->place.continued)
        code = add_state(w, "resumed", run->wall_ns, "", err);
    if (code != 0)
        return code;
    snprintf(w->place.ulid, sizeof w->place.ulid, "%s", run->ulid);
    *ret_id = w->place.run_id;
    return 0;
}

static int open_trace(struct writer *w, struct error *err)
{
    char path[1024];
    int code;

    if (w->trace != NULL)
        return 0;
    store_trace_path(store_path(w->store), w->place.ulid, path, sizeof path);
    code = trace_writer_open(path, w->again, &w->trace, err);
    w->place.traced = w->place.traced || code == 0;
    return code;
}

static int close_trace(struct writer *w, struct error *err)
{
    char file[80], chain[TRACE_CHAIN_HEX];
    int code;

    if (!w->place.traced)
        return 0;
    code = open_trace(w, err);
    if (code != 0)
        return code;
    code = trace_writer_seal(w->trace, err);
    trace_writer_chain(w->trace, chain);
    snprintf(file, sizeof file, "%s.trace", w->place.ulid);
    if (code == 0)
        code = sql_run(w->stmt[TRACE_FILE], err, "ltlt", w->place.run_id, file, trace_writer_chunks(w->trace),
                       chain);
    trace_writer_close(w->trace);
    w->trace = NULL;
    w->place.traced = false;
    return code;
}

int writer_run_end(struct writer *w, const char *state, int code_of_run, const char *message, int64_t time_ns,
                   int64_t wall_ns, struct error *err)
{
    int code = writer_write_attempt(w, err);

    if (code == 0)
        code = close_trace(w, err);
    if (code == 0)
        code = sql_run(w->stmt[RUN_END], err, "tttlll", state, error_name(code_of_run), message, time_ns,
                       wall_ns, w->place.run_id);
    if (code == 0)
        code = sql_run(w->stmt[RUN_HOLDS], err, "ttll", state, message, wall_ns, w->place.run_id);
    if (code == 0)
        code = add_state(w, state, wall_ns, message, err);
    /* After an error too: the next run must not write into this one's trace. */
    trace_writer_close(w->trace);
    w->trace = NULL;
    w->place.traced = false;
    w->place.run_id = w->place.chip_id = w->place.bench_id = 0;
    w->place.current = (struct current){ 0 };
    w->place.last_cell_id = 0;
    w->place.ulid[0] = '\0';
    return code;
}

int writer_run_state(struct writer *w, const char *state, const char *reason, int64_t wall_ns,
                     struct error *err)
{
    int code = sql_run(w->stmt[RUN_STATE], err, "tl", state, w->place.run_id);

    return code == 0 ? add_state(w, state, wall_ns, reason, err) : code;
}

bool writer_run_continued(const struct writer *w)
{
    return w->place.continued;
}

int writer_annotate(struct writer *w, const char *ulid, const char *notes, const char *tags,
                    struct error *err)
{
    int64_t id;
    int code = sql_bind(w->stmt[RUN_ANNOTATE], err, "ttt", notes, tags, ulid);

    if (code == 0)
        code = writer_returning(w->stmt[RUN_ANNOTATE], &id, err);
    return code == ERR_NOT_FOUND ? error_set(err, code, "no run %s", ulid) : code;
}

/* "" is stored as NULL: not known. */
static const char *known(const char *text)
{
    return text[0] != '\0' ? text : NULL;
}

int writer_chip(struct writer *w, const struct record_chip *chip, struct error *err)
{
    char x[16], y[16];

    snprintf(x, sizeof x, "%d", chip->x);
    snprintf(y, sizeof y, "%d", chip->y);
    int code =
        sql_bind(w->stmt[CHIP_ID], err, "ttttttt", chip->type, chip->serial, known(chip->revision),
                 known(chip->lot), known(chip->wafer), chip->x >= 0 ? x : NULL, chip->y >= 0 ? y : NULL);
    if (code == 0)
        code = writer_returning(w->stmt[CHIP_ID], &w->place.chip_id, err);
    if (code == 0)
        code = sql_run(w->stmt[RUN_CHIP], err, "ll", w->place.chip_id, w->place.run_id);
    return code;
}

int writer_trace(struct writer *w, const struct record_trace *trace, struct error *err)
{
    int code = open_trace(w, err);

    if (code == 0)
        code = trace_writer_add(w->trace, trace->channel, trace->unit, trace->time_ns, trace->value,
                                trace->count, err);
    return code;
}

const char *writer_run_ulid(const struct writer *w)
{
    return w->place.ulid;
}
