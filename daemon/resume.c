/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * resume: the store's side of a run's history. */
#include "daemon/resume.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "sweeps/judge.h"

/* The readings of one step of a point. */
struct wanted {
    const char *prefix; /* before their names */
    struct judged *judged;
};

static void take_value(void *context, const char *channel, double value, double uncertainty)
{
    const struct wanted *wanted = context;
    size_t length = strlen(wanted->prefix);
    bool is_its = strncasecmp(channel, wanted->prefix, length) == 0; /* a channel's name is in lower case */
    int quantity = is_its ? quantity_from_name(channel + length) : -1;

    if (quantity < 0)
        return;
    wanted->judged->value[quantity] = value;
    wanted->judged->uncertainty[quantity] = uncertainty;
}

static int values(void *context, const struct run_done *done, const char *prefix, struct judged *judged,
                  struct error *err)
{
    const struct resume *resume = context;
    struct wanted wanted = { prefix, judged };

    return resume_values(resume->query, done->key, take_value, &wanted, err);
}

static int samples(void *context, const struct run_done *done, int first, struct record_sample *ret_sample,
                   int max, int *ret_count, struct error *err)
{
    const struct resume *resume = context;

    return resume_samples(resume->query, done->key, first, ret_sample, max, ret_count, err);
}

static int calibrations(void *context, const char *kind, run_calibration_fn each, void *each_context,
                        struct error *err)
{
    const struct resume *resume = context;

    return resume_calibrations(resume->query, &resume->run, kind, each, each_context, err);
}

static int take_points(struct resume *resume, struct error *err)
{
    int64_t sample_count = 0;
    int ended = 0;

    resume->done = calloc((size_t)resume->count + 1, sizeof *resume->done);
    if (resume->done == NULL)
        return error_set(err, ERR_MEMORY, "no memory for %d points", resume->count);
    for (int i = 0; i < resume->count; i++) {
        const struct resume_point *point = &resume->point[i];
        resume->done[i] = (struct run_done){ .step = point->step,
                                             .cell = point->cell,
                                             .attempts = point->attempts,
                                             .verdict = point->verdict,
                                             .open = point->open,
                                             .samples = point->samples,
                                             .order = point->order,
                                             .begin_ns = point->begin_time_ns,
                                             .key = point->attempt_id };
        ended += !point->open;
        sample_count += point->samples;
    }
    snprintf(resume->details, sizeof resume->details, "{\"points\":%d,\"samples\":%lld}", ended,
             (long long)sample_count);
    return 0;
}

/* What the run had found before it changed it; none: it had not come to that. */
static int take_chamber(struct resume *resume, struct error *err)
{
    char *text = NULL;
    cJSON *root = NULL;

    int rc = resume_event(resume->query, &resume->run, "chamber", &text, err);
    if (rc < 0)
        return rc == ERR_NOT_FOUND ? 0 : rc;
    rc = json_parse(text, strlen(text), &root, err);
    free(text);
    if (rc < 0)
        return error_prefix(err, "run %s: its chamber", resume->run.ulid);
    const cJSON *set_c = cJSON_GetObjectItemCaseSensitive(root, "set_c");
    resume->history.chamber =
        (struct run_chamber){ .known = cJSON_IsNumber(set_c),
                              .was_on = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(root, "on")),
                              .set_c = cJSON_IsNumber(set_c) ? set_c->valuedouble : NAN };
    cJSON_Delete(root);
    return 0;
}

static int check_patience(const struct resume *resume, struct error *err)
{
    int tries = 0;

    int rc = resume_fruitless(resume->query, &resume->run, resume->details, &tries, err);
    if (rc == 0 && tries >= RESUME_FRUITLESS_MAX)
        rc = error_set(err, ERR_CONFLICT,
                       "run %s has been resumed %d times and recorded nothing: it is left as it is",
                       resume->run.ulid, tries);
    return rc;
}

int resume_open(const char *db_path, struct resume **ret_resume, struct error *err)
{
    struct resume *resume = calloc(1, sizeof *resume);

    if (resume == NULL)
        return error_set(err, ERR_MEMORY, "no memory to resume a run");
    int rc = query_open(db_path, &resume->query, err);
    if (rc == 0)
        rc = resume_find(resume->query, &resume->run, err);
    if (rc == 0)
        rc = resume_points(resume->query, &resume->run, &resume->point, &resume->count, err);
    if (rc == 0)
        rc = take_points(resume, err);
    if (rc == 0)
        rc = resume_steps(resume->query, &resume->run, &resume->history.steps_ended, err);
    if (rc == 0)
        rc = take_chamber(resume, err);
    if (rc == 0)
        rc = check_patience(resume, err);
    if (rc < 0) {
        resume_close(resume);
        return rc;
    }
    resume->history.context = resume;
    resume->history.begin_ns = resume->run.begin_time_ns;
    resume->history.done = resume->done;
    resume->history.done_count = resume->count;
    resume->history.chip_serial = resume->run.chip_serial;
    resume->history.details = resume->details;
    resume->history.values = values;
    resume->history.samples = samples;
    resume->history.calibrations = calibrations;
    *ret_resume = resume;
    return 0;
}

