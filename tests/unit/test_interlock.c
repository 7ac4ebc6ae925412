/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_interlock: rules as they are read, each rule on both sides of its limit, and when the keeper has to
 * look by itself. How fast the outputs go off is tests/fault/test_interlock's business. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "instruments/interlock.h"

enum { CORE, IO, OVEN, CHANNELS };

static struct bench_file file;
static struct interlocks locks;
static char text[INTERLOCK_TEXT_MAX];

static int read_rules(const char *json, struct json_problems *problems)
{
    cJSON *root = NULL;
    assert_int_equal(json_parse(json, strlen(json), &root, NULL), 0);
    memset(problems, 0, sizeof *problems);
    struct json_at at = json_root(root, problems);
    struct json_at list = json_member(&at, "interlocks", false);
    interlocks_init(&locks, &file);
    interlocks_read(&locks, &list);
    cJSON_Delete(root);
    return problems->count;
}

static int set_up(void **state)
{
    (void)state;
    file = (struct bench_file){ .instrument_count = 2, .channel_count = CHANNELS, .spi_instrument = -1 };
    file.instrument[0] = (struct bench_instrument){ .name = "psu", .class = CLASS_PSU, .energises = true };
    file.instrument[1] = (struct bench_instrument){ .name = "oven", .class = CLASS_CHAMBER };
    file.channel[CORE] =
        (struct bench_channel){ .index = CORE, .number = 1, .can_source = true, .measure_s = 0.02 };
    file.channel[IO] =
        (struct bench_channel){ .index = IO, .number = 2, .can_source = true, .measure_s = 0.02 };
    file.channel[OVEN] = (struct bench_channel){ .index = OVEN, .instrument = 1, .number = 1 };
    snprintf(file.channel[CORE].rail, sizeof file.channel[CORE].rail, "VDDD");
    snprintf(file.channel[IO].rail, sizeof file.channel[IO].rail, "VDDIO");
    snprintf(file.channel[CORE].name, sizeof file.channel[CORE].name, "psu.1");
    return 0;
}

static bool answer(int channel, int op, double asked, double value, uint32_t flags, int64_t time_ns)
{
    struct message m = { .op = (uint16_t)op, .flags = flags, .value = { value }, .time_ns = time_ns };
    return interlocks_take(&locks, &file.channel[channel], &m, asked, text, sizeof text);
}

static void switch_on(int channel, double volt_v, int64_t time_ns)
{
    assert_true(answer(channel, MESSAGE_SET_VOLTAGE, volt_v, volt_v, 0, time_ns));
    assert_true(answer(channel, MESSAGE_OUTPUT, 1, 1, 0, time_ns));
}

static void mistakes_are_told_with_their_place(void **state)
{
    (void)state;
    static const struct {
        const char *rule, *pointer;
    } CASES[] = {
        { "{\"rule\":\"curent\",\"rail\":\"VDDD\",\"max_a\":1}", "/interlocks/0/rule" },
        { "{\"rule\":\"current\",\"rail\":\"VDDX\",\"max_a\":1}", "/interlocks/0/rail" },
        { "{\"rule\":\"current\",\"rail\":\"VDDD\"}", "/interlocks/0/max_a" },
        { "{\"rule\":\"current\",\"rail\":\"VDDD\",\"max_a\":-1}", "/interlocks/0/max_a" },
        { "{\"rule\":\"power\",\"max_w\":1,\"rail\":\"VDDD\"}", "/interlocks/0/rail" },
        { "{\"rule\":\"voltage\",\"rail\":\"VDDD\",\"max_v\":\"1\"}", "/interlocks/0/max_v" },
        { "{\"rule\":\"temperature\",\"instrument\":\"psu\",\"max_c\":1}", "/interlocks/0" },
        { "{\"rule\":\"temperature\",\"instrument\":\"oven\"}", "/interlocks/0/max_c" },
        { "{\"rule\":\"age\",\"max_s\":0.1}", "/interlocks/0/max_s" },
        { "{\"rule\":\"age\",\"max_s\":3,\"instrument\":\"psu\"}", "/interlocks/0" },
        { "{\"rule\":\"age\",\"max_s\":3,\"rail\":\"VDDD\",\"channel\":1}", "/interlocks/0/channel" },
        { "{\"rule\":\"age\",\"max_s\":3,\"instrument\":\"oven\",\"rail\":\"VDDD\"}",
          "/interlocks/0/instrument" },
        { "{\"max_s\":1}", "/interlocks/0/rule" },
    };
    static struct json_problems problems;
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        char json[300];
        snprintf(json, sizeof json, "{\"interlocks\":[%s]}", CASES[i].rule);
        if (read_rules(json, &problems) == 0 || strcmp(problems.item[0].pointer, CASES[i].pointer) != 0)
            fail_msg("case %zu: %d problems, the first at '%s'", i, problems.count, problems.item[0].pointer);
    }
    assert_int_equal(read_rules("{\"interlocks\":{}}", &problems), 1);
    assert_int_equal(read_rules("{}", &problems), 0);
    assert_int_equal(locks.count, 0);
}

