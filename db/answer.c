/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * answer: rows of one table, the old ones dropped as new ones come. */
#include "db/answer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/clock.h"
#include "db/recorder_internal.h"
#include "db/sql.h"

static int64_t oldest_ns(void)
{
    return clock_wall_now() - (int64_t)ANSWER_HOURS * 3600 * NS_PER_S;
}

static int forget_old(struct sqlite3 *db, struct error *err)
{
    struct sqlite3_stmt *stmt = NULL;
    int code = sql_prepare(db,
                           "DELETE FROM answer WHERE wall_ns < ?1 OR rowid <= (SELECT rowid FROM answer"
                           " ORDER BY rowid DESC LIMIT 1 OFFSET ?2)",
                           &stmt, err);

    if (code == 0)
        code = sql_run(stmt, err, "li", oldest_ns(), ANSWERS_MAX - 1);
    sql_finish(stmt);
    return code;
}

static int insert(struct sqlite3 *db, const struct answer *answer, const char *sql, struct error *err)
{
    struct sqlite3_stmt *stmt = NULL;

    int code = forget_old(db, err);
    if (code == 0)
        code = sql_prepare(db, sql, &stmt, err);
    if (code == 0)
        code = sql_run(stmt, err, "tbittl", answer->key, answer->request, sizeof answer->request,
                       answer->status, answer->body, answer->location, clock_wall_now());
    sql_finish(stmt);
    return code;
}

int answer_insert(struct sqlite3 *db, const struct answer *answer, struct error *err)
{
    int64_t changes = 0;

    int code = insert(db, answer, "INSERT OR IGNORE INTO answer VALUES(?, ?, ?, ?, ?, ?)", err);
    if (code == 0)
        code = sql_integer(db, "SELECT changes()", 0, &changes, err);
    return code == 0 && changes == 0
               ? error_set(err, ERR_CONFLICT,
                           "a request with this Idempotency-Key has just been answered: send it again")
               : code;
}

static int keep(struct sqlite3 *db, void *argument, struct error *err)
{
    return insert(db, argument,
                  "INSERT INTO answer VALUES(?, ?, ?, ?, ?, ?) ON CONFLICT(key) DO UPDATE SET status ="
                  " excluded.status, body = excluded.body, location = excluded.location"
                  " WHERE request = excluded.request",
                  err);
}

int answer_keep(struct recorder *recorder, const struct answer *answer, struct error *err)
{
    struct answer copy = *answer;

    return recorder_do(recorder, keep, &copy, err);
}

static int take_row(struct sqlite3_stmt *stmt, const char *key, const uint8_t request[32],
                    struct answer *ret_answer, struct error *err)
{
    struct answer answer = { .status = (int)sql_col_int(stmt, 1) };
    size_t bytes = 0;
    const void *hash = sql_col_blob(stmt, 0, &bytes);

    if (bytes != sizeof answer.request || memcmp(hash, request, bytes) != 0)
        return error_set(err, ERR_CONFLICT,
                         "this Idempotency-Key has come with another request; use a fresh key for a new one");
    snprintf(answer.key, sizeof answer.key, "%s", key);
    memcpy(answer.request, request, sizeof answer.request);
    snprintf(answer.location, sizeof answer.location, "%s", sql_col_text(stmt, 3));
    answer.body = strdup(sql_col_text(stmt, 2));
    if (answer.body == NULL)
        return error_set(err, ERR_MEMORY, "no memory for an answer");
    *ret_answer = answer;
    return 1;
}

int answer_find(const char *db_path, const char *key, const uint8_t request[32], struct answer *ret_answer,
                struct error *err)
{
    struct store *store = NULL;
    struct sqlite3_stmt *stmt = NULL;

    int code = store_open_reader(db_path, &store, err);
    if (code == 0)
        code = sql_prepare(
            store_handle(store),
            "SELECT request, status, body, location FROM answer WHERE key = ? AND wall_ns >= ?", &stmt, err);
    if (code == 0)
        code = sql_bind(stmt, err, "tl", key, oldest_ns());
    if (code == 0)
        code = sql_step(stmt, err);
    if (code == 1)
        code = take_row(stmt, key, request, ret_answer, err);
    sql_finish(stmt);
    store_close(store);
    return code;
}
