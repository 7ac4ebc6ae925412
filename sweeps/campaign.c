/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * campaign: reads the document's own members and hands each step to its kind. */
#include "sweeps/campaign.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/text.h"
#include "daemon/base/walltime.h"
#include "sweeps/step.h"

static const char *const top_keys[] = {
    "format",       "version",       "name",     "title",    "bench",    "backend",
    "seed",         "chips",         "networks", "datasets", "on_error", "log_period_s",
    "retry_budget", "time_budget_s", "until",    "rules",    "steps",    NULL
};

/* What happens when a campaign says nothing: a link is tried again, a hung chip is power-cycled, a wrong
 * result is a result. */
static const struct campaign_policy default_policy = {
    .attempts = 2,
    .then = POLICY_RECORD,
    .backoff_s = 0.1,
    .action = { [ERROR_CLASS_LINK] = POLICY_RETRY,
                [ERROR_CLASS_TIMEOUT] = POLICY_RETRY,
                [ERROR_CLASS_NO_ANSWER] = POLICY_RETRY,
                [ERROR_CLASS_GARBAGE] = POLICY_RETRY,
                [ERROR_CLASS_REFUSED] = POLICY_STOP,
                [ERROR_CLASS_RANGE] = POLICY_STOP,
                [ERROR_CLASS_COMPLIANCE] = POLICY_STOP,
                [ERROR_CLASS_IDENTITY] = POLICY_STOP,
                [ERROR_CLASS_HANG] = POLICY_RECOVER,
                [ERROR_CLASS_MISMATCH] = POLICY_RECORD,
                [ERROR_CLASS_CALIBRATION] = POLICY_RECORD,
                [ERROR_CLASS_TRIP] = POLICY_STOP,
                [ERROR_CLASS_OTHER] = POLICY_STOP },
};

#define RULE_EVERY_MIN_S 1.0

static void read_format(const struct json_at *at)
{
    const char *format = json_string(at, "format", true, "");

    if (format != NULL && format[0] != '\0' && strcmp(format, "nightbench-campaign") != 0) {
        struct json_at member = json_member(at, "format", true);
        json_problem(&member, "nightbench-campaign", "this is a \"%s\", not a campaign", format);
    }
    json_integer(at, "version", true, 1, 1, 1);
}

static void read_time(const struct json_at *at, struct campaign *campaign)
{
    struct json_at member = json_member(at, "until", false);
    struct error why;
    int64_t ns;

    campaign->time_budget_s = json_double(at, "time_budget_s", false, 0.0, 1e8, 0.0);
    step_text(at, "until", false, campaign->until, sizeof campaign->until, "");
    if (campaign->until[0] != '\0' && walltime_parse(campaign->until, 0, &ns, &why) != 0)
        json_problem(&member, "07:30", "%.200s", why.message);
}

static void read_chips(const struct json_at *at, struct campaign *campaign)
{
    struct json_at chips = json_member(at, "chips", false);
    int count = json_count(&chips);

    if (count > CAMPAIGN_CHIPS_MAX) {
        json_problem(&chips, "", "more than %d chips", CAMPAIGN_CHIPS_MAX);
        count = CAMPAIGN_CHIPS_MAX;
    }
    for (int i = 0; i < count; i++) {
        struct json_at item = json_element(&chips, i);
        if (!cJSON_IsString(item.node) || strlen(item.node->valuestring) >= CAMPAIGN_NAME_MAX)
            json_problem(&item, "\"lot-wafer-x-y-serial\" as the step identify prints it",
                         "not the serial of a chip");
        else
            snprintf(campaign->chip[campaign->chip_count++], CAMPAIGN_NAME_MAX, "%s", item.node->valuestring);
    }
}

static void read_networks(const struct json_at *at, struct campaign *campaign)
{
    struct json_at networks = json_member(at, "networks", false);

    if (networks.node == NULL)
        return;
    if (!cJSON_IsObject(networks.node)) {
        json_problem(&networks, "{\"name\":\"path\"}", "must be an object of names and paths");
        return;
    }
    for (const cJSON *child = networks.node->child; child != NULL; child = child->next) {
        if (campaign->network_count == CAMPAIGN_NETWORKS_MAX) {
            json_problem(&networks, "", "more than %d networks", CAMPAIGN_NETWORKS_MAX);
            return;
        }
        struct campaign_network *network = &campaign->network[campaign->network_count++];
        struct json_at member = json_member(&networks, child->string, true);
        snprintf(network->pointer, sizeof network->pointer, "%s", member.pointer);
        snprintf(network->name, sizeof network->name, "%s", child->string);
        step_text(&networks, child->string, true, network->path, sizeof network->path, "");
    }
}

