/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * network: reads an integer network and its weights, and refuses whatever does not hang together.
 */
#include "chip/network.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/json.h"
#include "daemon/base/text.h"

enum { WEIGHT_BITS_MAX = 9, WEIGHT_DIGIT_BITS = 3, BIAS_MIN = -128, BIAS_MAX = 127 };

static const char *const OPS[] = { "conv", "fc", NULL };
static const char *const ACTIVATIONS[] = { "none", "relu", NULL };
static const char *const OUTPUTS[] = { "u8", "i16", NULL };

/* What a description says about its weights file. */
struct weights_source {
    char file[256];
    char sha256[SHA256_HEX];
    double output_scale[NETWORK_LAYERS_MAX];
    double *weight_scale; /* all layers, one per output channel */
};

size_t network_input_size(const struct network *network)
{
    return (size_t)network_shape_size(network->input);
}

int64_t network_macs(const struct network *network)
{
    int64_t macs = 0;

    for (int i = 0; i < network->layer_count; i++) {
        const struct network_layer *layer = &network->layer[i];
        macs += (int64_t)network_windows(layer) * layer->rows * layer->out.channels;
    }
    return macs;
}

int network_argmax(const int32_t *output, int count)
{
    int best = 0;

    for (int i = 1; i < count; i++) {
        if (output[i] > output[best])
            best = i;
    }
    return best;
}

/* ---- Description ---- */

static int read_ints(const struct json_at *at, const char *key, bool required, int count, int min, int max,
                     int *out)
{
    struct json_at list = json_member(at, key, required);

    if (!list.node)
        return -1;
    if (!cJSON_IsArray(list.node) || json_count(&list) != count) {
        json_problem(&list, "", "must be an array of %d whole numbers", count);
        return -1;
    }
    const cJSON *node = list.node->child;
    for (int i = 0; i < count; i++, node = node->next) {
        double value = cJSON_IsNumber(node) ? node->valuedouble : NAN;
        if (!(value >= min && value <= max) || value != floor(value)) {
            json_problem(&list, "", "element %d must be a whole number from %d to %d", i, min, max);
            return -1;
        }
        out[i] = (int)value;
    }
    return 0;
}

static struct network_shape read_shape(const struct json_at *at, const char *key)
{
    int v[3] = { 1, 1, 1 };

    read_ints(at, key, true, 3, 1, NETWORK_CHANNELS_MAX, v);
    struct network_shape shape = { v[0], v[1], v[2] };
    if ((int64_t)v[0] * v[1] * v[2] > NETWORK_ACTIVATION_MAX) {
        struct json_at member = json_member(at, key, false);
        json_problem(&member, "", "more than %d elements", NETWORK_ACTIVATION_MAX);
        shape = (struct network_shape){ 1, 1, 1 };
    }
    return shape;
}

static void check_window(const struct json_at *at, const struct network_layer *l)
{
    int out_h = (l->in.height + 2 * l->pad_h - l->kernel_h) / l->stride_h + 1;
    int out_w = (l->in.width + 2 * l->pad_w - l->kernel_w) / l->stride_w + 1;

    if (l->in.height + 2 * l->pad_h < l->kernel_h || l->in.width + 2 * l->pad_w < l->kernel_w)
        json_problem(at, "", "the kernel is larger than the padded input");
    else if (out_h != l->out.height || out_w != l->out.width)
        json_problem(at, "", "out is %d x %d; kernel, stride and pad give %d x %d", l->out.height,
                     l->out.width, out_h, out_w);
    if (l->rows > NETWORK_KERNEL_ELEMENTS_MAX)
        json_problem(at, "", "a window of %d elements; at most %d are possible", l->rows,
                     NETWORK_KERNEL_ELEMENTS_MAX);
}

