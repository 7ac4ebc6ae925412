/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_simchip_frame: the simulated adelia2 on the wire: golden frames, errors, reset, memories, locks. */
#include <stdio.h>

#include "tests/unit/simchip_rig.h"

static void check_frame(struct rig *rig, const char *tx_hex, const char *rx_hex)
{
    uint8_t tx[64], rx[64], want[64];
    size_t n = 0, m = 0;
    int used;
    unsigned byte;

    for (const char *p = tx_hex; sscanf(p, "%2x%n", &byte, &used) == 1; p += used)
        tx[n++] = (uint8_t)byte;
    for (const char *p = rx_hex; sscanf(p, "%2x%n", &byte, &used) == 1; p += used)
        want[m++] = (uint8_t)byte;
    rig_spi(rig, tx, n, rx, m);
    assert_memory_equal(rx, want, m);
}

static void test_checksums(void **state)
{
    (void)state;
    assert_int_equal(rig_crc8((const uint8_t *)"123456789", 9), 0xF4);
    assert_int_equal(rig_crc16((const uint8_t *)"123456789", 9), 0x29B1);
}

/* Frames worked out by hand from the page; their checksums by a separate script. */
static void test_golden(void **state)
{
    struct rig rig;

    (void)state;
    rig_open(&rig, RIG_IDEAL, 1);
    check_frame(&rig, "0b 00 00 00 00 bf", "ff a0 41 44 02 01 94 6e");
    check_frame(&rig, "9f", "ff 41 44 02 01 ff");
    check_frame(&rig, "05", "ff a0 69");
    check_frame(&rig, "02 00 00 3c 00 c1 00 00 00 01 94 e1", "ff a0 69"); /* SCRATCH = 1 */
    check_frame(&rig, "0b 00 00 3c 00 ba", "ff a0 00 00 00 01 2b 49");
    check_frame(&rig, "02 00 00 00 00 c4 00 00 00 05 d4 65", "ff a8 51"); /* ID is read only */
    check_frame(&rig, "0b 00 ff fc 01 7b", "ff a4 00 00 00 00 00 00 00 00 9c d3");
    check_frame(&rig, "0b 00 00 00 00 00", "ff a2 00 00 00 00"); /* header checksum */
    check_frame(&rig, "77", "ff b0");
    check_frame(&rig, "0b 00 00 00 00", "ff ff ff"); /* never became a command */
    assert_int_equal(rig_peek(&rig, G(ERR)), A2_ERR_CRC);
    rig_poke(&rig, G(ERR), A2_ERR_CRC);
    assert_int_equal(rig_peek(&rig, G(ERR)), 0);
    rig_close(&rig);
}

static void test_bad_write_changes_nothing(void **state)
{
    const uint32_t four[4] = { 1, 2, 3, 4 };
    uint8_t frame[6 + 8 + 2], rx[3];
    struct rig rig;

    (void)state;
    rig_open(&rig, RIG_IDEAL, 1);
    rig_poke(&rig, M(0, DMEM, 0), 0x11111111);
    rig_poke(&rig, M(0, DMEM, 4), 0x22222222);
    for (unsigned bit = 0; bit < 8 * sizeof frame; bit++) {
        uint16_t crc;

        rig_header(frame, 0x02, M(0, DMEM, 0), 2);
        memset(frame + 6, 0xA5, 8);
        crc = rig_crc16(frame + 6, 8);
        frame[14] = (uint8_t)(crc >> 8);
        frame[15] = (uint8_t)crc;
        frame[bit / 8] ^= (uint8_t)(1 << bit % 8);
        rig_spi(&rig, frame, sizeof frame, rx, 3);
        assert_int_equal(rig_peek(&rig, M(0, DMEM, 0)), 0x11111111);
        assert_int_equal(rig_peek(&rig, M(0, DMEM, 4)), 0x22222222);
    }
    /* A burst over the region's end, and one that meets a read-only register, fall as a whole. */
    rig_poke(&rig, M(0, DMEM, 8188), 7);
    assert_int_equal(rig_write(&rig, M(0, DMEM, 8188), four, 2), 0xA4);
    assert_int_equal(rig_peek(&rig, M(0, DMEM, 8188)), 7);
    assert_int_equal(rig_write(&rig, G(0x3C), four, 2), 0xA8);
    assert_int_equal(rig_peek(&rig, G(0x3C)), 0);
    assert_int_equal(rig_write(&rig, M(0, XBAR, 0), four, 1), 0xA8);
    assert_int_equal(rig_write(&rig, M(0, DMEM, 2), four, 1), 0xA4);
    assert_int_equal(rig_write(&rig, 0x900000, four, 1), 0xA4);
    assert_int_equal(rig_write(&rig, M(0, 9, 0), four, 1), 0xA4);
    rig_close(&rig);
}

