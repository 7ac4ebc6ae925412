/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * http: with the other http_* files the only one that knows libmicrohttpd. It collects a request, passes it
 * through the gate and the router, runs quick handlers at once and others in a query thread with the
 * connection suspended, and sends the reply.
 *
 * Stopping is ordered because the library aborts the process when it is stopped with a suspended connection:
 * first refuse new work, then finish the queries (each resumes its connection), then end the streams (which
 * resumes theirs), then stop.
 */
#include "web/http.h"

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "daemon/base/text.h"
#include "web/gate.h"
#include "web/http_cache.h"
#include "web/http_reply.h"
#include "web/http_stream.h"
#include "web/hub.h"
#include "web/listen.h"
#include "web/reaper.h"
#include "web/router.h"
#include "web/worker.h"

enum {
    HTTP_IDLE_S = 60,       /* no byte in either direction: also a stream that nobody reads */
    HTTP_MEMORY = 32 << 10, /* per connection, headers included */
    HTTP_STACK = 512 << 10, /* threads that parse JSON */
    HTTP_PEM_MAX = 256 << 10,
    HTTP_OTHER_FILES = 256 /* descriptors that the rest of the daemon needs */
};

struct listener {
    struct web *web;
    struct MHD_Daemon *daemon;
    bool local;
    int port;
};

struct web {
    struct web_options options;
    char socket_path[256], site[64];
    char *tls_cert, *tls_key; /* PEM; the library reads them for as long as it runs */
    struct listener tcp, local;
    struct worker *worker;
    struct hub *hub;
    struct reaper *reaper;
    struct http_cache cache;
    _Atomic bool closing;
    _Atomic uint64_t posts; /* handled: a POST makes the cache stale */
    struct web_counters counters;
};

/* One request. Made before its headers are read, freed when its reply is out. */
struct exchange {
    struct worker_job job; /* first: the worker's pointer is ours */
    struct listener *listener;
    struct MHD_Connection *connection;
    bool started, replied; /* headers seen; reply filled by a worker */
    char target[WEB_TARGET_MAX + 2];
    const char *raw_target; /* where the library keeps it */
    size_t raw_length;
    struct web_header header[WEB_HEADERS_MAX];
    struct web_request request;
    struct web_reply reply;
    struct web_call call;
    char *body;
    size_t body_length;
    bool body_too_large;
    uint64_t revocations; /* when the token was looked at */
};

static char tls_priorities[] =
    "SECURE256:+SECURE128:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"; /* the library's type is not const */

/* ---- Replies ---- */

static enum MHD_Result send_reply(struct exchange *exchange)
{
    struct MHD_Response *response = http_make_response(&exchange->reply);

    if (response == NULL)
        return MHD_NO; /* closes the connection */
    enum MHD_Result result =
        MHD_queue_response(exchange->connection, (unsigned)exchange->reply.status, response);
    MHD_destroy_response(response);
    return result;
}

/* ---- Requests ---- */

static void log_request(const struct exchange *exchange)
{
    if (strcmp(exchange->request.method, "POST") == 0 || exchange->reply.status >= 500)
        log_info("%s %.*s: %d (%s)", exchange->request.method, (int)strcspn(exchange->target, "?"),
                 exchange->target, exchange->reply.status, exchange->call.who.name);
}

/* Every command with who gave it and what came of it, also when the role did not suffice. */
static void audit(const struct exchange *exchange)
{
    const struct command *command = exchange->call.command;
    const struct auth_identity *who = &exchange->call.who;
    const struct web_request *request = &exchange->request;
    char action[AUDIT_ACTION_MAX];

    if ((exchange->call.route->flags & ROUTE_COMMAND) == 0 || command == NULL || command->audit == NULL)
        return;
    if (who->role == ROLE_PUBLIC) /* nobody in particular cannot fill the store with refusals */
        return;
    /* The path and not the query, which may hold a code. */
    snprintf(action, sizeof action, "%s %.*s%s%s", request->method, (int)strcspn(request->target, "?"),
             request->target, exchange->call.about[0] != '\0' ? " " : "", exchange->call.about);
    struct command_audit entry = { .user = who->name,
                                   .role = AUTH_ROLES[who->role - 1],
                                   .action = action,
                                   .status = exchange->reply.status,
                                   .subject = exchange->reply.location[0] != '\0' ? exchange->reply.location
                                                                                  : exchange->reply.why };
    command->audit(command->context, &entry);
}