static void read_window(const struct json_at *at, struct network_layer *l)
{
    int kernel[2] = { l->in.height, l->in.width }, stride[2] = { 1, 1 }, pad[2] = { 0, 0 };

    if (l->op == NETWORK_CONV) {
        kernel[0] = kernel[1] = 1;
        read_ints(at, "kernel", true, 2, 1, 64, kernel);
        read_ints(at, "stride", true, 2, 1, 64, stride);
        read_ints(at, "pad", true, 2, 0, 64, pad);
    }
    l->kernel_h = kernel[0];
    l->kernel_w = kernel[1];
    l->stride_h = stride[0];
    l->stride_w = stride[1];
    l->pad_h = pad[0];
    l->pad_w = pad[1];
    l->rows = l->kernel_h * l->kernel_w * l->in.channels;
    check_window(at, l);
}

static void read_weights_place(const struct json_at *at, const struct network_layer *l,
                               size_t expected_offset)
{
    static const char *const known[] = { "offset", "count", NULL };
    struct json_at weights = json_member(at, "weights", true);

    if (!weights.node)
        return;
    json_only(&weights, known);
    int64_t offset = json_integer(&weights, "offset", true, 0, NETWORK_WEIGHTS_MAX, (int64_t)expected_offset);
    int64_t count = json_integer(&weights, "count", true, 1, NETWORK_WEIGHTS_MAX, 1);
    int64_t expected = (int64_t)l->rows * l->out.channels;
    if (count != expected)
        json_problem(&weights, "", "count is %lld; the shapes need %lld weights", (long long)count,
                     (long long)expected);
    if (offset != (int64_t)expected_offset)
        json_problem(&weights, "in weights, from the start of the file",
                     "offset is %lld; the layers before end at %zu", (long long)offset, expected_offset);
}

static void read_layer_head(const struct json_at *at, struct network_layer *l, bool last)
{
    const char *name = json_string(at, "name", true, "");

    if (*name == '\0' || strlen(name) >= NETWORK_NAME_MAX)
        json_problem(at, "", "a layer's name has 1 to %d characters", NETWORK_NAME_MAX - 1);
    snprintf(l->name, sizeof l->name, "%.*s", NETWORK_NAME_MAX - 1, name);
    l->op = (enum network_op)json_choice(at, "op", true, OPS, NETWORK_CONV);
    l->in = read_shape(at, "in");
    l->out = read_shape(at, "out");
    l->relu = json_choice(at, "activation", true, ACTIVATIONS, 0) == 1;
    l->output = (enum network_output)json_choice(at, "output", true, OUTPUTS, NETWORK_U8);
    l->weight_bits = (int)json_integer(at, "weight_bits", true, 1, WEIGHT_BITS_MAX, WEIGHT_BITS_MAX);
    if (!last && l->output != NETWORK_U8)
        json_problem(at, "", "only the last layer can have the output i16: inputs of a layer are u8");
    if (l->relu != (l->output == NETWORK_U8))
        json_problem(
            at, "", "output u8 goes with activation relu, i16 with none: the chip's clamp is the activation");
}

/* Layer i; *ret_channels is advanced by its output channels, *ret_weights by its weights. */
static void read_layer(const struct json_at *at, struct network *n, int i, bool last,
                       struct weights_source *source, size_t *ret_channels, size_t *ret_weights)
{
    static const char *const known[] = { "name",   "op",           "in",          "out",
                                         "kernel", "stride",       "pad",         "activation",
                                         "output", "weights",      "weight_bits", "weight_scale",
                                         "bias",   "output_scale", NULL };
    struct network_layer *l = &n->layer[i];
    int bias[NETWORK_CHANNELS_MAX] = { 0 };

    json_only(at, known);
    read_layer_head(at, l, last);
    read_window(at, l);
    read_weights_place(at, l, *ret_weights);
    source->output_scale[i] = json_double(at, "output_scale", true, 1e-300, 1e300, 1);
    double *scale = source->weight_scale + *ret_channels;
    int scales = json_doubles(at, "weight_scale", true, scale, l->out.channels);
    if (scales != l->out.channels)
        json_problem(at, "", "weight_scale has %d elements for %d output channels", scales, l->out.channels);
    for (int c = 0; c < scales; c++) {
        if (!(scale[c] > 0) || !isfinite(scale[c]))
            json_problem(at, "", "weight_scale[%d] must be finite and above 0", c);
    }
    read_ints(at, "bias", true, l->out.channels, BIAS_MIN, BIAS_MAX, bias);
    int16_t *bias_out = n->integers + NETWORK_WEIGHTS_MAX + *ret_channels;
    for (int c = 0; c < l->out.channels; c++)
        bias_out[c] = (int16_t)bias[c];
    *ret_channels += (size_t)l->out.channels;
    *ret_weights += (size_t)l->rows * (size_t)l->out.channels;
}

