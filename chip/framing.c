/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * framing: ADL2 (docs/chip-adelia2.md) and the plain 16-bit instruction that many converters use.
 */
#include "chip/framing.h"

#include <string.h>

enum {
    ADL2_WRITE = 0x02,
    ADL2_READ = 0x0B,
    ADL2_RESET_ARM = 0x66,
    ADL2_RESET = 0x99,
    ADL2_HEADER = 6,         /* command, address, length, CRC-8 */
    ADL2_STATUS_MARK = 0xA0, /* bits 7:5 of every status */
    ADL2_STATUS_MASK = 0xE0,
    ADI16_READ = 0x8000
};

uint8_t framing_crc8(const uint8_t *data, size_t length)
{
    unsigned crc = 0;

    for (size_t i = 0; i < length; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 0x80 ? (crc << 1 ^ 0x07) & 0xFF : crc << 1;
    }
    return (uint8_t)crc;
}

/* A byte at a time without a table (Gries' reduction of x^16 + x^12 + x^5 + 1): bursts are long. */
uint16_t framing_crc16(const uint8_t *data, size_t length)
{
    unsigned crc = 0xFFFF;

    for (size_t i = 0; i < length; i++) {
        crc = ((crc >> 8) | (crc << 8)) & 0xFFFF;
        crc ^= data[i];
        crc ^= (crc & 0xFF) >> 4;
        crc ^= crc << 12 & 0xFFFF;
        crc ^= (crc & 0xFF) << 5;
    }
    return (uint16_t)crc;
}

int framing_word_bytes(const struct profile_spi *spi)
{
    return spi->kind == PROFILE_FRAMING_ADL2 ? 4 : 1;
}

int framing_burst(const struct profile_spi *spi, int tx_max, int rx_max)
{
    int words;

    if (spi->kind == PROFILE_FRAMING_ADL2) {
        int tx = (tx_max - ADL2_HEADER - 2) / 4, rx = (rx_max - 4) / 4;
        words = tx < rx ? tx : rx;
    } else {
        words = tx_max - 2 < rx_max ? tx_max - 2 : rx_max;
    }
    if (words > spi->burst_words)
        words = spi->burst_words;
    return words < 1 ? 1 : words > FRAMING_WORDS_MAX ? FRAMING_WORDS_MAX : words;
}

static void adl2_header(uint8_t command, uint32_t address, int words, uint8_t *out)
{
    out[0] = command;
    out[1] = (uint8_t)(address >> 16);
    out[2] = (uint8_t)(address >> 8);
    out[3] = (uint8_t)address;
    out[4] = (uint8_t)(words - 1);
    out[5] = framing_crc8(out, 5);
}

int framing_read(const struct profile_spi *spi, uint32_t address, int words, uint8_t *out, int *ret_rx)
{
    if (spi->kind == PROFILE_FRAMING_ADL2) {
        adl2_header(ADL2_READ, address, words, out);
        *ret_rx = 1 + 1 + 4 * words + 2;
        return ADL2_HEADER;
    }
    out[0] = (uint8_t)((ADI16_READ | address) >> 8);
    out[1] = (uint8_t)address;
    *ret_rx = words;
    return 2;
}

int framing_write(const struct profile_spi *spi, uint32_t address, const uint8_t *data, int words,
                  uint8_t *out, int *ret_rx)
{
    if (spi->kind == PROFILE_FRAMING_ADL2) {
        size_t bytes = 4 * (size_t)words;
        adl2_header(ADL2_WRITE, address, words, out);
        memcpy(out + ADL2_HEADER, data, bytes);
        uint16_t crc = framing_crc16(data, bytes);
        out[ADL2_HEADER + bytes] = (uint8_t)(crc >> 8);
        out[ADL2_HEADER + bytes + 1] = (uint8_t)crc;
        *ret_rx = 1 + 2;
        return ADL2_HEADER + (int)bytes + 2;
    }
    out[0] = (uint8_t)(address >> 8 & 0x7F);
    out[1] = (uint8_t)address;
    memcpy(out + 2, data, (size_t)words);
    *ret_rx = 0;
    return 2 + words;
}

int framing_reset(const struct profile_spi *spi, int index, uint8_t *out, int *ret_rx)
{
    if (spi->kind != PROFILE_FRAMING_ADL2 || index > 1)
        return 0;
    out[0] = index ? ADL2_RESET : ADL2_RESET_ARM;
    *ret_rx = index ? 1 + 2 : 0;
    return 1;
}

/* What a status says about the command it answers. */
static int check_status(uint8_t status, struct error *err)
{
    if (status & FRAMING_STATUS_CRC)
        return error_set(err, ERR_LINK, "the chip saw a wrong checksum in our command (status %02X)", status);
    if (status & FRAMING_STATUS_UNKNOWN)
        return error_set(err, ERR_GARBAGE, "the chip does not know our command (status %02X)", status);
    if (status & FRAMING_STATUS_ADDRESS)
        return error_set(err, ERR_RANGE, "the chip has nothing at this address (status %02X)", status);
    if (status & FRAMING_STATUS_LOCKED)
        return error_set(err, ERR_CONFLICT,
                         "the chip refused the write: read-only, or a run is going on (status %02X)", status);
    return 0;
}

/* The marker in front of a status tells an answer from a floating or stuck wire. */
static int check_marker(const uint8_t *reply, int length, struct error *err)
{
    if ((reply[0] & ADL2_STATUS_MASK) == ADL2_STATUS_MARK)
        return 0;
    for (int i = 1; i < length; i++) {
        if (reply[i] != reply[0])
            return error_set(err, ERR_GARBAGE, "status %02X is no status of this chip", reply[0]);
    }
    if (reply[0] == 0x00 || reply[0] == 0xFF)
        return error_set(err, ERR_NO_ANSWER, "nobody answers on SPI: MISO stays %s",
                         reply[0] ? "high" : "low");
    return error_set(err, ERR_GARBAGE, "status %02X is no status of this chip", reply[0]);
}

int framing_read_reply(const struct profile_spi *spi, const uint8_t *rx, int words, uint8_t *ret_data,
                       struct error *err)
{
    if (spi->kind != PROFILE_FRAMING_ADL2) {
        memcpy(ret_data, rx, (size_t)words);
        return 0;
    }
    const uint8_t *reply = rx + 1;
    int bytes = 4 * words, rc = check_marker(reply, 1 + bytes + 2, err);
    if (rc)
        return rc;
    uint16_t crc = framing_crc16(reply, (size_t)(1 + bytes));
    if (reply[1 + bytes] != crc >> 8 || reply[2 + bytes] != (crc & 0xFF))
        return error_set(err, ERR_LINK, "wrong checksum in the chip's answer of %d words", words);
    rc = check_status(reply[0], err);
    if (rc)
        return rc;
    memcpy(ret_data, reply + 1, (size_t)bytes);
    return 0;
}

int framing_write_reply(const struct profile_spi *spi, const uint8_t *rx, struct error *err)
{
    if (spi->kind != PROFILE_FRAMING_ADL2)
        return 0;
    int rc = check_marker(rx + 1, 2, err);
    if (rc)
        return rc;
    if (framing_crc8(rx + 1, 1) != rx[2])
        return error_set(err, ERR_LINK, "wrong checksum in the chip's status");
    return check_status(rx[1], err);
}

int framing_reset_reply(const struct profile_spi *spi, const uint8_t *rx, struct error *err)
{
    return framing_write_reply(spi, rx, err);
}
