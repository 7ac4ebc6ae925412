/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * log: lines for people on stderr, one writer per process; prefix is set once at start. Thread-safe; a line
 * is one write(2). Format: "2026-01-31T18:00:00.123Z level who: text" (plain, no colour). Where stderr is the
 * journal, a line is one entry of it instead, with fields: `journalctl NIGHTBENCH_RUN=...
 * NIGHTBENCH_INSTRUMENT=psu1 PRIORITY=4`.
 */
#ifndef DAEMON_BASE_LOG_H
#define DAEMON_BASE_LOG_H

#include "daemon/base/error.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_NOTICE, LOG_WARNING, LOG_ERR };

struct log_place {
    const char *file, *function;
    int line;
};
/* What a line is about, for the journal; NULL: nothing in particular. */
struct log_about {
    const char *instrument, *channel;
    const struct error *error;
};

/* `who` must outlive the process ("nightbenchd"). Lines below `level` are dropped. Before other threads
 * start. */
void log_init(const char *who, enum log_level level);
/* log_init has done this where stderr is the journal. socket_path: of the journal; NULL ends it. */
void log_to_journal(const char *socket_path);
/* Additionally append every line to this file descriptor (-1: none). Not closed by log. */
void log_set_fd(int fd);
/* The run that lines of this process belong to from now on; "" none. Copied. */
void log_set_run(const char *ulid);

void log_write(const struct log_place *place, enum log_level level, const struct log_about *about,
               const char *format, ...) __attribute__((format(printf, 4, 5)));
/* One line for an error: "context: code instrument 'command' after 12 ms: message". */
void log_failure(const struct log_place *place, const char *context, const struct error *err);

#define LOG_HERE                    (&(const struct log_place){ __FILE__, __func__, __LINE__ })
#define log_line(level, ...)        log_write(LOG_HERE, level, NULL, __VA_ARGS__)
#define log_with(level, about, ...) log_write(LOG_HERE, level, about, __VA_ARGS__)
#define log_error(context, err)     log_failure(LOG_HERE, context, err)
#define log_debug(...)              log_line(LOG_DEBUG, __VA_ARGS__)
#define log_info(...)               log_line(LOG_INFO, __VA_ARGS__)
#define log_notice(...)             log_line(LOG_NOTICE, __VA_ARGS__)
#define log_warning(...)            log_line(LOG_WARNING, __VA_ARGS__)

#endif
