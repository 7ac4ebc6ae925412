/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * fixture_network: random networks, written as files and loaded as any other, for the tests of chip/.
 */
#ifndef TESTS_UNIT_FIXTURE_NETWORK_H
#define TESTS_UNIT_FIXTURE_NETWORK_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "chip/network.h"
#include "chip/profile.h"
#include "daemon/base/rng.h"
#include "daemon/base/text.h"

#define FIXTURE_PROFILE "configs/chips/adelia2.json"

struct fixture_layer {
    int kernel, stride_h, stride_w, channels; /* kernel 0: fully connected */
    int bits;
};

/* The published voice-activity network: 25,794 parameters, 1,238,256 MAC. */
static const struct fixture_layer FIXTURE_VAD[] = { { 3, 2, 2, 18, 9 }, { 3, 1, 1, 18, 9 },
                                                    { 3, 2, 1, 18, 9 }, { 3, 2, 2, 20, 9 },
                                                    { 3, 2, 2, 44, 9 }, { 0, 1, 1, 24, 9 },
                                                    { 0, 1, 1, 2, 9 } };

static inline void fixture_remove(const char *folder)
{
    char path[300];

    snprintf(path, sizeof path, "%s/net.json", folder);
    unlink(path);
    snprintf(path, sizeof path, "%s/net.weights", folder);
    unlink(path);
    rmdir(folder);
}

/* Writes net.json and net.weights into `folder`. */
static inline int fixture_write(const char *folder, const struct fixture_layer *spec, int count,
                                struct network_shape input, uint64_t seed, struct error *err)
{
    struct strbuf json = { NULL, 0, 0, false }, weights = { NULL, 0, 0, false };
    struct network_shape in = input;
    struct rng rng;
    char path[300], hex[SHA256_HEX];
    uint8_t digest[SHA256_BYTES];
    size_t offset = 0;
    double scale_in = 1.0 / 255;

    rng_init(&rng, seed, "fixture", 0, 0, 0);
    strbuf_add(&json,
               "{\"format\":\"nightbench-network\",\"version\":1,\"name\":\"random\",\"input\":{\"shape\":[%"
               "d,%d,%d],\"scale\":%.17g},"
               "\"classes\":[",
               in.height, in.width, in.channels, scale_in);
    for (int i = 0; i < spec[count - 1].channels; i++)
        strbuf_add(&json, "%s\"c%d\"", i ? "," : "", i);
    strbuf_add(&json, "],\"layers\":[");
    for (int l = 0; l < count; l++) {
        const struct fixture_layer *s = &spec[l];
        int pad = s->kernel / 2, last = l == count - 1;
        struct network_shape out = { 1, 1, s->channels };
        int rows = in.height * in.width * in.channels;
        if (s->kernel) {
            out.height = (in.height + 2 * pad - s->kernel) / s->stride_h + 1;
            out.width = (in.width + 2 * pad - s->kernel) / s->stride_w + 1;
            rows = s->kernel * s->kernel * in.channels;
        }
        int max = s->bits == 9 ? 219 : s->bits == 6 ? 27 : 3;
        double out_scale = 0.01 * (l + 1), m = (last ? 200.0 : 60.0) / (sqrt(rows) * 0.58 * max * 90);
        strbuf_add(&json, "%s{\"name\":\"l%d\",\"op\":\"%s\",\"in\":[%d,%d,%d],\"out\":[%d,%d,%d],",
                   l ? "," : "", l, s->kernel ? "conv" : "fc", in.height, in.width, in.channels, out.height,
                   out.width, out.channels);
        if (s->kernel)
            strbuf_add(&json, "\"kernel\":[%d,%d],\"stride\":[%d,%d],\"pad\":[%d,%d],", s->kernel, s->kernel,
                       s->stride_h, s->stride_w, pad, pad);
        strbuf_add(&json,
                   "\"activation\":\"%s\",\"output\":\"%s\",\"weights\":{\"offset\":%zu,\"count\":%d},"
                   "\"weight_bits\":%d,"
                   "\"output_scale\":%.17g,\"weight_scale\":[",
                   last ? "none" : "relu", last ? "i16" : "u8", offset, rows * s->channels, s->bits,
                   out_scale);
        for (int c = 0; c < s->channels; c++)
            strbuf_add(&json, "%s%.17g", c ? "," : "",
                       m * (0.8 + 0.4 * rng_uniform(&rng)) * out_scale / scale_in);
        strbuf_add(&json, "],\"bias\":[");
        for (int c = 0; c < s->channels; c++)
            strbuf_add(&json, "%s%d", c ? "," : "", (int)rng_below(&rng, 60) - 20);
        strbuf_add(&json, "]}");
        for (int w = 0; w < rows * s->channels; w++) {
            int value = (int)rng_below(&rng, (uint32_t)(2 * max + 1)) - max;
            uint8_t bytes[2] = { (uint8_t)value, (uint8_t)((unsigned)value >> 8) };
            strbuf_bytes(&weights, bytes, 2);
        }
        offset += (size_t)(rows * s->channels);
        in = out;
        scale_in = out_scale;
    }
    sha256(weights.text, weights.length, digest);
    hash_hex(digest, sizeof digest, hex);
    strbuf_add(&json, "],\"weights_file\":\"net.weights\",\"weights_sha256\":\"%s\"}", hex);
    snprintf(path, sizeof path, "%s/net.json", folder);
    int rc = text_write_file(path, json.text, json.length, err);
    snprintf(path, sizeof path, "%s/net.weights", folder);
    if (rc == 0)
        rc = text_write_file(path, weights.text, weights.length, err);
    strbuf_free(&json);
    strbuf_free(&weights);
    return rc;
}

/* A loaded random network, or NULL with the reason on stderr. */
static inline struct network *fixture_network(const struct fixture_layer *spec, int count,
                                              struct network_shape input, uint64_t seed)
{
    char folder[] = "/tmp/nightbench-network-XXXXXX", path[300];
    struct network *network = NULL;
    struct error err = { 0 };

    if (!mkdtemp(folder))
        return NULL;
    snprintf(path, sizeof path, "%s/net.json", folder);
    if (fixture_write(folder, spec, count, input, seed, &err) || network_load(path, &network, &err))
        fprintf(stderr, "%s\n", err.message);
    fixture_remove(folder);
    return network;
}

static inline struct network *fixture_vad(uint64_t seed)
{
    struct network_shape input = { 13, 64, 1 };

    return fixture_network(FIXTURE_VAD, 7, input, seed);
}

/* Something like a spectrogram: not all noise. */
static inline void fixture_input(uint8_t *out, size_t size, uint64_t seed)
{
    struct rng rng;

    rng_init(&rng, seed, "input", 0, 0, 0);
    for (size_t i = 0; i < size; i++)
        out[i] = (uint8_t)(rng_below(&rng, 160) + 48 * ((i / 7) % 2));
}

#endif
