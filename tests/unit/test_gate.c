/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_gate: the strict reading of a request, as a table of what passes and what is refused with which
 * status.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "web/gate.h"

enum { PORT = 8080, HEADERS = 6 };

#define HOST                                                                                                 \
    {                                                                                                        \
        "Host", "127.0.0.1:8080"                                                                             \
    }
#define JSON                                                                                                 \
    {                                                                                                        \
        "content-type", "application/json"                                                                   \
    }

static const struct row {
    int status; /* 0: passes */
    const char *method, *target;
    struct web_header header[HEADERS];
    bool local;
} rows[] = {
    { 0, "GET", "/healthz", { HOST }, false },
    { 0, "GET", "/healthz", { { "host", "LOCALHOST:8080" } }, false },
    { 0, "GET", "/healthz", { { "Host", "[::1]:8080" } }, false },
    { 0, "GET", "/a?x=%zz", { HOST }, false }, /* the query is the router's */
    { 0, "GET", "/api/v1/runs/01H%5A", { HOST }, false },
    { 0, "GET", "/...", { HOST }, false },
    { 0, "GET", "/healthz", { { "Host", "localhost" } }, true }, /* a browser cannot reach the Unix socket */
    /* names */
    { 400, "GET", "/healthz", { { "Accept", "*/*" } }, false },
    { 400, "GET", "/healthz", { HOST, HOST }, false },
    { 400, "GET", "/healthz", { { "Host", "localhost" }, { "host", "localhost" } }, true },
    { 421, "GET", "/healthz", { { "Host", "evil.example:8080" } }, false },
    { 421, "GET", "/healthz", { { "Host", "127.0.0.1" } }, false },
    { 421, "GET", "/healthz", { { "Host", "127.0.0.1:8081" } }, false },
    { 421, "GET", "/healthz", { { "Host", "127.0.0.1:8080.evil.example" } }, false },
    { 421, "GET", "/healthz", { { "Host", "localhost.evil.example:8080" } }, false },
    /* paths */
    { 400, "GET", "/static/../../etc/passwd", { HOST }, false },
    { 400, "GET", "/%2e%2E/x", { HOST }, false },
    { 400, "GET", "/./x", { HOST }, false },
    { 400, "GET", "/healthz%00.png", { HOST }, false },
    { 400, "GET", "/a%2fb", { HOST }, false },
    { 400, "GET", "/a%5cb", { HOST }, false },
    { 400, "GET", "/a%0ab", { HOST }, false },
    { 400, "GET", "/a%2", { HOST }, false },
    { 400, "GET", "/a%g0", { HOST }, false },
    { 400, "GET", "/a\tb", { HOST }, false },
    { 400, "GET", "/a\x80", { HOST }, false },
    { 400, "GET", "http://127.0.0.1:8080/healthz", { HOST }, false },
    { 400, "OPTIONS", "*", { HOST }, false },
    /* framing */
    { 0, "POST", "/x", { HOST, JSON, { "Content-Length", "1048576" } }, false },
    { 413, "POST", "/x", { HOST, JSON, { "Content-Length", "1048577" } }, false },
    { 413, "POST", "/x", { HOST, JSON, { "Content-Length", "99999999999999999999" } }, false },
    { 400, "POST", "/x", { HOST, JSON, { "Content-Length", "2" }, { "Content-Length", "2" } }, false },
    { 400,
      "POST",
      "/x",
      { HOST, JSON, { "Content-Length", "2" }, { "Transfer-Encoding", "chunked" } },
      false },
    { 411, "POST", "/x", { HOST, JSON, { "Transfer-Encoding", "chunked" } }, false },
    { 411, "GET", "/x", { HOST, { "transfer-encoding", "identity" } }, false },
    { 400, "POST", "/x", { HOST, JSON, { "Content-Length", "+2" } }, false },
    { 400, "POST", "/x", { HOST, JSON, { "Content-Length", "2, 2" } }, false },
    { 400, "POST", "/x", { HOST, JSON, { "Content-Length", "" } }, false },
    /* names and values of headers */
    { 0, "GET", "/x", { HOST, { "x-!#$%&'*+.^_`|~", "a\tb \xc3\xa9" } }, false },
    { 0, "GET", "/x", { HOST, { "X", "" } }, false },
    { 400, "GET", "/x", { HOST, { "", "a" } }, false },
    { 400, "POST", "/x", { HOST, JSON, { "Transfer-Encoding ", "chunked" } }, false },
    { 400, "GET", "/x", { HOST, { "X(y)", "a" } }, false },
    { 400, "GET", "/x", { HOST, { "X", "\x1b[2J" } }, false },
    { 400, "GET", "/x", { HOST, { "X", "a\x7f" } }, false },
    /* other sites */
    { 0,
      "POST",
      "/x",
      { HOST, JSON, { "Origin", "http://127.0.0.1:8080" }, { "Sec-Fetch-Site", "same-origin" } },
      false },
    { 0,
      "GET",
      "/x",
      { HOST, { "Origin", "http://evil.example" } },
      false }, /* reading: no CORS header lets it see the answer */
    { 403, "POST", "/x", { HOST, JSON, { "Origin", "http://evil.example" } }, false },
    { 403, "POST", "/x", { HOST, JSON, { "Origin", "null" } }, false },
    { 403, "POST", "/x", { HOST, JSON, { "Origin", "https://127.0.0.1:8080" } }, false },
    { 403, "POST", "/x", { HOST, JSON, { "Sec-Fetch-Site", "cross-site" } }, false },
    { 403, "DELETE", "/x", { HOST, { "Sec-Fetch-Site", "same-site" } }, false },
    /* content */
    { 0, "POST", "/x", { HOST, { "Content-Type", "application/json; charset=utf-8" } }, false },
    { 415, "POST", "/x", { HOST }, false },
    { 415, "POST", "/x", { HOST, { "Content-Type", "text/plain" } }, false },
    { 415, "POST", "/x", { HOST, { "Content-Type", "application/jsonp" } }, false },
    { 415, "POST", "/x", { HOST, { "Content-Type", "application/x-www-form-urlencoded" } }, false },
    { 415, "POST", "/x", { HOST, JSON, { "Content-Encoding", "gzip" } }, false },
};

