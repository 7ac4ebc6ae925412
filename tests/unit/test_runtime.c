/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_runtime: the chip's host library against a small chip of this test's own: framing, names, loading,
 * running, bad links and bad chips. What the compiled program computes must equal the reference bit by bit.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "chip/backend_chip.h"
#include "chip/backend_recording.h"
#include "chip/backend_reference.h"
#include "chip/bist.h"
#include "chip/golden.h"
#include "tests/unit/fixture_chip.h"
#include "tests/unit/fixture_network.h"

struct rig {
    struct chip_profile *profile;
    struct network *network;
    struct mapping *mapping;
    struct fake_chip *fake;
    struct spi_bus bus;
    struct chip *chip;
    struct backend chip_backend, reference_backend;
    uint8_t input[70][832];
    const uint8_t *inputs[70];
};

static int setup(void **state)
{
    struct rig *rig = calloc(1, sizeof *rig);
    struct error err = { 0 };

    rig->fake = calloc(1, sizeof *rig->fake);
    rig->network = fixture_vad(11);
    rig->bus = fake_bus(rig->fake);
    if (!rig->network || profile_load(FIXTURE_PROFILE, &rig->profile, &err) ||
        mapping_create(rig->network, rig->profile, &rig->mapping, &err) ||
        chip_open(rig->profile, &rig->bus, &rig->chip, &err) ||
        backend_chip_open(rig->chip, &rig->chip_backend, &err) ||
        backend_reference_open(rig->profile, &rig->reference_backend, &err)) {
        fprintf(stderr, "%s\n", err.message);
        return -1;
    }
    for (int i = 0; i < 70; i++) {
        fixture_input(rig->input[i], 832, (uint64_t)i);
        rig->inputs[i] = rig->input[i];
    }
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    struct rig *rig = *state;

    rig->chip_backend.close(rig->chip_backend.context);
    rig->reference_backend.close(rig->reference_backend.context);
    chip_close(rig->chip);
    mapping_free(rig->mapping);
    network_free(rig->network);
    profile_free(rig->profile);
    free(rig->fake);
    free(rig);
    return 0;
}

static void load_both(struct rig *rig, int bits, int gain)
{
    struct adc_config adc = { bits, gain };
    struct error err = { 0 };

    if (rig->chip_backend.load(rig->chip_backend.context, rig->network, rig->mapping, &adc, &err))
        fail_msg("%s", err.message);
    assert_int_equal(
        rig->reference_backend.load(rig->reference_backend.context, rig->network, rig->mapping, &adc, &err),
        0);
}

static void test_framing_vectors(void **state)
{
    struct rig *rig = *state;
    const struct profile_spi *spi = &rig->profile->spi;
    uint8_t out[FRAMING_BYTES_MAX], data[16];
    const uint8_t id[] = { 0x0b, 0, 0, 0, 0, 0xbf }, two[] = { 0, 0, 0, 1, 0, 0, 0, 2 };
    const uint8_t write[] = { 0x02, 0, 1, 0, 1, 0xa8, 0, 0, 0, 1, 0, 0, 0, 2, 0xbb, 0x2d };
    const uint8_t id_reply[] = { 0xff, 0xa0, 0xa5, 0x1c, 0x00, 0x01, 0x4b, 0x78 };
    const uint8_t past_end[] = { 0xff, 0xa4, 0, 0, 0, 0, 0, 0, 0, 0, 0x9c, 0xd3 };
    const uint8_t ok[] = { 0xff, 0xa0, 0x69 }, locked[] = { 0xff, 0xa8, 0x51 }, high[] = { 0xff, 0xff, 0xff },
                  low[] = { 0, 0, 0 };
    const uint8_t noise[] = { 0xff, 0xa0, 0x68 }, strange[] = { 0xff, 0x41, 0x13 };
    struct error err;
    int rx;

    assert_int_equal(framing_crc8((const uint8_t *)"123456789", 9), 0xF4);
    assert_int_equal(framing_crc16((const uint8_t *)"123456789", 9), 0x29B1);
    assert_int_equal(framing_read(spi, 0, 1, out, &rx), 6);
    assert_int_equal(rx, 8);
    assert_memory_equal(out, id, 6);
    assert_int_equal(framing_write(spi, 0x100, two, 2, out, &rx), 16);
    assert_int_equal(rx, 3);
    assert_memory_equal(out, write, 16);
    assert_int_equal(framing_read_reply(spi, id_reply, 1, data, &err), 0);
    assert_memory_equal(data, id_reply + 2, 4);
    assert_int_equal(framing_read_reply(spi, past_end, 2, data, &err), ERR_RANGE);
    assert_int_equal(framing_write_reply(spi, ok, &err), 0);
    assert_int_equal(framing_write_reply(spi, locked, &err), ERR_CONFLICT);
    assert_int_equal(framing_write_reply(spi, high, &err), ERR_NO_ANSWER);
    assert_int_equal(framing_write_reply(spi, low, &err), ERR_NO_ANSWER);
    assert_int_equal(framing_write_reply(spi, noise, &err), ERR_LINK);
    assert_int_equal(framing_write_reply(spi, strange, &err), ERR_GARBAGE);
    assert_int_equal(framing_burst(spi, 1040, 1040), 256);
    assert_int_equal(framing_burst(spi, 1013, 1040), 251);
}

