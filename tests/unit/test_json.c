/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_json: what the gate refuses and where, what survives a round trip, what the readers collect. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/json.h"
#include "daemon/base/text.h"

static int parse(const char *text, cJSON **ret_root, struct error *err)
{
    return json_parse(text, strlen(text), ret_root, err);
}

static void bad_inputs(void **state)
{
    static const struct {
        const char *text, *message;
    } CASES[] = {
        { "", "1:1: the text ends too early" },
        { "{\"a\":1", "1:7: expected ',' or '}'" },
        { "[1,]", "1:4: a comma with nothing after it" },
        { "{\"a\":1,}", "1:8: a comma with nothing after it" },
        { "[01]", "1:2: a number must not start with 0" },
        { "[-]", "1:3: a digit must follow '-'" },
        { "[1.]", "1:4: a digit must follow '.'" },
        { "[1e]", "1:4: an exponent needs a digit" },
        { "[1e400]", "1:2: a number too large for a double" },
        { "[+1]", "1:2: expected a value" },
        { "[.5]", "1:2: expected a value" },
        { "[NaN]", "1:2: expected a value" },
        { "[1]\n[2]", "2:1: text after the end of the JSON value" },
        { "{\"a\":1,\n  \"b\":2,\n  \"a\":3}", "3:3: a member name that stands twice in one object" },
        { "{\"a\":{\"x\":1,\"\\u0078\":2}}", "1:13: a member name that stands twice in one object" },
        { "{a:1}", "1:2: expected a member name in quotes" },
        { "{\"a\" 1}", "1:6: expected ':' after a member name" },
        { "[\"\xff\"]", "1:3: invalid UTF-8" },
        { "[\"\xc0\xaf\"]", "1:3: invalid UTF-8" },
        { "[\"\xed\xa0\x80\"]", "1:3: invalid UTF-8" },
        { "[\"\xf4\x90\x80\x80\"]", "1:3: invalid UTF-8" },
        { "[\"a\tb\"]", "1:4: a control character in a string" },
        { "[\"\\x\"]", "1:3: an unknown escape in a string" },
        { "[\"\\u12g4\"]", "1:3: \\u needs four hex digits" },
        { "[\"\\u0000\"]", "1:3: \\u0000 in a string" },
        { "[\"\\ud800x\"]", "1:3: half a surrogate pair in a string" },
        { "[\"open]", "1:2: a string without its closing quote" },
        { "\xef\xbb\xbf{}", "1:1: expected a value" },
        { "[1000000000000000000000000000000000000000000000000000000000000]",
          "1:2: a number of more than 60 characters" },
        { "[tru]", "1:2: expected a value" },
    };
    struct error err;

    (void)state;
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        cJSON *root = NULL;

        assert_int_equal(parse(CASES[i].text, &root, &err), ERR_INVALID);
        assert_string_equal(err.message, CASES[i].message);
        assert_null(root);
    }
}

static void limits(void **state)
{
    char deep[2 * JSON_DEPTH_MAX + 3] = "";
    char *wide = malloc(2 * JSON_NODES_MAX + 4);
    cJSON *root = NULL;
    struct error err;

    (void)state;
    memset(deep, '[', JSON_DEPTH_MAX);
    memset(deep + JSON_DEPTH_MAX, ']', JSON_DEPTH_MAX);
    assert_int_equal(parse(deep, &root, &err), 0);
    cJSON_Delete(root);
    memset(deep, '[', JSON_DEPTH_MAX + 1);
    memset(deep + JSON_DEPTH_MAX + 1, ']', JSON_DEPTH_MAX + 1);
    assert_int_equal(parse(deep, &root, &err), ERR_INVALID);
    assert_non_null(wide);
    wide[0] = '[';
    for (int i = 0; i < JSON_NODES_MAX; i++)
        memcpy(wide + 1 + 2 * i, "1,", 2);
    memcpy(wide + 2 * JSON_NODES_MAX, "]", 2);
    assert_int_equal(parse(wide, &root, &err), ERR_INVALID);
    assert_non_null(strstr(err.message, "200000"));
    assert_int_equal(json_parse(wide, JSON_TEXT_MAX + 1, &root, &err), ERR_RANGE);
    free(wide);
}