static void run_call(struct exchange *exchange, struct query *query)
{
    exchange->call.query = query;
    router_run(&exchange->call);
    if (exchange->reply.status == 401) /* a code that is none */
        atomic_fetch_add(&exchange->listener->web->counters.unauthorized, 1);
    audit(exchange);
    if (strcmp(exchange->request.method, "POST") == 0)
        atomic_fetch_add(&exchange->listener->web->posts, 1);
    log_request(exchange);
}

static void run_job(struct worker_job *job, struct query *query, const struct error *err)
{
    struct exchange *exchange = (struct exchange *)job;

    exchange->call.query_error = err; /* for a handler that needs the store; others do without */
    run_call(exchange, query);
    exchange->replied = true;
    MHD_resume_connection(
        exchange->connection); /* publishes what was written above: it takes the library's lock */
}

static uint64_t cache_generation(struct web *web)
{
    return hub_generation(web->hub) + atomic_load(&web->posts);
}

static enum MHD_Result send_cached(struct exchange *exchange)
{
    struct web *web = exchange->listener->web;
    enum MHD_Result result;
    /* Before the answer is made: at worst it is made once too often. */
    uint64_t generation = cache_generation(web);

    if (http_cache_send(&web->cache, exchange->connection, exchange->call.route, generation, &result))
        return result;
    run_call(exchange, NULL);
    if (exchange->reply.status != MHD_HTTP_OK)
        return send_reply(exchange);
    return http_cache_make(&web->cache, exchange->connection, exchange->call.route, generation,
                           &exchange->reply);
}

static enum MHD_Result start_stream(struct exchange *exchange)
{
    const char *last = request_header(&exchange->request, "Last-Event-ID");
    struct web *web = exchange->listener->web;
    bool local = exchange->listener->local;
    enum MHD_Result result;
    struct error err = { 0 };

    int rc = http_stream_start(exchange->connection, web->hub, last != NULL ? strtoull(last, NULL, 10) : 0,
                               local ? NULL : web->options.auth, exchange->revocations, &result, &err);
    if (rc == 0)
        return result;
    reply_problem(&exchange->reply, 503, error_name(err.code), err.message, NULL,
                  "share one stream between pages");
    return send_reply(exchange);
}

static enum MHD_Result dispatch(struct exchange *exchange)
{
    struct web *web = exchange->listener->web;

    if (exchange->body != NULL) {
        exchange->request.body = exchange->body;
        exchange->request.body_length = exchange->body_length;
    }
    unsigned flags = exchange->call.route->flags;
    if ((flags & ROUTE_STREAM) != 0)
        return start_stream(exchange);
    if ((flags & ROUTE_CACHED) != 0)
        return send_cached(exchange);
    if ((flags & ROUTE_QUICK) != 0) {
        run_call(exchange, NULL);
        return send_reply(exchange);
    }
    exchange->job.run = run_job;
    MHD_suspend_connection(exchange->connection); /* before the worker can resume it */
    if (worker_submit(web->worker, &exchange->job))
        return MHD_YES;
    reply_problem(&exchange->reply, 503, "full", "too many queries are waiting, or the daemon is stopping",
                  NULL, "try again in a second");
    exchange->replied = true;
    MHD_resume_connection(exchange->connection);
    return MHD_YES;
}

static enum MHD_Result collect_header(void *context, enum MHD_ValueKind kind, const char *key,
                                      const char *value)
{
    struct exchange *exchange = context;
    int n = exchange->request.header_count;

    (void)kind;
    if (n == WEB_HEADERS_MAX)
        return MHD_NO;
    exchange->header[n] = (struct web_header){ key, value != NULL ? value : "" };
    exchange->request.header_count = n + 1;
    return MHD_YES;
}

