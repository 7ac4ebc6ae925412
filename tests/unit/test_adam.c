/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_adam: analog outputs feed a net, analog inputs look at it: both register maps through the Modbus
 * driver, with the simulated world between. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>

#include "daemon/base/record.h"
#include "tests/unit/sim_rig.h"

static const char BENCH[] =
    "{\"instruments\": [{\"name\": \"out\", \"simulate\": {\"model\": \"adam-4024\"}},"
    " {\"name\": \"in\", \"simulate\": {\"model\": \"adam-4017\", \"nets\": [\"VDD\"]}}],"
    " \"rails\": {\"VDD\": {\"instrument\": \"out\", \"channel\": 2}}}";

struct module {
    struct driver_config config;
    void *state;
};

static void open_module(struct sim_rig *rig, struct module *m, const char *name, const char *map, int class)
{
    struct error err = { 0 };
    m->config.class = class;
    snprintf(m->config.name, sizeof m->config.name, "%s", name);
    snprintf(m->config.resource, sizeof m->config.resource, "sim:");
    snprintf(m->config.dialect_path, sizeof m->config.dialect_path, "configs/instruments/modbus/%s.json",
             map);
    if (driver_modbus.open(&m->config, &rig->env, &m->state, &err))
        fail_msg("%s: %s", map, err.message);
}

static int ask(struct sim_rig *rig, struct module *module, int op, int channel, double value,
               struct message *ret)
{
    struct error err = { 0 };
    *ret = (struct message){ .op = (uint16_t)op, .channel = (int16_t)channel, .value = { value } };
    return driver_modbus.request(module->state, ret, rig->payload, sizeof rig->payload, &err);
}

static void what_goes_out_comes_in(void **state)
{
    (void)state;
    struct sim_rig *rig = calloc(1, sizeof *rig);
    struct module out = { 0 }, in = { 0 };
    struct message m;
    assert_non_null(rig);
    assert_int_equal(sim_rig_start(rig, BENCH), 0);
    open_module(rig, &out, "out", "adam-4024", CLASS_SMU);
    open_module(rig, &in, "in", "adam-4017", CLASS_DMM);
    static const double VOLTS[] = { 2.5, 0.8, 9.99 };
    for (int i = 0; i < 3; i++) {
        assert_int_equal(ask(rig, &out, MESSAGE_SET_VOLTAGE, 2, VOLTS[i], &m), 0);
        assert_int_equal(ask(rig, &out, MESSAGE_OUTPUT, 2, 1, &m), 0);
        sim_rig_wait(rig, 0.2);
        assert_int_equal(ask(rig, &in, MESSAGE_MEASURE, 1, QUANTITY_VOLTAGE, &m), 0);
        if (fabs(m.value[0] - VOLTS[i]) > 0.02 || m.flags)
            fail_msg("%g V came in as %g V, flags %u", VOLTS[i], m.value[0], m.flags);
    }
    assert_int_equal(ask(rig, &in, MESSAGE_MEASURE, 2, QUANTITY_VOLTAGE, &m), 0);
    assert_true(fabs(m.value[0]) < 0.01); /* in the air */
    assert_int_equal(ask(rig, &out, MESSAGE_SAFE_OFF, 2, 0, &m), 0);
    sim_rig_wait(rig, 0.2);
    assert_int_equal(ask(rig, &in, MESSAGE_MEASURE, 1, QUANTITY_VOLTAGE, &m), 0);
    assert_true(fabs(m.value[0]) < 0.01);
    assert_int_equal(ask(rig, &out, MESSAGE_SET_VOLTAGE, 2, 10.5, &m), ERR_RANGE);
    driver_modbus.close(out.state);
    driver_modbus.close(in.state);
    assert_int_equal(sim_rig_stop(rig), 0);
    free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(what_goes_out_comes_in) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
