/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_bench_rules: rules of a bench file in the plan of a campaign: which join, which are replaced, that a
 * resumption finds the same, and where a mistake in one is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/base/text.h"
#include "daemon/job.h"

#define DAILY "{\"name\":\"daily\",\"every\":\"24h\",\"steps\":[{\"step\":\"calibrate\"}]}"
#define LOOK  "{\"name\":\"look\",\"every\":\"1h\",\"steps\":[{\"step\":\"measure\"}]}"
#define OWN   "{\"name\":\"daily\",\"every\":\"2h\",\"steps\":[{\"step\":\"calibrate\"}]}"
#define OTHER(n)                                                                                             \
    "{\"name\":\"" n "\",\"every\":\"2h\",\"steps\":[{\"step\":\"measure\",\"name\":\"m" n "\"}]}"
#define SWEEP                                                                                                \
    "{\"step\":\"power\",\"state\":\"up\"},{\"step\":\"sweep\",\"axes\":[{\"name\":\"vdd_v\",\"set\":"       \
    "\"group.core\",\"list\":[0.8]}],\"do\":[{\"step\":\"measure\"}]}"
#define BATH "{\"step\":\"power\",\"state\":\"up\"},{\"step\":\"measure\"}"

static struct json_problems problems;

/* The simulated bench with these rules. */
static void write_bench(char *path, const char *rules)
{
    char *text = NULL;
    size_t n;

    assert_int_equal(text_read_file("configs/benches/sim-adelia2.json", 1 << 20, &text, &n, NULL), 0);
    char *brace = strchr(text, '{');
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    dprintf(fd, "{\"rules\":[%s],%s", rules, brace + 1);
    close(fd);
    free(text);
}

static int open_job(const char *bench, const char *steps, const char *rules, struct job *job)
{
    struct job_request request = { .bench_path = bench };
    struct error err = { 0 };
    char text[2000];

    snprintf(
        text, sizeof text,
        "{\"format\":\"nightbench-campaign\",\"version\":1,\"name\":\"t\",\"bench\":\"%s\",\"log_period_s\":"
        "0.1,\"steps\":[%s]%s%s%s}",
        bench, steps, rules != NULL ? ",\"rules\":[" : "", rules != NULL ? rules : "",
        rules != NULL ? "]" : "");
    request.text = text;
    problems = (struct json_problems){ 0 };
    return job_open(&request, job, &problems, &err);
}

static void joined_and_replaced(void **state)
{
    static const struct {
        const char *steps, *rules;
        int count;
        double every_s[3];
    } rows[] = {
        { SWEEP, NULL, 2, { 86400.0, 3600.0 } },
        { SWEEP, OWN, 2, { 7200.0, 3600.0 } },
        { SWEEP, OTHER("x"), 3, { 7200.0, 86400.0, 3600.0 } },
        { BATH, NULL, 0, { 0.0 } }, /* no points between which it could be done */
    };
    char path[] = "/tmp/nb-rules.XXXXXX";

    (void)state;
    write_bench(path, DAILY "," LOOK);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct job job, again;
        if (open_job(path, rows[i].steps, rows[i].rules, &job) != 0)
            fail_msg("row %zu: %s: %s", i, problems.item[0].pointer, problems.item[0].reason);
        assert_int_equal(job.plan->rule_count, rows[i].count);
        for (int k = 0; k < rows[i].count; k++)
            assert_true(job.plan->rule[k].rule->every_s == rows[i].every_s[k]);
        /* As a run is resumed: from what was recorded. */
        struct job_request request = { .text = job.campaign->json, .bench_path = path };
        struct error err = { 0 };
        assert_int_equal(job_open(&request, &again, &problems, &err), 0);
        assert_string_equal(again.plan->hash, job.plan->hash);
        job_close(&again);
        job_close(&job);
    }
    unlink(path);
}

static void mistakes_are_told_where_they_were_made(void **state)
{
    static const struct {
        const char *bench, *rules, *pointer;
    } rows[] = {
        { "{\"name\":\"a\",\"every\":\"1h\",\"steps\":[{\"step\":\"power\",\"state\":\"up\"}]}", OTHER("x"),
          "/bench/rules/0/steps/0/step" },
        { DAILY ",{\"name\":\"a\",\"every\":\"often\",\"steps\":[{\"step\":\"calibrate\",\"name\":\"b\"}]}",
          OWN, "/bench/rules/1/every" },
        { "{\"name\":\"a\",\"every\":\"1h\",\"steps\":[{\"step\":\"golden\",\"dataset\":\"t\",\"samples\":1}]"
          "}",
          NULL, "/bench/rules/0/steps/0/dataset" },
        { DAILY "," LOOK, OTHER("x") "," OTHER("y") "," OTHER("z"), "/bench/rules" },
        { LOOK, "{\"name\":\"x\",\"every\":\"often\",\"steps\":[{\"step\":\"calibrate\"}]}",
          "/rules/0/every" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char path[] = "/tmp/nb-rules.XXXXXX";
        struct job job;
        write_bench(path, rows[i].bench);
        assert_int_equal(open_job(path, SWEEP, rows[i].rules, &job), ERR_INVALID);
        if (problems.count != 1 || strcmp(problems.item[0].pointer, rows[i].pointer) != 0)
            fail_msg("row %zu: %d problems, %s: %s", i, problems.count, problems.item[0].pointer,
                     problems.item[0].reason);
        unlink(path);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(joined_and_replaced),
        cmocka_unit_test(mistakes_are_told_where_they_were_made),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
