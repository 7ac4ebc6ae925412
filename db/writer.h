/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * writer: applies records to an open transaction of the store. Owned by the recorder's writer thread; after
 * any failure the transaction is rolled back and the writer must not be used again. */
#ifndef DB_WRITER_H
#define DB_WRITER_H

#include "daemon/base/record.h"
#include "db/store.h"

struct writer;

int writer_open(struct store *store, struct writer **ret_writer, struct error *err);
void writer_close(struct writer *writer);

/* A transaction of the main store; commit also commits the trace file. */
int writer_begin(struct writer *writer, struct error *err);
int writer_commit(struct writer *writer, int64_t now_ns, struct error *err);
void writer_rollback(struct writer *writer);

/* Before run_begin: ERR_CONFLICT, with nothing written, when that ULID exists with another plan. */
int writer_run_check(struct writer *writer, const struct record_run *run, struct error *err);
/* Inserts the run that writer_run_check has looked for, or continues it when it exists. */
int writer_run_begin(struct writer *writer, const struct record_run *run, int64_t *ret_id, struct error *err);
int writer_run_end(struct writer *writer, const char *state, int code, const char *message, int64_t time_ns,
                   int64_t wall_ns, struct error *err);
int writer_run_state(struct writer *writer, const char *state, const char *reason, int64_t wall_ns,
                     struct error *err);
/* Had the current run been begun before? */
bool writer_run_continued(const struct writer *writer);
int writer_annotate(struct writer *writer, const char *ulid, const char *notes, const char *tags,
                    struct error *err);
int writer_step(struct writer *writer, const struct record_step *step, struct error *err);
int writer_cell(struct writer *writer, const struct record_cell *cell, struct error *err);
int writer_attempt(struct writer *writer, const struct record_attempt *attempt, struct error *err);
int writer_reading(struct writer *writer, const struct record_reading *reading, struct error *err);
int writer_samples(struct writer *writer, const struct record_samples *samples, struct error *err);
int writer_tensor(struct writer *writer, const struct record_tensor *tensor, struct error *err);
int writer_calibration(struct writer *writer, int64_t id, const struct record_calibration *cal,
                       int64_t wall_ns, struct error *err);
int writer_trace(struct writer *writer, const struct record_trace *trace, struct error *err);
int writer_chip(struct writer *writer, const struct record_chip *chip, struct error *err);
int writer_event(struct writer *writer, const struct record_event *event, struct error *err);
/* Greatest calibration id in the store. */
int64_t writer_last_calibration(const struct writer *writer);
/* ULID of the current run, "" between runs. */
const char *writer_run_ulid(const struct writer *writer);

#endif
