/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_simchip_fuzz: random programs, frames and supplies: the simulated adelia2 always answers what a slave
 * can answer, ends or hangs as the page says, and (under the sanitizers) stays inside its memories. */
#include <stdio.h>

#include "daemon/base/clock.h"
#include "daemon/base/rng.h"
#include "tests/unit/simchip_rig.h"

enum { PROGRAMS = 400, FRAMES = 20000, POWER_STEPS = 3000 };

static struct rng dice;

static uint32_t below(uint32_t n)
{
    return rng_below(&dice, n);
}

/* Wild: now and then at an edge or illegal. Tame: small operands and nothing that waits or loops. */
static uint32_t random_instruction(bool wild)
{
    static const uint16_t edges[] = {
        0, 1, 2, 3, 9, 18, 63, 64, 65, 255, 256, 2047, 2048, 8191, 8192, 65535
    };
    uint32_t op = wild && below(20) == 0 ? below(256) : below(15), a = below(wild ? 8 : 6);
    uint32_t imm = wild ? edges[below(16)] : below(4);

    if (!wild && (op == LOOP || op == WAIT))
        op = MVM;
    if (op == SET)
        a = below(wild ? 29 : 28);
    if (op == LOOP)
        imm = below(5);
    if (op == SET && below(2) == 0)
        imm = below(wild ? 64 : 8);
    return I(op, a, imm);
}

static void test_programs(void **state)
{
    struct rig rig;
    int done = 0, faulted = 0;

    (void)state;
    rig_open(&rig, "{\"population\":{\"adc_noise_lsb\":1,\"bit_flip\":0.01,\"mismatch_sigma\":0.1}}", 1);
    rig_poke(&rig, G(PWREN), 0x33F);
    for (int apu = 0; apu < A2_APUS; apu++)
        rig_poke(&rig, U(apu, 0), 1);
    for (int i = 0; i < PROGRAMS; i++) {
        bool wild = i % 2 != 0;
        uint32_t err;

        for (int apu = 0; apu < A2_APUS; apu++) {
            struct prog p = { 0 };
            unsigned n = 1 + below(60);

            while (p.n < n)
                emit(&p, random_instruction(wild));
            emit(&p, I(HALT, 0, 0));
            rig_program(&rig, apu, &p);
            rig_poke(&rig, U(apu, 0x0C), below(64));
        }
        rig_poke(&rig, G(0x48), below(7));
        rig_poke(&rig, G(0x4C), below(4) == 0 ? below(2) << 31 | below(4) << 24 | below(3) : 0);
        rig_poke(&rig, G(0x50), below(2));
        err = rig_run(&rig);
        rig_poke(&rig, G(ERR), err);
        assert_int_equal(err & ~(uint32_t)(A2_ERR_ILLOP | A2_ERR_BUSTO | A2_ERR_DMEM), 0);
        done += err == 0;
        faulted += err != 0;
        for (int apu = 0; apu < A2_APUS; apu++)
            for (int j = 0; j < 64; j++) {
                int32_t psum = rig.chip->apu[apu].data.psum[j];

                assert_true(psum >= -(1 << 29) && psum < 1 << 29);
            }
    }
    print_message("%d came to their end, %d to an error\n", done, faulted);
    assert_true(done > 0 && faulted > 0);
    rig_close(&rig);
}

static void test_frames(void **state)
{
    static const uint8_t commands[] = { 0x02, 0x05, 0x0B, 0x66, 0x99, 0x9F, 0x00, 0xFF };
    uint8_t tx[6 + 1024 + 2 + 8], rx[1100];
    struct rig rig;

    (void)state;
    rig_open(&rig, RIG_IDEAL, 1);
    for (int i = 0; i < FRAMES; i++) {
        size_t n = below(sizeof tx), rx_n = below(sizeof rx);

        for (size_t j = 0; j < n; j++)
            tx[j] = (uint8_t)below(256);
        if (n >= 6 && below(4) != 0) {
            rig_header(tx, commands[below(sizeof commands)],
                       below(0x10) << 20 | below(10) << 16 | below(600) << 2, 1 + below(256));
            tx[0] = commands[below(sizeof commands)];
            tx[5] = rig_crc8(tx, 5);
            if (tx[0] == 0x02 && n >= 8 + 4 * (tx[4] + 1u)) {
                uint16_t crc = rig_crc16(tx + 6, 4 * (tx[4] + 1u));

                tx[6 + 4 * (tx[4] + 1u)] = (uint8_t)(crc >> 8);
                tx[7 + 4 * (tx[4] + 1u)] = (uint8_t)crc;
            }
        }
        rig_spi(&rig, tx, n, rx, rx_n);
        rig.now_ns += below(3) * NS_PER_MS;
    }
    rig_spi(&rig, (const uint8_t *)"\x66", 1, rx, 0);
    rig_spi(&rig, (const uint8_t *)"\x99", 1, rx, 3);
    assert_int_equal(rx[1], 0xA0);
    assert_int_equal(rig_peek(&rig, 0), A2_ID); /* alive and itself */
    rig_close(&rig);
}

static void test_supplies(void **state)
{
    struct rig rig;
    struct prog p = { 0 };
    uint8_t rx[3];

    (void)state;
    rig_open(&rig, "{}", 1);
    emit(&p, I(LOOP, 1, 1000));
    emit(&p, I(NOP, 0, 0));
    emit(&p, I(HALT, 0, 0));
    for (int i = 0; i < POWER_STEPS; i++) {
        bool on;

        adelia2_power_rail(rig.chip, (enum a2_rail)below(A2_RAILS), below(4) != 0 ? 0.8 : 0.1 * below(10),
                           rig.now_ns);
        if (below(3) == 0)
            rig_rails(&rig, 0.8);
        on = rig.chip->rail_v[A2_VDDD] > 0.55 && rig.chip->rail_v[A2_VDDIO] >= 1.0;
        rig_spi(&rig, (const uint8_t *)"\x05", 1, rx, 3);
        assert_int_equal(rx[1] >> 5, on ? 5 : 0);
        if (on && below(2) == 0 && (rx[1] & 1) == 0) {
            rig_program(&rig, 0, &p);
            rig_poke(&rig, U(0, 0), 1);
            rig_poke(&rig, G(PWREN), 1);
            rig_poke(&rig, G(CTRL), 1);
        }
        rig.now_ns += below(20000);
    }
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_programs),
        cmocka_unit_test(test_frames),
        cmocka_unit_test(test_supplies),
    };

    print_message("seed %d\n", RIG_SEED);
    rng_init(&dice, RIG_SEED, "test_simchip_fuzz", 0, 0, 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
