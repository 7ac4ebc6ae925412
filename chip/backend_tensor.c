/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * backend_tensor: fills in the heads of tensors, the same for every back end.
 */
#include "chip/backend_tensor.h"

#include "daemon/base/record.h"

/* Tensors travel little-endian, which is the order of every host that this is built for. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "tensors are handed over in host order");

int backend_tensor_columns(const struct mapping *mapping, int stage, int core)
{
    const struct mapping_stage *st = &mapping->stage[stage];
    int columns = 0;

    for (int i = 0; i < st->block_count; i++) {
        const struct mapping_block *b = &mapping->block[st->first_block + i];
        if (b->core == core)
            columns += b->channels * st->slices;
    }
    return columns;
}

int backend_tensor_input(const struct backend_tensor_sink *sink, const uint8_t *input, struct error *err)
{
    struct network_shape shape = sink->network->input;
    struct backend_tensor tensor = { .layer = 0,
                                     .kind = TENSOR_INPUT,
                                     .core = -1,
                                     .shape = { shape.height, shape.width, shape.channels },
                                     .type_bits = 8,
                                     .layer_name = sink->network->layer[0].name,
                                     .data = input,
                                     .bytes = network_input_size(sink->network) };

    return sink->fn(sink->context, &tensor, err);
}

int backend_tensor_codes(const struct backend_tensor_sink *sink, int stage, int core, const int16_t *codes,
                         int count, struct error *err)
{
    int layer = sink->mapping->stage[stage].layer;
    struct backend_tensor tensor = { .layer = layer,
                                     .kind = TENSOR_CODE,
                                     .core = core,
                                     .shape = { 1, 1, count },
                                     .type_bits = 16,
                                     .layer_name = sink->network->layer[layer].name,
                                     .data = codes,
                                     .bytes = (size_t)count * sizeof *codes };

    return sink->fn(sink->context, &tensor, err);
}

int backend_tensor_psums(const struct backend_tensor_sink *sink, int stage, const int32_t *psum,
                         struct error *err)
{
    const struct mapping_stage *st = &sink->mapping->stage[stage];
    struct backend_tensor tensor = { .layer = st->layer,
                                     .kind = TENSOR_PSUM,
                                     .core = st->owner,
                                     .shape = { 1, 1, st->channels },
                                     .type_bits = 32,
                                     .layer_name = sink->network->layer[st->layer].name,
                                     .data = psum,
                                     .bytes = (size_t)st->channels * sizeof *psum };

    return sink->fn(sink->context, &tensor, err);
}

int backend_tensor_activation(const struct backend_tensor_sink *sink, int layer, const void *values,
                              struct error *err)
{
    const struct network_layer *l = &sink->network->layer[layer];
    int bits = l->output == NETWORK_I16 ? 16 : 8;
    struct backend_tensor tensor = { .layer = layer,
                                     .kind = layer == sink->network->layer_count - 1 ? TENSOR_OUTPUT
                                                                                     : TENSOR_ACTIVATION,
                                     .core = -1,
                                     .shape = { l->out.height, l->out.width, l->out.channels },
                                     .type_bits = bits,
                                     .layer_name = l->name,
                                     .data = values,
                                     .bytes = (size_t)network_shape_size(l->out) * (size_t)(bits / 8) };

    return sink->fn(sink->context, &tensor, err);
}
