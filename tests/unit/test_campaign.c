/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_campaign: the language: what is accepted, every mistake at once with its place, and that page, schema
 * and code agree. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/text.h"
#include "sweeps/campaign.h"
#include "sweeps/step.h"

#define HEAD                                                                                                 \
    "{\"format\":\"nightbench-campaign\",\"version\":1,\"name\":\"t\",\"bench\":\"b.json\","                 \
    "\"networks\":{\"vad\":\"n.json\"},\"datasets\":{\"test\":{\"path\":\"d.nbds\"}},"

static struct json_problems problems;

static int read_text(const char *text, struct campaign **ret)
{
    cJSON *root = NULL;
    struct error err = { 0 };

    memset(&problems, 0, sizeof problems);
    if (json_parse(text, strlen(text), &root, &err) < 0)
        fail_msg("%s", err.message);
    int rc = campaign_read(root, "test", ret, &problems, &err);
    cJSON_Delete(root);
    return rc;
}

static const struct json_problem *problem_at(const char *pointer)
{
    for (int i = 0; i < problems.count; i++) {
        if (strcmp(problems.item[i].pointer, pointer) == 0)
            return &problems.item[i];
    }
    for (int i = 0; i < problems.count; i++)
        print_message("%s: %s (%s)\n", problems.item[i].pointer, problems.item[i].reason,
                      problems.item[i].hint);
    fail_msg("no problem at %s", pointer);
    return NULL;
}

static void a_small_campaign_is_read(void **state)
{
    struct campaign *campaign = NULL;

    (void)state;
    int rc = read_text(
        HEAD "\"on_error\":{\"attempts\":3,\"hang\":\"record\"},\"steps\":["
             "{\"step\":\"power\",\"state\":\"up\"},"
             "{\"step\":\"load\",\"network\":\"vad\",\"adc\":{\"bits\":9,\"gain\":4}},"
             "{\"step\":\"accuracy\",\"dataset\":\"test\",\"samples\":1000,\"on_error\":{\"link\":\"stop\"},"
             "\"limits\":[{\"quantity\":\"accuracy\",\"min\":0.7}]},"
             "{\"step\":\"power\",\"state\":\"down\"}]}",
        &campaign);
    assert_int_equal(rc, 0);
    assert_int_equal(campaign->step_count, 4);
    assert_string_equal(campaign->step[0].name, "power");
    assert_string_equal(campaign->step[3].name, "power 2");
    assert_true(campaign->step[0].u.power.up);
    assert_int_equal(campaign->step[1].u.load.adc.gain, 4);
    const struct campaign_step *step = &campaign->step[2];
    assert_int_equal(step->u.accuracy.batch, 100);
    assert_int_equal(step->u.accuracy.limit_count, 1);
    assert_int_equal(step->policy.attempts, 3);
    assert_int_equal(step->policy.action[ERROR_CLASS_HANG], POLICY_RECORD);
    assert_int_equal(step->policy.action[ERROR_CLASS_LINK], POLICY_STOP);
    assert_int_equal(step->policy.action[ERROR_CLASS_GARBAGE], POLICY_STOP);
    assert_int_equal(step->policy.action[ERROR_CLASS_MISMATCH], POLICY_RECORD);
    campaign_free(campaign);
}

static void every_mistake_is_told_at_once_with_its_place(void **state)
{
    struct campaign *campaign = NULL;

    (void)state;
    int rc =
        read_text(HEAD "\"sede\":4,\"steps\":["
                       "{\"step\":\"acuracy\"},"
                       "{\"step\":\"load\",\"network\":\"vda\",\"adc\":{\"bits\":9,\"gain\":4,\"x\":1}},"
                       "{\"step\":\"accuracy\",\"dataset\":\"test\",\"samples\":0,"
                       "\"limits\":[{\"quantity\":\"acuracy\",\"min\":0.7},{\"quantity\":\"accuracy\"}]},"
                       "{\"step\":\"wait\",\"name\":\"same\",\"seconds\":1},{\"step\":\"wait\",\"name\":"
                       "\"same\",\"seconds\":1},"
                       "{\"step\":\"measure\",\"on_error\":{\"trip\":\"retry\"}}]}",
                  &campaign);
    assert_int_equal(rc, ERR_INVALID);
    assert_null(campaign);
    assert_non_null(strstr(problem_at("/sede")->hint, "seed"));
    assert_non_null(strstr(problem_at("/steps/0/step")->hint, "accuracy"));
    assert_non_null(strstr(problem_at("/steps/1/network")->hint, "vad"));
    problem_at("/steps/1/adc/x");
    problem_at("/steps/2/samples");
    assert_non_null(strstr(problem_at("/steps/2/limits/0/quantity")->hint, "accuracy"));
    problem_at("/steps/2/limits/1");
    problem_at("/steps/4/name");
    problem_at("/steps/5/on_error/trip");
}