static void read_layers(const struct json_at *root, struct network *n, struct weights_source *source)
{
    struct json_at list = json_member(root, "layers", true);
    struct network_shape shape = n->input;
    size_t channels = 0;

    n->layer_count = json_count(&list);
    if (!list.node || !cJSON_IsArray(list.node) || n->layer_count < 1 ||
        n->layer_count > NETWORK_LAYERS_MAX) {
        if (list.node)
            json_problem(&list, "", "must be an array of 1 to %d layers", NETWORK_LAYERS_MAX);
        n->layer_count = 0;
        return;
    }
    for (int i = 0; i < n->layer_count; i++) {
        struct json_at at = json_element(&list, i);
        read_layer(&at, n, i, i == n->layer_count - 1, source, &channels, &n->weight_count);
        const struct network_layer *l = &n->layer[i];
        if (memcmp(&l->in, &shape, sizeof shape) != 0)
            json_problem(&at, "", "in is %d x %d x %d; what comes before gives %d x %d x %d", l->in.height,
                         l->in.width, l->in.channels, shape.height, shape.width, shape.channels);
        shape = l->out;
        if (n->weight_count > NETWORK_WEIGHTS_MAX) {
            json_problem(&at, "", "more than %d weights", NETWORK_WEIGHTS_MAX);
            n->layer_count = 0;
            return;
        }
    }
    if (network_shape_size(shape) != n->class_count)
        json_problem(&list, "", "the last layer gives %d values for %d classes", network_shape_size(shape),
                     n->class_count);
}

static void read_description(const struct json_at *root, struct network *n, struct weights_source *source)
{
    static const char *const known[] = { "$schema",        "format",   "version", "name",
                                         "input",          "classes",  "layers",  "weights_file",
                                         "weights_sha256", "training", NULL };
    static const char *const input_known[] = { "shape", "scale", NULL };
    static const char *const formats[] = { "nightbench-network", NULL };

    json_only(root, known);
    json_choice(root, "format", true, formats, 0);
    json_integer(root, "version", true, 1, 1, 1);
    snprintf(n->name, sizeof n->name, "%s", json_string(root, "name", true, ""));
    struct json_at input = json_member(root, "input", true);
    if (input.node) {
        json_only(&input, input_known);
        n->input = read_shape(&input, "shape");
        n->input_scale = json_double(&input, "scale", true, 1e-300, 1e300, 1);
    }
    struct json_at classes = json_member(root, "classes", true);
    n->class_count = json_count(&classes);
    if (classes.node && (n->class_count < 1 || n->class_count > NETWORK_CLASSES_MAX)) {
        json_problem(&classes, "", "1 to %d classes are possible", NETWORK_CLASSES_MAX);
        n->class_count = 0;
    }
    for (int i = 0; i < n->class_count; i++) {
        struct json_at item = json_element(&classes, i);
        if (!cJSON_IsString(item.node))
            json_problem(&item, "", "must be a name");
        else
            snprintf(n->class_name[i], NETWORK_NAME_MAX, "%s", item.node->valuestring);
    }
    snprintf(source->file, sizeof source->file, "%s", json_string(root, "weights_file", true, ""));
    if (strchr(source->file, '/'))
        json_problem(root, "", "weights_file lies beside the description: a name without '/'");
    snprintf(source->sha256, sizeof source->sha256, "%s", json_string(root, "weights_sha256", true, ""));
    read_layers(root, n, source);
}

/* ---- Weights ---- */

