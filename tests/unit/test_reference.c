/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_reference: the reference against a plain loop written from the page, and its formulas at their edges.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <time.h>

#include "chip/dataset.h"
#include "chip/reference.h"
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

/* The converter by the page's words: the largest code whose threshold the sum has reached, found by counting.
 */
static void test_code_formula(void **state)
{
    static const struct adc_config settings[] = { { 8, 1 }, { 8, 4 }, { 9, 2 }, { 10, 1 }, { 10, 4 } };
    int64_t fsi = 464 * 255;

    (void)state;
    for (size_t k = 0; k < sizeof settings / sizeof *settings; k++) {
        const struct adc_config *adc = &settings[k];
        int half = 1 << (adc->bits - 1), code = -half;
        for (int64_t s = -261120; s <= 261120; s += 13) {
            /* code + 1 is reached when s * g * 2^b / (2 FSI) + 1/2 >= code + 1 */
            while (code < half - 1 && s * adc->gain * (1 << adc->bits) + fsi >= (code + 1) * 2 * fsi)
                code++;
            assert_int_equal(reference_code((int32_t)s, adc, (int)fsi), code);
        }
    }
}

static void test_norm_formula(void **state)
{
    (void)state;
    assert_int_equal(reference_norm((struct compile_norm){ 16384, 14, 0 }, 100, NETWORK_U8), 100);
    assert_int_equal(reference_norm((struct compile_norm){ 16384, 15, 0 }, 101, NETWORK_U8),
                     51); /* 50.5 rounds up */
    assert_int_equal(reference_norm((struct compile_norm){ 16384, 15, 0 }, -101, NETWORK_I16),
                     -50); /* -50.5 too */
    assert_int_equal(reference_norm((struct compile_norm){ 16384, 14, -7 }, 300, NETWORK_U8), 255);
    assert_int_equal(reference_norm((struct compile_norm){ 16384, 14, -7 }, 3, NETWORK_U8), 0);
    assert_int_equal(reference_norm((struct compile_norm){ 1, 0, 5 }, 40000, NETWORK_I16), 32767);
    assert_int_equal(reference_norm((struct compile_norm){ 32767, 47, 0 }, -536870912, NETWORK_I16), 0);
    assert_int_equal(reference_bist_code(0, 0, 0, 9), -256);
    assert_int_equal(reference_bist_code(511, 1, 0, 9), ((511 + 37) % 512) - 256);
    assert_int_equal(reference_bist_code(7, 3, 1000, 10), ((7 + 111 + 11000) % 1024) - 512);
}

static void test_norm_entry(void **state)
{
    struct adc_config adc = { 9, 4 };
    struct compile_norm norm;
    struct error err;

    (void)state;
    for (double m = 1e-9; m < 1; m *= 1.37) {
        assert_int_equal(compile_norm_entry(profile, &adc, m, 3, &norm, &err), 0);
        double factor = m * 2 * 118320 / (4 * 512.0);
        assert_true(fabs(norm.scale / ldexp(1, norm.shift) / factor - 1) <= 1.0 / 32768);
        assert_true(norm.scale >= 16384);
        assert_true(norm.shift <= 47);
    }
    assert_int_equal(compile_norm_entry(profile, &adc, 1e6, 0, &norm, &err), ERR_RANGE);
}

/* From the page and the network's header alone: no strips, no scratch, no mapping order. */
static void brute_force(const struct network *n, const struct mapping *m, const struct adc_config *adc,
                        const uint8_t *input, bool exact, int32_t *out)
{
    uint8_t *in = malloc(NETWORK_ACTIVATION_MAX), *next = malloc(NETWORK_ACTIVATION_MAX);

    memcpy(in, input, network_input_size(n));
    for (int l = 0; l < n->layer_count; l++) {
        const struct network_layer *L = &n->layer[l];
        for (int w = 0; w < network_windows(L); w++) {
            for (int c = 0; c < L->out.channels; c++) {
                double acc = 0;
                int64_t psum = 0;
                for (int b = 0; b < m->block_count; b++) {
                    const struct mapping_block *B = &m->block[b];
                    const struct mapping_stage *S = &m->stage[B->stage];
                    if (S->layer != l || c < B->channel0 || c >= B->channel0 + B->channels)
                        continue;
                    for (int k = 0; k < S->slices; k++) {
                        int64_t sum = 0;
                        for (int r = B->vector0; r < B->vector0 + B->rows; r++) {
                            int ic = r % L->in.channels, kx = r / L->in.channels % L->kernel_w,
                                ky = r / L->in.channels / L->kernel_w;
                            int y = w / L->out.width * L->stride_h - L->pad_h + ky,
                                x = w % L->out.width * L->stride_w - L->pad_w + kx;
                            int v = y < 0 || x < 0 || y >= L->in.height || x >= L->in.width
                                        ? 0
                                        : in[(y * L->in.width + x) * L->in.channels + ic];
                            int weight = L->weight[c * L->rows + r];
                            int d = weight;
                            for (int i = 0; i <= k; i++) { /* digit k: peel off the lower ones */
                                int low = ((weight % 8) + 8) % 8;
                                d = low > 3 ? low - 8 : low;
                                weight = (weight - d) / 8;
                            }
                            sum += (int64_t)v * d;
                            if (k == 0)
                                acc += (double)v * L->weight[c * L->rows + r];
                        }
                        psum += (int64_t)reference_code((int32_t)sum, adc, 118320) * (1 << (3 * k));
                    }
                }
                struct compile_norm norm;
                compile_norm_entry(profile, adc, L->multiplier[c], L->bias[c], &norm, NULL);
                int32_t y = reference_norm(norm, (int32_t)psum, L->output);
                if (exact) {
                    double e = floor(acc * L->multiplier[c] + 0.5) + L->bias[c];
                    y = (int32_t)(L->output == NETWORK_I16 ? e : e < 0 ? 0 : e > 255 ? 255 : e);
                }
                if (l == n->layer_count - 1)
                    out[c] = y;
                else
                    next[w * L->out.channels + c] = (uint8_t)y;
            }
        }
        uint8_t *swap = in;
        in = next;
        next = swap;
    }
    free(in);
    free(next);
}

