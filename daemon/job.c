/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * job: campaign file to plan.
 */
#include "daemon/job.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chip/profile.h"
#include "daemon/base/clock.h"
#include "daemon/base/walltime.h"
#include "daemon/bench_rules.h"
#include "instruments/interlock.h"
#include "sweeps/budget.h"

void job_close(struct job *job)
{
    plan_free(job->plan);
    assets_close(job->assets);
    campaign_free(job->campaign);
    profile_free(job->own_profile);
    bench_file_free(job->own_bench_file);
    *job = (struct job){ .plan = NULL };
}

int64_t job_until_ns(const struct campaign *campaign, int64_t after_wall_ns)
{
    int64_t until_ns = 0;

    if (campaign->until[0] == '\0' || walltime_parse(campaign->until, after_wall_ns, &until_ns, NULL) != 0)
        return 0;
    return until_ns;
}

double job_budget_s(const struct campaign *campaign, int64_t until_ns, int64_t now_wall_ns)
{
    double budget_s = campaign->time_budget_s > 0.0 ? campaign->time_budget_s : INFINITY;

    return until_ns != 0 ? fmin(budget_s, (double)(until_ns - now_wall_ns) / NS_PER_S) : budget_s;
}

cJSON *job_budget_json(const struct job *job, int64_t until_ns, int64_t begin_wall_ns)
{
    double budget_s = job_budget_s(job->campaign, until_ns, begin_wall_ns);
    cJSON *root = isfinite(budget_s) ? budget_json(job->plan, budget_s) : NULL;
    char text[40];

    if (root == NULL)
        return NULL;
    if (until_ns != 0)
        cJSON_AddStringToObject(root, "until", text_time(until_ns, text, sizeof text));
    else
        cJSON_AddNullToObject(root, "until");
    return root;
}

static int read_campaign(const struct job_request *request, struct job *job, cJSON **ret_root,
                         struct json_problems *problems, struct error *err)
{
    int code = request->path != NULL ? json_load(request->path, ret_root, err)
                                     : json_parse(request->text, strlen(request->text), ret_root, err);

    return code == 0 ? campaign_read_partly(*ret_root, "campaign", &job->campaign, problems, err) : code;
}

/* A sound campaign once more, with the rules of the bench: from here on they are its own. */
static int join_rules(struct job *job, cJSON *root, struct bench_rules *ret_rules,
                      struct json_problems *problems, struct error *err)
{
    int code = bench_rules_join(job->bench_file, root, ret_rules, err);

    if (code != 0 || ret_rules->count == 0)
        return code;
    campaign_free(job->campaign);
    job->campaign = NULL;
    return campaign_read_partly(root, "campaign", &job->campaign, problems, err);
}

static void add_problem(struct json_problems *problems, const char *pointer, const char *hint,
                        const char *reason)
{
    struct json_at at = { .problems = problems };

    snprintf(at.pointer, sizeof at.pointer, "%s", pointer);
    json_problem(&at, hint, "%.230s", reason);
}

/* Mistakes of a file that the campaign names, directly or not, below the member that names it. They are taken
 * out of `own`; where there are none, the error itself is one. */
static void take_problems(struct json_problems *problems, struct json_problems *own, const char *below,
                          const char *path, const struct error *why)
{
    if (why->code != 0 && own->count == 0)
        add_problem(problems, below, "", why->message);
    for (int i = 0; i < own->count && i < JSON_PROBLEMS_MAX; i++) {
        char pointer[JSON_POINTER_MAX], reason[300];
        snprintf(pointer, sizeof pointer, "%s%.*s", below, JSON_POINTER_MAX - 24, own->item[i].pointer);
        snprintf(reason, sizeof reason, "%.60s: %.230s", path, own->item[i].reason);
        add_problem(problems, pointer, own->item[i].hint, reason);
    }
    *own = (struct json_problems){ 0 };
}

/* A bench file that no daemon owns, for checking only, with its chip file: what the daemon would say to
 * them, and the keeper. Their mistakes get pointers below /bench. */
static int read_bench(struct job *job, const char *path, struct json_problems *problems, struct error *err)
{
    struct json_problems *own = calloc(1, sizeof *own);
    struct error why = { .code = 0 };

    if (own == NULL)
        return error_set(err, ERR_MEMORY, "no memory to check %s", path);
    int code = bench_file_load(path, &job->own_bench_file, own, &why);
    take_problems(problems, own, "/bench", path, &why);
    if (code == 0) {
        const char *chip = job->own_bench_file->profile_path;
        why = (struct error){ .code = 0 };
        code = profile_read(chip, &job->own_profile, own, &why);
        take_problems(problems, own, "/bench/chip/profile", chip, &why);
        why = (struct error){ .code = 0 };
        if (code == 0 || code == ERR_INVALID) { /* else there is no such file, which was said */
            interlocks_check_chip(job->own_bench_file, own, &why);
            take_problems(problems, own, "/bench/chip/profile", chip, &why);
        }
    }
    free(own);
    job->bench_file = job->own_bench_file;
    job->profile = job->own_profile;
    return 0;
}

/* The daemon's own bench, the one that was asked for, or the one that the campaign names. Mistakes become
 * problems; job->profile is NULL where none could be read. */
static int find_bench(const struct job_request *request, struct job *job, struct json_problems *problems,
                      struct error *err)
{
    const char *wanted = job->campaign->bench;
    bool named = request->bench_path != NULL &&
                 request->bench_path[0] != '\0'; /* not so in a daemon without a bench */
    const char *path = named ? request->bench_path : wanted;
    int code = 0;

    if (request->bench_file != NULL) {
        job->bench_file = request->bench_file;
        job->profile = request->profile;
    } else if (path[0] != '\0') { /* else it is missing, which is reported */
        code = read_bench(job, path, problems, err);
    }
    if (code == 0 && named && wanted[0] != '\0' && job->bench_file != NULL && strcmp(wanted, path) != 0 &&
        strcmp(wanted, job->bench_file->name) != 0) {
        char reason[240];
        snprintf(reason, sizeof reason,
                 "the campaign is for %.60s, not for %.40s (%.60s); a daemon for it is started with --bench",
                 wanted, job->bench_file->name, path);
        add_problem(problems, "/bench", path, reason);
    }
    return code;
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
    struct bench_rules rules = { .count = 0 };
    cJSON *root = NULL;
    int code = read_campaign(request, &job, &root, problems, err);

    if (code == 0)
        code = find_bench(request, &job, problems, err);
    if (code == 0 && problems->count == 0)
        code = join_rules(&job, root, &rules, problems, err);
    cJSON_Delete(root);
    if (code == 0 && job.profile != NULL)
        code = make_plan(&job, request->seed, problems, err);
    bench_rules_point(&rules, problems);
    if ((code == 0 || code == ERR_INVALID) && problems->count > 0)
        code = json_problems_error(problems, request->path != NULL ? request->path : "campaign", err);
    if (code != 0) {
        job_close(&job);
        return code;
    }
    *ret_job = job;
    return 0;
}
