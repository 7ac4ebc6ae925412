/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * log: formats one line and writes it with one write(2) per descriptor, or one datagram to the journal. Its
 * settings are the only state of the process that is not passed as a context; those that change while threads
 * run are atomic, but for the run's name, which has a lock of its own. */
#include "daemon/base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "daemon/base/journal.h"
#include "daemon/base/text.h"

enum { LINE_MAX_BYTES = 1024, ENTRY_MAX_BYTES = 2048, RUN_MAX = 32 };

static const struct {
    const char *name;
    int priority; /* of syslog, as the journal wants it */
} levels[] = {
    [LOG_DEBUG] = { "debug", 7 },     [LOG_INFO] = { "info", 6 }, [LOG_NOTICE] = { "notice", 5 },
    [LOG_WARNING] = { "warning", 4 }, [LOG_ERR] = { "error", 3 },
};

static _Atomic(const char *) log_who = "nightbench";
static _Atomic int log_threshold = LOG_INFO;
static _Atomic int log_extra_fd = -1;
static _Atomic int log_journal_fd = -1;
static char log_journal_path[108];
static pthread_mutex_t log_run_lock = PTHREAD_MUTEX_INITIALIZER; /* guards log_run; held for a copy */
static char log_run[RUN_MAX];

void log_init(const char *who, enum log_level level)
{
    atomic_store(&log_who, who);
    atomic_store(&log_threshold, (int)level);
    if (journal_is(STDERR_FILENO))
        log_to_journal(JOURNAL_SOCKET);
}

void log_to_journal(const char *socket_path)
{
    int old = atomic_exchange(&log_journal_fd, -1);

    if (old >= 0)
        close(old);
    if (socket_path == NULL)
        return;
    snprintf(log_journal_path, sizeof log_journal_path, "%s", socket_path);
    atomic_store(&log_journal_fd, socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
}

void log_set_fd(int fd)
{
    atomic_store(&log_extra_fd, fd);
}

void log_set_run(const char *ulid)
{
    pthread_mutex_lock(&log_run_lock);
    snprintf(log_run, sizeof log_run, "%s", ulid);
    pthread_mutex_unlock(&log_run_lock);
}

/* A log that cannot be written has nobody to tell: the rest of a line is dropped. */
static void put(int fd, const char *line, size_t length)
{
    ssize_t done;

    do {
        done = write(fd, line, length);
    } while (done < 0 && errno == EINTR);
}

struct entry {
    char text[ENTRY_MAX_BYTES];
    size_t length;
};

/* A field without a value is left out, and so is one that does not fit: the message came first. */
static void add_field(struct entry *entry, const char *name, const char *value)
{
    size_t room = sizeof entry->text - entry->length;

    if (value == NULL || value[0] == '\0')
        return;
    int length = snprintf(entry->text + entry->length, room, "%s=%s\n", name, value);
    if (length < 0 || (size_t)length >= room)
        return;
    for (char *c = entry->text + entry->length; c < entry->text + entry->length + length - 1; c++) {
        if ((unsigned char)*c < ' ')
            *c = ' '; /* a newline would begin another field */
    }
    entry->length += (size_t)length;
}

static void add_number(struct entry *entry, const char *name, double value)
{
    char text[40];

    snprintf(text, sizeof text, "%.15g", value);
    add_field(entry, name, text);
}

static bool to_journal(const struct log_place *place, enum log_level level, const struct log_about *about,
                       const char *message)
{
    const struct error *error = about != NULL ? about->error : NULL;
    struct entry entry = { .length = 0 };
    char run[RUN_MAX];
    int fd = atomic_load(&log_journal_fd);

    if (fd < 0)
        return false;
    pthread_mutex_lock(&log_run_lock);
    memcpy(run, log_run, sizeof run);
    pthread_mutex_unlock(&log_run_lock);
    add_field(&entry, "MESSAGE", message);
    add_number(&entry, "PRIORITY", levels[level].priority);
    add_field(&entry, "SYSLOG_IDENTIFIER", atomic_load(&log_who));
    add_field(&entry, "CODE_FILE", place->file);
    add_number(&entry, "CODE_LINE", place->line);
    add_field(&entry, "CODE_FUNC", place->function);
    add_field(&entry, "NIGHTBENCH_RUN", run);
    if (about != NULL) {
        add_field(&entry, "NIGHTBENCH_INSTRUMENT",
                  about->instrument == NULL && error != NULL ? error->instrument : about->instrument);
        add_field(&entry, "NIGHTBENCH_CHANNEL", about->channel);
    }
    if (error != NULL) {
        add_field(&entry, "NIGHTBENCH_CODE", error_name(error->code));
        add_field(&entry, "NIGHTBENCH_COMMAND", error->command);
        if (error->elapsed_ns > 0)
            add_number(&entry, "NIGHTBENCH_ELAPSED_MS", (double)error->elapsed_ns / 1e6);
    }
    return journal_send(fd, log_journal_path, entry.text, entry.length);
}

void log_write(const struct log_place *place, enum log_level level, const struct log_about *about,
               const char *format, ...)
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
    snprintf(line, sizeof line, "%s %s %s: ", stamp, levels[level].name, atomic_load(&log_who));
    const char *message = line + strlen(line);
    used = strlen(line);
    va_start(args, format);
    vsnprintf(line + used, sizeof line - used - 1, format, args);
    va_end(args);
    for (char *p = line + used; *p != '\0'; p++) {
        if ((unsigned char)*p < ' ')
            *p = ' '; /* one record is one line, whatever a peer sent */
    }
    bool entered = to_journal(place, level, about, message);
    used = strlen(line);
    line[used++] = '\n';
    if (!entered)
        put(STDERR_FILENO, line, used);
    fd = atomic_load(&log_extra_fd);
    if (fd >= 0)
        put(fd, line, used);
    errno = saved;
}

void log_failure(const struct log_place *place, const char *context, const struct error *err)
{
    struct log_about about = { .error = err };
    char text[ERROR_LINE_MAX];

    log_write(place, LOG_ERR, &about, "%s: %s: %s", context, error_name(err->code),
              error_describe(err, text, sizeof text));
}
