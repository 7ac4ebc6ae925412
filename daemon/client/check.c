/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * check: `nightbench check` and `nightbench plan`. They need no daemon: the same code as the daemon's reads
 * the campaign and the bench that it names. With --socket or --url the daemon there is asked. `nightbench
 * check instrument FILE` and `nightbench check bench FILE` do the same for such files, always here.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/base/text.h"
#include "daemon/client/commands.h"
#include "daemon/client/show.h"
#include "daemon/client/source.h"
#include "daemon/documents.h"

static int ask_daemon(const struct args *args, bool plan, cJSON **ret, struct error *err)
{
    struct args bare = *args;
    struct remote *remote;
    struct strbuf body;

    bare.seed = bare.backend = NULL;
    int rc = commands_start_body(&bare, args->positional[0], false, &body, err);
    if (rc != 0)
        return rc;
    rc = source_remote(args, &remote, err);
    if (rc == 0) {
        rc = remote_post(remote, plan ? "/api/v1/campaigns/plan" : "/api/v1/campaigns/check", body.text, NULL,
                         ret, err);
        remote_close(remote);
    }
    strbuf_free(&body);
    return rc;
}

static int ask_here(const struct args *args, bool plan, cJSON **ret, struct error *err)
{
    struct job_request request = { .path = args->positional[0], .bench_path = args->bench };
    char found[4096];

    /* A file that is not there is no mistake in a campaign. */
    if (access(text_find_file(args->positional[0], found, sizeof found), R_OK) != 0)
        return error_set_errno(err, errno, "campaign file %s", args->positional[0]);
    return documents_check(&request, plan, ret, err);
}

/* Takes the answer. */
static int tell(const struct args *args, cJSON *answer, bool plan)
{
    bool ok = show_true(answer, "ok");
    if (args->json) {
        commands_print_json(answer, true);
    } else if (!ok) {
        show_problems(answer, stdout);
    } else if (plan) {
        show_plan(answer, stdout);
    } else {
        printf("%s: ok\n", args->positional[args->positional_count - 1]);
        show_budget(answer, stdout);
    }
    cJSON_Delete(answer);
    return ok ? EXIT_OK : EXIT_CAMPAIGN;
}

static int explain(const struct args *args, bool plan)
{
    bool remote = args->socket != NULL || args->url != NULL;
    struct error err = { 0 };
    cJSON *answer;

    int rc = remote ? ask_daemon(args, plan, &answer, &err) : ask_here(args, plan, &answer, &err);
    if (rc != 0) {
        int code = commands_fail(&err);

        return rc == ERR_INVALID || rc == ERR_NOT_FOUND ? EXIT_CAMPAIGN : code;
    }
    return tell(args, answer, plan);
}

/* kind: "instrument" or "bench". */
static int check_file(const struct args *args, const char *kind,
                      int (*check)(const char *path, cJSON **ret, struct error *err))
{
    const char *path = args->positional[1];
    struct error err = { 0 };
    char found[4096];
    cJSON *answer;

    path = text_find_file(path, found, sizeof found);
    int rc = access(path, R_OK) != 0 ? error_set_errno(&err, errno, "%s file %s", kind, args->positional[1])
                                     : check(path, &answer, &err);
    return rc != 0 ? commands_fail(&err) : tell(args, answer, false);
}

int do_check(const struct args *args)
{
    if (args->positional_count == 2) {
        if (strcmp(args->positional[0], "instrument") == 0)
            return check_file(args, "instrument", documents_check_instrument);
        if (strcmp(args->positional[0], "bench") == 0)
            return check_file(args, "bench", documents_check_bench);
        fprintf(stderr, "nightbench: check takes one CAMPAIGN, or 'instrument' or 'bench' and a FILE\n");
        return EXIT_USAGE;
    }
    return explain(args, false);
}

int do_plan(const struct args *args)
{
    return explain(args, true);
}
