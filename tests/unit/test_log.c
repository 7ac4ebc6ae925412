/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * Lines of the log as text and as entries of the journal, against a stand-in of its socket; rows of failures.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/base/journal.h"
#include "daemon/base/log.h"
#include "daemon/base/streak.h"

struct stand {
    char folder[32], path[64], entry[4096];
    int socket_fd, text_fds[2], stderr_fd;
};

/* The journal's socket, and a pipe in the place of stderr. */
static int set_up(void **state)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    struct stand *stand = calloc(1, sizeof *stand);

    assert_non_null(stand);
    snprintf(stand->folder, sizeof stand->folder, "/tmp/nb-log-XXXXXX");
    assert_non_null(mkdtemp(stand->folder));
    snprintf(stand->path, sizeof stand->path, "%s/socket", stand->folder);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", stand->path);
    stand->socket_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(stand->socket_fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(pipe2(stand->text_fds, O_NONBLOCK | O_CLOEXEC), 0);
    stand->stderr_fd = dup(STDERR_FILENO);
    dup2(stand->text_fds[1], STDERR_FILENO);
    log_init("test", LOG_INFO);
    *state = stand;
    return 0;
}

static int tear_down(void **state)
{
    struct stand *stand = *state;

    log_to_journal(NULL);
    log_set_run("");
    dup2(stand->stderr_fd, STDERR_FILENO);
    close(stand->stderr_fd);
    close(stand->socket_fd);
    close(stand->text_fds[0]);
    close(stand->text_fds[1]);
    unlink(stand->path);
    rmdir(stand->folder);
    free(stand);
    return 0;
}

static const char *read_from(int fd, struct stand *stand)
{
    ssize_t got = read(fd, stand->entry, sizeof stand->entry - 1);

    stand->entry[got > 0 ? got : 0] = '\0';
    return stand->entry;
}

/* Is "NAME=value" one whole line of the entry? */
static bool has(const struct stand *stand, const char *line)
{
    size_t length = strlen(line);

    for (const char *at = stand->entry; (at = strstr(at, line)) != NULL; at++) {
        if ((at == stand->entry || at[-1] == '\n') && at[length] == '\n')
            return true;
    }
    return false;
}

static void text_without_a_journal(void **state)
{
    struct stand *stand = *state;

    log_notice("rails\nare %s", "up");
    const char *line = read_from(stand->text_fds[0], stand);
    assert_non_null(strstr(line, "Z notice test: rails are up\n"));
    log_debug("below the threshold");
    assert_string_equal(read_from(stand->text_fds[0], stand), "");
}

static void fields_with_a_journal(void **state)
{
    struct stand *stand = *state;
    struct error err;

    log_to_journal(stand->path);
    log_set_run("01M7WVEJ1DQ5TVDQ8V8ZY43KV3");
    error_set(&err, ERR_TIMEOUT, "no answer before the deadline");
    error_at(&err, "psu1", "MEAS:VOLT?\nOUTP ON", 1500000000);
    log_error("power", &err);
    const int line = __LINE__ - 1;
    read_from(stand->socket_fd, stand);
    assert_true(has(stand, "PRIORITY=3"));
    assert_true(has(stand, "SYSLOG_IDENTIFIER=test"));
    assert_true(has(stand, "CODE_FILE=tests/unit/test_log.c"));
    assert_true(has(stand, "CODE_FUNC=fields_with_a_journal"));
    char place[32];
    snprintf(place, sizeof place, "CODE_LINE=%d", line);
    assert_true(has(stand, place));
    assert_true(has(stand, "NIGHTBENCH_RUN=01M7WVEJ1DQ5TVDQ8V8ZY43KV3"));
    assert_true(has(stand, "NIGHTBENCH_INSTRUMENT=psu1"));
    assert_true(has(stand, "NIGHTBENCH_CODE=timeout"));
    assert_true(has(stand, "NIGHTBENCH_ELAPSED_MS=1500"));
    assert_true(has(stand, "NIGHTBENCH_COMMAND=MEAS:VOLT?\\nOUTP ON")); /* escaped by error_at() */
    assert_non_null(strstr(stand->entry, "MESSAGE=power: timeout: psu1 'MEAS:VOLT?"));
    assert_string_equal(read_from(stand->text_fds[0], stand), ""); /* not twice */

    log_with(LOG_WARNING, &(struct log_about){ .instrument = "smu4", .channel = "smu4.2" }, "it\nlimits");
    log_set_run("");
    read_from(stand->socket_fd, stand);
    assert_true(has(stand, "MESSAGE=it limits") && has(stand, "PRIORITY=4"));
    assert_true(has(stand, "NIGHTBENCH_CHANNEL=smu4.2"));
    log_info("after the run");
    read_from(stand->socket_fd, stand);
    assert_null(strstr(stand->entry, "NIGHTBENCH_"));
    assert_true(has(stand, "MESSAGE=after the run"));
}