/* What balanced octal digits -4..3 hold, within two's complement of that many bits. */
static void weight_range(int bits, int *ret_min, int *ret_max)
{
    int slices = (bits + WEIGHT_DIGIT_BITS - 1) / WEIGHT_DIGIT_BITS;
    int ones = ((1 << (WEIGHT_DIGIT_BITS * slices)) - 1) / 7; /* 1, 11, 111 in octal */
    int min = -(1 << (bits - 1)), max = (1 << (bits - 1)) - 1;

    *ret_min = min > -4 * ones ? min : -4 * ones;
    *ret_max = max < 3 * ones ? max : 3 * ones;
}

static int check_weights(const struct network *n, struct error *err)
{
    for (int i = 0; i < n->layer_count; i++) {
        const struct network_layer *l = &n->layer[i];
        int min, max;
        weight_range(l->weight_bits, &min, &max);
        for (int w = 0; w < l->rows * l->out.channels; w++) {
            if (l->weight[w] < min || l->weight[w] > max)
                return error_set(err, ERR_RANGE, "layer '%s', weight %d is %d; %d-bit cells hold %d..%d",
                                 l->name, w, l->weight[w], l->weight_bits, min, max);
        }
    }
    return 0;
}

static int load_weights(const char *path, const struct weights_source *source, struct network *n,
                        struct error *err)
{
    char *file = NULL;
    char *text = NULL;
    char hex[SHA256_HEX];
    uint8_t digest[SHA256_BYTES];
    size_t length;
    const char *slash = strrchr(path, '/');
    int folder = slash ? (int)(slash - path) + 1 : 0;

    if (asprintf(&file, "%.*s%s", folder, path, source->file) < 0)
        return error_set(err, ERR_MEMORY, "no memory for a path");
    int rc = text_read_file(file, 2 * (size_t)NETWORK_WEIGHTS_MAX, &text, &length, err);
    if (rc)
        goto free_file;
    if (length != 2 * n->weight_count) {
        rc = error_set(err, ERR_INVALID, "%s: has %zu bytes; the layers need %zu", file, length,
                       2 * n->weight_count);
        goto free_text;
    }
    sha256(text, length, digest);
    hash_hex(digest, sizeof digest, hex);
    if (strcmp(hex, source->sha256) != 0) {
        rc = error_set(err, ERR_INVALID, "%s: SHA-256 is %s; %s says %s", file, hex, path, source->sha256);
        goto free_text;
    }
    for (size_t i = 0; i < n->weight_count; i++)
        n->integers[i] = (int16_t)((uint8_t)text[2 * i] | (uint8_t)text[2 * i + 1] << 8);
free_text:
    free(text);
free_file:
    free(file);
    return rc;
}

/* Points the layers into the tables and computes M; tables are cut to their size first. */
static int finish_layers(struct network *n, const struct weights_source *source, size_t channels,
                         struct error *err)
{
    size_t weights = n->weight_count;
    double scale_in = n->input_scale;
    const double *weight_scale = source->weight_scale;

    memmove(n->integers + weights, n->integers + NETWORK_WEIGHTS_MAX, channels * sizeof *n->integers);
    int16_t *smaller = realloc(n->integers, (weights + channels) * sizeof *n->integers);
    if (smaller)
        n->integers = smaller;
    n->multipliers = calloc(channels, sizeof *n->multipliers);
    if (!n->multipliers)
        return error_set(err, ERR_MEMORY, "no memory for a network's scales");
    const int16_t *weight = n->integers, *bias = n->integers + weights;
    double *m = n->multipliers;
    for (int i = 0; i < n->layer_count; i++) {
        struct network_layer *l = &n->layer[i];
        l->weight = weight;
        l->bias = bias;
        l->multiplier = m;
        for (int c = 0; c < l->out.channels; c++) {
            m[c] = scale_in * weight_scale[c] / source->output_scale[i];
            if (!(m[c] > 0) || !isfinite(m[c]))
                return error_set(err, ERR_INVALID, "layer '%s', channel %d: its scales give the factor %g",
                                 l->name, c, m[c]);
        }
        weight += (size_t)l->rows * (size_t)l->out.channels;
        weight_scale += l->out.channels;
        bias += l->out.channels;
        m += l->out.channels;
        scale_in = source->output_scale[i];
    }
    return 0;
}

