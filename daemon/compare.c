/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * compare: rows of two runs from the store, joined by sweeps/compare, as one document.
 */
#include "daemon/compare.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "db/query.h"
#include "sweeps/compare.h"

enum { COMPARE_ROWS_MAX = 4000000, COMPARE_TENSOR_BYTES_MAX = 256 << 20 };

/* The samples of one run, and the axes of each cell as text. */
struct rows {
    struct compare_row *row;
    size_t count, capacity;
    int code;
    int first, part; /* of the newest row: position of its step's first sample, and which one that step is */
};

struct tensor {
    char identity[SHA256_HEX], layer_name[48];
    int sample, layer, kind, core, type_bits;
    size_t bytes;
    uint8_t *data;
};

struct tensors {
    struct tensor *item;
    size_t count, capacity, bytes;
    int code;
};

struct document {
    cJSON *cells;
    cJSON *axes; /* identity -> axes, of run a and b */
    long samples, outputs_differ, predictions_differ;
};

static int collect_row(void *context, const struct query_compare_row *row)
{
    struct rows *rows = context;

    if (rows->count == COMPARE_ROWS_MAX)
        return rows->code = ERR_FULL;
    if (rows->count == rows->capacity) {
        size_t capacity = rows->capacity == 0 ? 4096 : rows->capacity * 2;
        struct compare_row *grown = realloc(rows->row, capacity * sizeof *grown);
        if (grown == NULL)
            return rows->code = ERR_MEMORY;
        rows->row = grown;
        rows->capacity = capacity;
    }
    /* Steps of one point stand behind each other, each with samples from 0 on. */
    int first = row->position - row->sample;
    bool same = rows->count > 0 && strcmp(rows->row[rows->count - 1].identity, row->identity) == 0;
    rows->part = same ? rows->part + (first != rows->first) : 0;
    rows->first = first;
    struct compare_row *out = &rows->row[rows->count++];
    out->part = (int16_t)rows->part;
    snprintf(out->identity, sizeof out->identity, "%s", row->identity);
    out->sample = row->sample;
    out->label = (int16_t)row->label;
    out->prediction = (int16_t)row->prediction;
    memcpy(out->output, row->output, sizeof out->output);
    return 0;
}

static int by_cell_and_sample(const void *a, const void *b)
{
    const struct compare_row *x = a, *y = b;
    int order = strcmp(x->identity, y->identity);

    if (order == 0)
        order = x->part - y->part;
    return order != 0 ? order : (x->sample > y->sample) - (x->sample < y->sample);
}

static int read_rows(struct query *query, const char *run, struct rows *rows, struct error *err)
{
    int code = query_compare_rows(query, run, collect_row, rows, err);

    if (rows->code != 0)
        return error_set(err, rows->code, "run %s has more samples than can be compared at once (%d)", run,
                         COMPARE_ROWS_MAX);
    if (code == 0 && rows->count > 0)
        qsort(rows->row, rows->count, sizeof rows->row[0], by_cell_and_sample);
    return code;
}

static int collect_tensor(void *context, const struct query_tensor_row *row)
{
    struct tensors *tensors = context;

    if (tensors->bytes + row->bytes > COMPARE_TENSOR_BYTES_MAX)
        return tensors->code = ERR_FULL;
    if (tensors->count == tensors->capacity) {
        size_t capacity = tensors->capacity == 0 ? 64 : tensors->capacity * 2;
        struct tensor *grown = realloc(tensors->item, capacity * sizeof *grown);
        if (grown == NULL)
            return tensors->code = ERR_MEMORY;
        tensors->item = grown;
        tensors->capacity = capacity;
    }
    struct tensor *out = &tensors->item[tensors->count];
    *out = (struct tensor){ .sample = row->sample,
                            .layer = row->layer,
                            .kind = row->kind,
                            .core = row->core,
                            .type_bits = row->type_bits,
                            .bytes = row->bytes };
    snprintf(out->identity, sizeof out->identity, "%s", row->identity);
    snprintf(out->layer_name, sizeof out->layer_name, "%s", row->layer_name);
    out->data = malloc(row->bytes > 0 ? row->bytes : 1);
    if (out->data == NULL)
        return tensors->code = ERR_MEMORY;
    memcpy(out->data, row->data, row->bytes);
    tensors->bytes += row->bytes;
    tensors->count++;
    return 0;
}

static void free_tensors(struct tensors *tensors)
{
    for (size_t i = 0; i < tensors->count; i++)
        free(tensors->item[i].data);
    free(tensors->item);
}

static const struct tensor *find_tensor(const struct tensors *tensors, const struct tensor *like)
{
    for (size_t i = 0; i < tensors->count; i++) {
        const struct tensor *t = &tensors->item[i];
        if (t->sample == like->sample && t->layer == like->layer && t->kind == like->kind &&
            t->core == like->core && strcmp(t->identity, like->identity) == 0)
            return t;
    }
    return NULL;
}

/* The first layer, and the first element in it, that differs. Tensors come ordered by (cell, sample, layer).
 */
static void add_tensor_difference(cJSON *root, const struct tensors *a, const struct tensors *b)
{
    long joined = 0;
    bool found = false;

    for (size_t i = 0; i < a->count; i++) {
        const struct tensor *x = &a->item[i], *y = find_tensor(b, x);
        if (y == NULL)
            continue;
        joined++;
        int64_t value_a = 0, value_b = 0, count = 0;
        int64_t at =
            compare_tensor(x->data, x->bytes, y->data, y->bytes, x->type_bits, &value_a, &value_b, &count);
        if (at < 0 || found)
            continue;
        found = true;
        cJSON *first = cJSON_AddObjectToObject(root, "first_difference");
        cJSON_AddStringToObject(first, "layer", x->layer_name);
        json_add_number(first, "layer_index", x->layer);
        json_add_number(first, "sample", x->sample);
        json_add_number(first, "core", x->core);
        json_add_int64(first, "element", at);
        json_add_int64(first, "a", value_a);
        json_add_int64(first, "b", value_b);
        json_add_int64(first, "elements_that_differ", count);
    }
    if (!found)
        cJSON_AddNullToObject(root, "first_difference");
    json_add_number(root, "tensors", (double)joined);
}

