/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * The last requests of a client, as the record of an error has them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "daemon/base/json.h"
#include "instruments/history.h"

static const char *name_of(const void *context, int instrument)
{
    (void)context;
    return instrument < 0 ? "keeper" : "psu1";
}

static cJSON *list_of(const struct history *history, int64_t now_ns)
{
    struct strbuf text = { 0 };
    cJSON *list = NULL;

    history_json(history, now_ns, name_of, NULL, &text);
    assert_int_equal(json_parse(text.text, text.length, &list, NULL), 0);
    strbuf_free(&text);
    return list;
}

static double number(const cJSON *row, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(row, name);

    assert_true(cJSON_IsNumber(item));
    return item->valuedouble;
}

static const char *text(const cJSON *row, const char *name)
{
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(row, name));
}

static void nothing_yet(void **state)
{
    struct history history = { 0 };
    cJSON *list = list_of(&history, 0);

    (void)state;
    assert_int_equal(cJSON_GetArraySize(list), 0);
    cJSON_Delete(list);
}

/* 23 requests: the last 20, oldest first, each with its own value, time and end. */
static void ring(void **state)
{
    struct history history = { 0 };
    struct message asked = { .op = MESSAGE_SET_VOLTAGE, .channel = 2 };
    const int64_t ms = 1000000;

    (void)state;
    for (int i = 0; i < HISTORY_ROWS + 3; i++) {
        asked.value[0] = i;
        history_add(&history, &asked, i * 10 * ms, (i * 10 + 4) * ms,
                    i == HISTORY_ROWS + 2 ? ERR_TIMEOUT : 0);
    }
    cJSON *list = list_of(&history, (HISTORY_ROWS + 3) * 10 * ms);
    assert_int_equal(cJSON_GetArraySize(list), HISTORY_ROWS);
    for (int i = 0; i < HISTORY_ROWS; i++) {
        const cJSON *row = cJSON_GetArrayItem(list, i);
        assert_true(number(row, "value") == i + 3);
        assert_true(fabs(number(row, "at_s") + (HISTORY_ROWS - i) * 0.01) < 1e-9);
        assert_true(number(row, "elapsed_ms") == 4.0);
        assert_true(number(row, "channel") == 2);
        assert_string_equal(text(row, "op"), "set_voltage");
        assert_string_equal(text(row, "instrument"), "psu1");
        assert_string_equal(text(row, "code"), i == HISTORY_ROWS - 1 ? "timeout" : "ok");
    }
    cJSON_Delete(list);
}

/* A batch says how many, a value that is none is left out, what goes to the keeper itself is named so. */
static void kinds_of_rows(void **state)
{
    struct history history = { 0 };
    struct message batch = { .op = MESSAGE_SPI_BATCH, .count = 300 };
    struct message leave = { .op = MESSAGE_SET_PROTECTION, .value = { NAN } };
    struct message safe = { .op = MESSAGE_KEEPER_SAFE, .instrument = -1 };

    (void)state;
    history_add(&history, &batch, 0, 0, 0);
    history_add(&history, &leave, 0, 0, ERR_UNSUPPORTED);
    history_add(&history, &safe, 0, 0, 0);
    cJSON *list = list_of(&history, 0);
    assert_true(number(cJSON_GetArrayItem(list, 0), "items") == 300);
    assert_false(cJSON_HasObjectItem(cJSON_GetArrayItem(list, 0), "value"));
    assert_false(cJSON_HasObjectItem(cJSON_GetArrayItem(list, 1), "value"));
    assert_string_equal(text(cJSON_GetArrayItem(list, 1), "code"), "unsupported");
    assert_string_equal(text(cJSON_GetArrayItem(list, 2), "instrument"), "keeper");
    assert_string_equal(text(cJSON_GetArrayItem(list, 2), "op"), "safe");
    cJSON_Delete(list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_yet),
        cmocka_unit_test(ring),
        cmocka_unit_test(kinds_of_rows),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
