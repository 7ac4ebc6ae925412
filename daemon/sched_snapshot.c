/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * sched_snapshot: copying and telling.
 */
#include "daemon/sched_snapshot.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/build.h"

void sched_snapshot_plan(struct sched_snapshot *s, const struct job *job)
{
    s->points_total = job->plan->cell_count;
    s->samples_total = job->plan->sample_count;
    s->eta_s = job->plan->duration_s;
    s->step_count = job->plan->step_count;
    snprintf(s->campaign, sizeof s->campaign, "%s", job->campaign->name);
    snprintf(s->backend, sizeof s->backend, "%s", job->backend == CAMPAIGN_REFERENCE ? "reference" : "chip");
}

bool sched_snapshot_take(struct sched_snapshot *s, const struct run_progress *progress)
{
    bool new_state = strcmp(s->state, progress->state) != 0;
    s->host_told_ns = clock_host_now();
    snprintf(s->state, sizeof s->state, "%s", progress->state);
    snprintf(s->step_kind, sizeof s->step_kind, "%s", progress->step_kind);
    snprintf(s->step_name, sizeof s->step_name, "%s", progress->step_name);
    s->step = progress->step;
    s->step_count = progress->step_count;
    s->point = progress->point;
    s->point_count = progress->point_count;
    s->points_done = progress->points_done;
    s->points_total = progress->points_total;
    s->samples_done = progress->samples_done;
    s->samples_total = progress->samples_total;
    s->retries = progress->retries;
    s->elapsed_s = progress->elapsed_s;
    s->eta_s = progress->eta_s;
    return new_state;
}

void sched_snapshot_event(const struct sched_snapshot *s, const struct run_progress *progress, char *out,
                          size_t size)
{
    char row[2 * RUN_ROW_MAX];

    cJSON *text = cJSON_CreateString(progress->row);
    char *quoted = text != NULL ? json_print(text, false) : NULL;
    snprintf(row, sizeof row, "%s", quoted != NULL ? quoted : "\"\"");
    free(quoted);
    cJSON_Delete(text);
    snprintf(
        out, size,
        "{\"run\":\"%s\",\"state\":\"%s\",\"step\":%d,\"steps\":%d,\"kind\":\"%s\",\"name\":\"%s\",\"points_"
        "done\":%d,"
        "\"points_total\":%d,\"samples_done\":%lld,\"samples_total\":%lld,\"elapsed_s\":%.3f,\"eta_s\":%.3f,"
        "\"cell\":%d,\"verdict\":\"%s\",\"row\":%s}",
        s->ulid, progress->state, progress->step, progress->step_count, progress->step_kind,
        progress->step_name, progress->points_done, progress->points_total, (long long)progress->samples_done,
        (long long)progress->samples_total, progress->elapsed_s,
        isfinite(progress->eta_s) ? progress->eta_s : 0.0, progress->cell, verdict_name(progress->verdict),
        row);
}

static void add_store(cJSON *root, struct recorder *recorder)
{
    cJSON *store = cJSON_AddObjectToObject(root, "store");
    struct recorder_health health;

    recorder_health(recorder, &health);
    cJSON_AddStringToObject(store, "condition", recorder_condition_name(health.condition));
    cJSON_AddStringToObject(store, "text", health.text);
    json_add_int64(store, "free_bytes", health.free_bytes);
    json_add_int64(store, "log_bytes", health.wal_bytes);
}

int sched_snapshot_status(const struct sched_snapshot *s, const struct sched_setup *setup,
                          const struct sched_queue *queue, cJSON **ret, struct error *err)
{
    bool busy = queue->busy;

    cJSON *root = cJSON_CreateObject();

    if (root == NULL)
        return error_set(err, ERR_MEMORY, "no memory for the status");
    cJSON_AddStringToObject(root, "state", s->state);
    cJSON_AddBoolToObject(root, "busy", busy);
    cJSON_AddStringToObject(root, "run", s->ulid);
    cJSON_AddStringToObject(root, "campaign", s->campaign);
    cJSON_AddStringToObject(root, "backend", s->backend);
    cJSON_AddStringToObject(root, "chip_serial", s->chip_serial);
    cJSON_AddStringToObject(root, "bench", setup->bench_file != NULL ? setup->bench_file->name : "");
    cJSON_AddBoolToObject(root, "simulated", setup->bench_file != NULL && setup->bench_file->simulated);
    cJSON_AddStringToObject(root, "clock", clock_is_virtual(setup->clock) ? "virtual" : "real");
    cJSON_AddStringToObject(root, "build", build_revision);
    json_add_int64(root, "time_ns", clock_now(setup->clock));
    cJSON *progress = cJSON_AddObjectToObject(root, "progress");
    cJSON_AddStringToObject(progress, "kind", s->step_kind);
    cJSON_AddStringToObject(progress, "name", s->step_name);
    json_add_number(progress, "step", s->step);
    json_add_number(progress, "steps", s->step_count);
    json_add_number(progress, "point", s->point);
    json_add_number(progress, "points", s->point_count);
    json_add_number(progress, "points_done", s->points_done);
    json_add_number(progress, "points_total", s->points_total);
    json_add_number(progress, "samples_done", (double)s->samples_done);
    json_add_number(progress, "samples_total", (double)s->samples_total);
    json_add_number(progress, "retries", s->retries);
    json_add_number(progress, "elapsed_s", s->elapsed_s);
    json_add_number(progress, "eta_s", s->eta_s);
    cJSON_AddStringToObject(root, "message", s->message);
    cJSON_AddStringToObject(root, "code", s->code != 0 ? error_name(s->code) : "");
    cJSON_AddBoolToObject(root, "safe", !busy && s->safe);
    cJSON *waits = cJSON_AddObjectToObject(root, "queue");
    json_add_number(waits, "waiting", queue->waiting);
    cJSON_AddStringToObject(waits, "reason", queue->reason);
    add_store(root, setup->recorder);
    cJSON_AddNumberToObject(root, "last_event", (double)events_last(setup->events));
    *ret = root;
    return 0;
}
