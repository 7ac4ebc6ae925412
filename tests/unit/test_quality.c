/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_quality: what a reading says about itself, class by class, through the real drivers on simulated gear:
 * limiting under a short circuit, over-range beyond a fixed range, no number where a code came. Unsettled,
 * tripped and lost outputs are test_settings', chambers are test_chamber's, held displays test_sigrok's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>

#include "daemon/base/record.h"
#include "tests/unit/sim_rig.h"

struct gear {
    const char *model, *driver, *dialect;
    int class;
};

static struct sim_rig *start(const struct gear *gear)
{
    struct sim_rig *rig = calloc(1, sizeof *rig);
    struct error err = { 0 };
    char bench[600];
    const char *wiring = gear->class == CLASS_DMM
                             ? "\"rails\": {}, \"test_bus\": {\"net\": \"ATB0\","
                               " \"source\": {\"instrument\": \"other\", \"channel\": 1},"
                               " \"meter\": {\"instrument\": \"dut\", \"channel\": 1}}"
                             : "\"rails\": {\"VDD\": {\"instrument\": \"dut\", \"channel\": 1}}";
    snprintf(bench, sizeof bench,
             "{\"instruments\": [{\"name\": \"dut\", \"simulate\": {\"model\": \"%s\"}},"
             " {\"name\": \"other\", \"simulate\": {\"model\": \"2450\"}}], %s}",
             gear->model, wiring);
    assert_non_null(rig);
    assert_int_equal(sim_rig_start(rig, bench), 0);
    if (gear->dialect)
        snprintf(rig->config.dialect_path, sizeof rig->config.dialect_path, "configs/instruments/%s.json",
                 gear->dialect);
    rig->config.class = gear->class;
    if (sim_rig_connect(rig, gear->driver, "dut", &err))
        fail_msg("%s: %s", gear->model, err.message);
    return rig;
}

static void end(struct sim_rig *rig)
{
    assert_int_equal(sim_rig_stop(rig), 0);
    free(rig);
}

static struct message ask(struct sim_rig *rig, int op, double v0, double v1)
{
    struct error err = { 0 };
    struct message m = { .op = (uint16_t)op, .channel = 1, .value = { v0, v1, NAN } };
    if (sim_rig_request(rig, &m, &err))
        fail_msg("operation %d: %s (%s)", op, err.message, err.command);
    return m;
}

static void contact(struct sim_rig *rig, const char *state)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    char text[128];
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%s/control.sock", rig->dir);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    snprintf(text, sizeof text, "{\"op\":\"contact\",\"net\":\"VDD\",\"state\":\"%s\"}\n", state);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    ssize_t n = read(fd, text, sizeof text - 1);
    text[n > 0 ? n : 0] = '\0';
    assert_non_null(strstr(text, "\"ok\":true"));
    close(fd);
}

/* Constant current, compliance: the same thing of a supply and of a source. */
static void a_short_circuit_is_limiting(void **state)
{
    (void)state;
    static const struct gear GEAR[] = {
        { "e36312a", "scpi", "keysight-e36312a", CLASS_PSU },
        { "n6705c", "scpi", "keysight-n6705c-n6784a", CLASS_PSU },
        { "n6762a", "scpi", "keysight-n6705c-n6762a", CLASS_PSU },
        { "dp832", "scpi", "rigol-dp832", CLASS_PSU },
        { "2450", "scpi", "keithley-2450", CLASS_SMU },
        { "ka3005p", "korad", NULL, CLASS_PSU },
        { "rd6006", "modbus", "modbus/riden-rd6006", CLASS_PSU },
        { "dps5005", "modbus", "modbus/rdtech-dps5005", CLASS_PSU },
    };
    for (size_t i = 0; i < sizeof GEAR / sizeof *GEAR; i++) {
        struct sim_rig *rig = start(&GEAR[i]);
        ask(rig, MESSAGE_SET_LIMIT, 0.05, 0);
        ask(rig, MESSAGE_SET_VOLTAGE, 1.0, 0);
        ask(rig, MESSAGE_OUTPUT, 1, 0);
        sim_rig_wait(rig, 1);
        if (ask(rig, MESSAGE_MEASURE, QUANTITY_VOLTAGE, 0).flags & READING_LIMITING)
            fail_msg("%s: limits without a load", GEAR[i].model);
        contact(rig, "short");
        sim_rig_wait(rig, 1);
        struct message m = ask(rig, MESSAGE_MEASURE, QUANTITY_CURRENT, 0);
        if (!(m.flags & READING_LIMITING) || fabs(m.value[0] - 0.05) > 0.02)
            fail_msg("%s: flags %#x, %g A into a short circuit", GEAR[i].model, m.flags, m.value[0]);
        if (!(ask(rig, MESSAGE_STATE, 0, 0).flags & MESSAGE_LIMITING))
            fail_msg("%s: its state does not say so", GEAR[i].model);
        end(rig);
    }
}

/* 9.9E37: the meter's overload is a flag, never a number. */
static void beyond_a_fixed_range_is_no_number(void **state)
{
    (void)state;
    static const struct gear METER = { "34461a", "scpi", "keysight-34461a", CLASS_DMM };
    struct sim_rig *rig = start(&METER);
    struct driver_config config = { .name = "other", .resource = "sim:", .class = CLASS_SMU };
    struct error err = { 0 };
    void *source = NULL;
    snprintf(config.dialect_path, sizeof config.dialect_path, "configs/instruments/keithley-2450.json");
    assert_int_equal(driver_scpi.open(&config, &rig->env, &source, &err), 0);
    const int OPS[] = { MESSAGE_SET_LIMIT, MESSAGE_SET_VOLTAGE, MESSAGE_OUTPUT };
    const double VALUES[] = { 0.01, 5.0, 1 };
    for (int i = 0; i < 3; i++) {
        struct message m = { .op = (uint16_t)OPS[i], .channel = 1, .value = { VALUES[i] } };
        assert_int_equal(driver_scpi.request(source, &m, rig->payload, sizeof rig->payload, &err), 0);
    }
    sim_rig_wait(rig, 0.5);
    ask(rig, MESSAGE_CONFIGURE, 10, 1);
    struct message m = ask(rig, MESSAGE_MEASURE, QUANTITY_VOLTAGE, 0);
    assert_true(fabs(m.value[0] - 5) < 0.05 && m.flags == 0);
    ask(rig, MESSAGE_CONFIGURE, 1, 1);
    m = ask(rig, MESSAGE_MEASURE, QUANTITY_VOLTAGE, 0);
    assert_true(isnan(m.value[0]) && isnan(m.value[1]));
    assert_int_equal(m.flags, READING_NOT_A_NUMBER | READING_OVERRANGE);
    driver_scpi.close(source);
    end(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_short_circuit_is_limiting),
        cmocka_unit_test(beyond_a_fixed_range_is_no_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
