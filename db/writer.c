/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * writer: records to rows: transactions, steps, points and what was measured for them. Ids of cells are
 * handed out here, and those of attempts, readings and samples follow from them (see migrations.c), so that
 * no insert has to ask the database what it just did. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/rng.h"
#include "daemon/base/text.h"
#include "db/sql.h"
#include "db/trace.h"
#include "db/writer_private.h"

#define TRACE_FLUSH_NS 1000000000LL /* how stale the unfinished chunks of a trace may be for a reader */

static const char *const TENSOR_KINDS[] = { "input", "code", "psum", "activation", "output" };

static int load_counters(struct writer *w, struct error *err)
{
    int code = sql_integer(w->db, "SELECT max(id) FROM run", 0, &w->place.next_run, err);

    if (code == 0)
        code = sql_integer(w->db, "SELECT max(id) FROM cell", 0, &w->place.next_cell, err);
    if (code == 0)
        code = sql_integer(w->db, "SELECT max(id) FROM calibration", 0, &w->last_calibration, err);
    w->place.next_run++;
    w->place.next_cell++;
    return code;
}

int writer_open(struct store *store, struct writer **ret_writer, struct error *err)
{
    struct writer *w = calloc(1, sizeof *w);
    int code = 0;

    if (w == NULL)
        return error_set(err, ERR_MEMORY, "store: no memory for the writer");
    w->store = store;
    w->db = store_handle(store);
    for (int i = 0; code == 0 && i < STATEMENT_COUNT; i++)
        code = sql_prepare(w->db, WRITER_SQL[i], &w->stmt[i], err);
    if (code == 0)
        code = load_counters(w, err);
    /* This process holds the writer's lock: whoever ran these is dead. */
    if (code == 0)
        code = sql_exec(
            w->db,
            "BEGIN IMMEDIATE;"
            "INSERT INTO run_state(run_id, state, wall_ns, reason) SELECT id, 'interrupted',"
            " CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) * 1000000, 'its daemon ended'"
            " FROM run WHERE end_wall_ns IS NULL AND state <> 'interrupted';"
            "UPDATE run SET state = 'interrupted' WHERE end_wall_ns IS NULL;"
            "UPDATE queue SET taken = 0 WHERE taken <> 0;"
            "COMMIT",
            err);
    if (code != 0) {
        writer_close(w);
        return code;
    }
    *ret_writer = w;
    return 0;
}

void writer_close(struct writer *w)
{
    if (w == NULL)
        return;
    trace_writer_close(w->trace);
    for (int i = 0; i < STATEMENT_COUNT; i++)
        sql_finish(w->stmt[i]);
    free(w);
}

int writer_begin(struct writer *w, struct error *err)
{
    struct error ignored; /* of a rollback that found no memory: done now, or the next one says so */

    if (sql_in_transaction(w->db))
        sql_exec(w->db, "ROLLBACK", &ignored);
    w->group_place = w->place;
    int code = sql_exec(w->db, "BEGIN IMMEDIATE", err);
    if (code == ERR_CONFLICT && err != NULL)
        err->retryable = true; /* somebody else writes */
    return code;
}

int writer_write_attempt(struct writer *w, struct error *err)
{
    if (!w->place.current.unwritten)
        return 0;
    w->place.current.unwritten = false;
    return sql_run(w->stmt[ATTEMPT_INSERT], err, "ltttlnn", w->place.current.id, "none", "ok", "",
                   w->place.current.begin_ns);
}

static int bind_reading(struct sqlite3_stmt *stmt, int row, const struct held_reading *held,
                        struct error *err)
{
    const struct reading *v = &held->reading;

    return sql_bind_from(stmt, 1 + row * READING_COLUMNS, err,
                         v->calibration_id == 0 ? "lldddilln" : "lldddilll", held->id, held->channel,
                         v->value, v->uncertainty, v->range, (int)v->flags, v->time_ns, v->wall_ns,
                         v->calibration_id);
}

static int write_readings(struct writer *w, struct error *err)
{
    bool many = w->held == ROWS;
    struct sqlite3_stmt *stmt = w->stmt[many ? READING_INSERT_MANY : READING_INSERT];
    int code = 0;

    for (int i = 0; code == 0 && i < w->held; i++) {
        code = bind_reading(stmt, many ? i : 0, &w->held_reading[i], err);
        if (code == 0 && (!many || i == ROWS - 1))
            code = sql_step(stmt, err);
    }
    w->held = 0;
    return code;
}

