/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * fixture_chip: an ideal adelia2 behind a struct spi_bus, for the tests of chip/: decodes frames and executes
 * instruction words, both written here from docs/chip-adelia2.md alone. It can misbehave on demand. (The
 * simulator's chip is another program, with another author; this one is small, has no physics, and lives in
 * the test's own process.)
 */
#ifndef TESTS_UNIT_FIXTURE_CHIP_H
#define TESTS_UNIT_FIXTURE_CHIP_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "instruments/spi.h"
#include "tests/unit/fixture_cores.h"

static inline uint8_t fake_crc8(const uint8_t *p, size_t n)
{
    uint8_t crc = 0;

    while (n--) {
        uint8_t byte = *p++;
        for (int i = 7; i >= 0; i--) {
            int top = (crc >> 7) ^ (byte >> i & 1);
            crc = (uint8_t)(crc << 1);
            if (top)
                crc ^= 0x07;
        }
    }
    return crc;
}

static inline uint16_t fake_crc16(const uint8_t *p, size_t n)
{
    uint16_t crc = 0xFFFF;

    while (n--) {
        uint8_t byte = *p++;
        for (int i = 7; i >= 0; i--) {
            int top = (crc >> 15) ^ (byte >> i & 1);
            crc = (uint16_t)(crc << 1);
            if (top)
                crc ^= 0x1021;
        }
    }
    return crc;
}

/* ---- Registers ---- */

static inline uint32_t fake_csr_read(const struct fake_chip *f, uint32_t a)
{
    bool run = fake_running(f);

    switch (a) {
    case 0x00:
        return 0x41440201;
    case 0x04:
        return 1;
    case 0x08:
        return f->ctrl;
    case 0x0C:
        return (run ? 1U : 0U) | (f->done && !run ? 2U : 0U) | (f->err ? 4U : 0U);
    case 0x10:
        return f->err;
    case 0x14:
        return f->irqen;
    case 0x18:
        return (uint32_t)f->cycles;
    case 0x20:
        return f->infcnt;
    case 0x24:
        return f->pwren;
    case 0x28:
        return f->testmux;
    case 0x30:
        return 0xFCE; /* -5.0 C */
    case 0x3C:
        return f->scratch;
    case 0x40:
        return 7U << 16 | 3U << 8;
    case 0x44:
        return 12U << 24 | 34U << 16 | 567;
    case 0x48:
        return f->repeat ? f->repeat : 1;
    case 0x4C:
        return f->brk;
    case 0x50:
        return f->bist;
    default:
        return 0;
    }
}

/* Status bits of the write. */
static inline int fake_csr_write(struct fake_chip *f, uint32_t a, uint32_t v)
{
    switch (a) {
    case 0x08:
        f->ctrl = v & 0xF0;
        if (v & 2)
            f->run_end_ns = 0;
        if (v & 1)
            fake_start(f);
        return 0;
    case 0x10:
        f->err &= ~v;
        return 0;
    case 0x14:
        f->irqen = v;
        return 0;
    case 0x24:
        f->pwren = v;
        return 0;
    case 0x28:
        f->testmux = v;
        return 0;
    case 0x3C:
        f->scratch = v;
        return 0;
    case 0x48:
        f->repeat = v;
        return 0;
    case 0x4C:
        f->brk = v;
        return 0;
    case 0x50:
        f->bist = v;
        return 0;
    default:
        return 8;
    }
}

static inline uint32_t fake_core_read(const struct fake_core *c, uint32_t a)
{
    switch (a) {
    case 0x00:
        return c->enable;
    case 0x0C:
        return c->adc;
    case 0x30:
    case 0x34:
    case 0x38:
    case 0x3C:
        return c->cnt[(a - 0x30) / 4];
    case 0x44:
        return c->extsum;
    case 0x48:
        return c->extsq;
    case 0x4C:
        return c->traceptr;
    default:
        return 0;
    }
}

static inline int fake_core_write(struct fake_chip *f, struct fake_core *c, uint32_t a, uint32_t v)
{
    int n = (int)(v >> 8 & 0x3FF);

    switch (a) {
    case 0x00:
        c->enable = v;
        return 0;
    case 0x0C:
        c->adc = v;
        return 0;
    case 0x40:
        if (!(f->testmux >> 16 & 1))
            return 8;
        c->extsum = (uint32_t)(n * f->ext_input_code);
        c->extsq = (uint32_t)(n * f->ext_input_code * f->ext_input_code);
        f->run_end_ns = f->now_ns + 400LL * n;
        return 0;
    case 0x4C:
        c->traceptr = 0;
        memset(c->trace, 0, sizeof c->trace);
        return 0;
    default:
        return 8;
    }
}

static inline uint8_t *fake_memory(struct fake_core *c, int region, uint32_t *size, bool *read_only)
{
    static const struct {
        size_t offset;
        uint32_t size;
        bool read_only;
    } regions[9] = { { 0, 0, false },
                     { offsetof(struct fake_core, imem), 1024, false },
                     { offsetof(struct fake_core, wmem), 8192, false },
                     { offsetof(struct fake_core, dmem), 8192, false },
                     { offsetof(struct fake_core, xbar), 8192, true },
                     { offsetof(struct fake_core, bnp), 256, false },
                     { offsetof(struct fake_core, adct), 256, false },
                     { offsetof(struct fake_core, psum_bytes), 256, true },
                     { offsetof(struct fake_core, trace), 1024, true } };

    if (region < 1 || region > 8)
        return NULL;
    *size = regions[region].size;
    *read_only = regions[region].read_only;
    return (uint8_t *)c + regions[region].offset;
}

/* Status bits; data big-endian. */
static inline int fake_access(struct fake_chip *f, uint32_t address, int words, uint8_t *data, bool write)
{
    int target = (int)(address >> 20), region = (int)(address >> 16 & 15), status = 0;
    uint32_t offset = address & 0xFFFF, size = 256;
    bool read_only = false;

    if (target > 6 || offset % 4)
        return 4;
    uint8_t *memory = target ? fake_memory(&f->core[target - 1], region, &size, &read_only) : NULL;
    if (region && !memory)
        return 4;
    if (offset + 4 * (uint32_t)words > size)
        return 4;
    if (write && region && fake_running(f)) {
        f->err |= 1;
        return 8;
    }
    if (write && read_only)
        return 8;
    if (memory && region == 7) {
        for (int i = 0; i < 64; i++) {
            for (int b = 0; b < 4; b++)
                memory[4 * i + b] = (uint8_t)((uint32_t)f->core[target - 1].psum[i] >> (24 - 8 * b));
        }
    }
    for (int i = 0; i < words; i++, offset += 4, data += 4) {
        if (memory) {
            memcpy(write ? memory + offset : data, write ? data : memory + offset, 4);
        } else if (write) {
            uint32_t v = (uint32_t)data[0] << 24 | (uint32_t)data[1] << 16 | (uint32_t)data[2] << 8 | data[3];
            status |=
                target ? fake_core_write(f, &f->core[target - 1], offset, v) : fake_csr_write(f, offset, v);
        } else {
            uint32_t v = target ? fake_core_read(&f->core[target - 1], offset) : fake_csr_read(f, offset);
            for (int b = 0; b < 4; b++)
                data[b] = (uint8_t)(v >> (24 - 8 * b));
        }
    }
    return status;
}

/* ---- Frames ---- */

static inline void fake_frame(struct fake_chip *f, const uint8_t *tx, size_t n, uint8_t *rx)
{
    uint8_t data[1024] = { 0 };
    bool armed = f->reset_armed;
    int status = 0xA0 | (fake_running(f) ? 1 : 0);

    f->reset_armed = n == 1 && tx[0] == 0x66;
    rx[0] = 0xFF;
    if (n == 1 && tx[0] == 0x99 && armed) {
        f->err = f->pwren = f->testmux = f->ctrl = f->brk = f->bist = f->repeat = 0;
        f->run_end_ns = 0;
        f->done = false;
        rx[1] = 0xA0;
        rx[2] = fake_crc8(rx + 1, 1);
        return;
    }
    if (n < 6 || (tx[0] != 0x0B && tx[0] != 0x02)) {
        rx[1] = (uint8_t)(status | 16);
        rx[2] = fake_crc8(rx + 1, 1);
        return;
    }
    uint32_t address = (uint32_t)tx[1] << 16 | (uint32_t)tx[2] << 8 | tx[3];
    int words = tx[4] + 1;
    bool bad = fake_crc8(tx, 5) != tx[5];
    if (tx[0] == 0x02) {
        size_t bytes = 4 * (size_t)words;
        uint16_t crc = bad || n != 6 + bytes + 2 ? 0 : (uint16_t)(tx[6 + bytes] << 8 | tx[7 + bytes]);
        bad = bad || n != 6 + bytes + 2 || fake_crc16(tx + 6, bytes) != crc;
        if (bad) {
            f->err |= 2;
            status |= 2;
        } else {
            memcpy(data, tx + 6, bytes);
            status |= fake_access(f, address, words, data, true);
        }
        rx[1] = (uint8_t)status;
        rx[2] = fake_crc8(rx + 1, 1);
        return;
    }
    if (bad)
        status |= 2;
    else
        status |= fake_access(f, address, words, data, false);
    rx[1] = (uint8_t)status;
    memcpy(rx + 2, data, 4 * (size_t)words);
    uint16_t crc = fake_crc16(rx + 1, 1 + 4 * (size_t)words);
    rx[2 + 4 * words] = (uint8_t)(crc >> 8);
    rx[3 + 4 * words] = (uint8_t)crc;
}

static inline int fake_batch(void *context, const struct spi_transfer *t, int count, struct error *err)
{
    struct fake_chip *f = context;
    size_t total = 0;

    for (int i = 0; i < count; i++)
        total += (size_t)t[i].tx_len + t[i].rx_len;
    if (count > SPI_BATCH_MAX || total > SPI_BATCH_BYTES)
        return error_set(err, ERR_RANGE, "batch too large");
    for (int i = 0; i < count; i++) {
        uint8_t rx[2048], tx[2048];
        if (t[i].tx_len > SPI_TX_MAX || t[i].rx_len > SPI_RX_MAX)
            return error_set(err, ERR_RANGE, "transfer too large");
        memset(rx, 0xFF, sizeof rx);
        memcpy(tx, t[i].tx, t[i].tx_len);
        f->transactions++;
        f->bytes += t[i].tx_len + t[i].rx_len;
        if (f->corrupt_commands && f->transactions % f->corrupt_commands == 0)
            tx[t[i].tx_len - 1] ^= 0x10;
        if (!f->silent)
            fake_frame(f, tx, t[i].tx_len, rx);
        if (f->corrupt_every && t[i].rx_len > 2 && f->transactions % f->corrupt_every == 0)
            rx[2] ^= 0x04;
        if (t[i].rx_len)
            memcpy(t[i].rx, rx, t[i].rx_len);
        f->now_ns += 400LL * (t[i].tx_len + t[i].rx_len) + 1000LL * t[i].delay_us;
    }
    return 0;
}

static inline int64_t fake_now(void *context)
{
    return ((struct fake_chip *)context)->now_ns;
}

static inline int fake_wait(void *context, int64_t duration_ns, struct error *err)
{
    (void)err;
    ((struct fake_chip *)context)->now_ns += duration_ns;
    return 0;
}

static inline struct spi_bus fake_bus(struct fake_chip *f)
{
    return (struct spi_bus){ .context = f,
                             .batch = fake_batch,
                             .now = fake_now,
                             .wait = fake_wait,
                             .clock_hz = 20e6,
                             .tx_max = SPI_TX_MAX,
                             .rx_max = SPI_RX_MAX };
}

#endif
