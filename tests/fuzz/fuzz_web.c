/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * fuzz_web: a raw HTTP request, as a browser page or a port scanner may send it, through the gate, the table
 * of routes and the handlers, over a store that holds nothing and without a daemon. Whatever is refused gets
 * a JSON problem; what passes the gate is what the gate promises.
 *
 * sources: daemon/base db web
 * options: -max_len=4096 */
#include <ctype.h>
#include <strings.h>

#include "tests/fuzz/fuzz.h"
#include "web/gate.h"
#include "web/router.h"

enum { PORT = 8080 };

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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct raw raw;
    struct web_reply reply;
    struct web_call call = { .request = &raw.request, .reply = &reply };

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
        if ((call.route->flags & ROUTE_STREAM) == 0) {
            router_run(&call);
            check_reply(&reply);
        }
    }
    reply_free(&reply);
    free(raw.text);
    return 0;
}
