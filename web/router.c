/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * router: the table, matching segment by segment, and strict query parameters: a name that a route does not
 * know is refused, because a misspelt "limt" that is silently ignored costs an hour later.
 */
#include "web/router.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/hash.h"

#define NAMES(...) ((const char *const[]){ __VA_ARGS__, NULL })

static const struct web_route routes[] = {
    { "GET", "/healthz", ROLE_PUBLIC, ROUTE_QUICK, NULL, api_health, "Is the daemon alive" },
    { "GET", "/login", ROLE_PUBLIC, ROUTE_QUICK | ROUTE_COMMAND, NAMES("code"), api_login_use,
      "Signs a browser in with a one-time code" },
    { "GET", "/metrics", ROLE_VIEWER, 0, NULL, api_metrics, "State and counters as Prometheus text" },
    { "GET", "/api/v1/status", ROLE_VIEWER, ROUTE_QUICK | ROUTE_CACHED, NULL, api_status,
      "State, progress, rails" },
    { "GET", "/api/v1/bench", ROLE_VIEWER, 0, NULL, api_bench, "Bench file, rails, limits" },
    { "GET", "/api/v1/instruments", ROLE_VIEWER, 0, NULL, api_instruments,
      "Instruments with their identities" },
    { "POST", "/api/v1/instruments/{id}/query", ROLE_OPERATOR, ROUTE_COMMAND, NULL, api_instrument_query,
      "Sends a raw command to an instrument while no run is active" },
    { "POST", "/api/v1/instruments/{id}/report", ROLE_OPERATOR, ROUTE_COMMAND, NULL, api_instrument_report,
      "Asks an instrument for its identity, states and readings while no run is active" },
    { "POST", "/api/v1/scan", ROLE_OPERATOR, ROUTE_COMMAND, NULL, api_scan,
      "Asks every instrument who it is while no run is active" },
    { "GET", "/api/v1/chips", ROLE_VIEWER, 0, NULL, api_chips, "Chip profile and the chip in the socket" },
    { "GET", "/api/v1/campaigns", ROLE_VIEWER, 0, NULL, api_campaigns, "Campaign files of the daemon" },
    { "POST", "/api/v1/campaigns/check", ROLE_VIEWER, 0, NULL, api_campaign_check,
      "Every mistake of a campaign" },
    { "POST", "/api/v1/campaigns/plan", ROLE_VIEWER, 0, NULL, api_campaign_plan,
      "Steps, points, duration and bytes of a campaign" },
    { "POST", "/api/v1/runs", ROLE_OPERATOR, ROUTE_KEYED | ROUTE_COMMAND, NULL, api_run_start,
      "Queues a run; it begins at once when the bench is free" },
    { "GET", "/api/v1/queue", ROLE_VIEWER, 0, NULL, api_queue, "What waits, in order, and why" },
    { "POST", "/api/v1/queue", ROLE_OPERATOR, ROUTE_KEYED | ROUTE_COMMAND, NULL, api_queue_add,
      "Queues a run, as POST /runs without \"now\"" },
    { "POST", "/api/v1/queue/hold", ROLE_OPERATOR, ROUTE_KEYABLE | ROUTE_COMMAND, NULL, api_queue_hold,
      "Begins no more runs; the one under way goes on" },
    { "POST", "/api/v1/queue/release", ROLE_OPERATOR, ROUTE_KEYABLE | ROUTE_COMMAND, NULL, api_queue_release,
      "Lets a queue that was held go on" },
    { "GET", "/api/v1/queue/{id}", ROLE_VIEWER, 0, NULL, api_queue_entry, "One entry with its campaign" },
    { "POST", "/api/v1/queue/{id}/edit", ROLE_OPERATOR, ROUTE_KEYABLE | ROUTE_COMMAND, NULL, api_queue_edit,
      "Changes an entry that waits" },
    { "POST", "/api/v1/queue/{id}/move", ROLE_OPERATOR, ROUTE_KEYABLE | ROUTE_COMMAND, NULL, api_queue_move,
      "Moves an entry to a place" },
    { "POST", "/api/v1/queue/{id}/remove", ROLE_OPERATOR, ROUTE_KEYABLE | ROUTE_COMMAND, NULL,
      api_queue_remove, "Removes an entry that waits" },
    { "POST", "/api/v1/pause", ROLE_OPERATOR, ROUTE_KEYABLE | ROUTE_COMMAND, NULL, api_pause,
      "Pauses the run between points, with the outputs off if asked" },
    { "POST", "/api/v1/resume", ROLE_OPERATOR, ROUTE_KEYABLE | ROUTE_COMMAND, NULL, api_resume,
      "Goes on with a run that is paused, held or interrupted" },
    { "POST", "/api/v1/stop", ROLE_OPERATOR, ROUTE_QUICK | ROUTE_COMMAND, NULL, api_stop,
      "Ends the run after this point" },
    { "POST", "/api/v1/abort", ROLE_OPERATOR, ROUTE_QUICK | ROUTE_COMMAND, NULL, api_abort,
      "Ends the run now, with an ordered power-down" },
    /* Whoever may look may switch everything off: the chip survives. */
    { "POST", "/api/v1/estop", ROLE_VIEWER, ROUTE_QUICK | ROUTE_COMMAND, NULL, api_estop,
      "Outputs off first" },
    { "POST", "/api/v1/clear", ROLE_OPERATOR, ROUTE_KEYABLE | ROUTE_COMMAND, NULL, api_clear,
      "Ends a latched emergency stop or trip" },
    { "GET", "/api/v1/audit", ROLE_ADMIN, 0, NAMES("user", "from", "to", "before", "limit"), api_audit,
      "Commands with who gave them and what came of it, newest first" },
    { "GET", "/api/v1/tokens", ROLE_ADMIN, 0, NULL, api_tokens, "Who may ask, without any secret" },
    { "POST", "/api/v1/tokens", ROLE_ADMIN, ROUTE_COMMAND, NULL, api_token_add,
      "Makes a token, told this once" },
    { "POST", "/api/v1/tokens/revoke", ROLE_ADMIN, ROUTE_COMMAND, NULL, api_token_revoke,
      "Ends a token and the sessions of its name" },
    { "POST", "/api/v1/login", ROLE_ADMIN, ROUTE_COMMAND, NULL, api_login_make,
      "Makes a one-time address that signs a browser in" },
    { "GET", "/api/v1/runs", ROLE_VIEWER, 0, NAMES("limit", "before"), api_runs, "Runs, newest first" },
    { "GET", "/api/v1/runs/{id}", ROLE_VIEWER, 0, NULL, api_run, "One run with its snapshots" },
    { "GET", "/api/v1/runs/{id}/points", ROLE_VIEWER, 0, NAMES("step"), api_run_points,
      "Points with verdicts and readings" },
    { "GET", "/api/v1/runs/{id}/samples", ROLE_VIEWER, 0, NAMES("step", "cell", "offset", "limit"),
      api_run_samples, "Inference results of one point" },
    { "GET", "/api/v1/runs/{id}/channels", ROLE_VIEWER, 0, NULL, api_run_channels,
      "Channels that the run recorded" },
    { "GET", "/api/v1/runs/{id}/traces", ROLE_VIEWER, 0, NAMES("channel", "t0", "t1", "pixels"),
      api_run_traces, "A channel over time: least, greatest and mean per pixel" },
    { "GET", "/api/v1/runs/{id}/events", ROLE_VIEWER, 0, NAMES("after", "limit"), api_run_events,
      "Recorded events and reports" },
    { "GET", "/api/v1/runs/{id}/calibrations", ROLE_VIEWER, 0, NULL, api_run_calibrations,
      "Calibrations of the run's chip" },
    { "GET", "/api/v1/runs/{id}/tensors", ROLE_VIEWER, 0, NAMES("sample"), api_run_tensors,
      "Layer by layer values of one sample" },
    { "GET", "/api/v1/runs/{id}/export", ROLE_VIEWER, 0, NAMES("what", "format"), api_run_export,
      "A table of the run as a file" },
    { "GET", "/api/v1/compare", ROLE_VIEWER, 0, NAMES("a", "b"), api_compare,
      "Two runs, joined by cell and sample" },
    { "GET", "/api/v1/events", ROLE_VIEWER, ROUTE_STREAM, NULL, NULL,
      "Live events as a stream (server-sent events)" },
};

