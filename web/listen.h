/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * listen: the sockets of the HTTP server. Bound before a server thread runs, so that the port is known to it.
 */
#ifndef WEB_LISTEN_H
#define WEB_LISTEN_H

#include "daemon/base/error.h"

/* 127.0.0.1, port 0: any free one. ERR_CONFLICT when it is taken. */
int listen_tcp(int port, int *ret_fd, int *ret_port, struct error *err);
/* Raises this process's limit of open files to `files`, or as near as it may. Nothing here uses select(2). */
void listen_raise_limit(unsigned files);
/* Replaces a stale file, refuses to take over a living daemon's (ERR_CONFLICT). *ret_fd is bound, listening,
 * non-blocking; the file's mode is 0600. */
int listen_unix(const char *path, int *ret_fd, struct error *err);

#endif
