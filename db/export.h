/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * export: a run as text. CSV (RFC 4180) for spreadsheets and scripts, and the canonical records by which two
 * runs are called identical. */
#ifndef DB_EXPORT_H
#define DB_EXPORT_H

#include "db/query.h"

/* Receives text as it is made; returns 0, or a negative code that ends the export and is returned by it. */
typedef int export_write_fn(void *context, const char *text, size_t length);

/* NULL-terminated: "points", "samples", "readings", "traces", "events". */
extern const char *const EXPORT_TABLES[];

/* One header line and one line per row, CRLF, quoted where needed, SI units. "points" has a column per axis
 * and per channel ("rail.vddd.current [A]"); the other tables carry the unit in a column of its own. */
int export_csv(struct query *query, const char *run, const char *what, export_write_fn *write, void *context,
               struct error *err);

/* One line per record with bench-clock times, tab-separated: run, steps, calibrations, cells, attempts,
 * readings, samples, tensors, events, traces; each kind sorted by (step, cell, attempt, channel, time,
 * sample); nothing of the host: no wall or host time, ULID, row id, path or error message (those name ports
 * and durations). Two runs of one plan with one seed in virtual time give the same bytes. */
int export_records(struct query *query, const char *run, export_write_fn *write, void *context,
                   struct error *err);

#endif
