/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * fake_documents: answers that are always the same: the bench, campaigns, plans, instruments, metrics.
 */
#include <string.h>

#include "tests/api/fake.h"

static int fake_bench(void *context, cJSON **ret, struct error *err)
{
    static const char text[] = "{\"name\":\"fake-bench\",\"path\":\"none\",\"socket\":\"S1\",\"simulated\":"
                               "true,\"instruments\":[{\"name\":"
                               "\"psu1\",\"class\":\"psu\",\"driver\":\"scpi\",\"dialect\":\"x\","
                               "\"resource\":\"sim:\",\"vendor\":\"V\",\"model\":"
                               "\"M\",\"serial\":\"any\",\"energises\":true}],\"rails\":[{\"name\":\"VDDD\","
                               "\"channel\":\"psu1.1\",\"nominal_v\":0.8,"
                               "\"min_v\":0.6,\"max_v\":0.9,\"abs_max_v\":1.05,\"limit_a\":0.2}]}";

    (void)context;
    return json_parse(text, sizeof text - 1, ret, err);
}

static int fake_chips(void *context, cJSON **ret, struct error *err)
{
    static const char text[] =
        "[{\"type\":\"fake\",\"revision\":1,\"profile_hash\":\"00\",\"serial\":\"W1-0-0\",\"cores\":6,"
        "\"rows\":256,\"columns\":64}]";

    (void)context;
    return json_parse(text, sizeof text - 1, ret, err);
}

static int fake_campaigns(void *context, cJSON **ret, struct error *err)
{
    static const char text[] =
        "[{\"path\":\"configs/campaigns/fake.json\",\"name\":\"fake\",\"title\":\"Fake\",\"bench\":"
        "\"fake-bench\",\"steps\":1},{\"path\":\"configs/campaigns/bad.json\",\"error\":\"1:2: no\"}]";

    (void)context;
    return json_parse(text, sizeof text - 1, ret, err);
}

/* A campaign is valid here when it has a name. */
static int fake_check(void *context, const char *path, const char *text, cJSON **ret, struct error *err)
{
    static const char good[] = "{\"ok\":true}";
    static const char bad[] =
        "{\"ok\":false,\"problem_count\":1,\"problems\":[{\"pointer\":\"/name\",\"reason\":\"is "
        "missing\",\"hint\":\"add it\"}]}";
    bool ok = path != NULL || strstr(text, "\"name\"") != NULL;

    (void)context;
    return json_parse(ok ? good : bad, strlen(ok ? good : bad), ret, err);
}

static int fake_plan(void *context, const char *path, const char *text, cJSON **ret, struct error *err)
{
    static const char good[] = "{\"ok\":true,\"hash\":\"ab\",\"steps\":[{\"index\":0,\"kind\":\"sweep\","
                               "\"name\":\"counting\",\"points\":20,"
                               "\"skipped\":0,\"duration_s\":2.5,\"bytes\":1000}],\"points\":20,\"samples\":"
                               "160,\"duration_s\":2.5,\"bytes\":1000,"
                               "\"setpoints\":[]}";
    bool ok = path != NULL || strstr(text, "\"name\"") != NULL;

    return ok ? json_parse(good, sizeof good - 1, ret, err) : fake_check(context, path, text, ret, err);
}

static int fake_compare(void *context, const char *run_a, const char *run_b, cJSON **ret, struct error *err)
{
    cJSON *root;

    (void)context;
    (void)err;
    root = cJSON_CreateObject();
    cJSON_AddStringToObject(root, "a", run_a);
    cJSON_AddStringToObject(root, "b", run_b);
    cJSON_AddArrayToObject(root, "cells");
    cJSON_AddNullToObject(root, "first_difference");
    *ret = root;
    return 0;
}

static cJSON *fake_row(const char *name)
{
    cJSON *row = cJSON_CreateObject();

    cJSON_AddStringToObject(row, "name", name);
    cJSON_AddStringToObject(row, "resource", "tcp:127.0.0.1:1");
    cJSON_AddBoolToObject(row, "answers", true);
    cJSON_AddBoolToObject(row, "matches", true);
    for (int i = 0; i < 2; i++) {
        cJSON *identity = cJSON_AddObjectToObject(row, i == 0 ? "expected" : "found");
        cJSON_AddStringToObject(identity, "vendor", "maker");
        cJSON_AddStringToObject(identity, "model", "M1");
        cJSON_AddStringToObject(identity, "serial", i == 0 ? "any" : "7");
        if (i == 1)
            cJSON_AddStringToObject(identity, "firmware", "1.0");
    }
    cJSON_AddStringToObject(row, "error", "");
    return row;
}

static int fake_scan(void *context, cJSON **ret, struct error *err)
{
    (void)context, (void)err;
    *ret = cJSON_CreateArray();
    cJSON_AddItemToArray(*ret, fake_row("psu1"));
    return 0;
}

/* Answers with what it was asked; an instrument of the name "none" is not there. */
static int fake_query(void *context, const char *instrument, const char *text, cJSON **ret, struct error *err)
{
    (void)context;
    if (strcmp(instrument, "none") == 0)
        return error_set(err, ERR_NOT_FOUND, "no instrument 'none'");
    *ret = cJSON_CreateObject();
    cJSON_AddStringToObject(*ret, "instrument", instrument);
    cJSON_AddStringToObject(*ret, "command", text);
    cJSON_AddStringToObject(*ret, "answer", text);
    return 0;
}

static int fake_report(void *context, const char *instrument, cJSON **ret, struct error *err)
{
    (void)context, (void)err;
    *ret = fake_row(instrument);
    cJSON_AddArrayToObject(*ret, "channels");
    return 0;
}

static int fake_metrics(void *context, struct strbuf *out, struct error *err)
{
    (void)context, (void)err;
    strbuf_add(out, "# TYPE nightbench_fake gauge\nnightbench_fake 1\n");
    return 0;
}

void fake_documents_serve(struct command *command)
{
    command->bench = fake_bench;
    command->chips = fake_chips;
    command->campaigns = fake_campaigns;
    command->check = fake_check;
    command->plan = fake_plan;
    command->compare = fake_compare;
    command->scan = fake_scan;
    command->query = fake_query;
    command->report = fake_report;
    command->metrics = fake_metrics;
}
