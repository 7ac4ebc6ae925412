/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * check: SQLite's own check of pages and indexes, in a read transaction. */
#include "db/check.h"

#include <sqlite3.h>

#include "db/sql.h"
#include "db/store.h"

enum { OPCODES_PER_LOOK = 10000 };

static int wants_stop(void *context)
{
    const _Atomic bool *stop = context;

    return atomic_load(stop);
}

int check_store(const char *db_path, const _Atomic bool *stop, struct error *err)
{
    struct sqlite3_stmt *stmt = NULL;
    struct store *store;
    int code = store_open_reader(db_path, &store, err);

    if (code != 0)
        return code;
    /* SQLite's type for the context is not const; it is only read. */
    union {
        const _Atomic bool *in;
        void *out;
    } context = { .in = stop };
    sqlite3_progress_handler(store_handle(store), OPCODES_PER_LOOK, wants_stop, context.out);
    code = sql_prepare(store_handle(store),
                       "SELECT integrity_check FROM pragma_integrity_check(1) WHERE integrity_check <> 'ok'",
                       &stmt, err);
    if (code == 0)
        code = sql_step(stmt, err);
    if (code == 1)
        code = error_set(err, ERR_INVALID, "%s is damaged: %s", db_path, sql_col_text(stmt, 0));
    else if (code != 0 && atomic_load(stop))
        code = error_set(err, ERR_CANCELLED, "%s: the check was ended", db_path);
    sql_finish(stmt);
    store_close(store);
    return code;
}