static void round_trip(void **state)
{
    static const char TEXT[] =
        "{\"n\":[0.30000000000000004,-0,1e-07,9007199254740993],\"s\":\"\\u00e9\\ud83d\\ude00\\\"\\n\","
        "\"t\":true,\"f\":false,\"z\":null,\"o\":{},\"a\":[]}";
    cJSON *root = NULL, *again = NULL;
    struct error err;
    char *text, *pretty;

    (void)state;
    assert_int_equal(parse(TEXT, &root, &err), 0);
    text = json_print(root, false);
    assert_string_equal(
        text,
        "{\"n\":[0.30000000000000004,-0,1e-07,9007199254740992],\"s\":\"\xc3\xa9\xf0\x9f\x98\x80\\\"\\n\","
        "\"t\":true,\"f\":false,\"z\":null,\"o\":{},\"a\":[]}");
    pretty = json_print(root, true);
    assert_int_equal(parse(pretty, &again, &err), 0);
    assert_true(cJSON_Compare(root, again, true));
    free(text);
    free(pretty);
    cJSON_Delete(again);
    cJSON_Delete(root);
    root = cJSON_CreateObject();
    json_add_number(root, "x", NAN);
    json_add_int64(root, "small", -5);
    json_add_int64(root, "big", INT64_MAX);
    text = json_print(root, false);
    assert_string_equal(text, "{\"x\":null,\"small\":-5,\"big\":\"9223372036854775807\"}");
    free(text);
    cJSON_Delete(root);
}

static const char *const KNOWN[] = { "kind",   "vdd_v", "count",    "seed", "mode",
                                     "values", "on",    "nested/x", NULL };
static const char *const MODES[] = { "grid", "bisect", "boundary", NULL };

static void expect_problem(const struct json_problems *problems, int i, const char *pointer,
                           const char *reason, const char *hint)
{
    assert_string_equal(problems->item[i].pointer, pointer);
    assert_string_equal(problems->item[i].reason, reason);
    assert_string_equal(problems->item[i].hint, hint);
}

