/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * fuzz_web: a raw HTTP request, as a browser page or a port scanner may send it, through the gate, the table
 * of routes and the handlers, over a store with one run and a daemon that agrees to everything. Whatever is
 * refused gets a JSON problem; what passes the gate is what the gate promises; what reaches the daemon is
 * well formed.
 *
 * sources: daemon/base db web
 * aims: web/api_*.c web/auth.c web/body.c web/gate.c web/request.c web/router.c
 * options: -max_len=4096
 * edges: 850 */
#include <ctype.h>
#include <strings.h>

#include "db/query.h"
#include "tests/fuzz/small_store.h"
#include "web/gate.h"
#include "web/router.h"

enum { PORT = 8080 };

/* ---- A daemon that agrees to everything ---- */
static void check_campaign(const char *path, const char *text)
{
    FUZZ_CHECK((path == NULL) != (text == NULL));
    if (text != NULL)
        fuzz_check_json(text);
}
static int give(void *context, cJSON **ret, struct error *err)
{
    (void)context;
    (void)err;
    *ret = cJSON_CreateObject();
    return 0;
}
static int explain(void *context, const char *path, const char *text, cJSON **ret, struct error *err)
{
    check_campaign(path, text);
    return give(context, ret, err);
}
static void check_start(const struct command_start *what)
{
    FUZZ_CHECK(what->backend == NULL || strcmp(what->backend, "chip") == 0 ||
               strcmp(what->backend, "reference") == 0);
    FUZZ_CHECK(what->priority == NULL || (*what->priority >= -1000 && *what->priority <= 1000));
}
static int start(void *context, const struct command_start *what, cJSON **ret, struct json_problems *problems,
                 struct error *err)
{
    check_campaign(what->campaign_path, what->campaign_json);
    check_start(what);
    FUZZ_CHECK(what->key != NULL && what->key->text[0] != '\0');
    FUZZ_CHECK(strlen(what->key->text) <= WEB_KEY_MAX);
    if (problems->count > 0)
        return json_problems_error(problems, "request", err);
    give(context, ret, err);
    cJSON_AddStringToObject(*ret, "run", SMALL_STORE_ULID);
    return 0;
}
static int edit(void *context, const char *run, const struct command_start *what, cJSON **ret,
                struct json_problems *problems, struct error *err)
{
    FUZZ_CHECK(run[0] != '\0');
    check_start(what);
    return problems->count > 0 ? json_problems_error(problems, "request", err) : give(context, ret, err);
}
static int entry(void *context, const char *run, cJSON **ret, struct error *err)
{
    FUZZ_CHECK(run[0] != '\0');
    return give(context, ret, err);
}
static int move(void *context, const char *run, int place, cJSON **ret, struct error *err)
{
    FUZZ_CHECK(place >= 1);
    return entry(context, run, ret, err);
}
static int hold(void *context, const char *who, const char *reason, cJSON **ret, struct error *err)
{
    FUZZ_CHECK(who != NULL && strlen(reason) <= 200);
    return give(context, ret, err);
}
static int release(void *context, const char *who, cJSON **ret, struct error *err)
{
    FUZZ_CHECK(who != NULL);
    return give(context, ret, err);
}
static int recall(void *context, const struct command_key *key, struct command_answer *ret, struct error *err)
{
    (void)context;
    (void)ret;
    (void)err;
    FUZZ_CHECK(key->text[0] != '\0' && strlen(key->text) <= WEB_KEY_MAX);
    return 0;
}
static int remember(void *context, const struct command_key *key, const struct command_answer *answer,
                    struct error *err)
{
    (void)context;
    (void)err;
    FUZZ_CHECK(key->text[0] != '\0' && answer->status < 300 && answer->body != NULL);
    fuzz_check_json(answer->body);
    return 0;
}
static int obey(void *context, struct error *err)
{
    (void)context;
    (void)err;
    return 0;
}
static int stop_now(void *context, const char *who, struct error *err)
{
    FUZZ_CHECK(who != NULL);
    return obey(context, err);
}
static int pause_it(void *context, bool dark, struct error *err)
{
    (void)dark;
    return obey(context, err);
}
static int go_on(void *context, char ret_ulid[ULID_TEXT], struct error *err)
{
    snprintf(ret_ulid, ULID_TEXT, "%s", SMALL_STORE_ULID);
    return obey(context, err);
}
static int clear(void *context, const char *who, const char *reason, struct error *err)
{
    FUZZ_CHECK(who != NULL && reason != NULL && reason[0] != '\0');
    return obey(context, err);
}
static int question(void *context, const char *instrument, const char *text, cJSON **ret, struct error *err)
{
    FUZZ_CHECK(instrument[0] != '\0' && text != NULL);
    return give(context, ret, err);
}
static int report(void *context, const char *instrument, cJSON **ret, struct error *err)
{
    FUZZ_CHECK(instrument[0] != '\0');
    return give(context, ret, err);
}
static int metrics(void *context, struct strbuf *out, struct error *err)
{
    strbuf_add(out, "nightbench_up 1\n");
    return obey(context, err);
}
static void note(void *context, const struct command_audit *audit)
{
    (void)context;
    FUZZ_CHECK(audit->user != NULL && audit->action != NULL);
}
static int no_events(void *context, uint64_t after, struct daemon_event *out, int max)
{
    (void)context;
    (void)after;
    (void)out;
    (void)max;
    return 0;
}
static int subscribe(void *context, void (*wake)(void *wake_context), void *wake_context)
{
    (void)context;
    (void)wake;
    (void)wake_context;
    return 0;
}
static void unsubscribe(void *context, void *wake_context)
{
    (void)context;
    (void)wake_context;
}
static int compare(void *context, const char *run_a, const char *run_b, cJSON **ret, struct error *err)
{
    FUZZ_CHECK(run_a != NULL && run_b != NULL);
    return give(context, ret, err);
}
static const struct command agreeable = {
    .status = give,
    .bench = give,
    .chips = give,
    .campaigns = give,
    .check = explain,
    .plan = explain,
    .start = start,
    .queue = give,
    .queue_entry = entry,
    .queue_edit = edit,
    .queue_move = move,
    .queue_remove = entry,
    .queue_hold = hold,
    .queue_release = release,
    .recall = recall,
    .remember = remember,
    .pause = pause_it,
    .resume = go_on,
    .stop = obey,
    .abort = obey,
    .estop = stop_now,
    .clear = clear,
    .scan = give,
    .query = question,
    .report = report,
    .compare = compare,
    .events = no_events,
    .subscribe = subscribe,
    .unsubscribe = unsubscribe,
    .audit = note,
    .metrics = metrics,
};

