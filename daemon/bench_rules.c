/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * bench_rules: from one document into the other. */
#include "daemon/bench_rules.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *text_of(const cJSON *object, const char *key)
{
    const cJSON *member = cJSON_GetObjectItemCaseSensitive(object, key);

    return cJSON_IsString(member) ? member->valuestring : "";
}

static bool has(const cJSON *list, const char *key, const char *text)
{
    const cJSON *item;

    cJSON_ArrayForEach(item, list)
    {
        if (strcmp(text_of(item, key), text) == 0)
            return true;
    }
    return false;
}

/* The campaign's list; NULL when there is no memory. */
static cJSON *list_of(cJSON *campaign)
{
    cJSON *list = cJSON_GetObjectItemCaseSensitive(campaign, "rules");

    return list != NULL ? list : cJSON_AddArrayToObject(campaign, "rules");
}

int bench_rules_join(const struct bench_file *bench, cJSON *campaign, struct bench_rules *ret,
                     struct error *err)
{
    const cJSON *own = cJSON_GetObjectItemCaseSensitive(campaign, "rules"), *rule;
    struct bench_rules rules = { .first = cJSON_GetArraySize(own) };
    cJSON *root = NULL;
    int index = -1;

    *ret = rules;
    if (!has(cJSON_GetObjectItemCaseSensitive(campaign, "steps"), "step", "sweep"))
        return 0;
    int code = json_parse(bench->json, strlen(bench->json), &root, err);
    cJSON_ArrayForEach(rule, cJSON_GetObjectItemCaseSensitive(root, "rules"))
    {
        index++;
        if (has(own, "name", text_of(rule, "name")))
            continue;
        cJSON *copy = cJSON_Duplicate(rule, true), *list = list_of(campaign);
        if (copy == NULL || list == NULL || !cJSON_AddItemToArray(list, copy)) {
            cJSON_Delete(copy);
            code = error_set(err, ERR_MEMORY, "no memory for the rules of %s", bench->path);
            break;
        }
        rules.origin[rules.count++] = index;
    }
    cJSON_Delete(root);
    if (code == 0)
        *ret = rules;
    return code;
}

void bench_rules_point(const struct bench_rules *rules, struct json_problems *problems)
{
    static const char BELOW[] = "/rules";

    for (int i = 0; i < problems->count && i < JSON_PROBLEMS_MAX; i++) {
        char *pointer = problems->item[i].pointer, moved[JSON_POINTER_MAX];
        if (rules->count == 0 || strncmp(pointer, BELOW, sizeof BELOW - 1) != 0)
            continue;
        char *rest = pointer + sizeof BELOW - 1;
        int index = *rest == '/' ? (int)strtol(rest + 1, &rest, 10) - rules->first : -1;
        if (index >= 0 && index < rules->count)
            snprintf(moved, sizeof moved, "/bench/rules/%d%.*s", rules->origin[index], JSON_POINTER_MAX - 32,
                     rest);
        else if (*rest == '\0') /* too many of both */
            snprintf(moved, sizeof moved, "/bench/rules");
        else
            continue;
        memcpy(pointer, moved, strlen(moved) + 1);
    }
}
