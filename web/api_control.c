/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * api_control: start, stop, abort, e-stop. These put a word into the daemon's queue and return.
 */
#include "web/router.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "web/body.h"

static const char *const start_known[] = { "path",     "campaign", "backend", "seed",
                                           "operator", "tags",     "note",    NULL };
static const char *const backends[] = { "chip", "reference", NULL };

enum { START_TEXT_MAX = 500 };

/* Text members of a start; a problem of the first wrong one goes into the reply. */
static bool read_start(struct web_call *call, const cJSON *body, struct command_start *start,
                       struct error *err)
{
    struct json_problems *problems = calloc(1, sizeof *problems);

    if (problems == NULL) {
        error_set(err, ERR_MEMORY, "no memory to read the request body");
        return false;
    }
    struct json_at root = json_root(body, problems);
    start->backend = backends[json_choice(&root, "backend", false, backends, 0)];
    start->seed = (uint64_t)json_integer(&root, "seed", false, 0, INT64_C(1) << 53, 0);
    start->operator_name = json_string(&root, "operator", false, "");
    start->tags = json_string(&root, "tags", false, "");
    start->note = json_string(&root, "note", false, "");
    const struct {
        const char *key, *value;
    } texts[] = { { "operator", start->operator_name }, { "tags", start->tags }, { "note", start->note } };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct json_at member = json_member(&root, texts[i].key, false);

        if (strlen(texts[i].value) > START_TEXT_MAX)
            json_problem(&member, "", "is longer than %d bytes", START_TEXT_MAX);
    }
    bool ok = problems->count == 0;
    if (!ok)
        reply_problem(call->reply, 422, "invalid", problems->item[0].reason, problems->item[0].pointer,
                      problems->item[0].hint);
    free(problems);
    return ok;
}

static int start_run(struct web_call *call, struct command_start *start, struct error *err)
{
    char ulid[ULID_TEXT];

    if (start->operator_name[0] == '\0' && !call->request->local)
        start->operator_name = call->who.name;
    start->idempotency_key = request_header(call->request, "Idempotency-Key");
    int rc = call->command->start(call->command->context, start, ulid, err);
    if (rc != 0)
        return rc;
    cJSON *tree = cJSON_CreateObject();
    cJSON_AddStringToObject(tree, "run", ulid);
    reply_json(call->reply, 201, tree);
    snprintf(call->reply->location, sizeof call->reply->location, "/api/v1/runs/%s", ulid);
    return 0;
}

int api_run_start(struct web_call *call, struct error *err)
{
    const struct command *command;
    struct command_start start = { 0 };
    struct body_campaign campaign;
    cJSON *body;

    int rc = call_command(call, &command, err);
    if (rc == 0)
        rc = call_body(call, &body, err);
    if (rc != 0)
        return rc;
    rc = body_campaign(call, body, start_known, &campaign, err);
    if (rc == 0 && !campaign.answered) {
        start.campaign_path = campaign.path;
        start.campaign_json = campaign.text;
        if (read_start(call, body, &start, err))
            rc = start_run(call, &start, err);
        else
            rc = err->code; /* 0: the reply has the problem */
        free(campaign.text);
    }
    cJSON_Delete(body);
    return rc;
}

static void accepted(struct web_call *call, const char *what)
{
    cJSON *tree = cJSON_CreateObject();

    cJSON_AddStringToObject(tree, "accepted", what);
    reply_json(call->reply, 202, tree);
}

int api_stop(struct web_call *call, struct error *err)
{
    const struct command *command;

    int rc = call_command(call, &command, err);
    if (rc == 0)
        rc = command->stop(command->context, err);
    if (rc == 0)
        accepted(call, "stop");
    return rc;
}

int api_abort(struct web_call *call, struct error *err)
{
    const struct command *command;

    int rc = call_command(call, &command, err);
    if (rc == 0)
        rc = command->abort(command->context, err);
    if (rc == 0)
        accepted(call, "abort");
    return rc;
}

int api_estop(struct web_call *call, struct error *err)
{
    const struct command *command;
    char who[AUTH_NAME_MAX + 16];

    snprintf(who, sizeof who, "%s%s", call->who.name, call->request->local ? "" : " over HTTP");
    int rc = call_command(call, &command, err);
    if (rc == 0)
        rc = command->estop(command->context, who, err);
    if (rc == 0)
        accepted(call, "estop");
    return rc;
}
