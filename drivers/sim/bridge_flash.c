/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * bridge_flash: a small serial flash, as far as flashrom uses it: JEDEC identity, status, read, page program,
 * erase, with its busy times. Behaviour and typical times after the MX25L1006E data sheet as remembered;
 * flashrom is the judge. */
#include "drivers/sim/bridge_serprog.h"

#include <stdlib.h>
#include <string.h>

#include "daemon/base/clock.h"

enum {
    FLASH_BYTES = 128 * 1024,
    PAGE_BYTES = 256,
    SECTOR_BYTES = 4 * 1024,
    BLOCK_BYTES = 64 * 1024,
    SR_BUSY = 1 << 0,
    SR_WRITE_ENABLED = 1 << 1,
    SR_PROTECT = 0x8C
};

#define PROGRAM_NS      (600 * NS_PER_US)
#define SECTOR_NS       (40 * NS_PER_MS)
#define BLOCK_NS        (400 * NS_PER_MS)
#define CHIP_NS         (750 * NS_PER_MS)
#define WRITE_STATUS_NS (5 * NS_PER_MS)

struct spi_flash {
    uint8_t memory[FLASH_BYTES];
    uint8_t status;
    int64_t busy_until_ns;
};

struct spi_flash *spi_flash_open(void)
{
    struct spi_flash *flash = calloc(1, sizeof *flash);

    if (flash != NULL)
        memset(flash->memory, 0xFF, sizeof flash->memory);
    return flash;
}

void spi_flash_close(struct spi_flash *flash)
{
    free(flash);
}

static uint32_t address_of(const uint8_t *mosi)
{
    return ((uint32_t)mosi[1] << 16 | (uint32_t)mosi[2] << 8 | mosi[3]) % FLASH_BYTES;
}

static void program(struct spi_flash *flash, const uint8_t *mosi, size_t n, int64_t now_ns)
{
    uint32_t address = address_of(mosi), page = address / PAGE_BYTES * PAGE_BYTES;

    for (size_t i = 4; i < n; i++) /* wraps inside the page; programming can only clear bits */
        flash->memory[page + (address + i - 4) % PAGE_BYTES] &= mosi[i];
    flash->busy_until_ns = now_ns + PROGRAM_NS;
}

static void erase(struct spi_flash *flash, uint32_t address, uint32_t bytes, int64_t until_ns)
{
    memset(flash->memory + address / bytes * bytes, 0xFF, bytes);
    flash->busy_until_ns = until_ns;
}

/* Commands that need a write-enable before them. */
static void modify(struct spi_flash *flash, const uint8_t *mosi, size_t n, int64_t now_ns)
{
    bool addressed = n >= 4;

    if ((flash->status & SR_WRITE_ENABLED) == 0)
        return;
    switch (mosi[0]) {
    case 0x01:
        if (n >= 2)
            flash->status = mosi[1] & SR_PROTECT;
        flash->busy_until_ns = now_ns + WRITE_STATUS_NS;
        break;
    case 0x02:
        if (n > 4)
            program(flash, mosi, n, now_ns);
        break;
    case 0x20:
        if (addressed)
            erase(flash, address_of(mosi), SECTOR_BYTES, now_ns + SECTOR_NS);
        break;
    case 0x52:
    case 0xD8:
        if (addressed)
            erase(flash, address_of(mosi), BLOCK_BYTES, now_ns + BLOCK_NS);
        break;
    default:
        erase(flash, 0, FLASH_BYTES, now_ns + CHIP_NS);
        break;
    }
    flash->status &= (uint8_t)~SR_WRITE_ENABLED;
}

static void read_out(const struct spi_flash *flash, const uint8_t *mosi, size_t mosi_n, size_t header,
                     uint8_t *miso, size_t rx_n)
{
    if (mosi_n < header)
        return;
    for (size_t i = 0; i < rx_n; i++)
        miso[i] = flash->memory[(address_of(mosi) + (mosi_n - header) + i) % FLASH_BYTES];
}

void spi_flash_transfer(struct spi_flash *flash, const uint8_t *mosi, size_t mosi_n, uint8_t *miso,
                        size_t rx_n, int64_t end_ns)
{
    static const uint8_t identity[] = { 0xC2, 0x20, 0x11 };
    bool busy = end_ns < flash->busy_until_ns;

    memset(miso, 0xFF, rx_n);
    if (mosi_n == 0 || (busy && mosi[0] != 0x05))
        return;
    switch (mosi[0]) {
    case 0x9F:
        for (size_t i = 0; i < rx_n; i++)
            miso[i] = identity[(mosi_n - 1 + i) % sizeof identity]; /* clocked out under what is sent, too */
        break;
    case 0x05:
        memset(miso, flash->status | (busy ? SR_BUSY | SR_WRITE_ENABLED : 0), rx_n);
        break;
    case 0x06:
        flash->status |= SR_WRITE_ENABLED;
        break;
    case 0x04:
        flash->status &= (uint8_t)~SR_WRITE_ENABLED;
        break;
    case 0x03:
        read_out(flash, mosi, mosi_n, 4, miso, rx_n);
        break;
    case 0x0B:
        read_out(flash, mosi, mosi_n, 5, miso, rx_n);
        break;
    case 0x01:
    case 0x02:
    case 0x20:
    case 0x52:
    case 0xD8:
    case 0x60:
    case 0xC7:
        modify(flash, mosi, mosi_n, end_ns);
        break;
    default:
        break;
    }
}
