/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * api_clear: a person ends a latched emergency stop or trip, and says why.
 */
#include "web/router.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REASON_MAX = 200 };

static int read_reason(const cJSON *body, char *reason, size_t size, struct error *err)
{
    static const char *const known[] = { "reason", NULL };
    struct json_problems *problems = calloc(1, sizeof *problems);

    if (problems == NULL)
        return error_set(err, ERR_MEMORY, "no memory to read the request body");
    struct json_at root = json_root(body, problems);
    json_only(&root, known);
    const char *text = json_string(&root, "reason", true, "");
    if (problems->count == 0 && (text[strspn(text, " \t")] == '\0' || strlen(text) > REASON_MAX)) {
        struct json_at member = json_member(&root, "reason", false);
        json_problem(&member, "", "is empty or longer than %d bytes", REASON_MAX);
    }
    snprintf(reason, size, "%s", text);
    int rc = problems->count > 0 ? json_problems_error(problems, "body", err) : 0;
    free(problems);
    return rc;
}

int api_clear(struct web_call *call, struct error *err)
{
    const struct command *command;
    char reason[REASON_MAX + 1];
    cJSON *body;

    int rc = call_command(call, &command, err);
    if (rc == 0)
        rc = call_body(call, &body, err);
    if (rc != 0)
        return rc;
    rc = read_reason(body, reason, sizeof reason, err);
    cJSON_Delete(body);
    if (rc == 0)
        rc = command->clear(command->context, call->who.name, reason, err);
    if (rc != 0)
        return rc;
    cJSON *tree = cJSON_CreateObject();
    cJSON_AddStringToObject(tree, "accepted", "clear");
    reply_json(call->reply, 202, tree);
    return 0;
}
