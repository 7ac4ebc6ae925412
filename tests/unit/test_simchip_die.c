/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_simchip_die: the simulated adelia2 as a physical thing: imperfections that are there when asked for
 * and only then, trims that undo them, speed limit, energy, loss of power. */
#include <math.h>
#include <stdio.h>

#include "daemon/base/clock.h"
#include "daemon/base/rng.h"
#include "tests/unit/simchip_rig.h"

enum { CONVERTER = 11, SHOTS = 1000 };

/* Mean of many external conversions, in codes. */
static double extin(struct rig *rig, int apu, unsigned converter, double volt, double *ret_sd)
{
    double sum, square;

    rig->atb_v = volt;
    rig_poke(rig, U(apu, 0x40), SHOTS << 8 | converter);
    assert_int_equal(rig_peek(rig, G(STATUS)) & 3, 1);
    rig->now_ns += 40 * 10 * SHOTS;
    assert_int_equal(rig_peek(rig, G(STATUS)) & 3, 2);
    sum = (int32_t)rig_peek(rig, U(apu, 0x44));
    square = rig_peek(rig, U(apu, 0x48));
    if (ret_sd != NULL)
        *ret_sd = sqrt(fmax(0, square / SHOTS - sum / SHOTS * sum / SHOTS));
    return sum / SHOTS;
}

static void converters_on(struct rig *rig, unsigned bits, unsigned gain_code)
{
    rig_poke(rig, G(PWREN), 0x33F);
    rig_poke(rig, G(TESTMUX), 1 << 16);
    for (int apu = 0; apu < A2_APUS; apu++)
        rig_poke(rig, U(apu, 0x0C), bits | gain_code << 4);
}

static void test_external_input(void **state)
{
    struct rig rig;

    (void)state;
    rig_open(&rig, RIG_IDEAL, 1);
    converters_on(&rig, 9, 0);
    /* One code is 0.6 V / 512 around 0.3 V. */
    for (int code = -256; code <= 255; code += 73)
        assert_true(extin(&rig, 2, 5, 0.3 + code * 0.6 / 512, NULL) == code);
    assert_true(extin(&rig, 2, 5, 0.7, NULL) == 255);
    assert_true(extin(&rig, 2, 5, -0.1, NULL) == -256);
    converters_on(&rig, 9, 2);
    assert_true(extin(&rig, 2, 5, 0.3 + 20 * 0.6 / 512, NULL) == 80);
    rig_poke(&rig, G(PWREN), 0x13F); /* no PGA: no gain */
    assert_true(extin(&rig, 2, 5, 0.3 + 20 * 0.6 / 512, NULL) == 20);
    adelia2_power_rail(rig.chip, A2_VREF, 0.5, rig.now_ns);
    assert_true(fabs(extin(&rig, 2, 5, 0.25 + 100.2 * 0.5 / 512, NULL) - 100) < 1e-9);
    rig_poke(&rig, G(PWREN), 0x03F); /* no reference: nothing */
    assert_true(extin(&rig, 2, 5, 0.5, NULL) == 0);
    rig_close(&rig);
}

/* Each imperfection alone shows what it is, and nothing else. */
static void test_each_imperfection(void **state)
{
    struct rig rig;
    double sd;

    (void)state;
    rig_open(&rig, "{\"population\":{\"ideal\":true,\"adc_noise_lsb\":1.0}}", 1);
    converters_on(&rig, 10, 0);
    assert_true(fabs(extin(&rig, 0, CONVERTER, 0.3, &sd)) < 0.15);
    assert_true(fabs(sd - sqrt(1.0 + 1.0 / 12)) < 0.08);
    rig_close(&rig);

    rig_open(&rig, "{\"population\":{\"ideal\":true,\"pga_noise\":0.001}}", 1);
    converters_on(&rig, 9, 0);
    extin(&rig, 0, CONVERTER, 0.3, &sd);
    assert_true(sd == 0); /* bypassed */
    converters_on(&rig, 9, 1);
    extin(&rig, 0, CONVERTER, 0.3, &sd);
    assert_true(fabs(sd - hypot(0.512, sqrt(1.0 / 12))) < 0.06);
    rig_close(&rig);

    rig_open(&rig, "{\"population\":{\"ideal\":true,\"adc_offset_lsb\":8.0}}", 1);
    converters_on(&rig, 10, 0);
    assert_true(extin(&rig, 0, CONVERTER, 0.3, &sd) ==
                floor(rig.chip->die.adc[0][CONVERTER].offset_lsb + 0.5));
    assert_true(sd == 0);
    rig_close(&rig);

    rig_open(&rig, "{\"population\":{\"ideal\":true,\"bit_flip\":0.1}}", 1);
    converters_on(&rig, 10, 0);
    extin(&rig, 0, CONVERTER, 0.3, &sd);
    assert_true(fabs(sd * sd - 0.1 * 0.9 * (1 + 4 + 16)) < 0.4);
    rig_close(&rig);
}

