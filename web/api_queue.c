/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * api_queue: runs that are asked for, and what can be done to those that wait. A mistake in the body and one
 * in the campaign are told alike, all at once.
 */
#include "web/router.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "web/body.h"

enum { REASON_MAX = 200, PLACE_MAX = 1000 };

static const char *const run_known[] = { "path", "campaign", "backend",    "seed",  "operator", "tags",
                                         "note", "priority", "not_before", "until", "now",      NULL };
static const char *const queue_known[] = { "path", "campaign", "backend",    "seed",  "operator", "tags",
                                           "note", "priority", "not_before", "until", NULL };

/* A request body under reading, and who is to obey. */
struct reading {
    const struct command *command;
    cJSON *body;
    struct json_problems *problems;
    struct json_at root;
};

static int begin(struct web_call *call, const char *const *known, struct reading *ret, struct error *err)
{
    int rc = call_command(call, &ret->command, err);
    if (rc == 0)
        rc = call_body(call, &ret->body, err);
    if (rc != 0)
        return rc;
    ret->problems = calloc(1, sizeof *ret->problems);
    if (ret->problems == NULL) {
        cJSON_Delete(ret->body);
        return error_set(err, ERR_MEMORY, "no memory to read the request body");
    }
    ret->root = json_root(ret->body, ret->problems);
    json_only(&ret->root, known);
    return 0;
}

/* Mistakes that were found make the reply; then the call has been answered. */
static int end(struct web_call *call, struct reading *reading, int rc)
{
    if (reading->problems->count > 0 && (rc == 0 || rc == ERR_INVALID)) {
        reply_problems(call->reply, reading->problems);
        rc = 0;
    }
    free(reading->problems);
    cJSON_Delete(reading->body);
    return rc;
}

static int add(struct web_call *call, const char *const *known, struct error *err)
{
    struct reading reading = { 0 };
    struct body_campaign campaign = { 0 };
    struct body_start asked;
    cJSON *tree = NULL;

    int rc = begin(call, known, &reading, err);
    if (rc != 0)
        return rc;
    body_start(&reading.root, &asked);
    rc = body_campaign(&reading.root, true, &campaign, err);
    asked.start.campaign_path = campaign.path;
    asked.start.campaign_json = campaign.text;
    asked.start.key = call->key;
    if (asked.start.operator_name == NULL && !call->request->local)
        asked.start.operator_name = call->who.name;
    if (rc == 0 && (campaign.path != NULL || campaign.text != NULL))
        rc = reading.command->start(reading.command->context, &asked.start, &tree, reading.problems, err);
    free(campaign.text);
    if (tree != NULL) {
        const cJSON *run = cJSON_GetObjectItemCaseSensitive(tree, "run");
        char ulid[ULID_TEXT];

        snprintf(ulid, sizeof ulid, "%s", cJSON_IsString(run) ? run->valuestring : "");
        reply_json(call->reply, 201, tree);
        snprintf(call->reply->location, sizeof call->reply->location, "/api/v1/runs/%s", ulid);
    }
    return end(call, &reading, rc);
}

int api_run_start(struct web_call *call, struct error *err)
{
    return add(call, run_known, err);
}

int api_queue_add(struct web_call *call, struct error *err)
{
    return add(call, queue_known, err);
}

int api_queue(struct web_call *call, struct error *err)
{
    const struct command *command;
    cJSON *tree;

    int rc = call_command(call, &command, err);
    if (rc == 0)
        rc = command->queue(command->context, &tree, err);
    if (rc == 0)
        reply_json(call->reply, 200, tree);
    return rc;
}

int api_queue_entry(struct web_call *call, struct error *err)
{
    const struct command *command;
    cJSON *tree;

    int rc = call_command(call, &command, err);
    if (rc == 0)
        rc = command->queue_entry(command->context, call->id, &tree, err);
    if (rc == 0)
        reply_json(call->reply, 200, tree);
    return rc;
}

int api_queue_edit(struct web_call *call, struct error *err)
{
    struct reading reading = { 0 };
    struct body_campaign campaign = { 0 };
    struct body_start asked;
    cJSON *tree = NULL;

    int rc = begin(call, queue_known, &reading, err);
    if (rc != 0)
        return rc;
    body_start(&reading.root, &asked);
    rc = body_campaign(&reading.root, false, &campaign, err);
    asked.start.campaign_path = campaign.path;
    asked.start.campaign_json = campaign.text;
    if (rc == 0)
        rc = reading.command->queue_edit(reading.command->context, call->id, &asked.start, &tree,
                                         reading.problems, err);
    free(campaign.text);
    if (tree != NULL)
        reply_json(call->reply, 200, tree);
    return end(call, &reading, rc);
}

int api_queue_move(struct web_call *call, struct error *err)
{
    static const char *const known[] = { "place", NULL };
    struct reading reading = { 0 };
    cJSON *tree;

    int rc = begin(call, known, &reading, err);
    if (rc != 0)
        return rc;
    int place = (int)json_integer(&reading.root, "place", true, 1, PLACE_MAX, 1);
    if (reading.problems->count == 0) {
        rc = reading.command->queue_move(reading.command->context, call->id, place, &tree, err);
        if (rc == 0)
            reply_json(call->reply, 200, tree);
    }
    return end(call, &reading, rc);
}

int api_queue_remove(struct web_call *call, struct error *err)
{
    const struct command *command;
    cJSON *tree;

    int rc = call_command(call, &command, err);
    if (rc == 0)
        rc = command->queue_remove(command->context, call->id, &tree, err);
    if (rc == 0)
        reply_json(call->reply, 200, tree);
    return rc;
}

int api_queue_hold(struct web_call *call, struct error *err)
{
    static const char *const known[] = { "reason", NULL };
    struct reading reading = { 0 };
    cJSON *tree;

    int rc = begin(call, known, &reading, err);
    if (rc != 0)
        return rc;
    const char *reason = json_string(&reading.root, "reason", false, "");
    struct json_at member = json_member(&reading.root, "reason", false);
    if (strlen(reason) > REASON_MAX)
        json_problem(&member, "", "is longer than %d bytes", REASON_MAX);
    if (reading.problems->count == 0) {
        rc = reading.command->queue_hold(reading.command->context, call->who.name, reason, &tree, err);
        if (rc == 0)
            reply_json(call->reply, 200, tree);
    }
    return end(call, &reading, rc);
}

int api_queue_release(struct web_call *call, struct error *err)
{
    const struct command *command;
    cJSON *tree;

    int rc = call_command(call, &command, err);
    if (rc == 0)
        rc = command->queue_release(command->context, call->who.name, &tree, err);
    if (rc == 0)
        reply_json(call->reply, 200, tree);
    return rc;
}
