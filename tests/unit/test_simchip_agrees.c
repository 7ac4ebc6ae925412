/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_simchip_agrees: two programs follow docs/chip-adelia2.md and share no arithmetic: the runtime with its
 * bit-exact reference, and the simulated chip. With an ideal die they agree on every number of the trained
 * network; with a real one they do not. */
#include <math.h>
#include <stdio.h>

#include "chip/backend_chip.h"
#include "chip/backend_reference.h"
#include "daemon/base/record.h"
#include "daemon/base/rng.h"
#include "tests/unit/simchip_rig.h"

enum { INPUT_BYTES = 13 * 64, SAMPLES = 6, TENSOR_BYTES_MAX = 1 << 20 };

static struct rng dice;

/* ---- A bus that is a rig ---- */
static int bus_batch(void *context, const struct spi_transfer *transfer, int count, struct error *err)
{
    struct rig *rig = context;

    (void)err;
    for (int i = 0; i < count; i++) {
        uint8_t nothing[1];

        rig_spi(rig, transfer[i].tx, transfer[i].tx_len, transfer[i].rx_len > 0 ? transfer[i].rx : nothing,
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

struct pair {
    struct rig rig;
    struct spi_bus bus;
    struct chip_profile *profile;
    struct network *network;
    struct mapping *mapping;
    struct chip *chip;
    struct backend silicon, reference;
    uint8_t input[SAMPLES][INPUT_BYTES];
};

static void expect_ok(int rc, const struct error *err)
{
    if (rc != 0)
        fail_msg("%s: %s", error_name(rc), err->message);
}

static void pair_open(struct pair *p, const char *population)
{
    struct chip_identity identity;
    struct error err = { 0 };

    memset(p, 0, sizeof *p);
    rig_open(&p->rig, population, 1);
    p->bus = (struct spi_bus){ .context = &p->rig,
                               .batch = bus_batch,
                               .now = bus_now,
                               .wait = bus_wait,
                               .clock_hz = 20e6,
                               .tx_max = SPI_TX_MAX,
                               .rx_max = SPI_RX_MAX };
    expect_ok(profile_load("configs/chips/adelia2.json", &p->profile, &err), &err);
    expect_ok(network_load("configs/networks/adelia-vad-w9.json", &p->network, &err), &err);
    expect_ok(mapping_create(p->network, p->profile, &p->mapping, &err), &err);
    expect_ok(chip_open(p->profile, &p->bus, &p->chip, &err), &err);
    expect_ok(chip_reset(p->chip, &err), &err);
    expect_ok(chip_identify(p->chip, &identity, &err), &err);
    expect_ok(backend_chip_open(p->chip, &p->silicon, &err), &err);
    expect_ok(backend_reference_open(p->profile, &p->reference, &err), &err);
    /* Smooth, so that activations live through the layers. */
    for (int i = 0; i < SAMPLES; i++) {
        double level = 96;

        for (int j = 0; j < INPUT_BYTES; j++) {
            level += 6 * rng_normal(&dice) + 0.02 * (96 - level);
            p->input[i][j] = (uint8_t)(level < 0 ? 0 : level > 255 ? 255 : level);
        }
    }
}

static void pair_load(struct pair *p, int bits, int gain)
{
    const struct adc_config adc = { .bits = bits, .gain = gain };
    struct error err = { 0 };

    expect_ok(p->silicon.load(p->silicon.context, p->network, p->mapping, &adc, &err), &err);
    expect_ok(p->reference.load(p->reference.context, p->network, p->mapping, &adc, &err), &err);
}

static void pair_infer(struct pair *p, struct inference *got, struct inference *want)
{
    const uint8_t *input[SAMPLES];
    struct error err = { 0 };

    for (int i = 0; i < SAMPLES; i++)
        input[i] = p->input[i];
    expect_ok(p->silicon.infer(p->silicon.context, input, SAMPLES, got, &err), &err);
    expect_ok(p->reference.infer(p->reference.context, input, SAMPLES, want, &err), &err);
}

static void pair_close(struct pair *p)
{
    p->silicon.close(p->silicon.context);
    p->reference.close(p->reference.context);
    chip_close(p->chip);
    mapping_free(p->mapping);
    network_free(p->network);
    profile_free(p->profile);
    rig_close(&p->rig);
}

static void test_outputs(void **state)
{
    static const struct {
        int bits, gain;
    } setting[] = { { 8, 4 }, { 9, 1 }, { 9, 2 }, { 9, 4 }, { 10, 1 } };
    struct pair p;

    (void)state;
    pair_open(&p, RIG_IDEAL);
    for (size_t s = 0; s < sizeof setting / sizeof *setting; s++) {
        struct inference got[SAMPLES], want[SAMPLES];
        int differ = 0;

        pair_load(&p, setting[s].bits, setting[s].gain);
        pair_infer(&p, got, want);
        for (int i = 0; i < SAMPLES; i++) {
            assert_memory_equal(got[i].output, want[i].output, sizeof got[i].output);
            assert_int_equal(got[i].prediction, want[i].prediction);
            assert_int_equal(got[i].err_bits, 0);
            /* As estimated, but for a cycle here and there at a wait. */
            assert_true(fabs((double)got[i].cycles / (double)backend_chip_program(&p.silicon)->cycles - 1) <
                        2e-3);
            differ += got[i].output[0] != got[0].output[0];
        }
        assert_true(differ > 0); /* inputs matter */
    }
    pair_close(&p);
}

/* Every activation of every layer. */
struct tensors {
    size_t bytes;
    int count;
    uint8_t data[TENSOR_BYTES_MAX];
};

static int collect(void *context, const struct backend_tensor *tensor, struct error *err)
{
    struct tensors *t = context;

    (void)err;
    if (tensor->kind != TENSOR_ACTIVATION && tensor->kind != TENSOR_OUTPUT)
        return 0;
    assert_true(t->bytes + tensor->bytes <= sizeof t->data);
    memcpy(t->data + t->bytes, tensor->data, tensor->bytes);
    t->bytes += tensor->bytes;
    t->count++;
    return 0;
}

static void test_layers(void **state)
{
    struct tensors *got = calloc(1, sizeof *got), *want = calloc(1, sizeof *want);
    struct error err = { 0 };
    struct pair p;

    (void)state;
    pair_open(&p, RIG_IDEAL);
    pair_load(&p, 9, 4);
    expect_ok(p.silicon.tensors(p.silicon.context, p.input[0], collect, got, &err), &err);
    expect_ok(p.reference.tensors(p.reference.context, p.input[0], collect, want, &err), &err);
    assert_true(want->count >= 7);
    assert_int_equal(got->count, want->count);
    assert_int_equal(got->bytes, want->bytes);
    assert_memory_equal(got->data, want->data, want->bytes);
    pair_close(&p);
    free(got);
    free(want);
}

static void test_a_real_die_differs(void **state)
{
    struct inference got[SAMPLES], want[SAMPLES];
    struct pair p;
    int differ = 0;

    (void)state;
    pair_open(&p, "{\"population\":{\"mismatch_sigma\":0.03,\"adc_offset_lsb\":1.0,\"adc_noise_lsb\":0.3}}");
    pair_load(&p, 9, 4);
    pair_infer(&p, got, want);
    for (int i = 0; i < SAMPLES; i++)
        differ += got[i].output[0] != want[i].output[0];
    assert_true(differ > SAMPLES / 2);
    pair_close(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_outputs),
        cmocka_unit_test(test_layers),
        cmocka_unit_test(test_a_real_die_differs),
    };

    print_message("seed %d\n", RIG_SEED);
    rng_init(&dice, RIG_SEED, "test_simchip_agrees", 0, 0, 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
