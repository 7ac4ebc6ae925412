/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_golden: the digital self-test and the golden check against the simulated chip, which has offsets,
 * noise, mismatch and drift. A part within its spread passes; wrong weights, a wrong scale and a wrong
 * instruction each fail.
 */
#include <math.h>
#include <stdio.h>

#include "chip/backend_chip.h"
#include "chip/bist.h"
#include "chip/golden.h"
#include "daemon/base/rng.h"
#include "tests/unit/simchip_rig.h"

/* As configs/benches describes an uncalibrated part. */
#define POPULATION                                                                                           \
    "{\"population\":{\"mismatch_sigma\":0.03,\"adc_offset_lsb\":1.0,\"adc_gain_sigma\":0.01,\"adc_noise_"   \
    "lsb\":0.3,"                                                                                             \
    "\"pga_noise\":0.001,\"inl_lsb\":0.2}}"

enum { SAMPLES = 10, INPUT_BYTES = 13 * 64, DIES = 4 };

struct check {
    struct rig rig;
    struct spi_bus bus;
    struct chip_profile *profile;
    struct network *network;
    struct mapping *mapping;
    struct reference *reference;
    struct chip *chip;
    struct backend backend;
    struct golden golden;
    struct golden_limits limits;
    struct golden_report report;
    uint8_t input[SAMPLES][INPUT_BYTES];
    const uint8_t *inputs[SAMPLES];
};

static const struct adc_config ADC = { 9, 4 };

static int bus_batch(void *context, const struct spi_transfer *transfer, int count, struct error *err)
{
    struct rig *rig = context;

    (void)err;
    for (int i = 0; i < count; i++) {
        uint8_t nothing[1];
        rig_spi(rig, transfer[i].tx, transfer[i].tx_len, transfer[i].rx_len ? transfer[i].rx : nothing,
                transfer[i].rx_len);
        rig->now_ns += (int64_t)transfer[i].delay_us * 1000;
    }
    return 0;
}

static int64_t bus_now(void *context)
{
    return ((struct rig *)context)->now_ns;
}

static int bus_wait(void *context, int64_t duration_ns, struct error *err)
{
    (void)err;
    ((struct rig *)context)->now_ns += duration_ns;
    return 0;
}

#define OK(call)                                                                                             \
    do {                                                                                                     \
        if (call)                                                                                            \
            fail_msg("%s", err.message);                                                                     \
    } while (0)

static void open_check(struct check *c, const char *population, int die)
{
    struct error err = { 0 };
    struct rng rng;

    memset(c, 0, sizeof *c);
    rig_open(&c->rig, population, die);
    c->bus = (struct spi_bus){ .context = &c->rig,
                               .batch = bus_batch,
                               .now = bus_now,
                               .wait = bus_wait,
                               .clock_hz = 20e6,
                               .tx_max = SPI_TX_MAX,
                               .rx_max = SPI_RX_MAX };
    OK(profile_load("configs/chips/adelia2.json", &c->profile, &err));
    OK(network_load("configs/networks/adelia-vad-w9.json", &c->network, &err));
    OK(mapping_create(c->network, c->profile, &c->mapping, &err));
    OK(reference_open(c->network, c->mapping, c->profile, &c->reference, &err));
    OK(chip_open(c->profile, &c->bus, &c->chip, &err));
    OK(backend_chip_open(c->chip, &c->backend, &err));
    /* Smooth and of different loudness, so that activations live through the layers. */
    rng_init(&rng, 4, "test_golden", 0, 0, 0);
    for (int i = 0; i < SAMPLES; i++) {
        double level = 96;
        for (int j = 0; j < INPUT_BYTES; j++) {
            level += (3 + i) * rng_normal(&rng) + 0.02 * (96 - level);
            c->input[i][j] = (uint8_t)fmin(fmax(level, 0), 255);
        }
        c->inputs[i] = c->input[i];
    }
    c->limits = golden_limits_default(SAMPLES);
    OK(golden_compute(c->reference, c->network, c->mapping, &ADC, c->inputs, SAMPLES, &c->golden, &err));
    OK(c->backend.load(c->backend.context, c->network, c->mapping, &ADC, &err));
}

static void close_check(struct check *c)
{
    c->backend.close(c->backend.context);
    chip_close(c->chip);
    reference_close(c->reference);
    mapping_free(c->mapping);
    network_free(c->network);
    profile_free(c->profile);
    rig_close(&c->rig);
}

static int run_check(struct check *c, struct error *err)
{
    return golden_check(c->chip, backend_chip_program(&c->backend), c->reference, c->network, c->mapping,
                        c->inputs, &c->golden, &c->limits, &c->report, err);
}

