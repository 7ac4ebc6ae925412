/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * assets: the files a campaign names (networks with their mapping onto the chip, datasets), opened once for
 * planning and for the run, with what a plan must know of them: hashes, sizes, cycles. */
#ifndef SWEEPS_ASSETS_H
#define SWEEPS_ASSETS_H

#include "chip/dataset.h"
#include "sweeps/campaign.h"

struct chip_profile;
struct network;
struct mapping;

struct asset_network {
    struct network *network;
    struct mapping *mapping;
    char network_hash[SHA256_HEX], mapping_hash[SHA256_HEX];
    uint32_t cycles[3];  /* core cycles of one inference at 8, 9, 10 bits */
    int64_t macs;        /* of one inference */
    int64_t conversions; /* of one inference */
    int input_bytes, output_bytes;
    int input_copies; /* cores that need the input */
    int image_bytes;  /* what loading writes to the chip */
    int stages;       /* of the mapping */
};
struct asset_dataset {
    struct dataset *dataset;
    char hash[SHA256_HEX];
    int count, sample_bytes;
};
struct assets {
    int network_count, dataset_count;
    struct asset_network network[CAMPAIGN_NETWORKS_MAX];
    struct asset_dataset dataset[CAMPAIGN_DATASETS_MAX];
};

/* Opens everything the campaign names; paths are relative to the working directory. What cannot be opened is
 * a problem at its pointer and stays NULL. Networks are mapped onto the profile; one that does not fit is a
 * problem. Fails for want of memory only. */
int assets_open(const struct campaign *campaign, const struct chip_profile *profile,
                struct assets **ret_assets, struct json_problems *problems, struct error *err);
void assets_close(struct assets *assets);

#endif
