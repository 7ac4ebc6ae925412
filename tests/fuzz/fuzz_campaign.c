/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * fuzz_campaign: the campaign language. An accepted campaign reads again from its canonical text, to the same
 * canonical text and the same steps; axes unroll into as many cells as they promise.
 *
 * sources: daemon/base chip sweeps instruments drivers
 * aims: sweeps/campaign.c sweeps/axes.c sweeps/step.c
 * seeds: configs/campaigns
 * options: -max_len=8192
 * edges: 420 */
#include "sweeps/campaign.h"

#include "sweeps/axes.h"
#include "tests/fuzz/json_mutator.h"

static void check_axes(const struct step_sweep *sweep)
{
    int count = axes_count(sweep);
    double value[CAMPAIGN_AXES_MAX];
    char text[2048];

    if (count <= 0 || count > 4096)
        return;
    int *order = calloc((size_t)count, sizeof *order);
    bool *seen = calloc((size_t)count, sizeof *seen);
    FUZZ_CHECK(order != NULL && seen != NULL);
    axes_order(sweep, 1, order);
    for (int i = 0; i < count; i++) {
        FUZZ_CHECK(order[i] >= 0 && order[i] < count && !seen[order[i]]); /* a permutation */
        seen[order[i]] = true;
        axes_values(sweep, order[i], value);
        int forbidden = axes_forbidden(sweep, value);
        FUZZ_CHECK(forbidden >= -1 && forbidden < sweep->constraint_count);
        if (i < 16 && axes_text(sweep, value, text, sizeof text))
            fuzz_check_json(text);
    }
    free(order);
    free(seen);
}

static void check_again(const struct campaign *first)
{
    static struct json_problems problems;
    struct campaign *second = NULL;
    struct error err = { 0 };
    cJSON *root = NULL;

    problems.count = 0;
    FUZZ_CHECK(json_parse(first->json, strlen(first->json), &root, &err) == 0);
    FUZZ_CHECK(campaign_read(root, "again", &second, &problems, &err) == 0);
    FUZZ_CHECK(strcmp(first->json, second->json) == 0);
    FUZZ_CHECK(first->step_count == second->step_count && first->seed == second->seed);
    for (int i = 0; i < first->step_count; i++) {
        FUZZ_CHECK(strcmp(first->step[i].name, second->step[i].name) == 0);
        FUZZ_CHECK(first->step[i].kind == second->step[i].kind);
    }
    campaign_free(second);
    cJSON_Delete(root);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct json_problems problems;
    struct campaign *campaign = NULL;
    struct error err = { 0 };
    cJSON *root = NULL;

    problems.count = 0;
    if (json_parse((const char *)data, size, &root, NULL) != 0)
        return 0;
    int code = campaign_read(root, "campaign", &campaign, &problems, &err);
    cJSON_Delete(root);
    FUZZ_CHECK((code == 0) == (problems.count == 0));
    fuzz_check_problems(&problems);
    if (code != 0) {
        fuzz_check_refusal(code, &err, campaign);
        return 0;
    }
    check_again(campaign);
    for (int i = 0; i < campaign->step_count; i++) {
        FUZZ_CHECK(campaign->step[i].name[0] != '\0' && campaign->step[i].pointer[0] == '/');
        if (campaign->step[i].kind == STEP_SWEEP)
            check_axes(&campaign->step[i].u.sweep);
    }
    campaign_free(campaign);
    return 0;
}