/* Offset and gain are seen by a calibration from outside, and its trims take them away. */
static void test_trims(void **state)
{
    struct rig rig;
    double worst_before = 0, worst_after = 0;

    (void)state;
    rig_open(&rig, "{\"population\":{\"adc_offset_lsb\":3.0,\"adc_gain_sigma\":0.01,\"adc_noise_lsb\":0.5}}",
             3);
    converters_on(&rig, 10, 0);
    for (unsigned n = 0; n < A2_ADCS; n++) {
        double span = 0.8 * 0.3, code_v = 0.6 / 1024;
        double offset = extin(&rig, 4, n, 0.3, NULL);
        double gain =
            (extin(&rig, 4, n, 0.3 + span, NULL) - extin(&rig, 4, n, 0.3 - span, NULL)) * code_v / (2 * span);
        long offset_trim = lround(-offset / 0.125), gain_trim = lround(128 + (1 / gain - 1) / 0.002);

        assert_true(fabs(offset - rig.chip->die.adc[4][n].offset_lsb) < 0.1);
        assert_true(fabs(gain - rig.chip->die.adc[4][n].gain) < 0.001);
        rig_poke(&rig, M(4, ADCT, 8 * n), (uint32_t)(uint8_t)offset_trim << 24 | (uint32_t)gain_trim << 16);
        worst_before = fmax(worst_before, fabs(offset));
        worst_after = fmax(worst_after, fabs(extin(&rig, 4, n, 0.3, NULL)));
        gain =
            (extin(&rig, 4, n, 0.3 + span, NULL) - extin(&rig, 4, n, 0.3 - span, NULL)) * code_v / (2 * span);
        assert_true(fabs(gain - 1) < 0.0015);
    }
    assert_true(worst_before > 2);
    assert_true(worst_after < 0.15);
    rig_close(&rig);
}

/* ---- One program for the rest: products of a full column, many times. ---- */
static void product_program(struct rig *rig, unsigned windows)
{
    uint8_t image[A2_XBAR_BYTES];
    struct prog p = { 0 };

    memset(image, 0x33, sizeof image); /* all cells 3 */
    rig_load(rig, M(0, WMEM, 0), image, sizeof image);
    memset(image, 40, 256);
    rig_load(rig, M(0, DMEM, 0), image, 256);
    rig_poke(rig, U(0, 0), 1);
    rig_poke(rig, U(0, 0x0C), 10);
    rig_poke(rig, G(PWREN), 0x33F);
    emit(&p, I(LDW, 0, 0));
    emit(&p, I(SET, IN_H, 1));
    emit(&p, I(SET, IN_W, 1));
    emit(&p, I(SET, IN_C, 256));
    emit(&p, I(SET, K_H, 1));
    emit(&p, I(SET, K_W, 1));
    emit(&p, I(SET, VEC_LEN, 256));
    emit(&p, I(SET, NCH, 64));
    emit(&p, I(SET, SLICES, 1));
    emit(&p, I(GATHER, 0, 0));
    emit(&p, I(LOOP, 2, windows));
    emit(&p, I(CLR, 0, 0));
    emit(&p, I(MVM, 0, 0));
    emit(&p, I(HALT, 0, 0));
    rig_program(rig, 0, &p);
}