static const char *hash_of_network(const struct assets *assets)
{
    return assets->network_count > 0 ? assets->network[0].network_hash : "";
}

static const char *hash_of_dataset(const struct assets *assets)
{
    return assets->dataset_count > 0 ? assets->dataset[0].hash : "";
}

int resume_job(const struct resume *resume, const struct job_request *bench, struct job *ret_job,
               struct error *err)
{
    const struct resume_run *run = &resume->run;
    struct json_problems *problems = calloc(1, sizeof *problems);
    struct job_request request = *bench;
    struct job job;

    if (problems == NULL)
        return error_set(err, ERR_MEMORY, "no memory to check the campaign");
    request.path = NULL;
    request.text = run->campaign_json;
    request.seed = run->seed;
    request.backend = strcmp(run->backend, "reference") == 0 ? CAMPAIGN_REFERENCE : CAMPAIGN_CHIP;
    int rc = job_open(&request, &job, problems, err);
    free(problems);
    if (rc < 0)
        return rc;
    const char *changed = strcmp(job.plan->hash, run->plan_hash) != 0                   ? "its plan"
                          : strcmp(hash_of_network(job.assets), run->network_hash) != 0 ? "its network"
                          : strcmp(hash_of_dataset(job.assets), run->dataset_hash) != 0 ? "its data set"
                                                                                        : NULL;
    if (changed != NULL) {
        job_close(&job);
        return error_set(err, ERR_CONFLICT, "run %s cannot go on: %s is not what it was when it began",
                         run->ulid, changed);
    }
    *ret_job = job;
    return 0;
}

void resume_item(const struct resume *resume, const struct job *job, struct queue_item *ret_item)
{
    const struct resume_run *run = &resume->run;
    struct queue_item item = { .seed = run->seed };

    snprintf(item.ulid, sizeof item.ulid, "%s", run->ulid);
    snprintf(item.campaign, sizeof item.campaign, "%s", job->campaign->name);
    snprintf(item.backend, sizeof item.backend, "%s", run->backend);
    snprintf(item.operator_name, sizeof item.operator_name, "%s", run->operator_name);
    snprintf(item.tags, sizeof item.tags, "%s", run->tags);
    *ret_item = item;
}

void resume_words(const struct resume_run *run, int *ret_command, int *ret_pause)
{
    static const struct {
        const char *state, *reason; /* reason "": any */
        int command, pause;
    } words[] = { { "stopping", RUN_WORD_ABORT, RUN_ABORT, RUN_PAUSE_GO },
                  { "stopping", RUN_WORD_ESTOP, RUN_ESTOP, RUN_PAUSE_GO },
                  { "stopping", "", RUN_STOP, RUN_PAUSE_GO },
                  { "pausing", "", RUN_GO, RUN_PAUSE_DARK },
                  { "paused", "", RUN_GO, RUN_PAUSE_DARK },
                  { "held", "", RUN_GO, RUN_PAUSE_HELD } };

    *ret_command = RUN_GO;
    *ret_pause = RUN_PAUSE_GO;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strcmp(run->state, words[i].state) != 0 ||
            (words[i].reason[0] != '\0' && strcmp(run->reason, words[i].reason) != 0))
            continue;
        *ret_command = words[i].command;
        *ret_pause = words[i].pause;
        return;
    }
}

int resume_pending(const char *db_path, char ret_ulid[ULID_TEXT], bool *ret_waited, struct error *err)
{
    struct query *query = NULL;
    struct resume_run run;
    int command, pause;

    int rc = query_open(db_path, &query, err);
    if (rc == 0)
        rc = resume_find(query, &run, err);
    if (rc == 0) {
        memcpy(ret_ulid, run.ulid, ULID_TEXT);
        resume_words(&run, &command, &pause);
        *ret_waited = pause != RUN_PAUSE_GO;
        resume_run_free(&run);
    }
    query_close(query);
    return rc;
}

void resume_close(struct resume *resume)
{
    if (resume == NULL)
        return;
    query_close(resume->query);
    resume_run_free(&resume->run);
    free(resume->point);
    free(resume->done);
    free(resume);
}
