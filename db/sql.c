/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * sql: checked calls on SQLite. */
#include "db/sql.h"

#include <errno.h>
#include <math.h>
#include <sqlite3.h>

static int code_of(int rc)
{
    switch (rc & 0xff) {
    case SQLITE_FULL:
        return ERR_FULL;
    case SQLITE_NOMEM:
        return ERR_MEMORY;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_CONSTRAINT:
        return ERR_CONFLICT;
    case SQLITE_NOTADB:
    case SQLITE_CORRUPT:
        return ERR_INVALID;
    case SQLITE_CANTOPEN:
        return ERR_NOT_FOUND;
    case SQLITE_IOERR:
    case SQLITE_READONLY:
    case SQLITE_PERM:
        return ERR_IO;
    default:
        return ERR_INTERNAL;
    }
}

int sql_error(struct sqlite3 *db, struct error *err, const char *what)
{
    int rc = sqlite3_extended_errcode(db), code = code_of(rc);

    /* A file that cannot be made or grown for want of room. */
    if (((rc & 0xff) == SQLITE_CANTOPEN || (rc & 0xff) == SQLITE_IOERR) && sqlite3_system_errno(db) == ENOSPC)
        code = ERR_FULL;
    error_set(err, code, "%s: %s (SQLite %d)", what, sqlite3_errmsg(db), rc);
    if (err != NULL)
        err->retryable = code == ERR_FULL;
    return code;
}

int sql_exec(struct sqlite3 *db, const char *sql, struct error *err)
{
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
        return sql_error(db, err, "store");
    return 0;
}

int sql_prepare(struct sqlite3 *db, const char *sql, struct sqlite3_stmt **ret_stmt, struct error *err)
{
    sqlite3_stmt *stmt;

    if (sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, &stmt, NULL) != SQLITE_OK)
        return sql_error(db, err, "store: cannot prepare a statement");
    *ret_stmt = stmt;
    return 0;
}

void sql_finish(struct sqlite3_stmt *stmt)
{
    sqlite3_finalize(stmt); /* repeats the error of the last step, which was reported then */
}

int sql_bind_list(struct sqlite3_stmt *stmt, int first, struct error *err, const char *types, va_list args)
{
    for (int i = first; *types != '\0'; i++, types++) {
        int rc = SQLITE_MISUSE;

        switch (*types) {
        case 'i':
            rc = sqlite3_bind_int(stmt, i, va_arg(args, int));
            break;
        case 'l':
            rc = sqlite3_bind_int64(stmt, i, va_arg(args, int64_t));
            break;
        case 'd':
            rc = sqlite3_bind_double(stmt, i, va_arg(args, double)); /* NaN becomes NULL */
            break;
        case 't':
            rc = sqlite3_bind_text(stmt, i, va_arg(args, const char *), -1, SQLITE_STATIC);
            break;
        case 'b': {
            const void *data = va_arg(args, const void *);

            rc = sqlite3_bind_blob64(stmt, i, data, va_arg(args, size_t), SQLITE_STATIC);
            break;
        }
        case 'n':
            rc = sqlite3_bind_null(stmt, i);
            break;
        default:
            break;
        }
        if (rc != SQLITE_OK)
            return error_set(err, rc == SQLITE_NOMEM ? ERR_MEMORY : ERR_INTERNAL,
                             "store: cannot bind parameter %d of: %s", i, sqlite3_sql(stmt));
    }
    return 0;
}

int sql_bind(struct sqlite3_stmt *stmt, struct error *err, const char *types, ...)
{
    va_list args;
    int code;

    sqlite3_reset(stmt);
    va_start(args, types);
    code = sql_bind_list(stmt, 1, err, types, args);
    va_end(args);
    return code;
}

int sql_bind_from(struct sqlite3_stmt *stmt, int first, struct error *err, const char *types, ...)
{
    va_list args;
    int code;

    va_start(args, types);
    code = sql_bind_list(stmt, first, err, types, args);
    va_end(args);
    return code;
}

void sql_reset(struct sqlite3_stmt *stmt)
{
    sqlite3_reset(stmt); /* repeats the error of the last step, which was reported then */
}

int sql_step(struct sqlite3_stmt *stmt, struct error *err)
{
    int rc = sqlite3_step(stmt);

    if (rc == SQLITE_ROW)
        return 1;
    if (rc != SQLITE_DONE) {
        int code = sql_error(sqlite3_db_handle(stmt), err, "store");

        sqlite3_reset(stmt);
        return code;
    }
    sqlite3_reset(stmt);
    return 0;
}

int sql_bind_and_step(struct sqlite3_stmt *stmt, struct error *err, const char *types, ...)
{
    va_list args;
    int code;

    sqlite3_reset(stmt);
    va_start(args, types);
    code = sql_bind_list(stmt, 1, err, types, args);
    va_end(args);
    if (code == 0)
        code = sql_step(stmt, err);
    if (code <= 0)
        return code;
    sqlite3_reset(stmt);
    return error_set(err, ERR_INTERNAL, "store: an unexpected row from: %s", sqlite3_sql(stmt));
}

int sql_integer(struct sqlite3 *db, const char *sql, int64_t fallback, int64_t *ret_value, struct error *err)
{
    sqlite3_stmt *stmt = NULL;
    int64_t value = fallback;
    int code = sql_prepare(db, sql, &stmt, err);

    if (code != 0)
        return code;
    code = sql_step(stmt, err);
    if (code == 1 && !sql_col_null(stmt, 0))
        value = sql_col_int(stmt, 0);
    sql_finish(stmt);
    if (code < 0)
        return code;
    *ret_value = value;
    return 0;
}

bool sql_in_transaction(struct sqlite3 *db)
{
    return !sqlite3_get_autocommit(db);
}

int sql_check_row(struct sqlite3_stmt *stmt, struct error *err)
{
    sqlite3 *db = sqlite3_db_handle(stmt);

    return sqlite3_errcode(db) == SQLITE_NOMEM ? sql_error(db, err, "store: cannot read a row") : 0;
}

int64_t sql_col_int(struct sqlite3_stmt *stmt, int column)
{
    return sqlite3_column_int64(stmt, column);
}

double sql_col_double(struct sqlite3_stmt *stmt, int column)
{
    return sql_col_null(stmt, column) ? NAN : sqlite3_column_double(stmt, column);
}

const char *sql_col_text(struct sqlite3_stmt *stmt, int column)
{
    const unsigned char *text = sqlite3_column_text(stmt, column);

    return text == NULL ? "" : (const char *)text;
}

const void *sql_col_blob(struct sqlite3_stmt *stmt, int column, size_t *ret_bytes)
{
    const void *data = sqlite3_column_blob(stmt, column);

    *ret_bytes = (size_t)sqlite3_column_bytes(stmt, column);
    return data;
}

bool sql_col_null(struct sqlite3_stmt *stmt, int column)
{
    return sqlite3_column_type(stmt, column) == SQLITE_NULL;
}
