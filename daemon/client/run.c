/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * run: `nightbench run`: a campaign from start to report, on the running daemon or on a private one with a
 * simulated bench.
 */
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/client/commands.h"
#include "daemon/client/control.h"
#include "daemon/client/private.h"
#include "daemon/client/read.h"
#include "daemon/client/show.h"
#include "daemon/client/watch.h"

static int bench_of_campaign(const struct args *args, char *out, size_t size, struct error *err)
{
    cJSON *campaign;

    if (args->bench != NULL) {
        snprintf(out, size, "%s", args->bench);
        return 0;
    }
    int rc = json_load(args->positional[0], &campaign, err);
    if (rc != 0)
        return rc;
    const cJSON *bench = cJSON_GetObjectItemCaseSensitive(campaign, "bench");
    if (cJSON_IsString(bench))
        snprintf(out, size, "%s", bench->valuestring);
    else
        rc = error_set(err, ERR_INVALID, "%s: /bench: names no bench file; add it, or give --bench FILE",
                       args->positional[0]);
    cJSON_Delete(campaign);
    return rc;
}

static bool daemon_answers(const struct args *args)
{
    struct remote *remote;
    cJSON *health;

    if (source_remote(args, &remote, NULL) != 0)
        return false;
    bool yes = remote_get_json(remote, "/healthz", &health, NULL) == 0;
    if (yes)
        cJSON_Delete(health);
    remote_close(remote);
    return yes;
}

/* Asks for the end of the run and waits for it: outputs go down in order. */
static int abort_run(const struct args *args, const char *ulid, cJSON **ret_status, struct error *err)
{
    static const volatile sig_atomic_t never = 0;
    struct remote *remote;
    cJSON *answer;

    fputs("interrupted: ending the run with an ordered power-down\n", stderr);
    int rc = source_remote(args, &remote, err);
    if (rc != 0)
        return rc;
    rc = remote_post(remote, "/api/v1/abort", "", NULL, &answer, err);
    if (rc == 0)
        cJSON_Delete(answer);
    remote_close(remote);
    if (rc != 0 && rc != ERR_CONFLICT) /* conflict: it has ended by itself meanwhile */
        return rc;
    return control_watch(args, ulid, &never, ret_status, err);
}

static int report(const struct args *args, const char *ulid, struct error *err)
{
    char path[80], state[32] = "";
    struct source source;
    bool pass = false;

    int rc = source_open(args, &source, err);
    if (rc != 0)
        return commands_fail(err);
    if (args->json) {
        cJSON *run = NULL;

        snprintf(path, sizeof path, "/api/v1/runs/%s", ulid);
        rc = read_print(&source, path, true, NULL, err);
        if (rc == 0 && source_json(&source, path, &run, NULL) == 0)
            snprintf(state, sizeof state, "%s", show_text(run, "state"));
        cJSON_Delete(run);
    } else {
        rc = read_show_run(&source, ulid, &pass, state, sizeof state, err);
    }
    source_close(&source);
    if (rc != 0)
        return commands_fail(err);
    int code = watch_exit_of(state);
    return code == EXIT_OK && args->strict && !pass ? EXIT_VERDICT : code;
}

/* Start, watch, report on the daemon that args name. */
static int run_there(const struct args *args, const volatile sig_atomic_t *stop)
{
    struct error err = { 0 };
    struct remote *remote;
    char ulid[ULID_TEXT];
    cJSON *status = NULL, *entry = NULL;

    int rc = source_remote(args, &remote, &err);
    if (rc == 0) {
        rc = commands_start(remote, args, args->positional[0], true, &entry, &err);
        remote_close(remote);
    }
    snprintf(ulid, sizeof ulid, "%s", show_text(entry, "run"));
    cJSON_Delete(entry);
    /* The refusal names the first mistake; the check shows them all. */
    if (rc == ERR_INVALID && do_check(args) == EXIT_CAMPAIGN)
        return EXIT_CAMPAIGN;
    if (rc != 0) {
        int code = commands_fail(&err);

        return rc == ERR_INVALID || rc == ERR_RANGE ? EXIT_CAMPAIGN : code;
    }
    if (!args->json)
        printf("run %s\n", ulid);
    rc = control_watch(args, ulid, stop, &status, &err);
    if (rc == WATCH_INTERRUPTED)
        rc = abort_run(args, ulid, &status, &err);
    cJSON_Delete(status);
    if (rc != 0)
        return commands_fail(&err);
    return report(args, ulid, &err);
}

static int run_private(const struct args *args, const volatile sig_atomic_t *stop)
{
    struct private_daemon daemon;
    struct error err = { 0 };
    char bench[PRIVATE_PATH_MAX];

    int rc = bench_of_campaign(args, bench, sizeof bench, &err);
    if (rc != 0) {
        commands_fail(&err);
        return EXIT_CAMPAIGN;
    }
    if (private_start(args, bench, &daemon, &err) != 0)
        return commands_fail(&err);
    struct args there = *args;
    there.socket = daemon.socket;
    there.url = NULL;
    there.db = NULL;
    if (!args->json)
        printf("bench %s, simulated, http://%s\n", bench, daemon.address);
    if (!args->json && isatty(STDOUT_FILENO) && daemon.login[0] != '\0')
        printf("for a browser, once: %s\n", daemon.login);
    int code = run_there(&there, stop);
    bool stays =
        !args->once && !args->json && code == EXIT_OK && isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
    if (stays)
        printf("\nhttp://%s goes on answering; Ctrl-C ends it\n", daemon.address);
    while (stays && !*stop)
        poll(NULL, 0, 200); /* not pause(2): a signal may come just before it */
    if (private_stop(&daemon, code != EXIT_OK && code != EXIT_VERDICT && code != EXIT_ABORTED, &err) != 0) {
        int failure = commands_fail(&err);

        return code == EXIT_OK ? failure : code;
    }
    return code;
}

int do_run(const struct args *args)
{
    const volatile sig_atomic_t *stop = control_interrupted();

    if (args->socket != NULL || args->url != NULL)
        return run_there(args, stop);
    /* A store of one's own asks for a daemon of one's own. */
    bool private = args->db != NULL || args->bench != NULL || !daemon_answers(args);
    return private ? run_private(args, stop) : run_there(args, stop);
}
