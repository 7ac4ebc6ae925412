/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_bench_file: the bench in the tree loads with all its channels; mistakes are told at their place, all
 * at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/base/text.h"
#include "instruments/bench.h"

static const char PATH[] = "configs/benches/sim-adelia2.json";
static struct json_problems problems;

static void the_simulated_bench_loads(void **state)
{
    (void)state;
    struct bench_file *file = NULL;
    struct error err = { 0 };
    problems.count = 0;
    if (bench_file_load(PATH, &file, &problems, &err))
        fail_msg("%s", err.message);
    assert_int_equal(file->instrument_count, 6);
    assert_int_equal(file->channel_count, 12);
    assert_true(file->simulated);
    static const char *const RAILS[] = { "VDDIO", "VDDD", "VDDM", "VREF", "VDDA", "VDDADC", "VBN", "VBP" };
    for (size_t i = 0; i < 8; i++) {
        const struct bench_channel *ch = bench_file_rail(file, RAILS[i]);
        assert_non_null(ch);
        assert_true(ch->can_source && ch->volt_max_v > 1.8 && ch->limit_max_a > 0 && ch->volt_step_v > 0);
        assert_true(file->instrument[ch->instrument].energises);
        assert_true(&file->channel[ch->index] == ch);
    }
    assert_string_equal(bench_file_rail(file, "VDDM")->name, "psu2.1");
    assert_true(bench_file_rail(file, "VBP")->volt_min_v <= -1.5); /* body bias goes below zero */
    assert_null(bench_file_rail(file, ""));
    assert_string_equal(file->channel[file->source_channel].name, "src1.1");
    assert_string_equal(file->channel[file->meter_channel].name, "dmm1.1");
    assert_false(file->instrument[file->channel[file->meter_channel].instrument].energises);
    assert_true(isnan(file->channel[file->meter_channel].volt_max_v));
    assert_string_equal(file->instrument[file->spi_instrument].name, "bridge");
    assert_true(file->instrument[file->spi_instrument].energises && file->spi_hz == 20e6);
    assert_string_equal(file->profile_path, "configs/chips/adelia2.json");
    bench_file_free(file);
}

