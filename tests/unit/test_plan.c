/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_plan: what a campaign becomes on our simulated bench and chip: cells, set-points, refusals, hash,
 * estimates. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chip/profile.h"
#include "sweeps/plan.h"
#include "sweeps/power.h"

#define HEAD                                                                                                 \
    "{\"format\":\"nightbench-campaign\",\"version\":1,\"name\":\"t\",\"bench\":\"b.json\",\"log_period_"    \
    "s\":"                                                                                                   \
    "0.1,\"networks\":{\"vad\":\"n.json\"},\"datasets\":{\"test\":{\"path\":\"d.nbds\"}},\"steps\":["
#define UP   "{\"step\":\"power\",\"state\":\"up\"},"
#define LOAD "{\"step\":\"load\",\"network\":\"vad\",\"adc\":{\"bits\":9,\"gain\":4}},"
#define ACC  "{\"step\":\"accuracy\",\"dataset\":\"test\",\"samples\":100}"

struct fixture {
    struct bench_file *bench;
    struct chip_profile *profile;
    struct assets assets;
    struct campaign *campaign;
    struct json_problems problems;
    struct error err;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    if (bench_file_load("configs/benches/sim-adelia2.json", &f->bench, &f->problems, &f->err) < 0 ||
        profile_load("configs/chips/adelia2.json", &f->profile, &f->err) < 0)
        fail_msg("%s", f->err.message);
    /* Sizes of the real network, without its files. */
    f->assets.network_count = f->assets.dataset_count = 1;
    f->assets.network[0] = (struct asset_network){ .cycles = { 28000, 30000, 32000 },
                                                   .macs = 1238256,
                                                   .input_bytes = 832,
                                                   .input_copies = 1,
                                                   .output_bytes = 4,
                                                   .image_bytes = 50000,
                                                   .stages = 7 };
    f->assets.dataset[0] = (struct asset_dataset){ .count = 4000, .sample_bytes = 832 };
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    campaign_free(f->campaign);
    bench_file_free(f->bench);
    profile_free(f->profile);
    free(f);
    return 0;
}

static int build(struct fixture *f, const char *text, int backend, uint64_t seed, struct plan **ret_plan)
{
    cJSON *root = NULL;

    campaign_free(f->campaign);
    f->campaign = NULL;
    memset(&f->problems, 0, sizeof f->problems);
    if (json_parse(text, strlen(text), &root, &f->err) < 0 ||
        campaign_read(root, "test", &f->campaign, &f->problems, &f->err) < 0)
        fail_msg("%s", f->err.message);
    cJSON_Delete(root);
    struct plan_inputs inputs = { .campaign = f->campaign,
                                  .bench = f->bench,
                                  .profile = f->profile,
                                  .assets = &f->assets,
                                  .backend = backend,
                                  .seed = seed };
    return plan_build(&inputs, ret_plan, &f->problems, &f->err);
}

static struct plan *must_build(struct fixture *f, const char *text, int backend, uint64_t seed)
{
    struct plan *plan = NULL;

    if (build(f, text, backend, seed, &plan) < 0)
        fail_msg("%s", f->err.message);
    return plan;
}

/* The problem at a pointer; the test fails when there is none. */
static const struct json_problem *refused_at(struct fixture *f, const char *text, const char *pointer)
{
    struct plan *plan = NULL;

    assert_int_equal(build(f, text, CAMPAIGN_CHIP, 0, &plan), ERR_INVALID);
    assert_null(plan);
    for (int i = 0; i < f->problems.count; i++) {
        if (strcmp(f->problems.item[i].pointer, pointer) == 0)
            return &f->problems.item[i];
    }
    for (int i = 0; i < f->problems.count; i++)
        print_message("%s: %s\n", f->problems.item[i].pointer, f->problems.item[i].reason);
    fail_msg("nothing is refused at %s", pointer);
    return NULL;
}

