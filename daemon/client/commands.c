/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * commands: the table, and what several commands share.
 */
#include "daemon/client/commands.h"

#include <stdio.h>
#include <string.h>

#include "daemon/base/build.h"
#include "daemon/base/text.h"

static int do_help(const struct args *args)
{
    (void)args;
    args_help(client_commands, stdout);
    return EXIT_OK;
}

static int do_version(const struct args *args)
{
    (void)args;
    printf("nightbench %s (%s)\n", build_revision, build_compiler);
    return EXIT_OK;
}

const struct args_command client_commands[] = {
    { "check", "CAMPAIGN | instrument FILE | bench FILE", 1, 2, ARGS_JSON | ARGS_WHERE | ARGS_BENCH,
      "explain every mistake of a campaign, an instrument's file or a bench file; touches nothing",
      do_check },
    { "plan", "CAMPAIGN", 1, 1, ARGS_JSON | ARGS_WHERE | ARGS_BENCH,
      "steps, points, duration and bytes; touches nothing", do_plan },
    { "scan", "[BENCH]", 0, 1, ARGS_JSON | ARGS_WHERE,
      "who answers at the addresses of a bench file (or of the daemon's bench); exit 1 when not all",
      do_scan },
    { "instrument", "NAME query TEXT | NAME report", 2, 3, ARGS_JSON | ARGS_WHERE,
      "a raw command; identity, states and readings. While no run is active", do_instrument },
    { "run", "CAMPAIGN", 1, 1,
      ARGS_JSON | ARGS_WHERE | ARGS_DB | ARGS_BENCH | ARGS_ONCE | ARGS_START | ARGS_REAL | ARGS_STRICT |
          ARGS_SIM,
      "start, watch to the end, report; without a daemon on a simulated bench of its own", do_run },
    { "start", "CAMPAIGN", 1, 1, ARGS_JSON | ARGS_WHERE | ARGS_START | ARGS_QUEUE | ARGS_NOW,
      "queue a run on the daemon and return; it begins when the bench is free", do_start },
    { "queue",
      "[list] | add CAMPAIGN | move RUN PLACE | edit RUN [CAMPAIGN] | remove RUN | hold [REASON] | release",
      0, 3, ARGS_JSON | ARGS_WHERE | ARGS_START | ARGS_QUEUE, "what waits for the bench", do_queue },
    { "watch", "", 0, 0, ARGS_JSON | ARGS_WHERE | ARGS_ONCE, "follow the run that is under way", do_watch },
    { "status", "", 0, 0, ARGS_JSON | ARGS_WHERE, "state of the bench", do_status },
    { "runs", "", 0, 0, ARGS_JSON | ARGS_WHERE | ARGS_DB, "runs of the store, newest first", do_runs },
    { "show", "[RUN]", 0, 1, ARGS_JSON | ARGS_WHERE | ARGS_DB | ARGS_STRICT, "one run: steps, points, report",
      do_show },
    { "export", "[RUN]", 0, 1, ARGS_WHERE | ARGS_DB | ARGS_EXPORT, "a table of a run as a file", do_export },
    { "compare", "A B", 2, 2, ARGS_JSON | ARGS_WHERE | ARGS_DB,
      "two runs, point by point; exit 1 when they differ", do_compare },
    { "backup", "FILE", 1, 1, ARGS_DB, "verified copy of the store (default nightbench.db) and its traces",
      do_backup },
    { "pause", "[off]", 0, 1, ARGS_JSON | ARGS_WHERE, "pause the run between points; off: outputs down",
      do_pause },
    { "resume", "", 0, 0, ARGS_JSON | ARGS_WHERE, "go on with a run that is paused, held or interrupted",
      do_resume },
    { "stop", "", 0, 0, ARGS_JSON | ARGS_WHERE, "end the run after this point", do_stop },
    { "abort", "", 0, 0, ARGS_JSON | ARGS_WHERE, "end the run now, power down in order", do_abort },
    { "estop", "", 0, 0, ARGS_JSON | ARGS_WHERE, "outputs off first, by the keeper itself", do_estop },
    { "clear", "REASON", 1, 1, ARGS_JSON | ARGS_WHERE, "end a latched stop or trip; the reason is recorded",
      do_clear },
    { "audit", "", 0, 0, ARGS_JSON | ARGS_WHERE | ARGS_DB | ARGS_AUDIT,
      "who commanded what, and what came of it; newest first", do_audit },
    { "token", "add NAME | list | revoke NAME", 1, 2, ARGS_JSON | ARGS_WHERE | ARGS_ROLE | ARGS_DAYS,
      "who may ask over TCP, as what", do_token },
    { "login", "", 0, 0, ARGS_JSON | ARGS_WHERE | ARGS_ROLE, "an address that signs a browser in, once",
      do_login },
    { "version", "", 0, 0, 0, "revision of this build", do_version },
    { "help", "", 0, 0, 0, "this text", do_help },
    { .name = NULL },
};

