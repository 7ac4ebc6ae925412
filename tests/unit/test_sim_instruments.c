/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_sim_instruments: the simulated supplies and meters over their real sockets in virtual time, the
 * physics behind them (against numbers worked out by hand for a resistive load), protection, damage, faults,
 * and repeatability. */
#include <arpa/inet.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/base/clock.h"
#include "daemon/base/rng.h"
#include "daemon/base/text.h"
#include "drivers/sim/chipmodel.h"
#include "drivers/sim/scpi_parse.h"
#include "drivers/sim/scpi_server.h"
#include "drivers/sim/simbench.h"

static const char bench_text[] =
    "{\"instruments\":["
    "{\"name\":\"psu\",\"simulate\":{\"model\":\"e36312a\"}},"
    "{\"name\":\"smu\",\"simulate\":{\"model\":\"n6705c\"}},"
    "{\"name\":\"src\",\"simulate\":{\"model\":\"2450\"}},"
    "{\"name\":\"dmm\",\"simulate\":{\"model\":\"34461a\"}}],"
    "\"rails\":{\"VDDIO\":{\"instrument\":\"psu\",\"channel\":2},\"VDD\":{\"instrument\":\"psu\",\"channel\":"
    "1},"
    "\"VDDA\":{\"instrument\":\"smu\",\"channel\":1}},"
    "\"leads\":{\"VDD\":{\"ohm\":0.5},\"VDDA\":{\"ohm\":0.5,\"remote_sense\":true}},"
    "\"test_bus\":{\"source\":{\"instrument\":\"src\",\"channel\":1},\"meter\":{\"instrument\":\"dmm\","
    "\"channel\":1},"
    "\"net\":\"ATB0\"},"
    "\"chip\":{\"profile\":\"%s/chip.json\"}}";
static const char chip_text[] = "{\"rails\":[{\"name\":\"VDDIO\",\"role\":\"io\",\"abs_max_v\":2.1},"
                                "{\"name\":\"VDD\",\"role\":\"core\",\"abs_max_v\":1.05},"
                                "{\"name\":\"VDDA\",\"role\":\"core\",\"abs_max_v\":1.05}]}";

/* ---- A chip of resistors: 100 ohm on every rail; drives the test bus with 0.5 V behind 1 kohm when told
 * ---- */

struct resistors {
    bool drives;
    int rail_changes;
};

static int resistors_open(const struct chip_setup *setup, void **ret_chip, struct error *err)
{
    (void)setup;
    struct resistors *chip = calloc(1, sizeof *chip);
    if (!chip)
        return error_set(err, ERR_MEMORY, "chip");
    *ret_chip = chip;
    return 0;
}

static double resistors_current(void *chip, struct world_net *net, const double *rail_v, double temp_c,
                                int64_t t_ns)
{
    (void)chip;
    (void)temp_c;
    (void)t_ns;
    return strcmp(world_net_name(net), "ATB0") == 0 ? 0 : rail_v[world_net_index(net)] / 100;
}

static void resistors_rail_change(void *chip, struct world_net *net, double volt, int64_t t_ns)
{
    (void)net;
    (void)volt;
    (void)t_ns;
    ((struct resistors *)chip)->rail_changes++;
}

static bool resistors_atb(void *chip, int64_t t_ns, double *ret_volt, double *ret_ohm)
{
    (void)t_ns;
    *ret_volt = 0.5;
    *ret_ohm = 1000;
    return ((struct resistors *)chip)->drives;
}

static const struct chip_model resistors_model = { .name = "resistors",
                                                   .open = resistors_open,
                                                   .close = free,
                                                   .rail_current = resistors_current,
                                                   .on_rail_change = resistors_rail_change,
                                                   .atb_drive = resistors_atb };

/* ---- A bench in this process, and a client of it ---- */

struct client {
    int fd, link;
};

struct fixture {
    char dir[64];
    struct sim_loop *loop;
    struct world *world;
    struct simbench *bench;
    struct clock *clock;
    struct clock_actor *actor;
    pthread_t thread;
};

static void *serve(void *context)
{
    assert_int_equal(sim_loop_run(context, NULL), 0);
    return NULL;
}

static void write_text(const char *dir, const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_int_equal(text_write_file(path, text, strlen(text), NULL), 0);
}

