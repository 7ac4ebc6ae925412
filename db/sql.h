/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * sql: the few calls on SQLite that db/ is made of, each with its return code checked and turned into a
 * struct error. For db/ only; sqlite3.h itself stays in the .c files. */
#ifndef DB_SQL_H
#define DB_SQL_H

#include <stdarg.h>
#include <stddef.h>

#include "daemon/base/error.h"

struct sqlite3;
struct sqlite3_stmt;

/* Error of the handle's last call: "what: <SQLite's words>", with the matching code (FULL, MEMORY, CONFLICT
 * ...). A full disk is retryable, which tells it from a named limit that was reached. */
int sql_error(struct sqlite3 *db, struct error *err, const char *what);
/* Runs statements without results. */
int sql_exec(struct sqlite3 *db, const char *sql, struct error *err);
int sql_prepare(struct sqlite3 *db, const char *sql, struct sqlite3_stmt **ret_stmt, struct error *err);
/* Finalises; NULL is a no-op. */
void sql_finish(struct sqlite3_stmt *stmt);
/* Resets a statement and binds its parameters in order, one letter each: i int, l int64_t, d double (NaN:
 * NULL), t text (NULL: NULL), b blob (const void *, size_t), n NULL. Texts and blobs are borrowed until the
 * next bind. */
int sql_bind(struct sqlite3_stmt *stmt, struct error *err, const char *types, ...);
int sql_bind_list(struct sqlite3_stmt *stmt, int first, struct error *err, const char *types, va_list args);
/* Binds parameters from number `first` on, for statements of many rows. Resets nothing. */
int sql_bind_from(struct sqlite3_stmt *stmt, int first, struct error *err, const char *types, ...);
/* Ends the use of a row before the last one. */
void sql_reset(struct sqlite3_stmt *stmt);
/* 1: a row is there; 0: done; negative: failed. The statement is reset after 0 and on failure. */
int sql_step(struct sqlite3_stmt *stmt, struct error *err);
/* Binds, steps once and expects no row. */
#define sql_run(stmt, err, ...) sql_bind_and_step(stmt, err, __VA_ARGS__)
int sql_bind_and_step(struct sqlite3_stmt *stmt, struct error *err, const char *types, ...);
/* First column of the first row of a statement without parameters; fallback when there is no row or it is
 * NULL. */
int sql_integer(struct sqlite3 *db, const char *sql, int64_t fallback, int64_t *ret_value, struct error *err);

/* ERR_MEMORY when a column of the current row, of those that were asked for, could not be given. */
int sql_check_row(struct sqlite3_stmt *stmt, struct error *err);
bool sql_in_transaction(struct sqlite3 *db);

/* Columns of the current row. Text is "" for NULL; a double is NaN for NULL. */
int64_t sql_col_int(struct sqlite3_stmt *stmt, int column);
double sql_col_double(struct sqlite3_stmt *stmt, int column);
const char *sql_col_text(struct sqlite3_stmt *stmt, int column);
const void *sql_col_blob(struct sqlite3_stmt *stmt, int column, size_t *ret_bytes);
bool sql_col_null(struct sqlite3_stmt *stmt, int column);

#endif
