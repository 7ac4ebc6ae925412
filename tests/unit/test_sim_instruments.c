/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_sim_instruments: the simulated supplies and meters over their real sockets in virtual time, and the
 * physics behind them (against numbers worked out by hand for a resistive load): protection and damage too.
 */
#include "tests/unit/sim_lab.h"

/* ---- Grammar ---- */

static void headers_match_long_short_and_optional_nodes(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *header;
        bool fits;
        int suffix;
    } rows[] = {
        { "[SOURce]:VOLTage[:LEVel]", "VOLT", true, 1 },
        { "[SOURce]:VOLTage[:LEVel]", "SOURCE:VOLTAGE:LEVEL", true, 1 },
        { "[SOURce]:VOLTage[:LEVel]", "SOUR:VOLT:LEV", true, 1 },
        { "[SOURce]:VOLTage[:LEVel]", "VOLTA", false, 1 },
        { "[SOURce]:VOLTage[:LEVel]", "VOLT:LEVE", false, 1 },
        { "[SOURce]:VOLTage[:LEVel]", "VOLT:PROT", false, 1 },
        { "[SOURce]:VOLTage[:LEVel]", "", false, 1 },
        { "[SOURce#]:VOLTage", "SOUR2:VOLT", true, 2 },
        { "STATus:ISUMmary#:CONDition", "STAT:ISUM3:COND", true, 3 },
        { "STATus:ISUMmary#:CONDition", "STAT:ISUM:COND", true, 1 },
        { "STATus:ISUMmary#:CONDition", "STAT3:ISUM:COND", false, 1 },
        { "*IDN", "*IDN", true, 1 },
        { "*IDN", "*RST", false, 1 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int suffix = 1;
        if (scpi_parse_match(rows[i].pattern, rows[i].header, &suffix) != rows[i].fits)
            fail_msg("%s against %s", rows[i].header, rows[i].pattern);
        if (rows[i].fits)
            assert_int_equal(suffix, rows[i].suffix);
    }
}

static void channel_lists_are_parsed_and_bounded(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int code, channels, args;
    } rows[] = { { "(@1,3:4)", 0, 3, 0 },      { "1.5, (@2)", 0, 1, 1 }, { "(@0)", -222, 0, 0 },
                 { "(@5)", -222, 0, 0 },       { "(@1", -104, 0, 0 },    { "(@2:1)", -222, 0, 0 },
                 { "1,,2", -109, 0, 0 },       { "1,", -109, 0, 0 },     { "\"a,b\",2", 0, 0, 2 },
                 { "(@1:99999)", -222, 0, 0 }, { "(@x)", -104, 0, 0 },   { "", 0, 0, 0 } };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[64];
        struct scpi_call call = { .suffix = 1 };
        snprintf(text, sizeof text, "%s", rows[i].text);
        int code = scpi_parse_arguments(text, &call, 4);
        if (code != rows[i].code)
            fail_msg("%s: %d, not %d", rows[i].text, code, rows[i].code);
        if (code == 0) {
            assert_int_equal(call.channel_n, rows[i].channels);
            assert_int_equal(call.arg_n, rows[i].args);
        }
    }
}

