/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * mapping: where a network lies on a chip. Decides how layers are cut into rectangles of cells, which core
 * holds each, who owns the sums, and where activations live in the cores' data memories. Pure and
 * deterministic: the same network and profile give the same mapping and the same hash.
 *
 * A STAGE is one layer, or a range of its output channels when it has more than the accumulators of one core.
 * Stages run one after another; each has one OWNER core that adds up the partial sums of all its blocks,
 * normalises and stores. A BLOCK is a rectangle of cells: a range of window elements (rows) by a range of
 * output channels, each `slices` columns wide. Helper cores hold blocks too; they work on the same window in
 * parallel and add their sums to the owner's (PADD). Every core with a block of a stage has its own copy of
 * the stage's input.
 */
#ifndef CHIP_MAPPING_H
#define CHIP_MAPPING_H

#include "chip/network.h"
#include "chip/profile.h"
#include "daemon/base/json.h"

enum {
    MAPPING_STAGES_MAX = 48,
    MAPPING_BLOCKS_MAX = 192,
    MAPPING_SLICES_MAX = 3,
    MAPPING_WEIGHT_BITS_MAX = 9
};

struct mapping_block {
    int stage, core;
    int vector0, rows; /* window elements vector0 .. vector0 + rows - 1 drive array rows row0 .. */
    int channel0,
        channels; /* output channels of the layer; columns column0 .. column0 + channels * slices - 1 */
    int row0, column0;
};

struct mapping_stage {
    int layer;              /* of the network */
    int channel0, channels; /* of the layer */
    int slices;
    int owner;                    /* core */
    uint32_t core_mask;           /* cores with a block of this stage (the owner always takes part) */
    int first_block, block_count; /* in blocks[], sorted by core, then channel, then row: the order of the
                                     MVMs in a core */
    int bn0;                      /* first batch-norm entry in the owner */
    int output_base;              /* where the owner stores, in its data memory */
    int output_pixel;             /* bytes from one window's results to the next */
    int input_base[PROFILE_CORES_MAX]; /* per core of core_mask; -1 elsewhere */
};

struct mapping {
    int stage_count, block_count;
    struct mapping_stage stage[MAPPING_STAGES_MAX];
    struct mapping_block block[MAPPING_BLOCKS_MAX];
    int core_count, rows, columns;      /* of the chip mapped to */
    int core_cells[PROFILE_CORES_MAX];  /* used */
    int core_norms[PROFILE_CORES_MAX];  /* batch-norm entries used */
    int core_memory[PROFILE_CORES_MAX]; /* highest data memory byte used + 1 */
    int64_t cells, cells_available;
    int64_t conversions; /* per inference */
    int64_t mvms;
    int64_t macs;
    char hash[SHA256_HEX];
};

/* Free with mapping_free(). Refuses with ERR_RANGE and the numbers when the network does not fit. */
int mapping_create(const struct network *network, const struct chip_profile *profile,
                   struct mapping **ret_mapping, struct error *err);
void mapping_free(struct mapping *mapping);

/* Columns that a weight of `bits` takes with cells of `digit_bits`: 3 -> 1, 6 -> 2, 9 -> 3. */
int mapping_slices(int weight_bits, int digit_bits);
/* Balanced octal digits -4..3 of a weight, least significant first. ERR_RANGE outside what `slices` digits
 * hold. */
int mapping_digits(int weight, int slices, int ret_digit[MAPPING_SLICES_MAX], struct error *err);
/* How a network lies on the chip, for `nightbench plan` and pages:
 * {"network","network_hash","mapping_hash","rows","columns",
 * "cells","cells_available","conversions","mvms","macs","cores":[{"core","cells","used","memory_bytes","norms"}],
 * "blocks":[{"layer","stage","core","owner","vector0","rows","channel0","channels","row0","column0","columns"}]}.
 */
cJSON *mapping_report(const struct mapping *mapping, const struct network *network);

#endif
