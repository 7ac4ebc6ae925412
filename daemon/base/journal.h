/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * journal: entries of systemd's journal in its native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL): one
 * datagram of NAME=value lines. Forty lines of our own cost less than a library that every program would have
 * to load, the keeper too. Values must not hold a newline, and an entry must fit into a datagram: those of
 * the log do.
 */
#ifndef DAEMON_BASE_JOURNAL_H
#define DAEMON_BASE_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>

#define JOURNAL_SOCKET "/run/systemd/journal/socket"

/* Is this descriptor what the service manager has connected with its journal ($JOURNAL_STREAM)? A daemon that
 * was redirected to a file still has the variable. */
bool journal_is(int fd);
/* Sends a whole entry over a datagram socket; never waits. False when it did not get there: say it elsewhere.
 */
bool journal_send(int socket_fd, const char *socket_path, const char *entry, size_t length);

#endif