static double mean_psum(struct rig *rig, double *ret_sd)
{
    double sum = 0, square = 0;

    for (int j = 0; j < A2_COLS; j++) {
        double y = (int32_t)rig_peek(rig, M(0, PSUM, 4 * j));

        sum += y;
        square += y * y;
    }
    sum /= A2_COLS;
    if (ret_sd != NULL)
        *ret_sd = sqrt(fmax(0, square / A2_COLS - sum * sum));
    return sum;
}

static void test_mismatch_and_conditions(void **state)
{
    struct rig rig;
    double sd, nominal = 256.0 * 40 * 3 * 1024 / (2.0 * A2_FSI), cold, mean;

    (void)state;
    rig_open(&rig, "{\"population\":{\"ideal\":true,\"mismatch_sigma\":0.3}}", 1);
    product_program(&rig, 1);
    assert_int_equal(rig_run(&rig), 0);
    mean = mean_psum(&rig, &sd);
    assert_true(fabs(mean - nominal) < 0.3 * nominal / 16 / 8 * 4);
    assert_true(fabs(sd - 0.3 * nominal / 16) < 0.3 * nominal / 16 * 0.4);
    rig_close(&rig);

    rig_open(&rig, "{}", 1);
    product_program(&rig, 1);
    rig_run(&rig);
    cold = mean_psum(&rig, &sd);
    assert_true(fabs(cold - nominal) < 1 && sd == 0);
    rig.chip->temp_c = 85;
    rig_run(&rig);
    assert_true(fabs(mean_psum(&rig, NULL) / cold - 1.06) < 0.01);
    rig.chip->temp_c = 25;
    adelia2_power_rail(rig.chip, A2_VDDA, 0.7, rig.now_ns);
    rig_run(&rig);
    assert_true(fabs(mean_psum(&rig, NULL) / cold - (1 + 0.1 * (pow(0.35 / 0.45, 1.3) - 1))) < 0.006);
    adelia2_power_rail(rig.chip, A2_VDDA, 0.8, rig.now_ns);
    adelia2_power_rail(rig.chip, A2_VREF, 0.5, rig.now_ns);
    rig_run(&rig);
    assert_true(fabs(mean_psum(&rig, NULL) / cold - 1.2) < 0.01);
    rig_close(&rig);
}

static void test_noise_is_keyed(void **state)
{
    const char *noisy = "{\"population\":{\"adc_noise_lsb\":2.0}}";
    int32_t first[2][A2_COLS];
    struct rig rig;

    (void)state;
    for (int pass = 0; pass < 2; pass++) {
        rig_open(&rig, noisy, 1);
        product_program(&rig, 3);
        rig_run(&rig);
        if (pass == 1) { /* the first run's numbers are gone; the second's must not be the first's */
            int same = 0;

            for (int j = 0; j < A2_COLS; j++)
                same += (int32_t)rig_peek(&rig, M(0, PSUM, 4 * j)) == first[0][j];
            assert_int_equal(same, A2_COLS);
            rig_run(&rig);
        }
        for (int j = 0; j < A2_COLS; j++)
            first[pass][j] = (int32_t)rig_peek(&rig, M(0, PSUM, 4 * j));
        rig_close(&rig);
    }
    assert_memory_not_equal(first[0], first[1], sizeof first[0]);
}