static void current_and_power(void **state)
{
    (void)state;
    static struct json_problems problems;
    assert_int_equal(
        read_rules(
            "{\"interlocks\":[{\"rule\":\"current\",\"rail\":\"VDDD\",\"max_a\":0.1,\"name\":\"core\"},"
            "{\"rule\":\"power\",\"max_w\":0.2}]}",
            &problems),
        0);
    switch_on(CORE, 0.8, 0);
    switch_on(IO, 1.8, 0);
    assert_true(answer(CORE, MESSAGE_MEASURE, QUANTITY_CURRENT, 0.1, 0, NS_PER_S));
    assert_false(answer(CORE, MESSAGE_MEASURE, QUANTITY_CURRENT, -0.1001, 0, NS_PER_S));
    assert_non_null(strstr(text, "'core': VDDD 0.1001 A is above 0.1 A"));
    assert_false(answer(CORE, MESSAGE_MEASURE, QUANTITY_CURRENT, NAN,
                        READING_NOT_A_NUMBER | READING_OVERRANGE, NS_PER_S));
    /* 0.8 V x 0.1 A + 1.8 V x 0.06 A = 0.188 W; 0.07 A make 0.206 W. What is off does not count. */
    assert_true(answer(CORE, MESSAGE_MEASURE, QUANTITY_CURRENT, 0.1, 0, NS_PER_S));
    assert_true(answer(IO, MESSAGE_MEASURE, QUANTITY_CURRENT, 0.06, 0, NS_PER_S));
    assert_false(answer(IO, MESSAGE_MEASURE, QUANTITY_CURRENT, 0.07, 0, NS_PER_S));
    assert_non_null(strstr(text, "all rails"));
    assert_true(answer(CORE, MESSAGE_SAFE_OFF, 0, 0, 0, 2 * NS_PER_S));
    assert_true(answer(IO, MESSAGE_MEASURE, QUANTITY_CURRENT, 0.07, 0, 3 * NS_PER_S));
    /* A current from before the output came on again says nothing about it. */
    switch_on(CORE, 0.8, 4 * NS_PER_S);
    assert_true(answer(IO, MESSAGE_MEASURE, QUANTITY_CURRENT, 0.07, 0, 5 * NS_PER_S));
}