static void messages_follow_488_2(void **state)
{
    (void)state;
    struct fixture f;
    struct client psu;
    setup(&f, 3);
    assert_int_equal(try_connect(&f, "psu", &psu), 0);
    assert_string_equal(ask(&f, &psu, "*ESR?"), "128");
    assert_non_null(strstr(ask(&f, &psu, "*idn?"), "Keysight Technologies,E36312A,MY"));
    assert_string_equal(ask(&f, &psu, "SYST:ERR?"), "+0,\"No error\"");
    /* One message, two answers; the path goes on, a leading colon resets it. */
    assert_string_equal(ask(&f, &psu, "VOLT:PROT 2,(@1:2);PROT? (@1,2);:VOLT 1.1,(@1);:volt? (@1)\r"),
                        "+2.00000000E+00,+2.00000000E+00;+1.10000000E+00");
    assert_string_equal(ask(&f, &psu, "VOLT:PROT 2;CURR 1;:SYST:ERR?"), "-113,\"Undefined header\"");
    assert_string_equal(ask(&f, &psu, "VOLT 900 mV,(@1);:VOLT? (@1)"), "+9.00000000E-01");
    assert_string_equal(ask(&f, &psu, "VOLT MAX,(@1);:VOLT? (@1);:VOLT? MIN,(@1)"),
                        "+6.18000000E+00;+0.00000000E+00");
    static const struct {
        const char *command, *error;
    } rows[] = { { "VOLT 7,(@1)", "-222" }, { "VOLT", "-109" },       { "VOLT abc", "-104" },
                 { "VOLT 1 Q", "-131" },    { "OUTP MAYBE", "-224" }, { "OUTP ON,(@9)", "-222" },
                 { "BANANA?", "-113" },     { "*RST?", "-113" },      { "OUTP ON,(@1,2", "-104" } };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        tell(&f, &psu, rows[i].command);
        const char *answer = ask(&f, &psu, "SYST:ERR?");
        if (strncmp(answer, rows[i].error, 4) != 0)
            fail_msg("%s: %s", rows[i].command, answer);
    }
    for (int i = 0; i < 25; i++)
        tell(&f, &psu, "NOPE");
    assert_string_equal(ask(&f, &psu, "SYST:ERR:COUN?"), "20");
    for (int i = 0; i < 19; i++)
        assert_non_null(strstr(ask(&f, &psu, "SYST:ERR?"), "-113"));
    assert_non_null(strstr(ask(&f, &psu, "SYST:ERR?"), "-350"));
    tell(&f, &psu, "*CLS;*ESE 32;NOPE");
    assert_string_equal(ask(&f, &psu, "*STB?;*ESR?"), "36;32");
    hang_up(&f, &psu);
    halt(&f);
    teardown(&f);
}

/* ---- Physics ---- */

static void supplies_measure_the_load_within_their_accuracy(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct fixture f;
        struct client psu, smu;
        setup(&f, seed);
        assert_int_equal(try_connect(&f, "psu", &psu), 0);
        assert_int_equal(try_connect(&f, "smu", &smu), 0);
        tell(&f, &psu, "VOLT 1,(@1);:CURR 0.5,(@1);:OUTP ON,(@1)");
        tell(&f, &smu, "VOLT 0.9,(@1);:CURR:LIM 0.1,(@1);:OUTP ON,(@1)");
        pass_time(&f, 0.2);
        double volt = ask_number(&f, &psu, "MEAS:VOLT? (@1)"), amps = ask_number(&f, &psu, "MEAS:CURR? (@1)");
        assert_near(volt, 1, 2 * (0.0003 + 3e-3) + 1e-3);
        assert_near(amps, 1 / 100.5, 0.0025 * 0.01 + 80e-6 + 40e-6); /* the lead is in the way */
        double sensed_v = ask_number(&f, &smu, "MEAS:VOLT? (@1)"),
               sensed_a = ask_number(&f, &smu, "MEAS:CURR? (@1)");
        assert_near(sensed_v, 0.9, 2 * (0.00025 * 0.9 + 0.6e-3) + 1e-4);
        assert_near(sensed_a, 0.009, 0.00025 * 0.009 + 10e-6 + 0.6e-3 / 100 + 3e-6);
        hang_up(&f, &psu);
        hang_up(&f, &smu);
        halt(&f);
        /* The truth: with a lead of 0.5 ohm the pin is lower, with sense wires it is not. */
        struct world_net *vdd = world_net_find(f.world, "VDD"), *vdda = world_net_find(f.world, "VDDA");
        assert_near(world_volt(f.world, vdd), 100 / 100.5, 4e-3);
        assert_near(world_volt(f.world, vdda), 0.9, 1e-3);
        assert_near(world_current(f.world, vdd), world_volt(f.world, vdd) / 100, 1e-9);
        assert_false(world_damaged(f.world));
        teardown(&f);
    }
}

static void a_measurement_takes_its_aperture(void **state)
{
    (void)state;
    struct fixture f;
    struct client psu, dmm;
    setup(&f, 1);
    assert_int_equal(try_connect(&f, "psu", &psu), 0);
    assert_int_equal(try_connect(&f, "dmm", &dmm), 0);
    int64_t start_ns = clock_now(f.clock);
    ask(&f, &psu, "MEAS:CURR? (@1)");
    assert_near((double)(clock_now(f.clock) - start_ns) * 1e-9, 23e-3, 0.1e-3);
    tell(&f, &dmm, "CONF:VOLT:DC 10;:VOLT:DC:NPLC 1;:SAMP:COUN 5");
    start_ns = clock_now(f.clock);
    const char *answer = ask(&f, &dmm, "READ?");
    assert_near((double)(clock_now(f.clock) - start_ns) * 1e-9, 5 * 0.04, 3e-3); /* autozero doubles */
    int commas = 0;
    for (; *answer; answer++)
        commas += *answer == ',';
    assert_int_equal(commas, 4);
    hang_up(&f, &psu);
    hang_up(&f, &dmm);
    halt(&f);
    teardown(&f);
}