static void test_speed_limit(void **state)
{
    struct rig rig;
    double vmin;

    (void)state;
    for (int die = 1; die <= 12; die++) {
        int wrong = 0;

        rig_open(&rig, "{}", die);
        product_program(&rig, 200);
        rig_run(&rig);
        vmin = adelia2_power_vmin(rig.chip, 100e6);
        assert_true(vmin > 0.58 && vmin < 0.68);
        rig_rails(&rig, 0.72);
        rig_run(&rig);
        assert_true(mean_psum(&rig, NULL) > 0);
        for (int step = 0; step < 3; step++) { /* just above: right; below: wrong; far below: dead */
            double sd;

            rig_rails(&rig, step == 0 ? vmin + 0.001 : vmin - 0.016);
            adelia2_power_rail(rig.chip, A2_VDDA, 0.8, rig.now_ns);
            assert_int_equal(rig_run(&rig) & ~A2_ERR_UVLO, 0);
            mean_psum(&rig, &sd);
            assert_true(step > 0 || sd == 0);
            wrong += sd > 0;
        }
        assert_true(wrong > 0);
        rig_rails(&rig, vmin - 0.05);
        if (rig.chip->rail_v[A2_VDDD] > 0.56) {
            rig_poke(&rig, G(CTRL), 1);
            rig.now_ns += 10 * NS_PER_S;
            assert_int_equal(rig_peek(&rig, G(STATUS)) & 3, 1); /* for ever */
            rig_rails(&rig, 0.8);
            assert_int_equal(rig_peek(&rig, G(STATUS)) & 3, 1);
            rig_poke(&rig, G(CTRL), 2);
            assert_int_equal(rig_run(&rig), 0);
        }
        /* A slower clock works where the fast one does not. */
        rig_rails(&rig, vmin - 0.016);
        rig_poke(&rig, G(CTRL), 1 << 4);
        rig_poke(&rig, G(CTRL), 1 << 4 | 1);
        rig.now_ns += NS_PER_S;
        assert_int_equal(rig_peek(&rig, G(STATUS)), 2);
        rig_close(&rig);
    }
}

static void test_energy(void **state)
{
    const double events = 100;
    struct rig rig;
    double q[A2_RAILS];
    int64_t start_ns;

    (void)state;
    rig_open(&rig, "{}", 1);
    product_program(&rig, (unsigned)events);
    rig_poke(&rig, U(0, 0x0C), 9);
    memset(rig.charge_c, 0, sizeof rig.charge_c);
    start_ns = rig.now_ns;
    rig_run(&rig);
    memcpy(q, rig.charge_c, sizeof q);
    assert_true(fabs(q[A2_VDDA] * 0.8 / (events * 256 * 64 * 1.48e-15) - 1) < 1e-6);
    assert_true(fabs(q[A2_VDDADC] * 0.8 / (events * 64 * 0.38e-12) - 1) < 1e-6);
    assert_true(fabs(q[A2_VDDD] * 0.8 / (events * 64 * 2.05e-12) - 1) < 1e-6);
    assert_true(fabs(q[A2_VDDM] * 0.8 / (256 * 0.9e-12) - 1) < 1e-6);
    assert_true(q[A2_VDDIO] > 0);
    /* START frame, its bytes at 20 MHz, then cycles at 100 MHz. */
    assert_true(rig.chip->run.end_ns - start_ns == (12 + 3) * 400 + (int64_t)rig.chip->cycles * 10);
    /* Half of a run costs half. */
    rig_poke(&rig, G(0x48), 1000);
    rig_poke(&rig, G(CTRL), 1);
    rig.now_ns = rig.chip->run.start_ns + (rig.chip->run.end_ns - rig.chip->run.start_ns) / 2;
    rig_poke(&rig, G(CTRL), 2);
    assert_true(fabs(rig.chip->run_energy_j[A2_VDDD] / (1000 * q[A2_VDDD] * 0.8) - 0.5) < 1e-3);
    /* Quadratic in the supply, linear in REPEAT. */
    memset(rig.charge_c, 0, sizeof rig.charge_c);
    rig_rails(&rig, 0.9);
    rig_poke(&rig, G(0x48), 50);
    rig_run(&rig);
    assert_true(fabs(rig.charge_c[A2_VDDD] * 0.9 / (50 * q[A2_VDDD] * 0.8) - 0.81 / 0.64) < 1e-6);
    rig_close(&rig);
}

