/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_scpi_log: the instrument's own logger, through the driver, against the truth of the simulated world.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>

#include "daemon/base/record.h"
#include "tests/unit/sim_rig.h"

static struct sim_rig *start(const char *model, const char *dialect, int class)
{
    struct sim_rig *rig = calloc(1, sizeof *rig);
    struct error err = { 0 };
    char bench[200];
    snprintf(bench, sizeof bench,
             "{\"instruments\": [{\"name\": \"dut\", \"simulate\": {\"model\": \"%s\"}}], \"rails\": {}}",
             model);
    assert_non_null(rig);
    assert_int_equal(sim_rig_start(rig, bench), 0);
    snprintf(rig->config.dialect_path, sizeof rig->config.dialect_path, "configs/instruments/%s.json",
             dialect);
    rig->config.class = class;
    if (sim_rig_connect(rig, "scpi", "dut", &err))
        fail_msg("%s", err.message);
    return rig;
}

static void end(struct sim_rig *rig)
{
    assert_int_equal(sim_rig_stop(rig), 0);
    free(rig);
}

static int ask(struct sim_rig *rig, int op, double v0, double v1, struct message *ret, struct error *err)
{
    struct message m = { .op = (uint16_t)op, .channel = 1, .value = { v0, v1 } };
    int code = sim_rig_request(rig, &m, err);
    if (ret)
        *ret = m;
    return code;
}

static struct message good(struct sim_rig *rig, int op, double v0, double v1)
{
    struct error err = { 0 };
    struct message m;
    if (ask(rig, op, v0, v1, &m, &err))
        fail_msg("operation %d: %s (%s)", op, err.message, err.command);
    return m;
}

/* Everything that there is by now, appended, with the seconds since the start; the number of values so far.
 */
static size_t fetch(struct sim_rig *rig, double *out, double *at_s, size_t have, size_t max)
{
    for (;;) {
        struct message m = good(rig, MESSAGE_LOG_READ, 0, 0);
        size_t bytes = m.count * sizeof(double);
        assert_int_equal(m.payload_length, 2 * bytes);
        assert_true(m.value[0] == (double)have && have + m.count <= max);
        memcpy(out + have, rig->payload, bytes);
        memcpy(at_s + have, rig->payload + bytes, bytes);
        have += m.count;
        if (m.count < 64)
            return have;
    }
}

static void n6705c_keeps_a_step_in_its_place(void **state)
{
    (void)state;
    struct sim_rig *rig = start("n6705c", "keysight-n6705c-n6784a", CLASS_PSU);
    static double value[4000], at_s[4000];
    size_t n = 0;
    good(rig, MESSAGE_SET_LIMIT, 0.1, 0);
    good(rig, MESSAGE_SET_VOLTAGE, 1.0, 0);
    good(rig, MESSAGE_OUTPUT, 1, 0);
    sim_rig_wait(rig, 0.5);
    struct message m = good(rig, MESSAGE_LOG_START, QUANTITY_VOLTAGE, 1e-3);
    assert_true(m.value[1] == 1e-3);
    int64_t begin_ns = clock_now(rig->env.clock);
    sim_rig_wait(rig, 0.3);
    n = fetch(rig, value, at_s, n, 4000);
    good(rig, MESSAGE_SET_VOLTAGE, 2.0, 0);
    double step_s = (double)(clock_now(rig->env.clock) - begin_ns) / 1e9;
    sim_rig_wait(rig, 0.3);
    n = fetch(rig, value, at_s, n, 4000);
    double seconds = (double)(clock_now(rig->env.clock) - begin_ns) / 1e9;
    assert_true(fabs((double)n - seconds / 1e-3) < 12); /* none lost, none twice */
    for (size_t i = 0; i < n; i++) {
        if (fabs(at_s[i] - step_s) > 0.012 && fabs(value[i] - (at_s[i] < step_s ? 1.0 : 2.0)) > 2e-3)
            fail_msg("value %zu at %g s: %g V; the step was at %g s", i, at_s[i], value[i], step_s);
    }
    good(rig, MESSAGE_MEASURE, QUANTITY_VOLTAGE, 0); /* numbers are text again, or still */
    good(rig, MESSAGE_LOG_STOP, 0, 0);
    good(rig, MESSAGE_LOG_START, QUANTITY_CURRENT, 10e-3);
    sim_rig_wait(rig, 0.1);
    n = fetch(rig, value, at_s, 0, 4000);
    assert_true(n >= 9 && n <= 11 && fabs(value[3]) < 1e-3);
    end(rig);
}

