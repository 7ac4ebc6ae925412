/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * control: the commands that steer a daemon: watch, pause, resume, stop, abort, estop.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/client/commands.h"
#include "daemon/client/control.h"
#include "daemon/client/show.h"
#include "daemon/client/source.h"
#include "daemon/client/watch.h"
#include "daemon/options.h"
#include "instruments/keeper_client.h"

static volatile sig_atomic_t interrupted; /* the only thing that the handler touches */

static void on_signal(int signal_number)
{
    (void)signal_number;
    interrupted = 1;
}

const volatile sig_atomic_t *control_interrupted(void)
{
    struct sigaction action = { .sa_handler = on_signal };

    interrupted = 0;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    return &interrupted;
}

static int post_body(const struct args *args, const char *path, const char *body, const char *said)
{
    struct error err = { 0 };
    struct remote *remote;
    cJSON *answer;

    int rc = source_remote(args, &remote, &err);
    if (rc == 0) {
        rc = remote_post(remote, path, body, NULL, &answer, &err);
        remote_close(remote);
    }
    if (rc != 0)
        return commands_fail(&err);
    if (args->json) {
        char *text = json_print(answer, false);

        printf("%s\n", text != NULL ? text : "null");
        cJSON_free(text);
    } else {
        puts(said);
    }
    cJSON_Delete(answer);
    return EXIT_OK;
}

static int post(const struct args *args, const char *path, const char *said)
{
    return post_body(args, path, "", said);
}

int do_pause(const struct args *args)
{
    bool off = args->positional[0] != NULL;

    if (off && strcmp(args->positional[0], "off") != 0) {
        fprintf(stderr, "nightbench: pause takes nothing, or 'off' for the outputs\n");
        return EXIT_USAGE;
    }
    return post_body(args, "/api/v1/pause", off ? "{\"outputs\":\"off\"}" : "",
                     "the run pauses after this point; 'nightbench resume' goes on with it");
}

int do_resume(const struct args *args)
{
    return post(args, "/api/v1/resume", "the run goes on; 'nightbench watch' follows it");
}

int do_stop(const struct args *args)
{
    return post(args, "/api/v1/stop", "the run ends after this point; 'nightbench watch' follows it");
}

int do_abort(const struct args *args)
{
    return post(args, "/api/v1/abort", "the run ends now, with an ordered power-down");
}

int control_keeper_path(const struct args *args, char *out, size_t size, struct error *err)
{
    char folder[OPTIONS_PATH_MAX];

    if (args->url != NULL)
        return error_set(err, ERR_UNSUPPORTED, "an address on the network has no keeper's socket");
    options_default_run_dir(folder, sizeof folder);
    if (args->socket != NULL) {
        const char *slash = strrchr(args->socket, '/');

        snprintf(folder, sizeof folder, "%.*s", slash != NULL ? (int)(slash - args->socket) : 1,
                 slash != NULL ? args->socket : ".");
    }
    snprintf(out, size, "%s/keeper.sock", folder);
    return 0;
}

/* The keeper's own socket works while the daemon hangs. */
static int estop_by_keeper(const struct args *args, struct error *err)
{
    char path[CONTROL_PATH_MAX];
    int missed = 0;

    int code = control_keeper_path(args, path, sizeof path, err);
    if (code == 0)
        code = keeper_client_estop(path, "nightbench estop", &missed, err);
    if (code == 0 && missed > 0)
        code = error_set(err, ERR_HANG, "%d outputs did not confirm that they are off: look at the bench now",
                         missed);
    return code;
}

int do_estop(const struct args *args)
{
    struct error err = { 0 };

    int code = estop_by_keeper(args, &err);
    if (code == 0) {
        puts(args->json ? "{\"accepted\":\"estop\",\"by\":\"keeper\"}"
                        : "outputs off, by the keeper; latched until nightbench clear \"REASON\"");
        return EXIT_OK;
    }
    if (args->url == NULL)
        fprintf(stderr, "nightbench: the keeper: %s\n", err.message);
    if (code == ERR_HANG) /* the keeper has done what can be done */
        return EXIT_FAILED;
    return post(args, "/api/v1/estop", "outputs off, by the daemon");
}

int control_watch(const struct args *args, const char *run, const volatile sig_atomic_t *stop,
                  cJSON **ret_status, struct error *err)
{
    struct remote *stream, *asking;

    int rc = source_remote(args, &stream, err);
    if (rc != 0)
        return rc;
    rc = source_remote(args, &asking, err);
    if (rc == 0) {
        rc = watch_run(stream, asking, run, stop, args->json ? stderr : stdout, ret_status, err);
        remote_close(asking);
    }
    remote_close(stream);
    return rc;
}

int do_watch(const struct args *args)
{
    struct error err = { 0 };
    cJSON *status;

    if (args->once)
        return do_status(args);
    int rc = control_watch(args, "", control_interrupted(), &status, &err);
    if (rc == WATCH_INTERRUPTED) {
        puts("no longer watching; the run goes on");
        return EXIT_OK;
    }
    if (rc != 0)
        return commands_fail(&err);
    int code = watch_exit_of(show_text(status, "state"));
    if (args->json) {
        char *text = json_print(status, false);

        printf("%s\n", text != NULL ? text : "null");
        cJSON_free(text);
    } else {
        show_status(status, stdout);
    }
    cJSON_Delete(status);
    return code;
}