static void test_adi16(void **state)
{
    const struct profile_spi spi = {
        .kind = PROFILE_FRAMING_ADI16, .word_bits = 8, .address_bits = 15, .burst_words = 16
    };
    const uint8_t value[] = { 0x5A, 0xA5 };
    uint8_t out[32], data[2];
    int rx;

    (void)state;
    assert_int_equal(framing_read(&spi, 0x0123, 2, out, &rx), 2);
    assert_int_equal(rx, 2);
    assert_int_equal(out[0], 0x81);
    assert_int_equal(out[1], 0x23);
    assert_int_equal(framing_write(&spi, 0x0123, value, 2, out, &rx), 4);
    assert_int_equal(rx, 0);
    assert_int_equal(out[0], 0x01);
    assert_memory_equal(out + 2, value, 2);
    assert_int_equal(framing_read_reply(&spi, value, 2, data, NULL), 0);
    assert_memory_equal(data, value, 2);
    assert_int_equal(framing_reset(&spi, 0, out, &rx), 0);
}

static void test_identity(void **state)
{
    struct rig *rig = *state;
    struct chip_identity id;
    struct error err;
    double celsius;

    assert_int_equal(chip_reset(rig->chip, &err), 0);
    assert_int_equal(chip_identify(rig->chip, &id, &err), 0);
    assert_string_equal(id.serial, "7-3-12-34-567");
    assert_int_equal(id.revision, 1);
    assert_int_equal(chip_temperature(rig->chip, &celsius, &err), 0);
    assert_true(celsius == -5.0);
    rig->profile->operating.temperature_step_c = 0.25;
    assert_int_equal(chip_temperature(rig->chip, &celsius, &err), 0);
    assert_true(celsius == -12.5);
    rig->profile->operating.temperature_step_c = 0.0;
    assert_int_equal(chip_temperature(rig->chip, &celsius, &err), ERR_UNSUPPORTED);
    rig->profile->identity_value = 0x12345678;
    assert_int_equal(chip_identify(rig->chip, &id, &err), ERR_IDENTITY);
    assert_non_null(strstr(err.message, "41440201"));
    rig->fake->silent = true;
    assert_int_equal(chip_identify(rig->chip, &id, &err), ERR_NO_ANSWER);
    assert_int_equal(chip_read(rig->chip, 9, "CTRL", &id.id, &err), ERR_RANGE);
    assert_int_equal(chip_read(rig->chip, CHIP_GLOBAL, "NOPE", &id.id, &err), ERR_UNSUPPORTED);
}