static void the_test_bus_joins_source_chip_and_meter(void **state)
{
    (void)state;
    struct fixture f;
    struct client psu, src, dmm;
    setup(&f, 2);
    assert_int_equal(try_connect(&f, "psu", &psu), 0);
    assert_int_equal(try_connect(&f, "src", &src), 0);
    assert_int_equal(try_connect(&f, "dmm", &dmm), 0);
    tell(&f, &psu, "VOLT 1.8,(@2);:OUTP ON,(@2)");
    pass_time(&f, 0.1);
    tell(&f, &src, "SOUR:FUNC VOLT;:SOUR:VOLT 0.3;:SOUR:VOLT:ILIM 0.01;:OUTP ON");
    pass_time(&f, 0.1);
    assert_near(ask_number(&f, &dmm, "MEAS:VOLT:DC?"), 0.3, 0.4e-3);
    assert_near(ask_number(&f, &src, "MEAS:VOLT?"), 0.3, 0.8e-3);
    assert_near(ask_number(&f, &src, "MEAS:CURR?"), 0.3 / 10e6, 1e-9);
    tell(&f, &src, "SOUR:VOLT:ILIM 1e-8");
    pass_time(&f, 0.1);
    assert_string_equal(ask(&f, &src, "SOUR:VOLT:ILIM:TRIP?"), "1");
    tell(&f, &src, "OUTP OFF");
    hang_up(&f, &psu);
    hang_up(&f, &src);
    pass_time(&f, 0.1);
    assert_near(ask_number(&f, &dmm, "MEAS:VOLT:DC?"), 0, 1e-3);
    hang_up(&f, &dmm);
    halt(&f);
    assert_false(world_damaged(f.world));
    teardown(&f);
}

/* The loop sleeps while its only actor, this thread, runs: the world may be looked at and touched from here.
 */
static void charge_and_energy_are_integrated_exactly(void **state)
{
    (void)state;
    struct fixture f;
    struct client smu;
    setup(&f, 1);
    assert_int_equal(try_connect(&f, "smu", &smu), 0);
    tell(&f, &smu, "VOLT 1,(@1);:OUTP ON,(@1)");
    pass_time(&f, 1);
    struct world_net *vdda = world_net_find(f.world, "VDDA");
    double volt = world_volt(f.world, vdda), before_j = world_energy(f.world, vdda);
    struct world_integrals before = world_net_integrals(f.world, vdda);
    int64_t now_ns = clock_now(f.clock);
    /* 2 uC between 1 and 3 ms from now: 1 mA on top of 10 mA. */
    world_charge(f.world, vdda, 2e-6, now_ns + NS_PER_MS, now_ns + 3 * NS_PER_MS);
    pass_time(&f, 2e-3);
    assert_near(world_current(f.world, vdda), volt / 100 + 1e-3, 1e-9);
    struct world_integrals middle = world_net_integrals(f.world, vdda);
    assert_near(middle.coulomb - before.coulomb, volt / 100 * 2e-3 + 1e-6, 1e-15);
    pass_time(&f, 8e-3);
    struct world_integrals after = world_net_integrals(f.world, vdda);
    assert_near(after.coulomb - before.coulomb, volt / 100 * 10e-3 + 2e-6, 1e-15);
    assert_near(after.volt_s - before.volt_s, volt * 10e-3, 1e-12);
    assert_near(world_energy(f.world, vdda) - before_j, volt * (volt / 100 * 10e-3 + 2e-6), 1e-15);
    /* What the meter of the supply says about an aperture with 20 uC in it. */
    now_ns = clock_now(f.clock);
    world_charge(f.world, vdda, 20e-6, now_ns + 5 * NS_PER_MS, now_ns + 6 * NS_PER_MS);
    double amps = ask_number(&f, &smu, "MEAS:CURR? (@1)");
    assert_near(amps, volt / 100 + 20e-6 / 20.48e-3, 10e-6 + 0.00025 * 0.011 + 3e-6);
    /* Off: the node discharges through the load, and the chip's own charge is what the capacitor held (10
     * uF). */
    before = world_net_integrals(f.world, vdda);
    tell(&f, &smu, "OUTP OFF,(@1)");
    pass_time(&f, 0.5);
    after = world_net_integrals(f.world, vdda);
    assert_near(world_volt(f.world, vdda), 0, 1e-5);
    assert_near(after.coulomb - before.coulomb, volt / 100 * 1e-3 + 10e-6 * volt / 1.1, 0.1e-6);
    hang_up(&f, &smu);
    halt(&f);
    teardown(&f);
}

