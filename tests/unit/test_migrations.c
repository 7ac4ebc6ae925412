/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_migrations: a new store, an old one, and every kind of file that must be refused without being
 * touched. */
#include "tests/unit/db_fixture.h"

#include <sqlite3.h>
#include <sys/stat.h>

#include "db/migrations.h"
#include "db/sql.h"
#include "db/store.h"

static void execute(const char *path, const char *sql)
{
    sqlite3 *db;

    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static int64_t pragma(struct store *store, const char *name)
{
    char sql[64];
    int64_t value = -99;
    struct error err;

    snprintf(sql, sizeof sql, "PRAGMA %s", name);
    assert_ok(sql_integer(store_handle(store), sql, -1, &value, &err));
    return value;
}

static void new_store(void **state)
{
    struct fixture *f = *state;
    struct store *store, *second;
    struct error err;

    assert_int_equal(store_open_reader(f->db, &store, &err), ERR_NOT_FOUND);
    assert_ok(store_open_writer(f->db, &store, &err));
    assert_int_equal(pragma(store, "user_version"), migrations_newest());
    assert_int_equal(pragma(store, "application_id"), MIGRATIONS_APPLICATION_ID);
    assert_int_equal(pragma(store, "synchronous"), 2);
    assert_int_equal(pragma(store, "foreign_keys"), 1);
    assert_int_equal(pragma(store, "trusted_schema"), 0);
    assert_int_equal(pragma(store, "journal_size_limit"), STORE_WAL_BYTES);
    assert_int_equal(store_open_writer(f->db, &second, &err), ERR_CONFLICT);
    assert_non_null(strstr(err.message, "another nightbenchd"));
    assert_ok(store_open_reader(f->db, &second, &err));
    assert_int_not_equal(sql_exec(store_handle(second), "DELETE FROM unit", &err), 0);
    store_close(second);
    assert_int_not_equal(
        sql_exec(store_handle(store), "INSERT INTO chip(type, serial, x) VALUES('a', '007', 'west')", &err),
        0); /* STRICT */
    assert_ok(sql_exec(store_handle(store), "INSERT INTO chip(type, serial) VALUES('a', '007')", &err));
    assert_int_not_equal(sql_exec(store_handle(store),
                                  "INSERT INTO event(run_id, kind, text, time_ns, wall_ns)"
                                  " VALUES(77, '', '', 0, 0)",
                                  &err),
                         0); /* foreign key */
    store_close(store);
    assert_ok(store_open_writer(f->db, &store, &err)); /* once more: nothing to do */
    store_close(store);
}

static void other_files_are_refused(void **state)
{
    struct fixture *f = *state;
    struct store *store = NULL;
    struct stat before, after;
    char *text;
    size_t length;
    struct error err;

    assert_ok(
        text_write_file(f->db, "this is not a database, but long enough to be read as one ......", 64, &err));
    assert_int_equal(store_open_writer(f->db, &store, &err), ERR_INVALID);
    assert_non_null(strstr(err.message, f->db));
    assert_int_equal(store_open_reader(f->db, &store, &err), ERR_INVALID);
    assert_ok(text_read_file(f->db, 1000, &text, &length, &err));
    assert_int_equal(length, 64);
    free(text);
    unlink(f->db);

    execute(f->db, "CREATE TABLE photos(id)");
    assert_int_equal(stat(f->db, &before), 0);
    assert_int_equal(store_open_writer(f->db, &store, &err), ERR_INVALID);
    assert_non_null(strstr(err.message, "not a nightbench store"));
    assert_int_equal(store_open_reader(f->db, &store, &err), ERR_INVALID);
    assert_int_equal(stat(f->db, &after), 0);
    assert_int_equal(before.st_mtime, after.st_mtime);
    assert_int_equal(before.st_size, after.st_size);
    assert_null(store);
}

static void newer_and_older_schemas(void **state)
{
    struct fixture *f = *state;
    struct store *store = NULL;
    struct error err;
    char sql[64];

    assert_ok(store_open_writer(f->db, &store, &err));
    store_close(store);
    snprintf(sql, sizeof sql, "PRAGMA user_version=%d", migrations_newest() + 1);
    execute(f->db, sql);
    assert_int_equal(store_open_writer(f->db, &store, &err), ERR_INVALID);
    assert_non_null(strstr(err.message, "newer nightbench"));
    assert_int_equal(store_open_reader(f->db, &store, &err), ERR_INVALID);
    execute(f->db, "PRAGMA user_version=0");
    assert_int_equal(store_open_reader(f->db, &store, &err), ERR_INVALID);
    assert_non_null(strstr(err.message, "start nightbenchd"));
    /* A migration that cannot be applied leaves the store as it was. */
    assert_int_not_equal(store_open_writer(f->db, &store, &err), 0);
    assert_non_null(strstr(err.message, "migration 1"));
    snprintf(sql, sizeof sql, "PRAGMA user_version=%d", migrations_newest());
    execute(f->db, sql);
    assert_ok(store_open_reader(f->db, &store, &err));
    store_close(store);
}

#define in_folder(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_folder(new_store),
        in_folder(other_files_are_refused),
        in_folder(newer_and_older_schemas),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
