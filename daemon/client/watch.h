/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * watch: follows a run by the event stream until it ends: a progress line that is redrawn on a terminal,
 * plain lines elsewhere. Asks for the status once a second as well, so that a lost event costs a second and
 * not the end.
 */
#ifndef DAEMON_CLIENT_WATCH_H
#define DAEMON_CLIENT_WATCH_H

#include <signal.h>
#include <stdio.h>

#include "daemon/client/remote.h"

enum { WATCH_LINE_MAX = 240, WATCH_INTERRUPTED = 1 };

/* Follows a run to its end; run "": the one under way.
 * remote carries the stream, asking the questions in between: both lead to the same daemon. interrupted: set
 * by a signal handler, ends the watching with WATCH_INTERRUPTED. On 0 *ret_status is the status document of
 * that run's end: caller deletes. */
int watch_run(struct remote *remote, struct remote *asking, const char *run,
              const volatile sig_atomic_t *interrupted, FILE *out, cJSON **ret_status, struct error *err);
/* Exit code of the end state that a status or run document names. */
int watch_exit_of(const char *state);
/* "[####------]  41 %  step 5 of 13 accuracy  points 11 of 27  left 3 min 20 s" from a progress document. */
char *watch_line(const cJSON *progress, int width, char out[WATCH_LINE_MAX]);

#endif
