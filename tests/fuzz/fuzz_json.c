/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * fuzz_json: the gate, the printer and the readers of daemon/base/json.h. What is accepted prints and reads
 * back equal; whatever bytes a string holds, what is printed is JSON.
 *
 * sources: daemon/base/error.c daemon/base/text.c daemon/base/json.c daemon/base/json_read.c
 * aims: daemon/base/json*.c
 * edges: 255 */
#include "tests/fuzz/json_mutator.h"

static const char *const words[] = { "name", "alpha", "beta", "list", NULL };

static void check_print(const cJSON *root, bool pretty)
{
    struct error err = { 0 };
    cJSON *again = NULL;
    char *text = json_print(root, pretty), *second;

    FUZZ_CHECK(text != NULL);
    FUZZ_CHECK(json_parse(text, strlen(text), &again, &err) == 0);
    FUZZ_CHECK(cJSON_Compare(root, again, true));
    second = json_print(again, pretty);
    FUZZ_CHECK(second != NULL && strcmp(text, second) == 0); /* to the last bit of every number */
    free(second);
    free(text);
    cJSON_Delete(again);
}

/* Readers on a document of any form: values lie in the stated range or are the fallback. */
static void check_readers(const cJSON *root)
{
    static struct json_problems problems;
    double list[4];
    struct error err = { 0 };

    problems.count = 0;
    struct json_at at = json_root(root, &problems);
    json_only(&at, words);
    double x = json_double(&at, "alpha", true, -5, 5, 7);
    FUZZ_CHECK((x >= -5 && x <= 5) || x == 7);
    int64_t i = json_integer(&at, "beta", true, 1, 10, 0);
    FUZZ_CHECK(i >= 0 && i <= 10);
    int choice = json_choice(&at, "name", true, words, -1);
    FUZZ_CHECK(choice >= -1 && choice < 4);
    int count = json_doubles(&at, "list", true, list, 4);
    FUZZ_CHECK(count >= 0 && count <= 4);
    FUZZ_CHECK(json_string(&at, "name", false, "fallback") != NULL);
    json_boolean(&at, "alpha", false, true);
    for (int k = 0; k < json_count(&at) && k < 8; k++) {
        struct json_at element = json_element(&at, k);
        json_only(&element, words);
    }
    fuzz_check_problems(&problems);
    int code = json_problems_error(&problems, "document", &err);
    FUZZ_CHECK((code == 0) == (problems.count == 0));
    if (code != 0)
        fuzz_check_refusal(code, &err, NULL);
}

static void check_string(const uint8_t *data, size_t size)
{
    char *text = fuzz_text(data, size);
    cJSON *node = cJSON_CreateObject();

    FUZZ_CHECK(cJSON_AddStringToObject(node, text, text) != NULL);
    char *printed = json_print(node, size % 2);
    fuzz_check_json(printed);
    free(printed);
    cJSON_Delete(node);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error err = { 0 };
    cJSON *root = NULL;
    int code = json_parse((const char *)data, size, &root, &err);

    check_string(data, size);
    if (code != 0) {
        fuzz_check_refusal(code, &err, root);
        return 0;
    }
    FUZZ_CHECK(root != NULL);
    check_print(root, false);
    check_print(root, true);
    check_readers(root);
    cJSON_Delete(root);
    return 0;
}
