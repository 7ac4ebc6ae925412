/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * job: campaign file to plan.
 */
#include "daemon/job.h"

#include <stdio.h>
#include <stdlib.h>
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
    int code = request->path != NULL ? json_load(request->path, &root, err)
                                     : json_parse(request->text, strlen(request->text), &root, err);

    if (code == 0)
        code = campaign_read_partly(root, "campaign", &job->campaign, problems, err);
    cJSON_Delete(root);
    return code;
}

static void add_problem(struct json_problems *problems, const char *pointer, const char *hint,
                        const char *reason)
{
    struct json_at at = { .problems = problems };

    snprintf(at.pointer, sizeof at.pointer, "%s", pointer);
    json_problem(&at, hint, "%.230s", reason);
}

/* The bench file that the campaign names, for checking only. Its own mistakes get pointers below /bench. */
static int read_bench(struct job *job, struct json_problems *problems, struct error *err)
{
    const char *path = job->campaign->bench;
    struct json_problems *own = calloc(1, sizeof *own);
    struct error why = { .code = 0 };

    if (own == NULL)
        return error_set(err, ERR_MEMORY, "no memory to check %s", path);
    int code = bench_file_load(path, &job->own_bench_file, own, &why);
    if (code != 0 && own->count == 0)
        add_problem(problems, "/bench", "", why.message);
    for (int i = 0; i < own->count && i < JSON_PROBLEMS_MAX; i++) {
        char pointer[JSON_POINTER_MAX], reason[300];
        snprintf(pointer, sizeof pointer, "/bench%.*s", JSON_POINTER_MAX - 8, own->item[i].pointer);
        snprintf(reason, sizeof reason, "%.60s: %.230s", path, own->item[i].reason);
        add_problem(problems, pointer, own->item[i].hint, reason);
    }
    free(own);
    if (code == 0) {
        code = profile_load(job->own_bench_file->profile_path, &job->own_profile, &why);
        if (code != 0)
            add_problem(problems, "/bench/chip/profile", "", why.message);
    }
    job->bench_file = job->own_bench_file;
    job->profile = job->own_profile;
    return 0;
}

/* The daemon's own bench, or the one that the campaign names. Mistakes become problems; job->profile is NULL
 * where none could be read. */
static int find_bench(const struct job_request *request, struct job *job, struct json_problems *problems,
                      struct error *err)
{
    if (job->campaign->bench[0] == '\0')
        return 0; /* missing: reported */
    if (request->bench_file == NULL)
        return read_bench(job, problems, err);
    job->bench_file = request->bench_file;
    job->profile = request->profile;
    if (strcmp(job->campaign->bench, request->bench_path) != 0 &&
        strcmp(job->campaign->bench, request->bench_file->name) != 0) {
        char reason[240];
        snprintf(
            reason, sizeof reason,
            "the campaign is for %.60s, this daemon owns %.40s (%.60s); start a daemon with --bench for it",
            job->campaign->bench, request->bench_file->name, request->bench_path);
        add_problem(problems, "/bench", request->bench_path, reason);
    }
    return 0;
}

/* As far as the files could be read; all mistakes are found before one of them is returned. */
static int make_plan(struct job *job, uint64_t seed, struct json_problems *problems, struct error *err)
{
    int code = assets_open(job->campaign, job->profile, &job->assets, problems, err);

    if (code != 0)
        return code;
    job->seed = seed != 0 ? seed : job->campaign->seed;
    struct plan_inputs inputs = {
        .campaign = job->campaign,
        .bench = job->bench_file,
        .profile = job->profile,
        .assets = job->assets,
        .backend = job->backend,
        .seed = job->seed,
    };
    return plan_build(&inputs, &job->plan, problems, err);
}

int job_open(const struct job_request *request, struct job *ret_job, struct json_problems *problems,
             struct error *err)
{
    struct job job = { .backend = request->backend };
    int code = read_campaign(request, &job, problems, err);

    if (code == 0)
        code = find_bench(request, &job, problems, err);
    if (code == 0 && job.profile != NULL)
        code = make_plan(&job, request->seed, problems, err);
    if ((code == 0 || code == ERR_INVALID) && problems->count > 0)
        code = json_problems_error(problems, request->path != NULL ? request->path : "campaign", err);
    if (code != 0) {
        job_close(&job);
        return code;
    }
    *ret_job = job;
    return 0;
}