static void read_datasets(const struct json_at *at, struct campaign *campaign)
{
    static const char *const known[] = { "path", "shuffle_labels", NULL };
    struct json_at datasets = json_member(at, "datasets", false);

    if (datasets.node == NULL)
        return;
    if (!cJSON_IsObject(datasets.node)) {
        json_problem(&datasets, "{\"name\":{\"path\":\"...\"}}", "must be an object of names and data sets");
        return;
    }
    for (const cJSON *child = datasets.node->child; child != NULL; child = child->next) {
        if (campaign->dataset_count == CAMPAIGN_DATASETS_MAX) {
            json_problem(&datasets, "", "more than %d data sets", CAMPAIGN_DATASETS_MAX);
            return;
        }
        struct campaign_dataset *dataset = &campaign->dataset[campaign->dataset_count++];
        struct json_at member = json_member(&datasets, child->string, true);
        snprintf(dataset->pointer, sizeof dataset->pointer, "%s", member.pointer);
        snprintf(dataset->name, sizeof dataset->name, "%s", child->string);
        json_only(&member, known);
        step_text(&member, "path", true, dataset->path, sizeof dataset->path, "");
        dataset->shuffle_labels = (uint64_t)json_integer(&member, "shuffle_labels", false, 0, INT32_MAX, 0);
    }
}

/* Every step of the campaign, those of its rules behind the others; NULL behind the last. */
static struct campaign_step *step_at(struct campaign *campaign, int index)
{
    if (index < campaign->step_count)
        return &campaign->step[index];
    index -= campaign->step_count;
    for (int i = 0; i < campaign->rule_count; i++) {
        if (index < campaign->rule[i].step_count)
            return &campaign->rule[i].step[index];
        index -= campaign->rule[i].step_count;
    }
    return NULL;
}

/* Steps without a name are called after their kind, numbered from the second on: names are identities of
 * points. */
static void name_steps(struct campaign *campaign, struct json_problems *problems)
{
    struct campaign_step *step, *other;

    for (int i = 0; (step = step_at(campaign, i)) != NULL; i++) {
        int same = 1;

        if (step->name[0] != '\0')
            continue;
        for (int k = 0; k < i; k++)
            same += step_at(campaign, k)->kind == step->kind;
        if (same == 1)
            snprintf(step->name, sizeof step->name, "%s", campaign_step_kind_name(step->kind));
        else
            snprintf(step->name, sizeof step->name, "%s %d", campaign_step_kind_name(step->kind), same);
    }
    for (int i = 0; (step = step_at(campaign, i)) != NULL; i++) {
        for (int k = 0; k < i && (other = step_at(campaign, k)) != NULL; k++) {
            if (strcmp(step->name, other->name) != 0)
                continue;
            struct json_at at = { .problems = problems };
            snprintf(at.pointer, sizeof at.pointer, "%.*s/name", JSON_POINTER_MAX - 6, step->pointer);
            json_problem(&at, "", "\"%s\" is already the name of step %d", step->name, k);
        }
    }
}

static void read_steps(const struct json_at *at, struct campaign *campaign)
{
    struct json_at steps = json_member(at, "steps", true);
    int count = json_count(&steps);

    if (steps.node != NULL && !cJSON_IsArray(steps.node)) {
        json_problem(&steps, "[ {\"step\":\"identify\"}, ... ]", "must be a list of steps");
        return;
    }
    if (steps.node != NULL && count == 0)
        json_problem(&steps, "", "a campaign without steps does nothing");
    if (count > CAMPAIGN_STEPS_MAX) {
        json_problem(&steps, "", "more than %d steps", CAMPAIGN_STEPS_MAX);
        count = CAMPAIGN_STEPS_MAX;
    }
    for (int i = 0; i < count; i++) {
        struct json_at item = json_element(&steps, i);
        step_parse(&item, campaign, false, &campaign->step[i]);
        if (campaign->step[i].pointer[0] == '\0') /* of no known kind: reported, keeps its place */
            snprintf(campaign->step[i].pointer, JSON_POINTER_MAX, "%s", item.pointer);
        campaign->step_count = i + 1;
    }
}