int writer_commit(struct writer *w, int64_t now_ns, struct error *err)
{
    int code = writer_write_attempt(w, err);

    if (code == 0)
        code = write_readings(w, err);

    if (code == 0 && w->trace != NULL) {
        bool flush = now_ns - w->trace_flushed_ns >= TRACE_FLUSH_NS;

        code = trace_writer_commit(w->trace, flush, err);
        if (flush)
            w->trace_flushed_ns = now_ns;
    }
    if (code == 0)
        code = sql_exec(w->db, "COMMIT", err);
    w->again = w->again && code != 0;
    return code;
}

void writer_rollback(struct writer *w)
{
    struct error ignored; /* the caller reports the failure that led here */

    sql_exec(w->db, "ROLLBACK", &ignored);
    w->place = w->group_place;
    w->held = 0;
    /* Channels that this group has found may have been its own. */
    memset(w->channel, 0, sizeof w->channel);
    w->channel_count = 0;
    w->again = true;
    trace_writer_close(w->trace);
    w->trace = NULL;
}

int writer_returning(struct sqlite3_stmt *stmt, int64_t *ret_value, struct error *err)
{
    int code = sql_step(stmt, err);

    if (code < 0)
        return code;
    if (code == 0)
        return error_set(err, ERR_NOT_FOUND, "store: no such row");
    *ret_value = sql_col_int(stmt, 0);
    code = sql_step(stmt, err);
    return code < 0 ? code : 0;
}

int writer_step(struct writer *w, const struct record_step *step, struct error *err)
{
    if (step->end)
        return sql_run(w->stmt[STEP_END], err, "tlli", step->skipped ? "skipped" : error_name(step->code),
                       step->time_ns, w->place.run_id, step->index);
    return sql_run(w->stmt[STEP_BEGIN], err, "littl", w->place.run_id, step->index, step->kind, step->name,
                   step->time_ns);
}

/* Finds a cell of the current run; *ret_id 0 when there is none. identity may be NULL; else it must be the
 * same. */
static int find_cell(struct writer *w, int step, int cell, const char *identity, int64_t *ret_id,
                     struct error *err)
{
    struct sqlite3_stmt *stmt = w->stmt[CELL_FIND];
    int code;

    if (identity == NULL && w->place.last_cell_id != 0 && w->place.last_step == step &&
        w->place.last_cell == cell) {
        *ret_id = w->place.last_cell_id;
        return 0;
    }
    code = sql_bind(stmt, err, "lii", w->place.run_id, step, cell);
    if (code == 0)
        code = sql_step(stmt, err);
    if (code < 0)
        return code;
    *ret_id = 0;
    if (code == 0)
        return 0;
    *ret_id = sql_col_int(stmt, 0);
    if (identity != NULL && strcmp(sql_col_text(stmt, 1), identity) != 0)
        code =
            error_set(err, ERR_CONFLICT, "step %d cell %d was another point when this run began", step, cell);
    else
        code = 0;
    sql_reset(stmt);
    w->place.last_step = step;
    w->place.last_cell = cell;
    w->place.last_cell_id = *ret_id;
    return code;
}

static int insert_cell(struct writer *w, const struct record_cell *cell, struct error *err)
{
    w->place.last_step = cell->step;
    w->place.last_cell = cell->index;
    w->place.last_cell_id = w->place.next_cell++;
    return sql_run(w->stmt[CELL_INSERT], err, "lliiitt", w->place.last_cell_id, w->place.run_id, cell->step,
                   cell->index, cell->repeat, cell->identity, cell->axes_json);
}

int writer_cell(struct writer *w, const struct record_cell *cell, struct error *err)
{
    int64_t id = 0;
    int code = w->place.continued ? find_cell(w, cell->step, cell->index, cell->identity, &id, err) : 0;

    return code != 0 || id != 0 ? code : insert_cell(w, cell, err);
}

/* An attempt that a dead daemon left unfinished is gone on with: its samples stay, each being acknowledged by
 * itself; what else was measured for it is measured again, so that nothing stands there twice. */
static int drop_unfinished(struct writer *w, struct error *err)
{
    int code = sql_run(w->stmt[ATTEMPT_READINGS_DROP], err, "l", w->place.current.id);

    return code == 0 ? sql_run(w->stmt[ATTEMPT_TENSORS_DROP], err, "l", w->place.current.id) : code;
}

/* Makes (step, cell, number) the current attempt, with its row unwritten when it does not exist yet. */
static int enter(struct writer *w, int step, int cell, int number, int64_t begin_ns, bool create,
                 struct error *err)
{
    struct current *now = &w->place.current;
    int64_t cell_id = 0, first;
    bool exists = false, open = false;
    int code = writer_write_attempt(w, err);

