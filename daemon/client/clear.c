/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * clear: ends a latched emergency stop or trip, with a reason. By the daemon, which records it; where none
 * answers, by the keeper, whose log has it.
 */
#include <stdio.h>

#include "daemon/base/text.h"
#include "daemon/client/commands.h"
#include "daemon/client/control.h"
#include "daemon/client/source.h"
#include "instruments/keeper_client.h"

static int by_daemon(const struct args *args, const char *reason, struct error *err)
{
    struct remote *remote = NULL;
    cJSON *body = cJSON_CreateObject(), *answer = NULL;

    cJSON_AddStringToObject(body, "reason", reason);
    char *text = json_print(body, false);
    cJSON_Delete(body);
    if (text == NULL)
        return error_set(err, ERR_MEMORY, "no memory for the request");
    int rc = source_remote(args, &remote, err);
    if (rc == 0) {
        rc = remote_post(remote, "/api/v1/clear", text, NULL, &answer, err);
        remote_close(remote);
    }
    cJSON_free(text);
    cJSON_Delete(answer);
    return rc;
}

int do_clear(const struct args *args)
{
    const char *reason = args->positional[0];
    char path[CONTROL_PATH_MAX];
    struct error err = { 0 };

    int rc = by_daemon(args, reason, &err);
    if (rc == ERR_NO_ANSWER && control_keeper_path(args, path, sizeof path, &err) == 0)
        rc = keeper_client_clear(path, reason, &err);
    if (rc != 0)
        return commands_fail(&err);
    puts(args->json ? "{\"accepted\":\"clear\"}" : "cleared: outputs may be switched on again");
    return EXIT_OK;
}