const struct web_route *router_table(size_t *ret_count)
{
    *ret_count = sizeof routes / sizeof routes[0];
    return routes;
}

/* Compares segment by segment; "{id}" takes any segment that is not empty. */
static bool match(const char *pattern, const char *target, char id[WEB_SEGMENT_MAX])
{
    id[0] = '\0';
    for (;;) {
        size_t want = strcspn(pattern, "/"), have = strcspn(target, "/?");

        if (want > 0 && pattern[0] == '{') {
            if (have == 0 || !request_decode(target, have, id, WEB_SEGMENT_MAX))
                return false;
        } else if (want != have || strncmp(pattern, target, want) != 0) {
            return false;
        }
        pattern += want;
        target += have;
        if (*pattern == '\0')
            return *target == '\0' || *target == '?';
        if (*target != '/')
            return false;
        pattern++;
        target++;
    }
}

static bool method_matches(const char *route, const char *method)
{
    return strcmp(route, method) == 0 || (strcmp(method, "HEAD") == 0 && strcmp(route, "GET") == 0);
}

static bool name_known(const struct web_route *route, const char *name)
{
    for (int i = 0; route->query != NULL && route->query[i] != NULL; i++)
        if (strcmp(route->query[i], name) == 0)
            return true;
    return false;
}

