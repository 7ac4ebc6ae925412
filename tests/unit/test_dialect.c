/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_dialect: every dialect in the tree passes its self-check; a broken one is told all its mistakes at
 * once; commands, rounding, uncertainty and due dates. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <glob.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/base/clock.h"
#include "daemon/base/text.h"
#include "drivers/dialect.h"
#include "instruments/bench.h"

static struct json_problems problems;

static void every_file_passes(void **state)
{
    (void)state;
    glob_t files;
    assert_int_equal(glob("configs/instruments/*.json", 0, NULL, &files), 0);
    assert_true(files.gl_pathc >= 4);
    for (size_t i = 0; i < files.gl_pathc; i++) {
        struct dialect *d = NULL;
        struct error err = { 0 };
        problems.count = 0;
        if (dialect_load(files.gl_pathv[i], &d, &problems, &err))
            fail_msg("%s: %s", files.gl_pathv[i], err.message);
        assert_int_equal(problems.count, 0);
        char name[128];
        snprintf(name, sizeof name, "/%s.json", d->name);
        assert_non_null(strstr(files.gl_pathv[i], name));
        dialect_free(d);
    }
    globfree(&files);
}

/* The row of docs/howto-instrument.md that names the file says what its "tested" says. */
static void check_row(const char *docs, const char *path)
{
    cJSON *root = NULL;
    char name[80], cell[40];
    assert_int_equal(json_load(path, &root, NULL), 0);
    snprintf(name, sizeof name, "`%s`", cJSON_GetObjectItem(root, "name")->valuestring);
    snprintf(cell, sizeof cell, "| %s |", cJSON_GetObjectItem(root, "tested")->valuestring);
    const char *table = strstr(docs, "## Gear by data"), *row = table ? strstr(table, name) : NULL;
    if (!row)
        fail_msg("%s is not in the table of gear", name);
    char line[400];
    snprintf(line, sizeof line, "%.*s", (int)strcspn(row, "\n"), row);
    if (!strstr(line, cell))
        fail_msg("%s: the table does not say '%s'", name, cell);
    cJSON_Delete(root);
}

static void the_documents_say_what_is_proven(void **state)
{
    (void)state;
    char *docs = NULL;
    glob_t files;
    assert_int_equal(text_read_file("docs/howto-instrument.md", 1 << 20, &docs, NULL, NULL), 0);
    assert_int_equal(glob("configs/instruments/*.json", 0, NULL, &files), 0);
    assert_int_equal(glob("configs/instruments/modbus/*.json", GLOB_APPEND, NULL, &files), 0);
    for (size_t i = 0; i < files.gl_pathc; i++)
        check_row(docs, files.gl_pathv[i]);
    globfree(&files);
    free(docs);
}

static bool told(const char *pointer, const char *reason)
{
    for (int i = 0; i < problems.count && i < JSON_PROBLEMS_MAX; i++) {
        if (strcmp(problems.item[i].pointer, pointer) == 0 && strstr(problems.item[i].reason, reason))
            return true;
    }
    return false;
}