/* Which resource, and may they? */
static bool find_call(struct exchange *exchange)
{
    struct web *web = exchange->listener->web;

    exchange->call = (struct web_call){ .request = &exchange->request,
                                        .command = web->options.command,
                                        .auth = web->options.auth,
                                        .site = web_site(web),
                                        .counters = &web->counters,
                                        .reply = &exchange->reply };
    if (!router_find(&exchange->call))
        return false;
    if (web->options.auth != NULL)
        exchange->revocations = auth_revocations(web->options.auth);
    if (router_authorize(&exchange->call))
        return true;
    atomic_fetch_add(&web->counters.unauthorized, 1);
    audit(exchange);
    return false;
}

static bool pass_gate(struct exchange *exchange, const char *version)
{
    const struct web_request *request = &exchange->request;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(exchange->connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    struct gate_head head = { .method = request->method,
                              .target = exchange->raw_target,
                              .target_length = exchange->raw_length,
                              .version = version,
                              .header = exchange->header,
                              .header_count = request->header_count,
                              .length = info != NULL ? info->header_size : 0 };

    if (gate_check_head(&head, &exchange->reply) && gate_check(request, &exchange->reply))
        return true;
    atomic_fetch_add(&exchange->listener->web->counters.refused, 1);
    return false;
}

/* The headers are there: gate, route, role. Refused requests are answered before their body is read. */
static enum MHD_Result begin_exchange(struct exchange *exchange, const char *method, const char *version)
{
    struct web_request *request = &exchange->request;

    exchange->started = true;
    request->method = method;
    request->target = exchange->target;
    request->header = exchange->header;
    request->body = "";
    request->local = exchange->listener->local;
    request->tls = !request->local && exchange->listener->web->tls_cert != NULL;
    request->port = exchange->listener->port;
    int total = MHD_get_connection_values(exchange->connection, MHD_HEADER_KIND, NULL, NULL);
    if (total > WEB_HEADERS_MAX) {
        reply_problem(&exchange->reply, 431, "full", "more than 64 header lines", NULL, NULL);
        exchange->reply.close = true;
        return send_reply(exchange);
    }
    MHD_get_connection_values(exchange->connection, MHD_HEADER_KIND, collect_header, exchange);
    if (atomic_load(&exchange->listener->web->closing)) {
        reply_problem(&exchange->reply, 503, "cancelled", "the daemon is stopping", NULL, NULL);
        exchange->reply.close = true;
        return send_reply(exchange);
    }
    if (!pass_gate(exchange, version))
        return send_reply(exchange);
    return find_call(exchange) ? MHD_YES : send_reply(exchange);
}

static void collect_body(struct exchange *exchange, const char *data, size_t size)
{
    if (exchange->body_too_large || exchange->body_length + size > WEB_BODY_MAX) {
        exchange->body_too_large = true;
        return;
    }
    char *body = realloc(exchange->body, exchange->body_length + size + 1);
    if (body == NULL) {
        exchange->body_too_large = true;
        return;
    }
    memcpy(body + exchange->body_length, data, size);
    exchange->body = body;
    exchange->body_length += size;
    body[exchange->body_length] = '\0';
}

static enum MHD_Result on_request(void *context, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_size, void **state)
{
    struct exchange *exchange = *state;
    struct listener *listener = context;

    (void)url; /* decoded by the library, leniently; ours is exchange->target */
    if (exchange == NULL)
        return MHD_NO;
    exchange->connection = connection;
    if (!exchange->started)
        return begin_exchange(exchange, method, version);
    if (*upload_size > 0) {
        collect_body(exchange, upload, *upload_size);
        *upload_size = 0;
        return MHD_YES;
    }
    if (exchange->replied)
        return send_reply(exchange);
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    reaper_hold(listener->web->reaper, info->socket_context);
    if (exchange->body_too_large) {
        reply_problem(&exchange->reply, 413, "full", "the body is larger than 1 MiB", NULL, NULL);
        exchange->reply.close = true;
        return send_reply(exchange);
    }
    return dispatch(exchange);
}

/* First sign of a request: its raw target, before the library decodes it. */
static void *on_target(void *context, const char *target, struct MHD_Connection *connection)
{
    struct exchange *exchange = calloc(1, sizeof *exchange);

    if (exchange == NULL)
        return NULL;
    exchange->listener = context;
    exchange->connection = connection;
    exchange->raw_target = target;
    exchange->raw_length = strlen(target);
    reply_init(&exchange->reply);
    /* One byte more than allowed is kept, so that the gate sees that it is too long. */
    snprintf(exchange->target, sizeof exchange->target, "%s", target);
    return exchange;
}

static void on_completed(void *context, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode how)
{
    struct exchange *exchange = *state;
    struct listener *listener = context;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

    (void)how;
    if (info != NULL)
        reaper_restart(listener->web->reaper, info->socket_context);
    if (exchange == NULL)
        return;
    atomic_fetch_add(&listener->web->counters.requests, 1);
    reply_free(&exchange->reply);
    free(exchange->body);
    free(exchange);
    *state = NULL;
}

static void on_connection(void *context, struct MHD_Connection *connection, void **socket_context,
                          enum MHD_ConnectionNotificationCode what)
{
    struct listener *listener = context;

    if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
        atomic_fetch_sub(&listener->web->counters.connections, 1);
        reaper_remove(listener->web->reaper, *socket_context);
        *socket_context = NULL;
        return;
    }
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    atomic_fetch_add(&listener->web->counters.connections, 1);
    *socket_context = reaper_add(listener->web->reaper, info->connect_fd, !listener->local);
}