static void hash_int(struct sha256_ctx *ctx, int value)
{
    uint8_t b[4] = { (uint8_t)value, (uint8_t)(value >> 8), (uint8_t)(value >> 16), (uint8_t)(value >> 24) };

    sha256_update(ctx, b, sizeof b);
}

static void hash_double(struct sha256_ctx *ctx, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    hash_int(ctx, (int)(uint32_t)bits);
    hash_int(ctx, (int)(uint32_t)(bits >> 32));
}

/* Names and remarks are left out: two descriptions of one function have one identity. */
static void hash_network(struct network *n)
{
    struct sha256_ctx ctx;
    uint8_t digest[SHA256_BYTES];

    sha256_init(&ctx);
    sha256_update(&ctx, "nightbench-network 1", 20);
    for (int i = 0; i < n->layer_count; i++) {
        const struct network_layer *l = &n->layer[i];
        const int head[] = { (int)l->op,   l->in.height,    l->in.width, l->in.channels, l->out.height,
                             l->out.width, l->out.channels, l->kernel_h, l->kernel_w,    l->stride_h,
                             l->stride_w,  l->pad_h,        l->pad_w,    (int)l->output, l->weight_bits };
        for (size_t k = 0; k < sizeof head / sizeof *head; k++)
            hash_int(&ctx, head[k]);
        for (int w = 0; w < l->rows * l->out.channels; w++)
            hash_int(&ctx, l->weight[w]);
        for (int c = 0; c < l->out.channels; c++) {
            hash_int(&ctx, l->bias[c]);
            hash_double(&ctx, l->multiplier[c]);
        }
    }
    sha256_final(&ctx, digest);
    hash_hex(digest, sizeof digest, n->hash);
}

static int network_build(const char *path, const struct json_at *root, struct network *n, struct error *err)
{
    struct weights_source source = { .weight_scale = NULL };
    size_t channels_max = (size_t)NETWORK_LAYERS_MAX * NETWORK_CHANNELS_MAX;
    size_t channels = 0;
    int rc;

    source.weight_scale = calloc(channels_max, sizeof *source.weight_scale);
    /* Only the pages that are used become memory: the table is sized for the limit and cut when the layers
     * are known. */
    n->integers = calloc(NETWORK_WEIGHTS_MAX + channels_max, sizeof *n->integers);
    if (!source.weight_scale || !n->integers) {
        rc = error_set(err, ERR_MEMORY, "no memory for a network");
        goto free_scales;
    }
    read_description(root, n, &source);
    rc = json_problems_error(root->problems, path, err);
    if (rc)
        goto free_scales;
    for (int i = 0; i < n->layer_count; i++)
        channels += (size_t)n->layer[i].out.channels;
    rc = load_weights(path, &source, n, err);
    if (rc)
        goto free_scales;
    rc = finish_layers(n, &source, channels, err);
    if (rc == 0)
        rc = check_weights(n, err);
    if (rc)
        error_prefix(err, "%s", path);
    else
        hash_network(n);
free_scales:
    free(source.weight_scale);
    return rc;
}

int network_load(const char *path, struct network **ret_network, struct error *err)
{
    cJSON *document = NULL;
    int rc = json_load(path, &document, err);

    if (rc)
        return rc;
    struct network *network = calloc(1, sizeof *network);
    struct json_problems *problems = calloc(1, sizeof *problems);
    if (!network || !problems) {
        rc = error_set(err, ERR_MEMORY, "no memory for the network %s", path);
    } else {
        struct json_at root = json_root(document, problems);
        rc = network_build(path, &root, network, err);
    }
    cJSON_Delete(document);
    free(problems);
    if (rc) {
        network_free(network);
        return rc;
    }
    *ret_network = network;
    return 0;
}

void network_free(struct network *network)
{
    if (!network)
        return;
    free(network->integers);
    free(network->multipliers);
    free(network);
}
