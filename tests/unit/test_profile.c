/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_profile: both chips' files load; every kind of mistake is found, with its place.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "chip/profile.h"
#include "daemon/base/text.h"

#define ADELIA2 "configs/chips/adelia2.json"
#define TINY    "tests/sim/tiny-chip.json"

static void test_adelia2(void **state)
{
    struct chip_profile *p = NULL;
    struct error err = { 0 };

    (void)state;
    if (profile_load(ADELIA2, &p, &err))
        fail_msg("%s", err.message);
    assert_string_equal(p->type, "adelia2");
    assert_int_equal(p->rail_count, 8);
    int vddm = profile_rail_index(p, "VDDM"), vddio = profile_rail_index(p, "VDDIO");
    assert_string_equal(p->rail[vddm].group, "core");
    assert_int_equal(p->rail[vddio].up_barrier, 0);
    assert_int_equal(p->rail[vddm].up_barrier, 2);
    /* A driven pad with no VDDIO is what kills the part: pins go before VDDIO, in both directions. */
    const struct profile_sequence *orders[] = { &p->power_down, &p->emergency };
    for (int o = 0; o < 2; o++) {
        int spi = -1, io = -1;
        for (int b = 0; b < orders[o]->count; b++) {
            for (int i = 0; i < orders[o]->barrier[b].count; i++) {
                spi = orders[o]->barrier[b].item[i] == PROFILE_ITEM_SPI ? b : spi;
                io = orders[o]->barrier[b].item[i] == vddio ? b : io;
            }
        }
        assert_true(spi >= 0 && io > spi);
    }
    const struct profile_barrier *last = &p->power_up.barrier[p->power_up.count - 1];
    assert_int_equal(last->count, 2);
    assert_int_equal(profile_address(p, PROFILE_SCOPE_CORE, 5, 0x30010), 0x630010);
    assert_int_equal(profile_memory_bytes(p, "XBAR"), 8192);
    assert_int_equal(profile_memory_bytes(p, "NONE"), 0);
    assert_int_equal(profile_gain_code(p, 4), 2);
    assert_int_equal(profile_gain_code(p, 3), -1);
    assert_true(profile_has_bits(p, 9) && !profile_has_bits(p, 7));
    assert_int_equal(p->identity_value, 0x41440201);
    int break_index = profile_register_index(p, PROFILE_SCOPE_CHIP, "BREAK");
    assert_int_equal(profile_field(&p->reg[break_index], "LAYER")->bit, 24);
    assert_null(profile_field(&p->reg[break_index], "NONE"));
    assert_true(profile_register_index(p, PROFILE_SCOPE_CORE, "CTRL") !=
                profile_register_index(p, PROFILE_SCOPE_CHIP, "CTRL"));
    assert_int_equal(strlen(p->hash), 64);
    profile_free(p);
    profile_free(NULL);
}

/* A second chip is a second file: other framing, no arrays. */
static void test_tiny(void **state)
{
    struct chip_profile *p = NULL;
    struct error err = { 0 };

    (void)state;
    if (profile_load(TINY, &p, &err))
        fail_msg("%s", err.message);
    assert_int_equal(p->spi.kind, PROFILE_FRAMING_ADI16);
    assert_int_equal(p->cores.count, 0);
    assert_true(p->rail_count >= 1);
    profile_free(p);
}

/* Loads the adelia2 file with one text replaced. */
static int load_changed(const char *from, const char *to, struct error *err)
{
    char path[] = "/tmp/nightbench-profile-XXXXXX";
    char *text = NULL;
    size_t length;
    struct chip_profile *p = NULL;
    struct strbuf out = { NULL, 0, 0, false };

    assert_int_equal(text_read_file(ADELIA2, 1 << 20, &text, &length, err), 0);
    char *at = strstr(text, from);
    if (!at)
        fail_msg("'%s' is not in the file", from);
    strbuf_bytes(&out, text, (size_t)(at - text));
    strbuf_add(&out, "%s%s", to, at + strlen(from));
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(text_write_file(path, out.text, out.length, err), 0);
    int rc = profile_load(path, &p, err);
    unlink(path);
    profile_free(p);
    strbuf_free(&out);
    free(text);
    return rc;
}

