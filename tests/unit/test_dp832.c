/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_dp832: a dialect with a selected channel: the scpi driver and the simulated Rigol in virtual time, two
 * channels in turn, words for states, protection and its trip. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>

#include "daemon/base/record.h"
#include "tests/unit/sim_rig.h"

static const char BENCH[] = "{\"instruments\":[{\"name\":\"psu\",\"simulate\":{\"model\":\"dp832\"}}],"
                            "\"rails\":{\"A\":{\"instrument\":\"psu\",\"channel\":1},"
                            "\"B\":{\"instrument\":\"psu\",\"channel\":3}}}";

static int start(void **state)
{
    struct sim_rig *rig = calloc(1, sizeof *rig);
    struct error err = { 0 };
    *state = rig;
    snprintf(rig->config.dialect_path, sizeof rig->config.dialect_path,
             "configs/instruments/rigol-dp832.json");
    if (sim_rig_start(rig, BENCH))
        return -1;
    if (sim_rig_connect(rig, "scpi", "psu", &err))
        fprintf(stderr, "%s\n", err.message);
    return rig->state == NULL;
}

static int stop(void **state)
{
    int code = sim_rig_stop(*state);
    free(*state);
    return code;
}

static struct message ask(struct sim_rig *rig, int op, int channel, double value, int expected)
{
    struct message m = { .op = (uint16_t)op, .channel = (int16_t)channel, .value = { value } };
    struct error err = { 0 };
    int code = sim_rig_request(rig, &m, &err);
    if (code != expected)
        fail_msg("operation %d of channel %d: %d %s (%s)", op, channel, code, err.message, err.command);
    return m;
}

static void channels_do_not_mix(void **state)
{
    struct sim_rig *rig = *state;
    ask(rig, MESSAGE_SET_VOLTAGE, 1, 12.5, 0);
    ask(rig, MESSAGE_SET_VOLTAGE, 3, 3.3, 0);
    ask(rig, MESSAGE_SET_LIMIT, 1, 0.5, 0);
    ask(rig, MESSAGE_SET_LIMIT, 3, 1.5, 0);
    ask(rig, MESSAGE_OUTPUT, 3, 1, 0);
    sim_rig_wait(rig, 0.2);
    struct message one = ask(rig, MESSAGE_STATE, 1, 0, 0), three = ask(rig, MESSAGE_STATE, 3, 0, 0);
    assert_true(one.flags == 0 && one.value[0] == 12.5 && one.value[1] == 0.5);
    assert_true(three.flags == MESSAGE_ON && three.value[0] == 3.3 && three.value[1] == 1.5);
    three = ask(rig, MESSAGE_MEASURE, 3, QUANTITY_VOLTAGE, 0);
    assert_true(fabs(three.value[0] - 3.3) < 0.03 && three.value[1] > 0 && three.flags == 0);
    one = ask(rig, MESSAGE_MEASURE, 1, QUANTITY_VOLTAGE, 0);
    assert_true(fabs(one.value[0]) < 0.03);
    three = ask(rig, MESSAGE_SAFE_OFF, 3, 0, 0);
    assert_true(three.value[0] == 0);
    ask(rig, MESSAGE_SET_VOLTAGE, 3, 5.4, ERR_RANGE);
    ask(rig, MESSAGE_SET_VOLTAGE, 4, 1, ERR_INVALID);
}

static void over_voltage_trips_and_is_cleared(void **state)
{
    struct sim_rig *rig = *state;
    struct message m = { .op = MESSAGE_SET_PROTECTION, .channel = 1, .value = { 2.0, 0 } };
    assert_int_equal(sim_rig_request(rig, &m, NULL), 0);
    ask(rig, MESSAGE_SET_VOLTAGE, 1, 3, 0);
    ask(rig, MESSAGE_OUTPUT, 1, 1, ERR_REFUSED); /* it trips before it can be read back */
    m = ask(rig, MESSAGE_STATE, 1, 0, 0);
    assert_int_equal(m.flags, MESSAGE_TRIPPED);
    assert_int_equal(ask(rig, MESSAGE_STATE, 3, 0, 0).flags, 0);
    ask(rig, MESSAGE_CLEAR_TRIP, 1, 0, 0);
    ask(rig, MESSAGE_SET_VOLTAGE, 1, 1.5, 0);
    ask(rig, MESSAGE_OUTPUT, 1, 1, 0);
    sim_rig_wait(rig, 0.2);
    assert_int_equal(ask(rig, MESSAGE_STATE, 1, 0, 0).flags, MESSAGE_ON);
}

static void raw_questions_pass(void **state)
{
    struct sim_rig *rig = *state;
    struct message m = { .op = MESSAGE_QUERY, .payload_length = 14 };
    memcpy(rig->payload, "OUTP:MODE? CH1", 14);
    assert_int_equal(sim_rig_request(rig, &m, NULL), 0);
    assert_memory_equal(rig->payload, "CV", 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(channels_do_not_mix, start, stop),
        cmocka_unit_test_setup_teardown(over_voltage_trips_and_is_cleared, start, stop),
        cmocka_unit_test_setup_teardown(raw_questions_pass, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
