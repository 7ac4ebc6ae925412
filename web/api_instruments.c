/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * api_instruments: the instruments of the bench, and what a person may ask them while no run is active.
 */
#include "web/router.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COMMAND_MAX = 512 };

/* The part of the bench document that lists the instruments. */
int api_instruments(struct web_call *call, struct error *err)
{
    const struct command *command;
    cJSON *bench;

    int rc = call_command(call, &command, err);
    if (rc == 0)
        rc = command->bench(command->context, &bench, err);
    if (rc != 0)
        return rc;
    cJSON *list = cJSON_DetachItemFromObjectCaseSensitive(bench, "instruments");
    cJSON_Delete(bench);
    call_reply_list(call, "instruments",
                    list != NULL ? list : cJSON_CreateArray()); /* none with --no-bench */
    return 0;
}

int api_scan(struct web_call *call, struct error *err)
{
    const struct command *command;
    cJSON *list;

    int rc = call_command(call, &command, err);
    if (rc == 0)
        rc = command->scan(command->context, &list, err);
    if (rc == 0)
        call_reply_list(call, "instruments", list);
    return rc;
}

static int read_text(const cJSON *body, char *text, size_t size, struct error *err)
{
    static const char *const known[] = { "command", NULL };
    struct json_problems *problems = calloc(1, sizeof *problems);

    if (problems == NULL)
        return error_set(err, ERR_MEMORY, "no memory to read the request body");
    struct json_at root = json_root(body, problems);
    json_only(&root, known);
    const char *given = json_string(&root, "command", true, "");
    bool printable = given[0] != '\0' && strlen(given) < size;
    for (const char *p = given; *p != '\0'; p++)
        printable &= *p >= ' ' && *p <= '~';
    if (problems->count == 0 && !printable) {
        struct json_at member = json_member(&root, "command", false);
        json_problem(&member, "", "is not one line of 1 to %d printing characters", COMMAND_MAX);
    }
    snprintf(text, size, "%s", given);
    int rc = problems->count > 0 ? json_problems_error(problems, "body", err) : 0;
    free(problems);
    return rc;
}

int api_instrument_query(struct web_call *call, struct error *err)
{
    const struct command *command;
    char text[COMMAND_MAX + 1];
    cJSON *body, *tree;

    int rc = call_command(call, &command, err);
    if (rc == 0)
        rc = call_body(call, &body, err);
    if (rc != 0)
        return rc;
    rc = read_text(body, text, sizeof text, err);
    cJSON_Delete(body);
    if (rc == 0) {
        call_tell(call, text, "");
        rc = command->query(command->context, call->id, text, &tree, err);
    }
    if (rc == 0)
        reply_json(call->reply, 200, tree);
    return rc;
}

int api_instrument_report(struct web_call *call, struct error *err)
{
    const struct command *command;
    cJSON *tree;

    int rc = call_command(call, &command, err);
    if (rc == 0)
        rc = command->report(command->context, call->id, &tree, err);
    if (rc == 0)
        reply_json(call->reply, 200, tree);
    return rc;
}
