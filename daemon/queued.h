/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * queued: an entry of the queue made ready to run, with the bench that this daemon owns; and the record of
 * one that could not be. */
#ifndef DAEMON_QUEUED_H
#define DAEMON_QUEUED_H

#include "daemon/job.h"
#include "daemon/sched.h"
#include "db/resume.h"

/* Mistakes go into problems (zeroed; NULL: only the first is wanted, in err). */
int queued_check(const struct sched_setup *setup, const struct job_request *request, struct job *ret_job,
                 struct json_problems *problems, struct error *err);
int queued_open(const struct sched_setup *setup, const struct queue_item *item, const char *document,
                struct job *ret_job, struct error *err);
/* A run that got no further than "validating" leaves a record with its reason, and the queue. Runner thread.
 */
int queued_record_failure(const struct sched_setup *setup, const struct queue_item *item,
                          const char *document, int64_t validating_wall_ns, const struct error *why,
                          struct error *err);
/* How long a run may take that begins now, or goes on with what `resumed` says (NULL: it is new). */
struct queued_limit {
    int64_t deadline_ns; /* bench clock; 0: none */
    double budget_s;     /* of the whole run; 0: any */
};
struct queued_limit queued_limit(const struct sched_setup *setup, const struct queue_item *item,
                                 const struct job *job, const struct resume_run *resumed);
/* "chip" (also NULL and "") or "reference". */
int queued_backend(const char *name, int *ret_backend, struct error *err);

#endif
