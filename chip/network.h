/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * network: an integer network as trained, before it meets a chip: layers, integer weights and biases, scales.
 * Two files: a JSON description and a weights file (int16, little-endian, layer after layer,
 * [out][kh][kw][in] or [out][in]) bound to it by SHA-256.
 *
 * Meaning of a layer, which the reference and the chip approximate with their converters:
 *   acc = sum w * x (exact),  y = floor(acc * M + 1/2) + bias,  M = input scale * weight scale / output
 * scale, per output channel, clamped to 0..255 (u8: ReLU) or to -32768..32767 (i16). Activations lie height,
 * width, channel; padding is code 0.
 */
#ifndef CHIP_NETWORK_H
#define CHIP_NETWORK_H

#include <stddef.h>

#include "daemon/base/error.h"
#include "daemon/base/hash.h"

enum {
    NETWORK_NAME_MAX = 48,
    NETWORK_LAYERS_MAX = 32,
    NETWORK_CHANNELS_MAX = 1024,
    NETWORK_ACTIVATION_MAX = 1 << 16,   /* elements of one activation tensor */
    NETWORK_WEIGHTS_MAX = 4 << 20,      /* weights in all layers */
    NETWORK_KERNEL_ELEMENTS_MAX = 2048, /* kh * kw * in_c: one window */
    NETWORK_CLASSES_MAX = 4             /* what one inference record holds */
};

struct network_shape {
    int height, width, channels;
};

enum network_op { NETWORK_CONV, NETWORK_FC };
enum network_output { NETWORK_U8, NETWORK_I16 };

struct network_layer {
    char name[NETWORK_NAME_MAX];
    enum network_op op;
    struct network_shape in, out;
    int kernel_h, kernel_w, stride_h, stride_w, pad_h,
        pad_w; /* fc: kernel = the whole input, stride 1, pad 0 */
    enum network_output output;
    bool relu;
    int weight_bits;
    int rows;                 /* kernel_h * kernel_w * in.channels */
    const int16_t *weight;    /* [out.channels][rows], inside the network's block */
    const int16_t *bias;      /* [out.channels], -128..127, in output codes */
    const double *multiplier; /* M of each output channel */
};

struct network {
    char name[NETWORK_NAME_MAX];
    struct network_shape input;
    double input_scale;
    int class_count;
    char class_name[NETWORK_CLASSES_MAX][NETWORK_NAME_MAX];
    int layer_count;
    struct network_layer layer[NETWORK_LAYERS_MAX];
    char hash[SHA256_HEX]; /* of everything that decides the output: shapes, weights, biases, scales */
    int16_t *integers;     /* weights and biases of all layers */
    double *multipliers;
    size_t weight_count;
};

/* Loads and checks both files (the weights file lies beside the description). Free with network_free(). */
int network_load(const char *path, struct network **ret_network, struct error *err);
void network_free(struct network *network);

static inline int network_shape_size(struct network_shape shape)
{
    return shape.height * shape.width * shape.channels;
}
/* Windows of a layer: output height x width. */
static inline int network_windows(const struct network_layer *layer)
{
    return layer->out.height * layer->out.width;
}
size_t network_input_size(const struct network *network);
/* Multiply-accumulates of one inference as published counts go: padding counted. */
int64_t network_macs(const struct network *network);
/* Index of the largest output; the lowest index wins ties. */
int network_argmax(const int32_t *output, int count);

#endif
