/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * api_compare: two runs, joined by cell and sample.
 */
#include "web/router.h"

int api_compare(struct web_call *call, struct error *err)
{
    char run_a[WEB_VALUE_MAX], run_b[WEB_VALUE_MAX];
    const struct command *command;
    cJSON *tree;

    if (!call_parameter(call, "a", run_a) || !call_parameter(call, "b", run_b))
        return error_set(err, ERR_INVALID,
                         "query parameters 'a' and 'b' name the two runs, e.g. ?a=latest&b=01HZ");
    int rc = call_command(call, &command, err);
    if (rc == 0)
        rc = command->compare(command->context, run_a, run_b, &tree, err);
    if (rc == 0)
        reply_json(call->reply, 200, tree);
    return rc;
}
