/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * store: opening and closing. The writer holds a lock on <store>.lock for its life: SQLite would let two
 * daemons write by turns, and each would believe in its own counters. */
#include "db/store.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "daemon/base/units.h"
#include "db/migrations.h"
#include "db/sql.h"

struct store {
    sqlite3 *db;
    char *path;
    int lock_fd;              /* -1 for a reader */
    int64_t wal_pages;        /* in the log at the last commit */
    int64_t checkpoint_pages; /* the log is copied when it has so many */
    int64_t page_bytes;
};

/* FULL: in WAL mode NORMAL loses acknowledged points at a power cut. Only tests/fault/ builds it otherwise,
 * to show that its power cuts notice. */
#ifndef STORE_SYNCHRONOUS
#define STORE_SYNCHRONOUS "FULL"
#endif

/* journal_size_limit: the log would never shrink. */
static const char WRITER_PRAGMAS[] = "PRAGMA journal_mode=WAL;"
                                     "PRAGMA synchronous=" STORE_SYNCHRONOUS ";"
                                     "PRAGMA journal_size_limit=16777216;"
                                     "PRAGMA foreign_keys=ON;"
                                     "PRAGMA trusted_schema=OFF;"
                                     "PRAGMA cell_size_check=ON;"
                                     "PRAGMA temp_store=MEMORY";
static const char READER_PRAGMAS[] = "PRAGMA query_only=ON;"
                                     "PRAGMA trusted_schema=OFF;"
                                     "PRAGMA cell_size_check=ON;"
                                     "PRAGMA temp_store=MEMORY";

static int lock(const char *path, int *ret_fd, struct error *err)
{
    char *name = NULL;
    int fd, code = 0;

    if (asprintf(&name, "%s.lock", path) < 0)
        return error_set(err, ERR_MEMORY, "%s: no memory", path);
    fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0)
        code = error_set_errno(err, errno, "%s: cannot create", name);
    else if (flock(fd, LOCK_EX | LOCK_NB) != 0)
        code = errno == EWOULDBLOCK
                   ? error_set(err, ERR_CONFLICT, "%s: another nightbenchd writes to it", path)
                   : error_set_errno(err, errno, "%s: cannot lock", name);
    free(name);
    if (code == 0)
        *ret_fd = fd;
    else if (fd >= 0)
        close(fd);
    return code;
}

/* The table of units follows units.h, which only grows. */
static int write_units(sqlite3 *db, struct error *err)
{
    sqlite3_stmt *stmt;
    int code =
        sql_prepare(db,
                    "INSERT INTO unit VALUES(?, ?, ?) ON CONFLICT(id) DO UPDATE SET symbol = excluded.symbol,"
                    " name = excluded.name WHERE symbol <> excluded.symbol OR name <> excluded.name",
                    &stmt, err);

    if (code != 0)
        return code;
    code = sql_exec(db, "BEGIN IMMEDIATE", err);
    for (int i = 0; code == 0 && i < UNIT_COUNT; i++)
        code = sql_run(stmt, err, "itt", i, unit_info(i)->symbol, unit_info(i)->name);
    sql_finish(stmt);
    if (code == 0)
        code = sql_exec(db, "COMMIT", err);
    return code;
}

static int note_wal(void *context, sqlite3 *db, const char *name, int pages)
{
    struct store *store = context;

    (void)db;
    (void)name;
    store->wal_pages = pages;
    return SQLITE_OK;
}

int store_checkpoint(struct store *store, struct error *err)
{
    int64_t step = STORE_CHECKPOINT_BYTES / store->page_bytes;
    int in_log = -1, copied = -1, rc;

    if (store->wal_pages < store->checkpoint_pages)
        return 0;
    rc = sqlite3_wal_checkpoint_v2(store->db, NULL, SQLITE_CHECKPOINT_PASSIVE, &in_log, &copied);
    if (rc != SQLITE_OK && (rc & 0xff) != SQLITE_BUSY && (rc & 0xff) != SQLITE_FULL)
        return sql_error(store->db, err, "cannot copy the log into the store");
    /* All copied: it starts over with the next commit. Else it is no use to try at every commit. */
    store->checkpoint_pages = rc == SQLITE_OK && in_log == copied ? step : store->wal_pages + step;
    return 0;
}

