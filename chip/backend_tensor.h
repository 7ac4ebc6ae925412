/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * backend_tensor: the tensors of one sample in the order that all back ends hand them over: the input; then
 * for each stage, of its last window, the converter codes of each core and the complete sums; and after the
 * last stage of a layer, its activations. A chip can be stopped after a window and not inside one, which is
 * why one window stands for a stage.
 */
#ifndef CHIP_BACKEND_TENSOR_H
#define CHIP_BACKEND_TENSOR_H

#include "chip/backend.h"
#include "chip/mapping.h"

enum { BACKEND_TENSOR_CHANNELS_MAX = NETWORK_CHANNELS_MAX, BACKEND_TENSOR_CODES_MAX = 4096 };

struct backend_tensor_sink {
    const struct network *network;
    const struct mapping *mapping;
    backend_tensor_fn fn;
    void *context;
};

int backend_tensor_input(const struct backend_tensor_sink *sink, const uint8_t *input, struct error *err);
int backend_tensor_codes(const struct backend_tensor_sink *sink, int stage, int core, const int16_t *codes,
                         int count, struct error *err);
int backend_tensor_psums(const struct backend_tensor_sink *sink, int stage, const int32_t *psum,
                         struct error *err);
/* values: u8, or int16 in host order for a layer of i16. */
int backend_tensor_activation(const struct backend_tensor_sink *sink, int layer, const void *values,
                              struct error *err);
/* Columns converted by one core in one window of a stage. */
int backend_tensor_columns(const struct mapping *mapping, int stage, int core);

#endif