static void test_memories_and_trims(void **state)
{
    struct rig *rig = *state;
    uint8_t data[8192], back[8192];
    struct error err;
    int code;

    fixture_input(data, sizeof data, 99);
    assert_int_equal(chip_memory_write(rig->chip, 3, "WMEM", 0, data, sizeof data, true, &err), 0);
    assert_memory_equal(rig->fake->core[3].wmem, data, sizeof data);
    assert_int_equal(chip_memory_read(rig->chip, 3, "WMEM", 13, back, 1001, &err), 0); /* ragged */
    assert_memory_equal(back, data + 13, 1001);
    assert_int_equal(chip_memory_write(rig->chip, 3, "WMEM", 8188, data, 8, false, &err), ERR_RANGE);
    assert_int_equal(chip_memory_write(rig->chip, 3, "XBAR", 0, data, 8, false, &err), ERR_CONFLICT);
    assert_int_equal(chip_trim_write(rig->chip, 2, 31, "offset", -5, &err), 0);
    assert_int_equal(chip_trim_write(rig->chip, 2, 31, "gain", 131, &err), 0);
    assert_int_equal(chip_trim_read(rig->chip, 2, 31, "offset", &code, &err), 0);
    assert_int_equal(code, -5);
    assert_int_equal(rig->fake->core[2].adct[31 * 8], 0xFB);
    assert_int_equal(rig->fake->core[2].adct[31 * 8 + 1], 131);
    assert_int_equal(chip_trim_write(rig->chip, 2, 31, "offset", 128, &err), ERR_RANGE);
    assert_int_equal(chip_trim_write(rig->chip, 2, 32, "offset", 0, &err), ERR_RANGE);
}

static void test_external_conversions(void **state)
{
    struct rig *rig = *state;
    struct chip_conversions conversions;
    struct error err;

    rig->fake->ext_input_code = -7;
    assert_int_equal(chip_testmux(rig->chip, "off", "VREF", true, &err), 0);
    assert_int_equal(rig->fake->testmux, 1U << 16 | 1U << 8);
    assert_int_equal(chip_extin(rig->chip, 4, 9, 64, &conversions, &err), 0);
    assert_int_equal(conversions.sum, -448);
    assert_int_equal(conversions.sum_squares, 3136);
    assert_int_equal(chip_extin(rig->chip, 4, 9, 1024, &conversions, &err), ERR_RANGE);
    assert_int_equal(chip_testmux(rig->chip, "nowhere", "off", false, &err), ERR_UNSUPPORTED);
}

static void check_equal(struct rig *rig, int count)
{
    static struct inference got[70], want[70];
    struct error err = { 0 };

    if (rig->chip_backend.infer(rig->chip_backend.context, rig->inputs, count, got, &err))
        fail_msg("%s", err.message);
    assert_int_equal(
        rig->reference_backend.infer(rig->reference_backend.context, rig->inputs, count, want, &err), 0);
    for (int i = 0; i < count; i++) {
        assert_int_equal(got[i].output[0], want[i].output[0]);
        assert_int_equal(got[i].output[1], want[i].output[1]);
        assert_int_equal(got[i].prediction, want[i].prediction);
    }
}

static void test_program_equals_reference(void **state)
{
    struct rig *rig = *state;
    struct chip_counters counters;
    struct error err;
    int64_t conversions = 0;
    uint32_t cycles;

    load_both(rig, 9, 4);
    check_equal(rig, 3);
    for (int core = 0; core < 6; core++) {
        assert_int_equal(chip_counters(rig->chip, core, &counters, &err), 0);
        conversions += counters.conversions;
    }
    assert_int_equal(conversions, rig->mapping->conversions);
    assert_int_equal(chip_read(rig->chip, CHIP_GLOBAL, "CYC_LO", &cycles, &err), 0);
    const struct chip_program *program = backend_chip_program(&rig->chip_backend);
    printf("%u cycles, %lld estimated\n", (unsigned)cycles, (long long)program->cycles);
    assert_true(llabs((long long)cycles - program->cycles) <= program->cycles / 100);
    assert_null(backend_chip_program(&rig->reference_backend));
}

static void test_settings_change(void **state)
{
    struct rig *rig = *state;

    load_both(rig, 8, 1);
    check_equal(rig, 1);
    memset(rig->fake->core[0].wmem, 0x77, 8192); /* a mark that loading weights would wipe */
    load_both(rig, 10, 4);
    assert_int_equal(rig->fake->core[0].wmem[100], 0x77); /* scales only: weights stay */
    check_equal(rig, 2);
    /* One flipped cell is noticed, and everything is loaded again; so is one flipped bit of an instruction.
     */
    rig->fake->core[0].xbar[5000] ^= 2;
    load_both(rig, 9, 2);
    assert_int_not_equal(rig->fake->core[0].wmem[100], 0x77);
    check_equal(rig, 1);
    rig->fake->core[5].imem[41] ^= 1;
    load_both(rig, 9, 4);
    check_equal(rig, 1);
}

