/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * spawn: starting helper programs.
 */
#include "daemon/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/base/clock.h"

int spawn_sibling(const char *program, char *out, size_t size, struct error *err)
{
    char self[512];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);

    if (length < 0)
        return error_set_errno(err, errno, "cannot read /proc/self/exe");
    self[length] = '\0';
    char *slash = strrchr(self, '/');
    if (slash != NULL)
        *slash = '\0';
    int needed = snprintf(out, size, "%s/%s", self, program);
    if (needed < 0 || (size_t)needed >= size)
        return error_set(err, ERR_FULL, "path of %s is longer than %zu characters", program, size - 1);
    if (access(out, X_OK) != 0)
        return error_set_errno(err, errno, "%s is not beside this program; build it with `make`", out);
    return 0;
}

/* The child's half: between fork and exec only async-signal-safe calls. */
static void become(char *const argv[], int ready_fd, int log_fd)
{
    sigset_t none;
    int null_fd = open("/dev/null", O_RDONLY);

    setpgid(0, 0);
    signal(SIGCHLD, SIG_DFL);
    signal(SIGPIPE, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    dup2(null_fd, 0);
    dup2(ready_fd, 1);
    dup2(log_fd, 2);
    for (int fd = 3; fd < 256; fd++)
        close(fd);
    execv(argv[0], argv);
    _exit(127);
}

static void log_tail(const char *path, char *out, size_t size)
{
    FILE *file = fopen(path, "r");
    size_t length;

    out[0] = '\0';
    if (file == NULL)
        return;
    if (fseek(file, -(long)(size - 1), SEEK_END) != 0)
        rewind(file);
    length = fread(out, 1, size - 1, file);
    fclose(file);
    out[length] = '\0';
    for (char *c = out; *c != '\0'; c++) {
        if (*c == '\n')
            *c = ' ';
    }
}

/* Collects standard output until a whole line that starts with READY. */
static int wait_ready(int fd, const char *program, const char *log_path, double timeout_s, char *ret_line,
                      struct error *err)
{
    int64_t deadline_ns = clock_host_now() + (int64_t)(timeout_s * 1e9);
    char line[SPAWN_LINE_MAX];
    char tail[200];
    size_t length = 0;

    for (;;) {
        int64_t left_ms = (deadline_ns - clock_host_now()) / NS_PER_MS;
        struct pollfd pfd = { .fd = fd, .events = POLLIN };
        if (left_ms <= 0 || poll(&pfd, 1, (int)left_ms) == 0) {
            log_tail(log_path, tail, sizeof tail);
            return error_set(err, ERR_TIMEOUT, "%s did not get ready in %.1f s; its log %s ends: %s", program,
                             timeout_s, log_path, tail);
        }
        char c;
        ssize_t got = read(fd, &c, 1);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            log_tail(log_path, tail, sizeof tail);
            return error_set(err, ERR_NO_ANSWER, "%s ended before it was ready; its log %s ends: %s", program,
                             log_path, tail);
        }
        if (c != '\n') {
            if (length < sizeof line - 1)
                line[length++] = c;
            continue;
        }
        line[length] = '\0';
        length = 0;
        if (strncmp(line, "READY", 5) == 0) {
            if (ret_line != NULL)
                memcpy(ret_line, line, sizeof line);
            return 0;
        }
    }
}

int spawn_ready(char *const argv[], const char *log_path, double timeout_s, int *ret_pid, char *ret_line,
                struct error *err)
{
    int ready[2] = { -1, -1 };
    int log_fd = -1, code = 0, pid;

    if (pipe2(ready, O_CLOEXEC) != 0)
        return error_set_errno(err, errno, "cannot make a pipe for %s", argv[0]);
    log_fd = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log_fd < 0) {
        code = error_set_errno(err, errno, "cannot write %s", log_path);
        goto close_pipe;
    }
    pid = fork();
    if (pid < 0) {
        code = error_set_errno(err, errno, "cannot start %s", argv[0]);
        goto close_log;
    }
    if (pid == 0)
        become(argv, ready[1], log_fd);
    close(ready[1]);
    ready[1] = -1;
    code = wait_ready(ready[0], argv[0], log_path, timeout_s, ret_line, err);
    if (code != 0) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        goto close_log;
    }
    *ret_pid = pid;

close_log:
    close(log_fd);
close_pipe:
    if (ready[1] >= 0)
        close(ready[1]);
    close(ready[0]);
    return code;
}
