/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * gate: a table of checks, run in order; the first that refuses answers.
 */
#include "web/gate.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool refuse(struct web_reply *reply, int status, const char *code, const char *detail,
                   const char *hint)
{
    reply_problem(reply, status, code, detail, NULL, hint);
    reply->close = true;
    return false;
}

/* One decoded path segment: nothing that a file system or a log could read in a second way. */
static bool segment_ok(const char *segment, size_t length)
{
    char text[WEB_SEGMENT_MAX];

    if (!request_decode(segment, length, text, sizeof text))
        return false;
    if (strcmp(text, ".") == 0 || strcmp(text, "..") == 0)
        return false;
    for (const char *p = text; *p != '\0'; p++)
        if (*p == '/' || *p == '\\' || !isprint((unsigned char)*p))
            return false;
    return true;
}

static bool check_target(const struct web_request *request, struct web_reply *reply)
{
    const char *target = request->target;
    size_t path = strcspn(target, "?");

    if (strlen(target) > WEB_TARGET_MAX)
        return refuse(reply, 414, "invalid", "the request target is longer than 2048 bytes",
                      "shorten the query");
    if (target[0] != '/')
        return refuse(reply, 400, "invalid", "the request target does not start with '/'",
                      "ask for a path, not for a URL");
    for (const char *p = target; *p != '\0'; p++)
        if (!isgraph((unsigned char)*p))
            return refuse(reply, 400, "invalid", "the request target has a byte that is not printable ASCII",
                          "percent-encode it");
    for (size_t at = 0; at < path;) {
        size_t length = strcspn(target + at + 1, "/?");

        if (!segment_ok(target + at + 1, length))
            return refuse(
                reply, 400, "invalid",
                "the path has a '.' or '..' segment, a bad escape, or an encoded NUL, slash or control byte",
                "ask for the plain path of the resource");
        at += 1 + length;
    }
    return true;
}

/* host[:port] is one of the names of this machine's loopback, with the port that we listen on. */
static bool host_ok(const char *host, int port)
{
    static const char *const names[] = { "127.0.0.1", "localhost", "[::1]", NULL };

    for (int i = 0; names[i] != NULL; i++) {
        size_t length = strlen(names[i]);
        char suffix[16];

        if (strncasecmp(host, names[i], length) != 0)
            continue;
        snprintf(suffix, sizeof suffix, ":%d", port);
        if (strcmp(host + length, suffix) == 0 || (port == 80 && host[length] == '\0'))
            return true;
    }
    return false;
}

static bool check_host(const struct web_request *request, struct web_reply *reply)
{
    int count = request_header_count(request, "Host");

    if (count != 1)
        return refuse(reply, 400, "invalid",
                      count == 0 ? "the request has no Host header"
                                 : "the request has more than one Host header",
                      "send exactly one Host header");
    if (!request->local && !host_ok(request_header(request, "Host"), request->port))
        return refuse(reply, 421, "refused",
                      "the Host header does not name this server's loopback address and port",
                      "use 127.0.0.1:PORT or localhost:PORT");
    return true;
}

static bool check_framing(const struct web_request *request, struct web_reply *reply)
{
    int lengths = request_header_count(request, "Content-Length");
    int encodings = request_header_count(request, "Transfer-Encoding");
    const char *text = request_header(request, "Content-Length");

    if (lengths > 0 && encodings > 0)
        return refuse(reply, 400, "invalid", "the request has both Content-Length and Transfer-Encoding",
                      "send Content-Length alone");
    if (lengths > 1)
        return refuse(reply, 400, "invalid", "the request has more than one Content-Length",
                      "send one Content-Length");
    if (encodings > 0)
        return refuse(reply, 411, "invalid", "Transfer-Encoding is not accepted in requests",
                      "send Content-Length");
    if (lengths == 0)
        return true;
    if (text[0] == '\0' || strspn(text, "0123456789") != strlen(text))
        return refuse(reply, 400, "invalid", "Content-Length is not a plain decimal number",
                      "send digits alone");
    if (strlen(text) > 9 || strtol(text, NULL, 10) > WEB_BODY_MAX)
        return refuse(reply, 413, "full", "the body is larger than 1 MiB",
                      "split the campaign, or name a file of the daemon with \"path\"");
    return true;
}

static bool reads_only(const struct web_request *request)
{
    return strcmp(request->method, "GET") == 0 || strcmp(request->method, "HEAD") == 0;
}