static int add_cell(void *context, const struct compare_cell *cell)
{
    struct document *document = context;
    cJSON *item = cJSON_CreateObject();

    cJSON_AddItemToArray(document->cells, item);
    cJSON_AddStringToObject(item, "identity", cell->identity);
    cJSON *axes = cJSON_GetObjectItemCaseSensitive(document->axes, cell->identity);
    if (axes != NULL)
        cJSON_AddItemToObject(item, "axes", cJSON_Duplicate(axes, true));
    json_add_number(item, "part", cell->part);
    json_add_number(item, "samples", cell->joined);
    json_add_number(item, "only_a", cell->only_a);
    json_add_number(item, "only_b", cell->only_b);
    json_add_number(item, "accuracy_a", cell->accuracy_a);
    json_add_number(item, "accuracy_b", cell->accuracy_b);
    json_add_number(item, "difference", cell->accuracy_a - cell->accuracy_b);
    json_add_number(item, "a_alone_right", cell->a_right);
    json_add_number(item, "b_alone_right", cell->b_right);
    json_add_number(item, "mcnemar_p", cell->p);
    json_add_number(item, "mcnemar_mid_p", cell->mid_p);
    json_add_number(item, "predictions_that_differ", cell->predictions_differ);
    json_add_number(item, "outputs_that_differ", cell->outputs_differ);
    json_add_number(item, "first_sample_that_differs", cell->first_sample);
    document->samples += cell->joined;
    document->outputs_differ += cell->outputs_differ;
    document->predictions_differ += cell->predictions_differ;
    return 0;
}

/* Axes of every cell of a run, by identity. */
static int collect_axes(struct query *query, const char *run, cJSON *axes, struct error *err)
{
    cJSON *points = NULL;
    const cJSON *point;
    int code = query_points(query, run, -1, &points, err);

    if (code != 0)
        return code;
    cJSON_ArrayForEach(point, points)
    {
        const cJSON *identity = cJSON_GetObjectItemCaseSensitive(point, "identity");
        const cJSON *values = cJSON_GetObjectItemCaseSensitive(point, "axes");
        if (cJSON_IsString(identity) && values != NULL &&
            cJSON_GetObjectItemCaseSensitive(axes, identity->valuestring) == NULL)
            cJSON_AddItemToObject(axes, identity->valuestring, cJSON_Duplicate(values, true));
    }
    cJSON_Delete(points);
    return 0;
}

static int add_samples(cJSON *root, struct query *query, const char *a, const char *b, struct error *err)
{
    struct rows rows_a = { .row = NULL }, rows_b = { .row = NULL };
    struct document document = { .cells = cJSON_AddArrayToObject(root, "cells"),
                                 .axes = cJSON_CreateObject() };
    int code = read_rows(query, a, &rows_a, err);

    if (code == 0)
        code = read_rows(query, b, &rows_b, err);
    if (code == 0)
        code = collect_axes(query, a, document.axes, err);
    if (code == 0)
        code = collect_axes(query, b, document.axes, err);
    if (code == 0) {
        (void)compare_rows(rows_a.row, rows_a.count, rows_b.row, rows_b.count, add_cell, &document);
        json_add_number(root, "samples", (double)document.samples);
        json_add_number(root, "samples_that_differ", (double)document.outputs_differ);
        json_add_number(root, "predictions_that_differ", (double)document.predictions_differ);
    }
    cJSON_Delete(document.axes);
    free(rows_a.row);
    free(rows_b.row);
    return code;
}

static int add_tensors(cJSON *root, struct query *query, const char *a, const char *b, struct error *err)
{
    struct tensors tensors_a = { .item = NULL }, tensors_b = { .item = NULL };
    int code = query_tensor_each(query, a, collect_tensor, &tensors_a, err);

    if (code == 0)
        code = query_tensor_each(query, b, collect_tensor, &tensors_b, err);
    if (tensors_a.code != 0 || tensors_b.code != 0)
        code = error_set(err, ERR_FULL, "the tensors of a run take more than %d MB",
                         COMPARE_TENSOR_BYTES_MAX >> 20);
    if (code == 0)
        add_tensor_difference(root, &tensors_a, &tensors_b);
    free_tensors(&tensors_a);
    free_tensors(&tensors_b);
    return code;
}

int compare_document(const char *db_path, const char *run_a, const char *run_b, cJSON **ret,
                     struct error *err)
{
    struct query *query = NULL;
    char a[27], b[27];
    cJSON *root = NULL;
    int code = query_open(db_path, &query, err);

    if (code != 0)
        return code;
    code = query_resolve(query, run_a, a, err);
    if (code == 0)
        code = query_resolve(query, run_b, b, err);
    if (code != 0)
        goto close;
    root = cJSON_CreateObject();
    if (root == NULL) {
        code = error_set(err, ERR_MEMORY, "no memory for the comparison");
        goto close;
    }
    cJSON_AddStringToObject(root, "a", a);
    cJSON_AddStringToObject(root, "b", b);
    code = add_samples(root, query, a, b, err);
    if (code == 0)
        code = add_tensors(root, query, a, b, err);
    if (code == 0)
        *ret = root;
    else
        cJSON_Delete(root);
close:
    query_close(query);
    return code;
}
