/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * documents: what the daemon tells about its bench, chip and campaigns as JSON trees. Pure but for reading
 * files; any thread.
 */
#ifndef DAEMON_DOCUMENTS_H
#define DAEMON_DOCUMENTS_H

#include "daemon/job.h"

/* Bench file, instruments with what is known of their identity, rails with their limits. */
cJSON *documents_bench(const struct bench_file *bench, const struct chip_profile *profile);
/* The chip type and, if known, the die in the socket. */
cJSON *documents_chips(const struct chip_profile *profile, const char *serial);
/* [{"path","name","title","bench","steps"} or {"path","error"}] of every *.json in a folder, sorted by path.
 */
int documents_campaigns(const char *folder, cJSON **ret, struct error *err);
/* {"ok":true} or {"ok":false,"problems":[{pointer,reason,hint}]}; with_plan adds the plan when ok;
 * "budget" is there when the campaign has a limit of time (job_budget_json). Fails only
 * when the check itself could not be made. */
int documents_check(const struct job_request *request, bool with_plan, cJSON **ret, struct error *err);
/* The same answer about a file of configs/instruments/: a dialect, or a register map. */
int documents_check_instrument(const char *path, cJSON **ret, struct error *err);
/* The same for a bench file, with all that it names. Opens no port. */
int documents_check_bench(const char *path, cJSON **ret, struct error *err);

#endif