/* A page of another site must not be able to steer a bench: it cannot forge Origin, and it cannot send this
 * type of content without a permission that we never give (no CORS header is ever sent). */
static bool check_origin(const struct web_request *request, struct web_reply *reply)
{
    const char *origin = request_header(request, "Origin"), *site = request_header(request, "Sec-Fetch-Site");
    const char *scheme = request->tls ? "https://" : "http://";

    if (reads_only(request))
        return true;
    if (site != NULL && strcmp(site, "same-origin") != 0 && strcmp(site, "none") != 0)
        return refuse(reply, 403, "refused", "the request comes from a page of another site",
                      "use the dashboard of this server");
    if (origin == NULL)
        return true;
    if (request_header_count(request, "Origin") != 1 || strncmp(origin, scheme, strlen(scheme)) != 0 ||
        strcasecmp(origin + strlen(scheme), request_header(request, "Host")) != 0)
        return refuse(reply, 403, "refused", "the Origin header names another site",
                      "use the dashboard of this server");
    return true;
}

/* What decides who asks, and for what, is said once. */
static bool check_once(const struct web_request *request, struct web_reply *reply)
{
    static const char *const names[] = {
        "Authorization", "Cookie", "Content-Type", "Origin", "Idempotency-Key", "Last-Event-ID", NULL
    };

    for (int i = 0; names[i] != NULL; i++) {
        char detail[80];

        if (request_header_count(request, names[i]) <= 1)
            continue;
        snprintf(detail, sizeof detail, "the request has more than one %s header", names[i]);
        return refuse(reply, 400, "invalid", detail, "send it once");
    }
    return true;
}

/* A name is a token, and a value is one line of text: "Transfer-Encoding :" is not the header that we look
 * for, but might be to whoever stands before or behind us. */
static bool check_headers(const struct web_request *request, struct web_reply *reply)
{
    static const char marks[] = "!#$%&'*+-.^_`|~"; /* of a token, RFC 9110 5.6.2 */

    for (int i = 0; i < request->header_count; i++) {
        const struct web_header *header = &request->header[i];
        bool ok = header->name[0] != '\0';

        for (const char *p = header->name; ok && *p != '\0'; p++)
            ok = isalnum((unsigned char)*p) || strchr(marks, *p) != NULL;
        for (const char *p = header->value; ok && *p != '\0'; p++)
            ok = *p == '\t' || !iscntrl((unsigned char)*p);
        if (!ok)
            return refuse(reply, 400, "invalid",
                          "a header has a name that is no token, or a control byte in its value",
                          "send NAME: VALUE, without a space before the colon");
    }
    return true;
}

static bool check_content(const struct web_request *request, struct web_reply *reply)
{
    static const char json[] = "application/json";
    const char *type = request_header(request, "Content-Type");

    if (strcmp(request->method, "POST") != 0)
        return true;
    if (type == NULL || strncasecmp(type, json, sizeof json - 1) != 0 ||
        strchr("; \t", type[sizeof json - 1]) == NULL) /* the terminating NUL is found as well */
        return refuse(reply, 415, "invalid",
                      "a POST needs Content-Type: application/json (with an empty body too)",
                      "add the header");
    if (request_header(request, "Content-Encoding") != NULL)
        return refuse(reply, 415, "invalid", "Content-Encoding is not accepted in requests",
                      "send the body as it is");
    return true;
}

bool gate_check(const struct web_request *request, struct web_reply *reply)
{
    static bool (*const checks[])(const struct web_request *, struct web_reply *) = {
        check_target, check_headers, check_host, check_framing, check_once, check_origin, check_content,
    };

    for (size_t i = 0; i < sizeof checks / sizeof checks[0]; i++)
        if (!checks[i](request, reply))
            return false;
    return true;
}

bool gate_check_head(const struct gate_head *head, struct web_reply *reply)
{
    static const size_t crlf = 2;
    const char *end = head->version + strlen(head->version);
    bool ok = head->target == head->method + strlen(head->method) + 1 &&
              head->version == head->target + head->target_length + 1;

    for (int i = 0; ok && i < head->header_count; i++) {
        ok = head->header[i].name == end + crlf;
        end = head->header[i].value + strlen(head->header[i].value);
    }
    if (ok && head->method + head->length == end + 2 * crlf)
        return true;
    return refuse(reply, 400, "invalid", "the request line or the end of a header line is malformed",
                  "one space between the parts of the first line, CR LF after each, no bare LF, CR or NUL");
}
