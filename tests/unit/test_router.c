/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_router: matching, strict parameters, and docs/openapi.json held against the table of routes in both
 * directions.
 */
#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "web/router.h"

static const cJSON *member(const cJSON *tree, const char *name)
{
    return cJSON_GetObjectItemCaseSensitive(tree, name);
}

/* Finds a route; returns the status of the reply, 0 when it was found. */
static int find(const char *method, const char *target, struct web_call *call, char *problem, size_t size)
{
    static struct web_request request;
    struct web_reply reply;

    reply_init(&reply);
    request = (struct web_request){ .method = method, .target = target, .body = "" };
    *call = (struct web_call){ .request = &request, .reply = &reply };
    bool found = router_find(call);
    snprintf(problem, size, "%s", reply.body != NULL ? reply.body : "");
    int status = reply.status;
    assert_true(found == (status == 0));
    reply_free(&reply);
    call->reply = NULL;
    return status;
}

static void test_matching(void **state)
{
    static const struct {
        const char *method, *target;
        int status;
        const char *pattern, *id;
    } rows[] = {
        { "GET", "/healthz", 0, "/healthz", "" },
        { "HEAD", "/healthz", 0, "/healthz", "" },
        { "GET", "/api/v1/runs", 0, "/api/v1/runs", "" },
        { "POST", "/api/v1/runs", 0, "/api/v1/runs", "" },
        { "GET", "/api/v1/runs/latest", 0, "/api/v1/runs/{id}", "latest" },
        { "GET", "/api/v1/runs/01H%5A/points?step=2", 0, "/api/v1/runs/{id}/points", "01HZ" },
        { "GET", "/api/v1/runs/", 404, NULL, NULL },
        { "GET", "/api/v1/runs//points", 404, NULL, NULL },
        { "GET", "/api/v1/runs/a/points/b", 404, NULL, NULL },
        { "GET", "/api/v1/run", 404, NULL, NULL },
        { "GET", "/healthz/", 404, NULL, NULL },
        { "GET", "/", 404, NULL, NULL },
        { "DELETE", "/api/v1/runs/a", 405, NULL, NULL },
        { "POST", "/healthz", 405, NULL, NULL },
        { "PUT", "/api/v1/runs", 405, NULL, NULL },
    };
    struct web_call call;
    char problem[512];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int status = find(rows[i].method, rows[i].target, &call, problem, sizeof problem);

        if (status != rows[i].status)
            fail_msg("%s %s: status %d, want %d", rows[i].method, rows[i].target, status, rows[i].status);
        if (status != 0)
            continue;
        assert_string_equal(call.route->pattern, rows[i].pattern);
        assert_string_equal(call.id, rows[i].id);
    }
}

static void test_parameters(void **state)
{
    static const struct {
        const char *target, *says; /* NULL: accepted */
    } rows[] = {
        { "/api/v1/runs?limit=3&before=01HZ", NULL },
        { "/api/v1/runs?limit=3&", NULL },
        { "/api/v1/runs?", NULL },
        { "/api/v1/runs?limt=3", "did you mean 'limit'" },
        { "/api/v1/runs?limit=3&limit=4", "given twice" },
        { "/api/v1/runs?limit=%zz", "malformed" },
        { "/api/v1/runs?limit=%00", "malformed" },
        { "/api/v1/runs?a&b&c", "not known" },
        { "/healthz?x=1", "not known" },
    };
    struct web_call call;
    char problem[512];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int status = find("GET", rows[i].target, &call, problem, sizeof problem);

        if (status != (rows[i].says == NULL ? 0 : 400))
            fail_msg("%s: status %d", rows[i].target, status);
        if (rows[i].says != NULL && strstr(problem, rows[i].says) == NULL)
            fail_msg("%s: %s does not say '%s'", rows[i].target, problem, rows[i].says);
    }
}