static void test_against_brute_force(void **state)
{
    static const struct adc_config settings[] = { { 9, 4 }, { 10, 1 }, { 8, 2 } };
    static const struct fixture_layer spec[] = { { 3, 2, 2, 10, 9 }, { 3, 1, 2, 70, 6 }, { 0, 1, 1, 3, 3 } };
    struct network_shape shape = { 7, 16, 2 };
    struct error err;

    (void)state;
    for (uint64_t seed = 1; seed <= 3; seed++) {
        struct network *n = fixture_network(spec, 3, shape, seed);
        struct mapping *m = NULL;
        struct reference *ref = NULL;
        uint8_t input[7 * 16 * 2];
        int32_t got[4], want[4];
        assert_non_null(n);
        fixture_input(input, sizeof input, seed);
        assert_int_equal(mapping_create(n, profile, &m, &err), 0);
        assert_int_equal(reference_open(n, m, profile, &ref, &err), 0);
        assert_int_equal(reference_run(ref, input, got, NULL, &err), ERR_CONFLICT);
        for (int k = 0; k < 3; k++) {
            assert_int_equal(reference_configure(ref, &settings[k], &err), 0);
            assert_int_equal(reference_run(ref, input, got, NULL, &err), 0);
            brute_force(n, m, &settings[k], input, false, want);
            assert_memory_equal(got, want, 3 * sizeof *got);
        }
        assert_int_equal(reference_run_exact(ref, input, got, &err), 0);
        brute_force(n, m, &settings[0], input, true, want);
        assert_memory_equal(got, want, 3 * sizeof *got);
        reference_close(ref);
        mapping_free(m);
        network_free(n);
    }
}

static void test_speed_and_size(void **state)
{
    struct network *n = fixture_vad(5);
    struct mapping *m = NULL;
    struct reference *ref = NULL;
    struct adc_config adc = { 9, 4 };
    struct error err;
    uint8_t input[832];
    int32_t out[4];
    struct timespec a, b;

    (void)state;
    fixture_input(input, sizeof input, 1);
    assert_int_equal(mapping_create(n, profile, &m, &err), 0);
    assert_int_equal(reference_open(n, m, profile, &ref, &err), 0);
    assert_int_equal(reference_configure(ref, &adc, &err), 0);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
    for (int i = 0; i < 20; i++)
        assert_int_equal(reference_run(ref, input, out, NULL, &err), 0);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
    printf("%.2f ms per inference\n",
           ((double)(b.tv_sec - a.tv_sec) * 1e3 + (double)(b.tv_nsec - a.tv_nsec) * 1e-6) / 20);
    reference_close(ref);
    mapping_free(m);
    network_free(n);
}

/* The trained network on real sound, where both are there: exact integers must give the accuracy that
 * training reported. */
static void test_trained_network(void **state)
{
    struct network *n = NULL;
    struct dataset *set = NULL;
    struct mapping *m = NULL;
    struct reference *ref = NULL;
    struct error err;
    int exact = 0, ideal = 0, count;

    (void)state;
    if (network_load("configs/networks/adelia-vad-w9.json", &n, &err))
        fail_msg("%s", err.message);
    if (mapping_create(n, profile, &m, &err))
        fail_msg("%s", err.message);
    assert_int_equal(m->cells, 76950);
    if (dataset_open("data/vad-test.nbds", &set, &err)) {
        printf("no data set here: accuracy not checked (make data)\n");
        mapping_free(m);
        network_free(n);
        return;
    }
    assert_int_equal(reference_open(n, m, profile, &ref, &err), 0);
    struct adc_config adc = { 10, 4 };
    assert_int_equal(reference_configure(ref, &adc, &err), 0);
    count = dataset_count(set) < 200 ? dataset_count(set) : 200;
    for (int i = 0; i < count; i++) {
        int32_t out[4];
        int at = (int)((int64_t)i * dataset_count(set) / count);
        assert_int_equal(reference_run_exact(ref, dataset_sample(set, at), out, &err), 0);
        exact += network_argmax(out, n->class_count) == dataset_label(set, at);
        assert_int_equal(reference_run(ref, dataset_sample(set, at), out, NULL, &err), 0);
        ideal += network_argmax(out, n->class_count) == dataset_label(set, at);
    }
    printf("%d samples: exact integers %d right, ideal converters %d right\n", count, exact, ideal);
    /* Training reports about 88 %: 200 samples give +-5 points at two sigma. */
    assert_in_range(exact, count * 80 / 100, count);
    reference_close(ref);
    dataset_close(set);
    mapping_free(m);
    network_free(n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_code_formula),   cmocka_unit_test(test_norm_formula),
        cmocka_unit_test(test_norm_entry),     cmocka_unit_test(test_against_brute_force),
        cmocka_unit_test(test_speed_and_size), cmocka_unit_test(test_trained_network),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