static void sweeps_have_rules_of_their_own(void **state)
{
    struct campaign *campaign = NULL;

    (void)state;
    int rc = read_text(
        HEAD
        "\"steps\":[{\"step\":\"sweep\",\"axes\":["
        "{\"name\":\"a\",\"set\":\"adc_bots\",\"list\":[8]},"
        "{\"name\":\"b\",\"set\":\"group.core\",\"list\":[1],\"linear\":{\"from\":0,\"to\":1,\"count\":2}},"
        "{\"zip\":[{\"name\":\"adc_bits\",\"list\":[8,9]},{\"name\":\"adc_gain\",\"list\":[1,2,4]}]},"
        "{\"name\":\"hz\",\"set\":\"spi_hz\",\"log\":{\"from\":-1,\"to\":1,\"count\":2}}],"
        "\"constraints\":[{\"skip\":[{\"axis\":\"adc_bist\",\"is\":\"=\",\"value\":1}],\"reason\":\"r\"}],"
        "\"do\":[{\"step\":\"power\",\"state\":\"up\"}]}]}",
        &campaign);
    assert_int_equal(rc, ERR_INVALID);
    assert_non_null(strstr(problem_at("/steps/0/axes/0/set")->hint, "adc_bits"));
    problem_at("/steps/0/axes/1");
    problem_at("/steps/0/axes/2/zip");
    problem_at("/steps/0/axes/3/log");
    problem_at("/steps/0/constraints/0/skip/0/axis");
    problem_at("/steps/0/constraints/0/skip/0/is");
    problem_at("/steps/0/do/0/step");
}

#define SWEEP_DOING(steps)                                                                                   \
    HEAD "\"steps\":[{\"step\":\"sweep\",\"axes\":[{\"name\":\"adc_bits\",\"list\":[8,9]}],\"do\":[" steps   \
         "]}]}"
#define TEN(name) "{\"step\":\"accuracy\"" name ",\"dataset\":\"test\",\"samples\":10}"

/* Whose reading it is stands before its name, where several steps of a point measure. */
static void steps_of_a_point_are_told_apart(void **state)
{
    static const struct {
        const char *text, *prefix[3];
        int main_step;
    } accepted[] = {
        { SWEEP_DOING("{\"step\":\"wait\",\"seconds\":1}," TEN(",\"name\":\"only\"")), { "", "" }, 1 },
        { SWEEP_DOING(TEN("") "," TEN(",\"name\":\"again\"") ",{\"step\":\"infer\",\"dataset\":\"test\","
                                                             "\"samples\":10}"),
          { "", "again.", "infer." },
          0 },
        { SWEEP_DOING(TEN(",\"name\":\"one\"") ",{\"step\":\"wait\",\"seconds\":1},"
                                               "{\"step\":\"measure\",\"window_s\":1}"),
          { "one.", "", "measure." },
          0 },
    };
    static const struct {
        const char *text, *pointer, *hint;
    } refused[] = {
        { SWEEP_DOING(TEN("") "," TEN("")), "/steps/0/do/1", "name" },
        { SWEEP_DOING(TEN(",\"name\":\"a\"") "," TEN(",\"name\":\"A\"")), "/steps/0/do/1/name", "name" },
        { SWEEP_DOING(TEN("") "," TEN(",\"name\":\"nineteen characters\"")), "/steps/0/do/1/name", "" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof accepted / sizeof *accepted; i++) {
        struct campaign *campaign = NULL;
        assert_int_equal(read_text(accepted[i].text, &campaign), 0);
        const struct step_sweep *sweep = &campaign->step[0].u.sweep;
        assert_int_equal(sweep->main_step, accepted[i].main_step);
        for (int k = 0; k < sweep->do_count; k++)
            assert_string_equal(sweep->step[k].prefix, accepted[i].prefix[k]);
        campaign_free(campaign);
    }
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        struct campaign *campaign = NULL;
        assert_int_equal(read_text(refused[i].text, &campaign), ERR_INVALID);
        assert_non_null(strstr(problem_at(refused[i].pointer)->hint, refused[i].hint));
    }
}

