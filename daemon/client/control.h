/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * control: watching with the signals of a terminal; where the keeper is reached.
 */
#ifndef DAEMON_CLIENT_CONTROL_H
#define DAEMON_CLIENT_CONTROL_H

#include <signal.h>

#include "daemon/base/json.h"
#include "daemon/client/args.h"
#include "daemon/options.h"

enum { CONTROL_PATH_MAX = OPTIONS_PATH_MAX + 32 };

/* The keeper's own socket, which lies beside the daemon's. */
int control_keeper_path(const struct args *args, char *out, size_t size, struct error *err);
/* Installs the handler of SIGINT and SIGTERM; the word becomes 1. */
const volatile sig_atomic_t *control_interrupted(void);
/* watch_run on the daemon that args name; progress goes to stderr with --json. */
int control_watch(const struct args *args, const char *run, const volatile sig_atomic_t *stop,
                  cJSON **ret_status, struct error *err);

#endif