static void test_digital_part(void **state)
{
    struct check c;
    struct bist_report report;
    struct error err = { 0 };

    (void)state;
    open_check(&c, POPULATION, 1);
    for (int seed = 0; seed < 60000; seed += 29999) {
        OK(bist_run(c.chip, backend_chip_program(&c.backend), c.reference, c.network, c.mapping, seed,
                    &report, &err));
        if (report.mismatched)
            fail_msg("seed %d: %s", seed, report.first);
        assert_true(report.checked > 700);
    }
    close_check(&c);
}

static void test_dies_pass(void **state)
{
    (void)state;
    for (int die = 1; die <= DIES; die++) {
        struct check c;
        struct error err = { 0 };
        open_check(&c, POPULATION, die);
        int rc = run_check(&c, &err);
        printf("die %d: %d/%d agree, %d/%d sums out, rms %.2f sigma\n", die, c.report.agreed, c.report.count,
               c.report.outliers, c.report.sums, c.report.rms_sigma);
        if (rc)
            fail_msg("die %d: %s", die, err.message);
        assert_true(c.report.rms_sigma > 0.2); /* the stated spread is not a blank cheque */
        assert_int_equal(c.report.norm_errors, 0);
        close_check(&c);
    }
}

/* Weights of one layer are those of another network: a row of each array moved to the next. */
static void test_wrong_weights(void **state)
{
    const uint32_t words[] = { isa_word(ISA_LDW, 0, 0), isa_word(ISA_HALT, 0, 0) };
    struct check c;
    struct error err = { 0 };
    uint8_t image[8192], code[8], program[8];
    uint32_t cycles, err_bits;
    int core;

    (void)state;
    open_check(&c, POPULATION, 2);
    core = c.mapping->stage[1].owner;
    OK(chip_memory_read(c.chip, core, "WMEM", 0, image, sizeof image, &err));
    memmove(image + 32, image, sizeof image - 32);
    OK(chip_memory_write(c.chip, core, "WMEM", 0, image, sizeof image, true, &err));
    /* The chip loads them by a program of its own; then the right program comes back. */
    for (int i = 0; i < 8; i++)
        code[i] = (uint8_t)(words[i / 4] >> (24 - 8 * (i % 4)));
    OK(chip_memory_read(c.chip, core, "IMEM", 0, program, sizeof program, &err));
    OK(chip_memory_write(c.chip, core, "IMEM", 0, code, sizeof code, true, &err));
    for (int i = 0; i < 6; i++)
        OK(chip_write(c.chip, i, "CTRL", i == core, &err));
    OK(chip_start(c.chip, &err));
    OK(chip_wait(c.chip, 30000, &cycles, &err_bits, &err));
    OK(chip_memory_write(c.chip, core, "IMEM", 0, program, sizeof program, true, &err));
    OK(chip_write(c.chip, CHIP_ALL_CORES, "CTRL", 1, &err));
    assert_int_equal(run_check(&c, &err), ERR_MISMATCH);
    assert_int_equal(c.report.norm_errors, 0);
    assert_non_null(strstr(c.report.reason, "sums"));
    close_check(&c);
}

static void test_wrong_scale(void **state)
{
    struct check c;
    struct error err = { 0 };
    uint8_t norm[4 * 18];

    (void)state;
    open_check(&c, POPULATION, 3);
    const struct mapping_stage *stage = &c.mapping->stage[2];
    OK(chip_memory_read(c.chip, stage->owner, "BNP", (uint32_t)(4 * stage->bn0), norm, sizeof norm, &err));
    for (int i = 0; i < 18; i++)
        norm[4 * i + 2]--; /* half the shift's divisor: twice the scale */
    OK(chip_memory_write(c.chip, stage->owner, "BNP", (uint32_t)(4 * stage->bn0), norm, sizeof norm, true,
                         &err));
    assert_int_equal(run_check(&c, &err), ERR_MISMATCH);
    assert_true(c.report.norm_errors > 0);
    assert_non_null(strstr(c.report.reason, "norm"));
    close_check(&c);
}

static void test_wrong_instruction(void **state)
{
    struct check c;
    struct error err = { 0 };
    int planted = 0;

    (void)state;
    open_check(&c, POPULATION, 4);
    const struct chip_program *program = backend_chip_program(&c.backend);
    int core = c.mapping->stage[1].owner;
    for (int i = 0; i < program->core[core].word_count && planted == 0; i++) {
        uint8_t word[4] = { ISA_SET, ISA_P_W, 0, 0 };
        if (program->core[core].word[i] != isa_word(ISA_SET, ISA_P_W, 1))
            continue;
        OK(chip_memory_write(c.chip, core, "IMEM", (uint32_t)(4 * i), word, sizeof word, true, &err));
        planted++;
    }
    assert_int_equal(planted, 1);
    assert_int_equal(run_check(&c, &err), ERR_MISMATCH);
    assert_false(c.report.pass);
    close_check(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_digital_part),      cmocka_unit_test(test_dies_pass),
        cmocka_unit_test(test_wrong_weights),     cmocka_unit_test(test_wrong_scale),
        cmocka_unit_test(test_wrong_instruction),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
