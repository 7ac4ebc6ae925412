/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_scpi: framing and reading of answers, and the driver against a small supply with faults. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>

#include "drivers/driver.h"
#include "drivers/scpi_link.h"
#include "drivers/scpi_text.h"
#include "tests/unit/supply.h"

/* ---- Answers ---- */
static size_t frame_length(const char *bytes, size_t n)
{
    struct scpi_framer framer = { 0 };
    for (size_t i = 0; i < n; i++) {
        if (scpi_framer_take(&framer, bytes[i]))
            return i + 1;
    }
    return 0;
}

static void an_answer_ends_where_it_ends(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t n, end; /* 0: not complete */
    } CASES[] = {
        { "1.5\n", 4, 4 },
        { "1.5", 3, 0 },
        { "#15he\nlo\n", 9, 9 }, /* a line feed inside the block does not end it */
        { "#15he\nlo", 8, 0 },
        { "1;#13\n\n\n\n", 9, 9 }, /* a block as second answer */
        { "#210aaaaaaaaa\n\n", 15, 15 },
        { "#0abc\n", 6, 6 },    /* indefinite: to the line feed */
        { "\"#9\";2\n", 7, 7 }, /* no block inside a string */
        { "a#15\n", 5, 5 },     /* nor inside a word */
        { "#10\n", 4, 4 },      /* an empty block */
        { "#x\n", 3, 3 },
        { "\n", 1, 1 },
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        if (frame_length(CASES[i].bytes, CASES[i].n) != CASES[i].end)
            fail_msg("case %zu ends at %zu", i, frame_length(CASES[i].bytes, CASES[i].n));
    }
}

static void numbers_are_numbers(void **state)
{
    (void)state;
    double v;
    assert_true(scpi_text_number("+3.30000000E+00", &v) && v == 3.3);
    assert_true(scpi_text_number(" -1e-3 \r", &v) && v == -1e-3);
    assert_true(scpi_text_number("ON", &v) && v == 1);
    assert_true(scpi_text_number("off", &v) && v == 0);
    assert_true(scpi_text_number("9.91E37", &v) && v == 9.91e37);
    static const char *const BAD[] = { "",        " ",    "inf", "nan", "+inf", "0x1F",
                                       "9.9E999", "1.5V", "1,2", "O",   "--1" };
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++)
        assert_false(scpi_text_number(BAD[i], &v));
}

static void joined_answers_come_apart(void **state)
{
    (void)state;
    char text[] = "1;\"a;b\";+0,\"No error;0;0 0\"", *part[3];
    assert_int_equal(scpi_text_split(text, part, 3), 3);
    assert_string_equal(part[1], "\"a;b\"");
    assert_string_equal(part[2], "+0,\"No error;0;0 0\"");
}

static void error_entries_in_their_spellings(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool ok;
        int code;
    } CASES[] = { { "0,\"No error\"", true, 0 },
                  { "+0,\"No error\"", true, 0 },
                  { "0  No Error", true, 0 },
                  { "0,\"No error;0;0 0\"", true, 0 },
                  { "-113,\"Undefined header\"", true, -113 },
                  { "-222", true, -222 },
                  { "No error", false, 0 },
                  { "", false, 0 },
                  { "1.5", false, 0 } };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        int code = 0;
        const char *text;
        assert_int_equal(scpi_text_error(CASES[i].text, &code, &text), CASES[i].ok);
        assert_int_equal(code, CASES[i].code);
    }
}

/* ---- The driver ---- */
struct rig {
    struct supply supply;
    struct transport_env env;
    struct driver_config config;
    void *state;
};

static int rig_open(void **state)
{
    struct rig *rig = calloc(1, sizeof *rig);
    *state = rig;
    if (supply_start(&rig->supply) || clock_open(NULL, &rig->env.clock, NULL) ||
        clock_actor_open(rig->env.clock, "test", 0, &rig->env.actor, NULL))
        return -1;
    rig->env.cut_fd = -1;
    snprintf(rig->config.name, sizeof rig->config.name, "psu1");
    snprintf(rig->config.resource, sizeof rig->config.resource, "%s", rig->supply.peer.resource);
    snprintf(rig->config.dialect_path, sizeof rig->config.dialect_path,
             "configs/instruments/keysight-e36312a.json");
    struct error err = { 0 };
    if (driver_scpi.open(&rig->config, &rig->env, &rig->state, &err)) {
        print_error("%s\n", err.message);
        return -1;
    }
    return 0;
}

static int rig_close(void **state)
{
    struct rig *rig = *state;
    driver_scpi.close(rig->state);
    clock_actor_close(rig->env.actor);
    clock_close(rig->env.clock);
    supply_stop(&rig->supply);
    free(rig);
    return 0;
}

static int request(struct rig *rig, struct message *m, struct error *err)
{
    uint8_t payload[256];
    m->channel = 1;
    return driver_scpi.request(rig->state, m, payload, sizeof payload, err);
}

static void sets_reads_and_switches(void **state)
{
    struct rig *rig = *state;
    struct error err = { 0 };
    struct message set = { .op = MESSAGE_SET_VOLTAGE, .value = { 0.8 } },
                   on = { .op = MESSAGE_OUTPUT, .value = { 1 } };
    struct message st = { .op = MESSAGE_STATE },
                   read = { .op = MESSAGE_MEASURE, .value = { QUANTITY_VOLTAGE } };
    assert_int_equal(request(rig, &set, &err), 0);
    assert_int_equal(request(rig, &on, &err), 0);
    assert_int_equal(request(rig, &st, &err), 0);
    assert_int_equal(st.flags, MESSAGE_ON);
    assert_true(st.value[0] == 0.8 && st.value[1] == 0.1);
    assert_int_equal(request(rig, &read, &err), 0);
    assert_true(read.value[0] == 0.8 && read.value[1] > 1e-4 && read.value[2] == 6.18);
    assert_true(supply_heard(&rig->supply, "VOLT 0.8000,(@1);:SYST:ERR?\n")); /* one message */
}

