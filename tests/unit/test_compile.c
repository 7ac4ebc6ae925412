/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_compile: weight images hold every weight, programs keep to the chip's limits, and random networks that
 * the mapper cuts in all ways compute the same in instructions as in the reference.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "chip/backend_chip.h"
#include "chip/reference.h"
#include "tests/unit/fixture_chip.h"
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

static int cell(const struct compile_core *core, int row, int column)
{
    int nibble = core->image[row * 32 + column / 2] >> (column & 1 ? 4 : 0) & 15;

    return nibble & 8 ? 99 : nibble > 3 ? nibble - 8 : nibble;
}

static void test_images(void **state)
{
    struct network *n = fixture_vad(2);
    struct mapping *m = NULL;
    struct chip_program *program = NULL;
    struct adc_config adc = { 9, 4 };
    struct error err;
    int64_t enabled = 0;

    (void)state;
    assert_int_equal(mapping_create(n, profile, &m, &err), 0);
    assert_int_equal(compile_program(n, m, profile, &adc, &program, &err), 0);
    for (int i = 0; i < m->block_count; i++) {
        const struct mapping_block *b = &m->block[i];
        const struct network_layer *l = &n->layer[m->stage[b->stage].layer];
        for (int c = 0; c < b->channels; c++) {
            for (int r = 0; r < b->rows; r++) {
                int column = b->column0 + 3 * c, row = b->row0 + r;
                const struct compile_core *core = &program->core[b->core];
                int w = cell(core, row, column) + 8 * cell(core, row, column + 1) +
                        64 * cell(core, row, column + 2);
                assert_int_equal(w, l->weight[(b->channel0 + c) * l->rows + b->vector0 + r]);
            }
        }
    }
    for (int core = 0; core < 6; core++) {
        for (int i = 0; i < 256 * 64; i++)
            enabled += cell(&program->core[core], i / 64, i % 64) != 99;
        assert_in_range(program->core[core].word_count, 1, 256);
        assert_int_equal(program->core[core].word[program->core[core].word_count - 1], 0x0F000000);
        char *listing = compile_listing(program, core);
        assert_non_null(strstr(listing, "HALT"));
        assert_null(strstr(listing, "???"));
        free(listing);
    }
    assert_int_equal(enabled, 76950); /* cells beside the network stay disabled */
    assert_int_equal(program->macs, 1238256);
    assert_int_equal(program->operations, 2 * 1238256);
    assert_null(compile_listing(program, 6));
    compile_free(program);
    mapping_free(m);
    network_free(n);
}

