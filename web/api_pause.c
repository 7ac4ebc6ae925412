/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * api_pause: pause and resume. A pause is obeyed between points; until then the state says "pausing".
 */
#include "web/router.h"

#include <stdlib.h>

static const char *const outputs[] = { "on", "off", NULL };

/* {"outputs":"off"} takes the rails down meanwhile; an empty body leaves them as they are. */
static int read_outputs(struct web_call *call, bool *ret_dark, struct error *err)
{
    static const char *const known[] = { "outputs", NULL };
    cJSON *body;

    int rc = call_body(call, &body, err);
    if (rc != 0)
        return rc;
    struct json_problems *problems = calloc(1, sizeof *problems);
    if (problems == NULL) {
        cJSON_Delete(body);
        return error_set(err, ERR_MEMORY, "no memory to read the request body");
    }
    struct json_at root = json_root(body, problems);
    json_only(&root, known);
    *ret_dark = json_choice(&root, "outputs", false, outputs, 0) == 1;
    rc = problems->count > 0 ? json_problems_error(problems, "body", err) : 0;
    free(problems);
    cJSON_Delete(body);
    return rc;
}

int api_pause(struct web_call *call, struct error *err)
{
    const struct command *command;
    bool dark = false;

    int rc = call_command(call, &command, err);
    if (rc == 0)
        rc = read_outputs(call, &dark, err);
    if (rc == 0)
        rc = command->pause(command->context, dark, err);
    if (rc != 0)
        return rc;
    cJSON *tree = cJSON_CreateObject();
    cJSON_AddStringToObject(tree, "accepted", "pause");
    reply_json(call->reply, 202, tree);
    return 0;
}

int api_resume(struct web_call *call, struct error *err)
{
    const struct command *command;
    char ulid[ULID_TEXT];

    int rc = call_command(call, &command, err);
    if (rc == 0)
        rc = command->resume(command->context, ulid, err);
    if (rc != 0)
        return rc;
    cJSON *tree = cJSON_CreateObject();
    cJSON_AddStringToObject(tree, "accepted", "resume");
    cJSON_AddStringToObject(tree, "run", ulid);
    reply_json(call->reply, 202, tree);
    return 0;
}