static int load_changed(const char *const *changes, struct error *err)
{
    char *text = NULL;
    size_t n;
    assert_int_equal(text_read_file(PATH, 1 << 20, &text, &n, NULL), 0);
    for (int i = 0; changes[i]; i += 2) {
        char *at = strstr(text, changes[i]);
        assert_non_null(at);
        struct strbuf out = { 0 };
        strbuf_bytes(&out, text, (size_t)(at - text));
        strbuf_add(&out, "%s%s", changes[i + 1], at + strlen(changes[i]));
        free(text);
        text = out.text;
    }
    char path[] = "/tmp/nb-bench.XXXXXX";
    int fd = mkstemp(path);
    assert_true(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
    free(text);
    struct bench_file *file = NULL;
    problems.count = 0;
    int code = bench_file_load(path, &file, &problems, err);
    bench_file_free(file);
    unlink(path);
    return code;
}

static const struct json_problem *told(const char *pointer, const char *reason)
{
    for (int i = 0; i < problems.count && i < JSON_PROBLEMS_MAX; i++) {
        if (strcmp(problems.item[i].pointer, pointer) == 0 && strstr(problems.item[i].reason, reason))
            return &problems.item[i];
    }
    return NULL;
}

static void mistakes_are_told_all_at_once(void **state)
{
    (void)state;
    const char *const changes[] = { "\"name\": \"psu2\"",
                                    "\"name\": \"psu1\"",
                                    "\"driver\": \"serprog\"",
                                    "\"driver\": \"serprg\"",
                                    "\"dialect\": \"keithley-2450\"",
                                    "\"dialect\": \"keithley-2451\"",
                                    "\"instrument\": \"psu1\", \"channel\": 2",
                                    "\"instrument\": \"psu1\", \"channel\": 1",
                                    "\"instrument\": \"smu4\", \"channel\": 4",
                                    "\"instrument\": \"smu4\", \"channel\": 5",
                                    "\"socket\": \"S1\"",
                                    "\"sockets\": \"S1\"",
                                    NULL };
    struct error err = { 0 };
    assert_int_equal(load_changed(changes, &err), ERR_INVALID);
    assert_non_null(told("/instruments/1", "is there twice"));
    const struct json_problem *driver = told("/instruments/5/driver", "no driver 'serprg'");
    assert_non_null(driver);
    assert_string_equal(driver->hint, "serprog");
    assert_non_null(told("/instruments/3/dialect", "keithley-2451"));
    assert_non_null(told("/rails/VDDD", "feeds VDDIO already"));
    assert_non_null(told("/rails/VDDM", "no instrument 'psu2'"));
    assert_non_null(told("/rails/VBP", "has no channel 5"));
    assert_true(problems.count >= 8);
}

/* What every campaign may replace has a name; the rest of a rule is checked with a campaign. */
static void rules_have_names(void **state)
{
    static const struct {
        const char *rules, *pointer, *reason;
    } ROWS[] = {
        { "[{\"name\":\"a\",\"every\":\"1h\",\"steps\":[{\"step\":\"calibrate\"}]}]", NULL, NULL },
        { "[{\"every\":\"1h\",\"steps\":[]}]", "/rules/0/name", "required" },
        { "[{\"name\":\"a\",\"every\":\"1h\"}]", "/rules/0/steps", "required" },
        { "[{\"name\":\"a\",\"every\":\"1h\",\"steps\":[],\"step\":1}]", "/rules/0/step",
          "not a known name" },
        { "[{\"name\":\"a\",\"every\":\"1h\",\"steps\":[]},{\"name\":\"a\",\"every\":\"1h\",\"steps\":[]}]",
          "/rules/1/name", "called \"a\", too" },
        { "{}", "/rules", "list of at most 4" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++) {
        char text[400];
        snprintf(text, sizeof text, "\"rules\": %s, \"socket\"", ROWS[i].rules);
        const char *const changes[] = { "\"socket\"", text, NULL };
        struct error err = { 0 };
        assert_int_equal(load_changed(changes, &err), ROWS[i].pointer != NULL ? ERR_INVALID : 0);
        assert_true(ROWS[i].pointer == NULL ||
                    (problems.count == 1 && told(ROWS[i].pointer, ROWS[i].reason)));
    }
}

static void pins_are_wired_to_an_analyzer(void **state)
{
    (void)state;
    static const char LA[] =
        "{ \"name\": \"la1\", \"class\": \"la\", \"driver\": \"sigrok\", \"resource\": \"%s\" }, "
        "{ \"name\": \"bridge\"";
    static const struct {
        const char *resource, *logic, *pointer, *reason;
    } ROWS[] = {
        { "sigrok:demo", "{ \"instrument\": \"la1\", \"inputs\": { \"IRQ\": 0, \"TRIG\": 63 } }", NULL,
          NULL },
        { "sigrok:demo", "{ \"instrument\": \"dmm1\", \"inputs\": { \"IRQ\": 0 } }", "/logic",
          "of class 'la'" },
        { "sigrok:demo", "{ \"instrument\": \"la1\", \"inputs\": { \"IRQ\": 0, \"TRIG\": 0 } }",
          "/logic/inputs", "IRQ and TRIG are both wired to input 0" },
        { "sigrok:demo", "{ \"instrument\": \"la1\", \"inputs\": { \"IRQ\": 64 } }", "/logic/inputs/IRQ",
          "" },
        { "sigrok:demo", "{ \"instrument\": \"la1\", \"pins\": {} }", "/logic/pins", "" },
        { "sigrok:demo:a=b:colour", "{ \"instrument\": \"la1\", \"inputs\": {} }", "/instruments/5/resource",
          "'colour' is no KEY=VALUE" },
        { "sigrok:demo:=b", "{ \"instrument\": \"la1\", \"inputs\": {} }", "/instruments/5/resource",
          "'=b' is no KEY=VALUE" },
        { "demo", "{ \"instrument\": \"la1\", \"inputs\": { \"IRQ\": 0 } }", "/instruments/5/resource",
          "sigrok:DRIVER" },
    };
    for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++) {
        char analyzer[256], logic[256];
        struct error err = { 0 };
        snprintf(analyzer, sizeof analyzer, LA, ROWS[i].resource);
        snprintf(logic, sizeof logic, "\"logic\": %s, \"rails\"", ROWS[i].logic);
        const char *const changes[] = { "{ \"name\": \"bridge\"", analyzer, "\"rails\"", logic, NULL };
        int code = load_changed(changes, &err);
        if (code != (ROWS[i].pointer ? ERR_INVALID : 0))
            fail_msg("row %zu: %s", i, err.message);
        if (ROWS[i].pointer && !told(ROWS[i].pointer, ROWS[i].reason))
            fail_msg("row %zu: %s is not told at %s but: %s", i, ROWS[i].reason, ROWS[i].pointer,
                     err.message);
    }
}

static void a_bench_of_steel_has_no_simulator(void **state)
{
    (void)state;
    const char *const changes[] = { "\"simulated\": true", "\"simulated\": false", NULL };
    assert_int_equal(load_changed(changes, NULL), ERR_INVALID);
    assert_non_null(told("/instruments/0/resource", "not simulated"));
}

static void a_meter_feeds_nothing(void **state)
{
    (void)state;
    const char *const changes[] = { "{ \"instrument\": \"smu4\", \"channel\": 4 }",
                                    "{ \"instrument\": \"dmm1\", \"channel\": 1 }", NULL };
    assert_int_equal(load_changed(changes, NULL), ERR_INVALID);
    assert_non_null(told("/rails/VBP", "cannot feed a rail"));
}

static void layers_fit_their_driver(void **state)
{
    (void)state;
    static const struct {
        const char *driver, *list, *pointer, *said;
    } ROWS[] = {
        { "serprog", "[{\"layer\": \"echo\"}]", NULL, NULL },
        { "serprog", "[{\"layer\": \"terminator\"}]", "/instruments/5/interpose/0", "sends bytes" },
        { "spidev", "[{\"layer\": \"echo\"}]", "/instruments/5/interpose", "opens a device of its own" },
        { "serprog", "[{\"layer\": \"ecco\"}]", "/instruments/5/interpose/0/layer", "" },
    };
    for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++) {
        char with[200];
        snprintf(with, sizeof with, "\"driver\": \"%s\", \"interpose\": %s", ROWS[i].driver, ROWS[i].list);
        const char *const changes[] = { "\"driver\": \"serprog\"", with, NULL };
        int code = load_changed(changes, NULL);
        if ((code != 0) != (ROWS[i].said != NULL) || (code && !told(ROWS[i].pointer, ROWS[i].said)))
            fail_msg("%s: %d problems, %s: %s", with, problems.count, problems.item[0].pointer,
                     problems.item[0].reason);
    }
}

static void a_missing_file_is_not_found(void **state)
{
    (void)state;
    struct bench_file *file = NULL;
    struct error err = { 0 };
    assert_int_equal(bench_file_load("/nowhere/bench.json", &file, NULL, &err), ERR_NOT_FOUND);
    assert_non_null(strstr(err.message, "/nowhere/bench.json"));
    assert_null(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_simulated_bench_loads),     cmocka_unit_test(mistakes_are_told_all_at_once),
        cmocka_unit_test(pins_are_wired_to_an_analyzer), cmocka_unit_test(a_bench_of_steel_has_no_simulator),
        cmocka_unit_test(a_meter_feeds_nothing),         cmocka_unit_test(layers_fit_their_driver),
        cmocka_unit_test(a_missing_file_is_not_found),   cmocka_unit_test(rules_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
