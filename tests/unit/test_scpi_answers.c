/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_scpi_answers: numbers that hide in lists and in status words, taken apart alone and through the driver
 * with the dialects that need it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>

#include "drivers/dialect.h"
#include "drivers/driver.h"
#include "tests/unit/peer.h"

static bool take(const char *dialect, int command, int channel, const char *answer, double *ret)
{
    char path[96], text[80];
    struct dialect *d = NULL;
    snprintf(path, sizeof path, "configs/instruments/%s.json", dialect);
    assert_int_equal(dialect_load(path, &d, NULL, NULL), 0);
    snprintf(text, sizeof text, "%s", answer);
    bool taken = dialect_take(d, command, channel, text, ret);
    dialect_free(d);
    return taken;
}

static void numbers_are_found(void **state)
{
    (void)state;
    static const struct {
        const char *dialect;
        int command, channel;
        const char *answer;
        double value; /* NAN: none */
    } CASES[] = {
        { "keithley-2400", DIALECT_MEASURE_VOLTAGE, 1, "+8.000E-01,-2.5E-06", 0.8 },
        { "keithley-2400", DIALECT_MEASURE_CURRENT, 1, "+8.000E-01,-2.5E-06", -2.5e-6 },
        { "keithley-2400", DIALECT_MEASURE_CURRENT, 1, "1,2,3,4,5", 2 }, /* before FORM:ELEM: five */
        { "keithley-2400", DIALECT_MEASURE_CURRENT, 1, "+8.000E-01", NAN },
        { "keithley-2400", DIALECT_MEASURE_CURRENT, 1, "1,", NAN },
        { "keithley-2400", DIALECT_MEASURE_CURRENT, 1, "1, ON", NAN },
        { "keithley-2400", DIALECT_MEASURE_VOLTAGE, 1, "", NAN },
        { "keithley-2400", DIALECT_GET_OUTPUT, 1, "1", 1 },
        { "keithley-2400", DIALECT_GET_OUTPUT, 1, "1,0", NAN },
        { "siglent-spd3303x", DIALECT_GET_OUTPUT, 1, "0x10", 1 },
        { "siglent-spd3303x", DIALECT_GET_OUTPUT, 2, "0x10", 0 },
        { "siglent-spd3303x", DIALECT_GET_OUTPUT, 2, "0x2", 0 },
        { "siglent-spd3303x", DIALECT_GET_MODE, 2, " 0x32\r", 1 },
        { "siglent-spd3303x", DIALECT_GET_MODE, 1, "0X32", 0 },
        { "siglent-spd3303x", DIALECT_GET_OUTPUT, 2, "0x", NAN },
        { "siglent-spd3303x", DIALECT_GET_OUTPUT, 2, "-0x30", NAN },
        { "siglent-spd3303x", DIALECT_GET_OUTPUT, 2, "0x30,1", NAN },
        { "siglent-spd3303x", DIALECT_GET_OUTPUT, 2, "0x100000030", NAN },
        { "siglent-spd3303x", DIALECT_GET_OUTPUT, 2, "", NAN },
        { "siglent-spd3303x", DIALECT_GET_OUTPUT, 3, "0x30", NAN },
        { "siglent-spd3303x", DIALECT_GET_VOLTAGE, 2, "3.300", 3.3 },
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        double value = -77;
        bool taken = take(CASES[i].dialect, CASES[i].command, CASES[i].channel, CASES[i].answer, &value);
        if (taken == isnan(CASES[i].value) || value != (taken ? CASES[i].value : -77))
            fail_msg("case %zu, '%s': %g", i, CASES[i].answer, value);
    }
}

/* ---- Through the driver: a unit that keeps two channels and answers in its maker's way ---- */
struct gear {
    struct peer peer;
    bool siglent, on[2];
    double volt_v[2], limit_a[2];
    struct transport_env env;
    struct driver_config config;
    void *state;
};

static void one_siglent(struct gear *u, const char *line, char *out, size_t size)
{
    int ch;
    double v;
    char word[8];
    if (sscanf(line, "CH%d:VOLT %lf", &ch, &v) == 2)
        u->volt_v[ch - 1] = v;
    else if (sscanf(line, "CH%d:CURR %lf", &ch, &v) == 2)
        u->limit_a[ch - 1] = v;
    else if (sscanf(line, "OUTP CH%d,%7s", &ch, word) == 2)
        u->on[ch - 1] = strcmp(word, "ON") == 0;
    else if (strcmp(line, "SYST:STAT?") == 0) /* a short on channel 2: constant current when it is on */
        snprintf(out, size, "0x%x", (u->on[0] ? 0x10 : 0) | (u->on[1] ? 0x22 : 0));
    else if (sscanf(line, "MEAS:VOLT? CH%d", &ch) == 1)
        snprintf(out, size, "%.3f", u->on[ch - 1] && ch == 1 ? u->volt_v[0] : 0.0);
    else if (sscanf(line, "CH%d:VOLT%1[?]", &ch, word) == 2)
        snprintf(out, size, "%.3f", u->volt_v[ch - 1]);
    else if (sscanf(line, "CH%d:CURR%1[?]", &ch, word) == 2)
        snprintf(out, size, "%.3f", u->limit_a[ch - 1]);
    else if (strcmp(line, "SYST:ERR?") == 0)
        snprintf(out, size, "0  No Error");
}