static void test_broadcast_and_bytes(void **state)
{
    uint32_t image[256];
    struct rig rig;

    (void)state;
    rig_open(&rig, RIG_IDEAL, 1);
    for (unsigned i = 0; i < 256; i++)
        image[i] = 0x01020304u * i;
    assert_int_equal(rig_write(&rig, 0xF00000 | WMEM << 16 | 1024, image, 256), 0xA0);
    for (int apu = 0; apu < A2_APUS; apu++)
        for (unsigned i = 0; i < 256; i += 51)
            assert_int_equal(rig_peek(&rig, M(apu, WMEM, 1024 + 4 * i)), image[i]);
    assert_int_equal(rig_read(&rig, 0xF00000 | WMEM << 16, image, 1), 0xA4);
    rig_poke(&rig, M(2, DMEM, 16), 0x41424344);
    assert_memory_equal(rig.chip->apu[2].data.dmem + 16, "ABCD", 4);
    rig_close(&rig);
}

static void test_reset(void **state)
{
    struct rig rig;
    uint8_t rx[3];

    (void)state;
    rig_open(&rig, RIG_IDEAL, 1);
    rig_poke(&rig, G(0x3C), 99);
    rig_poke(&rig, M(0, ADCT, 0), 0x08900000);
    rig_poke(&rig, M(0, BNP, 0), 0x12345678);
    rig_spi(&rig, (const uint8_t *)"\x99", 1, rx, 3); /* alone: unknown */
    assert_int_equal(rx[1], 0xB0);
    rig_spi(&rig, (const uint8_t *)"\x66", 1, rx, 0);
    rig_spi(&rig, (const uint8_t *)"\x05", 1, rx, 3); /* between: disarms */
    rig_spi(&rig, (const uint8_t *)"\x99", 1, rx, 3);
    assert_int_equal(rx[1], 0xB0);
    assert_int_equal(rig_peek(&rig, G(0x3C)), 99);
    rig_spi(&rig, (const uint8_t *)"\x66", 1, rx, 0);
    rig_spi(&rig, (const uint8_t *)"\x99", 1, rx, 3);
    assert_int_equal(rx[1], 0xA0);
    assert_int_equal(rig_peek(&rig, G(0x3C)), 0);
    assert_int_equal(rig_peek(&rig, M(0, ADCT, 0)), 0x00800000);
    assert_int_equal(rig_peek(&rig, M(0, BNP, 0)), 0x12345678); /* memories stay */
    assert_int_equal(rig_peek(&rig, U(0, 0x0C)), 9);
    rig_close(&rig);
}

static void test_locked_while_running(void **state)
{
    struct prog p = { 0 };
    const uint32_t word = 0xDEADBEEF;
    struct rig rig;

    (void)state;
    rig_open(&rig, RIG_IDEAL, 1);
    rig_poke(&rig, M(0, DMEM, 0), 5);
    rig_poke(&rig, M(0, DMEM, 64), 6);
    emit(&p, I(SET, MV_DST, 64));
    emit(&p, I(SET, MV_LEN, 4));
    emit(&p, I(SET, MV_CNT, 1));
    emit(&p, I(MOV, 0, 0));
    emit(&p, I(LOOP, 1, 10000)); /* 100 us */
    emit(&p, I(NOP, 0, 0));
    emit(&p, I(HALT, 0, 0));
    rig_program(&rig, 0, &p);
    rig_poke(&rig, U(0, 0), 1);
    rig_poke(&rig, G(PWREN), 0x101);
    rig_poke(&rig, G(CTRL), 1);
    assert_int_equal(rig_peek(&rig, G(STATUS)), 0x101); /* RUN, APU0 busy */
    assert_int_equal(rig_write(&rig, M(0, DMEM, 0), &word, 1), 0xA9);
    assert_int_equal(rig_peek(&rig, G(ERR)), A2_ERR_BUSY);
    assert_int_equal(rig_peek(&rig, M(0, DMEM, 64)), 6); /* too early: the old result */
    rig.now_ns += 200000;
    assert_int_equal(rig_peek(&rig, G(STATUS)), 6);
    assert_int_equal(rig_peek(&rig, M(0, DMEM, 0)), 5);
    assert_int_equal(rig_peek(&rig, M(0, DMEM, 64)), 5);
    assert_int_equal(rig_peek(&rig, G(INFCNT)), 1);
    assert_int_equal(rig_peek(&rig, G(CYC_LO)), 3 + 2 + 1 + 10000 + 1);
    /* The same, stopped half way: nothing is left of it. */
    rig_poke(&rig, M(0, DMEM, 64), 6);
    rig_poke(&rig, G(CTRL), 1);
    rig_poke(&rig, G(CTRL), 2);
    assert_int_equal(rig_peek(&rig, G(STATUS)) & 3, 0);
    assert_int_equal(rig_peek(&rig, M(0, DMEM, 64)), 6);
    assert_int_equal(rig_peek(&rig, G(INFCNT)), 1);
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_checksums),
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_bad_write_changes_nothing),
        cmocka_unit_test(test_broadcast_and_bytes),
        cmocka_unit_test(test_reset),
        cmocka_unit_test(test_locked_while_running),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
