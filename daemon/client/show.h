/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * show: the API's documents as text for people. Pure: a tree in, lines out; a member that is missing prints
 * as "-".
 */
#ifndef DAEMON_CLIENT_SHOW_H
#define DAEMON_CLIENT_SHOW_H

#include <stdio.h>

#include "daemon/base/json.h"

/* Members of a tree with a default: for everybody who reads documents here. */
const char *show_text(const cJSON *tree, const char *name);
double show_number(const cJSON *tree, const char *name); /* NaN when it is none */
bool show_true(const cJSON *tree, const char *name);

void show_status(const cJSON *status, FILE *out);
void show_runs(const cJSON *runs, FILE *out);
void show_run(const cJSON *run, FILE *out);
void show_points(const cJSON *points, FILE *out);
/* Events of kind "report", as they were written. */
/* What went wrong, of the same document (show_errors.c). */
void show_errors(const cJSON *events, FILE *out);
void show_reports(const cJSON *events, FILE *out);
void show_problems(const cJSON *answer, FILE *out);
/* What does not fit into the "budget" of a check, plan or start; nothing where there is none. */
void show_budget(const cJSON *tree, FILE *out);
void show_plan(const cJSON *plan, FILE *out);
/* How its networks lie on the chip (show_networks.c). */
void show_networks(const cJSON *plan, FILE *out);
void show_compare(const cJSON *compare, FILE *out);

#endif
