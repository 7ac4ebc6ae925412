/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * job: campaign file to plan.
 */
#include "daemon/job.h"

#include <string.h>

#include "chip/profile.h"

void job_close(struct job *job)
{
    plan_free(job->plan);
    assets_close(job->assets);
    campaign_free(job->campaign);
    profile_free(job->own_profile);
    bench_file_free(job->own_bench_file);
    *job = (struct job){ .plan = NULL };
}

static int read_campaign(const struct job_request *request, struct job *job, struct json_problems *problems,
                         struct error *err)
{
    cJSON *root = NULL;
    int code;

    if (request->path != NULL)
        return campaign_load(request->path, &job->campaign, problems, err);
    code = json_parse(request->text, strlen(request->text), &root, err);
    if (code != 0)
        return code;
    code = campaign_read(root, "campaign", &job->campaign, problems, err);
    cJSON_Delete(root);
    return code;
}

/* The bench that the campaign names: the daemon's own, or read for checking only. */
static int find_bench(const struct job_request *request, struct job *job, struct json_problems *problems,
                      struct error *err)
{
    int code;

    if (request->bench_file != NULL) {
        if (strcmp(job->campaign->bench, request->bench_path) != 0 &&
            strcmp(job->campaign->bench, request->bench_file->name) != 0)
            return error_set(
                err, ERR_INVALID,
                "/bench: the campaign is for %s, this daemon owns %s (%s); start a daemon with --bench %s",
                job->campaign->bench, request->bench_file->name, request->bench_path, job->campaign->bench);
        job->bench_file = request->bench_file;
        job->profile = request->profile;
        return 0;
    }
    code = bench_file_load(job->campaign->bench, &job->own_bench_file, problems, err);
    if (code != 0)
        return error_prefix(err, "/bench");
    code = profile_load(job->own_bench_file->profile_path, &job->own_profile, err);
    if (code != 0)
        return error_prefix(err, "/bench/chip/profile");
    job->bench_file = job->own_bench_file;
    job->profile = job->own_profile;
    return 0;
}

int job_open(const struct job_request *request, struct job *ret_job, struct json_problems *problems,
             struct error *err)
{
    struct job job = { .backend = request->backend };
    int code = read_campaign(request, &job, problems, err);

    if (code == 0)
        code = find_bench(request, &job, problems, err);
    if (code == 0)
        code = assets_open(job.campaign, job.profile, &job.assets, problems, err);
    if (code == 0) {
        job.seed = request->seed != 0 ? request->seed : job.campaign->seed;
        struct plan_inputs inputs = {
            .campaign = job.campaign,
            .bench = job.bench_file,
            .profile = job.profile,
            .assets = job.assets,
            .backend = job.backend,
            .seed = job.seed,
        };
        code = plan_build(&inputs, &job.plan, problems, err);
    }
    if (code == 0 && problems->count > 0)
        code = json_problems_error(problems, request->path != NULL ? request->path : "campaign", err);
    if (code != 0) {
        job_close(&job);
        return code;
    }
    *ret_job = job;
    return 0;
}