static void limits_are_refused_before_the_wire(void **state)
{
    struct rig *rig = *state;
    struct error err = { 0 };
    const double bad[] = { 6.5, -0.1, NAN, INFINITY };
    for (int i = 0; i < 4; i++) {
        struct message m = { .op = MESSAGE_SET_VOLTAGE, .value = { bad[i] } };
        assert_int_equal(request(rig, &m, &err), ERR_RANGE);
    }
    assert_false(supply_heard(&rig->supply, "VOLT "));
}

static void the_error_queue_is_read(void **state)
{
    struct rig *rig = *state;
    struct error err = { 0 };
    struct message range = { .op = MESSAGE_SET_VOLTAGE, .value = { 6.1 } }; /* this unit refuses above 6 V */
    struct message unknown = { .op = MESSAGE_SET_LIMIT, .value = { 0.1 } }; /* it knows no CURR */
    struct message good = { .op = MESSAGE_SET_VOLTAGE, .value = { 1 } };
    assert_int_equal(request(rig, &range, &err), ERR_RANGE);
    assert_non_null(strstr(err.message, "-222"));
    assert_string_equal(err.instrument, "psu1");
    assert_non_null(strstr(err.command, "VOLT 6.1000"));
    assert_int_equal(request(rig, &unknown, &err), ERR_REFUSED);
    assert_non_null(strstr(err.message, "Undefined header"));
    assert_int_equal(request(rig, &good, &err), 0); /* nothing is left for the next one */
}

static void a_parser_that_stops_is_asked_again(void **state)
{
    struct rig *rig = *state;
    struct error err = { 0 };
    atomic_store(&rig->supply.stop_at_error, true);
    struct message m = { .op = MESSAGE_SET_LIMIT, .value = { 0.1 } };
    assert_int_equal(request(rig, &m, &err), ERR_REFUSED);
    assert_non_null(strstr(err.message, "-113"));
}

static void an_output_that_lies_is_found_out(void **state)
{
    struct rig *rig = *state;
    struct error err = { 0 };
    atomic_store(&rig->supply.lie_about_output, true);
    struct message on = { .op = MESSAGE_OUTPUT, .value = { 1 } }, off = { .op = MESSAGE_SAFE_OFF };
    assert_int_equal(request(rig, &on, &err), ERR_REFUSED);
    assert_int_equal(request(rig, &off, &err), 0);
    assert_true(off.value[0] == 1); /* reported as still on */
}

static void not_a_number_is_flagged(void **state)
{
    struct rig *rig = *state;
    struct error err = { 0 };
    atomic_store(&rig->supply.not_a_number, true);
    struct message m = { .op = MESSAGE_MEASURE, .value = { QUANTITY_VOLTAGE } };
    assert_int_equal(request(rig, &m, &err), 0);
    assert_true(isnan(m.value[0]) && isnan(m.value[1]));
    assert_true(m.flags & READING_NOT_A_NUMBER);
    assert_false(m.flags & READING_OVERRANGE);
}

/* "ON" is a number where a state was asked for, 1; it is no volt. */
static void a_state_is_no_reading(void **state)
{
    struct rig *rig = *state;
    struct error err = { 0 };
    atomic_store(&rig->supply.says_state, true);
    struct message m = { .op = MESSAGE_MEASURE, .value = { QUANTITY_VOLTAGE } };
    assert_int_equal(request(rig, &m, &err), ERR_GARBAGE);
}

static void a_late_answer_is_not_the_next_one(void **state)
{
    struct rig *rig = *state;
    struct error err = { 0 };
    struct message set = { .op = MESSAGE_SET_VOLTAGE, .value = { 1.25 } };
    assert_int_equal(request(rig, &set, &err), 0);
    atomic_store(&rig->supply.late_measure, true);
    struct message m = { .op = MESSAGE_MEASURE, .value = { QUANTITY_VOLTAGE } },
                   limit = { .op = MESSAGE_STATE };
    assert_int_equal(request(rig, &m, &err), ERR_TIMEOUT);
    assert_int_equal(driver_scpi.resync(rig->state, &err), 0);
    assert_int_equal(request(rig, &limit, &err), 0);
    assert_true(limit.value[0] == 1.25 && limit.value[1] == 0.1);
}

int main(void)
{
#define RIG(test) cmocka_unit_test_setup_teardown(test, rig_open, rig_close)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_ends_where_it_ends),
        cmocka_unit_test(numbers_are_numbers),
        cmocka_unit_test(joined_answers_come_apart),
        cmocka_unit_test(error_entries_in_their_spellings),
        RIG(sets_reads_and_switches),
        RIG(limits_are_refused_before_the_wire),
        RIG(the_error_queue_is_read),
        RIG(a_parser_that_stops_is_asked_again),
        RIG(an_output_that_lies_is_found_out),
        RIG(not_a_number_is_flagged),
        RIG(a_state_is_no_reading),
        RIG(a_late_answer_is_not_the_next_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
