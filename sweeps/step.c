/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * step: the table of kinds, reading a step by it, and the readers that kinds share. */
#include "sweeps/step.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "sweeps/judge.h"

static const struct step_type *const types[STEP_KIND_COUNT] = {
    [STEP_IDENTIFY] = &step_identify_type,   [STEP_CONTACT] = &step_contact_type,
    [STEP_POWER] = &step_power_type,         [STEP_LOAD] = &step_load_type,
    [STEP_BIST] = &step_bist_type,           [STEP_GOLDEN] = &step_golden_type,
    [STEP_ACCURACY] = &step_accuracy_type,   [STEP_INFER] = &step_infer_type,
    [STEP_CALIBRATE] = &step_calibrate_type, [STEP_RECORD] = &step_record_type,
    [STEP_SWEEP] = &step_sweep_type,         [STEP_MEASURE] = &step_measure_type,
    [STEP_WAIT] = &step_wait_type,           [STEP_COMPARE] = &step_compare_type,
    [STEP_REPORT] = &step_report_type,
};

enum { KEYS_MAX = 24 };

const struct step_type *step_type_of(int kind)
{
    return types[kind];
}

const char *campaign_step_kind_name(int kind)
{
    return kind >= 0 && kind < STEP_KIND_COUNT ? types[kind]->name : "unknown";
}

/* Every key of the kind and the three that all kinds have; the rest is refused. */
static void refuse_unknown_keys(const struct json_at *at, const struct step_type *type)
{
    const char *known[KEYS_MAX + 4] = { "step", "name", "on_error" };
    int count = 3;

    for (const char *const *key = type->keys; *key != NULL && count < KEYS_MAX + 3; key++)
        known[count++] = *key;
    json_only(at, known);
}

void step_parse(const struct json_at *at, const struct campaign *campaign, bool within,
                struct campaign_step *ret_step)
{
    const char *names[STEP_KIND_COUNT + 1] = { NULL };

    for (int i = 0; i < STEP_KIND_COUNT; i++)
        names[i] = types[i]->name;

    int kind = json_choice(at, "step", true, names, -1);
    if (kind < 0)
        return;

    const struct step_type *type = types[kind];
    ret_step->kind = kind;
    snprintf(ret_step->pointer, sizeof ret_step->pointer, "%s", at->pointer);
    if (within && !type->in_sweep) {
        struct json_at member = json_member(at, "step", true);
        json_problem(&member, "accuracy, infer, measure or wait", "a sweep cannot do \"%s\" at its points",
                     type->name);
        return; /* nor is it read: a sweep inside a sweep would own memory that nobody frees */
    }
    refuse_unknown_keys(at, type);
    step_text(at, "name", false, ret_step->name, sizeof ret_step->name, "");
    step_policy(at, &campaign->policy, &ret_step->policy);
    type->parse(at, campaign, ret_step);
}

void step_check_needs(const struct plan_state *state, const struct campaign_step *step)
{
    unsigned needs = types[step->kind]->needs;
    bool reference = state->inputs->backend == CAMPAIGN_REFERENCE;

    if (state->partial || (reference && (needs & STEP_NEEDS_CHIP)))
        return; /* not known, or skipped there */
    if (needs & STEP_NEEDS_POWER && !state->powered && !reference)
        step_problem(state, step->pointer, "add {\"step\":\"power\",\"state\":\"up\"} before it",
                     "\"%s\" needs the rails up, and they are down here", types[step->kind]->name);
    if (needs & STEP_NEEDS_NETWORK && state->network < 0)
        step_problem(state, step->pointer, "add a step \"load\" before it", "\"%s\" needs a loaded network",
                     types[step->kind]->name);
    if (needs & STEP_NEEDS_DARK && state->powered)
        step_problem(state, step->pointer, "move it before power up",
                     "\"%s\" needs the rails down, and they are up here", types[step->kind]->name);
}

void step_text(const struct json_at *at, const char *key, bool required, char *out, size_t size,
               const char *fallback)
{
    const char *text = json_string(at, key, required, fallback);

    if (text == NULL)
        text = "";
    if (strlen(text) >= size) {
        struct json_at member = json_member(at, key, false);
        json_problem(&member, "", "longer than %zu characters", size - 1);
        text = "";
    }
    snprintf(out, size, "%s", text);
}

int step_network(const struct json_at *at, const struct campaign *campaign)
{
    const char *names[CAMPAIGN_NETWORKS_MAX + 1] = { NULL };

    for (int i = 0; i < campaign->network_count; i++)
        names[i] = campaign->network[i].name;
    return json_choice(at, "network", true, names, -1);
}

int step_dataset(const struct json_at *at, const struct campaign *campaign, bool required)
{
    const char *names[CAMPAIGN_DATASETS_MAX + 1] = { NULL };

    for (int i = 0; i < campaign->dataset_count; i++)
        names[i] = campaign->dataset[i].name;
    return json_choice(at, "dataset", required, names, -1);
}

bool step_adc(const struct json_at *at, const char *key, bool required, struct adc_config *ret_adc)
{
    static const char *const known[] = { "bits", "gain", NULL };
    struct json_at adc = json_member(at, key, required);

    if (adc.node == NULL)
        return false;
    json_only(&adc, known);
    ret_adc->bits = (int)json_integer(&adc, "bits", true, 1, 16, ret_adc->bits);
    ret_adc->gain = (int)json_integer(&adc, "gain", true, 1, 64, ret_adc->gain);
    return true;
}

