/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * worker: the threads that answer what may take longer than a millisecond. Each has a read-only handle on the
 * store of its own, opened when it is first needed.
 */
#ifndef WEB_WORKER_H
#define WEB_WORKER_H

#include "daemon/base/error.h"

enum { WORKER_THREADS = 2, WORKER_QUEUE_MAX = 64 };

struct query;
struct worker;

struct worker_job {
    struct worker_job *next;
    /* In a worker's thread. query is NULL when the store could not be opened: err says why then. */
    void (*run)(struct worker_job *job, struct query *query, const struct error *err);
};

int worker_open(const char *db_path, struct worker **ret_worker, struct error *err);
/* Runs what is queued, then ends the threads. NULL is a no-op. */
void worker_close(struct worker *worker);
/* False when the queue is full or closing; the job is the caller's again then. Any thread. */
bool worker_submit(struct worker *worker, struct worker_job *job);

#endif
