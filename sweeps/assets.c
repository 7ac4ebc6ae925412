/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * assets: opens networks, maps them, opens data sets. */
#include "sweeps/assets.h"

#include <stdio.h>
#include <stdlib.h>

#include "chip/compile.h"
#include "chip/mapping.h"
#include "chip/network.h"

/* Cycles per inference at each converter setting; the program's size at the middle one. */
static int estimate(struct asset_network *asset, const struct chip_profile *profile, struct error *err)
{
    static const int bits[] = { 8, 9, 10 };

    for (int i = 0; i < 3; i++) {
        struct adc_config adc = { .bits = bits[i], .gain = profile->adc.gain[0] };
        struct chip_program *program = NULL;

        if (!profile_has_bits(profile, bits[i]))
            continue;
        int rc = compile_program(asset->network, asset->mapping, profile, &adc, &program, err);
        if (rc < 0)
            return rc;
        asset->cycles[i] = (uint32_t)program->cycles;
        asset->macs = program->macs;
        asset->conversions = program->conversions;
        asset->input_bytes = program->input_bytes;
        asset->output_bytes = program->outputs * program->output_value_bytes;
        asset->input_copies = program->input_count;
        asset->stages = asset->mapping->stage_count;
        asset->image_bytes = 0;
        for (int core = 0; core < program->core_count; core++)
            asset->image_bytes += (int)program->core[core].image_bytes + 4 * program->core[core].word_count +
                                  4 * program->core[core].norm_count;
        compile_free(program);
    }
    return 0;
}

static int open_network(const char *path, const struct chip_profile *profile, struct asset_network *asset,
                        struct error *err)
{
    int rc = network_load(path, &asset->network, err);

    if (rc == 0)
        rc = mapping_create(asset->network, profile, &asset->mapping, err);
    if (rc == 0)
        rc = estimate(asset, profile, err);
    if (rc < 0)
        return rc;
    snprintf(asset->network_hash, sizeof asset->network_hash, "%s", asset->network->hash);
    snprintf(asset->mapping_hash, sizeof asset->mapping_hash, "%s", asset->mapping->hash);
    return 0;
}

static int open_dataset(const struct campaign_dataset *named, struct asset_dataset *asset, struct error *err)
{
    int rc = dataset_open(named->path, &asset->dataset, err);

    if (rc < 0)
        return rc;
    if (named->shuffle_labels != 0)
        dataset_shuffle_labels(asset->dataset, named->shuffle_labels);
    asset->count = dataset_count(asset->dataset);
    asset->sample_bytes = (int)dataset_sample_size(asset->dataset);
    snprintf(asset->hash, sizeof asset->hash, "%s", dataset_hash(asset->dataset));
    return 0;
}

static void report(struct json_problems *problems, const char *pointer, const struct error *err)
{
    struct json_at at = { .problems = problems };

    snprintf(at.pointer, sizeof at.pointer, "%s", pointer);
    json_problem(&at, "", "%.230s", err->message);
}

int assets_open(const struct campaign *campaign, const struct chip_profile *profile,
                struct assets **ret_assets, struct json_problems *problems, struct error *err)
{
    struct error detail = { 0 };
    struct assets *assets = calloc(1, sizeof *assets);

    if (assets == NULL)
        return error_set(err, ERR_MEMORY, "no memory for the files of a campaign");
    for (int i = 0; i < campaign->network_count; i++) {
        assets->network_count = i + 1;
        if (open_network(campaign->network[i].path, profile, &assets->network[i], &detail) < 0)
            report(problems, campaign->network[i].pointer, &detail);
    }
    for (int i = 0; i < campaign->dataset_count; i++) {
        assets->dataset_count = i + 1;
        if (open_dataset(&campaign->dataset[i], &assets->dataset[i], &detail) < 0)
            report(problems, campaign->dataset[i].pointer, &detail);
    }
    *ret_assets = assets;
    return 0;
}

void assets_close(struct assets *assets)
{
    if (assets == NULL)
        return;
    for (int i = 0; i < assets->network_count; i++) {
        mapping_free(assets->network[i].mapping);
        network_free(assets->network[i].network);
    }
    for (int i = 0; i < assets->dataset_count; i++)
        dataset_close(assets->dataset[i].dataset);
    free(assets);
}