static void voltage_waits_for_settling(void **state)
{
    (void)state;
    static struct json_problems problems;
    assert_int_equal(
        read_rules(
            "{\"interlocks\":[{\"rule\":\"voltage\",\"rail\":\"VDDD\",\"max_v\":0.05,\"settle_s\":0.1}]}",
            &problems),
        0);
    switch_on(CORE, 0.8, 0);
    const int64_t late = 121 * NS_PER_MS; /* settling, and the aperture of 20 ms after it */
    assert_true(answer(CORE, MESSAGE_MEASURE, QUANTITY_VOLTAGE, 0.2, 0, 119 * NS_PER_MS));
    assert_false(answer(CORE, MESSAGE_MEASURE, QUANTITY_VOLTAGE, 0.2, 0, late));
    assert_true(answer(CORE, MESSAGE_MEASURE, QUANTITY_VOLTAGE, 0.2, READING_LIMITING, late));
    assert_true(answer(CORE, MESSAGE_MEASURE, QUANTITY_VOLTAGE, 0.76, 0, late));
    assert_false(answer(CORE, MESSAGE_MEASURE, QUANTITY_VOLTAGE, 0.86, 0, late));
    assert_true(answer(CORE, MESSAGE_SET_VOLTAGE, 0.9, 0.9, 0, late)); /* settles anew */
    assert_true(answer(CORE, MESSAGE_MEASURE, QUANTITY_VOLTAGE, 0.8, 0, late + 50 * NS_PER_MS));
    assert_true(answer(CORE, MESSAGE_OUTPUT, 0, 0, 0, late));
    assert_true(answer(CORE, MESSAGE_MEASURE, QUANTITY_VOLTAGE, 0, 0, 10 * NS_PER_S));
}

static void temperature_has_two_ends(void **state)
{
    (void)state;
    static struct json_problems problems;
    assert_int_equal(read_rules("{\"interlocks\":[{\"rule\":\"temperature\",\"instrument\":\"oven\",\"min_"
                                "c\":-40,\"max_c\":125}]}",
                                &problems),
                     0);
    assert_true(interlocks_watch_instrument(&locks, 1));
    assert_false(interlocks_watch_instrument(&locks, 0));
    assert_true(answer(OVEN, MESSAGE_MEASURE, QUANTITY_TEMPERATURE, 125, 0, 0));
    assert_false(answer(OVEN, MESSAGE_MEASURE, QUANTITY_TEMPERATURE, 125.1, 0, 0));
    assert_false(answer(OVEN, MESSAGE_MEASURE, QUANTITY_TEMPERATURE, -41, 0, 0));
    struct interlock_poll poll = { 0 };
    assert_true(interlocks_poll(&locks, 2 * NS_PER_S, &poll)); /* a chamber is always looked at */
    assert_true(poll.channel == OVEN && poll.op == MESSAGE_MEASURE && poll.quantity == QUANTITY_TEMPERATURE);
}

static void what_nobody_reads_is_polled(void **state)
{
    (void)state;
    static struct json_problems problems;
    assert_int_equal(
        read_rules("{\"interlocks\":[{\"rule\":\"current\",\"rail\":\"VDDD\",\"max_a\":1}]}", &problems), 0);
    struct interlock_poll poll = { 0 };
    assert_true(interlocks_due_ns(&locks) == CLOCK_NEVER); /* nothing is on */
    switch_on(CORE, 0.8, 0);
    int64_t due_ns = interlocks_due_ns(&locks);
    assert_true(due_ns > INTERLOCK_POLL_NS && due_ns < INTERLOCK_POLL_NS + NS_PER_MS);
    assert_false(interlocks_poll(&locks, due_ns - 1, &poll));
    assert_true(interlocks_poll(&locks, due_ns, &poll) && poll.channel == CORE);
    int first = poll.op;
    assert_true(interlocks_poll(&locks, due_ns, &poll) && poll.op != first); /* its state and its current */
    assert_false(interlocks_poll(&locks, due_ns, &poll));
    /* A client's own reading puts the poll off. */
    assert_true(answer(CORE, MESSAGE_MEASURE, QUANTITY_CURRENT, 0.1, 0, due_ns + NS_PER_S / 2));
    assert_true(answer(CORE, MESSAGE_STATE, 0, 0.8, MESSAGE_ON, due_ns + NS_PER_S / 2));
    assert_true(interlocks_due_ns(&locks) > due_ns + INTERLOCK_POLL_NS);
    assert_true(answer(CORE, MESSAGE_OUTPUT, 0, 0, 0, due_ns));
    assert_true(interlocks_due_ns(&locks) == CLOCK_NEVER);
}

