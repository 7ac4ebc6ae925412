/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * fuzz_framing: what may come back over SPI. Any bytes are decoded or refused; an answer made by the rules is
 * accepted and gives its data back; the same answer with one bit turned over is refused.
 *
 * sources: daemon/base/error.c daemon/base/text.c chip/framing.c
 * aims: chip/framing.c
 * edges: 70 */
#include "chip/framing.h"

#include "tests/fuzz/fuzz.h"

static const struct profile_spi adl2 = {
    .kind = PROFILE_FRAMING_ADL2, .word_bits = 32, .address_bits = 24, .burst_words = FRAMING_WORDS_MAX
};
static const struct profile_spi adi16 = {
    .kind = PROFILE_FRAMING_ADI16, .word_bits = 8, .address_bits = 15, .burst_words = FRAMING_WORDS_MAX
};

static void check_raw(const struct profile_spi *spi, const uint8_t *rx, int words)
{
    uint8_t data[4 * FRAMING_WORDS_MAX], untouched[sizeof data];
    struct error err = { 0 };

    memset(data, 0x5A, sizeof data);
    memset(untouched, 0x5A, sizeof untouched);
    int code = framing_read_reply(spi, rx, words, data, &err);
    if (code != 0) {
        fuzz_check_refusal(code, &err, NULL);
        FUZZ_CHECK(memcmp(data, untouched, sizeof data) == 0);
    }
    err = (struct error){ 0 };
    code = framing_write_reply(spi, rx, &err);
    if (code != 0)
        fuzz_check_refusal(code, &err, NULL);
    err = (struct error){ 0 };
    code = framing_reset_reply(spi, rx, &err);
    if (code != 0)
        fuzz_check_refusal(code, &err, NULL);
}

/* An answer as the chip makes it: status, data, CRC-16 over both. */
static void check_made(const uint8_t *bytes, int words, uint8_t status, unsigned flip)
{
    uint8_t rx[FRAMING_BYTES_MAX + 8] = { 0 }, data[4 * FRAMING_WORDS_MAX];
    size_t length = 1 + 4 * (size_t)words;
    struct error err = { 0 };

    rx[1] = 0xA0 | (status & (FRAMING_STATUS_BUSY));
    memcpy(rx + 2, bytes, 4 * (size_t)words);
    uint16_t crc = framing_crc16(rx + 1, length);
    rx[1 + length] = (uint8_t)(crc >> 8);
    rx[2 + length] = (uint8_t)crc;
    FUZZ_CHECK(framing_read_reply(&adl2, rx, words, data, &err) == 0);
    FUZZ_CHECK(memcmp(data, bytes, 4 * (size_t)words) == 0);
    flip %= 8 * (unsigned)(length + 2);
    rx[1 + flip / 8] ^= (uint8_t)(1u << flip % 8);
    FUZZ_CHECK(framing_read_reply(&adl2, rx, words, data, &err) < 0);
}

/* What is encoded has the announced length and decodes by hand to the same address. */
static void check_encoders(const struct profile_spi *spi, const uint8_t *bytes, uint32_t address, int words)
{
    uint8_t out[FRAMING_BYTES_MAX];
    int rx = -1, reset_rx = -1;

    address &= (1u << spi->address_bits) - 1;
    int n = framing_read(spi, address, words, out, &rx);
    uint32_t wire = spi->kind == PROFILE_FRAMING_ADL2
                        ? (uint32_t)out[1] << 16 | (uint32_t)out[2] << 8 | out[3]
                        : ((uint32_t)out[0] << 8 | out[1]) & 0x7FFF;
    FUZZ_CHECK(wire == address && rx >= words * framing_word_bytes(spi) && n >= 2);
    n = framing_write(spi, address, bytes, words, out, &rx);
    FUZZ_CHECK(n >= words * framing_word_bytes(spi) + 2 && n <= FRAMING_BYTES_MAX && rx >= 0);
    FUZZ_CHECK(memcmp(out + (spi->kind == PROFILE_FRAMING_ADL2 ? 6 : 2), bytes,
                      (size_t)(words * framing_word_bytes(spi))) == 0);
    for (int index = 0; index < 3; index++)
        FUZZ_CHECK(framing_reset(spi, index, out, &reset_rx) <= 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t bytes[FRAMING_BYTES_MAX + 8];
    struct fuzz_input in = { data, size };
    int words = (int)fuzz_take(&in, 1) % FRAMING_WORDS_MAX + 1;
    uint8_t status = (uint8_t)fuzz_take(&in, 1);
    unsigned flip = fuzz_take(&in, 2), address = fuzz_take(&in, 4);

    memset(bytes, size % 3 == 0 ? 0xFF : 0, sizeof bytes);
    memcpy(bytes, in.data, in.size < sizeof bytes ? in.size : sizeof bytes);
    check_raw(&adl2, bytes, words);
    check_raw(&adi16, bytes, words);
    check_made(bytes, words, status, flip);
    check_encoders(&adl2, bytes, address, words);
    check_encoders(&adi16, bytes, address, words);
    int burst = framing_burst(&adl2, (int)(flip & 0xFFF), (int)(address & 0xFFF));
    FUZZ_CHECK(burst >= 1 && burst <= FRAMING_WORDS_MAX);
    return 0;
}