static void test_batches(void **state)
{
    struct rig *rig = *state;

    load_both(rig, 9, 4);
    struct chip_link_stats before = chip_link_stats(rig->chip);
    check_equal(rig, 70);
    struct chip_link_stats after = chip_link_stats(rig->chip);
    assert_int_equal(after.batches - before.batches, 2);
    assert_int_equal(after.reruns, before.reruns);
}

static void test_bad_link(void **state)
{
    struct rig *rig = *state;

    rig->fake->corrupt_every = 97; /* some in every full batch: samples must go one at a time */
    rig->fake->corrupt_commands = 131;
    load_both(rig, 9, 4);
    check_equal(rig, 70);
    assert_true(chip_link_stats(rig->chip).retries >= 3);
    assert_true(chip_link_stats(rig->chip).reruns >= 64);
    rig->fake->corrupt_every = 1;
    struct inference out;
    struct error err;
    assert_int_equal(rig->chip_backend.infer(rig->chip_backend.context, rig->inputs, 1, &out, &err),
                     ERR_LINK);
    rig->fake->silent = true;
    rig->fake->corrupt_every = 0;
    assert_int_equal(rig->chip_backend.infer(rig->chip_backend.context, rig->inputs, 1, &out, &err),
                     ERR_NO_ANSWER);
}

static void test_bad_chip(void **state)
{
    struct rig *rig = *state;
    struct inference out;
    struct error err;

    load_both(rig, 9, 4);
    rig->fake->slow = 1.5; /* slower than estimated: polled, not failed */
    check_equal(rig, 3);
    assert_true(chip_link_stats(rig->chip).reruns >= 3);
    rig->fake->slow = 0;
    rig->fake->hang = true;
    assert_int_equal(rig->chip_backend.infer(rig->chip_backend.context, rig->inputs, 1, &out, &err),
                     ERR_HANG);
    rig->fake->hang = false;
    rig->fake->run_end_ns = 0;
    check_equal(rig, 1);
    /* An instruction that does not exist. */
    rig->fake->core[0].imem[0] = 0x77;
    assert_int_equal(rig->chip_backend.infer(rig->chip_backend.context, rig->inputs, 1, &out, &err),
                     ERR_REFUSED);
    assert_non_null(strstr(err.message, "ILLOP"));
    rig->fake->done = false;
    rig->fake->err = 0;
    rig->fake->ignore_start = true;
    assert_int_equal(rig->chip_backend.infer(rig->chip_backend.context, rig->inputs, 1, &out, &err),
                     ERR_HANG);
}

/* The link dies while a mode is in force, so that nobody can end it: the runs that follow are plain ones. */
static void test_mode_left(void **state)
{
    struct rig *rig = *state;
    struct error err;

    load_both(rig, 9, 4);
    check_equal(rig, 1);
    assert_int_equal(chip_break(rig->chip, 0, 3, &err), 0);
    assert_int_equal(chip_bist(rig->chip, 77, &err), 0);
    rig->fake->silent = true;
    assert_int_equal(chip_break(rig->chip, -1, 0, &err), ERR_NO_ANSWER);
    assert_int_equal(chip_bist(rig->chip, -1, &err), ERR_NO_ANSWER);
    rig->fake->silent = false;
    check_equal(rig, 3);
    assert_int_equal(rig->fake->brk, 0);
    assert_int_equal(rig->fake->bist, 0);
    /* The same before an input of one's own, and of repeats. */
    assert_int_equal(chip_repeat(rig->chip, 500, &err), 0);
    rig->fake->silent = true;
    assert_int_equal(chip_repeat(rig->chip, 1, &err), ERR_NO_ANSWER);
    rig->fake->silent = false;
    assert_int_equal(chip_input(rig->chip, backend_chip_program(&rig->chip_backend), rig->inputs[0], &err),
                     0);
    assert_int_equal(rig->fake->repeat, 0);
    /* One that is asked for after the input stays. */
    assert_int_equal(chip_repeat(rig->chip, 500, &err), 0);
    assert_int_equal(chip_start(rig->chip, &err), 0);
    assert_int_equal(rig->fake->repeat, 500);
}