static void a_silent_link_is_noticed(void **state)
{
    (void)state;
    static struct json_problems problems;
    assert_int_equal(read_rules("{\"interlocks\":[{\"rule\":\"age\",\"max_s\":3}]}", &problems), 0);
    switch_on(CORE, 0.8, 0);
    assert_true(interlocks_check_age(&locks, 3 * NS_PER_S, text, sizeof text));
    assert_false(interlocks_check_age(&locks, 3 * NS_PER_S + NS_PER_MS, text, sizeof text));
    assert_non_null(strstr(text, "VDDD"));
    assert_true(answer(CORE, MESSAGE_MEASURE, QUANTITY_VOLTAGE, 0.8, 0, 2 * NS_PER_S));
    assert_true(interlocks_check_age(&locks, 5 * NS_PER_S, text, sizeof text));
    struct message failed = { .op = MESSAGE_MEASURE, .code = ERR_TIMEOUT, .time_ns = 5 * NS_PER_S };
    assert_true(interlocks_take(&locks, &file.channel[CORE], &failed, QUANTITY_VOLTAGE, text, sizeof text));
    assert_false(interlocks_check_age(&locks, 6 * NS_PER_S, text, sizeof text)); /* a failure is no reading */
}

static void a_chamber_that_falls_silent_is_noticed(void **state)
{
    (void)state;
    static struct json_problems problems;
    struct interlock_poll poll = { 0 };
    assert_int_equal(
        read_rules("{\"interlocks\":[{\"rule\":\"age\",\"instrument\":\"oven\",\"max_s\":3}]}", &problems),
        0);
    assert_true(interlocks_watch_instrument(&locks, 1));
    /* Asked three times as often as it must answer, from the start on. */
    assert_true(interlocks_poll(&locks, 10 * NS_PER_S, &poll) && poll.channel == OVEN);
    assert_true(poll.quantity == QUANTITY_TEMPERATURE);
    assert_true(interlocks_due_ns(&locks) <= 11 * NS_PER_S + NS_PER_MS);
    assert_true(interlocks_check_age(&locks, 20 * NS_PER_S, text, sizeof text)); /* nothing is on */
    switch_on(CORE, 0.8, 12 * NS_PER_S);
    assert_true(interlocks_check_age(&locks, 13 * NS_PER_S, text, sizeof text));
    assert_false(
        interlocks_check_age(&locks, 13 * NS_PER_S + NS_PER_MS, text, sizeof text)); /* never answered */
    assert_true(answer(OVEN, MESSAGE_MEASURE, QUANTITY_TEMPERATURE, 25, 0, 13 * NS_PER_S));
    assert_true(interlocks_check_age(&locks, 16 * NS_PER_S, text, sizeof text));
    assert_false(interlocks_check_age(&locks, 16 * NS_PER_S + NS_PER_MS, text, sizeof text));
    assert_non_null(strstr(text, "s without a reading"));
    /* A rail's own readings say nothing about the chamber. */
    assert_true(answer(CORE, MESSAGE_MEASURE, QUANTITY_VOLTAGE, 0.8, 0, 17 * NS_PER_S));
    assert_false(interlocks_check_age(&locks, 17 * NS_PER_S, text, sizeof text));
    /* Nor does its own switch. */
    assert_true(answer(CORE, MESSAGE_OUTPUT, 0, 0, 0, 18 * NS_PER_S));
    assert_true(answer(OVEN, MESSAGE_OUTPUT, 0, 1, 0, 18 * NS_PER_S));
    assert_true(interlocks_check_age(&locks, 30 * NS_PER_S, text, sizeof text));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(mistakes_are_told_with_their_place, set_up),
        cmocka_unit_test_setup(current_and_power, set_up),
        cmocka_unit_test_setup(voltage_waits_for_settling, set_up),
        cmocka_unit_test_setup(temperature_has_two_ends, set_up),
        cmocka_unit_test_setup(what_nobody_reads_is_polled, set_up),
        cmocka_unit_test_setup(a_silent_link_is_noticed, set_up),
        cmocka_unit_test_setup(a_chamber_that_falls_silent_is_noticed, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
