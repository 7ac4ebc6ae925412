/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * token: the commands that say who may ask a daemon over TCP. They go over its Unix socket, where the
 * daemon's user is admin.
 */
#include <stdio.h>
#include <string.h>

#include "daemon/client/commands.h"
#include "daemon/client/read.h"
#include "daemon/client/show.h"

/* POSTs {"name": ..., "role": ..., "days": ...} of what is given. */
static int ask(const struct args *args, const char *path, const char *name, cJSON **ret, struct error *err)
{
    cJSON *body = cJSON_CreateObject();
    struct remote *remote;

    if (name != NULL)
        cJSON_AddStringToObject(body, "name", name);
    if (args->role != NULL)
        cJSON_AddStringToObject(body, "role", args->role);
    if (args->days != NULL)
        cJSON_AddRawToObject(body, "days", args->days); /* digits: args.c has looked */
    char *text = body != NULL ? json_print(body, false) : NULL;
    cJSON_Delete(body);
    if (text == NULL)
        return error_set(err, ERR_MEMORY, "no memory for the request");
    int rc = source_remote(args, &remote, err);
    if (rc == 0) {
        rc = remote_post(remote, path, text, NULL, ret, err);
        remote_close(remote);
    }
    cJSON_free(text);
    return rc;
}

static void show_tokens(const cJSON *tree, FILE *out)
{
    const cJSON *item;

    fprintf(out, "%-24s %-9s %-8s %-25s %s\n", "NAME", "ROLE", "KIND", "CREATED", "EXPIRES");
    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(tree, "tokens"))
    {
        const char *expires = show_text(item, "expires");

        fprintf(out, "%-24s %-9s %-8s %-25s %s%s\n", show_text(item, "name"), show_text(item, "role"),
                show_text(item, "kind"), show_text(item, "created"), expires[0] != '\0' ? expires : "never",
                cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(item, "valid")) ? "" : " (expired)");
    }
}

static int usage(const char *why)
{
    fprintf(stderr, "nightbench: %s: nightbench token add NAME | list | revoke NAME\n", why);
    return EXIT_USAGE;
}

int do_token(const struct args *args)
{
    const char *verb = args->positional[0], *name = args->positional[1];
    struct error err = { 0 };
    cJSON *answer;

    if (strcmp(verb, "list") == 0)
        return name == NULL ? read_document(args, "/api/v1/tokens", show_tokens)
                            : usage("list takes no name");
    bool add = strcmp(verb, "add") == 0;
    if (!add && strcmp(verb, "revoke") != 0)
        return usage("what is to be done with tokens?");
    if (name == NULL)
        return usage("whose token?");
    if (ask(args, add ? "/api/v1/tokens" : "/api/v1/tokens/revoke", name, &answer, &err) != 0)
        return commands_fail(&err);
    if (args->json) {
        commands_print_json(answer, false);
        cJSON_Delete(answer);
        return EXIT_OK;
    }
    if (add) /* the token alone on standard output, so that a script can keep it */
        fprintf(stderr, "%s, %s; this is told once:\n", name, show_text(answer, "role"));
    printf("%s\n", add ? show_text(answer, "token") : "revoked");
    cJSON_Delete(answer);
    return EXIT_OK;
}

int do_login(const struct args *args)
{
    struct error err = { 0 };
    cJSON *answer;

    if (ask(args, "/api/v1/login", NULL, &answer, &err) != 0)
        return commands_fail(&err);
    if (args->json)
        commands_print_json(answer, false);
    else
        printf("%s\n", show_text(answer, "url"));
    cJSON_Delete(answer);
    return EXIT_OK;
}
