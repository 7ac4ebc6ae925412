/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * api_control: stop, abort, e-stop. These put a word into the daemon's queue and return.
 */
#include "web/router.h"

#include <stdio.h>

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
