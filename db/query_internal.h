/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * query_internal: what the files of query share, and export with them. */
#ifndef DB_QUERY_INTERNAL_H
#define DB_QUERY_INTERNAL_H

#include "db/query.h"
#include "db/sql.h"
#include "db/store.h"
#include "db/trace.h"

struct query {
    struct store *store;
    struct sqlite3 *db;
};

struct query_run_key {
    int64_t id;
    char ulid[27];
};

/* Resolves a run argument. */
int query_find(struct query *query, const char *run, struct query_run_key *ret_key, struct error *err);
/* A statement that is prepared and bound; the caller steps and finishes it. types as sql_bind. */
int query_select(struct query *query, struct sqlite3_stmt **ret_stmt, struct error *err, const char *sql,
                 const char *types, ...);
/* The run's trace file; ERR_NOT_FOUND when it has none. */
int query_trace_open(struct query *query, const char *ulid, struct trace_reader **ret_reader,
                     struct error *err);
/* Adds a reading object to `list`: columns from `column` on as in QUERY_READING_COLUMNS. */
#define QUERY_READING_COLUMNS                                                                                \
    "ch.name, ch.instrument, rd.value, rd.uncertainty, rd.range, u.symbol, rd.flags, rd.time_ns, "           \
    "rd.calibration_id"
void query_add_reading(cJSON *list, struct sqlite3_stmt *stmt, int column);
/* Text that should be JSON: parsed, or as a string when it is not. */
cJSON *query_parsed(const char *text);
/* Adds text, or null when the column is NULL. */
void query_add_text(cJSON *object, const char *key, struct sqlite3_stmt *stmt, int column);
void query_add_int(cJSON *object, const char *key, struct sqlite3_stmt *stmt, int column);
/* ISO time of a column of wall nanoseconds. */
void query_add_wall(cJSON *object, const char *key, struct sqlite3_stmt *stmt, int column);
/* Ends a walk: finishes the statement and hands the tree over, or deletes it on failure. */
int query_give(struct sqlite3_stmt *stmt, int code, cJSON *tree, cJSON **ret_json, struct error *err);

#endif