    if (code == 0)
        code = find_cell(w, step, cell, NULL, &cell_id, err);
    if (code == 0 && cell_id == 0 && cell < 0) {
        code = insert_cell(w, &(struct record_cell){ step, cell, "{}", "", 0 }, err);
        cell_id = w->place.last_cell_id;
    }
    if (code == 0 && cell_id == 0)
        code =
            error_set(err, ERR_INTERNAL, "a record for step %d cell %d, which was never defined", step, cell);
    if (code != 0)
        return code;
    *now = (struct current){ step, cell, number, cell_id << ATTEMPT_SHIFT | number, begin_ns, 0, false };
    if (w->place.continued || !create || cell < 0) {
        code = sql_bind(w->stmt[ATTEMPT_FIND], err, "l", now->id);
        if (code == 0)
            code = sql_step(w->stmt[ATTEMPT_FIND], err);
        exists = code == 1;
        open = exists && sql_col_null(w->stmt[ATTEMPT_FIND], 1);
        if (exists)
            now->begin_ns = sql_col_int(w->stmt[ATTEMPT_FIND], 0);
        sql_reset(w->stmt[ATTEMPT_FIND]);
        if (code < 0)
            return code;
    }
    if (!exists && !create)
        return error_set(err, ERR_INTERNAL, "a record for step %d cell %d attempt %d, which never began",
                         step, cell, number);
    now->unwritten = create; /* of one that exists the insert clears the end */
    first = now->id << ROW_SHIFT;
    if (!exists)
        return 0;
    code = write_readings(w, err);
    if (code == 0 && open && create && cell >= 0) /* that of a step or run has no end: its readings gather */
        return drop_unfinished(w, err);
    if (code == 0)
        code = sql_bind(w->stmt[READING_LAST], err, "ll", first, first | ((1 << ROW_SHIFT) - 1));
    if (code == 0)
        code = writer_returning(w->stmt[READING_LAST], &now->next_reading, err);
    now->next_reading = now->next_reading == 0 ? 0 : (now->next_reading & ((1 << ROW_SHIFT) - 1)) + 1;
    return code;
}

/* Readings, samples and tensors find their attempt; that of a run or step (cell -1) is made when first used.
 */
static int locate(struct writer *w, int step, int cell, int number, int64_t time_ns, struct error *err)
{
    const struct current *now = &w->place.current;
    int wanted = cell < 0 ? 0 : number;

    if (now->id != 0 && now->step == step && now->cell == cell && now->number == wanted)
        return 0;
    return enter(w, step, cell, wanted, time_ns, cell < 0, err);
}

int writer_attempt(struct writer *w, const struct record_attempt *a, struct error *err)
{
    const char *verdict = verdict_name(a->verdict), *name = error_name(a->code);
    int code;

    if (!a->end)
        return enter(w, a->step, a->cell, a->attempt, a->time_ns, true, err);
    code = locate(w, a->step, a->cell, a->attempt, a->time_ns, err);
    if (code != 0)
        return code;
    if (!w->place.current.unwritten)
        return sql_run(w->stmt[ATTEMPT_END], err, "tttlll", verdict, name, a->message, a->time_ns, a->host_ns,
                       w->place.current.id);
    w->place.current.unwritten = false;
    return sql_run(w->stmt[ATTEMPT_INSERT], err, "ltttlll", w->place.current.id, verdict, name, a->message,
                   w->place.current.begin_ns, a->time_ns, a->host_ns);
}

static int channel_id(struct writer *w, const char *name, const char *instrument, int unit, int64_t *ret_id,
                      struct error *err)
{
    uint64_t hash = rng_entity(name) ^ rng_entity(instrument) * 31 ^ (uint64_t)unit * 131;
    struct channel_slot *slot = &w->channel[hash % CHANNEL_SLOTS];
    int code;

    while (slot->id != 0) {
        if (slot->unit == unit && strcmp(slot->name, name) == 0 &&
            strcmp(slot->instrument, instrument) == 0) {
            *ret_id = slot->id;
            return 0;
        }
        slot = slot + 1 == w->channel + CHANNEL_SLOTS ? w->channel : slot + 1;
    }
    if (w->channel_count == CHANNELS_MAX)
        return error_set(err, ERR_FULL, "store: more than %d channels", CHANNELS_MAX);
    code = sql_bind(w->stmt[CHANNEL_ID], err, "tti", name, instrument, unit);
    if (code == 0)
        code = writer_returning(w->stmt[CHANNEL_ID], ret_id, err);
    if (code != 0)
        return code;
    w->channel_count++;
    snprintf(slot->name, sizeof slot->name, "%s", name);
    snprintf(slot->instrument, sizeof slot->instrument, "%s", instrument);
    slot->unit = unit;
    slot->id = *ret_id;
    return 0;
}