/* A bridge of small transactions: the input alone is more than a batch. */
static void test_narrow_bus(void **state)
{
    struct rig *rig = *state;
    struct error err;
    uint8_t input[4096], back[4096];

    rig->bus.tx_max = rig->bus.rx_max = 24; /* four words; a report is five */
    chip_close(rig->chip);
    assert_int_equal(chip_open(rig->profile, &rig->bus, &rig->chip, &err), 0);
    struct chip_program program = { .input_count = 2,
                                    .input = { { 1, 0 }, { 4, 4096 } },
                                    .input_bytes = 4096 };
    fixture_input(input, sizeof input, 5);
    assert_int_equal(chip_input(rig->chip, &program, input, &err), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(chip_memory_read(rig->chip, program.input[i].core, "DMEM",
                                          (uint32_t)program.input[i].offset, back, sizeof back, &err),
                         0);
        assert_memory_equal(back, input, sizeof input);
    }
}

/* Tensors as one long string of bytes with their heads. */
static int collect(void *context, const struct backend_tensor *t, struct error *err)
{
    struct strbuf *out = context;

    (void)err;
    strbuf_add(out, "[%s %d %d core %d %dx%dx%d %d]", t->layer_name, t->layer, t->kind, t->core, t->shape[0],
               t->shape[1], t->shape[2], t->type_bits);
    assert_int_equal(t->bytes, t->shape[0] * t->shape[1] * t->shape[2] * t->type_bits / 8);
    strbuf_bytes(out, t->data, t->bytes);
    return 0;
}

static void test_tensors(void **state)
{
    struct rig *rig = *state;
    struct strbuf a = { NULL, 0, 0, false }, b = { NULL, 0, 0, false };
    struct error err = { 0 };

    load_both(rig, 9, 4);
    if (rig->chip_backend.tensors(rig->chip_backend.context, rig->inputs[5], collect, &a, &err))
        fail_msg("%s", err.message);
    assert_int_equal(
        rig->reference_backend.tensors(rig->reference_backend.context, rig->inputs[5], collect, &b, &err), 0);
    assert_int_equal(a.length, b.length);
    assert_memory_equal(a.text, b.text, a.length);
    strbuf_free(&a);
    strbuf_free(&b);
    check_equal(rig, 2); /* the break is gone */
}

static struct reference *open_reference(struct rig *rig)
{
    struct reference *ref = NULL;
    struct error err;

    assert_int_equal(reference_open(rig->network, rig->mapping, rig->profile, &ref, &err), 0);
    return ref;
}

static void test_bist(void **state)
{
    struct rig *rig = *state;
    struct bist_report report;
    struct error err = { 0 };
    struct reference *ref;

    load_both(rig, 9, 4);
    ref = open_reference(rig);
    const struct chip_program *program = backend_chip_program(&rig->chip_backend);
    rig->fake->analog_offset = 40; /* an awful analog part must not matter */
    if (bist_run(rig->chip, program, ref, rig->network, rig->mapping, 12345, &report, &err))
        fail_msg("%s", err.message);
    if (report.mismatched)
        fail_msg("%s", report.first);
    assert_int_equal(report.windows, 17);
    assert_int_equal(report.checked, 2 * (3 * (18 + 18 + 18 + 20 + 44) + 24 + 2) + 2);
    rig->fake->core[program->output[0].core].bnp[4 * 19 + 1] ^= 0x40; /* one bit of one scale */
    assert_int_equal(bist_run(rig->chip, program, ref, rig->network, rig->mapping, 12345, &report, &err), 0);
    assert_true(report.mismatched > 0);
    assert_non_null(strstr(report.first, "result"));
    reference_close(ref);
}