static const char sweep_text[] = HEAD UP LOAD
    "{\"step\":\"sweep\",\"name\":\"s\",\"axes\":[{\"name\":\"adc_gain\",\"list\":[1,2,4]},"
    "{\"name\":\"vdd_v\",\"set\":\"group.core\",\"linear\":{\"from\":0.72,\"to\":0.88,\"count\":3}}],"
    "\"constraints\":[{\"skip\":[{\"axis\":\"adc_gain\",\"is\":\"==\",\"value\":2},{\"axis\":\"vdd_v\","
    "\"is\":\"<\","
    "\"value\":0.75}],\"reason\":\"not wanted\"}],\"do\":[" ACC "]}]}";

static void cells_are_numbered_named_and_skipped(void **state)
{
    struct plan *plan = must_build(*state, sweep_text, CAMPAIGN_CHIP, 0);

    assert_int_equal(plan->cell_count, 9);
    assert_string_equal(plan->cell[0].axes_json, "{\"adc_gain\":1,\"vdd_v\":0.72}");
    assert_string_equal(plan->cell[8].axes_json, "{\"adc_gain\":4,\"vdd_v\":0.88}");
    assert_string_equal(plan->cell[1].skip, "not wanted");
    assert_int_equal(plan->sample_count, 800);
    for (int i = 0; i < 9; i++) {
        assert_int_equal(plan->cell[i].index, i);
        assert_int_equal(strlen(plan->cell[i].identity), 64);
        for (int k = 0; k < i; k++)
            assert_string_not_equal(plan->cell[i].identity, plan->cell[k].identity);
    }
    plan_free(plan);
}

static void identity_is_of_the_values_and_not_of_their_order(void **state)
{
    struct plan *a = must_build(*state, sweep_text, CAMPAIGN_CHIP, 0);
    char identity[SHA256_HEX], text[sizeof sweep_text + 40];

    snprintf(identity, sizeof identity, "%s", a->cell[0].identity);
    plan_free(a);
    /* The same sweep the other way round. */
    const char *cut = strstr(sweep_text, "\"constraints\"");
    snprintf(text, sizeof text, "%.*s\"order\":\"random\",%s", (int)(cut - sweep_text), sweep_text, cut);
    struct plan *b = must_build(*state, text, CAMPAIGN_CHIP, 3);
    bool found = false;
    for (int i = 0; i < b->cell_count; i++)
        found = found || (strcmp(b->cell[i].identity, identity) == 0 &&
                          strcmp(b->cell[i].axes_json, "{\"adc_gain\":1,\"vdd_v\":0.72}") == 0);
    assert_true(found);
    plan_free(b);
}

static void the_hash_is_of_everything_that_decides(void **state)
{
    struct fixture *f = *state;
    char hash[SHA256_HEX];
    struct plan *plan = must_build(f, sweep_text, CAMPAIGN_CHIP, 1);

    snprintf(hash, sizeof hash, "%s", plan->hash);
    plan_free(plan);
    plan = must_build(f, sweep_text, CAMPAIGN_CHIP, 1);
    assert_string_equal(plan->hash, hash);
    plan_free(plan);
    plan = must_build(f, sweep_text, CAMPAIGN_CHIP, 2);
    assert_string_not_equal(plan->hash, hash);
    plan_free(plan);
    plan = must_build(f, sweep_text, CAMPAIGN_REFERENCE, 1);
    assert_string_not_equal(plan->hash, hash);
    plan_free(plan);
    f->assets.dataset[0].hash[0] = 'x';
    plan = must_build(f, sweep_text, CAMPAIGN_CHIP, 1);
    assert_string_not_equal(plan->hash, hash);
    plan_free(plan);
}