static void test_leakage(void **state)
{
    double nominal[A2_RAILS] = { 1.8, 0.8, 0.8, 0.8, 0.8, 0.6, 0, 0 }, v[A2_RAILS];
    struct rig rig;
    double cold, sum = 0;

    (void)state;
    rig_open(&rig, "{}", 1);
    cold = adelia2_power_leakage(rig.chip, A2_VDDD, nominal, 25);
    assert_true(cold > 10e-6 && cold < 200e-6);
    assert_in_range((int)(adelia2_power_leakage(rig.chip, A2_VDDD, nominal, 85) / cold), 10, 40);
    memcpy(v, nominal, sizeof v);
    v[A2_VBN] = 1.0;
    v[A2_VBP] = -1.0;
    assert_true(adelia2_power_leakage(rig.chip, A2_VDDD, v, 25) > 5 * cold); /* forward bias leaks */
    memset(v, 0, sizeof v);
    for (int rail = 0; rail < A2_RAILS; rail++)
        sum += fabs(adelia2_power_leakage(rig.chip, (enum a2_rail)rail, v, 25));
    assert_true(sum == 0);
    rig.chip->damaged = true; /* shorted pads */
    assert_true(adelia2_power_leakage(rig.chip, A2_VDDIO, nominal, 25) > 5e-3);
    rig.chip->damaged = false;
    v[A2_VDDD] = -0.6; /* the pin's diode */
    assert_true(fabs(adelia2_power_leakage(rig.chip, A2_VDDD, v, 25) / -100e-6 - 1) < 0.1);
    rig_close(&rig);
}

static void test_loss_of_power(void **state)
{
    struct rig rig;
    uint8_t rx[8];

    (void)state;
    rig_open(&rig, RIG_IDEAL, 1);
    rig_poke(&rig, M(0, DMEM, 0), 0x12345678);
    rig_poke(&rig, M(0, IMEM, 0), I(HALT, 0, 0));
    rig_poke(&rig, G(0x3C), 5);
    adelia2_power_rail(rig.chip, A2_VDDD, 0.5, rig.now_ns); /* logic lost, memories kept */
    rig_spi(&rig, (const uint8_t *)"\x05", 1, rx, 3);
    assert_memory_equal(rx, "\0\0\0", 3);
    adelia2_power_rail(rig.chip, A2_VDDD, 0.8, rig.now_ns);
    assert_int_equal(rig_peek(&rig, G(0x3C)), 0);
    assert_int_equal(rig_peek(&rig, M(0, DMEM, 0)), 0x12345678);
    adelia2_power_rail(rig.chip, A2_VDDM, 0.51, rig.now_ns); /* retention */
    adelia2_power_rail(rig.chip, A2_VDDM, 0.8, rig.now_ns);
    assert_int_equal(rig_peek(&rig, M(0, DMEM, 0)), 0x12345678);
    adelia2_power_rail(rig.chip, A2_VDDM, 0.45, rig.now_ns);
    adelia2_power_rail(rig.chip, A2_VDDM, 0.8, rig.now_ns);
    assert_int_not_equal(rig_peek(&rig, M(0, DMEM, 0)), 0x12345678);
    assert_int_not_equal(rig_peek(&rig, M(0, IMEM, 0)), I(HALT, 0, 0));
    adelia2_power_rail(rig.chip, A2_VDDIO, 0.0, rig.now_ns);
    rig_spi(&rig, (const uint8_t *)"\x05", 1, rx, 3);
    assert_memory_equal(rx, "\0\0\0", 3);
    adelia2_power_rail(rig.chip, A2_VDDIO, 1.8, rig.now_ns);
    rig.chip->damaged = true;
    rig_spi(&rig, (const uint8_t *)"\x05", 1, rx, 3);
    assert_memory_equal(rx, "\0\0\0", 3);
    rig_close(&rig);
}

static void test_undervoltage_ends_a_run(void **state)
{
    struct rig rig;

    (void)state;
    rig_open(&rig, "{}", 1);
    product_program(&rig, 60000);
    rig_poke(&rig, M(0, DMEM, 512), 1);
    rig_poke(&rig, G(CTRL), 1);
    assert_int_equal(rig_peek(&rig, G(STATUS)) & 1, 1);
    adelia2_power_rail(rig.chip, A2_VDDA, 0.54, rig.now_ns);
    assert_int_equal(rig_peek(&rig, G(STATUS)), 6);
    assert_int_equal(rig_peek(&rig, G(ERR)), A2_ERR_UVLO);
    rig_poke(&rig, G(ERR), A2_ERR_UVLO);
    adelia2_power_rail(rig.chip, A2_VDDA, 0.8, rig.now_ns);
    assert_int_equal(rig_peek(&rig, G(ERR)), 0);
    rig_close(&rig);
}

