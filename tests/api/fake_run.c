/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * fake_run: a run that counts points in a thread, and what can be done to it.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/base/clock.h"
#include "tests/api/fake.h"

enum { POINTS = 20 };

static int fake_status(void *context, cJSON **ret, struct error *err)
{
    struct fake *fake = context;
    cJSON *root = cJSON_CreateObject();

    (void)err;
    pthread_mutex_lock(&fake->lock);
    cJSON_AddStringToObject(root, "state", fake->state);
    cJSON_AddBoolToObject(root, "busy", fake->busy);
    cJSON_AddStringToObject(root, "run", fake->ulid);
    cJSON_AddStringToObject(root, "campaign", "fake");
    cJSON_AddStringToObject(root, "backend", "chip");
    cJSON_AddStringToObject(root, "chip_serial", "W1-0-0");
    cJSON_AddStringToObject(root, "bench", "fake-bench");
    cJSON_AddBoolToObject(root, "simulated", true);
    cJSON_AddStringToObject(root, "clock", "real");
    cJSON_AddStringToObject(root, "build", "test");
    json_add_int64(root, "time_ns", clock_host_now());
    cJSON *progress = cJSON_AddObjectToObject(root, "progress");
    cJSON_AddStringToObject(progress, "kind", "sweep");
    cJSON_AddStringToObject(progress, "name", "counting");
    json_add_number(progress, "step", 0);
    json_add_number(progress, "steps", 1);
    json_add_number(progress, "point", fake->done);
    json_add_number(progress, "points", POINTS);
    json_add_number(progress, "points_done", fake->done);
    json_add_number(progress, "points_total", POINTS);
    json_add_number(progress, "samples_done", 0);
    json_add_number(progress, "samples_total", 0);
    json_add_number(progress, "retries", 0);
    json_add_number(progress, "elapsed_s", 0);
    json_add_number(progress, "eta_s", 0);
    cJSON_AddStringToObject(root, "message", "");
    cJSON_AddStringToObject(root, "code", "");
    cJSON_AddBoolToObject(root, "safe", !fake->busy);
    json_add_int64(root, "last_event", (int64_t)events_last(fake->events));
    pthread_mutex_unlock(&fake->lock);
    *ret = root;
    return 0;
}

static void post(struct fake *fake, const char *kind, const char *state, bool end)
{
    char json[512];

    pthread_mutex_lock(&fake->lock);
    snprintf(json, sizeof json,
             "{\"run\":\"%s\",\"state\":\"%s\",\"step\":0,\"steps\":1,\"kind\":\"sweep\",\"name\":"
             "\"counting\",\"points_done\":%d,"
             "\"points_total\":%d,\"samples_done\":0,\"samples_total\":0,\"elapsed_s\":0,\"eta_s\":0,"
             "\"cell\":%d,\"verdict\":"
             "\"pass\",\"row\":\"row %d\",\"end\":%s}",
             fake->ulid, state, fake->done, POINTS, fake->done, fake->done, end ? "true" : "false");
    pthread_mutex_unlock(&fake->lock);
    events_post(fake->events, kind, json);
}

static void *run_main(void *context)
{
    struct fake *fake = context;
    bool stopped = false;

    for (int i = 0; i < POINTS && !stopped; i++) {
        usleep((useconds_t)fake->point_ms * 1000);
        for (int n = 0; n < 10; n++)
            post(fake, "progress", "running", false);
        pthread_mutex_lock(&fake->lock);
        fake->done = i + 1;
        while (fake->paused && !fake->stop) {
            pthread_mutex_unlock(&fake->lock);
            usleep(1000);
            pthread_mutex_lock(&fake->lock);
        }
        stopped = fake->stop;
        pthread_mutex_unlock(&fake->lock);
        post(fake, "point", "running", false);
    }
    pthread_mutex_lock(&fake->lock);
    fake->busy = false;
    snprintf(fake->state, sizeof fake->state, "%s", stopped ? "aborted" : "completed");
    pthread_mutex_unlock(&fake->lock);
    post(fake, "state", stopped ? "aborted" : "completed", true);
    return NULL;
}

/* One run at a time; a second one waits, but is never begun. A campaign is valid here when it has a name. */
static int fake_start(void *context, const struct command_start *start, cJSON **ret,
                      struct json_problems *problems, struct error *err)
{
    struct fake *fake = context;
    char ulid[ULID_TEXT];

    if (start->campaign_json != NULL && strstr(start->campaign_json, "\"name\"") == NULL) {
        struct json_at at = { .problems = problems, .pointer = "/campaign/name" };
        json_problem(&at, "add it", "is missing");
    }
    if (problems->count > 0)
        return json_problems_error(problems, "request", err);
    pthread_mutex_lock(&fake->lock);
    bool busy = fake->busy;
    int rc = busy && start->now ? error_set(err, ERR_CONFLICT, "run %s is under way", fake->ulid) : 0;
    text_ulid(ulid);
    if (rc == 0 && busy)
        fake->waits = true;
    if (rc == 0 && !busy) {
        if (fake->runner_made)
            pthread_join(fake->runner, NULL);
        memcpy(fake->ulid, ulid, sizeof ulid);
        fake->busy = true;
        fake->stop = fake->paused = false;
        fake->done = 0;
        snprintf(fake->state, sizeof fake->state, "running");
        fake->runner_made = pthread_create(&fake->runner, NULL, run_main, fake) == 0;
    }
    pthread_mutex_unlock(&fake->lock);
    if (rc == 0)
        *ret = fake_queue_row(ulid, busy, busy ? "queued" : "started");
    return rc;
}

static int fake_stop(void *context, struct error *err)
{
    struct fake *fake = context;

    pthread_mutex_lock(&fake->lock);
    int rc = fake->busy ? 0 : error_set(err, ERR_CONFLICT, "no run is under way");
    fake->stop = true;
    pthread_mutex_unlock(&fake->lock);
    return rc;
}

static int fake_pause(void *context, bool dark, struct error *err)
{
    struct fake *fake = context;

    (void)dark;
    pthread_mutex_lock(&fake->lock);
    bool busy = fake->busy;
    fake->paused = busy;
    pthread_mutex_unlock(&fake->lock);
    return busy ? 0 : error_set(err, ERR_CONFLICT, "no run is under way");
}

static int fake_resume(void *context, char ret_ulid[ULID_TEXT], struct error *err)
{
    struct fake *fake = context;

    pthread_mutex_lock(&fake->lock);
    bool paused = fake->paused;
    fake->paused = false;
    if (paused)
        memcpy(ret_ulid, fake->ulid, ULID_TEXT);
    pthread_mutex_unlock(&fake->lock);
    return paused ? 0 : error_set(err, ERR_CONFLICT, "no run is paused");
}

static int fake_estop(void *context, const char *who, struct error *err)
{
    (void)who;
    (void)fake_stop(context, NULL);
    (void)err;
    return 0;
}

static int fake_clear(void *context, const char *who, const char *reason, struct error *err)
{
    (void)context;
    (void)who;
    (void)reason;
    (void)err;
    return 0;
}

void fake_run_serve(struct command *command)
{
    command->status = fake_status;
    command->start = fake_start;
    command->pause = fake_pause;
    command->resume = fake_resume;
    command->stop = fake_stop;
    command->abort = fake_stop;
    command->estop = fake_estop;
    command->clear = fake_clear;
}

void fake_run_end(struct fake *fake)
{
    (void)fake_stop(fake, NULL);
    if (fake->runner_made)
        pthread_join(fake->runner, NULL);
}