/* Splits "a=1&b=2" at `*cursor`; returns false at its end. */
static bool next_parameter(const char **cursor, const char **name, size_t *name_length, const char **value,
                           size_t *value_length)
{
    const char *at = *cursor;

    if (*at == '\0')
        return false;
    size_t whole = strcspn(at, "&");
    size_t length = strcspn(at, "=&");
    *name = at;
    *name_length = length;
    *value = length < whole ? at + length + 1 : at + whole;
    *value_length = length < whole ? whole - length - 1 : 0;
    *cursor = at[whole] == '&' ? at + whole + 1 : at + whole;
    return true;
}

static const char *query_of(const struct web_request *request)
{
    const char *mark = strchr(request->target, '?');

    return mark != NULL ? mark + 1 : "";
}

/* Every parameter is known to the route, well formed and given once. */
static bool check_parameters(struct web_call *call)
{
    const char *cursor = query_of(call->request), *name, *value;
    size_t name_length, value_length;
    char seen[WEB_PARAMETERS_MAX][32], text[WEB_VALUE_MAX];
    int count = 0;

    while (next_parameter(&cursor, &name, &name_length, &value, &value_length)) {
        char detail[160], pointer[48];

        if (count == WEB_PARAMETERS_MAX ||
            !request_decode(name, name_length, seen[count], sizeof seen[count]) ||
            !request_decode(value, value_length, text, sizeof text)) {
            reply_problem(call->reply, 400, "invalid", "the query is malformed or has too many parameters",
                          NULL, NULL);
            return false;
        }
        snprintf(pointer, sizeof pointer, "?%.31s", seen[count]);
        bool again = false;
        for (int i = 0; i < count; i++)
            again |= strcmp(seen[i], seen[count]) == 0;
        if (again || !name_known(call->route, seen[count])) {
            const char *near =
                call->route->query != NULL ? json_nearest(seen[count], call->route->query) : NULL;
            char hint[64] = "";

            snprintf(detail, sizeof detail, "query parameter '%.31s' is %s", seen[count],
                     again ? "given twice" : "not known here");
            if (near != NULL && !again)
                snprintf(hint, sizeof hint, "did you mean '%s'?", near);
            reply_problem(call->reply, 400, "invalid", detail, pointer, hint);
            return false;
        }
        count++;
    }
    return true;
}

