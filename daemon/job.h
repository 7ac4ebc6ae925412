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
/* Bench seconds that a run beginning now may take: what the campaign allows, or is left until until_ns (wall
 * time; 0: no such time), whichever is less. INFINITY: as long as it takes. Negative: too late. */
double job_budget_s(const struct campaign *campaign, int64_t until_ns, int64_t now_wall_ns);
/* The campaign's own "until", seen from a moment; 0: it has none. */
int64_t job_until_ns(const struct campaign *campaign, int64_t after_wall_ns);
/* What fits into that: {"until":ISO|null, and as budget_json}; NULL when there is no such limit, or no
 * memory. */
cJSON *job_budget_json(const struct job *job, int64_t until_ns, int64_t begin_wall_ns);
/* A zeroed job is a no-op. */
void job_close(struct job *job);

#endif
