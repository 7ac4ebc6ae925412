/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * api_runs: what the store knows of the runs. Each resource is one query; lists travel as {"<name>": [...]}
 * so that a member can be added later without breaking a reader.
 */
#include "web/router.h"

#include <string.h>

#include "db/query.h"

enum { RUNS_DEFAULT = 50, SAMPLES_DEFAULT = 1000, EVENTS_DEFAULT = 1000, PIXELS_DEFAULT = 1000 };

static int reply_list(struct web_call *call, int rc, const char *name, cJSON *list)
{
    if (rc == 0)
        call_reply_list(call, name, list);
    return rc;
}

int api_runs(struct web_call *call, struct error *err)
{
    struct query *query;
    char before[WEB_VALUE_MAX];
    cJSON *list = NULL;
    int64_t limit;

    int rc = call_integer(call, "limit", 1, QUERY_RUNS_MAX, RUNS_DEFAULT, &limit, err);
    if (rc != 0)
        return rc;
    if (call->query == NULL && call->query_error != NULL && call->query_error->code == ERR_NOT_FOUND)
        return reply_list(call, 0, "runs", cJSON_CreateArray()); /* a fresh bench has no runs: not an error */
    rc = call_store(call, &query, err);
    if (rc != 0)
        return rc;
    bool older = call_parameter(call, "before", before);
    rc = query_runs(query, (int)limit, older ? before : NULL, &list, err);
    return reply_list(call, rc, "runs", list);
}

int api_run(struct web_call *call, struct error *err)
{
    struct query *query;
    cJSON *tree;

    int rc = call_store(call, &query, err);
    if (rc == 0)
        rc = query_run(query, call->id, &tree, err);
    if (rc == 0)
        reply_json(call->reply, 200, tree);
    return rc;
}

int api_run_points(struct web_call *call, struct error *err)
{
    struct query *query;
    cJSON *list = NULL;
    int64_t step;

    int rc = call_store(call, &query, err);
    if (rc == 0)
        rc = call_integer(call, "step", -1, INT32_MAX, -1, &step, err);
    if (rc == 0)
        rc = query_points(query, call->id, (int)step, &list, err);
    return reply_list(call, rc, "points", list);
}

int api_run_samples(struct web_call *call, struct error *err)
{
    struct query *query;
    int64_t step, cell, offset, limit;
    cJSON *tree;

    int rc = call_store(call, &query, err);
    if (rc == 0)
        rc = call_integer(call, "step", 0, INT32_MAX, 0, &step, err);
    if (rc == 0)
        rc = call_integer(call, "cell", 0, INT32_MAX, 0, &cell, err);
    if (rc == 0)
        rc = call_integer(call, "offset", 0, INT32_MAX, 0, &offset, err);
    if (rc == 0)
        rc = call_integer(call, "limit", 1, QUERY_SAMPLES_MAX, SAMPLES_DEFAULT, &limit, err);
    if (rc == 0)
        rc = query_samples(query, call->id, (int)step, (int)cell, (int)offset, (int)limit, &tree, err);
    if (rc == 0)
        reply_json(call->reply, 200, tree);
    return rc;
}

int api_run_channels(struct web_call *call, struct error *err)
{
    struct query *query;
    cJSON *list = NULL;

    int rc = call_store(call, &query, err);
    if (rc == 0)
        rc = query_channels(query, call->id, &list, err);
    return reply_list(call, rc, "channels", list);
}

int api_run_traces(struct web_call *call, struct error *err)
{
    struct query *query;
    char channel[WEB_VALUE_MAX];
    int64_t t0, t1, pixels;
    cJSON *tree;

    int rc = call_store(call, &query, err);
    if (rc == 0 && !call_parameter(call, "channel", channel))
        rc = error_set(err, ERR_INVALID,
                       "query parameter 'channel' is missing; GET the run's channels for their names");
    if (rc == 0)
        rc = call_integer(call, "t0", 0, INT64_MAX, 0, &t0, err);
    if (rc == 0)
        rc = call_integer(call, "t1", 0, INT64_MAX, 0, &t1, err);
    if (rc == 0)
        rc = call_integer(call, "pixels", 1, QUERY_PIXELS_MAX, PIXELS_DEFAULT, &pixels, err);
    if (rc == 0)
        rc = query_trace(query, call->id, channel, t0, t1, (int)pixels, &tree, err);
    if (rc == 0)
        reply_json(call->reply, 200, tree);
    return rc;
}

int api_run_events(struct web_call *call, struct error *err)
{
    struct query *query;
    int64_t after, limit;
    cJSON *list = NULL;

    int rc = call_store(call, &query, err);
    if (rc == 0)
        rc = call_integer(call, "after", 0, INT64_MAX, 0, &after, err);
    if (rc == 0)
        rc = call_integer(call, "limit", 1, QUERY_EVENTS_MAX, EVENTS_DEFAULT, &limit, err);
    if (rc == 0)
        rc = query_events(query, call->id, after, (int)limit, &list, err);
    return reply_list(call, rc, "events", list);
}

/* Calibrations belong to a chip, not to a run: those of the chip that the run measured. */
int api_run_calibrations(struct web_call *call, struct error *err)
{
    struct query *query;
    cJSON *run, *list = NULL;

    int rc = call_store(call, &query, err);
    if (rc == 0)
        rc = query_run(query, call->id, &run, err);
    if (rc != 0)
        return rc;
    const cJSON *chip = cJSON_GetObjectItemCaseSensitive(run, "chip");
    const cJSON *serial = cJSON_GetObjectItemCaseSensitive(chip, "serial");
    rc = query_calibrations(query, cJSON_IsString(serial) ? serial->valuestring : "", &list, err);
    cJSON_Delete(run);
    return reply_list(call, rc, "calibrations", list);
}

int api_run_tensors(struct web_call *call, struct error *err)
{
    struct query *query;
    cJSON *list = NULL;
    int64_t sample;

    int rc = call_store(call, &query, err);
    if (rc == 0)
        rc = call_integer(call, "sample", -1, INT32_MAX, -1, &sample, err);
    if (rc == 0)
        rc = query_tensors(query, call->id, (int)sample, &list, err);
    return reply_list(call, rc, "tensors", list);
}
