/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_chamber: chambers that speak text, by their dialects, against simulated ones whose air is the chip's
 * surroundings. The simulated ones lose what comes too soon. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>

#include "daemon/base/record.h"
#include "tests/unit/sim_rig.h"

static struct sim_rig *start(const char *model, const char *dialect, const char *options)
{
    struct sim_rig *rig = calloc(1, sizeof *rig);
    struct error err = { 0 };
    char bench[256];
    snprintf(bench, sizeof bench,
             "{\"instruments\": [{\"name\": \"oven\", \"simulate\": {\"model\": \"%s\"%s}}], \"rails\": {}}",
             model, options);
    assert_non_null(rig);
    assert_int_equal(sim_rig_start(rig, bench), 0);
    snprintf(rig->config.dialect_path, sizeof rig->config.dialect_path, "configs/instruments/%s.json",
             dialect);
    rig->config.class = CLASS_CHAMBER;
    if (sim_rig_connect(rig, strncmp(dialect, "modbus/", 7) == 0 ? "modbus" : "scpi", "oven", &err))
        fail_msg("%s: %s", dialect, err.message);
    return rig;
}

static void end(struct sim_rig *rig)
{
    assert_int_equal(sim_rig_stop(rig), 0);
    free(rig);
}

static struct message ask(struct sim_rig *rig, int op, double v0, double v1, double v2)
{
    struct error err = { 0 };
    struct message m = { .op = (uint16_t)op, .channel = 1, .value = { v0, v1, v2 } };
    if (sim_rig_request(rig, &m, &err))
        fail_msg("operation %d: %s (%s)", op, err.message, err.command);
    return m;
}

static int refused(struct sim_rig *rig, int op, double v0, const char *why)
{
    struct error err = { 0 };
    struct message m = { .op = (uint16_t)op, .channel = 1, .value = { v0, NAN, NAN } };
    int code = sim_rig_request(rig, &m, &err);
    if (code && !strstr(err.message, why))
        fail_msg("'%s' does not say '%s'", err.message, why);
    return code;
}

/* What every chamber must do: the set point is read back, the air follows when it is on, and goes back to the
 * room when it is off; the chip feels it. */
static void every_chamber_moves_the_air(void **state)
{
    (void)state;
    static const struct {
        const char *model, *dialect, *vendor, *identity;
        double tau_s;
    } CASES[] = {
        { "thermostream", "intest-thermostream", "inTEST", "ATS-545", 10 },
        { "thermotron-3800", "thermotron-3800", "Thermotron", "3800", 60 },
        { "espec-p300", "espec-p300", "ESPEC", "T,P300,180.0", 60 },
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        struct sim_rig *rig = start(CASES[i].model, CASES[i].dialect, "");
        ask(rig, MESSAGE_IDENTIFY, 0, 0, 0);
        assert_string_equal((char *)rig->payload, CASES[i].vendor);
        assert_string_equal((char *)rig->payload + strlen(CASES[i].vendor) + 1, CASES[i].identity);

        struct message m = ask(rig, MESSAGE_SET_TEMPERATURE, 85.04, NAN, NAN);
        assert_true(m.value[0] == 85.0);
        m = ask(rig, MESSAGE_STATE, 0, 0, 0);
        assert_true(m.value[0] == 85.0 && fabs(m.value[1] - 25) < 0.2 && !(m.flags & MESSAGE_ON));
        sim_rig_wait(rig, 5);
        assert_true(fabs(ask(rig, MESSAGE_MEASURE, QUANTITY_TEMPERATURE, 0, 0).value[0] - 25) < 0.2);

        ask(rig, MESSAGE_OUTPUT, 1, 0, 0);
        sim_rig_wait(rig, CASES[i].tau_s);
        m = ask(rig, MESSAGE_MEASURE, QUANTITY_TEMPERATURE, 0, 0);
        assert_true(fabs(m.value[0] - (85 - 60 * exp(-1))) < 4);
        assert_true(m.value[1] > 0.2 && m.value[1] < 1 && m.value[2] == 400);
        sim_rig_wait(rig, 10 * CASES[i].tau_s);
        m = ask(rig, MESSAGE_STATE, 0, 0, 0);
        assert_true(m.value[1] == 85.0 && (m.flags & MESSAGE_ON) && !(m.flags & MESSAGE_TRIPPED));

        ask(rig, MESSAGE_SAFE_OFF, 0, 0, 0);
        sim_rig_wait(rig, 12 * CASES[i].tau_s);
        assert_true(fabs(ask(rig, MESSAGE_STATE, 0, 0, 0).value[1] - 25) < 0.2);
        assert_int_equal(refused(rig, MESSAGE_SET_TEMPERATURE, 500, "outside"), ERR_RANGE);
        assert_int_equal(refused(rig, MESSAGE_SET_VOLTAGE, 1, "does not serve"), ERR_UNSUPPORTED);
        end(rig);
    }
}

/* Controllers that speak Modbus have no switch: the air follows from the start. */
static void controllers_move_the_air(void **state)
{
    (void)state;
    static const char *const MODELS[][2] = { { "watlow-f4", "modbus/watlow-f4" },
                                             { "watlow-f4t", "modbus/watlow-f4t" },
                                             { "eurotherm-32xx", "modbus/eurotherm-32xx" } };
    for (int i = 0; i < 3; i++) {
        struct sim_rig *rig = start(MODELS[i][0], MODELS[i][1], ", \"tau_s\": 60");
        ask(rig, MESSAGE_SET_TEMPERATURE, -40, 0, 0);
        sim_rig_wait(rig, 60);
        double celsius = ask(rig, MESSAGE_MEASURE, QUANTITY_TEMPERATURE, 0, 0).value[0];
        assert_true(fabs(celsius - (-40 + 65 * exp(-1))) < 1);
        sim_rig_wait(rig, 600);
        struct message m = ask(rig, MESSAGE_STATE, 0, 0, 0);
        assert_true(m.value[0] == -40 && fabs(m.value[1] + 40) < 0.06 && !m.flags);
        assert_int_equal(refused(rig, MESSAGE_SET_TEMPERATURE, 1000, "outside"), ERR_RANGE);
        end(rig);
    }
}