int commands_fail(const struct error *err)
{
    fprintf(stderr, "nightbench: %s\n", err->message);
    return args_exit_of(err->code);
}

void commands_print_json(const cJSON *tree, bool indented)
{
    char *text = json_print(tree, indented);

    printf("%s\n", text != NULL ? text : "null");
    cJSON_free(text);
}

static void add_text(struct strbuf *body, const char *key, const char *value)
{
    cJSON *text = value != NULL ? cJSON_CreateString(value) : NULL;
    char *quoted = text != NULL ? json_print(text, false) : NULL;

    if (quoted != NULL)
        strbuf_add(body, ",\"%s\":%s", key, quoted);
    cJSON_free(quoted);
    cJSON_Delete(text);
}

static void add_members(const struct args *args, struct strbuf *body)
{
    if (args->seed != NULL)
        strbuf_add(body, ",\"seed\":%s", args->seed);
    if (args->priority != NULL)
        strbuf_add(body, ",\"priority\":%s", args->priority);
    add_text(body, "backend", args->backend);
    add_text(body, "operator", args->operator_name);
    add_text(body, "tags", args->tags);
    add_text(body, "note", args->note);
    add_text(body, "not_before", args->not_before);
    add_text(body, "until", args->until);
}

int commands_start_body(const struct args *args, const char *path, bool now, struct strbuf *ret,
                        struct error *err)
{
    struct strbuf members = { 0 }, body = { 0 };
    cJSON *campaign = NULL;
    char *text = NULL;

    int rc = path != NULL ? json_load(path, &campaign, err) : 0;
    if (rc != 0)
        return rc;
    if (path != NULL) {
        text = json_print(campaign, false);
        cJSON_Delete(campaign);
        strbuf_add(&members, ",\"campaign\":");
        if (text != NULL)
            strbuf_bytes(&members, text, strlen(text));
    }
    add_members(args, &members);
    if (now)
        strbuf_add(&members, ",\"now\":true");
    strbuf_add(&body, "{");
    if (members.length > 0)
        strbuf_bytes(&body, members.text + 1, members.length - 1);
    strbuf_add(&body, "}");
    bool complete = (path == NULL || text != NULL) && !members.failed && !body.failed;
    cJSON_free(text);
    strbuf_free(&members);
    if (!complete) {
        strbuf_free(&body);
        return error_set(err, ERR_MEMORY, "no memory for the request");
    }
    *ret = body;
    return 0;
}

int commands_start(struct remote *remote, const struct args *args, const char *path, bool now, cJSON **ret,
                   struct error *err)
{
    struct strbuf body;
    char key[ULID_TEXT];
    cJSON *answer;

    int rc = commands_start_body(args, path, now, &body, err);
    if (rc != 0)
        return rc;
    text_ulid(key);
    rc = remote_post(remote, "/api/v1/runs", body.text, key, &answer, err);
    strbuf_free(&body);
    if (rc != 0)
        return rc;
    if (!cJSON_IsString(cJSON_GetObjectItemCaseSensitive(answer, "run"))) {
        cJSON_Delete(answer);
        return error_set(err, ERR_GARBAGE, "the daemon queued a run but did not name it");
    }
    *ret = answer;
    return 0;
}
