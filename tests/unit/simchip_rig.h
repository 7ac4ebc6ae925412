/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * simchip_rig: a simulated adelia2 held in the hand: powered, clocked by the test, spoken to in frames that
 * this file encodes by itself (bitwise checksums, from the page and not from the model). */
#ifndef TESTS_UNIT_SIMCHIP_RIG_H
#define TESTS_UNIT_SIMCHIP_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/base/json.h"
#include "drivers/sim/chip_adelia2.h"

enum { RIG_SEED = 20260131 };

struct rig {
    struct adelia2 *chip;
    int64_t now_ns;
    double atb_v;
    double charge_c[A2_RAILS];
    int64_t charge_end_ns;
};

static inline uint16_t rig_crc(const uint8_t *p, size_t n, unsigned width, uint16_t poly, uint16_t crc)
{
    for (size_t i = 0; i < n * 8; i++) {
        unsigned in = p[i / 8] >> (7 - i % 8) & 1;
        unsigned top = crc >> (width - 1) & 1;

        crc = (uint16_t)(crc << 1);
        if (in != top)
            crc ^= poly;
    }
    return (uint16_t)(crc & ((1u << width) - 1));
}

static inline uint8_t rig_crc8(const uint8_t *p, size_t n)
{
    return (uint8_t)rig_crc(p, n, 8, 0x07, 0);
}

static inline uint16_t rig_crc16(const uint8_t *p, size_t n)
{
    return rig_crc(p, n, 16, 0x1021, 0xFFFF);
}

static inline void rig_charge(void *context, enum a2_rail rail, double coulomb, int64_t t0_ns, int64_t t1_ns)
{
    struct rig *rig = context;

    assert_true(t1_ns >= t0_ns);
    rig->charge_c[rail] += coulomb;
    rig->charge_end_ns = t1_ns;
}

static inline double rig_atb(void *context)
{
    return ((struct rig *)context)->atb_v;
}

static inline void rig_rails(struct rig *rig, double core_v)
{
    const double volt[A2_RAILS] = { 1.8, core_v, core_v, core_v, core_v, 0.6, 0, 0 };

    for (int rail = 0; rail < A2_RAILS; rail++)
        adelia2_power_rail(rig->chip, (enum a2_rail)rail, volt[rail], rig->now_ns);
}

/* population: JSON of the bench file's "simulate" object. */
static inline void rig_open(struct rig *rig, const char *population, int die)
{
    struct adelia2_population p;
    struct error err;
    cJSON *options = NULL;

    memset(rig, 0, sizeof *rig);
    assert_int_equal(json_parse(population, strlen(population), &options, &err), 0);
    assert_int_equal(adelia2_die_population(options, &p, &err), 0);
    cJSON_Delete(options);
    rig->chip = malloc(sizeof *rig->chip);
    assert_non_null(rig->chip);
    adelia2_die_init(rig->chip, &p, RIG_SEED, die);
    rig->chip->sink = (struct adelia2_sink){ .charge = rig_charge, .atb_volt = rig_atb, .context = rig };
    rig_rails(rig, 0.8);
}

#define RIG_IDEAL "{\"population\":{\"ideal\":true}}"

static inline void rig_close(struct rig *rig)
{
    free(rig->chip);
}

static inline void rig_spi(struct rig *rig, const uint8_t *tx, size_t n, uint8_t *rx, size_t rx_n)
{
    int64_t end_ns = rig->now_ns + (int64_t)(n + rx_n) * 400; /* 20 MHz */

    adelia2_spi(rig->chip, tx, n, rx, rx_n, rig->now_ns, end_ns);
    rig->now_ns = end_ns;
}

static inline void rig_header(uint8_t *h, uint8_t command, uint32_t address, unsigned words)
{
    h[0] = command;
    h[1] = (uint8_t)(address >> 16);
    h[2] = (uint8_t)(address >> 8);
    h[3] = (uint8_t)address;
    h[4] = (uint8_t)(words - 1);
    h[5] = rig_crc8(h, 5);
}

/* Returns the status byte. */
static inline uint8_t rig_write(struct rig *rig, uint32_t address, const uint32_t *word, unsigned words)
{
    uint8_t frame[6 + 1024 + 2], rx[3];
    uint16_t crc;

    rig_header(frame, 0x02, address, words);
    for (unsigned i = 0; i < 4 * words; i++)
        frame[6 + i] = (uint8_t)(word[i / 4] >> (24 - i % 4 * 8));
    crc = rig_crc16(frame + 6, 4 * words);
    frame[6 + 4 * words] = (uint8_t)(crc >> 8);
    frame[7 + 4 * words] = (uint8_t)crc;
    rig_spi(rig, frame, 8 + 4 * words, rx, 3);
    assert_int_equal(rx[2], rig_crc8(rx + 1, 1));
    return rx[1];
}

