/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * writer_sql: every statement of the writer, by name. */
#ifndef DB_WRITER_SQL_H
#define DB_WRITER_SQL_H

/* The end of an INSERT into queue_hold: there is one row. What a person has held stays his, and where both he
 * and a run have a reason, both are told. */
#define QUEUE_HOLD_AGAIN                                                                                     \
    " ON CONFLICT(id) DO UPDATE SET reason = CASE WHEN by_run = excluded.by_run THEN excluded.reason ELSE"   \
    " substr(reason, 1, 250) || '; ' || excluded.reason END, by_run = min(by_run, excluded.by_run),"         \
    " wall_ns = excluded.wall_ns"

/* Sixteen rows in one statement cost half of sixteen statements: the tree is descended once. */
enum { ROWS = 16, READING_COLUMNS = 9, SAMPLE_COLUMNS = 12 };

enum statement {
    RUN_FIND,
    RUN_INSERT,
    RUN_UNQUEUE,
    RUN_HOLDS,
    RUN_CONTINUE,
    RUN_END,
    RUN_STATE,
    RUN_STATE_ADD,
    RUN_CHIP,
    RUN_ANNOTATE,
    BENCH_ID,
    CHIP_ID,
    STEP_BEGIN,
    STEP_END,
    CELL_INSERT,
    CELL_FIND,
    ATTEMPT_INSERT,
    ATTEMPT_END,
    ATTEMPT_FIND,
    ATTEMPT_READINGS_DROP,
    ATTEMPT_TENSORS_DROP,
    READING_LAST,
    CHANNEL_ID,
    READING_INSERT,
    READING_INSERT_MANY,
    SAMPLE_INSERT,
    SAMPLE_INSERT_MANY,
    CURSOR_MOVE,
    TENSOR_INSERT,
    CALIBRATION_INSERT,
    EVENT_INSERT,
    TRACE_FILE,
    STATEMENT_COUNT
};

extern const char *const WRITER_SQL[STATEMENT_COUNT];

#endif
