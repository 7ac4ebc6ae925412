/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * fuzz_network: descriptions of networks with a weights file that fits: its length is what the shapes in the
 * document need, its hash is put into the document, so that what comes behind the hash is reached.
 *
 * sources: daemon/base/error.c daemon/base/text.c daemon/base/json.c daemon/base/json_read.c
 * sources: daemon/base/hash.c chip/network.c
 * aims: chip/network.c
 * edges: 240 */
#include "chip/network.h"

#include <math.h>

#include "tests/fuzz/json_mutator.h"

enum { SMALL = 1 << 16 }; /* weights: larger networks are tried with an empty file */

static char folder[64], description[80], weights[80];

static void remove_files(void)
{
    unlink(description);
    unlink(weights);
    rmdir(folder);
}

static void write_file(const char *path, const void *data, size_t size)
{
    FILE *file = fopen(path, "wb");

    FUZZ_CHECK(file != NULL && fwrite(data, 1, size, file) == size && fclose(file) == 0);
}

/* Weights that the document's layers count, as they say themselves. */
static size_t count_weights(const cJSON *root)
{
    const cJSON *layer;
    double count = 0;

    cJSON_ArrayForEach(layer, cJSON_GetObjectItemCaseSensitive(root, "layers"))
    {
        const cJSON *place = cJSON_GetObjectItemCaseSensitive(layer, "weights");
        const cJSON *number = cJSON_GetObjectItemCaseSensitive(place, "count");
        count += cJSON_IsNumber(number) ? number->valuedouble : 0;
    }
    return count >= 0 && count <= SMALL ? (size_t)count : 0;
}

static void write_pair(cJSON *root, uint8_t fill)
{
    size_t size = 2 * count_weights(root);
    uint8_t *bytes = calloc(size + 1, 1), digest[SHA256_BYTES];
    char hex[SHA256_HEX], *text;

    FUZZ_CHECK(bytes != NULL);
    for (size_t i = 0; i < size; i += 2)
        bytes[i] = (uint8_t)((i * 7 + fill) % 4);
    sha256(bytes, size, digest);
    hash_hex(digest, sizeof digest, hex);
    write_file(weights, bytes, size);
    if (cJSON_IsString(cJSON_GetObjectItemCaseSensitive(root, "weights_sha256")))
        cJSON_ReplaceItemInObjectCaseSensitive(root, "weights_sha256", cJSON_CreateString(hex));
    text = json_print(root, false);
    FUZZ_CHECK(text != NULL);
    write_file(description, text, strlen(text));
    free(text);
    free(bytes);
}

/* A network that was accepted hangs together from its input to its classes. */
static void check_network(const struct network *network)
{
    struct network_shape shape = network->input;
    size_t count = 0;

    FUZZ_CHECK(network->layer_count >= 1 && network->layer_count <= NETWORK_LAYERS_MAX);
    FUZZ_CHECK(strlen(network->hash) == SHA256_HEX - 1);
    for (int i = 0; i < network->layer_count; i++) {
        const struct network_layer *layer = &network->layer[i];
        long sum = 0;

        FUZZ_CHECK(memcmp(&layer->in, &shape, sizeof shape) == 0);
        FUZZ_CHECK(layer->rows == layer->kernel_h * layer->kernel_w * layer->in.channels);
        for (int w = 0; w < layer->rows * layer->out.channels; w++)
            sum += layer->weight[w];
        for (int c = 0; c < layer->out.channels; c++)
            FUZZ_CHECK(layer->multiplier[c] > 0 && isfinite(layer->multiplier[c]) && layer->bias[c] >= -128 &&
                       layer->bias[c] <= 127);
        FUZZ_CHECK(sum >= -(1L << 40));
        count += (size_t)layer->rows * (size_t)layer->out.channels;
        shape = layer->out;
    }
    FUZZ_CHECK(count == network->weight_count);
    FUZZ_CHECK(network_shape_size(shape) == network->class_count);
    FUZZ_CHECK(network_macs(network) > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct network *network = NULL;
    struct error err = { 0 };
    cJSON *root = NULL;

    if (description[0] == '\0') {
        fuzz_folder(folder, sizeof folder);
        snprintf(description, sizeof description, "%s/net.json", folder);
        snprintf(weights, sizeof weights, "%s/w", folder);
        atexit(remove_files);
    }
    if (json_parse((const char *)data, size, &root, NULL) != 0)
        return 0;
    write_pair(root, (uint8_t)size);
    cJSON_Delete(root);
    int code = network_load(description, &network, &err);
    if (code != 0) {
        fuzz_check_refusal(code, &err, network);
        return 0;
    }
    check_network(network);
    network_free(network);
    return 0;
}