/* ---- Life ---- */

static void __attribute__((format(printf, 2, 0)))
on_library_log(void *context, const char *format, va_list arguments)
{
    char text[256];

    (void)context;
    vsnprintf(text, sizeof text, format, arguments); /* the library's own format strings */
    text[strcspn(text, "\r\n")] = '\0';
    log_debug("http library: %s", text);
}

/* Takes the listening descriptor. */
static int start_listener(struct listener *listener, int fd, struct error *err)
{
    const struct web *web = listener->web;
    bool tls = !listener->local && web->tls_cert != NULL;
    struct MHD_OptionItem more[] = { { MHD_OPTION_HTTPS_MEM_CERT, 0, web->tls_cert },
                                     { MHD_OPTION_HTTPS_MEM_KEY, 0, web->tls_key },
                                     { MHD_OPTION_HTTPS_PRIORITIES, 0, tls_priorities },
                                     { MHD_OPTION_END, 0, NULL } };

    listener->daemon = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_USE_INTERNAL_POLLING_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ITC |
            MHD_USE_ERROR_LOG | (tls ? MHD_USE_TLS : 0),
        (uint16_t)0, NULL, NULL, on_request, listener, MHD_OPTION_EXTERNAL_LOGGER, on_library_log, NULL,
        MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT, (unsigned)WEB_CONNECTIONS_MAX,
        MHD_OPTION_PER_IP_CONNECTION_LIMIT, (unsigned)(listener->local ? 0 : WEB_CONNECTIONS_PER_ADDRESS),
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)HTTP_IDLE_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)HTTP_MEMORY, MHD_OPTION_THREAD_STACK_SIZE, (size_t)HTTP_STACK, MHD_OPTION_STRICT_FOR_CLIENT,
        1, MHD_OPTION_URI_LOG_CALLBACK, on_target, listener, MHD_OPTION_NOTIFY_COMPLETED, on_completed,
        listener, MHD_OPTION_NOTIFY_CONNECTION, on_connection, listener, MHD_OPTION_ARRAY,
        tls ? more : &more[sizeof more / sizeof more[0] - 1], MHD_OPTION_END);
    if (listener->daemon != NULL)
        return 0;
    close(fd);
    return error_set(err, ERR_IO, "the HTTP library does not start; its reason is in the log at level debug");
}