/* Its buffer keeps what was read, and says itself when each reading was taken. */
static void k2450_keeps_a_step_in_its_place(void **state)
{
    (void)state;
    struct sim_rig *rig = start("2450", "keithley-2450", CLASS_SMU);
    static double value[2000], at_s[2000];
    good(rig, MESSAGE_SET_LIMIT, 0.1, 0);
    good(rig, MESSAGE_SET_VOLTAGE, 0.5, 0);
    good(rig, MESSAGE_OUTPUT, 1, 0);
    sim_rig_wait(rig, 0.2);
    good(rig, MESSAGE_LOG_START, QUANTITY_VOLTAGE, 0.005);
    int64_t begin_ns = clock_now(rig->env.clock);
    sim_rig_wait(rig, 1.0);
    size_t n = fetch(rig, value, at_s, 0, 2000);
    good(rig, MESSAGE_SET_VOLTAGE, 1.5, 0);
    double step_s = (double)(clock_now(rig->env.clock) - begin_ns) / 1e9;
    sim_rig_wait(rig, 1.0);
    n = fetch(rig, value, at_s, n, 2000);
    assert_true(n > 70 && n < 84); /* 20 ms of aperture and 5 ms of pause each */
    for (size_t i = 0; i < n; i++) {
        if (fabs(at_s[i] - step_s) > 0.06 && fabs(value[i] - (at_s[i] < step_s ? 0.5 : 1.5)) > 5e-3)
            fail_msg("value %zu at %g s: %g V; the step was at %g s", i, at_s[i], value[i], step_s);
    }
    struct error err = { 0 };
    assert_int_equal(sim_rig_fault(rig, "dut", "truncate", 1, 0), 0);
    assert_int_not_equal(ask(rig, MESSAGE_LOG_READ, 0, 0, NULL, &err), 0);
    assert_int_equal(rig->driver->resync(rig->state, &err), 0);
    sim_rig_wait(rig, 0.2);
    assert_true(fetch(rig, value, at_s, n, 2000) > n); /* nothing was lost: it is still there */
    good(rig, MESSAGE_LOG_STOP, 0, 0);
    good(rig, MESSAGE_MEASURE, QUANTITY_VOLTAGE, 0);
    end(rig);
}

static void what_cannot_be_is_refused(void **state)
{
    (void)state;
    struct error err = { 0 };
    struct sim_rig *rig = start("n6705c", "keysight-n6705c-n6784a", CLASS_PSU);
    assert_int_equal(ask(rig, MESSAGE_LOG_START, QUANTITY_VOLTAGE, 1e-5, NULL, &err), ERR_RANGE);
    assert_int_equal(ask(rig, MESSAGE_LOG_READ, 0, 0, NULL, &err), ERR_REFUSED);
    end(rig);
    rig = start("e36312a", "keysight-e36312a", CLASS_PSU);
    assert_int_equal(ask(rig, MESSAGE_LOG_START, QUANTITY_VOLTAGE, 0.1, NULL, &err), ERR_UNSUPPORTED);
    end(rig);
}

/* A block that is cut or noisy is never taken for values; and as its values are gone at the instrument, those
 * that follow have no time: the log must be started again. */
static void a_broken_block_is_no_data(void **state)
{
    (void)state;
    static const char *const FAULTS[] = { "truncate", "garbage", "silence" };
    for (int i = 0; i < 3; i++) {
        struct error err = { 0 };
        struct message m;
        struct sim_rig *rig = start("n6705c", "keysight-n6705c-n6784a", CLASS_PSU);
        good(rig, MESSAGE_LOG_START, QUANTITY_VOLTAGE, 1e-3);
        sim_rig_wait(rig, 0.05);
        assert_int_equal(sim_rig_fault(rig, "dut", FAULTS[i], 1, 0), 0);
        int code = ask(rig, MESSAGE_LOG_READ, 0, 0, &m, &err);
        if (code != ERR_TIMEOUT && code != ERR_GARBAGE)
            fail_msg("%s: code %d, %u values", FAULTS[i], code, m.count);
        assert_int_equal(rig->driver->resync(rig->state, &err), 0);
        sim_rig_wait(rig, 0.05);
        assert_int_equal(ask(rig, MESSAGE_LOG_READ, 0, 0, &m, &err), ERR_REFUSED);
        good(rig, MESSAGE_LOG_STOP, 0, 0);
        good(rig, MESSAGE_LOG_START, QUANTITY_VOLTAGE, 1e-3);
        sim_rig_wait(rig, 0.05);
        m = good(rig, MESSAGE_LOG_READ, 0, 0);
        assert_true(m.count > 0 && m.value[0] == 0);
        end(rig);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(n6705c_keeps_a_step_in_its_place),
        cmocka_unit_test(k2450_keeps_a_step_in_its_place),
        cmocka_unit_test(what_cannot_be_is_refused),
        cmocka_unit_test(a_broken_block_is_no_data),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
