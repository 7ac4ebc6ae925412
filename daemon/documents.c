/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * documents: bench, chip and campaigns as JSON.
 */
#include "daemon/documents.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chip/mapping.h"
#include "chip/profile.h"
#include "daemon/base/clock.h"
#include "drivers/dialect.h"
#include "drivers/modbus_map.h"

static const char *const class_names[] = {
    [CLASS_PSU] = "psu", [CLASS_SMU] = "smu",         [CLASS_DMM] = "dmm",
    [CLASS_SPI] = "spi", [CLASS_CHAMBER] = "chamber", [CLASS_LA] = "la",
};

static void add_instruments(cJSON *root, const struct bench_file *bench)
{
    cJSON *list = cJSON_AddArrayToObject(root, "instruments");

    for (int i = 0; i < bench->instrument_count; i++) {
        const struct bench_instrument *instrument = &bench->instrument[i];
        cJSON *item = cJSON_CreateObject();
        cJSON_AddItemToArray(list, item);
        cJSON_AddStringToObject(item, "name", instrument->name);
        cJSON_AddStringToObject(item, "class", class_names[instrument->class]);
        cJSON_AddStringToObject(item, "driver", instrument->driver);
        cJSON_AddStringToObject(item, "dialect", instrument->dialect);
        cJSON_AddStringToObject(item, "resource", instrument->resource);
        cJSON_AddStringToObject(item, "vendor", instrument->vendor);
        cJSON_AddStringToObject(item, "model", instrument->model);
        cJSON_AddStringToObject(item, "serial", instrument->serial);
        cJSON_AddBoolToObject(item, "energises", instrument->energises);
    }
}

cJSON *documents_bench(const struct bench_file *bench, const struct chip_profile *profile)
{
    cJSON *root = cJSON_CreateObject();

    if (root == NULL || bench == NULL)
        return root;
    cJSON_AddStringToObject(root, "name", bench->name);
    cJSON_AddStringToObject(root, "path", bench->path);
    cJSON_AddStringToObject(root, "socket", bench->socket);
    cJSON_AddBoolToObject(root, "simulated", bench->simulated);
    add_instruments(root, bench);
    cJSON *rails = cJSON_AddArrayToObject(root, "rails");
    for (int i = 0; profile != NULL && i < profile->rail_count; i++) {
        const struct profile_rail *rail = &profile->rail[i];
        const struct bench_channel *channel = bench_file_rail(bench, rail->name);
        cJSON *item = cJSON_CreateObject();
        cJSON_AddItemToArray(rails, item);
        cJSON_AddStringToObject(item, "name", rail->name);
        cJSON_AddStringToObject(item, "channel", channel != NULL ? channel->name : "");
        json_add_number(item, "nominal_v", rail->nominal_v);
        json_add_number(item, "min_v", rail->min_v);
        json_add_number(item, "max_v", rail->max_v);
        json_add_number(item, "abs_max_v", rail->abs_max_v);
        json_add_number(item, "limit_a", rail->limit_a);
    }
    return root;
}

cJSON *documents_chips(const struct chip_profile *profile, const char *serial)
{
    cJSON *list = cJSON_CreateArray();

    if (list == NULL || profile == NULL)
        return list;
    cJSON *item = cJSON_CreateObject();
    cJSON_AddItemToArray(list, item);
    cJSON_AddStringToObject(item, "type", profile->type);
    json_add_number(item, "revision", profile->revision);
    cJSON_AddStringToObject(item, "profile_hash", profile->hash);
    cJSON_AddStringToObject(item, "serial", serial);
    json_add_number(item, "cores", profile->cores.count);
    json_add_number(item, "rows", profile->cores.rows);
    json_add_number(item, "columns", profile->cores.columns);
    return list;
}

static int is_campaign_name(const struct dirent *entry)
{
    size_t length = strlen(entry->d_name);

    return length > 5 && strcmp(entry->d_name + length - 5, ".json") == 0 &&
           strstr(entry->d_name, ".schema.json") == NULL;
}

static cJSON *describe_campaign(const char *path)
{
    struct json_problems *problems = calloc(1, sizeof *problems);
    struct campaign *campaign = NULL;
    struct error err = { .code = 0 };
    cJSON *item = cJSON_CreateObject();

    cJSON_AddStringToObject(item, "path", path);
    if (problems == NULL || campaign_load(path, &campaign, problems, &err) != 0) {
        cJSON_AddStringToObject(item, "error", err.message);
    } else {
        cJSON_AddStringToObject(item, "name", campaign->name);
        cJSON_AddStringToObject(item, "title", campaign->title);
        cJSON_AddStringToObject(item, "bench", campaign->bench);
        json_add_number(item, "steps", campaign->step_count);
        campaign_free(campaign);
    }
    free(problems);
    return item;
}