/* ---- The store ---- */
static char folder[64];
static struct query *query;

static void close_store(void)
{
    char command[80];

    query_close(query);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    FUZZ_CHECK(system(command) == 0);
}
static void open_store(void)
{
    char path[80];
    struct error err = { 0 };

    fuzz_folder(folder, sizeof folder);
    snprintf(path, sizeof path, "%s/t.db", folder);
    small_store_make(path);
    MUST(query_open(path, &query, &err));
    atexit(close_store);
}

/* The head as the HTTP library hands it on: lenient, so that the strictness under test is ours. */
struct raw {
    char *text;
    struct web_header header[WEB_HEADERS_MAX];
    struct web_request request;
};

static char *cut(char **rest, const char *end)
{
    char *start = *rest, *stop = strstr(start, end);

    *rest = stop != NULL ? stop + strlen(end) : start + strlen(start);
    if (stop != NULL)
        *stop = '\0';
    return start;
}

static void parse(struct raw *raw, const uint8_t *data, size_t size)
{
    struct web_request *request = &raw->request;

    raw->text = fuzz_text(data, size);
    char *rest = raw->text, *line = cut(&rest, "\n");
    *request = (struct web_request){ .port = PORT, .header = raw->header };
    request->method = cut(&line, " ");
    request->target = cut(&line, " ");
    request->local = *line == 'L';
    while (*rest != '\0' && *rest != '\n' && request->header_count < WEB_HEADERS_MAX) {
        line = cut(&rest, "\n");
        struct web_header *header = &raw->header[request->header_count++];
        header->name = cut(&line, ":");
        while (*line == ' ')
            line++;
        header->value = line;
    }
    request->body = *rest == '\n' ? rest + 1 : rest;
    request->body_length = strlen(request->body);
}

