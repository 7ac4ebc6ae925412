/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * nightbench-safe: switches a bench off, with nothing else running. It asks the keeper; where none is left it
 * opens the links itself, reads what is on, and switches that off in the order of the bench file. */
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/base/log.h"
#include "daemon/base/text.h"
#include "daemon/keeper/keeper.h"
#include "daemon/options.h"
#include "instruments/keeper_client.h"

enum { ASK_TRIES = 10, ASK_PAUSE_MS = 50 };
enum { EXIT_MISSED = 1, EXIT_USAGE = 2, EXIT_FAILED = 4 };

static int usage(FILE *out, int status)
{
    fputs("usage: nightbench-safe off           [--bench FILE [--links FILE] [--clock SOCKET]]\n"
          "       nightbench-safe estop REASON  [--bench FILE ...]\n"
          "       nightbench-safe clear REASON\n"
          "       nightbench-safe status\n"
          "  --socket PATH  of the keeper (default: keeper.sock in the daemon's run directory)\n"
          "  --state DIR    where the latch is kept when no keeper runs (default: beside the socket)\n"
          "off: everything off in the ordinary order. estop: in emergency order, latched until cleared.\n"
          "Where no keeper runs, off and estop do the work themselves if they are told --bench; clear always "
          "does.\n"
          "Exit: 0 all confirmed, 1 some outputs did not confirm (named on stderr), 2 usage, 4 failed.\n",
          out);
    return status;
}

static int finish(int code, int missed, const struct error *err)
{
    if (code) {
        log_error("nightbench-safe", err);
        return EXIT_FAILED;
    }
    if (missed > 0) {
        fprintf(stderr, "nightbench-safe: %d outputs did not confirm that they are off: look at the bench\n",
                missed);
        return EXIT_MISSED;
    }
    puts("everything is off");
    return 0;
}

static int run_without_keeper(struct keeper *keeper, const char *estop_reason)
{
    char reason[KEEPER_REASON_MAX];
    if (!estop_reason)
        return keeper_safe(keeper, false, true, "nightbench-safe without a keeper");
    snprintf(reason, sizeof reason, "emergency stop: %.200s", estop_reason);
    keeper_latch(keeper, reason);
    return keeper_safe(keeper, true, true, reason);
}

/* folder: where the keeper's socket is by default; NULL when the user has named it. */
static int off(const struct keeper_options *options, const char *folder, const char *estop_reason)
{
    struct error err = { 0 };
    int missed = 0, code = ERR_LINK;
    /* A keeper that dies while it is asked leaves a successor, or nobody: ask again until it is clear which.
     */
    for (int i = 0; code == ERR_LINK && i < ASK_TRIES; i++) {
        if (i > 0)
            poll(NULL, 0, ASK_PAUSE_MS);
        code = estop_reason ? keeper_client_estop(options->socket_path, estop_reason, &missed, &err)
                            : keeper_client_off(options->socket_path, &missed, &err);
    }
    if (code != ERR_NO_ANSWER || !options->bench_path)
        return finish(code, missed, &err);
    log_notice("no keeper: opening the links of %s", options->bench_path);
    struct keeper *keeper = NULL;
    code = folder != NULL ? options_make_run_dir(folder, &err) : 0; /* the lock goes there */
    if (!code)
        code = keeper_open(options, &keeper, &err);
    if (!code)
        missed = run_without_keeper(keeper, estop_reason);
    keeper_close(keeper);
    return finish(code, missed, &err);
}

/* Nobody to ask: the lock keeps a keeper from beginning meanwhile. */
static int clear_file(const struct keeper_options *options, const char *reason, struct error *err)
{
    char path[LATCH_PATH_MAX];
    struct latch_record latch;
    int lock_fd = -1, code = latch_file_path(options->state_dir, options->socket_path, path, err);
    if (!code)
        code = supervise_lock(options->socket_path, &lock_fd, err);
    if (!code && !latch_file_read(path, &latch))
        code = error_set(err, ERR_NOT_FOUND, "no keeper at %s, and no latch in %s: --state names its folder",
                         options->socket_path, path);
    if (!code)
        code = text_remove_file(path, err);
    if (!code)
        log_notice("latch '%s' cleared without a keeper: %s", latch.reason, reason);
    if (lock_fd >= 0)
        close(lock_fd);
    return code;
}

static int clear_latch(const struct keeper_options *options, const char *folder, const char *reason)
{
    struct error err = { 0 };
    int code = reason[strspn(reason, " ")] == '\0' ? error_set(&err, ERR_INVALID, "clearing needs a reason")
                                                   : keeper_client_clear(options->socket_path, reason, &err);
    if (code == ERR_NO_ANSWER) {
        code = folder != NULL ? options_make_run_dir(folder, &err) : 0; /* the lock goes there */
        if (!code)
            code = clear_file(options, reason, &err);
    }
    if (code)
        return finish(code, 0, &err);
    puts("cleared");
    return 0;
}

static int status(const struct keeper_options *options)
{
    struct error err = { 0 };
    char *json = NULL;
    int code = keeper_client_status(options->socket_path, &json, &err);
    if (code)
        return finish(code, 0, &err);
    puts(json);
    free(json);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct option OPTIONS[] = { { "bench", required_argument, NULL, 'b' },
                                             { "socket", required_argument, NULL, 's' },
                                             { "links", required_argument, NULL, 'l' },
                                             { "clock", required_argument, NULL, 'c' },
                                             { "state", required_argument, NULL, 'd' },
                                             { "help", no_argument, NULL, 'h' },
                                             { 0 } };
    struct keeper_options options = { 0 };
    char folder[OPTIONS_PATH_MAX], path[OPTIONS_PATH_MAX + 16];
    log_init("nightbench-safe", LOG_INFO);
    signal(SIGPIPE, SIG_IGN);
    for (int c; (c = getopt_long(argc, argv, "", OPTIONS, NULL)) != -1;) {
        switch (c) {
        case 'b':
            options.bench_path = optarg;
            break;
        case 's':
            options.socket_path = optarg;
            break;
        case 'l':
            options.links_path = optarg;
            break;
        case 'c':
            options.clock_path = optarg;
            break;
        case 'd':
            options.state_dir = optarg;
            break;
        case 'h':
            return usage(stdout, 0);
        default:
            return usage(stderr, EXIT_USAGE);
        }
    }
    const char *command = optind < argc ? argv[optind] : "";
    const char *reason = optind + 1 < argc ? argv[optind + 1] : NULL;
    bool own_socket = options.socket_path != NULL;
    if (!own_socket) {
        options_default_run_dir(folder, sizeof folder);
        snprintf(path, sizeof path, "%s/keeper.sock", folder);
        options.socket_path = path;
    }
    if (optind + (reason ? 2 : 1) != argc)
        return usage(stderr, EXIT_USAGE);
    if (strcmp(command, "off") == 0 && !reason)
        return off(&options, own_socket ? NULL : folder, NULL);
    if (strcmp(command, "estop") == 0 && reason)
        return off(&options, own_socket ? NULL : folder, reason);
    if (strcmp(command, "clear") == 0 && reason)
        return clear_latch(&options, own_socket ? NULL : folder, reason);
    if (strcmp(command, "status") == 0 && !reason)
        return status(&options);
    return usage(stderr, EXIT_USAGE);
}