static void setup(struct fixture *f, uint64_t seed)
{
    struct error err;
    char path[128], bench[2048];
    strcpy(f->dir, "/tmp/nightbench-sim-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(bench, sizeof bench, bench_text, f->dir);
    write_text(f->dir, "bench.json", bench);
    write_text(f->dir, "chip.json", chip_text);
    assert_int_equal(sim_loop_open(f->dir, true, seed, &f->loop, &err), 0);
    snprintf(path, sizeof path, "%s/world.log", f->dir);
    assert_int_equal(world_open(f->loop, path, seed, &f->world, &err), 0);
    snprintf(path, sizeof path, "%s/bench.json", f->dir);
    struct simbench_options options = { .bench_path = path, .dir = f->dir, .seed = seed, .die = -1 };
    if (simbench_open(&options, f->loop, f->world, &f->bench, &err))
        fail_msg("%s", err.message);
    struct chip_setup chip = { .profile_path = "", .seed = seed, .loop = f->loop, .world = f->world };
    assert_int_equal(world_chip_open(f->world, &resistors_model, &chip, &err), 0);
    assert_int_equal(pthread_create(&f->thread, NULL, serve, f->loop), 0);
    snprintf(path, sizeof path, "%s/clock.sock", f->dir);
    assert_int_equal(clock_open(path, &f->clock, &err), 0);
    assert_int_equal(clock_actor_open(f->clock, "test", CLOCK_RANK_PORT, &f->actor, &err), 0);
}

/* Stops the loop, so that the world may be looked at from this thread. */
static void halt(struct fixture *f)
{
    sim_loop_stop(f->loop);
    pthread_join(f->thread, NULL);
}

static void teardown(struct fixture *f)
{
    clock_actor_close(f->actor);
    clock_close(f->clock);
    simbench_close(f->bench);
    world_close(f->world);
    sim_loop_close(f->loop);
    static const char *const files[] = { "bench.json", "chip.json", "links.json", "world.log" };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s/%s", f->dir, files[i]);
        unlink(path);
    }
    rmdir(f->dir);
}

static int try_connect(struct fixture *f, const char *name, struct client *client)
{
    struct sim_link *link = sim_link_find(f->loop, name);
    assert_non_null(link);
    struct sockaddr_in address = { .sin_family = AF_INET }, own;
    socklen_t length = sizeof own;
    address.sin_port = htons((uint16_t)atoi(strrchr(sim_link_resource(link), ':') + 1));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    client->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(client->fd, (struct sockaddr *)&address, sizeof address))
        return -1;
    assert_int_equal(getsockname(client->fd, (struct sockaddr *)&own, &length), 0);
    client->link = clock_link_open(f->actor, ntohs(own.sin_port));
    return 0;
}

static void hang_up(struct fixture *f, struct client *client)
{
    close(client->fd);
    clock_link_close(f->clock, client->link);
}

static void tell(struct fixture *f, struct client *client, const char *text)
{
    char line[512];
    int n = snprintf(line, sizeof line, "%s\n", text);
    assert_int_equal(send(client->fd, line, (size_t)n, MSG_NOSIGNAL), n);
    clock_link_sent(f->clock, client->link, (size_t)n);
}

/* One line within timeout_s; returns its length, 0 at a time-out or end of file. */
static int hear(struct fixture *f, struct client *client, double timeout_s, char *line, int size)
{
    int64_t end_ns = clock_now(f->clock) + (int64_t)(timeout_s * 1e9);
    for (int n = 0; n < size - 1;) {
        struct pollfd in = { .fd = client->fd, .events = POLLIN };
        if (clock_poll(f->actor, &in, 1, end_ns, 0) <= 0)
            return 0;
        ssize_t count = recv(client->fd, line + n, (size_t)(size - 1 - n), 0);
        if (count <= 0)
            return 0;
        clock_link_received(f->clock, client->link, (size_t)count);
        n += (int)count;
        line[n] = '\0';
        if (line[n - 1] == '\n') {
            line[--n] = '\0';
            return n;
        }
    }
    return 0;
}

static const char *ask(struct fixture *f, struct client *client, const char *text)
{
    static char line[1024];
    tell(f, client, text);
    if (!hear(f, client, 60, line, sizeof line))
        fail_msg("no answer to %s", text);
    return line;
}

static double ask_number(struct fixture *f, struct client *client, const char *text)
{
    return atof(ask(f, client, text));
}

static void pass_time(struct fixture *f, double seconds)
{
    assert_int_equal(clock_sleep_until(f->actor, clock_now(f->clock) + (int64_t)(seconds * 1e9), -1), 0);
}

static void assert_near(double value, double expected, double tolerance)
{
    if (!(fabs(value - expected) <= tolerance))
        fail_msg("%.9g is not within %.3g of %.9g", value, tolerance, expected);
}

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

/* ---- The wire ---- */