/* Replaces pairs of texts in a file and loads the result; returns the code. */
static int load_changed_file(const char *name, const char *const *changes)
{
    char *text = NULL, from[96];
    size_t n;
    snprintf(from, sizeof from, "configs/instruments/%s.json", name);
    assert_int_equal(text_read_file(from, 1 << 20, &text, &n, NULL), 0);
    for (int i = 0; changes[i]; i += 2) {
        char *at = strstr(text, changes[i]);
        assert_non_null(at);
        struct strbuf out = { 0 };
        strbuf_bytes(&out, text, (size_t)(at - text));
        strbuf_add(&out, "%s%s", changes[i + 1], at + strlen(changes[i]));
        free(text);
        text = out.text;
    }
    char path[] = "/tmp/nb-dialect.XXXXXX";
    int fd = mkstemp(path);
    assert_true(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
    struct dialect *d = NULL;
    problems.count = 0;
    int code = dialect_load(path, &d, &problems, NULL);
    dialect_free(d);
    unlink(path);
    free(text);
    return code;
}

static int load_changed(const char *const *changes)
{
    return load_changed_file("keysight-e36312a", changes);
}

static void all_mistakes_at_once(void **state)
{
    (void)state;
    const char *const changes[] = { "CURR:PROT:STAT ON,",
                                    "CURR:PROT:STAT ON?,", /* the mistake of a known profile */
                                    "\"VOLT {v},",
                                    "\"VOLT {volt},",
                                    "\"OUTP? (@{ch})\"",
                                    "\"OUTP (@{ch}})\"",
                                    "\"min\": 0, \"max\": 6.18",
                                    "\"min\": 7, \"max\": 6.18",
                                    "\"get_ovp\": \"VOLT:PROT? (@{ch})\",",
                                    "",
                                    "\"set_limit\"",
                                    "\"set_limt\"",
                                    "\"measure_voltage\": \"MEAS:VOLT?",
                                    "\"measure_voltage\": \"MEAS:RANG 1;:MEAS:VOLT?",
                                    "\"numbers\": [2, 3]",
                                    "\"numbers\": [1, 3]",
                                    "\"calibration_due\": \"\"",
                                    "\"calibration_due\": \"soon\"",
                                    NULL };
    assert_int_equal(load_changed(changes), ERR_INVALID);
    assert_true(told("/commands/ocp_on", "has a '?'"));
    assert_true(told("/commands/set_voltage", "placeholder {volt}"));
    assert_true(told("/commands/set_voltage", "has no {v}"));
    assert_true(told("/commands/get_output", "has no '?'"));
    assert_true(told("/commands/get_output", "'}' closes nothing"));
    assert_true(told("/commands/measure_voltage", "no '?'"));
    assert_true(told("/channels/0/voltage", "above max"));
    assert_true(told("/commands", "'get_ovp' is missing"));
    assert_true(told("/commands", "'set_limit' is missing: a psu cannot do without"));
    assert_true(told("/channels/1", "described twice"));
    assert_true(told("/calibration_due", "no date"));
}

static void answers_are_checked(void **state)
{
    (void)state;
    const char *const changes[] = {
        "\"channels\":",
        "\"answers\": { \"get_output\": {\"bit\": [4, 5]}, \"get_mode\": {\"bit\": [1, 2, 40]},"
        " \"measure_voltage\": {\"field\": 32}, \"measure_current\": {},"
        " \"get_voltage\": {\"field\": 0, \"bit\": [1, 2, 3]},"
        " \"set_limit\": {\"field\": 1}, \"identify\": {\"field\": 1},"
        " \"get_limt\": {\"field\": 1} }, \"channels\":",
        NULL
    };
    assert_int_equal(load_changed(changes), ERR_INVALID);
    assert_true(told("", "'get_output' has 2 bits"));
    assert_true(told("/answers/get_mode", "40 is no number of a bit"));
    assert_true(told("/answers/measure_voltage/field", ""));
    assert_true(told("/answers/measure_current", "says where the number is"));
    assert_true(told("/answers/get_voltage", "says where the number is"));
    assert_true(told("/answers/set_limit", "brings no number"));
    assert_true(told("/answers/identify", "brings no number"));
    assert_true(told("/answers/get_limt", ""));
}

static void chambers_are_checked(void **state)
{
    (void)state;
    const char *const espec[] = { "{ \"OFF\": 0, \"STANDBY\": 0, \"CONSTANT\": 1, \"RUN\": 1 }",
                                  "{}",
                                  "\"measure_temperature\": \"TEMP?\",",
                                  "",
                                  "\"get_ramp\", ",
                                  "",
                                  "\"terminator\": \"crlf\"",
                                  "\"terminator\": \"cr\"",
                                  "\"joins\": false",
                                  "\"joins\": true",
                                  "\"get_trip\": \"MON?\"",
                                  "\"get_ramp\": \"RAMP?\"",
                                  "\"decimals\": 1",
                                  "\"decimals\": 0",
                                  NULL };
    assert_int_equal(load_changed_file("espec-p300", espec), ERR_INVALID);
    assert_true(told("/answers/get_output", "says where the number is"));
    assert_true(told("/commands", "'measure_temperature' is missing: a chamber cannot do without"));
    assert_true(told("/terminator", "not a valid choice"));
    assert_true(told("/acknowledge", "cannot be joined"));
    assert_true(told("/answers/get_trip", "there is no 'get_trip'"));
    assert_true(told("/channels/0/temperature", "cannot express a step"));
    assert_true(told("", "'set_ramp' and 'get_ramp' come together"));

    const char *const stream[] = { "\"mask\": 3, \"is\": 1",
                                   "\"mask\": 3, \"is\": 4",
                                   "\"below\": 29.95",
                                   "\"below\": 20",
                                   "\"SETN 2\"",
                                   "\"SETN?\"",
                                   "\"get_trip\": \"EROR?\"",
                                   "\"get_tripp\": \"EROR?\"",
                                   "{ \"mask\": 32 }",
                                   "{ \"mask\": 32, \"bit\": [5] }",
                                   NULL };
    assert_int_equal(load_changed_file("intest-thermostream", stream), ERR_INVALID);
    assert_true(told("/settled", "never met"));
    assert_true(told("/slots/1", "must ascend"));
    assert_true(told("/slots/0", "has a '?'"));
    assert_true(told("/answers/get_output", "says where the number is"));
    assert_true(told("", "'clear_trip' and 'get_trip' come together"));
}

static void loggers_are_checked(void **state)
{
    (void)state;
    const char *const changes[] = { ",\n    \"log_stop\": \"ABOR:ELOG (@{ch})\"",
                                    "",
                                    "FETC:ELOG? {n}",
                                    "FETC:ELOG? {a}",
                                    "\"float32\"",
                                    "\"float64\"",
                                    "\"period_max_s\": 60",
                                    "\"period_max_s\": 1e-6",
                                    NULL };
    assert_int_equal(load_changed_file("keysight-n6705c-n6784a", changes), ERR_INVALID);
    assert_true(told("", "a logger needs"));
    assert_true(told("", "'log_count' come together"));
    assert_true(told("/commands/log_fetch", "does not say how many"));
    assert_true(told("/log/format", "not a valid choice"));
    assert_true(told("/log", "is above period_max_s"));
}

static void vital_commands_cannot_be_absent(void **state)
{
    (void)state;
    const char *const changes[] = { "\"output_off\": \"OUTP OFF,(@{ch})\",", "",
                                    "\"absent\": [\"log_fetch\"]",
                                    "\"absent\": [\"log_fetch\", \"output_off\", \"output_of\"]", NULL };
    assert_int_equal(load_changed(changes), ERR_INVALID);
    assert_true(told("/absent", "cannot do without 'output_off'"));
    assert_true(told("/absent/2", "is no command"));
}

/* A command that names none of several channels would act on whichever was selected last. */
static void a_channel_must_be_named_or_selected(void **state)
{
    (void)state;
    static const char *const unnamed[] = { "\"VOLT {v},(@{ch})\"", "\"VOLT {v}\"", NULL };
    static const char *const selected[] = { "\"VOLT {v},(@{ch})\"",
                                            "\"VOLT {v}\", \"select\": \"INST:NSEL {ch}\"", NULL };
    static const char *const nothing[] = { "\"VOLT {v},(@{ch})\"",
                                           "\"VOLT {v}\", \"select\": \"INST:NSEL 1\"", NULL };
    assert_int_equal(load_changed(unnamed), ERR_INVALID);
    assert_true(told("", "'set_voltage' names no channel") || told("/", "'set_voltage' names no channel"));
    assert_int_equal(load_changed(selected), 0);
    assert_int_equal(load_changed(nothing), ERR_INVALID);
}

static struct dialect *e36312a(void)
{
    struct dialect *d = NULL;
    assert_int_equal(dialect_load("configs/instruments/keysight-e36312a.json", &d, NULL, NULL), 0);
    return d;
}

static void commands_are_filled_in(void **state)
{
    (void)state;
    struct dialect *d = e36312a();
    char text[80], tiny[8];
    assert_int_equal(dialect_format(d, DIALECT_SET_VOLTAGE, 2, 0.8, 4, text, sizeof text, NULL), 0);
    assert_string_equal(text, "VOLT 0.8000,(@2)");
    assert_int_equal(dialect_format(d, DIALECT_GET_MODE, 3, 0, 0, text, sizeof text, NULL), 0);
    assert_string_equal(text, "STAT:QUES:INST:ISUM3:COND?");
    assert_int_equal(dialect_format(d, DIALECT_SET_NPLC, 1, 1, 0, text, sizeof text, NULL), ERR_UNSUPPORTED);
    assert_int_equal(dialect_format(d, DIALECT_SET_VOLTAGE, 2, 0.8, 4, tiny, sizeof tiny, NULL),
                     ERR_INTERNAL);
    assert_null(dialect_channel(d, 4));
    dialect_free(d);
}

static void values_are_rounded_not_cut(void **state)
{
    (void)state;
    const struct dialect_span span = { .step = 0.01 };
    assert_true(fabs(dialect_round(&span, 4.35) - 4.35) < 1e-12); /* 4.35 * 100 is 434.99999999999994 */
    assert_true(fabs(dialect_round(&span, -0.5049) + 0.50) < 1e-12);
    assert_false(signbit(dialect_round(&span, -0.001)));
}

static void uncertainty_comes_from_the_row(void **state)
{
    (void)state;
    struct dialect *d = e36312a();
    const struct dialect_channel *ch = dialect_channel(d, 1);
    double range;
    double low = dialect_uncertainty(ch, QUANTITY_CURRENT, 0.01, NAN, &range);
    assert_true(range == 0.02);
    assert_true(fabs(low - hypot((0.0025 * 0.01 + 80e-6) / sqrt(3), 1e-6 / sqrt(12))) < 1e-12);
    dialect_uncertainty(ch, QUANTITY_CURRENT, -0.5, NAN, &range);
    assert_true(range == 5.15); /* by magnitude */
    double fixed = dialect_uncertainty(ch, QUANTITY_CURRENT, 0.01, 5.15, &range);
    assert_true(range == 5.15 && fixed > 10 * low); /* a fixed range counts, not the value */
    assert_true(isnan(dialect_uncertainty(ch, QUANTITY_CURRENT, NAN, NAN, &range)));
    dialect_free(d);
}

static void calibration_runs_out(void **state)
{
    (void)state;
    struct dialect *d = e36312a();
    const int64_t end_ns = 1798761600 * NS_PER_S; /* 2027-01-01T00:00:00Z */
    assert_false(dialect_overdue(d, INT64_MAX));  /* not stated */
    strcpy(d->calibration_due, "2026-12-31");
    assert_false(dialect_overdue(d, end_ns - 1));
    assert_true(dialect_overdue(d, end_ns));
    dialect_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_file_passes),
        cmocka_unit_test(the_documents_say_what_is_proven),
        cmocka_unit_test(all_mistakes_at_once),
        cmocka_unit_test(answers_are_checked),
        cmocka_unit_test(chambers_are_checked),
        cmocka_unit_test(loggers_are_checked),
        cmocka_unit_test(vital_commands_cannot_be_absent),
        cmocka_unit_test(a_channel_must_be_named_or_selected),
        cmocka_unit_test(commands_are_filled_in),
        cmocka_unit_test(values_are_rounded_not_cut),
        cmocka_unit_test(uncertainty_comes_from_the_row),
        cmocka_unit_test(calibration_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
