/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * compare: two runs, or two steps, side by side. Pure functions over rows that the caller has read: cells are
 * joined by identity, samples by step and number; tensors differ from their first element on. */
#ifndef SWEEPS_COMPARE_H
#define SWEEPS_COMPARE_H

#include <stddef.h>
#include <stdint.h>

#include "daemon/base/hash.h"

enum { COMPARE_OUTPUTS_MAX = 4 };

/* One inference. Rows of a run are sorted by (identity, part, sample). */
struct compare_row {
    char identity[SHA256_HEX];
    int16_t part; /* which of the cell's steps that infer, from 0: they may have the same samples */
    int32_t sample;
    int16_t label, prediction;
    int32_t output[COMPARE_OUTPUTS_MAX];
};

/* One cell that both runs have, or one step of it. */
struct compare_cell {
    const char *identity;
    int part;
    int joined, only_a, only_b;                   /* samples */
    int both_right, a_right, b_right, both_wrong; /* a_right: a alone */
    int predictions_differ, outputs_differ;
    int32_t first_sample;          /* that differs in prediction; -1 none */
    double accuracy_a, accuracy_b; /* over joined samples; NaN when there are none */
    double p, mid_p;               /* McNemar */
};
typedef int (*compare_cell_fn)(void *context, const struct compare_cell *cell);
/* Calls back for every cell and part of a or b (joined 0 where only one has it), in their order. Ends with a
 * non-zero return. */
int compare_rows(const struct compare_row *a, size_t a_count, const struct compare_row *b, size_t b_count,
                 compare_cell_fn each, void *context);
/* One pair of result lists over the same samples: label -1 is unknown and counts as neither right nor wrong.
 */
void compare_predictions(const int16_t *a, const int16_t *b, const int16_t *label, int count,
                         struct compare_cell *ret);

/* First element that differs of two tensors of equal type (8: unsigned, 16 or 32: signed little-endian); -1
 * when they are equal. ret_a, ret_b: the two values there. Sizes in bytes; a shorter one differs at its end.
 */
int64_t compare_tensor(const void *a, size_t a_bytes, const void *b, size_t b_bytes, int type_bits,
                       int64_t *ret_a, int64_t *ret_b, int64_t *ret_count);

#endif
