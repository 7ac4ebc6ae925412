/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * mapping_pack: free rectangles of the cores' arrays, for the mapper alone. Keeps all maximal free
 * rectangles, so that a piece finds every place there is.
 */
#ifndef CHIP_MAPPING_PACK_H
#define CHIP_MAPPING_PACK_H

#include "chip/profile.h"

enum { MAPPING_PACK_FREE_MAX = 96 };

struct mapping_rect {
    int row, column, rows, columns;
};

struct mapping_pack {
    int cores, rows, columns;
    int free_count[PROFILE_CORES_MAX];
    struct mapping_rect free[PROFILE_CORES_MAX][MAPPING_PACK_FREE_MAX];
};

void mapping_pack_init(struct mapping_pack *pack, int cores, int rows, int columns);
/* Takes a rectangle out of the free space. False when the table of free rectangles overflows. */
bool mapping_pack_take(struct mapping_pack *pack, int core, struct mapping_rect rect);
/* The tightest place for rows x columns in the allowed cores, those in `preferred` first. False when there is
 * none. */
bool mapping_pack_find(const struct mapping_pack *pack, int rows, int columns, uint32_t allowed,
                       uint32_t preferred, int *ret_core, struct mapping_rect *ret_rect);
/* The place that takes the largest piece of rows x (channels * slices); pieces of all rows win over larger
 * ones that cut the rows when they hold at least a third of the channels, since every cut of rows costs
 * conversions. */
bool mapping_pack_piece(const struct mapping_pack *pack, int rows, int channels, int slices, uint32_t allowed,
                        uint32_t preferred, int *ret_core, struct mapping_rect *ret_rect);

#endif