int documents_campaigns(const char *folder, cJSON **ret, struct error *err)
{
    struct dirent **entries = NULL;
    int count = scandir(folder, &entries, is_campaign_name, alphasort);

    if (count < 0)
        return error_set_errno(err, errno, "cannot list the campaigns in %s", folder);
    cJSON *list = cJSON_CreateArray();
    for (int i = 0; i < count; i++) {
        char path[CAMPAIGN_PATH_MAX];
        int needed = snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name);
        if (needed > 0 && (size_t)needed < sizeof path)
            cJSON_AddItemToArray(list, describe_campaign(path));
        free(entries[i]);
    }
    free(entries);
    if (list == NULL)
        return error_set(err, ERR_MEMORY, "no memory for the list of campaigns");
    *ret = list;
    return 0;
}

static void add_problem(cJSON *list, const char *pointer, const char *reason, const char *hint)
{
    cJSON *item = cJSON_CreateObject();

    cJSON_AddItemToArray(list, item);
    cJSON_AddStringToObject(item, "pointer", pointer);
    cJSON_AddStringToObject(item, "reason", reason);
    cJSON_AddStringToObject(item, "hint", hint);
}

/* {"ok":true}, or false with every problem; where none was collected, the error itself is the only one. */
static void add_verdict(cJSON *root, int code, const struct json_problems *problems, const struct error *why)
{
    cJSON_AddBoolToObject(root, "ok", code == 0);
    if (code == 0)
        return;
    cJSON *list = cJSON_AddArrayToObject(root, "problems");
    int kept = problems->count < JSON_PROBLEMS_MAX ? problems->count : JSON_PROBLEMS_MAX;
    for (int i = 0; i < kept; i++)
        add_problem(list, problems->item[i].pointer, problems->item[i].reason, problems->item[i].hint);
    if (kept == 0)
        add_problem(list, "", why->message, "");
    json_add_number(root, "problem_count", kept == 0 ? 1 : problems->count);
}

/* How each network lies on the chip. */
static void add_networks(cJSON *root, const struct assets *assets)
{
    cJSON *list = cJSON_AddArrayToObject(root, "networks");

    for (int i = 0; i < assets->network_count; i++)
        cJSON_AddItemToArray(list, mapping_report(assets->network[i].mapping, assets->network[i].network));
}

int documents_check(const struct job_request *request, bool with_plan, cJSON **ret, struct error *err)
{
    struct json_problems *problems = calloc(1, sizeof *problems);
    struct job job = { .plan = NULL };
    struct error why = { .code = 0 };
    cJSON *root = cJSON_CreateObject();

    if (problems == NULL || root == NULL) {
        free(problems);
        cJSON_Delete(root);
        return error_set(err, ERR_MEMORY, "no memory to check the campaign");
    }
    int code = job_open(request, &job, problems, &why);
    if (code == 0 && with_plan) {
        cJSON_Delete(root);
        root = plan_json(job.plan);
        add_networks(root, job.assets);
    }
    add_verdict(root, code, problems, &why);
    if (code == 0) {
        int64_t now_ns = clock_wall_now();
        cJSON *budget = job_budget_json(&job, job_until_ns(job.campaign, now_ns), now_ns);
        if (budget != NULL)
            cJSON_AddItemToObject(root, "budget", budget);
    }
    job_close(&job);
    free(problems);
    *ret = root;
    return 0;
}

/* A dialect unless the file says that it is a register map. */
static int load_instrument(const char *path, struct json_problems *problems, struct error *err)
{
    cJSON *root = NULL;
    struct dialect *dialect = NULL;
    struct modbus_map *map = NULL;

    int code = json_load(path, &root, err);
    if (code != 0)
        return code;
    const cJSON *format = cJSON_GetObjectItemCaseSensitive(root, "format");
    bool registers = cJSON_IsString(format) && strcmp(format->valuestring, "nightbench-modbus") == 0;
    cJSON_Delete(root);
    code =
        registers ? modbus_map_load(path, &map, problems, err) : dialect_load(path, &dialect, problems, err);
    dialect_free(dialect);
    free(map);
    return code;
}

static int load_bench(const char *path, struct json_problems *problems, struct error *err)
{
    struct bench_file *file = NULL;
    int code = bench_file_load(path, &file, problems, err);
    bench_file_free(file);
    return code;
}

static int check_file(int (*load)(const char *path, struct json_problems *problems, struct error *err),
                      const char *path, cJSON **ret, struct error *err)
{
    struct json_problems *problems = calloc(1, sizeof *problems);
    cJSON *root = cJSON_CreateObject();
    struct error why = { .code = 0 };

    if (problems == NULL || root == NULL) {
        free(problems);
        cJSON_Delete(root);
        return error_set(err, ERR_MEMORY, "no memory to check %s", path);
    }
    int code = load(path, problems, &why);
    add_verdict(root, code, problems, &why);
    free(problems);
    *ret = root;
    return 0;
}

int documents_check_instrument(const char *path, cJSON **ret, struct error *err)
{
    return check_file(load_instrument, path, ret, err);
}

int documents_check_bench(const char *path, cJSON **ret, struct error *err)
{
    return check_file(load_bench, path, ret, err);
}
