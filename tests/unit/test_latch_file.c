/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_latch_file: what a latch file says, and that whatever it may be it is no permission. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/base/text.h"
#include "daemon/keeper/latch_file.h"

static char folder[] = "/tmp/nb-latch.XXXXXX";
static char path[LATCH_PATH_MAX];

static int folder_make(void **state)
{
    (void)state;
    return mkdtemp(folder) == NULL || latch_file_path(folder, "/run/x/keeper.sock", path, NULL);
}

static int folder_remove(void **state)
{
    (void)state;
    return rmdir(folder);
}

static void what_is_written_is_read(void **state)
{
    static const char *const reasons[] = { "emergency stop: smoke", "two\nlines ", " x" };
    (void)state;
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++) {
        struct latch_record in = { .wall_ns = 1770000000123000000 }, out;
        snprintf(in.reason, sizeof in.reason, "%s", reasons[i]);
        assert_int_equal(latch_file_write(path, &in, NULL), 0);
        assert_true(latch_file_read(path, &out));
        assert_string_equal(out.reason, in.reason);
        assert_true(out.wall_ns == in.wall_ns);
        struct stat st;
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
    }
    struct latch_record longest = { .wall_ns = 1 }, out;
    memset(longest.reason, 'r', sizeof longest.reason - 1);
    assert_int_equal(latch_file_write(path, &longest, NULL), 0);
    assert_true(latch_file_read(path, &out));
    assert_string_equal(out.reason, longest.reason);
    assert_int_equal(text_remove_file(path, NULL), 0);
    assert_false(latch_file_read(path, &out));
    assert_int_equal(text_remove_file(path, NULL), 0); /* it is not there: as wanted */
}

static void whatever_else_is_there_latches(void **state)
{
    static const char TIME[] = "2026-01-31T18:00:00.123Z";
    static const struct {
        const char *text;
        size_t length;
        const char *says;
    } files[] = {
        { "", 0, "is empty" },
        { "\n", 1, "gives no reason" },
        { "2026-01-31T18:00:00.123Z smo", 28, "is cut off" },
        { "2026-01-31T18:00:00.123Z \n", 26, "gives no reason" },
        { "2026-01-31T18:00:00.123Z\n", 25, "gives no reason" },
        { "yesterday smoke\n", 16, "does not begin with a time" },
        { "2026-01-31T18:00:00.123Z a\0b\n", 29, "is not text" },
    };
    struct latch_record out;
    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        assert_int_equal(text_write_file(path, files[i].text, files[i].length, NULL), 0);
        assert_true(latch_file_read(path, &out));
        assert_non_null(strstr(out.reason, files[i].says));
        assert_non_null(strstr(out.reason, path));
    }
    static char huge[1 << 20];
    memset(huge, ' ', sizeof huge);
    memcpy(huge, TIME, sizeof TIME - 1);
    huge[sizeof huge - 1] = '\n';
    assert_int_equal(text_write_file(path, huge, sizeof huge, NULL), 0);
    assert_true(latch_file_read(path, &out));
    assert_non_null(strstr(out.reason, "longer than"));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_true(latch_file_read(path, &out));
    assert_non_null(strstr(out.reason, "not a regular file"));
    assert_int_not_equal(text_remove_file(path, NULL), 0);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0); /* nobody waits for a writer */
    assert_true(latch_file_read(path, &out));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("nowhere", path), 0);
    assert_true(latch_file_read(path, &out));
    assert_int_equal(text_remove_file(path, NULL), 0);
    assert_false(latch_file_read(path, &out));
}

static void its_name_is_that_of_the_socket(void **state)
{
    char out[LATCH_PATH_MAX], long_one[LATCH_PATH_MAX];
    struct error err = { 0 };
    (void)state;
    assert_int_equal(latch_file_path(NULL, "/run/nb/keeper.sock", out, &err), 0);
    assert_string_equal(out, "/run/nb/keeper.sock.latched");
    assert_int_equal(latch_file_path("/var/lib/nb", "/run/nb/keeper.sock", out, &err), 0);
    assert_string_equal(out, "/var/lib/nb/keeper.sock.latched");
    assert_int_equal(latch_file_path("/var/lib/nb", "k", out, &err), 0);
    assert_string_equal(out, "/var/lib/nb/k.latched");
    memset(long_one, 'x', sizeof long_one - 1);
    long_one[sizeof long_one - 1] = '\0';
    assert_int_equal(latch_file_path(long_one, "k", out, &err), ERR_RANGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(whatever_else_is_there_latches),
        cmocka_unit_test(its_name_is_that_of_the_socket),
    };
    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
