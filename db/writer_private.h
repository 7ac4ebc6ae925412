/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * writer_private: what the files of the writer share: writer.c has transactions and what belongs to points,
 * writer_run.c what belongs to a run. */
#ifndef DB_WRITER_PRIVATE_H
#define DB_WRITER_PRIVATE_H

#include "daemon/base/text.h"
#include "db/writer.h"
#include "db/writer_sql.h"

struct sqlite3;
struct sqlite3_stmt;

enum { CHANNEL_SLOTS = 2048, CHANNELS_MAX = 1024, ATTEMPT_SHIFT = 10, ROW_SHIFT = 24 };

struct channel_slot {
    char name[RECORD_NAME_MAX], instrument[RECORD_NAME_MAX];
    int unit;
    int64_t id; /* 0: free */
};

/* The attempt that records belong to. Its row is held back (`unwritten`) so that a short attempt is one
 * insert. */
struct current {
    int step, cell, number;
    int64_t id; /* 0: none */
    int64_t begin_ns, next_reading;
    bool unwritten;
};

/* Where the writer stands. A group that fails goes back to where it began: see writer_rollback. */
struct place {
    int64_t next_run, next_cell;
    int64_t run_id, bench_id, chip_id; /* of the current run; 0: none */
    bool continued;                    /* this run may already have rows */
    bool traced;                       /* this run has a trace file */
    char ulid[ULID_TEXT];
    int last_step, last_cell; /* a cell that was just looked up */
    int64_t last_cell_id;
    struct current current;
};

struct writer {
    struct store *store;
    struct sqlite3 *db;
    struct sqlite3_stmt *stmt[STATEMENT_COUNT];
    int64_t last_calibration;
    struct place place, group_place; /* now; at the begin of the group */
    struct trace_writer *trace;      /* NULL: none yet, or dropped by a rollback */
    bool again;                      /* the last group failed: its records come a second time */
    int64_t trace_flushed_ns;
    int held; /* readings that wait for a full statement, or for the commit */
    struct held_reading {
        int64_t id, channel;
        struct reading reading;
    } held_reading[ROWS];
    int channel_count;
    struct channel_slot channel[CHANNEL_SLOTS];
};

/* Inserts the row of the current attempt, if that is still held back. */
int writer_write_attempt(struct writer *w, struct error *err);
/* Runs a statement that returns one integer. */
int writer_returning(struct sqlite3_stmt *stmt, int64_t *ret_value, struct error *err);

#endif