static void over_voltage_protection_saves_the_chip(void **state)
{
    (void)state;
    for (int protected = 0; protected < 2; protected ++) {
        struct fixture f;
        struct client psu;
        setup(&f, 1);
        assert_int_equal(try_connect(&f, "psu", &psu), 0);
        tell(&f, &psu, protected ? "VOLT:PROT 1.0,(@1)" : "VOLT:PROT 6,(@1)");
        tell(&f, &psu, "VOLT 0.8,(@1);:OUTP ON,(@1)");
        pass_time(&f, 0.1);
        tell(&f, &psu, "VOLT 5,(@1)");
        pass_time(&f, 0.1);
        assert_string_equal(ask(&f, &psu, "VOLT:PROT:TRIP? (@1);:OUTP? (@1)"), protected ? "1;0" : "0;1");
        if (protected) {
            tell(&f, &psu, "VOLT 0.8,(@1);:OUTP ON,(@1)");
            assert_non_null(strstr(ask(&f, &psu, "SYST:ERR?"), "-221")); /* a trip stays until cleared */
            assert_string_equal(ask(&f, &psu, "OUTP:PROT:CLE (@1);:OUTP ON,(@1);:OUTP? (@1)"), "1");
        }
        hang_up(&f, &psu);
        halt(&f);
        assert_int_equal(world_damaged(f.world), !protected);
        teardown(&f);
    }
}

static void a_short_limits_and_trips_after_its_delay(void **state)
{
    (void)state;
    struct fixture f;
    struct client psu;
    setup(&f, 1);
    world_contact(f.world, world_net_find(f.world, "VDD"), WORLD_CONTACT_SHORT);
    assert_int_equal(try_connect(&f, "psu", &psu), 0);
    tell(&f, &psu, "CURR 0.2,(@1);:VOLT 0.8,(@1);:OUTP ON,(@1)");
    pass_time(&f, 0.1);
    assert_string_equal(ask(&f, &psu, "STAT:QUES:INST:ISUM1:COND?"), "1");
    assert_near(ask_number(&f, &psu, "MEAS:CURR? (@1)"), 0.2, 0.012);
    tell(&f, &psu, "CURR:PROT:STAT ON,(@1)");
    pass_time(&f, 0.1);
    assert_string_equal(ask(&f, &psu, "CURR:PROT:TRIP? (@1);:OUTP? (@1)"), "1;0");
    hang_up(&f, &psu);
    halt(&f);
    assert_false(world_damaged(f.world));
    teardown(&f);
}

static void feeding_an_unpowered_pad_damages(void **state)
{
    (void)state;
    for (int powered = 0; powered < 2; powered++) {
        struct fixture f;
        struct client psu, src;
        setup(&f, 1);
        assert_int_equal(try_connect(&f, "psu", &psu), 0);
        assert_int_equal(try_connect(&f, "src", &src), 0);
        tell(&f, &psu, powered ? "VOLT 1.8,(@2);:OUTP ON,(@2)" : "OUTP OFF,(@2)");
        pass_time(&f, 0.1);
        tell(&f, &src, "SOUR:VOLT 0.5;:OUTP ON");
        pass_time(&f, 0.1);
        hang_up(&f, &psu);
        hang_up(&f, &src);
        halt(&f);
        assert_int_equal(world_damaged(f.world), !powered);
        teardown(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(headers_match_long_short_and_optional_nodes),
        cmocka_unit_test(channel_lists_are_parsed_and_bounded),
        cmocka_unit_test(messages_follow_488_2),
        cmocka_unit_test(supplies_measure_the_load_within_their_accuracy),
        cmocka_unit_test(a_measurement_takes_its_aperture),
        cmocka_unit_test(the_test_bus_joins_source_chip_and_meter),
        cmocka_unit_test(charge_and_energy_are_integrated_exactly),
        cmocka_unit_test(over_voltage_protection_saves_the_chip),
        cmocka_unit_test(a_short_limits_and_trips_after_its_delay),
        cmocka_unit_test(feeding_an_unpowered_pad_damages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
