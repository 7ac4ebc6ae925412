/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * backend: what can run a network: the chip over the wire, the bit-exact reference, or a recording. The same
 * plan runs on each of them behind this interface.
 */
#ifndef CHIP_BACKEND_H
#define CHIP_BACKEND_H

#include <stddef.h>

#include "daemon/base/error.h"

struct network;
struct mapping;

/* Converter setting of all cores. */
struct adc_config {
    int bits; /* one of the profile's, 8..10 for adelia2 */
    int gain; /* 1, 2 or 4 */
};

enum { BACKEND_OUTPUTS_MAX = 4 };

struct inference {
    int32_t output[BACKEND_OUTPUTS_MAX]; /* last layer, sign-extended */
    int prediction;                      /* index of the largest output, lowest index wins ties */
    uint32_t cycles;                     /* core cycles of the run; 0 where the back end has none */
    uint32_t err_bits;                   /* the chip's ERR register after the run; 0 for reference */
};

/* One tensor of one sample (layer by layer). kind: enum record_tensor_kind. Data little-endian, borrowed for
 * the call. */
struct backend_tensor {
    int layer, kind, core, shape[3], type_bits;
    const char *layer_name;
    const void *data;
    size_t bytes;
};
typedef int (*backend_tensor_fn)(void *context, const struct backend_tensor *tensor, struct error *err);

struct backend {
    const char *name; /* "chip", "reference", "recording" */
    void *context;
    /* Compiles and loads; on the chip this writes over SPI and reads back what can be read. network and
     * mapping are borrowed until the next load or close. Loading with other adc settings keeps the weights
     * and rewrites scales only, where that is enough. */
    int (*load)(void *context, const struct network *network, const struct mapping *mapping,
                const struct adc_config *adc, struct error *err);
    /* Runs count inputs (each network input size bytes). ret[i] for each. Errors: HANG, LINK, TIMEOUT,
     * MISMATCH. */
    int (*infer)(void *context, const uint8_t *const *input, int count, struct inference *ret,
                 struct error *err);
    /* Runs one input and hands over its tensors in layer order. */
    int (*tensors)(void *context, const uint8_t *input, backend_tensor_fn sink, void *sink_context,
                   struct error *err);
    void (*close)(void *context);
};

#endif