void store_release_cache(struct store *store)
{
    sqlite3_db_release_memory(store->db);
}

int64_t store_wal_bytes(const struct store *store)
{
    return store->wal_pages * store->page_bytes;
}

static int open_handle(struct store *store, int flags, struct error *err)
{
    int rc =
        sqlite3_open_v2(store->path, &store->db, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);

    if (store->db == NULL)
        return error_set(err, ERR_MEMORY, "no memory");
    if (rc != SQLITE_OK)
        return sql_error(store->db, err, "cannot open");
    if (sqlite3_busy_timeout(store->db, store->lock_fd >= 0 ? STORE_WRITER_BUSY_MS : STORE_READER_BUSY_MS) !=
            SQLITE_OK ||
        sqlite3_db_config(store->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL) != SQLITE_OK)
        return sql_error(store->db, err, "cannot configure");
    return 0;
}

static int open_store(const char *path, bool writer, struct store **ret_store, struct error *err)
{
    struct store *store = calloc(1, sizeof *store);
    int code;

    if (store == NULL)
        return error_set(err, ERR_MEMORY, "%s: no memory", path);
    store->lock_fd = -1;
    store->path = strdup(path);
    if (store->path == NULL) {
        store_close(store);
        return error_set(err, ERR_MEMORY, "%s: no memory", path);
    }
    code = writer ? lock(path, &store->lock_fd, err) : 0;
    if (code != 0) {
        store_close(store);
        return code;
    }
    code =
        open_handle(store, writer ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE : SQLITE_OPEN_READONLY, err);
    if (code == 0 && writer)
        code = migrations_run(store->db, err); /* before the pragmas: a foreign file is not even touched */
    if (code == 0)
        code = sql_exec(store->db, writer ? WRITER_PRAGMAS : READER_PRAGMAS, err);
    if (code == 0)
        code = writer ? write_units(store->db, err) : migrations_check(store->db, err);
    if (code == 0)
        code = sql_integer(store->db, "PRAGMA page_size", 4096, &store->page_bytes, err);
    if (code == 0 && writer) {
        store->checkpoint_pages = STORE_CHECKPOINT_BYTES / store->page_bytes;
        sqlite3_wal_hook(store->db, note_wal, store); /* in the place of SQLite's own checkpoints */
    }
    if (code != 0) {
        error_prefix(err, "%s", path);
        store_close(store);
        return code;
    }
    *ret_store = store;
    return 0;
}

int store_open_writer(const char *path, struct store **ret_store, struct error *err)
{
    return open_store(path, true, ret_store, err);
}

int store_open_reader(const char *path, struct store **ret_store, struct error *err)
{
    if (access(path, F_OK) != 0)
        return error_set_errno(err, errno, "%s: no such store", path);
    return open_store(path, false, ret_store, err);
}

void store_close(struct store *store)
{
    if (store == NULL)
        return;
    sqlite3_close_v2(store->db);
    if (store->lock_fd >= 0)
        close(store->lock_fd);
    free(store->path);
    free(store);
}

struct sqlite3 *store_handle(struct store *store)
{
    return store->db;
}

const char *store_path(const struct store *store)
{
    return store->path;
}

void store_trace_path(const char *store_path_text, const char *ulid, char *out, size_t size)
{
    snprintf(out, size, "%s.traces/%s.trace", store_path_text, ulid);
}

void store_set_patience(struct store *store, int ms)
{
    sqlite3_busy_timeout(store->db, ms); /* fails for no handle only */
}