/* What cannot be entered is said where it always was, and all of it goes to a log file besides. */
static void journal_that_is_gone(void **state)
{
    struct stand *stand = *state;
    int file[2];

    assert_int_equal(pipe2(file, O_NONBLOCK | O_CLOEXEC), 0);
    log_to_journal(stand->path);
    log_set_fd(file[1]);
    log_info("heard");
    assert_non_null(strstr(read_from(file[0], stand), "info test: heard\n"));
    assert_string_equal(read_from(stand->text_fds[0], stand), "");
    unlink(stand->path);
    log_info("all the same");
    assert_non_null(strstr(read_from(stand->text_fds[0], stand), "info test: all the same\n"));
    log_set_fd(-1);
    close(file[0]);
    close(file[1]);
}

/* The longest line: its fields still come whole or not at all. */
static void long_lines(void **state)
{
    struct stand *stand = *state;
    char text[3000];

    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    log_to_journal(stand->path);
    log_warning("%s", text);
    size_t length = strlen(read_from(stand->socket_fd, stand));
    assert_true(length > 900 && stand->entry[length - 1] == '\n');
    assert_true(has(stand, "PRIORITY=4"));
    assert_int_equal(strncmp(stand->entry, "MESSAGE=xxx", 11), 0);
}

static void stream_that_is_the_journal(void **state)
{
    struct stand *stand = *state;
    struct stat info;
    char stream[64];

    assert_int_equal(fstat(stand->text_fds[1], &info), 0);
    snprintf(stream, sizeof stream, "%llu:%llu", (unsigned long long)info.st_dev,
             (unsigned long long)info.st_ino);
    unsetenv("JOURNAL_STREAM");
    assert_false(journal_is(STDERR_FILENO));
    setenv("JOURNAL_STREAM", stream, 1);
    assert_true(journal_is(STDERR_FILENO));
    assert_false(journal_is(stand->socket_fd)); /* redirected elsewhere */
    strcat(stream, "0");
    setenv("JOURNAL_STREAM", stream, 1);
    assert_false(journal_is(STDERR_FILENO));
    setenv("JOURNAL_STREAM", "rubbish", 1);
    assert_false(journal_is(STDERR_FILENO));
    unsetenv("JOURNAL_STREAM");
}

static void rows_of_failures(void **state)
{
    const int64_t second = 1000000000;
    struct streak streak = { 0 };
    unsigned untold = 99, failures;
    int64_t ns;

    (void)state;
    assert_false(streak_ends(&streak, 0, &failures, &ns)); /* all is well, nothing to say */
    assert_true(streak_fails(&streak, 10 * second, &untold));
    assert_int_equal(untold, 0);
    for (int i = 1; i < 60; i++)
        assert_false(streak_fails(&streak, (10 + i) * second, &untold));
    assert_true(streak_fails(&streak, 70 * second, &untold)); /* a minute later, once */
    assert_int_equal(untold, 59);
    assert_false(streak_fails(&streak, 71 * second, &untold));
    assert_true(streak_ends(&streak, 80 * second, &failures, &ns));
    assert_int_equal(failures, 62);
    assert_int_equal(ns, 70 * second);
    assert_false(streak_ends(&streak, 81 * second, &failures, &ns));
    assert_true(streak_fails(&streak, 82 * second, &untold)); /* a new row is told at once */
    assert_int_equal(untold, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(text_without_a_journal, set_up, tear_down),
        cmocka_unit_test_setup_teardown(fields_with_a_journal, set_up, tear_down),
        cmocka_unit_test_setup_teardown(journal_that_is_gone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(long_lines, set_up, tear_down),
        cmocka_unit_test_setup_teardown(stream_that_is_the_journal, set_up, tear_down),
        cmocka_unit_test(rows_of_failures),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
