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

int body_campaign(struct web_call *call, const cJSON *body, const char *const *known,
                  struct body_campaign *ret, struct error *err)
{
    struct json_problems *problems = calloc(1, sizeof *problems);
    struct body_campaign result = { 0 };

    if (problems == NULL)
        return error_set(err, ERR_MEMORY, "no memory to read the request body");
    struct json_at root = json_root(body, problems);
    json_only(&root, known);
    struct json_at campaign = json_member(&root, "campaign", false);
    struct json_at path = json_member(&root, "path", false);
    result.path = json_string(&root, "path", false, NULL);
    if ((campaign.node != NULL) == (path.node != NULL))
        json_problem(&root, "{\"path\": \"configs/campaigns/vad-smoke.json\"}",
                     "give exactly one of \"path\" and \"campaign\"");
    if (campaign.node != NULL && !cJSON_IsObject(campaign.node))
        json_problem(&campaign, "", "must be an object");
    if (result.path != NULL && !path_ok(result.path))
        json_problem(&path, "GET /api/v1/campaigns lists the files", "must be a relative path without '..'");
    if (problems->count > 0) {
        const struct json_problem *first = &problems->item[0];

        reply_problem(call->reply, 422, "invalid", first->reason, first->pointer, first->hint);
        result.answered = true;
    } else if (campaign.node != NULL) {
        result.text = json_print(campaign.node, false);
    }
    free(problems);
    if (!result.answered && result.path == NULL && result.text == NULL)
        return error_set(err, ERR_MEMORY, "no memory for the text of the campaign");
    *ret = result;
    return 0;
}