static inline uint8_t rig_read(struct rig *rig, uint32_t address, uint32_t *word, unsigned words)
{
    uint8_t header[6], rx[2 + 1024 + 2];

    rig_header(header, 0x0B, address, words);
    rig_spi(rig, header, 6, rx, 2 + 4 * words + 2);
    assert_int_equal(rx[2 + 4 * words] << 8 | rx[3 + 4 * words], rig_crc16(rx + 1, 1 + 4 * words));
    for (unsigned i = 0; i < words; i++)
        word[i] = (uint32_t)rx[2 + 4 * i] << 24 | (uint32_t)rx[3 + 4 * i] << 16 |
                  (uint32_t)rx[4 + 4 * i] << 8 | rx[5 + 4 * i];
    return rx[1];
}

static inline void rig_poke(struct rig *rig, uint32_t address, uint32_t word)
{
    assert_int_equal(rig_write(rig, address, &word, 1) & ~1, 0xA0);
}

static inline uint32_t rig_peek(struct rig *rig, uint32_t address)
{
    uint32_t word = 0;

    assert_int_equal(rig_read(rig, address, &word, 1) & ~1, 0xA0);
    return word;
}

/* Any number of bytes into a memory; n a multiple of 4. */
static inline void rig_load(struct rig *rig, uint32_t address, const uint8_t *bytes, size_t n)
{
    for (size_t done = 0; done < n; done += 256) {
        size_t part = n - done < 256 ? n - done : 256;
        uint32_t word[64];

        for (size_t i = 0; i < part; i += 4)
            word[i / 4] = (uint32_t)bytes[done + i] << 24 | (uint32_t)bytes[done + i + 1] << 16 |
                          (uint32_t)bytes[done + i + 2] << 8 | bytes[done + i + 3];
        assert_int_equal(rig_write(rig, address + (uint32_t)done, word, (unsigned)part / 4), 0xA0);
    }
}

static inline void rig_fetch(struct rig *rig, uint32_t address, uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < n; i += 4) {
        uint32_t word = rig_peek(rig, address + (uint32_t)i);

        for (size_t j = 0; j < 4 && i + j < n; j++)
            bytes[i + j] = (uint8_t)(word >> (24 - 8 * j));
    }
}

/* Addresses. */
#define G(offset)          ((uint32_t)(offset))
#define U(apu, offset)     (((uint32_t)(apu) + 1) << 20 | (uint32_t)(offset))
#define M(apu, region, at) (((uint32_t)(apu) + 1) << 20 | (uint32_t)(region) << 16 | (uint32_t)(at))
enum { CTRL = 0x08, STATUS = 0x0C, ERR = 0x10, CYC_LO = 0x18, INFCNT = 0x20, PWREN = 0x24, TESTMUX = 0x28 };
enum { IMEM = 1, WMEM = 2, DMEM = 3, XBAR = 4, BNP = 5, ADCT = 6, PSUM = 7, TRACE = 8 };

/* Instructions, from the page. */
enum { NOP, LDW, SET, WIN, GATHER, CLR, MVM, BN, NEXT, LOOP, MOV, PADD, SIGNAL, WAIT, LAYER, HALT };
enum {
    IN_BASE,
    IN_H,
    IN_W,
    IN_C,
    K_H,
    K_W,
    S_H,
    S_W,
    P_H,
    P_W,
    OUT_W,
    OUT_BASE,
    OUT_PIX,
    OUT_MODE,
    VEC_OFF,
    VEC_LEN,
    ROW0,
    COL0,
    NCH,
    SLICES,
    PS0,
    BN0,
    MV_SRC,
    MV_SSTR,
    MV_DST,
    MV_DSTR,
    MV_LEN,
    MV_CNT
};
#define I(op, a, imm) ((uint32_t)(op) << 24 | (uint32_t)(a) << 16 | (uint32_t)(imm))

struct prog {
    uint32_t word[256];
    unsigned n;
};

static inline void emit(struct prog *p, uint32_t word)
{
    assert_true(p->n < 256);
    p->word[p->n++] = word;
}

static inline void rig_program(struct rig *rig, int apu, const struct prog *p)
{
    assert_int_equal(rig_write(rig, M(apu, IMEM, 0), p->word, p->n), 0xA0);
}

/* START and wait; returns ERR. */
static inline uint32_t rig_run(struct rig *rig)
{
    rig_poke(rig, G(CTRL), 1);
    for (int i = 0; i < 100000 && (rig_peek(rig, G(STATUS)) & 1) != 0; i++)
        rig->now_ns += 100000;
    assert_int_equal(rig_peek(rig, G(STATUS)) & 3, 2);
    return rig_peek(rig, G(ERR));
}

#endif