/* "every": "2h". */
static double read_every(const struct json_at *at)
{
    struct json_at member = json_member(at, "every", false);
    const char *text = json_string(at, "every", true, "");
    double seconds = 0.0;

    if (text[0] != '\0' && (!walltime_duration(text, &seconds) || seconds < RULE_EVERY_MIN_S))
        json_problem(&member, "2h", "\"%.40s\" is no time of at least %g s", text, RULE_EVERY_MIN_S);
    return seconds;
}

/* A rule's steps make points, so that each execution is an attempt; and leave the rails as they are. */
static bool fits_a_rule(int kind)
{
    return kind == STEP_CALIBRATE || kind == STEP_GOLDEN || kind == STEP_BIST || kind == STEP_ACCURACY ||
           kind == STEP_INFER || kind == STEP_MEASURE || kind == STEP_RECORD;
}

static void read_rule_steps(const struct json_at *at, const struct campaign *campaign,
                            struct campaign_rule *rule)
{
    struct json_at steps = json_member(at, "steps", true);
    int count = json_count(&steps);

    if (steps.node != NULL && (!cJSON_IsArray(steps.node) || count < 1 || count > CAMPAIGN_DO_MAX)) {
        json_problem(&steps, "[ {\"step\":\"calibrate\"} ]", "needs a list of 1 to %d steps",
                     CAMPAIGN_DO_MAX);
        return;
    }
    for (int i = 0; i < count; i++) {
        struct json_at item = json_element(&steps, i);
        const cJSON *kind = cJSON_GetObjectItemCaseSensitive(item.node, "step");
        struct campaign_step *step = &rule->step[rule->step_count++];
        if (cJSON_IsString(kind) && strcmp(kind->valuestring, "sweep") == 0) {
            struct json_at member = json_member(&item, "step", true);
            json_problem(&member, "calibrate", "a rule is what is done between the points of a sweep");
            continue; /* nor is it read: nobody would free its steps */
        }
        int before = at->problems->count;
        step_parse(&item, campaign, false, step);
        if (step->pointer[0] == '\0')
            snprintf(step->pointer, sizeof step->pointer, "%s", item.pointer);
        if (at->problems->count == before && !fits_a_rule(step->kind)) {
            struct json_at member = json_member(&item, "step", true);
            json_problem(&member, "calibrate, golden, bist, accuracy, infer, measure or record",
                         "a rule cannot do \"%s\"", campaign_step_kind_name(step->kind));
        }
    }
}

static void read_rules(const struct json_at *at, struct campaign *campaign)
{
    static const char *const known[] = { "name", "every", "steps", NULL };
    struct json_at rules = json_member(at, "rules", false);
    int count = json_count(&rules);

    if (rules.node != NULL && (!cJSON_IsArray(rules.node) || count > CAMPAIGN_RULES_MAX)) {
        json_problem(&rules, "[ {\"every\":\"2h\",\"steps\":[ {\"step\":\"calibrate\"} ]} ]",
                     "must be a list of at most %d rules", CAMPAIGN_RULES_MAX);
        return;
    }
    for (int i = 0; i < count; i++) {
        struct json_at item = json_element(&rules, i);
        struct campaign_rule *rule = &campaign->rule[campaign->rule_count++];
        json_only(&item, known);
        snprintf(rule->pointer, sizeof rule->pointer, "%s", item.pointer);
        step_text(&item, "name", false, rule->name, sizeof rule->name, "");
        rule->every_s = read_every(&item);
        read_rule_steps(&item, campaign, rule);
        if (rule->name[0] == '\0')
            snprintf(rule->name, sizeof rule->name, "every %.20s: %.30s",
                     json_string(&item, "every", false, ""),
                     rule->step_count > 0 ? campaign_step_kind_name(rule->step[0].kind) : "");
    }
}

int campaign_read_partly(const cJSON *root, const char *label, struct campaign **ret_campaign,
                         struct json_problems *problems, struct error *err)
{
    static const char *const backends[] = { "chip", "reference", NULL };
    struct campaign *campaign = calloc(1, sizeof *campaign);

    if (campaign == NULL)
        return error_set(err, ERR_MEMORY, "%s: no memory for a campaign", label);

