/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * spawn: starts a helper program from beside this one and waits for its READY line. Helpers get a process
 * group of their own: they must outlive the daemon (the keeper) or its death must not touch them (the
 * simulated world), and a Ctrl-C is the daemon's. Not a session: where the kernel shares processors between
 * sessions first (sched(7), autogroup) a daemon and its simulated bench would be two that wait for each
 * other. */
#ifndef DAEMON_SPAWN_H
#define DAEMON_SPAWN_H

#include <stddef.h>

#include "daemon/base/error.h"

enum { SPAWN_LINE_MAX = 512 };

/* Path of a program in the folder of the running one. */
int spawn_sibling(const char *program, char *out, size_t size, struct error *err);
/* argv[0] is a path. Standard error goes to log_path (appended), standard input is empty. Waits at most host
 * timeout_s for a line that starts with "READY" on its standard output, given without newline in ret_line
 * (SPAWN_LINE_MAX, may be NULL). When it ends or stays silent before, the message has the last lines of its
 * log. The child is never waited for here: ret_pid. */
int spawn_ready(char *const argv[], const char *log_path, double timeout_s, int *ret_pid, char *ret_line,
                struct error *err);

#endif