static void canonical_text_does_not_depend_on_writing(void **state)
{
    static const char *const texts[] = { "{ \"b\": [1.0, 2e0], \"a\": {\"y\": null, \"x\": \"t\"} }",
                                         "{\"a\":{\"x\":\"t\",\"y\":null},\"b\":[1,2]}" };
    char *canonical[2];

    (void)state;
    for (int i = 0; i < 2; i++) {
        cJSON *root = NULL;
        assert_int_equal(json_parse(texts[i], strlen(texts[i]), &root, NULL), 0);
        canonical[i] = campaign_canonical(root);
        cJSON_Delete(root);
    }
    assert_string_equal(canonical[0], canonical[1]);
    assert_string_equal(canonical[0], texts[1]);
    free(canonical[0]);
    free(canonical[1]);
}

static void the_campaigns_we_ship_are_read(void **state)
{
    glob_t found;
    int read = 0;

    (void)state;
    assert_int_equal(glob("configs/campaigns/*.json", 0, NULL, &found), 0);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        struct campaign *campaign = NULL;
        struct error err = { 0 };
        if (strstr(found.gl_pathv[i], "schema") != NULL)
            continue;
        memset(&problems, 0, sizeof problems);
        if (campaign_load(found.gl_pathv[i], &campaign, &problems, &err) < 0)
            fail_msg("%s", err.message);
        campaign_free(campaign);
        read++;
    }
    globfree(&found);
    assert_true(read >= 5);
}

/* ---- Page, schema and code ---- */

static bool in_page(const char *page, const char *key)
{
    char quoted[2][80];

    snprintf(quoted[0], sizeof quoted[0], "`%s`", key);
    snprintf(quoted[1], sizeof quoted[1], "\"%s\"", key);
    return strstr(page, quoted[0]) != NULL || strstr(page, quoted[1]) != NULL;
}

static int documented(const cJSON *node, const char *page)
{
    int keys = 0;

    for (const cJSON *child = node->child; child != NULL; child = child->next) {
        if (child->string != NULL && strcmp(child->string, "properties") == 0 && cJSON_IsObject(child)) {
            for (const cJSON *property = child->child; property != NULL; property = property->next) {
                if (!in_page(page, property->string))
                    fail_msg("docs/campaigns.md does not explain \"%s\"", property->string);
                keys++;
            }
        }
        keys += documented(child, page);
    }
    return keys;
}

/* The code refuses keys that are not in its tables: the schema must allow exactly these. */
static void same_keys(const cJSON *definitions, const struct step_type *type)
{
    char name[80];
    int keys = 3;

    snprintf(name, sizeof name, "step_%s", type->name);
    const cJSON *definition = cJSON_GetObjectItemCaseSensitive(definitions, name);
    if (definition == NULL)
        fail_msg("the schema has no step \"%s\"", type->name);
    const cJSON *properties = cJSON_GetObjectItemCaseSensitive(definition, "properties");
    for (const char *const *key = type->keys; *key != NULL; key++, keys++) {
        if (cJSON_GetObjectItemCaseSensitive(properties, *key) == NULL)
            fail_msg("the schema does not allow \"%s\" in \"%s\"", *key, type->name);
    }
    assert_int_equal(cJSON_GetArraySize(properties), keys);
}

static void page_schema_and_code_agree(void **state)
{
    struct error err = { 0 };
    char *page = NULL;
    size_t length;
    cJSON *schema = NULL;

    (void)state;
    assert_int_equal(text_read_file("docs/campaigns.md", 1 << 20, &page, &length, &err), 0);
    assert_int_equal(json_load("configs/campaigns/campaign.schema.json", &schema, &err), 0);
    assert_true(documented(schema, page) > 100);
    const cJSON *definitions = cJSON_GetObjectItemCaseSensitive(schema, "definitions");
    for (int kind = 0; kind < STEP_KIND_COUNT; kind++) {
        same_keys(definitions, step_type_of(kind));
        if (!in_page(page, campaign_step_kind_name(kind)))
            fail_msg("docs/campaigns.md does not explain the step \"%s\"", campaign_step_kind_name(kind));
    }
    cJSON_Delete(schema);
    free(page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_small_campaign_is_read),
        cmocka_unit_test(every_mistake_is_told_at_once_with_its_place),
        cmocka_unit_test(sweeps_have_rules_of_their_own),
        cmocka_unit_test(steps_of_a_point_are_told_apart),
        cmocka_unit_test(canonical_text_does_not_depend_on_writing),
        cmocka_unit_test(the_campaigns_we_ship_are_read),
        cmocka_unit_test(page_schema_and_code_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
