/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * framing: commands of a chip's SPI as bytes, by the profile's descriptor. No I/O: encodes what goes out,
 * decodes what came in.
 */
#ifndef CHIP_FRAMING_H
#define CHIP_FRAMING_H

#include "chip/profile.h"

enum {
    FRAMING_WORDS_MAX = 256,
    FRAMING_BYTES_MAX = 6 + 4 * FRAMING_WORDS_MAX + 2,
    FRAMING_STATUS_BUSY = 1,
    FRAMING_STATUS_CRC = 2,
    FRAMING_STATUS_ADDRESS = 4,
    FRAMING_STATUS_LOCKED = 8,
    FRAMING_STATUS_UNKNOWN = 16
};

uint8_t framing_crc8(const uint8_t *data, size_t length);
uint16_t framing_crc16(const uint8_t *data, size_t length);

/* Bytes of payload per word: 4 for ADL2, 1 for ADI16. */
int framing_word_bytes(const struct profile_spi *spi);
/* Longest burst of words that fits a bus with these limits. */
int framing_burst(const struct profile_spi *spi, int tx_max, int rx_max);

/* Encoders write into out (FRAMING_BYTES_MAX) and return the number of bytes to send; *ret_rx = bytes to
 * receive. */
int framing_read(const struct profile_spi *spi, uint32_t address, int words, uint8_t *out, int *ret_rx);
int framing_write(const struct profile_spi *spi, uint32_t address, const uint8_t *data, int words,
                  uint8_t *out, int *ret_rx);
/* Soft reset: two transactions (ADL2). index 0, 1; 0 when the framing has none. */
int framing_reset(const struct profile_spi *spi, int index, uint8_t *out, int *ret_rx);

/* Decoders check everything that was received. NO_ANSWER: nobody there (00 / FF); LINK: CRC, ours or the
 * chip's; RANGE: address; CONFLICT: read-only or locked while running; GARBAGE: anything else. ret_data:
 * words * word bytes. */
int framing_read_reply(const struct profile_spi *spi, const uint8_t *rx, int words, uint8_t *ret_data,
                       struct error *err);
int framing_write_reply(const struct profile_spi *spi, const uint8_t *rx, struct error *err);
int framing_reset_reply(const struct profile_spi *spi, const uint8_t *rx, struct error *err);

#endif