int writer_reading(struct writer *w, const struct record_reading *r, struct error *err)
{
    const struct reading *v = &r->reading;
    int64_t channel = 0;
    int code = locate(w, r->step, r->cell, r->attempt, v->time_ns, err);

    if (code == 0)
        code = channel_id(w, r->channel, r->instrument, v->unit, &channel, err);
    if (code == 0 && w->place.current.next_reading >> ROW_SHIFT != 0)
        code = error_set(err, ERR_FULL, "more than 2^%d readings in one attempt", ROW_SHIFT);
    if (code != 0)
        return code;
    w->held_reading[w->held++] =
        (struct held_reading){ w->place.current.id << ROW_SHIFT | w->place.current.next_reading++, channel,
                               *v };
    return w->held == ROWS ? write_readings(w, err) : 0;
}

static int bind_sample(struct sqlite3_stmt *stmt, int row, int64_t id, const struct record_sample *s,
                       struct error *err)
{
    return sql_bind_from(stmt, 1 + row * SAMPLE_COLUMNS, err, "liiiiiiiliii", id, (int)s->sample,
                         (int)s->label, (int)s->prediction, (int)s->output[0], (int)s->output[1],
                         (int)s->output[2], (int)s->output[3], (int64_t)s->cycles, (int)s->status,
                         (int)s->source, (int)s->clip);
}

int writer_samples(struct writer *w, const struct record_samples *batch, struct error *err)
{
    int code = locate(w, batch->step, batch->cell, batch->attempt, batch->time_ns, err);

    for (int i = 0; code == 0 && i < batch->count;) {
        int rows = batch->count - i >= ROWS ? ROWS : 1;
        struct sqlite3_stmt *stmt = w->stmt[rows == ROWS ? SAMPLE_INSERT_MANY : SAMPLE_INSERT];

        for (int row = 0; code == 0 && row < rows; row++, i++)
            code = bind_sample(stmt, row, w->place.current.id << ROW_SHIFT | (batch->first + i),
                               &batch->sample[i], err);
        if (code == 0)
            code = sql_step(stmt, err);
    }
    if (code != 0)
        return code;
    return sql_run(w->stmt[CURSOR_MOVE], err, "liiii", w->place.run_id, batch->step, batch->cell,
                   batch->attempt, batch->first + batch->count);
}

int writer_tensor(struct writer *w, const struct record_tensor *t, struct error *err)
{
    int code = locate(w, t->step, t->cell, t->attempt, 0, err);

    if (code != 0)
        return code;
    return sql_run(w->stmt[TENSOR_INSERT], err, "liittiiiiib", w->place.current.id, t->sample, t->layer,
                   t->layer_name, TENSOR_KINDS[t->kind], t->core, t->shape[0], t->shape[1], t->shape[2],
                   t->type_bits, t->data, t->bytes);
}

int writer_calibration(struct writer *w, int64_t id, const struct record_calibration *cal, int64_t wall_ns,
                       struct error *err)
{
    struct strbuf list = { 0 };
    char number[40];
    int code;

    strbuf_add(&list, "[");
    for (int i = 0; i < cal->coefficient_count; i++)
        strbuf_add(&list, "%s%s", i == 0 ? "" : ",", text_number(cal->coefficient[i], number, sizeof number));
    strbuf_add(&list, "]");
    code = list.failed
               ? error_set(err, ERR_MEMORY, "no memory for a calibration")
               : sql_run(w->stmt[CALIBRATION_INSERT], err, "lllltttttdll", id, w->place.run_id,
                         w->place.chip_id, w->place.bench_id, cal->key, cal->kind, cal->instrument_chain,
                         list.text, cal->raw_json, cal->validity_s, cal->time_ns, wall_ns);
    strbuf_free(&list);
    return code;
}

int writer_event(struct writer *w, const struct record_event *event, struct error *err)
{
    return sql_run(w->stmt[EVENT_INSERT], err, "ltttll", w->place.run_id, event->kind, event->text,
                   event->json, event->time_ns, event->wall_ns);
}

int64_t writer_last_calibration(const struct writer *w)
{
    return w->last_calibration;
}