static void one_keithley(struct gear *u, const char *part, char *out, size_t size)
{
    double v;
    if (sscanf(part, "SOUR:VOLT %lf", &v) == 1)
        u->volt_v[0] = v;
    else if (sscanf(part, "SENS:CURR:PROT %lf", &v) == 1)
        u->limit_a[0] = v;
    else if (strncmp(part, "OUTP O", 6) == 0)
        u->on[0] = strcmp(part, "OUTP ON") == 0;
    else if (strcmp(part, "OUTP?") == 0)
        snprintf(out, size, "%d", u->on[0]);
    else if (strcmp(part, "SOUR:VOLT?") == 0)
        snprintf(out, size, "%E", u->volt_v[0]);
    else if (strcmp(part, "SENS:CURR:PROT?") == 0)
        snprintf(out, size, "%E", u->limit_a[0]);
    else if (strcmp(part, "SENS:CURR:PROT:TRIP?") == 0)
        snprintf(out, size, "0");
    else if (strcmp(part, "READ?") == 0)
        snprintf(out, size, "%E,%E", u->volt_v[0], u->volt_v[0] / 1000);
    else if (strcmp(part, "SYST:ERR?") == 0)
        snprintf(out, size, "0,\"No error\"");
}

static void on_line(struct peer *peer, const char *line, size_t n)
{
    struct gear *u = peer->context;
    char copy[512], out[512] = "", *save = NULL;
    (void)n;
    snprintf(copy, sizeof copy, "%s", line);
    for (char *part = strtok_r(copy, ";", &save); part; part = strtok_r(NULL, ";", &save)) {
        char one[128] = "";
        part += *part == ':';
        if (strcmp(part, "*IDN?") == 0)
            snprintf(one, sizeof one, "maker,model,1,1");
        else if (u->siglent)
            one_siglent(u, part, one, sizeof one);
        else
            one_keithley(u, part, one, sizeof one);
        if (one[0])
            snprintf(out + strlen(out), sizeof out - strlen(out), "%s%s", out[0] ? ";" : "", one);
    }
    if (out[0]) {
        strcat(out, "\n");
        peer_text(peer, out);
    }
}

static void start(struct gear *u, const char *dialect)
{
    struct error err = { 0 };
    u->peer.lines = true;
    u->peer.on_data = on_line;
    u->peer.context = u;
    assert_int_equal(peer_start(&u->peer), 0);
    assert_int_equal(clock_open(NULL, &u->env.clock, NULL), 0);
    assert_int_equal(clock_actor_open(u->env.clock, "test", 0, &u->env.actor, NULL), 0);
    u->env.cut_fd = -1;
    snprintf(u->config.name, sizeof u->config.name, "unit");
    snprintf(u->config.resource, sizeof u->config.resource, "%s", u->peer.resource);
    snprintf(u->config.dialect_path, sizeof u->config.dialect_path, "configs/instruments/%s.json", dialect);
    if (driver_scpi.open(&u->config, &u->env, &u->state, &err))
        fail_msg("%s", err.message);
}

static void end(struct gear *u)
{
    driver_scpi.close(u->state);
    clock_actor_close(u->env.actor);
    clock_close(u->env.clock);
    peer_stop(&u->peer);
}

static struct message request(struct gear *u, int op, int channel, double value)
{
    struct message m = { .op = (uint16_t)op, .channel = (int16_t)channel, .value = { value } };
    struct error err = { 0 };
    uint8_t payload[256];
    if (driver_scpi.request(u->state, &m, payload, sizeof payload, &err))
        fail_msg("operation %d, channel %d: %s", op, channel, err.message);
    return m;
}

static void a_status_word_speaks_of_both_channels(void **state)
{
    (void)state;
    struct gear u = { .siglent = true };
    start(&u, "siglent-spd3303x");
    request(&u, MESSAGE_SET_VOLTAGE, 1, 3.3);
    request(&u, MESSAGE_SET_LIMIT, 2, 0.25);
    request(&u, MESSAGE_OUTPUT, 2, 1);
    struct message one = request(&u, MESSAGE_STATE, 1, 0), two = request(&u, MESSAGE_STATE, 2, 0);
    assert_int_equal(one.flags, 0);
    assert_int_equal(two.flags, MESSAGE_ON | MESSAGE_LIMITING);
    assert_true(one.value[0] == 3.3 && two.value[1] == 0.25);
    request(&u, MESSAGE_OUTPUT, 1, 1);
    struct message read = request(&u, MESSAGE_MEASURE, 1, QUANTITY_VOLTAGE);
    assert_true(read.value[0] == 3.3 && read.flags == 0);
    assert_int_equal(request(&u, MESSAGE_MEASURE, 2, QUANTITY_VOLTAGE).flags, READING_LIMITING);
    assert_true(request(&u, MESSAGE_SAFE_OFF, 2, 0).value[0] == 0);
    assert_int_equal(request(&u, MESSAGE_STATE, 1, 0).flags, MESSAGE_ON);
    end(&u);
}

static void a_list_has_the_reading_in_its_field(void **state)
{
    (void)state;
    struct gear u = { .siglent = false };
    start(&u, "keithley-2400");
    request(&u, MESSAGE_SET_VOLTAGE, 1, 1.25);
    request(&u, MESSAGE_SET_LIMIT, 1, 0.01);
    request(&u, MESSAGE_OUTPUT, 1, 1);
    assert_true(request(&u, MESSAGE_MEASURE, 1, QUANTITY_VOLTAGE).value[0] == 1.25);
    assert_true(request(&u, MESSAGE_MEASURE, 1, QUANTITY_CURRENT).value[0] == 1.25e-3);
    assert_int_equal(request(&u, MESSAGE_STATE, 1, 0).flags, MESSAGE_ON);
    end(&u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_found),
        cmocka_unit_test(a_status_word_speaks_of_both_channels),
        cmocka_unit_test(a_list_has_the_reading_in_its_field),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
