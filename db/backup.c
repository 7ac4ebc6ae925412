/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * backup: SQLite's online backup under one read transaction, so that a recorder that goes on writing cannot
 * make it start over; then everything is read back from the copies. */
#include "db/backup.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/base/hash.h"
#include "daemon/base/text.h"
#include "db/migrations.h"
#include "db/sql.h"
#include "db/store.h"
#include "db/trace.h"

enum { PAGES_PER_STEP = 1024, BUSY_MS = 5000, PATH_TEXT = 1024 };

struct backup {
    const char *db_path, *file;
    char part[PATH_TEXT], folder[PATH_TEXT]; /* of the traces */
    struct strbuf sums;
    struct backup_result result;
};

/* ---- One database ---- */

static int open_pair(const char *from, const char *to, sqlite3 **src, sqlite3 **dst, struct error *err)
{
    if (sqlite3_open_v2(from, src, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
        return *src == NULL ? error_set(err, ERR_MEMORY, "no memory") : sql_error(*src, err, "cannot open");
    if (sqlite3_open_v2(to, dst, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL) !=
        SQLITE_OK)
        return *dst == NULL ? error_set(err, ERR_MEMORY, "no memory") : sql_error(*dst, err, "cannot create");
    sqlite3_busy_timeout(*src, BUSY_MS);
    return sql_exec(*src, "BEGIN; SELECT 1 FROM sqlite_schema", err);
}

static int copy_pages(sqlite3 *src, sqlite3 *dst, struct error *err)
{
    sqlite3_backup *copy = sqlite3_backup_init(dst, "main", src, "main");
    int rc;

    if (copy == NULL)
        return sql_error(dst, err, "cannot copy");
    do
        rc = sqlite3_backup_step(copy, PAGES_PER_STEP);
    while (rc == SQLITE_OK);
    rc = sqlite3_backup_finish(copy);
    return rc == SQLITE_OK ? 0 : sql_error(dst, err, "cannot copy");
}

/* Reads the copy back. It becomes one file, which needs no log beside it. */
static int verify_pages(sqlite3 *dst, struct error *err)
{
    sqlite3_stmt *stmt = NULL;
    int code = sql_exec(dst, "PRAGMA journal_mode=DELETE", err);

    if (code == 0)
        code = sql_prepare(dst,
                           "SELECT * FROM pragma_integrity_check(1) WHERE integrity_check <> 'ok'"
                           " UNION ALL SELECT 'a reference to no row' FROM pragma_foreign_key_check",
                           &stmt, err);
    if (code == 0)
        code = sql_step(stmt, err);
    if (code == 1)
        code = error_set(err, ERR_INVALID, "the store is damaged: %s", sql_col_text(stmt, 0));
    sql_finish(stmt);
    return code;
}

static int copy_database(const char *from, const char *to, struct error *err)
{
    sqlite3 *src = NULL, *dst = NULL;
    int code;

    unlink(to); /* what an earlier attempt has left */
    code = open_pair(from, to, &src, &dst, err);
    if (code == 0)
        code = copy_pages(src, dst, err);
    if (code == 0)
        code = verify_pages(dst, err);
    sqlite3_close(src);
    sqlite3_close(dst);
    return code == 0 ? 0 : error_prefix(err, "%s", from);
}

/* ---- Sums ---- */

static int hash_file(const char *path, char ret_hex[SHA256_HEX], int64_t *bytes, struct error *err)
{
    unsigned char block[65536], digest[SHA256_BYTES];
    struct sha256_ctx ctx;
    ssize_t n;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return error_set_errno(err, errno, "%s: cannot read back", path);
    sha256_init(&ctx);
    while ((n = read(fd, block, sizeof block)) > 0) {
        sha256_update(&ctx, block, (size_t)n);
        *bytes += n;
    }
    if (n == 0 && fsync(fd) != 0)
        n = -1;
    int failed = errno;
    close(fd);
    if (n < 0)
        return error_set_errno(err, failed, "%s: cannot read back", path);
    sha256_final(&ctx, digest);
    hash_hex(digest, sizeof digest, ret_hex);
    return 0;
}

/* `name`: as sha256sum finds it from the folder of the backup. */
static int add_sum(struct backup *b, const char *path, const char *name, struct error *err)
{
    int code = hash_file(path, b->result.sha256, &b->result.bytes, err);

    if (code != 0)
        return code;
    strbuf_add(&b->sums, "%s  %s\n", b->result.sha256, name);
    return b->sums.failed ? error_set(err, ERR_MEMORY, "no memory") : 0;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash == NULL ? path : slash + 1;
}

/* ---- Traces ---- */

static int verify_trace(const char *path, const char *chain, struct error *err)
{
    char found[TRACE_CHAIN_HEX];
    struct trace_reader *reader;
    int code = trace_reader_open(path, &reader, err);

    if (code != 0)
        return code;
    code = trace_reader_verify(reader, found, err);
    trace_reader_close(reader);
    if (code == 0 && chain[0] != '\0' && strcmp(chain, found) != 0)
        code = error_set(err, ERR_MISMATCH, "%s: not the trace that its run has recorded", path);
    return code;
}

/* chain: "" while the run goes on. */
static int copy_trace(struct backup *b, const char *ulid, const char *chain, struct error *err)
{
    char from[PATH_TEXT], to[PATH_TEXT + 64], name[PATH_TEXT];
    int code;

    store_trace_path(b->db_path, ulid, from, sizeof from);
    if (access(from, F_OK) != 0) {
        b->result.missing += chain[0] != '\0';
        return 0;
    }
    if (mkdir(b->folder, 0755) != 0 && errno != EEXIST)
        return error_set_errno(err, errno, "%s: cannot create", b->folder);
    snprintf(to, sizeof to, "%s/%s.trace", b->folder, ulid);
    snprintf(name, sizeof name, "%s.traces/%s.trace", base_name(b->file), ulid);
    code = copy_database(from, to, err);
    if (code == 0)
        code = verify_trace(to, chain, err);
    if (code == 0)
        code = add_sum(b, to, name, err);
    b->result.traces += code == 0;
    return code;
}

static int copy_traces(struct backup *b, struct error *err)
{
    sqlite3_stmt *stmt = NULL;
    sqlite3 *db = NULL;
    int code = 0;

    if (sqlite3_open_v2(b->part, &db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
        code = db == NULL ? error_set(err, ERR_MEMORY, "no memory") : sql_error(db, err, "cannot open");
    if (code == 0)
        code = sql_prepare(db, "SELECT r.ulid, t.chain FROM run r LEFT JOIN trace_file t ON t.run_id = r.id",
                           &stmt, err);
    while (code == 0 && (code = sql_step(stmt, err)) == 1) {
        b->result.runs++;
        code = copy_trace(b, sql_col_text(stmt, 0), sql_col_text(stmt, 1), err);
    }
    sql_finish(stmt);
    sqlite3_close(db);
    return code;
}

/* ---- The whole ---- */

static int check_paths(struct backup *b, struct error *err)
{
    sqlite3 *db = NULL;
    int64_t application = 0;
    int code = 0;

    if (access(b->db_path, F_OK) != 0)
        return error_set_errno(err, errno, "%s: no such store", b->db_path);
    if (access(b->file, F_OK) == 0)
        return error_set(err, ERR_CONFLICT, "%s exists: a backup overwrites nothing", b->file);
    if (snprintf(b->part, sizeof b->part, "%s.part", b->file) >= (int)sizeof b->part - 64 ||
        snprintf(b->folder, sizeof b->folder, "%s.traces", b->file) >= (int)sizeof b->folder)
        return error_set(err, ERR_INVALID, "the name of the backup is too long");
    if (sqlite3_open_v2(b->db_path, &db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
        code = db == NULL ? error_set(err, ERR_MEMORY, "no memory") : sql_error(db, err, b->db_path);
    if (code == 0)
        code = sql_integer(db, "PRAGMA application_id", 0, &application, err);
    sqlite3_close(db);
    /* An older schema is welcome: before an upgrade is when one backs up. */
    if (code == 0 && application != MIGRATIONS_APPLICATION_ID)
        code = error_set(err, ERR_INVALID, "%s is not a nightbench store", b->db_path);
    return code;
}

static int finish(struct backup *b, struct error *err)
{
    char sums[PATH_TEXT];
    int code = add_sum(b, b->part, base_name(b->file), err);

    if (code != 0)
        return code;
    snprintf(sums, sizeof sums, "%.1000s.sha256", b->file);
    code = text_write_file(sums, b->sums.text, b->sums.length, err);
    if (code == 0 && rename(b->part, b->file) != 0)
        code = error_set_errno(err, errno, "cannot rename %s", b->part);
    return code;
}

int backup_store(const char *db_path, const char *file, struct backup_result *ret_result, struct error *err)
{
    struct backup b = { .db_path = db_path, .file = file };
    int code = check_paths(&b, err);

    if (code != 0)
        return code;
    code = copy_database(db_path, b.part, err);
    if (code == 0)
        code = copy_traces(&b, err);
    if (code == 0)
        code = finish(&b, err);
    strbuf_free(&b.sums);
    if (code != 0) {
        unlink(b.part);
        return error_prefix(err, "no backup was made");
    }
    *ret_result = b.result;
    return 0;
}