static void a_second_client_is_refused_and_the_first_may_return(void **state)
{
    (void)state;
    struct fixture f;
    struct client first, second;
    char line[64];
    setup(&f, 1);
    assert_int_equal(try_connect(&f, "psu", &first), 0);
    ask(&f, &first, "*OPC?");
    assert_int_equal(try_connect(&f, "psu", &second), 0);
    assert_int_equal(hear(&f, &second, 1, line, sizeof line), 0);
    hang_up(&f, &second);
    for (int i = 0; i < 20; i++) {
        hang_up(&f, &first);
        assert_int_equal(try_connect(&f, "psu", &first), 0);
        assert_string_equal(ask(&f, &first, "*OPC?"), "1");
    }
    hang_up(&f, &first);
    halt(&f);
    teardown(&f);
}

static void faults_hit_the_answers_they_were_told_to(void **state)
{
    (void)state;
    struct fixture f;
    struct client psu;
    char line[256];
    setup(&f, 1);
    struct sim_link *link = sim_link_find(f.loop, "psu");
    assert_int_equal(try_connect(&f, "psu", &psu), 0);
    assert_string_equal(ask(&f, &psu, "VOLT 1.25,(@1);:VOLT? (@1)"), "+1.25000000E+00");

    sim_link_fault(link, &(struct sim_fault){ .kind = SIM_FAULT_SILENCE, .count = 1, .skip = 1 });
    assert_string_equal(ask(&f, &psu, "VOLT? (@1)"), "+1.25000000E+00");
    tell(&f, &psu, "VOLT? (@1)");
    assert_int_equal(hear(&f, &psu, 1, line, sizeof line), 0);
    assert_string_equal(ask(&f, &psu, "VOLT? (@1)"), "+1.25000000E+00");

    sim_link_fault(link, &(struct sim_fault){ .kind = SIM_FAULT_WRONG, .count = 1 });
    assert_string_equal(ask(&f, &psu, "VOLT? (@1)"), "+4.25000000E+00");

    sim_link_fault(link, &(struct sim_fault){ .kind = SIM_FAULT_GARBAGE, .count = 1 });
    const char *garbage = ask(&f, &psu, "VOLT? (@1)");
    assert_int_equal(strlen(garbage), strlen("+1.25000000E+00"));
    assert_string_not_equal(garbage, "+1.25000000E+00");

    sim_link_fault(link, &(struct sim_fault){ .kind = SIM_FAULT_DELAY, .count = 1, .value = 2.5 });
    int64_t start_ns = clock_now(f.clock);
    ask(&f, &psu, "VOLT? (@1)");
    assert_near((double)(clock_now(f.clock) - start_ns) * 1e-9, 2.503, 1e-3);

    sim_link_fault(link, &(struct sim_fault){ .kind = SIM_FAULT_DEAF, .count = 1 });
    tell(&f, &psu, "VOLT 2,(@1)");
    pass_time(&f, 0.1);
    assert_string_equal(ask(&f, &psu, "VOLT? (@1)"), "+1.25000000E+00");

    sim_link_fault(link, &(struct sim_fault){ .kind = SIM_FAULT_TRUNCATE, .count = 1 });
    tell(&f, &psu, "VOLT? (@1)");
    assert_int_equal(hear(&f, &psu, 1, line, sizeof line), 0);
    assert_string_equal(line, "+1.25000");

    sim_link_fault(link, &(struct sim_fault){ .kind = SIM_FAULT_DISCONNECT, .count = 1 });
    tell(&f, &psu, "VOLT? (@1)");
    struct pollfd in = { .fd = psu.fd, .events = POLLIN };
    assert_int_equal(clock_poll(f.actor, &in, 1, clock_now(f.clock) + NS_PER_S, 0), 1);
    assert_int_equal(recv(psu.fd, line, sizeof line, 0), 0);
    hang_up(&f, &psu);
    assert_int_equal(try_connect(&f, "psu", &psu), 0);
    assert_string_equal(ask(&f, &psu, "VOLT? (@1)"), "+1.25000000E+00");
    hang_up(&f, &psu);
    halt(&f);
    teardown(&f);
}

static void a_reboot_forgets_everything_and_switches_off(void **state)
{
    (void)state;
    struct fixture f;
    struct client psu;
    char line[64];
    setup(&f, 1);
    assert_int_equal(try_connect(&f, "psu", &psu), 0);
    assert_string_equal(ask(&f, &psu, "VOLT 0.9,(@1);:OUTP ON,(@1);:OUTP? (@1);NOPE"), "1");
    pass_time(&f, 0.1);
    tell(&f, &psu, "MEAS:CURR? (@1);:MEAS:VOLT? (@1)");
    pass_time(&f, 10e-3); /* it is measuring */
    sim_link_reboot(sim_link_find(f.loop, "psu"));
    assert_int_equal(hear(&f, &psu, 1, line, sizeof line), 0);
    assert_int_equal(recv(psu.fd, line, sizeof line, MSG_DONTWAIT), 0); /* end of file */
    hang_up(&f, &psu);
    assert_int_equal(try_connect(&f, "psu", &psu), 0);
    assert_string_equal(ask(&f, &psu, "*ESR?;:OUTP? (@1);:VOLT? (@1);:SYST:ERR:COUN?"),
                        "128;0;+0.00000000E+00;0");
    assert_near(ask_number(&f, &psu, "MEAS:VOLT? (@1)"), 0, 0.01);
    hang_up(&f, &psu);
    halt(&f);
    teardown(&f);
}

