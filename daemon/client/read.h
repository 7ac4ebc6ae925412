/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * read: printing documents, shared by the commands that look and the one that runs.
 */
#ifndef DAEMON_CLIENT_READ_H
#define DAEMON_CLIENT_READ_H

#include "daemon/client/source.h"

/* Prints a document as JSON or through show. */
int read_print(struct source *source, const char *path, bool json, void (*show)(const cJSON *tree, FILE *out),
               struct error *err);
/* The whole of a command that looks: asks, prints, tells what failed. Returns the exit code. */
int read_document(const struct args *args, const char *path, void (*show)(const cJSON *tree, FILE *out));
/* Prints a run with its steps, points and reports. */
int read_show_run(struct source *source, const char *run, bool *ret_all_pass, char *state, size_t size,
                  struct error *err);

#endif