static void values_beyond_limits_are_refused_with_the_nearest(void **state)
{
    const struct json_problem *problem = refused_at(
        *state,
        HEAD UP LOAD
        "{\"step\":\"sweep\",\"axes\":[{\"name\":\"vdd_v\",\"set\":\"group.core\",\"list\":[0.8,1.2]}],"
        "\"do\":[" ACC "]}]}",
        "/steps/2/axes/0/list/1");
    assert_non_null(strstr(problem->hint, "0.9"));
    assert_non_null(strstr(problem->reason, "VDDD"));
    assert_non_null(strstr(problem->reason, "1.2"));

    problem =
        refused_at(*state, HEAD "{\"step\":\"power\",\"state\":\"up\",\"core_v\":0.3}]}", "/steps/0/core_v");
    assert_non_null(strstr(problem->hint, "0.6"));
    problem =
        refused_at(*state,
                   HEAD UP LOAD "{\"step\":\"sweep\",\"axes\":[{\"name\":\"adc_bits\",\"list\":[9,11]}],"
                                "\"do\":[" ACC "]}]}",
                   "/steps/2/axes/0/list/1");
    assert_non_null(strstr(problem->hint, "8, 9, 10"));
    problem = refused_at(*state,
                         HEAD UP LOAD
                         "{\"step\":\"sweep\",\"axes\":[{\"name\":\"x\",\"set\":\"rail.VDDX\",\"list\":[1]}],"
                         "\"do\":[" ACC "]}]}",
                         "/steps/2/axes/0");
    assert_non_null(strstr(problem->hint, "VDD"));
}

static void steps_in_a_wrong_order_are_refused(void **state)
{
    refused_at(*state, HEAD ACC "]}", "/steps/0");
    refused_at(*state, HEAD UP ACC "]}", "/steps/1");
    refused_at(*state, HEAD UP "{\"step\":\"contact\"}]}", "/steps/1");
    refused_at(*state, HEAD UP UP LOAD ACC "]}", "/steps/1");
    refused_at(*state, HEAD "{\"step\":\"identify\",\"what\":\"chip\"}]}", "/steps/0");
    refused_at(*state, HEAD UP LOAD "{\"step\":\"power\",\"state\":\"down\"}," UP ACC "]}", "/steps/4");
    refused_at(*state, HEAD UP LOAD "{\"step\":\"accuracy\",\"dataset\":\"test\",\"samples\":4001}]}",
               "/steps/2/samples");
    refused_at(*state, HEAD UP LOAD ACC ",{\"step\":\"compare\",\"a\":\"accuracy\",\"b\":\"acuracy\"}]}",
               "/steps/3");
    refused_at(*state, HEAD UP "{\"step\":\"record\",\"test_bus\":[\"VREF\",\"VREG\"]}]}",
               "/steps/1/test_bus/1");
}

static void every_setpoint_is_listed_within_its_limits(void **state)
{
    struct plan *plan = must_build(*state, sweep_text, CAMPAIGN_CHIP, 0);
    int core = 0;

    assert_true(plan->setpoint_count >= 8 + 2 * 4);
    for (int i = 0; i < plan->setpoint_count; i++) {
        assert_true(plan->setpoint[i].volt_v >= plan->setpoint[i].min_v);
        assert_true(plan->setpoint[i].volt_v <= plan->setpoint[i].max_v);
        core += strcmp(plan->setpoint[i].rail, "VDDADC") == 0;
    }
    assert_int_equal(core, 3);
    plan_free(plan);
}

/* Everything that an output is asked for: the contact check's force and the calibration's source too. */
static void forces_and_source_voltages_are_set_points(void **state)
{
    struct plan *plan =
        must_build(*state, HEAD "{\"step\":\"contact\"}," UP "{\"step\":\"calibrate\"}]}", CAMPAIGN_CHIP, 0);
    const struct fixture *f = *state;
    const char *source = f->bench->channel[f->bench->source_channel].name;
    double low_v = INFINITY, high_v = -INFINITY;
    int forced = 0, applied = 0;

    for (int i = 0; i < plan->setpoint_count; i++) {
        const struct plan_setpoint *setpoint = &plan->setpoint[i];
        assert_true(setpoint->volt_v >= setpoint->min_v && setpoint->volt_v <= setpoint->max_v);
        if (setpoint->step == 0) {
            assert_true(setpoint->volt_v == 0.2 && setpoint->limit_a <= 0.02);
            forced++;
        } else if (strcmp(setpoint->rail, source) == 0) {
            assert_int_equal(setpoint->step, 2);
            low_v = fmin(low_v, setpoint->volt_v);
            high_v = fmax(high_v, setpoint->volt_v);
            applied++;
        }
    }
    assert_int_equal(forced, f->profile->rail_count);
    assert_int_equal(applied, 3 * 4);
    assert_true(fabs(low_v - 0.06) < 0.001 && fabs(high_v - 0.54) < 0.001);
    plan_free(plan);
}