/* Whatever comes in, the instrument queues errors and answers the next honest question. */
static void nonsense_is_survived(void **state)
{
    (void)state;
    static const char *const words[] = { "VOLT", ":",        "?",   "(@",  "1:",   ")",  ";",    ",",
                                         "MEAS", "CURR",     "\"",  "'",   "9E99", "-1", "*",    "OUTP",
                                         " ",    "PROT",     "MAX", "NAN", "#",    "[]", "ISUM", "STAT",
                                         "1e-4", "READ? \"", "\t",  "\r",  "MV",   "INF" };
    struct fixture f;
    struct client client[4];
    static const char *const names[] = { "psu", "smu", "src", "dmm" };
    struct rng rng;
    uint64_t seed = (uint64_t)clock_wall_now();
    print_message("seed %llu\n", (unsigned long long)seed);
    rng_init(&rng, seed, "nonsense", 0, 0, 0);
    setup(&f, 1);
    for (int i = 0; i < 4; i++)
        assert_int_equal(try_connect(&f, names[i], &client[i]), 0);
    for (int round = 0; round < 320; round++) {
        char line[256] = "";
        int n = (int)rng_below(&rng, 14);
        for (int i = 0; i < n; i++)
            strcat(line, words[rng_below(&rng, sizeof words / sizeof *words)]);
        if (n && rng_below(&rng, 4) == 0)
            line[rng_below(&rng, (uint32_t)strlen(line))] = (char)(1 + rng_below(&rng, 8));
        struct client *to = &client[round % 4];
        tell(&f, to, line);
        if (round % 16 < 12)
            continue;
        char answer[1024];
        tell(&f, to, "*CLS;*IDN?");
        do
            assert_true(hear(&f, to, 3600, answer, sizeof answer) > 0);
        while (!strstr(answer, ",MY") && !strstr(answer, "MODEL 2450"));
    }
    for (int i = 0; i < 4; i++)
        hang_up(&f, &client[i]);
    halt(&f);
    teardown(&f);
}

/* Everything said and everything that happened, as text: the same for the same seed. */
static char *evening(uint64_t seed)
{
    struct fixture f;
    struct client psu, smu;
    struct strbuf text = { .text = NULL };
    char path[128], *log;
    setup(&f, seed);
    assert_int_equal(try_connect(&f, "psu", &psu), 0);
    assert_int_equal(try_connect(&f, "smu", &smu), 0);
    tell(&f, &psu, "VOLT 1,(@1);:OUTP ON,(@1)");
    tell(&f, &smu, "VOLT 0.7,(@1);:OUTP ON,(@1)");
    for (int i = 0; i < 50; i++) {
        strbuf_add(&text, "%s\n", ask(&f, &psu, "MEAS:CURR? (@1)"));
        strbuf_add(&text, "%s %lld\n", ask(&f, &smu, "MEAS:VOLT? (@1,2)"), (long long)clock_now(f.clock));
    }
    hang_up(&f, &psu);
    hang_up(&f, &smu);
    halt(&f);
    snprintf(path, sizeof path, "%s/world.log", f.dir);
    assert_int_equal(text_read_file(path, 1 << 20, &log, NULL, NULL), 0);
    strbuf_add(&text, "%s", log);
    free(log);
    teardown(&f);
    assert_false(text.failed);
    return text.text;
}

static void two_evenings_with_one_seed_are_identical(void **state)
{
    (void)state;
    char *first = evening(11), *again = evening(11), *other = evening(12);
    assert_string_equal(first, again);
    assert_string_not_equal(first, other);
    free(first);
    free(again);
    free(other);
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
        cmocka_unit_test(a_second_client_is_refused_and_the_first_may_return),
        cmocka_unit_test(faults_hit_the_answers_they_were_told_to),
        cmocka_unit_test(a_reboot_forgets_everything_and_switches_off),
        cmocka_unit_test(nonsense_is_survived),
        cmocka_unit_test(two_evenings_with_one_seed_are_identical),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
