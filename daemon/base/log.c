/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * log: formats one line and writes it with one write(2) per descriptor. The three settings are the
 * only state of the process that is not passed as a context; they are atomic, so no lock is needed. */
#include "daemon/base/log.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "daemon/base/text.h"

enum { LINE_MAX_BYTES = 1024 };

static const char *const LEVELS[] = {
    [LOG_DEBUG] = "debug",     [LOG_INFO] = "info", [LOG_NOTICE] = "notice",
    [LOG_WARNING] = "warning", [LOG_ERR] = "error",
};

static _Atomic(const char *) log_who = "nightbench";
static _Atomic int log_threshold = LOG_INFO;
static _Atomic int log_extra_fd = -1;

void log_init(const char *who, enum log_level level)
{
    atomic_store(&log_who, who);
    atomic_store(&log_threshold, (int)level);
}

void log_set_fd(int fd)
{
    atomic_store(&log_extra_fd, fd);
}

/* A log that cannot be written has nobody to tell: the rest of a line is dropped. */
static void put(int fd, const char *line, size_t length)
{
    ssize_t done;

    do {
        done = write(fd, line, length);
    } while (done < 0 && errno == EINTR);
}

void log_line(enum log_level level, const char *format, ...)
{
    char line[LINE_MAX_BYTES], stamp[32];
    struct timespec now;
    va_list args;
    size_t used;
    int saved = errno;
    int fd;

    if ((int)level < atomic_load(&log_threshold))
        return;
    clock_gettime(CLOCK_REALTIME, &now);
    text_time((int64_t)now.tv_sec * 1000000000 + now.tv_nsec, stamp, sizeof stamp);
    snprintf(line, sizeof line, "%s %s %s: ", stamp, LEVELS[level], atomic_load(&log_who));
    used = strlen(line);
    va_start(args, format);
    vsnprintf(line + used, sizeof line - used - 1, format, args);
    va_end(args);
    for (char *p = line + used; *p != '\0'; p++) {
        if ((unsigned char)*p < ' ')
            *p = ' '; /* one record is one line, whatever a peer sent */
    }
    used = strlen(line);
    line[used++] = '\n';
    put(STDERR_FILENO, line, used);
    fd = atomic_load(&log_extra_fd);
    if (fd >= 0)
        put(fd, line, used);
    errno = saved;
}

void log_error(const char *context, const struct error *err)
{
    char text[ERROR_LINE_MAX];

    log_line(LOG_ERR, "%s: %s: %s", context, error_name(err->code), error_describe(err, text, sizeof text));
}