static void test_golden(void **state)
{
    struct rig *rig = *state;
    struct golden_limits limits = golden_limits_default(10);
    struct golden_report report;
    struct golden golden, forged;
    struct error err = { 0 };
    struct adc_config adc = { 9, 4 };
    struct reference *ref = open_reference(rig);

    assert_int_equal(limits.agree_min, 7);
    assert_int_equal(golden_compute(ref, rig->network, rig->mapping, &adc, rig->inputs, 10, &golden, &err),
                     0);
    load_both(rig, 9, 4);
    const struct chip_program *program = backend_chip_program(&rig->chip_backend);
#define CHECK(g)                                                                                             \
    golden_check(rig->chip, program, ref, rig->network, rig->mapping, rig->inputs, g, &limits, &report, &err)
    if (CHECK(&golden))
        fail_msg("%s", err.message);
    assert_int_equal(report.agreed, 10);
    assert_true(report.rms_sigma == 0);
    rig->fake->analog_offset = 1; /* within the spread of parts */
    limits.agree_min = 0;
    assert_int_equal(CHECK(&golden), 0);
    assert_true(report.rms_sigma > 0.1);
    rig->fake->analog_offset = 0;
    limits.agree_min = 10;
    /* A forged golden. */
    forged = golden;
    forged.prediction[3] ^= 1;
    assert_int_equal(CHECK(&forged), ERR_INVALID);
    /* Wrong weights: one core's crossbar has its slices swapped. */
    struct fake_core *core = &rig->fake->core[0];
    memmove(core->cell[1], core->cell[0], sizeof core->cell - sizeof core->cell[0]);
    assert_int_equal(CHECK(&golden), ERR_MISMATCH);
    assert_non_null(strstr(report.reason, "sums"));
    fake_decode_cells(core);
    assert_int_equal(CHECK(&golden), 0);
    /* A wrong scale. (One whose channel is dark in every sample could hide; what was loaded is read back for
     * that.) */
    for (int i = 0; i < 18; i++)
        core->bnp[4 * i] ^= 0x20;
    assert_int_equal(CHECK(&golden), ERR_MISMATCH);
    assert_non_null(strstr(report.reason, "norm"));
    for (int i = 0; i < 18; i++)
        core->bnp[4 * i] ^= 0x20;
    assert_int_equal(CHECK(&golden), 0);
    /* A wrong instruction: another padding. */
    int planted = 0;
    for (int i = 0; i < 256; i++) {
        uint8_t *w = core->imem + 4 * i;
        if (w[0] != ISA_SET || w[1] != ISA_P_H || w[3] != 1)
            continue;
        planted++;
        w[3] ^= 3;
        assert_int_equal(CHECK(&golden), ERR_MISMATCH);
        w[3] ^= 3;
    }
    assert_in_range(planted, 1, 5);
    assert_int_equal(CHECK(&golden), 0);
    reference_close(ref);
}

static int lookup(void *context, const uint8_t *input, size_t size, const struct adc_config *adc,
                  struct inference *ret, struct error *err)
{
    (void)context;
    assert_int_equal(adc->bits, 9);
    assert_int_equal(size, 832);
    if (input[0] == 255)
        return error_set(err, ERR_NOT_FOUND, "not recorded");
    *ret = (struct inference){ .output = { input[0], 1 }, .prediction = 0 };
    return 0;
}

static void test_recording(void **state)
{
    struct rig *rig = *state;
    struct adc_config adc = { 9, 4 };
    struct backend backend;
    struct inference out;
    struct error err;

    assert_int_equal(backend_recording_open(lookup, NULL, &backend, &err), 0);
    assert_int_equal(backend.infer(backend.context, rig->inputs, 1, &out, &err), ERR_CONFLICT);
    assert_int_equal(backend.load(backend.context, rig->network, rig->mapping, &adc, &err), 0);
    assert_int_equal(backend.infer(backend.context, rig->inputs, 1, &out, &err), 0);
    assert_int_equal(out.output[0], rig->input[0][0]);
    backend.close(backend.context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_framing_vectors, setup, teardown),
        cmocka_unit_test(test_adi16),
        cmocka_unit_test_setup_teardown(test_identity, setup, teardown),
        cmocka_unit_test_setup_teardown(test_memories_and_trims, setup, teardown),
        cmocka_unit_test_setup_teardown(test_external_conversions, setup, teardown),
        cmocka_unit_test_setup_teardown(test_program_equals_reference, setup, teardown),
        cmocka_unit_test_setup_teardown(test_settings_change, setup, teardown),
        cmocka_unit_test_setup_teardown(test_batches, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_link, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_chip, setup, teardown),
        cmocka_unit_test_setup_teardown(test_mode_left, setup, teardown),
        cmocka_unit_test_setup_teardown(test_narrow_bus, setup, teardown),
        cmocka_unit_test_setup_teardown(test_tensors, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bist, setup, teardown),
        cmocka_unit_test_setup_teardown(test_golden, setup, teardown),
        cmocka_unit_test_setup_teardown(test_recording, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