/* Answers of instruments and cut texts may hold any bytes; the document around them stays readable. */
static void foreign_bytes_print_as_json(void **state)
{
    static const struct {
        const char *text, *printed;
    } cases[] = {
        { "\xff", "\"\xef\xbf\xbd\"" },
        { "a\xc3", "\"a\xef\xbf\xbd\"" },                               /* cut inside a letter */
        { "\xed\xa0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"" }, /* half a surrogate pair */
        { "\xc3\xa9\n\x01", "\"\xc3\xa9\\n\\u0001\"" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cJSON *node = cJSON_CreateString(cases[i].text), *again = NULL;
        char *text = json_print(node, false);

        assert_string_equal(text, cases[i].printed);
        assert_int_equal(json_parse(text, strlen(text), &again, NULL), 0);
        cJSON_Delete(again);
        cJSON_Delete(node);
        free(text);
    }
}

static void readers_collect_every_mistake(void **state)
{
    static struct json_problems problems;
    struct json_at root, nested;
    cJSON *tree = NULL;
    struct error err;
    double values[2];

    (void)state;
    assert_int_equal(
        parse("{\"knid\":1,\"vdd_v\":9,\"count\":1.5,\"mode\":\"bisct\",\"values\":[1,\"x\",3],\"on\":1,"
              "\"nested/x\":7}",
              &tree, &err),
        0);
    root = json_root(tree, &problems);
    json_only(&root, KNOWN);
    assert_null(json_string(&root, "kind", true, NULL));
    assert_true(json_double(&root, "vdd_v", true, 0, 1.2, 0.8) == 0.8);
    assert_int_equal(json_integer(&root, "count", true, 1, 10, 4), 4);
    assert_int_equal(json_choice(&root, "mode", true, MODES, 2), 2);
    assert_int_equal(json_doubles(&root, "values", true, values, 2), 2);
    assert_true(json_boolean(&root, "on", false, true));
    nested = json_member(&root, "nested/x", true);
    json_string(&nested, "a", true, "");
    json_string(&nested, "b", true, "");
    assert_int_equal(problems.count, 9);
    expect_problem(&problems, 0, "/knid", "is not a known name here", "did you mean \"kind\"?");
    expect_problem(&problems, 1, "/kind", "is required", "");
    expect_problem(&problems, 2, "/vdd_v", "9 is out of range", "0 to 1.2");
    expect_problem(&problems, 3, "/count", "must be an integer (above 2^53: its digits in quotes)",
                   "1 to 10");
    expect_problem(&problems, 4, "/mode", "\"bisct\" is not a valid choice", "did you mean \"bisect\"?");
    expect_problem(&problems, 5, "/values/1", "must be a number, is a string", "");
    expect_problem(&problems, 6, "/values", "has more than 2 elements", "");
    expect_problem(&problems, 7, "/on", "must be a boolean, is a number", "true or false");
    expect_problem(&problems, 8, "/nested~1x", "must be an object, is a number", "");
    assert_int_equal(json_problems_error(&problems, "a.json", &err), ERR_INVALID);
    assert_string_equal(err.message,
                        "a.json: /knid: is not a known name here (did you mean \"kind\"?); and 8 more");
    cJSON_Delete(tree);
}

static void readers_return_what_is_there(void **state)
{
    static struct json_problems problems;
    struct json_at root, list, second;
    cJSON *tree = NULL;
    struct error err;
    double values[3];

    (void)state;
    assert_int_equal(
        parse("{\"kind\":\"sweep\",\"vdd_v\":0.75,\"count\":3,\"seed\":\"18446744073709551\",\"mode\":"
              "\"boundary\",\"values\":[1,2.5],\"on\":false}",
              &tree, &err),
        0);
    root = json_root(tree, &problems);
    json_only(&root, KNOWN);
    assert_string_equal(json_string(&root, "kind", true, ""), "sweep");
    assert_true(json_double(&root, "vdd_v", true, 0, 1, 0) == 0.75);
    assert_int_equal(json_integer(&root, "count", true, 0, 10, 0), 3);
    assert_int_equal(json_integer(&root, "seed", true, 0, INT64_MAX, 0), 18446744073709551);
    assert_int_equal(json_integer(&root, "absent", false, 0, 10, 7), 7);
    assert_int_equal(json_choice(&root, "mode", true, MODES, 0), 2);
    assert_int_equal(json_doubles(&root, "values", true, values, 3), 2);
    assert_true(values[1] == 2.5);
    assert_false(json_boolean(&root, "on", true, true));
    list = json_member(&root, "values", true);
    assert_int_equal(json_count(&list), 2);
    second = json_element(&list, 1);
    assert_string_equal(second.pointer, "/values/1");
    assert_true(second.node->valuedouble == 2.5);
    assert_int_equal(problems.count, 0);
    assert_int_equal(json_problems_error(&problems, "a.json", &err), 0);
    cJSON_Delete(tree);
}

static void too_many_problems_are_counted(void **state)
{
    static struct json_problems problems;
    struct json_at root = json_root(NULL, &problems);

    (void)state;
    for (int i = 0; i < JSON_PROBLEMS_MAX + 20; i++)
        json_problem(&root, NULL, "problem %d", i);
    assert_int_equal(problems.count, JSON_PROBLEMS_MAX + 20);
    assert_string_equal(problems.item[JSON_PROBLEMS_MAX - 1].reason, "problem 99");
}

static void nearest(void **state)
{
    (void)state;
    assert_string_equal(json_nearest("gird", MODES), "grid");
    assert_string_equal(json_nearest("Boundry", MODES), "boundary");
    assert_null(json_nearest("spiral", MODES));
    assert_null(json_nearest("", MODES));
}

static void problems_of_two_files_are_joined(void **state)
{
    struct json_problems *all = calloc(1, sizeof *all), *more = calloc(1, sizeof *more);

    (void)state;
    assert_non_null(all);
    assert_non_null(more);
    all->count = JSON_PROBLEMS_MAX - 1;
    more->count = JSON_PROBLEMS_MAX + 5; /* five of them are counted only */
    snprintf(more->item[0].reason, sizeof more->item[0].reason, "first");
    json_problems_append(all, more);
    assert_int_equal(all->count, 2 * JSON_PROBLEMS_MAX + 4);
    assert_string_equal(all->item[JSON_PROBLEMS_MAX - 1].reason, "first");
    json_problems_append(NULL, more);
    free(all);
    free(more);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_inputs),
        cmocka_unit_test(limits),
        cmocka_unit_test(round_trip),
        cmocka_unit_test(foreign_bytes_print_as_json),
        cmocka_unit_test(readers_collect_every_mistake),
        cmocka_unit_test(readers_return_what_is_there),
        cmocka_unit_test(too_many_problems_are_counted),
        cmocka_unit_test(nearest),
        cmocka_unit_test(problems_of_two_files_are_joined),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
