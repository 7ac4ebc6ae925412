/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * api_bench: the bench, and the chip in its socket.
 */
#include "web/router.h"

int api_bench(struct web_call *call, struct error *err)
{
    const struct command *command;
    cJSON *tree;

    int rc = call_command(call, &command, err);
    if (rc == 0)
        rc = command->bench(command->context, &tree, err);
    if (rc == 0)
        reply_json(call->reply, 200, tree);
    return rc;
}

/* The daemon answers with a list; it travels as an object so that members can be added. */
int api_chips(struct web_call *call, struct error *err)
{
    const struct command *command;
    cJSON *list;

    int rc = call_command(call, &command, err);
    if (rc == 0)
        rc = command->chips(command->context, &list, err);
    if (rc == 0)
        call_reply_list(call, "chips", list);
    return rc;
}
