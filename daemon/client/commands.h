/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * commands: what `nightbench` can do, as a table.
 */
#ifndef DAEMON_CLIENT_COMMANDS_H
#define DAEMON_CLIENT_COMMANDS_H

#include "daemon/client/args.h"
#include "daemon/client/remote.h"

/* Terminated by a row without a name. */
extern const struct args_command client_commands[];

/* Prints "nightbench: message" and returns the exit code of the error. */
int commands_fail(const struct error *err);
/* One line, or indented. */
void commands_print_json(const cJSON *tree, bool indented);
/* Body of a start: {"campaign": <the file, unless NULL>, "seed": ...}; checked to be JSON. Caller frees with
 * strbuf_free. */
int commands_start_body(const struct args *args, const char *path, bool now, struct strbuf *ret,
                        struct error *err);
/* A request that queues a run; *ret is its entry, with "run": caller deletes. */
int commands_start(struct remote *remote, const struct args *args, const char *path, bool now, cJSON **ret,
                   struct error *err);

/* Commands with a file of their own: check.c, instrument.c, run.c, control.c, read.c, audit.c, token.c. */
int do_check(const struct args *args);
int do_plan(const struct args *args);
int do_scan(const struct args *args);
int do_instrument(const struct args *args);
int do_start(const struct args *args);
int do_queue(const struct args *args);
int do_run(const struct args *args);
int do_watch(const struct args *args);
int do_pause(const struct args *args);
int do_resume(const struct args *args);
int do_stop(const struct args *args);
int do_abort(const struct args *args);
int do_estop(const struct args *args);
int do_clear(const struct args *args);
int do_status(const struct args *args);
int do_runs(const struct args *args);
int do_show(const struct args *args);
int do_export(const struct args *args);
int do_compare(const struct args *args);
int do_backup(const struct args *args);
int do_audit(const struct args *args);
int do_token(const struct args *args);
int do_login(const struct args *args);

#endif
