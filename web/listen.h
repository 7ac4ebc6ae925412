/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * listen: the Unix socket of the HTTP server: replaces a stale file, refuses to take over a living daemon's.
 */
#ifndef WEB_LISTEN_H
#define WEB_LISTEN_H

#include "daemon/base/error.h"

/* *ret_fd is bound, listening, non-blocking; the file's mode is 0600. */
int listen_unix(const char *path, int *ret_fd, struct error *err);

#endif