int step_limits(const struct json_at *at, struct campaign_limit *ret_limit)
{
    static const char *const known[] = { "quantity", "min", "max", NULL };
    struct json_at limits = json_member(at, "limits", false);
    int count = json_count(&limits);

    if (count > CAMPAIGN_LIMITS_MAX) {
        json_problem(&limits, "", "more than %d limits", CAMPAIGN_LIMITS_MAX);
        count = CAMPAIGN_LIMITS_MAX;
    }
    for (int i = 0; i < count; i++) {
        struct json_at item = json_element(&limits, i);
        struct campaign_limit *limit = &ret_limit[i];

        json_only(&item, known);
        int quantity = json_choice(&item, "quantity", true, quantity_names(), -1);
        snprintf(limit->quantity, sizeof limit->quantity, "%s",
                 quantity >= 0 ? quantity_info(quantity)->name : "");
        limit->min = json_double(&item, "min", false, -1e30, 1e30, NAN);
        limit->max = json_double(&item, "max", false, -1e30, 1e30, NAN);
        snprintf(limit->pointer, sizeof limit->pointer, "%s", item.pointer);
        if (isnan(limit->min) && isnan(limit->max))
            json_problem(&item, "give \"min\", \"max\" or both", "a limit without bounds limits nothing");
        else if (limit->min > limit->max)
            json_problem(&item, "", "min %g is above max %g", limit->min, limit->max);
    }
    return count;
}

void step_policy(const struct json_at *at, const struct campaign_policy *fallback,
                 struct campaign_policy *ret_policy)
{
    static const char *const actions[] = {
        [POLICY_RETRY] = "retry", [POLICY_RECOVER] = "recover",         [POLICY_RECORD] = "record",
        [POLICY_STOP] = "stop",   [POLICY_RECALIBRATE] = "recalibrate", [POLICY_HOLD] = "hold",
        [POLICY_HOLD + 1] = NULL
    };
    static const char *const thens[] = { "record", "stop", "hold", NULL };
    static const int then_actions[] = { POLICY_RECORD, POLICY_STOP, POLICY_HOLD };
    const char *known[ERROR_CLASS_COUNT + 4] = { "attempts", "backoff_s", "then" };
    struct json_at policy = json_member(at, "on_error", false);

    *ret_policy = *fallback;
    if (policy.node == NULL)
        return;
    memcpy(known + 3, judge_error_class_names(), ERROR_CLASS_COUNT * sizeof *known);
    json_only(&policy, known);
    int then = json_choice(&policy, "then", false, thens, -1);
    if (then >= 0)
        ret_policy->then = then_actions[then];
    ret_policy->backoff_s = json_double(&policy, "backoff_s", false, 0.0, 3600.0, fallback->backoff_s);
    ret_policy->attempts =
        (int)json_integer(&policy, "attempts", false, 1, CAMPAIGN_ATTEMPTS_MAX, fallback->attempts);
    for (int i = 0; i < ERROR_CLASS_COUNT; i++) {
        const char *key = judge_error_class_names()[i];
        bool in_link = i == ERROR_CLASS_TIMEOUT || i == ERROR_CLASS_NO_ANSWER || i == ERROR_CLASS_GARBAGE;
        bool link_said = json_member(&policy, "link", false).node != NULL;
        int otherwise = in_link && link_said ? ret_policy->action[ERROR_CLASS_LINK] : fallback->action[i];
        ret_policy->action[i] = json_choice(&policy, key, false, actions, otherwise);
    }
    if (ret_policy->action[ERROR_CLASS_TRIP] != POLICY_STOP) {
        struct json_at trip = json_member(&policy, "trip", false);
        json_problem(&trip, "stop",
                     "a trip is latched until a person clears it: a campaign cannot go on after one");
    }
}

/* "8, 9, 10" */
static void list_choices(const int *value, int count, char *out, size_t size)
{
    size_t used = 0;

    out[0] = '\0';
    for (int i = 0; i < count && used < size; i++)
        used += (size_t)snprintf(out + used, size - used, "%s%d", i ? ", " : "", value[i]);
}

void step_check_bits(const struct plan_state *state, const char *pointer, int bits)
{
    const struct chip_profile *profile = state->inputs->profile;
    char hint[160];

    if (profile_has_bits(profile, bits))
        return;
    list_choices(profile->adc.bits, profile->adc.bits_count, hint, sizeof hint);
    step_problem(state, pointer, hint, "%s has no converter setting of %d bits", profile->type, bits);
}

void step_check_gain(const struct plan_state *state, const char *pointer, int gain)
{
    const struct chip_profile *profile = state->inputs->profile;
    char hint[160];

    if (profile_gain_code(profile, gain) >= 0)
        return;
    list_choices(profile->adc.gain, profile->adc.gain_count, hint, sizeof hint);
    step_problem(state, pointer, hint, "%s has no gain of %dx", profile->type, gain);
}

void step_check_adc(const struct plan_state *state, const struct campaign_step *step,
                    const struct adc_config *adc)
{
    char pointer[JSON_POINTER_MAX + 16];

    snprintf(pointer, sizeof pointer, "%s/adc/bits", step->pointer);
    step_check_bits(state, pointer, adc->bits);
    snprintf(pointer, sizeof pointer, "%s/adc/gain", step->pointer);
    step_check_gain(state, pointer, adc->gain);
}

void step_problem(const struct plan_state *state, const char *pointer, const char *hint, const char *format,
                  ...)
{
    struct json_at at = { .problems = state->problems };
    char text[240];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    snprintf(at.pointer, sizeof at.pointer, "%s", pointer);
    json_problem(&at, hint, "%s", text);
}
