/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * compare: a merge join over sorted rows, and small comparisons. */
#include "sweeps/compare.h"

#include <math.h>
#include <string.h>

#include "sweeps/stats.h"

static void add_pair(struct compare_cell *cell, int32_t sample, int16_t a, int16_t b, int16_t label)
{
    cell->joined++;
    if (a != b) {
        cell->predictions_differ++;
        if (cell->first_sample < 0)
            cell->first_sample = sample;
    }
    if (label < 0)
        return;
    if (a == label && b == label)
        cell->both_right++;
    else if (a == label)
        cell->a_right++;
    else if (b == label)
        cell->b_right++;
    else
        cell->both_wrong++;
}

static void finish(struct compare_cell *cell)
{
    int judged = cell->both_right + cell->a_right + cell->b_right + cell->both_wrong;

    cell->accuracy_a = judged > 0 ? (double)(cell->both_right + cell->a_right) / judged : NAN;
    cell->accuracy_b = judged > 0 ? (double)(cell->both_right + cell->b_right) / judged : NAN;
    cell->p = stats_mcnemar(cell->a_right, cell->b_right);
    cell->mid_p = stats_mcnemar_mid_p(cell->a_right, cell->b_right);
}

void compare_predictions(const int16_t *a, const int16_t *b, const int16_t *label, int count,
                         struct compare_cell *ret)
{
    *ret = (struct compare_cell){ .identity = "", .first_sample = -1 };
    for (int i = 0; i < count; i++)
        add_pair(ret, i, a[i], b[i], label[i]);
    finish(ret);
}

/* Order of the next rows: identity first, then part, then sample; a list that has ended comes last. */
static int order(const struct compare_row *a, const struct compare_row *b)
{
    if (a == NULL || b == NULL)
        return a == NULL ? 1 : -1;
    int names = strcmp(a->identity, b->identity);
    int parts = (a->part > b->part) - (a->part < b->part);
    return names != 0 ? names : parts != 0 ? parts : (a->sample > b->sample) - (a->sample < b->sample);
}

int compare_rows(const struct compare_row *a, size_t a_count, const struct compare_row *b, size_t b_count,
                 compare_cell_fn each, void *context)
{
    struct compare_cell cell = { .first_sample = -1 };
    size_t i = 0, k = 0;

    while (i < a_count || k < b_count) {
        const struct compare_row *row_a = i < a_count ? &a[i] : NULL, *row_b = k < b_count ? &b[k] : NULL;
        int which = order(row_a, row_b);
        const struct compare_row *next = which <= 0 ? row_a : row_b;

        if (cell.identity != NULL &&
            (strcmp(cell.identity, next->identity) != 0 || cell.part != next->part)) {
            finish(&cell);
            int rc = each(context, &cell);
            if (rc != 0)
                return rc;
            cell = (struct compare_cell){ .first_sample = -1 };
        }
        cell.identity = next->identity;
        cell.part = next->part;
        if (which == 0) {
            int16_t label = row_a->label == row_b->label ? row_a->label : -1;
            add_pair(&cell, row_a->sample, row_a->prediction, row_b->prediction, label);
            cell.outputs_differ += memcmp(row_a->output, row_b->output, sizeof row_a->output) != 0;
        } else if (which < 0) {
            cell.only_a++;
        } else {
            cell.only_b++;
        }
        i += which <= 0;
        k += which >= 0;
    }
    if (cell.identity == NULL)
        return 0;
    finish(&cell);
    return each(context, &cell);
}

static int64_t element(const uint8_t *data, size_t index, size_t width)
{
    uint32_t value = 0;

    for (size_t i = 0; i < width; i++)
        value |= (uint32_t)data[index * width + i] << (8 * i);
    return width == 1 ? (int64_t)value : width == 2 ? (int64_t)(int16_t)value : (int64_t)(int32_t)value;
}

int64_t compare_tensor(const void *a, size_t a_bytes, const void *b, size_t b_bytes, int type_bits,
                       int64_t *ret_a, int64_t *ret_b, int64_t *ret_count)
{
    size_t width = (size_t)type_bits / 8;
    size_t shorter = (a_bytes < b_bytes ? a_bytes : b_bytes) / width;
    size_t longer = (a_bytes > b_bytes ? a_bytes : b_bytes) / width;
    int64_t first = -1, count = 0;

    for (size_t i = 0; i < shorter; i++) {
        int64_t x = element(a, i, width), y = element(b, i, width);
        if (x == y)
            continue;
        if (first < 0) {
            first = (int64_t)i;
            *ret_a = x;
            *ret_b = y;
        }
        count++;
    }
    if (longer > shorter) {
        count += (int64_t)(longer - shorter);
        if (first < 0) {
            first = (int64_t)shorter;
            *ret_a = a_bytes > b_bytes ? element(a, shorter, width) : 0;
            *ret_b = b_bytes > a_bytes ? element(b, shorter, width) : 0;
        }
    }
    *ret_count = count;
    return first;
}
