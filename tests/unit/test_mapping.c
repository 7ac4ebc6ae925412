/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_mapping: every weight gets exactly one place, nothing overlaps, memories hold what lives at the same
 * time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "chip/mapping.h"
#include "daemon/base/json.h"
#include "tests/unit/fixture_network.h"

static struct chip_profile *profile;

static int setup(void **state)
{
    struct error err;

    (void)state;
    return profile_load(FIXTURE_PROFILE, &profile, &err);
}

static int teardown(void **state)
{
    (void)state;
    profile_free(profile);
    return 0;
}

/* Brute force, independent of the packer: paints cells and weights. */
static void check_geometry(const struct network *n, const struct mapping *m)
{
    char *cells = calloc((size_t)m->core_count * (size_t)m->rows * (size_t)m->columns, 1);
    int64_t painted = 0;

    for (int s = 0; s < m->stage_count; s++) {
        const struct mapping_stage *st = &m->stage[s];
        const struct network_layer *l = &n->layer[st->layer];
        char *weights = calloc((size_t)l->rows * (size_t)l->out.channels, 1);
        for (int i = 0; i < st->block_count; i++) {
            const struct mapping_block *b = &m->block[st->first_block + i];
            assert_int_equal(b->stage, s);
            assert_true(st->core_mask >> b->core & 1);
            for (int r = 0; r < b->rows; r++) {
                for (int c = 0; c < b->channels; c++) {
                    char *w = &weights[(b->channel0 + c) * l->rows + b->vector0 + r];
                    assert_int_equal((*w)++, 0);
                }
                for (int c = 0; c < b->channels * st->slices; c++) {
                    assert_in_range(b->row0 + r, 0, m->rows - 1);
                    assert_in_range(b->column0 + c, 0, m->columns - 1);
                    char *cell = &cells[(b->core * m->rows + b->row0 + r) * m->columns + b->column0 + c];
                    assert_int_equal((*cell)++, 0);
                    painted++;
                }
            }
        }
        for (int c = st->channel0; c < st->channel0 + st->channels; c++) {
            for (int r = 0; r < l->rows; r++)
                assert_int_equal(weights[c * l->rows + r], 1);
        }
        free(weights);
    }
    assert_int_equal(painted, m->cells);
    free(cells);
}

/* Bytes that a stage reads and writes must not meet; and the input of the network is never written. */
static void check_memory(const struct network *n, const struct mapping *m)
{
    for (int s = 0; s < m->stage_count; s++) {
        const struct mapping_stage *st = &m->stage[s];
        const struct network_layer *l = &n->layer[st->layer];
        int bytes = l->output == NETWORK_I16 ? 2 : 1;
        int out_end = st->output_base + (network_windows(l) - 1) * st->output_pixel + st->channels * bytes;
        int in = st->input_base[st->owner], in_end = in + network_shape_size(l->in);
        assert_true(in >= 0 && in_end <= 8192);
        assert_true(st->output_base >= 0 && out_end <= 8192);
        assert_true(out_end <= in || in_end <= st->output_base);
        int first = m->stage[0].input_base[st->owner];
        if (first >= 0)
            assert_true(out_end <= first || first + network_shape_size(n->input) <= st->output_base);
    }
}

static void test_vad_fits(void **state)
{
    struct network *n = fixture_vad(1);
    struct mapping *m = NULL;
    struct error err = { 0 };

    (void)state;
    assert_non_null(n);
    assert_int_equal(network_macs(n), 1238256);
    if (mapping_create(n, profile, &m, &err))
        fail_msg("%s", err.message);
    assert_int_equal(m->cells, 76950);
    check_geometry(n, m);
    check_memory(n, m);
    /* 34,230 conversions when only fc1 is cut in two (the published count); ours must stay near. */
    assert_in_range(m->conversions, 34230, 34230 + 400);
    mapping_free(m);
    network_free(n);
}

static void test_deterministic(void **state)
{
    struct network *n = fixture_vad(1);
    struct mapping *a = NULL, *b = NULL;
    struct error err;

    (void)state;
    assert_int_equal(mapping_create(n, profile, &a, &err), 0);
    assert_int_equal(mapping_create(n, profile, &b, &err), 0);
    assert_string_equal(a->hash, b->hash);
    cJSON *root = mapping_report(a, n);
    double cells = 0;
    const cJSON *core;
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(root, "blocks")), a->block_count);
    cJSON_ArrayForEach(core, cJSON_GetObjectItem(root, "cores")) cells +=
        cJSON_GetObjectItem(core, "cells")->valuedouble;
    assert_true(cells == 76950 && cJSON_GetObjectItem(root, "cells")->valuedouble == cells);
    assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(root, "mapping_hash")), a->hash);
    cJSON_Delete(root);
    mapping_free(a);
    mapping_free(b);
    network_free(n);
}

