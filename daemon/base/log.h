/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * log: lines for people on stderr, one writer per process; prefix is set once at start.
 * Thread-safe; a line is one write(2). Format: "2026-01-31T18:00:00.123Z level who: text" (plain, no colour).
 */
#ifndef DAEMON_BASE_LOG_H
#define DAEMON_BASE_LOG_H

#include "daemon/base/error.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_NOTICE, LOG_WARNING, LOG_ERR };

/* `who` must outlive the process ("nightbenchd"). Lines below `level` are dropped. */
void log_init(const char *who, enum log_level level);
/* Additionally append every line to this file descriptor (-1: none). Not closed by log. */
void log_set_fd(int fd);
void log_line(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* One line for an error: "context: code instrument 'command' after 12 ms: message". */
void log_error(const char *context, const struct error *err);

#define log_debug(...)   log_line(LOG_DEBUG, __VA_ARGS__)
#define log_info(...)    log_line(LOG_INFO, __VA_ARGS__)
#define log_notice(...)  log_line(LOG_NOTICE, __VA_ARGS__)
#define log_warning(...) log_line(LOG_WARNING, __VA_ARGS__)

#endif