static void test_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct web_request request = { .method = rows[i].method,
                                       .target = rows[i].target,
                                       .header = rows[i].header,
                                       .body = "",
                                       .local = rows[i].local,
                                       .port = PORT };
        struct web_reply reply;

        while (request.header_count < HEADERS && rows[i].header[request.header_count].name != NULL)
            request.header_count++;
        reply_init(&reply);
        bool passed = gate_check(&request, &reply);
        if (passed != (rows[i].status == 0) || reply.status != rows[i].status)
            fail_msg("row %zu %s %s: status %d, want %d", i, rows[i].method, rows[i].target, reply.status,
                     rows[i].status);
        assert_int_equal(reply.close, !passed); /* whatever follows on that connection is not trusted */
        if (!passed)
            assert_non_null(strstr(reply.body, "\"hint\""));
        reply_free(&reply);
    }
}

static void test_long_target(void **state)
{
    static char target[WEB_TARGET_MAX + 2];
    struct web_header header = HOST;
    struct web_request request = {
        .method = "GET", .target = target, .header = &header, .header_count = 1, .port = PORT
    };
    struct web_reply reply;

    (void)state;
    target[0] = '/';
    for (int length = WEB_TARGET_MAX; length <= WEB_TARGET_MAX + 1; length++) {
        memset(target + 1, 'a', (size_t)length - 1);
        for (int i = 100; i < length; i += 100)
            target[i] = '/'; /* one segment has its own limit */
        reply_init(&reply);
        assert_int_equal(gate_check(&request, &reply), length == WEB_TARGET_MAX);
        assert_int_equal(reply.status, length == WEB_TARGET_MAX ? 0 : 414);
        reply_free(&reply);
    }
}

/* The end of a line as the library sees it, made NUL; returns where the next one begins. */
static char *end_line(char *line)
{
    char *end = line + strcspn(line, "\r\n");
    bool pair = end[0] == '\r' && end[1] == '\n';

    memset(end, 0, pair ? 2 : 1);
    return end + (pair ? 2 : 1);
}

static char *cut(char *text, char at)
{
    char *end = strchr(text, at);

    *end = '\0';
    return end + 1;
}

static bool head_passes(char *text)
{
    struct web_header header[HEADERS];
    struct gate_head head = { .method = text, .header = header };
    struct web_reply reply;
    char *line = end_line(text);
    char *target = cut(text, ' ');

    target += strspn(target, " "); /* as the library does */

    head.version = cut(target, ' ');
    head.target = target;
    head.target_length = strlen(target);
    while (*line != '\r' && *line != '\n') {
        char *next = end_line(line), *value = cut(line, ':');

        header[head.header_count++] = (struct web_header){ line, value + strspn(value, " ") };
        line = next;
    }
    head.length = (size_t)(end_line(line) - text);
    reply_init(&reply);
    bool passed = gate_check_head(&head, &reply);
    assert_int_equal(reply.status, passed ? 0 : 400);
    reply_free(&reply);
    return passed;
}

static void test_head(void **state)
{
    static const struct {
        bool good;
        const char text[64];
    } heads[] = {
        { true, "GET /a HTTP/1.1\r\nA: b\r\nC:\r\n\r\nbody" },
        { true, "GET /a HTTP/1.1\r\n\r\n" },
        { false, "GET  /a HTTP/1.1\r\nA: b\r\n\r\n" },
        { false, "GET /a HTTP/1.1\nA: b\r\n\r\n" },
        { false, "GET /a HTTP/1.1\r\nA: b\nC: d\r\n\r\n" },
        { false, "GET /a HTTP/1.1\r\nA: b\rC: d\r\n\r\n" },
        { false, "GET /a HTTP/1.1\r\nA: b\n\r\n" },
        { false, "GET /a HTTP/1.1\r\nA: b\r\n\n" },
        { false, "GET /a HTTP/1.1\n\r\n" },
        { false, "GET /a HTTP/1.1\r\n\n" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        char text[sizeof heads[0].text];

        memcpy(text, heads[i].text, sizeof text);
        if (head_passes(text) != heads[i].good)
            fail_msg("head %zu: not %s", i, heads[i].good ? "passed" : "refused");
    }
}

static void test_decode(void **state)
{
    char out[8];

    (void)state;
    assert_true(request_decode("a%41%7e", 7, out, sizeof out));
    assert_string_equal(out, "aA~");
    assert_false(request_decode("%4", 2, out, sizeof out));
    assert_false(request_decode("%", 1, out, sizeof out));
    assert_false(request_decode("%41", 2, out, sizeof out)); /* the length decides, not the text behind it */
    assert_false(request_decode("%00", 3, out, sizeof out));
    assert_true(request_decode("1234567", 7, out, sizeof out));
    assert_false(request_decode("12345678", 8, out, sizeof out));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_long_target),
        cmocka_unit_test(test_head),
        cmocka_unit_test(test_decode),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