static void test_too_large(void **state)
{
    static const struct fixture_layer spec[] = { { 0, 1, 1, 300, 9 }, { 0, 1, 1, 2, 9 } };
    struct network_shape input = { 1, 8, 20 };
    struct network *n = fixture_network(spec, 2, input, 3);
    struct mapping *m = NULL;
    struct error err;

    (void)state;
    assert_int_equal(mapping_create(n, profile, &m, &err), ERR_RANGE);
    /* 160 x 300 x 3 + 300 x 2 x 3 = 145,800 cells of 98,304 */
    assert_non_null(strstr(err.message, "needs 145800 cells, 47496 more"));
    assert_null(m);
    network_free(n);
}

static void test_memory_too_small(void **state)
{
    /* 24 x 24 x 18 activations between the first two layers: 10,368 bytes of 8,192. */
    static const struct fixture_layer spec[] = { { 3, 1, 1, 18, 9 }, { 3, 2, 2, 4, 3 }, { 0, 1, 1, 2, 3 } };
    struct network_shape input = { 24, 24, 1 };
    struct network *n = fixture_network(spec, 3, input, 3);
    struct mapping *m = NULL;
    struct error err;

    (void)state;
    assert_non_null(n);
    assert_int_equal(mapping_create(n, profile, &m, &err), ERR_RANGE);
    assert_non_null(strstr(err.message, "10368 bytes of activations, 2176 more"));
    network_free(n);
}

static void test_random_networks(void **state)
{
    uint64_t seed = 20260101;
    int fitted = 0;
    struct rng rng;

    (void)state;
    printf("seed %llu\n", (unsigned long long)seed);
    rng_init(&rng, seed, "mapping", 0, 0, 0);
    for (int i = 0; i < 60; i++) {
        static const int bits[] = { 3, 6, 9 };
        struct fixture_layer spec[5];
        int count = 2 + (int)rng_below(&rng, 4);
        for (int l = 0; l < count; l++) {
            bool last = l == count - 1;
            spec[l] =
                (struct fixture_layer){ last ? 0 : 3, 1 + (int)rng_below(&rng, 2), 2,
                                        last ? 2 : 4 + (int)rng_below(&rng, 90), bits[rng_below(&rng, 3)] };
        }
        struct network_shape input = { 5 + (int)rng_below(&rng, 6), 10 + (int)rng_below(&rng, 20),
                                       1 + (int)rng_below(&rng, 2) };
        struct network *n = fixture_network(spec, count, input, seed + (uint64_t)i);
        struct mapping *m = NULL;
        struct error err;
        if (!n)
            continue;
        if (mapping_create(n, profile, &m, &err) == 0) {
            check_geometry(n, m);
            check_memory(n, m);
            fitted++;
        } else {
            assert_int_equal(err.code, ERR_RANGE);
        }
        mapping_free(m);
        network_free(n);
    }
    printf("%d fitted\n", fitted);
    assert_true(fitted >= 15);
}

static void test_digits(void **state)
{
    struct error err;
    int d[MAPPING_SLICES_MAX];

    (void)state;
    for (int w = -292; w <= 219; w++) {
        assert_int_equal(mapping_digits(w, 3, d, &err), 0);
        assert_int_equal(d[0] + 8 * d[1] + 64 * d[2], w);
        for (int i = 0; i < 3; i++)
            assert_true(d[i] >= -4 && d[i] <= 3);
    }
    assert_int_equal(mapping_digits(220, 3, d, &err), ERR_RANGE);
    assert_int_equal(mapping_digits(-293, 3, d, &err), ERR_RANGE);
    assert_int_equal(mapping_digits(3, 1, d, &err), 0);
    assert_int_equal(mapping_digits(4, 1, d, &err), ERR_RANGE);
    assert_int_equal(mapping_slices(3, 3), 1);
    assert_int_equal(mapping_slices(4, 3), 2);
    assert_int_equal(mapping_slices(9, 3), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_digits),           cmocka_unit_test(test_vad_fits),
        cmocka_unit_test(test_deterministic),    cmocka_unit_test(test_too_large),
        cmocka_unit_test(test_memory_too_small), cmocka_unit_test(test_random_networks),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