static void test_mistakes(void **state)
{
    static const struct {
        const char *from, *to, *message;
    } cases[] = {
        { "\"limit_a\"", "\"limit_A\"", "limit_A" },
        { "\"force_v\": 0.2", "\"force_v\": -0.9", "/contact_check/force_v" },
        { "\"force_v\": 0.2", "\"force_v\": 0.3", "/contact_check/force_v" },
        { "\"limit_a\": 0.0001}", "\"limit_a\": 0.05}", "/contact_check/limit_a" },
        { "\"force_v\": 0.2", "\"diode_min_v\": 0.2", "diode_min_v" },
        { "\"max_v\": 1.98", "\"max_v\": 2.2", "/rails/0" },
        { "\"ovp_v\": 2.05", "\"ovp_v\": 2.5", "ovp_v" },
        { "\"ovp_v\": 2.05", "\"ovp_v\": 1.9", "ovp_v" },
        { "\"nominal_v\": 1.8", "\"nominal_v\": 1.5", "nominal_v" },
        { "\"VDDIO\"", "\"VDDD\"", "twice" },
        { "\"PTAT\"", "\"VCM\"", "test_mux entry 'VCM' is there twice" },
        { "\"WMEM\", \"address\"", "\"IMEM\", \"address\"", "memory 'IMEM' is there twice" },
        { "\"name\": \"gain\"", "\"name\": \"offset\"", "trim 'offset' is there twice" },
        { "\"TEMP\", \"address\": \"0x30\", \"access\": \"ro\", \"fields\": [",
          "\"TEMP\", \"address\": \"0x30\", \"access\": \"ro\", \"fields\": [{\"name\": \"VALUE\", \"bit\": "
          "12},",
          "field 'VALUE' is there twice" },
        { "[\"VDDIO\"],", "", "rail 'VDDIO' is missing" },
        { "[\"VDDIO\"]", "[\"VDDIX\"]", "no rail" },
        { "\"framing\": \"adl2\"", "\"framing\": \"adl3\"", "/spi/framing" },
        { "\"framing\": \"adl2\"", "\"framing\": \"adi16\"", "8-bit words" },
        { "\"0x41440201\"", "\"0x4144020G\"", "32-bit number" },
        { "\"register\": \"ID\"", "\"register\": \"IDX\"", "IDX" },
        { "\"version\": 1", "\"version\": 2", "version" },
        { "\"memory\": \"ADCT\"", "\"memory\": \"ADCX\"", "ADCX" },
        { "\"temperature_step_c\": 0.1", "\"temperature_step_c\": 11", "temperature_step_c" },
        { "\"TEMP\"", "\"TEMX\"", "no register TEMP" },
        { "\"clock_min_hz\"", "\"clock_min\"", "clock_min" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct error err = { 0 };
        int rc = load_changed(cases[i].from, cases[i].to, &err);
        if (rc != ERR_INVALID || !strstr(err.message, cases[i].message))
            fail_msg("%s -> %s: %d %s", cases[i].from, cases[i].to, rc, err.message);
    }
}

static void test_unreadable(void **state)
{
    struct chip_profile *p = NULL;
    struct error err;

    (void)state;
    assert_int_equal(profile_load("/nonexistent/chip.json", &p, &err), ERR_NOT_FOUND);
    assert_null(p);
    assert_non_null(strstr(err.message, "/nonexistent/chip.json"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_adelia2),
        cmocka_unit_test(test_tiny),
        cmocka_unit_test(test_mistakes),
        cmocka_unit_test(test_unreadable),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