/* One pass over the rails must fit: else there is no figure in the morning. */
static void a_short_energy_window_is_noted(void **state)
{
#define ENERGY(window, more)                                                                                 \
    HEAD UP LOAD                                                                                             \
        "{\"step\":\"accuracy\",\"dataset\":\"test\",\"samples\":10,\"energy_window_s\":" window more "}]}"
    struct plan *plan = must_build(*state, ENERGY("0.01", ""), CAMPAIGN_CHIP, 0);
    cJSON *root = plan_json(plan);
    const cJSON *step = cJSON_GetArrayItem(cJSON_GetObjectItem(root, "steps"), 2);

    assert_non_null(strstr(plan->step[2].note, "too short"));
    assert_string_equal(cJSON_GetObjectItem(step, "note")->valuestring, plan->step[2].note);
    cJSON_Delete(root);
    plan_free(plan);

    plan = must_build(*state, ENERGY("1", ",\"compute_repeat\":10"), CAMPAIGN_CHIP, 0);
    assert_string_equal(plan->step[2].note, "");
    plan_free(plan);
}

static void the_reference_skips_what_needs_a_chip(void **state)
{
    struct plan *plan =
        must_build(*state, HEAD UP LOAD "{\"step\":\"bist\"}," ACC "]}", CAMPAIGN_REFERENCE, 0);

    assert_int_equal(plan->cell_count, 2);
    assert_string_not_equal(plan->cell[0].skip, "");
    assert_string_equal(plan->cell[1].skip, "");
    assert_true(plan->duration_s == 0.0);
    plan_free(plan);
}

static void more_samples_take_more_time_and_bytes(void **state)
{
    struct plan *few = must_build(*state, HEAD UP LOAD ACC "]}", CAMPAIGN_CHIP, 0);
    double seconds = few->duration_s, bytes = few->bytes;

    plan_free(few);
    struct plan *many =
        must_build(*state, HEAD UP LOAD "{\"step\":\"accuracy\",\"dataset\":\"test\",\"samples\":4000}]}",
                   CAMPAIGN_CHIP, 0);
    /* At least the compute time and the wire time of the rest. */
    assert_true(many->duration_s - seconds > 3900 * (30000 / 100e6 + 832 * 8 / 20e6));
    assert_true(many->bytes > bytes + 3900 * 30);
    plan_free(many);
}

static void moves_are_cut_into_small_steps(void **state)
{
    struct fixture *f = *state;
    double from[PROFILE_RAILS_MAX], to[PROFILE_RAILS_MAX];

    power_targets(f->profile, NULL, 0.0, from);
    power_targets(f->profile, "core", 0.88, to);
    assert_int_equal(power_steps(f->profile, from, to), 2);
    to[0] = NAN; /* a rail that stays counts for nothing */
    assert_int_equal(power_steps(f->profile, from, to), 2);
    power_targets(f->profile, "core", 0.5, to);
    assert_int_equal(power_steps(f->profile, from, to), 6);
    assert_true(fabs(power_ramp_s(f->profile, from, to) - 0.3 / 20.0) < 1e-9);
    assert_int_equal(power_steps(f->profile, from, from), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(cells_are_numbered_named_and_skipped, setup, teardown),
        cmocka_unit_test_setup_teardown(identity_is_of_the_values_and_not_of_their_order, setup, teardown),
        cmocka_unit_test_setup_teardown(the_hash_is_of_everything_that_decides, setup, teardown),
        cmocka_unit_test_setup_teardown(values_beyond_limits_are_refused_with_the_nearest, setup, teardown),
        cmocka_unit_test_setup_teardown(steps_in_a_wrong_order_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(every_setpoint_is_listed_within_its_limits, setup, teardown),
        cmocka_unit_test_setup_teardown(a_short_energy_window_is_noted, setup, teardown),
        cmocka_unit_test_setup_teardown(forces_and_source_voltages_are_set_points, setup, teardown),
        cmocka_unit_test_setup_teardown(the_reference_skips_what_needs_a_chip, setup, teardown),
        cmocka_unit_test_setup_teardown(more_samples_take_more_time_and_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(moves_are_cut_into_small_steps, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
