/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * api_status: liveness and the present state.
 */
#include "web/router.h"

#include "daemon/base/build.h"

int api_health(struct web_call *call, struct error *err)
{
    cJSON *tree = cJSON_CreateObject();

    (void)err;
    cJSON_AddTrueToObject(tree, "ok");
    cJSON_AddStringToObject(tree, "build", build_revision);
    reply_json(call->reply, 200, tree);
    return 0;
}

int api_status(struct web_call *call, struct error *err)
{
    const struct command *command;
    cJSON *tree;

    int rc = call_command(call, &command, err);
    if (rc == 0)
        rc = command->status(command->context, &tree, err);
    if (rc == 0)
        reply_json(call->reply, 200, tree);
    return rc;
}
