/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * api_campaigns: the campaign files, and what the daemon thinks of a campaign before anything is touched. A
 * body names a file of the daemon ({"path": ...}) or holds the campaign itself ({"campaign": {...}}).
 */
#include "web/router.h"

#include <stdlib.h>

#include "web/body.h"

int api_campaigns(struct web_call *call, struct error *err)
{
    const struct command *command;
    cJSON *list;

    int rc = call_command(call, &command, err);
    if (rc == 0)
        rc = command->campaigns(command->context, &list, err);
    if (rc == 0)
        call_reply_list(call, "campaigns", list);
    return rc;
}

static const char *const known[] = { "path", "campaign", NULL };

typedef int explain_fn(void *context, const char *path, const char *text, cJSON **ret, struct error *err);

/* Check and plan: the same question with another amount of answer. A campaign with mistakes is a good answer:
 * 200. */
static int explain(struct web_call *call, explain_fn *ask, struct error *err)
{
    struct body_campaign campaign = { 0 };
    struct json_problems *problems = NULL;
    cJSON *body = NULL, *tree;

    int rc = call_body(call, &body, err);
    if (rc == 0 && (problems = calloc(1, sizeof *problems)) == NULL)
        rc = error_set(err, ERR_MEMORY, "no memory to read the request body");
    if (rc == 0) {
        struct json_at root = json_root(body, problems);
        json_only(&root, known);
        rc = body_campaign(&root, true, &campaign, err);
    }
    if (rc == 0 && problems->count > 0) {
        reply_problems(call->reply, problems);
    } else if (rc == 0) {
        rc = ask(call->command->context, campaign.path, campaign.text, &tree, err);
        if (rc == 0)
            reply_json(call->reply, 200, tree);
    }
    free(campaign.text);
    free(problems);
    cJSON_Delete(body);
    return rc;
}

int api_campaign_check(struct web_call *call, struct error *err)
{
    const struct command *command;

    int rc = call_command(call, &command, err);
    return rc != 0 ? rc : explain(call, command->check, err);
}

int api_campaign_plan(struct web_call *call, struct error *err)
{
    const struct command *command;

    int rc = call_command(call, &command, err);
    return rc != 0 ? rc : explain(call, command->plan, err);
}