static void test_test_bus(void **state)
{
    static const struct {
        unsigned mux;
        double low_v, high_v;
    } table[] = { { 1, 0.6, 0.6 },  { 2, 0.3, 0.3 },  { 3, 0.49, 0.51 }, { 4, 0.294, 0.302 },
                  { 56, 0.3, 0.3 }, { 57, 0.8, 0.8 }, { 58, 0.8, 0.8 } };
    struct rig rig;
    double volt, ohm;

    (void)state;
    rig_open(&rig, "{}", 2);
    assert_false(adelia2_power_atb(rig.chip, &volt, &ohm));
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        rig_poke(&rig, G(TESTMUX), table[i].mux);
        assert_true(adelia2_power_atb(rig.chip, &volt, &ohm));
        assert_true(volt >= table[i].low_v - 1e-12 && volt <= table[i].high_v + 1e-12 && ohm > 0);
    }
    rig_poke(&rig, G(TESTMUX), 1 << 16 | 1); /* an input does not drive */
    assert_false(adelia2_power_atb(rig.chip, &volt, &ohm));
    rig_poke(&rig, G(TESTMUX), 33);
    assert_false(adelia2_power_atb(rig.chip, &volt, &ohm));
    assert_in_range(rig_peek(&rig, G(0x30)), 230, 270);
    rig_close(&rig);
}

static void test_population_is_checked(void **state)
{
    static const char *const bad[] = { "{\"population\":{\"mismatch\":0.1}}",
                                       "{\"population\":{\"bit_flip\":2}}",
                                       "{\"population\":{\"drift\":1}}" };
    struct adelia2_population p;
    struct error err;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cJSON *options = NULL;

        assert_int_equal(json_parse(bad[i], strlen(bad[i]), &options, &err), 0);
        assert_int_equal(adelia2_die_population(options, &p, &err), ERR_INVALID);
        assert_non_null(strstr(err.message, "/population"));
        cJSON_Delete(options);
    }
    assert_int_equal(adelia2_die_population(NULL, &p, &err), 0);
}

static void test_dies_differ(void **state)
{
    struct rig a, b;

    (void)state;
    rig_open(&a, "{\"population\":{\"adc_offset_lsb\":1}}", 1);
    rig_open(&b, "{\"population\":{\"adc_offset_lsb\":1}}", 2);
    assert_int_equal(rig_peek(&a, G(0x40)), rig_peek(&b, G(0x40))); /* one wafer */
    assert_int_not_equal(rig_peek(&a, G(0x44)), rig_peek(&b, G(0x44)));
    assert_memory_not_equal(a.chip->die.adc, b.chip->die.adc, sizeof a.chip->die.adc);
    rig_close(&b);
    rig_open(&b, "{\"population\":{\"adc_offset_lsb\":1}}", 1);
    assert_memory_equal(a.chip->die.adc, b.chip->die.adc, sizeof a.chip->die.adc);
    rig_close(&a);
    rig_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_external_input), cmocka_unit_test(test_each_imperfection),
        cmocka_unit_test(test_trims),          cmocka_unit_test(test_mismatch_and_conditions),
        cmocka_unit_test(test_noise_is_keyed), cmocka_unit_test(test_speed_limit),
        cmocka_unit_test(test_energy),         cmocka_unit_test(test_leakage),
        cmocka_unit_test(test_loss_of_power),  cmocka_unit_test(test_undervoltage_ends_a_run),
        cmocka_unit_test(test_test_bus),       cmocka_unit_test(test_population_is_checked),
        cmocka_unit_test(test_dies_differ),
    };

    print_message("seed %d\n", RIG_SEED);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
