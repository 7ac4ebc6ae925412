/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * job: a campaign made ready to run: read, its files opened, its plan built. The same path serves check, plan
 * and start, so that what was checked is what runs.
 */
#ifndef DAEMON_JOB_H
#define DAEMON_JOB_H

#include "sweeps/plan.h"

struct job_request {
    const char *path, *text; /* one of them NULL */
    int backend;             /* enum campaign_backend */
    uint64_t seed;           /* 0: the campaign's */
    /* The daemon's bench. NULL: the file bench_path is read instead, or where that is NULL, too, the one that
     * the campaign names (nothing is touched). */
    const struct bench_file *bench_file;
    const struct chip_profile *profile;
    const char *bench_path;
};

struct job {
    struct campaign *campaign;
    struct assets *assets;
    struct plan *plan;
    const struct bench_file *bench_file;
    const struct chip_profile *profile;
    struct bench_file *own_bench_file; /* set when the job read them itself */
    struct chip_profile *own_profile;
    uint64_t seed;
    int backend;
};

/* Every mistake goes into problems (the caller's, zeroed); the return is ERR_INVALID then and err has the
 * first. */
int job_open(const struct job_request *request, struct job *ret_job, struct json_problems *problems,
             struct error *err);
/* A zeroed job is a no-op. */
void job_close(struct job *job);

#endif
