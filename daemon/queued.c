/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * queued: from entry to job. */
#include "daemon/queued.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "chip/profile.h"
#include "daemon/base/build.h"
#include "daemon/base/walltime.h"

int queued_backend(const char *name, int *ret_backend, struct error *err)
{
    if (name == NULL || name[0] == '\0' || strcmp(name, "chip") == 0)
        *ret_backend = CAMPAIGN_CHIP;
    else if (strcmp(name, "reference") == 0)
        *ret_backend = CAMPAIGN_REFERENCE;
    else
        return error_set(err, ERR_INVALID, "'%.40s' is not a back end; choose chip or reference", name);
    return 0;
}

int queued_check(const struct sched_setup *setup, const struct job_request *request, struct job *ret_job,
                 struct json_problems *problems, struct error *err)
{
    struct json_problems *own = problems == NULL ? calloc(1, sizeof *own) : problems;
    struct job_request here = *request;

    if (own == NULL)
        return error_set(err, ERR_MEMORY, "no memory to check the campaign");
    here.bench_file = setup->bench_file;
    here.profile = setup->profile;
    here.bench_path = setup->bench_path;
    int code = here.backend != CAMPAIGN_REFERENCE && setup->bench == NULL
                   ? error_set(err, ERR_CONFLICT,
                               "this daemon has no bench (--no-bench): only backend 'reference' can run")
                   : job_open(&here, ret_job, own, err);
    if (own != problems)
        free(own);
    return code;
}

int queued_open(const struct sched_setup *setup, const struct queue_item *item, const char *document,
                struct job *ret_job, struct error *err)
{
    struct job_request request = { .text = document, .seed = item->seed };
    int code = queued_backend(item->backend, &request.backend, err);
    char text[40];

    if (code == 0 && item->until_ns != 0 && item->until_ns <= clock_wall_now())
        code = error_set(err, ERR_RANGE, "time budget: it should have ended by %s, and it has not begun",
                         walltime_local(item->until_ns, text, sizeof text));
    return code == 0 ? queued_check(setup, &request, ret_job, NULL, err) : code;
}

struct queued_limit queued_limit(const struct sched_setup *setup, const struct queue_item *item,
                                 const struct job *job, const struct resume_run *resumed)
{
    int64_t now_ns = clock_now(setup->clock);
    double budget_s, left_s;

    if (resumed == NULL) {
        budget_s = left_s = job_budget_s(job->campaign, item->until_ns, clock_wall_now());
    } else {
        /* Time has passed while there was no daemon, too: by the bench clock where that has gone on. */
        bool same_world = clock_is_virtual(setup->clock) && now_ns >= resumed->begin_time_ns;
        int64_t passed_ns = same_world                       ? now_ns - resumed->begin_time_ns
                            : clock_is_virtual(setup->clock) ? 0
                                                             : clock_wall_now() - resumed->begin_wall_ns;
        budget_s = resumed->budget_s;
        left_s = budget_s - (double)passed_ns / NS_PER_S;
    }
    if (!isfinite(budget_s))
        return (struct queued_limit){ .deadline_ns = 0 };
    return (struct queued_limit){ .deadline_ns = now_ns + (int64_t)(left_s * NS_PER_S),
                                  .budget_s = budget_s };
}

int queued_record_failure(const struct sched_setup *setup, const struct queue_item *item,
                          const char *document, int64_t validating_wall_ns, const struct error *why,
                          struct error *err)
{
    const struct record_sink *sink = recorder_sink(setup->recorder);
    const struct bench_file *bench = setup->bench_file;
    int64_t now_ns = clock_now(setup->clock), id;
    struct strbuf snapshot = { 0 };

    strbuf_add(&snapshot, "{\"campaign\":");
    strbuf_bytes(&snapshot, document, strlen(document));
    strbuf_add(&snapshot, ",\"plan\":null}");
    if (snapshot.failed) {
        strbuf_free(&snapshot);
        return error_set(err, ERR_MEMORY, "no memory for the snapshot of a campaign");
    }
    struct record_run record = {
        .ulid = item->ulid,
        .campaign = item->campaign,
        .plan_hash = "",
        .bench = bench != NULL ? bench->name : "",
        .socket = bench != NULL ? bench->socket : "",
        .chip_serial = "",
        .chip_type = setup->profile != NULL ? setup->profile->type : "",
        .operator_name = item->operator_name,
        .backend = item->backend,
        .build = build_revision,
        .network_hash = "",
        .mapping_hash = "",
        .dataset_hash = "",
        .plan_json = snapshot.text,
        .bench_json = bench != NULL && bench->json != NULL ? bench->json : "",
        .chip_json = "",
        .tags = item->tags,
        .notes = item->note,
        .seed = item->seed,
        .clock_virtual = clock_is_virtual(setup->clock),
        .simulated = bench == NULL || bench->simulated,
        .invalid = true,
        .time_ns = now_ns,
        .wall_ns = clock_wall_now(),
        .queued_wall_ns = item->added_ns,
        .validating_wall_ns = validating_wall_ns,
    };
    int code = sink->run_begin(sink->context, &record, &id, err);
    strbuf_free(&snapshot);
    if (code == 0)
        code = sink->run_end(sink->context, "failed", why->code, why->message, now_ns, err);
    return code == 0 ? sink->ack(sink->context, err) : code;
}
