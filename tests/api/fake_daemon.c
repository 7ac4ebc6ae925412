/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * fake_daemon: the real HTTP server and the real store behind a daemon that owns no bench: its "run" counts
 * points in a thread. Serves the tests of the API and of the command line, and nothing else.
 *
 *   fake_daemon --db FILE --socket PATH [--port N] [--deadline SECONDS] [--point-ms N] [--no-run]
 *               [--tokens FILE] [--tls-cert FILE --tls-key FILE]
 *
 * The READY line ends with a token of role admin. Commands that were given are printed as they are recorded.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/log.h"
#include "tests/api/fake.h"
#include "web/http.h"

static int fake_events(void *context, uint64_t after, struct daemon_event *out, int max)
{
    struct fake *fake = context;

    return events_read(fake->events, after, out, max);
}

static int fake_subscribe(void *context, void (*wake)(void *), void *wake_context)
{
    struct fake *fake = context;

    return events_subscribe(fake->events, wake, wake_context);
}

static void fake_unsubscribe(void *context, void *wake_context)
{
    struct fake *fake = context;

    events_unsubscribe(fake->events, wake_context);
}

static void fake_audit(void *context, const struct command_audit *audit)
{
    (void)context;
    printf("AUDIT %s %s %s %d %s\n", audit->user, audit->role, audit->action, audit->status, audit->subject);
    fflush(stdout);
}

static const char *option(int argc, char **argv, const char *name)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return i + 1 < argc ? argv[i + 1] : "";
    return NULL;
}

/* That they are waited for, by no other thread. */
static void hold_signals(sigset_t *ret_set)
{
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(ret_set);
    sigaddset(ret_set, SIGTERM);
    sigaddset(ret_set, SIGINT);
    pthread_sigmask(SIG_BLOCK, ret_set, NULL);
}

int main(int argc, char **argv)
{
    struct fake *fake = calloc(1, sizeof *fake);
    const char *db = option(argc, argv, "--db"), *socket = option(argc, argv, "--socket"),
               *port = option(argc, argv, "--port");
    const char *deadline = option(argc, argv, "--deadline"), *point_ms = option(argc, argv, "--point-ms");
    struct error err = { 0 };
    struct web *web;
    sigset_t set;
    int signal_number;

    if (fake == NULL || db == NULL || socket == NULL)
        return 2;
    hold_signals(&set);
    pthread_mutex_init(&fake->lock, NULL);
    log_init("fake_daemon", LOG_WARNING);
    fake->events = events_open();
    fake->point_ms = point_ms != NULL ? atoi(point_ms) : 10;
    snprintf(fake->state, sizeof fake->state, "idle");
    struct command command = { .context = fake,
                               .events = fake_events,
                               .subscribe = fake_subscribe,
                               .unsubscribe = fake_unsubscribe,
                               .audit = fake_audit,
                               .db_path = db };
    fake_documents_serve(&command);
    fake_run_serve(&command);
    fake_queue_serve(&command);
    fake_keys_serve(&command);
    char token[AUTH_SECRET_TEXT];
    struct web_options options = { .port = port != NULL ? atoi(port) : 0,
                                   .socket_path = socket,
                                   .command = &command,
                                   .db_path = db,
                                   .tls_cert_path = option(argc, argv, "--tls-cert"),
                                   .tls_key_path = option(argc, argv, "--tls-key"),
                                   .request_deadline_s = deadline != NULL ? atof(deadline) : 0 };
    int rc = option(argc, argv, "--no-run") == NULL ? recorded_run(db, &err) : 0;
    if (rc == 0)
        rc = auth_open(option(argc, argv, "--tokens"), &options.auth, &err);
    if (rc == 0)
        rc = auth_add(options.auth, "test", ROLE_ADMIN, 1, token, &err);
    if (rc == 0)
        rc = web_open(&options, &web, &err);
    if (rc != 0) {
        fprintf(stderr, "fake_daemon: %s\n", err.message);
        return 1;
    }
    printf("READY http=127.0.0.1:%d socket=%s token=%s\n", web_port(web), socket, token);
    fflush(stdout);
    sigwait(&set, &signal_number);
    fake_run_end(fake);
    web_close(web);
    auth_close(options.auth);
    events_close(fake->events);
    fake_keys_free(fake);
    free(fake);
    return 0;
}