/* "At temperature" is the air stream's own word: inside the window for the soak time. */
static void soak_is_told_by_the_instrument(void **state)
{
    (void)state;
    struct sim_rig *rig = start("thermostream", "intest-thermostream", "");
    ask(rig, MESSAGE_CHAMBER_SETUP, NAN, 0.5, 30);
    ask(rig, MESSAGE_OUTPUT, 1, 0, 0);
    ask(rig, MESSAGE_SET_TEMPERATURE, -40, NAN, NAN);
    assert_true(ask(rig, MESSAGE_STATE, 0, 0, 0).flags & MESSAGE_UNSETTLED);
    sim_rig_wait(rig, 60); /* there after some 50 s, not yet soaked */
    struct message m = ask(rig, MESSAGE_MEASURE, QUANTITY_TEMPERATURE, 0, 0);
    assert_true(fabs(m.value[0] + 40) <= 0.5 && (m.flags & READING_UNSETTLED));
    sim_rig_wait(rig, 30);
    m = ask(rig, MESSAGE_MEASURE, QUANTITY_TEMPERATURE, 0, 0);
    assert_false(m.flags & READING_UNSETTLED);
    assert_true(ask(rig, MESSAGE_STATE, 0, 0, 0).flags & MESSAGE_SETTLED);
    end(rig);
}

static void a_ramp_is_kept(void **state)
{
    (void)state;
    struct sim_rig *rig = start("thermostream", "intest-thermostream", "");
    ask(rig, MESSAGE_CHAMBER_SETUP, 12, NAN, NAN); /* 12 K a minute */
    ask(rig, MESSAGE_OUTPUT, 1, 0, 0);
    ask(rig, MESSAGE_SET_TEMPERATURE, 49, NAN, NAN);
    sim_rig_wait(rig, 60);
    double celsius = ask(rig, MESSAGE_MEASURE, QUANTITY_TEMPERATURE, 0, 0).value[0];
    assert_true(celsius > 33 && celsius < 37.5); /* 12 K less what the air lags behind */
    assert_int_equal(refused(rig, MESSAGE_CHAMBER_SETUP, -1, "outside"), ERR_RANGE);
    end(rig);
}

static void the_chambers_own_limits_hold(void **state)
{
    (void)state;
    static const char *const MODELS[][2] = { { "thermostream", "intest-thermostream" },
                                             { "espec-p300", "espec-p300" } };
    for (int i = 0; i < 2; i++) {
        struct sim_rig *rig = start(MODELS[i][0], MODELS[i][1], ", \"low_c\": 0, \"high_c\": 60");
        assert_int_equal(refused(rig, MESSAGE_SET_TEMPERATURE, 70, "set at the chamber"), ERR_RANGE);
        assert_int_equal(refused(rig, MESSAGE_SET_TEMPERATURE, -10, "set at the chamber"), ERR_RANGE);
        assert_true(ask(rig, MESSAGE_STATE, 0, 0, 0).value[0] == 25);
        ask(rig, MESSAGE_SET_TEMPERATURE, 59, NAN, NAN);
        end(rig);
    }
}

static void a_fault_is_told_and_cleared(void **state)
{
    (void)state;
    struct sim_rig *rig = start("thermostream", "intest-thermostream", ", \"fault\": 32");
    assert_true(ask(rig, MESSAGE_STATE, 0, 0, 0).flags & MESSAGE_TRIPPED);
    assert_true(ask(rig, MESSAGE_MEASURE, QUANTITY_TEMPERATURE, 0, 0).flags & READING_TRIPPED);
    ask(rig, MESSAGE_CLEAR_TRIP, 0, 0, 0);
    assert_false(ask(rig, MESSAGE_STATE, 0, 0, 0).flags & MESSAGE_TRIPPED);
    end(rig);

    rig = start("espec-p300", "espec-p300", ", \"fault\": 2");
    assert_true(ask(rig, MESSAGE_STATE, 0, 0, 0).flags & MESSAGE_TRIPPED);
    end(rig);
}

/* "NA:..." is a refusal wherever it comes, never a temperature and never a set point that was taken. */
static void a_refusal_is_one(void **state)
{
    (void)state;
    struct sim_rig *rig = start("espec-p300", "espec-p300", "");
    struct error err = { 0 };
    const char text[] = "TEMP,S500.0";
    struct message m = { .op = MESSAGE_QUERY, .payload_length = sizeof text - 1 };
    memcpy(rig->payload, text, sizeof text);
    assert_int_equal(sim_rig_request(rig, &m, &err), ERR_REFUSED);
    assert_non_null(strstr(err.message, "NA:DATA OUT OF RANGE"));
    assert_true(ask(rig, MESSAGE_STATE, 0, 0, 0).value[0] == 25);
    end(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_chamber_moves_the_air),
        cmocka_unit_test(controllers_move_the_air),
        cmocka_unit_test(soak_is_told_by_the_instrument),
        cmocka_unit_test(a_ramp_is_kept),
        cmocka_unit_test(the_chambers_own_limits_hold),
        cmocka_unit_test(a_fault_is_told_and_cleared),
        cmocka_unit_test(a_refusal_is_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
