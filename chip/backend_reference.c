/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * backend_reference: runs plans without a chip, as an ideal one would answer.
 */
#include "chip/backend_reference.h"

#include <stdlib.h>
#include <string.h>

#include "chip/backend_tensor.h"
#include "chip/reference.h"

struct backend_reference {
    const struct chip_profile *profile;
    const struct network *network;
    const struct mapping *mapping;
    struct reference *reference; /* of network and mapping; NULL before load */
    char network_hash[SHA256_HEX], mapping_hash[SHA256_HEX];
    /* Of the tensors that are being handed over. */
    struct backend_tensor_sink sink;
    int16_t codes[BACKEND_TENSOR_CODES_MAX];
    int code_count;
};

static int load(void *context, const struct network *network, const struct mapping *mapping,
                const struct adc_config *adc, struct error *err)
{
    struct backend_reference *b = context;
    bool same = b->reference && b->network == network && b->mapping == mapping &&
                strcmp(b->network_hash, network->hash) == 0 && strcmp(b->mapping_hash, mapping->hash) == 0;

    if (!same) {
        struct reference *reference;
        int rc = reference_open(network, mapping, b->profile, &reference, err);
        if (rc)
            return rc;
        reference_close(b->reference);
        b->reference = reference;
        b->network = network;
        b->mapping = mapping;
        memcpy(b->network_hash, network->hash, sizeof b->network_hash);
        memcpy(b->mapping_hash, mapping->hash, sizeof b->mapping_hash);
    }
    return reference_configure(b->reference, adc, err);
}

static int infer(void *context, const uint8_t *const *input, int count, struct inference *ret,
                 struct error *err)
{
    struct backend_reference *b = context;

    if (!b->reference)
        return error_set(err, ERR_CONFLICT, "no network is loaded");
    for (int i = 0; i < count; i++) {
        struct inference result = { .prediction = 0 };
        int rc = reference_run(b->reference, input[i], result.output, NULL, err);
        if (rc)
            return rc;
        result.prediction = network_argmax(result.output, b->network->class_count);
        ret[i] = result;
    }
    return 0;
}

static bool last_window(const struct backend_reference *b, int stage, int window)
{
    return window == network_windows(&b->network->layer[b->mapping->stage[stage].layer]) - 1;
}

/* Blocks come sorted by core: a core's codes are complete when the next block is another core's. */
static int see_codes(void *context, const struct reference_codes *seen, struct error *err)
{
    struct backend_reference *b = context;
    const struct mapping_stage *stage = &b->mapping->stage[seen->stage];
    const struct mapping_block *block = &b->mapping->block[seen->block];
    bool last_of_core =
        seen->block + 1 == stage->first_block + stage->block_count || block[1].core != block->core;

    if (!last_window(b, seen->stage, seen->window))
        return 0;
    if (b->code_count + seen->count > BACKEND_TENSOR_CODES_MAX)
        return error_set(err, ERR_FULL, "more than %d codes in one window", BACKEND_TENSOR_CODES_MAX);
    memcpy(b->codes + b->code_count, seen->code, (size_t)seen->count * sizeof *seen->code);
    b->code_count += seen->count;
    if (!last_of_core)
        return 0;
    int count = b->code_count;
    b->code_count = 0;
    return backend_tensor_codes(&b->sink, seen->stage, block->core, b->codes, count, err);
}

static int see_window(void *context, const struct reference_window *seen, struct error *err)
{
    struct backend_reference *b = context;

    return last_window(b, seen->stage, seen->window)
               ? backend_tensor_psums(&b->sink, seen->stage, seen->psum, err)
               : 0;
}

static int see_layer(void *context, const struct reference_layer *seen, struct error *err)
{
    struct backend_reference *b = context;
    const void *values = seen->values;

    if (seen->values16)
        values = seen->values16;
    return backend_tensor_activation(&b->sink, seen->layer, values, err);
}

static int tensors(void *context, const uint8_t *input, backend_tensor_fn sink, void *sink_context,
                   struct error *err)
{
    struct backend_reference *b = context;
    struct reference_watch watch = { b, see_window, see_codes, see_layer };
    int32_t output[NETWORK_CLASSES_MAX];

    if (!b->reference)
        return error_set(err, ERR_CONFLICT, "no network is loaded");
    b->sink = (struct backend_tensor_sink){ b->network, b->mapping, sink, sink_context };
    b->code_count = 0;
    int rc = backend_tensor_input(&b->sink, input, err);
    return rc ? rc : reference_run(b->reference, input, output, &watch, err);
}

static void close_reference(void *context)
{
    struct backend_reference *b = context;

    if (!b)
        return;
    reference_close(b->reference);
    free(b);
}

int backend_reference_open(const struct chip_profile *profile, struct backend *ret_backend, struct error *err)
{
    struct backend_reference *b = calloc(1, sizeof *b);

    if (!b)
        return error_set(err, ERR_MEMORY, "no memory for the reference back end");
    b->profile = profile;
    *ret_backend = (struct backend){ .name = "reference",
                                     .context = b,
                                     .load = load,
                                     .infer = infer,
                                     .tensors = tensors,
                                     .close = close_reference };
    return 0;
}
