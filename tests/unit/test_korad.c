/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_korad: the driver against the simulated unit in virtual time: set points, the stray byte, read back,
 * lost commands, wrong answers, silence. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>

#include "daemon/base/record.h"
#include "tests/unit/sim_rig.h"

static const char BENCH[] = "{\"instruments\":[{\"name\":\"psu\",\"simulate\":{\"model\":\"ka3005p\"}}],"
                            "\"rails\":{\"VDD\":{\"instrument\":\"psu\",\"channel\":1}}}";

static int start(void **state)
{
    struct sim_rig *rig = calloc(1, sizeof *rig);
    struct error err = { 0 };
    *state = rig;
    if (sim_rig_start(rig, BENCH))
        return -1;
    if (sim_rig_connect(rig, "korad", "psu", &err))
        fprintf(stderr, "%s\n", err.message);
    return rig->state == NULL;
}

static int stop(void **state)
{
    int code = sim_rig_stop(*state);
    free(*state);
    return code;
}

static int one(struct sim_rig *rig, int op, double value, struct message *ret, struct error *err)
{
    struct message m = { .op = (uint16_t)op, .channel = 1, .value = { value } };
    int code = sim_rig_request(rig, &m, err);
    if (ret)
        *ret = m;
    return code;
}

static void fault(struct sim_rig *rig, const char *kind, int count, double value)
{
    assert_int_equal(sim_rig_fault(rig, "psu", kind, count, value), 0);
}

static void identity(void **state)
{
    struct sim_rig *rig = *state;
    assert_int_equal(one(rig, MESSAGE_IDENTIFY, 0, NULL, NULL), 0);
    assert_memory_equal(rig->payload, "KORAD\0KA3005P\0\0V2.0", 20);
}

static void volts_reach_the_terminals(void **state)
{
    struct sim_rig *rig = *state;
    struct message m;
    struct error err = { 0 };
    assert_int_equal(one(rig, MESSAGE_SET_VOLTAGE, 3.304, NULL, &err), 0);
    assert_int_equal(one(rig, MESSAGE_SET_LIMIT, 0.2504, NULL, &err), 0);
    assert_int_equal(one(rig, MESSAGE_STATE, 0, &m, &err), 0);
    assert_true(m.flags == 0 && fabs(m.value[0] - 3.30) < 1e-9 && fabs(m.value[1] - 0.250) < 1e-9);
    assert_int_equal(one(rig, MESSAGE_OUTPUT, 1, &m, &err), 0);
    assert_true(m.value[0] == 1);
    sim_rig_wait(rig, 0.2);
    assert_int_equal(one(rig, MESSAGE_MEASURE, QUANTITY_VOLTAGE, &m, &err), 0);
    assert_true(fabs(m.value[0] - 3.3) < 0.08 && m.value[1] > 0.01 && m.value[1] < 0.1 && m.flags == 0);
    assert_int_equal(one(rig, MESSAGE_STATE, 0, &m, &err), 0);
    assert_int_equal(m.flags, MESSAGE_ON);
    assert_int_equal(one(rig, MESSAGE_SAFE_OFF, 0, &m, &err), 0);
    assert_true(m.value[0] == 0);
    assert_int_equal(one(rig, MESSAGE_MEASURE, QUANTITY_VOLTAGE, &m, &err), 0);
    assert_true(m.value[0] < 0.1);
}

static void protection_is_a_switch(void **state)
{
    struct sim_rig *rig = *state;
    struct message m = { .op = MESSAGE_SET_PROTECTION, .channel = 1, .value = { NAN, 1 } };
    assert_int_equal(sim_rig_request(rig, &m, NULL), 0);
    m.value[0] = 5;
    assert_int_equal(sim_rig_request(rig, &m, NULL), ERR_UNSUPPORTED);
}

static void limits_are_kept(void **state)
{
    struct sim_rig *rig = *state;
    assert_int_equal(one(rig, MESSAGE_SET_VOLTAGE, 31.1, NULL, NULL), ERR_RANGE);
    assert_int_equal(one(rig, MESSAGE_SET_VOLTAGE, NAN, NULL, NULL), ERR_RANGE);
    assert_int_equal(one(rig, MESSAGE_SET_LIMIT, -0.1, NULL, NULL), ERR_RANGE);
    struct message m = { .op = MESSAGE_OUTPUT, .channel = 2, .value = { 1 } };
    assert_int_equal(sim_rig_request(rig, &m, NULL), ERR_INVALID);
}

static void a_wrong_read_back_is_no_success(void **state)
{
    struct sim_rig *rig = *state;
    fault(rig, "wrong", -1, 0);
    int code = one(rig, MESSAGE_SET_VOLTAGE, 4.56, NULL, NULL);
    assert_true(code == ERR_REFUSED || code == ERR_GARBAGE);
    fault(rig, "none", 0, 0);
    assert_int_equal(rig->driver->resync(rig->state, NULL), 0);
    assert_int_equal(one(rig, MESSAGE_SET_VOLTAGE, 4.56, NULL, NULL), 0);
}

static void silence_times_out_and_ends(void **state)
{
    struct sim_rig *rig = *state;
    fault(rig, "silence", 1, 0);
    assert_int_equal(one(rig, MESSAGE_STATE, 0, NULL, NULL), ERR_TIMEOUT);
    assert_int_equal(rig->driver->resync(rig->state, NULL), 0);
    assert_int_equal(one(rig, MESSAGE_STATE, 0, NULL, NULL), 0);
}

static void a_late_answer_is_not_the_next_one(void **state)
{
    struct sim_rig *rig = *state;
    struct message m;
    assert_int_equal(one(rig, MESSAGE_SET_VOLTAGE, 1.23, NULL, NULL), 0);
    assert_int_equal(one(rig, MESSAGE_SET_LIMIT, 4.56, NULL, NULL), 0);
    fault(rig, "delay", 1, 0.55);
    assert_int_equal(one(rig, MESSAGE_STATE, 0, NULL, NULL), ERR_TIMEOUT);
    assert_int_equal(rig->driver->resync(rig->state, NULL), 0);
    assert_int_equal(one(rig, MESSAGE_STATE, 0, &m, NULL), 0);
    assert_true(fabs(m.value[0] - 1.23) < 1e-9 && fabs(m.value[1] - 4.56) < 1e-9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(identity, start, stop),
        cmocka_unit_test_setup_teardown(volts_reach_the_terminals, start, stop),
        cmocka_unit_test_setup_teardown(protection_is_a_switch, start, stop),
        cmocka_unit_test_setup_teardown(limits_are_kept, start, stop),
        cmocka_unit_test_setup_teardown(a_wrong_read_back_is_no_success, start, stop),
        cmocka_unit_test_setup_teardown(silence_times_out_and_ends, start, stop),
        cmocka_unit_test_setup_teardown(a_late_answer_is_not_the_next_one, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