bool router_find(struct web_call *call)
{
    const char *allow = NULL;

    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
        if (!match(routes[i].pattern, call->request->target, call->id))
            continue;
        if (method_matches(routes[i].method, call->request->method)) {
            call->route = &routes[i];
            return check_parameters(call);
        }
        if (allow != NULL)
            allow = "GET, HEAD, POST";
        else
            allow = strcmp(routes[i].method, "GET") == 0 ? "GET, HEAD" : "POST";
    }
    call->route = NULL;
    if (allow != NULL) {
        reply_problem(call->reply, 405, "unsupported", "this resource does not know that method", NULL,
                      allow);
        call->reply->allow = allow;
    } else {
        reply_problem(call->reply, 404, "not_found", "there is no such resource", NULL,
                      "docs/api.md lists the resources");
    }
    return false;
}

bool router_authorize(struct web_call *call)
{
    bool ok = auth_check(call->auth, call->request, &call->who);
    char detail[160];

    if (call->route->role == ROLE_PUBLIC || (ok && call->who.role >= call->route->role))
        return true;
    if (!ok || call->who.role == ROLE_PUBLIC) {
        reply_problem(
            call->reply, 401, "unauthorized",
            ok ? "this needs a token" : "the token or session is not valid, or no longer", NULL,
            "Authorization: Bearer TOKEN ('nightbench token add NAME'), or 'nightbench login' for a browser");
        return false;
    }
    snprintf(detail, sizeof detail, "%s is %s; this needs %s", call->who.name, AUTH_ROLES[call->who.role - 1],
             AUTH_ROLES[call->route->role - 1]);
    reply_problem(call->reply, 403, "refused", detail, NULL, "ask an admin for a token with that role");
    return false;
}

/* The key names one request: letters, digits and -._: only, because it is stored and logged. */
static bool check_key(struct web_call *call)
{
    const char *key = request_header(call->request, "Idempotency-Key");

    if (key == NULL && (call->route->flags & ROUTE_KEYED) == 0)
        return true;
    if (key == NULL) {
        reply_problem(call->reply, 428, "invalid",
                      "this request starts something and needs an Idempotency-Key header", NULL,
                      "send a fresh unique text, and the same one when you repeat the request");
        return false;
    }
    bool ok = key[0] != '\0' && strlen(key) <= WEB_KEY_MAX;
    for (const char *p = key; ok && *p != '\0'; p++)
        ok = isalnum((unsigned char)*p) || strchr("-._:", *p) != NULL;
    if (!ok)
        reply_problem(call->reply, 400, "invalid",
                      "the Idempotency-Key is not 1 to 64 characters of A-Z a-z 0-9 - . _ :", NULL,
                      "a UUID or a ULID fits");
    return ok;
}

/* What is asked, whoever asks it. */
static void hash_request(const struct web_request *request, uint8_t out[SHA256_BYTES])
{
    struct sha256_ctx hash;

    sha256_init(&hash);
    sha256_update(&hash, request->target, strlen(request->target) + 1);
    sha256_update(&hash, request->body, request->body_length);
    sha256_final(&hash, out);
}

/* The answer that the key stands for already; false when the request is a new one. */
static bool answer_again(struct web_call *call, const struct command_key *key)
{
    struct command_answer answer = { 0 };
    struct error err = { 0 };

    int code = call->command->recall(call->command->context, key, &answer, &err);
    if (code == 1) {
        reply_text(call->reply, answer.status, "application/json", answer.body);
        snprintf(call->reply->location, sizeof call->reply->location, "%s", answer.location);
    } else if (code == ERR_CONFLICT) {
        reply_error(call->reply, &err);
    }
    return code == 1 || code == ERR_CONFLICT; /* a store that cannot be asked will be complained about */
}

static void run_handler(struct web_call *call)
{
    struct error err = { 0 };

    if (call->route->handler(call, &err) != 0)
        reply_error(call->reply, &err);
}