static void test_integer(void **state)
{
    static const struct {
        const char *target;
        int code;
        int64_t value;
    } rows[] = {
        { "/api/v1/runs", 0, 50 },
        { "/api/v1/runs?limit=7", 0, 7 },
        { "/api/v1/runs?limit=0", ERR_RANGE, 0 },
        { "/api/v1/runs?limit=1001", ERR_RANGE, 0 },
        { "/api/v1/runs?limit=7x", ERR_RANGE, 0 },
        { "/api/v1/runs?limit=", ERR_RANGE, 0 },
        { "/api/v1/runs?limit=%207", ERR_RANGE, 0 },
        { "/api/v1/runs?limit=99999999999999999999", ERR_RANGE, 0 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct web_request request = { .method = "GET", .target = rows[i].target, .body = "" };
        struct web_call call = { .request = &request };
        int64_t value = -99;

        int rc = call_integer(&call, "limit", 1, 1000, 50, &value, NULL);
        if (rc != rows[i].code || (rc == 0 && value != rows[i].value))
            fail_msg("%s: %d %lld", rows[i].target, rc, (long long)value);
        assert_true(rc == 0 || value == -99); /* untouched on failure */
    }
}

static const cJSON *operation_of(const cJSON *paths, const struct web_route *route)
{
    char method[8];
    size_t i = 0;

    for (; route->method[i] != '\0'; i++)
        method[i] = (char)tolower((unsigned char)route->method[i]);
    method[i] = '\0';
    return member(member(paths, route->pattern), method);
}

static int count_parameters(const cJSON *operation, const char *in)
{
    const cJSON *parameter;
    int count = 0;

    cJSON_ArrayForEach(parameter, member(operation, "parameters")) count +=
        strcmp(member(parameter, "in")->valuestring, in) == 0;
    return count;
}

static bool has_parameter(const cJSON *operation, const char *in, const char *name)
{
    const cJSON *parameter;

    cJSON_ArrayForEach(parameter, member(operation, "parameters"))
    {
        if (strcmp(member(parameter, "in")->valuestring, in) == 0 &&
            strcmp(member(parameter, "name")->valuestring, name) == 0)
            return true;
    }
    return false;
}

static void test_document(void **state)
{
    const cJSON *path, *operation;
    struct error err = { 0 };
    size_t count, documented = 0;
    cJSON *root;

    (void)state;
    if (json_load("docs/openapi.json", &root, &err) != 0)
        fail_msg("%s", err.message);
    const cJSON *paths = member(root, "paths");
    const struct web_route *table = router_table(&count);
    for (size_t i = 0; i < count; i++) {
        int names = 0;

        operation = operation_of(paths, &table[i]);
        if (operation == NULL)
            fail_msg("%s %s is not in docs/openapi.json", table[i].method, table[i].pattern);
        assert_string_equal(member(operation, "summary")->valuestring, table[i].summary);
        assert_string_equal(member(operation, "x-role")->valuestring,
                            table[i].role == ROLE_PUBLIC ? "public" : AUTH_ROLES[table[i].role - 1]);
        assert_int_equal(cJSON_GetArraySize(member(operation, "security")),
                         table[i].role == ROLE_PUBLIC ? 0 : 2);
        for (; table[i].query != NULL && table[i].query[names] != NULL; names++)
            if (!has_parameter(operation, "query", table[i].query[names]))
                fail_msg("%s: query parameter %s is not documented", table[i].pattern, table[i].query[names]);
        assert_int_equal(count_parameters(operation, "query"), names);
        assert_int_equal(count_parameters(operation, "path"), strchr(table[i].pattern, '{') != NULL);
        assert_int_equal(has_parameter(operation, "header", "Idempotency-Key"),
                         (table[i].flags & (ROUTE_KEYED | ROUTE_KEYABLE)) != 0);
        assert_true((table[i].handler != NULL) == ((table[i].flags & ROUTE_STREAM) == 0));
    }
    cJSON_ArrayForEach(path, paths) documented += (size_t)cJSON_GetArraySize(path);
    assert_int_equal(documented, count); /* with the loop above: nothing is documented that is not there */
    cJSON_Delete(root);
}

static void test_error_statuses(void **state)
{
    (void)state;
    for (int code = ERR_INTERNAL; code < 0; code++) {
        int status = reply_status_of(code);

        assert_true(status >= 400 && status <= 599);
        if (code != ERR_INTERNAL && code != ERR_IO && status == 500)
            fail_msg("error %s has no row of its own", error_name(code));
    }
    assert_int_equal(reply_status_of(ERR_NOT_FOUND), 404);
    assert_int_equal(reply_status_of(ERR_CONFLICT), 409);
}

static void test_key(void **state)
{
    static const struct {
        const char *key;
        int status;
    } rows[] = { { NULL, 428 }, { "", 400 }, { "has space", 400 }, { "a\"b", 400 } };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct web_header header = { "idempotency-key", rows[i].key };
        struct web_request request = { .method = "POST",
                                       .target = "/api/v1/runs",
                                       .body = "",
                                       .header = &header,
                                       .header_count = rows[i].key != NULL };
        struct web_reply reply;
        struct web_call call = { .request = &request, .reply = &reply };

        reply_init(&reply);
        assert_true(router_find(&call));
        router_run(&call);
        assert_int_equal(reply.status, rows[i].status);
        reply_free(&reply);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_matching),       cmocka_unit_test(test_parameters),
        cmocka_unit_test(test_integer),        cmocka_unit_test(test_document),
        cmocka_unit_test(test_error_statuses), cmocka_unit_test(test_key),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
