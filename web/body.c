/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * body: reads the campaign out of a request body.
 */
#include "web/body.h"

#include <stdlib.h>
#include <string.h>

/* A path of the daemon's configs: relative, and nowhere above. */
static bool path_ok(const char *path)
{
    if (path[0] == '\0' || path[0] == '/')
        return false;
    for (const char *at = path; *at != '\0';) {
        size_t length = strcspn(at, "/");

        if (length == 2 && memcmp(at, "..", 2) == 0)
            return false;
        at += length;
        at += *at == '/';
    }
    return true;
}

int body_campaign(const struct json_at *root, bool needed, struct body_campaign *ret, struct error *err)
{
    struct json_problems *problems = root->problems;
    int before = problems->count;

    struct json_at campaign = json_member(root, "campaign", false);
    struct json_at path = json_member(root, "path", false);
    *ret = (struct body_campaign){ .path = json_string(root, "path", false, NULL) };
    if (campaign.node != NULL && path.node != NULL)
        json_problem(root, "{\"path\": \"configs/campaigns/vad-smoke.json\"}",
                     "give only one of \"path\" and \"campaign\"");
    else if (campaign.node == NULL && path.node == NULL && needed)
        json_problem(root, "{\"path\": \"configs/campaigns/vad-smoke.json\"}",
                     "give exactly one of \"path\" and \"campaign\"");
    if (campaign.node != NULL && !cJSON_IsObject(campaign.node))
        json_problem(&campaign, "", "must be an object");
    if (ret->path != NULL && !path_ok(ret->path))
        json_problem(&path, "GET /api/v1/campaigns lists the files", "must be a relative path without '..'");
    if (problems->count > before)
        ret->path = NULL;
    else if (campaign.node != NULL && (ret->text = json_print(campaign.node, false)) == NULL)
        return error_set(err, ERR_MEMORY, "no memory for the text of the campaign");
    return 0;
}

enum { WORDS_MAX = 500, PRIORITY_MAX = 1000 };

static const char *words(const struct json_at *root, const char *key)
{
    struct json_at member = json_member(root, key, false);
    const char *text = json_string(root, key, false, NULL);

    if (text != NULL && strlen(text) > WORDS_MAX)
        json_problem(&member, "", "is longer than %d bytes", WORDS_MAX);
    return text;
}

/* null takes a time away. */
static const char *time_of_day(const struct json_at *root, const char *key)
{
    return cJSON_IsNull(json_member(root, key, false).node) ? "" : json_string(root, key, false, NULL);
}

void body_start(const struct json_at *root, struct body_start *ret)
{
    static const char *const backends[] = { "chip", "reference", NULL };
    struct command_start *start = &ret->start;

    *ret = (struct body_start){ .start = { .now = json_boolean(root, "now", false, false) } };
    int backend = json_choice(root, "backend", false, backends, -1);
    start->backend = backend >= 0 ? backends[backend] : NULL;
    if (json_member(root, "seed", false).node != NULL) {
        ret->seed = (uint64_t)json_integer(root, "seed", false, 0, INT64_C(1) << 53, 0);
        start->seed = &ret->seed;
    }
    if (json_member(root, "priority", false).node != NULL) {
        ret->priority = (int)json_integer(root, "priority", false, -PRIORITY_MAX, PRIORITY_MAX, 0);
        start->priority = &ret->priority;
    }
    start->operator_name = words(root, "operator");
    start->tags = words(root, "tags");
    start->note = words(root, "note");
    start->not_before = time_of_day(root, "not_before");
    start->until = time_of_day(root, "until");
}