static void check_reply(const struct web_reply *reply)
{
    FUZZ_CHECK(reply->status >= 200 && reply->status <= 599);
    if (reply->fd >= 0) {
        FUZZ_CHECK(reply->status == 200 && reply->body == NULL && lseek(reply->fd, 0, SEEK_END) >= 0);
        return;
    }
    FUZZ_CHECK(reply->body != NULL && reply->length == strlen(reply->body));
    FUZZ_CHECK(reply->content_type != NULL);
    if (strstr(reply->content_type, "json") != NULL)
        fuzz_check_json(reply->body);
    if (reply->status >= 400) {
        FUZZ_CHECK(strcmp(reply->content_type, "application/problem+json") == 0);
        FUZZ_CHECK(strstr(reply->body, "\"detail\":\"") != NULL);
    }
}

static void check_gate(const struct web_request *request)
{
    FUZZ_CHECK(request->target[0] == '/' && strlen(request->target) <= WEB_TARGET_MAX);
    char *path = strndup(request->target, strcspn(request->target, "?"));
    FUZZ_CHECK(strstr(path, "/../") == NULL && strcasestr(path, "/%2e%2e/") == NULL);
    free(path);
    for (int i = 0; i < request->header_count; i++) {
        const char *name = request->header[i].name;

        FUZZ_CHECK(name[0] != '\0' && strpbrk(name, " \t:()") == NULL);
        FUZZ_CHECK(strpbrk(request->header[i].value, "\r\x1b\x7f") == NULL);
    }
    FUZZ_CHECK(request_header_count(request, "Host") == 1);
    FUZZ_CHECK(request_header(request, "Transfer-Encoding") == NULL);
    if (!request->local)
        FUZZ_CHECK(strstr(request_header(request, "Host"), ":8080") != NULL);
    if (strcmp(request->method, "POST") == 0) {
        const char *origin = request_header(request, "Origin");

        FUZZ_CHECK(strncasecmp(request_header(request, "Content-Type"), "application/json", 16) == 0);
        FUZZ_CHECK(origin == NULL || strcasecmp(origin + 7, request_header(request, "Host")) == 0);
    }
}

static void check_parameters(const struct web_call *call)
{
    char text[WEB_VALUE_MAX];
    int64_t value = 4711;
    struct error err = { 0 };

    for (int i = 0; call->route->query != NULL && call->route->query[i] != NULL; i++) {
        if (call_parameter(call, call->route->query[i], text))
            FUZZ_CHECK(strlen(text) < sizeof text);
        int code = call_integer(call, call->route->query[i], -5, 100, 7, &value, &err);
        FUZZ_CHECK(code == 0 ? value >= -5 && value <= 100 : err.code == code);
    }
}

/* There is no token, so nothing that a request can say opens what is not public. */
static void check_authority(struct web_call *call)
{
    bool may = router_authorize(call);

    FUZZ_CHECK(may == (call->request->local || call->route->role == ROLE_PUBLIC));
    if (may)
        return;
    FUZZ_CHECK(call->reply->status == 401 && call->who.role == ROLE_PUBLIC);
    check_reply(call->reply);
    reply_free(call->reply);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct raw raw;
    struct web_reply reply;
    if (query == NULL)
        open_store();
    struct web_call call = { .request = &raw.request,
                             .reply = &reply,
                             .query = query,
                             .site = "http://127.0.0.1:8080",
                             .command = size % 4 != 0 ? &agreeable : NULL };
    MUST(auth_open(NULL, &call.auth, NULL));

    reply_init(&reply);
    parse(&raw, data, size);
    if (!gate_check(&raw.request, &reply)) {
        FUZZ_CHECK(reply.close && reply.status >= 400 && reply.status < 500);
        check_reply(&reply);
    } else if (check_gate(&raw.request), !router_find(&call)) {
        FUZZ_CHECK(reply.status >= 400 && reply.status < 500);
        check_reply(&reply);
    } else {
        for (const char *p = call.id; *p != '\0'; p++)
            FUZZ_CHECK(isprint((unsigned char)*p) && *p != '/');
        check_parameters(&call);
        check_authority(&call);
        if ((call.route->flags & ROUTE_STREAM) == 0) {
            router_run(&call);
            check_reply(&reply);
        }
    }
    reply_free(&reply);
    auth_close(call.auth);
    free(raw.text);
    return 0;
}