static void test_refuses_settings(void **state)
{
    static const struct adc_config bad[] = { { 7, 1 }, { 9, 3 }, { 11, 4 } };
    struct network *n = fixture_vad(2);
    struct mapping *m = NULL;
    struct chip_program *program = NULL;
    struct error err;

    (void)state;
    assert_int_equal(mapping_create(n, profile, &m, &err), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(compile_program(n, m, profile, &bad[i], &program, &err), ERR_RANGE);
    assert_null(program);
    mapping_free(m);
    network_free(n);
}

/* A program written by hand: two cores, one token. */
static void test_estimate(void **state)
{
    static const char *const first = "SET NCH, 10\nBN\nSIGNAL 1\nHALT",
                             *const second = "WAIT 0\nLOOP 2, 3\nNOP\nNOP\nHALT";
    struct chip_program *program = calloc(1, sizeof *program);
    int64_t cycles = 0;
    struct error err;

    (void)state;
    program->core_count = 6;
    program->core_mask = 3;
    program->adc = (struct adc_config){ 9, 4 };
    assert_int_equal(isa_assemble(first, program->core[0].word, 256, &program->core[0].word_count, &err), 0);
    assert_int_equal(isa_assemble(second, program->core[1].word, 256, &program->core[1].word_count, &err), 0);
    assert_int_equal(compile_estimate(profile, program, &cycles, &err), 0);
    /* core 0: 1 + 11 + 1 = 13 when the token leaves; core 1: WAIT ends at 14, LOOP, six NOPs, HALT */
    assert_int_equal(cycles, 13 + 1 + 1 + 6 + 1);
    program->core[0].word[2] = isa_word(ISA_WAIT, 1, 0);
    assert_int_equal(compile_estimate(profile, program, &cycles, &err), ERR_INVALID);
    assert_non_null(strstr(err.message, "wait for each other"));
    program->core[0].word[2] = 0x55000000;
    assert_int_equal(compile_estimate(profile, program, &cycles, &err), ERR_INVALID);
    program->core[0].word_count = 2;
    assert_int_equal(compile_estimate(profile, program, &cycles, &err), ERR_INVALID);
    free(program);
}

static int run_both(struct network *n, struct mapping *m, uint64_t seed)
{
    struct fake_chip *fake = calloc(1, sizeof *fake);
    struct spi_bus bus = fake_bus(fake);
    struct chip *chip = NULL;
    struct backend backend;
    struct reference *ref = NULL;
    struct adc_config adc = { 8 + (int)(seed % 3), 1 << seed % 3 };
    struct error err = { 0 };
    struct inference got;
    int32_t want[4];
    uint8_t input[4096];
    const uint8_t *inputs[] = { input };

    fixture_input(input, network_input_size(n), seed);
    assert_int_equal(chip_open(profile, &bus, &chip, &err), 0);
    assert_int_equal(backend_chip_open(chip, &backend, &err), 0);
    assert_int_equal(reference_open(n, m, profile, &ref, &err), 0);
    assert_int_equal(reference_configure(ref, &adc, &err), 0);
    int rc = backend.load(backend.context, n, m, &adc, &err);
    if (rc == 0) {
        if (backend.infer(backend.context, inputs, 1, &got, &err))
            fail_msg("seed %llu: %s", (unsigned long long)seed, err.message);
        assert_int_equal(reference_run(ref, input, want, NULL, &err), 0);
        assert_memory_equal(got.output, want, (size_t)n->class_count * sizeof *want);
        assert_true(llabs((long long)got.cycles - backend_chip_program(&backend)->cycles) <=
                    100 + got.cycles / 100);
    } else if (rc != ERR_FULL) { /* more instructions than a core holds is an honest answer */
        fail_msg("seed %llu: %s", (unsigned long long)seed, err.message);
    }
    reference_close(ref);
    backend.close(backend.context);
    chip_close(chip);
    free(fake);
    return rc == 0;
}

static void test_random_networks(void **state)
{
    uint64_t seed = 7000;
    int ran = 0, split = 0;
    struct rng rng;

    (void)state;
    printf("seed %llu\n", (unsigned long long)seed);
    rng_init(&rng, seed, "compile", 0, 0, 0);
    for (uint64_t i = 0; i < 24; i++) {
        static const int bits[] = { 3, 6, 9 };
        struct fixture_layer spec[5];
        int count = 2 + (int)rng_below(&rng, 3);
        for (int l = 0; l < count; l++) {
            bool last = l == count - 1;
            /* Above 64 channels a layer takes several stages. */
            spec[l] =
                (struct fixture_layer){ last ? 0 : 1 + 2 * (int)rng_below(&rng, 2),
                                        1 + (int)rng_below(&rng, 2), 2,
                                        last ? 2 : 4 + (int)rng_below(&rng, 100), bits[rng_below(&rng, 3)] };
        }
        struct network_shape input = { 3 + (int)rng_below(&rng, 5), 8 + (int)rng_below(&rng, 8),
                                       1 + (int)rng_below(&rng, 2) };
        struct network *n = fixture_network(spec, count, input, seed + i);
        struct mapping *m = NULL;
        if (n && mapping_create(n, profile, &m, NULL) == 0 && run_both(n, m, i)) {
            ran++;
            split += m->stage_count > n->layer_count;
        }
        mapping_free(m);
        network_free(n);
    }
    printf("%d ran, %d with layers of several stages\n", ran, split);
    assert_true(ran >= 10);
    assert_true(split >= 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_images),
        cmocka_unit_test(test_refuses_settings),
        cmocka_unit_test(test_estimate),
        cmocka_unit_test(test_random_networks),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