/* The listener is complete before its thread runs. */
static int start_local(struct web *web, const char *path, struct error *err)
{
    int fd;

    int rc = listen_unix(path, &fd, err);
    if (rc != 0)
        return rc;
    snprintf(web->socket_path, sizeof web->socket_path, "%s",
             path); /* ours from here on: removed at the end */
    return start_listener(&web->local, fd, err);
}

static int start_tcp(struct web *web, int port, struct error *err)
{
    int fd;

    int rc = listen_tcp(port, &fd, &web->tcp.port, err);
    if (rc != 0)
        return rc;
    snprintf(web->site, sizeof web->site, "%s://127.0.0.1:%d", web->tls_cert != NULL ? "https" : "http",
             web->tcp.port);
    return start_listener(&web->tcp, fd, err);
}

static int read_tls(struct web *web, struct error *err)
{
    const char *cert = web->options.tls_cert_path, *key = web->options.tls_key_path;

    if (cert == NULL && key == NULL)
        return 0;
    if (cert == NULL || key == NULL)
        return error_set(err, ERR_INVALID, "TLS needs a certificate and its key");
    if (MHD_is_feature_supported(MHD_FEATURE_TLS) != MHD_YES)
        return error_set(err, ERR_UNSUPPORTED, "this build of the HTTP library has no TLS");
    int rc = text_read_file(key, HTTP_PEM_MAX, &web->tls_key, NULL, err);
    if (rc == 0)
        rc = text_read_file(cert, HTTP_PEM_MAX, &web->tls_cert, NULL, err);
    return rc;
}

int web_open(const struct web_options *options, struct web **ret_web, struct error *err)
{
    struct web *web = calloc(1, sizeof *web);

    if (web == NULL)
        return error_set(err, ERR_MEMORY, "no memory for the HTTP server");
    web->options = *options;
    web->tcp = (struct listener){ .web = web };
    web->local = (struct listener){ .web = web, .local = true };
    http_cache_init(&web->cache);
    double deadline_s =
        options->request_deadline_s > 0 ? options->request_deadline_s : WEB_REQUEST_DEADLINE_S;

    listen_raise_limit(2 * WEB_CONNECTIONS_MAX + HTTP_OTHER_FILES);
    int rc = read_tls(web, err);
    if (rc == 0)
        rc = hub_open(options->command, &web->hub, err);
    if (rc == 0)
        rc = reaper_open((int64_t)(deadline_s * NS_PER_S), WEB_UNFINISHED_MAX, &web->reaper, err);
    if (rc == 0)
        rc = worker_open(options->db_path, &web->worker, err);
    /* TCP first: it settles the site's name, which the threads of both listeners read. */
    if (rc == 0 && options->port >= 0)
        rc = start_tcp(web, options->port, err);
    if (rc == 0 && options->socket_path != NULL)
        rc = start_local(web, options->socket_path, err);
    if (rc != 0) {
        web_close(web);
        return rc;
    }
    *ret_web = web;
    return 0;
}

void web_close(struct web *web)
{
    if (web == NULL)
        return;
    atomic_store(&web->closing, true);
    worker_close(web->worker);
    if (web->hub != NULL)
        hub_shut(web->hub);
    if (web->tcp.daemon != NULL)
        MHD_stop_daemon(web->tcp.daemon);
    if (web->local.daemon != NULL)
        MHD_stop_daemon(web->local.daemon); /* closes the listening socket */
    if (web->socket_path[0] != '\0')
        unlink(web->socket_path);
    http_cache_free(&web->cache);
    hub_close(web->hub);
    reaper_close(web->reaper);
    if (web->tls_key != NULL)
        explicit_bzero(web->tls_key, strlen(web->tls_key));
    free(web->tls_key);
    free(web->tls_cert);
    free(web);
}

int web_port(const struct web *web)
{
    return web->tcp.port;
}

const char *web_site(const struct web *web)
{
    return web->site[0] != '\0' ? web->site : NULL;
}