/* With a key the answer is kept, when what was asked for has been done. */
static void run_keyed(struct web_call *call, const char *text)
{
    struct command_key key = { .text = text };

    hash_request(call->request, key.request);
    if (answer_again(call, &key))
        return;
    call->key = &key;
    run_handler(call);
    call->key = NULL;
    struct web_reply *reply = call->reply;
    if (reply->status < 200 || reply->status > 299 || reply->body == NULL)
        return;
    struct command_answer answer = { .status = reply->status, .body = reply->body };
    snprintf(answer.location, sizeof answer.location, "%s", reply->location);
    /* It has been done all the same; a repetition will then be done again, as without a key. */
    (void)call->command->remember(call->command->context, &key, &answer, NULL);
}

void router_run(struct web_call *call)
{
    bool keyed = (call->route->flags & (ROUTE_KEYED | ROUTE_KEYABLE)) != 0;
    const char *key = keyed ? request_header(call->request, "Idempotency-Key") : NULL;

    if (keyed && !check_key(call))
        return;
    if (key != NULL && call->command != NULL && call->command->recall != NULL)
        run_keyed(call, key);
    else
        run_handler(call);
}

bool call_parameter(const struct web_call *call, const char *name, char out[WEB_VALUE_MAX])
{
    const char *cursor = query_of(call->request), *key, *value;
    size_t key_length, value_length;
    char decoded[32];

    while (next_parameter(&cursor, &key, &key_length, &value, &value_length))
        if (request_decode(key, key_length, decoded, sizeof decoded) && strcmp(decoded, name) == 0)
            return request_decode(value, value_length, out, WEB_VALUE_MAX);
    return false;
}

void call_tell(struct web_call *call, const char *first, const char *second)
{
    snprintf(call->about, sizeof call->about, "%s%s%s", first, second[0] != '\0' ? " " : "", second);
    for (char *p = call->about; *p != '\0'; p++)
        if (*p < ' ' || *p > '~')
            *p = '?';
}

int call_integer(const struct web_call *call, const char *name, int64_t min, int64_t max, int64_t fallback,
                 int64_t *ret_value, struct error *err)
{
    char text[WEB_VALUE_MAX], *end = NULL;

    if (!call_parameter(call, name, text)) {
        *ret_value = fallback;
        return 0;
    }
    errno = 0;
    long long value = strtoll(text, &end, 10);
    bool plain = isdigit((unsigned char)text[0]) || (text[0] == '-' && isdigit((unsigned char)text[1]));
    if (!plain || *end != '\0' || errno != 0 || value < min || value > max)
        return error_set(err, ERR_RANGE, "query parameter '%s' is '%.40s', not an integer from %lld to %lld",
                         name, text, (long long)min, (long long)max);
    *ret_value = value;
    return 0;
}

int call_body(const struct web_call *call, cJSON **ret_body, struct error *err)
{
    if (call->request->body_length == 0)
        return json_parse("{}", 2, ret_body, err);
    int rc = json_parse(call->request->body, call->request->body_length, ret_body, err);
    if (rc != 0)
        error_prefix(err, "request body");
    return rc;
}

int call_command(const struct web_call *call, const struct command **ret_command, struct error *err)
{
    if (call->command == NULL)
        return error_set(err, ERR_UNSUPPORTED,
                         "this needs a running daemon; a database file alone cannot answer it");
    *ret_command = call->command;
    return 0;
}

int call_auth(const struct web_call *call, struct auth **ret_auth, struct error *err)
{
    if (call->auth == NULL)
        return error_set(err, ERR_UNSUPPORTED, "there are no tokens without a daemon");
    *ret_auth = call->auth;
    return 0;
}

int call_store(const struct web_call *call, struct query **ret_query, struct error *err)
{
    if (call->query == NULL) {
        const struct error *why = call->query_error;

        return error_set(err, why != NULL && why->code != 0 ? why->code : ERR_NOT_FOUND, "%s",
                         why != NULL && why->code != 0 ? why->message : "there is no store");
    }
    *ret_query = call->query;
    return 0;
}

void call_reply_list(struct web_call *call, const char *name, cJSON *list)
{
    cJSON *tree = cJSON_CreateObject();

    cJSON_AddItemToObject(tree, name, list);
    reply_json(call->reply, 200, tree);
}