    struct json_at at = json_root(root, problems);
    campaign->policy = default_policy;
    json_only(&at, top_keys);
    read_format(&at);
    step_text(&at, "name", true, campaign->name, sizeof campaign->name, "");
    step_text(&at, "title", false, campaign->title, sizeof campaign->title, "");
    step_text(&at, "bench", true, campaign->bench, sizeof campaign->bench, "");
    campaign->backend = json_choice(&at, "backend", false, backends, CAMPAIGN_CHIP);
    campaign->seed = (uint64_t)json_integer(&at, "seed", false, 0, INT64_C(1) << 53, 1);
    campaign->log_period_s = json_double(&at, "log_period_s", false, 0.0, 3600.0, 0.0);
    campaign->retry_budget = (int)json_integer(&at, "retry_budget", false, 0, 100000, 20);
    read_time(&at, campaign);
    step_policy(&at, &default_policy, &campaign->policy);
    read_chips(&at, campaign);
    read_networks(&at, campaign);
    read_datasets(&at, campaign);
    read_steps(&at, campaign);
    read_rules(&at, campaign);
    name_steps(campaign, problems);
    campaign->json = campaign_canonical(root);
    if (campaign->json == NULL) {
        campaign_free(campaign);
        return error_set(err, ERR_MEMORY, "%s: no memory for a campaign", label);
    }
    *ret_campaign = campaign;
    return 0;
}

int campaign_read(const cJSON *root, const char *label, struct campaign **ret_campaign,
                  struct json_problems *problems, struct error *err)
{
    int before = problems->count;
    struct campaign *campaign = NULL;
    int rc = campaign_read_partly(root, label, &campaign, problems, err);

    if (rc < 0)
        return rc;
    if (problems->count > before) {
        campaign_free(campaign);
        return json_problems_error(problems, label, err);
    }
    *ret_campaign = campaign;
    return 0;
}

int campaign_load(const char *path, struct campaign **ret_campaign, struct json_problems *problems,
                  struct error *err)
{
    cJSON *root = NULL;
    int rc = json_load(path, &root, err);

    if (rc < 0)
        return rc;
    rc = campaign_read(root, path, ret_campaign, problems, err);
    cJSON_Delete(root);
    return rc;
}

void campaign_free(struct campaign *campaign)
{
    if (campaign == NULL)
        return;
    for (int i = 0; i < CAMPAIGN_STEPS_MAX; i++) {
        if (campaign->step[i].kind == STEP_SWEEP)
            free(campaign->step[i].u.sweep.step);
    }
    free(campaign->json);
    free(campaign);
}

static int by_key(const void *a, const void *b)
{
    const cJSON *const *x = a, *const *y = b;

    return strcmp((*x)->string, (*y)->string);
}

static void write_canonical(const cJSON *node, struct strbuf *out);

static void write_object(const cJSON *node, struct strbuf *out)
{
    int count = cJSON_GetArraySize(node), i = 0;
    const cJSON **children = calloc((size_t)count + 1, sizeof *children);

    if (children == NULL) {
        out->failed = true;
        return;
    }
    for (const cJSON *child = node->child; child != NULL; child = child->next)
        children[i++] = child;
    qsort(children, (size_t)count, sizeof *children, by_key);
    strbuf_add(out, "{");
    for (i = 0; i < count; i++) {
        cJSON *key = cJSON_CreateStringReference(children[i]->string);
        char *text = key != NULL ? json_print(key, false) : NULL;
        if (text == NULL)
            out->failed = true;
        else
            strbuf_add(out, "%s%s:", i ? "," : "", text);
        free(text);
        cJSON_Delete(key);
        write_canonical(children[i], out);
    }
    strbuf_add(out, "}");
    free(children);
}

static void write_canonical(const cJSON *node, struct strbuf *out)
{
    if (cJSON_IsObject(node)) {
        write_object(node, out);
    } else if (cJSON_IsArray(node)) {
        strbuf_add(out, "[");
        for (const cJSON *child = node->child; child != NULL; child = child->next) {
            write_canonical(child, out);
            if (child->next != NULL)
                strbuf_add(out, ",");
        }
        strbuf_add(out, "]");
    } else {
        char *text = json_print(node, false);
        if (text == NULL)
            out->failed = true;
        else
            strbuf_add(out, "%s", text);
        free(text);
    }
}

char *campaign_canonical(const cJSON *node)
{
    struct strbuf out = { 0 };

    write_canonical(node, &out);
    if (out.failed) {
        strbuf_free(&out);
        return NULL;
    }
    return out.text;
}
