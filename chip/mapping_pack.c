/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * mapping_pack: maximal free rectangles (MaxRects; Jylanki, "A thousand ways to pack the bin", 2010).
 */
#include "chip/mapping_pack.h"

#include <limits.h>
#include <string.h>

/* Pieces of fewer rows waste converters: a cut leaves none smaller if it can. */
enum { ROWS_MIN = 8 };

void mapping_pack_init(struct mapping_pack *pack, int cores, int rows, int columns)
{
    memset(pack, 0, sizeof *pack);
    pack->cores = cores;
    pack->rows = rows;
    pack->columns = columns;
    for (int i = 0; i < cores; i++) {
        pack->free_count[i] = 1;
        pack->free[i][0] = (struct mapping_rect){ 0, 0, rows, columns };
    }
}

static bool contains(struct mapping_rect a, struct mapping_rect b)
{
    return a.row <= b.row && a.column <= b.column && a.row + a.rows >= b.row + b.rows &&
           a.column + a.columns >= b.column + b.columns;
}

static bool overlaps(struct mapping_rect a, struct mapping_rect b)
{
    return a.row < b.row + b.rows && b.row < a.row + a.rows && a.column < b.column + b.columns &&
           b.column < a.column + a.columns;
}

/* Up to four maximal rectangles remain of `from` beside `taken`. */
static int remainders(struct mapping_rect from, struct mapping_rect taken, struct mapping_rect out[4])
{
    int count = 0;
    int above = taken.row - from.row, below = from.row + from.rows - (taken.row + taken.rows);
    int left = taken.column - from.column,
        right = from.column + from.columns - (taken.column + taken.columns);

    if (above > 0)
        out[count++] = (struct mapping_rect){ from.row, from.column, above, from.columns };
    if (below > 0)
        out[count++] = (struct mapping_rect){ taken.row + taken.rows, from.column, below, from.columns };
    if (left > 0)
        out[count++] = (struct mapping_rect){ from.row, from.column, from.rows, left };
    if (right > 0)
        out[count++] = (struct mapping_rect){ from.row, taken.column + taken.columns, from.rows, right };
    return count;
}

bool mapping_pack_take(struct mapping_pack *pack, int core, struct mapping_rect rect)
{
    struct mapping_rect list[MAPPING_PACK_FREE_MAX * 2];
    int count = 0;

    for (int i = 0; i < pack->free_count[core]; i++) {
        struct mapping_rect rest[4];
        int rests = 1;
        rest[0] = pack->free[core][i];
        if (overlaps(rest[0], rect))
            rests = remainders(pack->free[core][i], rect, rest);
        if (count + rests > (int)(sizeof list / sizeof *list))
            return false;
        memcpy(list + count, rest, (size_t)rests * sizeof *rest);
        count += rests;
    }
    int kept = 0;
    for (int i = 0; i < count; i++) {
        bool inside = false;
        for (int j = 0; j < count && !inside; j++) {
            /* Of two equal ones the first stays. */
            inside = i != j && contains(list[j], list[i]) && (j < i || !contains(list[i], list[j]));
        }
        if (inside)
            continue;
        if (kept == MAPPING_PACK_FREE_MAX)
            return false;
        pack->free[core][kept++] = list[i];
    }
    pack->free_count[core] = kept;
    return true;
}

bool mapping_pack_find(const struct mapping_pack *pack, int rows, int columns, uint32_t allowed,
                       uint32_t preferred, int *ret_core, struct mapping_rect *ret_rect)
{
    long best = LONG_MAX;

    for (int core = 0; core < pack->cores; core++) {
        if (!(allowed >> core & 1))
            continue;
        for (int i = 0; i < pack->free_count[core]; i++) {
            struct mapping_rect f = pack->free[core][i];
            if (f.rows < rows || f.columns < columns)
                continue;
            int rest_rows = f.rows - rows, rest_columns = f.columns - columns;
            /* In cells: what the tighter side leaves over is lost for most others. */
            long loss = (long)rest_rows * columns < (long)rest_columns * rows ? (long)rest_rows * columns
                                                                              : (long)rest_columns * rows;
            long score = loss * 64 + f.rows * f.columns / 1024 + (preferred >> core & 1 ? 0 : 1L << 28);
            if (score < best) {
                best = score;
                *ret_core = core;
                *ret_rect = (struct mapping_rect){ f.row, f.column, rows, columns };
            }
        }
    }
    return best < LONG_MAX;
}

bool mapping_pack_piece(const struct mapping_pack *pack, int rows, int channels, int slices, uint32_t allowed,
                        uint32_t preferred, int *ret_core, struct mapping_rect *ret_rect)
{
    long best = 0;

    for (int core = 0; core < pack->cores; core++) {
        if (!(allowed >> core & 1))
            continue;
        for (int i = 0; i < pack->free_count[core]; i++) {
            struct mapping_rect f = pack->free[core][i];
            int r = f.rows < rows ? f.rows : rows;
            int c = f.columns / slices < channels ? f.columns / slices : channels;
            if (r < rows && rows - r < ROWS_MIN && rows > 2 * ROWS_MIN)
                r = rows - ROWS_MIN;
            if (c == 0 || (r < ROWS_MIN && r < rows))
                continue;
            long score = ((long)r * c) * 4 + (preferred >> core & 1 ? 1 : 0);
            if (r == rows && 3 * c >= channels)
                score += 1L << 28;
            if (score > best) {
                best = score;
                *ret_core = core;
                *ret_rect = (struct mapping_rect){ f.row, f.column, r, c * slices };
            }
        }
    }
    return best > 0;
}
