/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * chip_adelia2_spi: ADL2 frames, as the slave's shift register sees them: a command is recognised while its
 * bytes come in, the answer leaves from the byte behind it, and a write takes effect when CS goes high. */
#include "drivers/sim/chip_adelia2.h"

#include <string.h>

enum {
    CMD_WRITE = 0x02,
    CMD_RDSR = 0x05,
    CMD_READ = 0x0B,
    CMD_RESET_1 = 0x66,
    CMD_RESET_2 = 0x99,
    CMD_RDID = 0x9F,
    HEADER_BYTES = 6,
    FLOATING = 0xFF,
    ANSWER_MAX = 1 + 1 + 4 * A2_BURST_WORDS + 2
};

static uint8_t crc8(const uint8_t *p, size_t n)
{
    uint8_t crc = 0;

    for (; n > 0; n--, p++) {
        crc ^= *p;
        for (int bit = 0; bit < 8; bit++)
            crc = (uint8_t)(crc << 1 ^ ((crc & 0x80) != 0 ? 0x07 : 0));
    }
    return crc;
}

static uint16_t crc16(const uint8_t *p, size_t n)
{
    uint16_t crc = 0xFFFF;

    for (; n > 0; n--, p++) {
        /* One byte at a time without a table: the polynomial 0x1021 has few terms. */
        uint8_t x = (uint8_t)(crc >> 8 ^ *p);

        x ^= x >> 4;
        crc = (uint16_t)(crc << 8 ^ x << 12 ^ x << 5 ^ x);
    }
    return crc;
}

/* The answer of one command: what MISO carries from the byte behind the command on. */
struct answer {
    size_t command_bytes; /* 0: the frame never became a command */
    size_t length;
    uint8_t byte[ANSWER_MAX];
};

static void put(struct answer *answer, uint8_t byte)
{
    answer->byte[answer->length++] = byte;
}

static void put_word(struct answer *answer, uint32_t word)
{
    for (int shift = 24; shift >= 0; shift -= 8)
        put(answer, (uint8_t)(word >> shift));
}

/* Turnaround, then status; returns the status. */
static uint8_t put_status(struct adelia2 *chip, struct answer *answer, uint8_t problems)
{
    uint8_t status = (uint8_t)(A2_ST_ALIVE | problems | (chip->run.active ? A2_ST_BUSY : 0));

    put(answer, FLOATING);
    put(answer, status);
    if (problems != 0)
        chip->spi_errors++;
    if ((problems & A2_ST_CRC) != 0)
        chip->err |= A2_ERR_CRC;
    return status;
}

static void answer_status(struct adelia2 *chip, struct answer *answer, uint8_t problems)
{
    uint8_t status = put_status(chip, answer, problems);

    put(answer, crc8(&status, 1));
}

struct header {
    uint32_t address;
    unsigned words;
    bool valid; /* checksum */
};

static struct header parse_header(const uint8_t *mosi)
{
    return (struct header){
        .address = (uint32_t)mosi[1] << 16 | (uint32_t)mosi[2] << 8 | mosi[3],
        .words = mosi[4] + 1u,
        .valid = crc8(mosi, HEADER_BYTES - 1) == mosi[HEADER_BYTES - 1],
    };
}

static void do_read(struct adelia2 *chip, const uint8_t *mosi, size_t n, struct answer *answer)
{
    struct header header;
    uint8_t problems;
    uint16_t crc;

    if (n < HEADER_BYTES)
        return;
    header = parse_header(mosi);
    problems = header.valid ? adelia2_regs_check(chip, header.address, header.words, false) : A2_ST_CRC;
    answer->command_bytes = HEADER_BYTES;
    put_status(chip, answer, problems);
    for (unsigned i = 0; i < header.words; i++)
        put_word(answer, problems == 0 ? adelia2_regs_read(chip, header.address + 4 * i) : 0);
    crc = crc16(answer->byte + 1, answer->length - 1);
    put(answer, (uint8_t)(crc >> 8));
    put(answer, (uint8_t)crc);
}

static void do_write(struct adelia2 *chip, const uint8_t *mosi, size_t n, struct answer *answer,
                     int64_t end_ns)
{
    const uint8_t *data = mosi + HEADER_BYTES;
    struct header header;
    size_t bytes;
    uint8_t problems;

    if (n < HEADER_BYTES)
        return;
    header = parse_header(mosi);
    bytes = 4 * (size_t)header.words;
    if (n < HEADER_BYTES + bytes + 2)
        return;
    answer->command_bytes = HEADER_BYTES + bytes + 2;
    if (!header.valid || crc16(data, bytes) != (data[bytes] << 8 | data[bytes + 1]))
        problems = A2_ST_CRC;
    else
        problems = adelia2_regs_check(chip, header.address, header.words, true);
    answer_status(chip, answer, problems);
    if ((problems & A2_ST_LOCKED) != 0 && chip->run.active && (header.address >> 16 & 0xF) != 0)
        chip->err |= A2_ERR_BUSY;
    if (problems != 0)
        return;
    for (unsigned i = 0; i < header.words; i++, data += 4)
        adelia2_regs_write(
            chip, header.address + 4 * i,
            (uint32_t)data[0] << 24 | (uint32_t)data[1] << 16 | (uint32_t)data[2] << 8 | data[3], end_ns);
}

static void do_command(struct adelia2 *chip, const uint8_t *mosi, size_t n, struct answer *answer,
                       int64_t end_ns)
{
    bool armed = chip->reset_armed;

    chip->reset_armed = n == 1 && mosi[0] == CMD_RESET_1;
    switch (mosi[0]) {
    case CMD_READ:
        do_read(chip, mosi, n, answer);
        break;
    case CMD_WRITE:
        do_write(chip, mosi, n, answer, end_ns);
        break;
    case CMD_RDSR:
        answer->command_bytes = 1;
        answer_status(chip, answer, 0);
        break;
    case CMD_RDID:
        answer->command_bytes = 1;
        put(answer, FLOATING);
        put_word(answer, adelia2_regs_read(chip, 0));
        break;
    case CMD_RESET_1:
        break;
    case CMD_RESET_2:
        answer->command_bytes = 1;
        if (armed && n == 1)
            adelia2_regs_reset(chip);
        answer_status(chip, answer, armed && n == 1 ? 0 : A2_ST_COMMAND);
        break;
    default:
        answer->command_bytes = 1;
        answer_status(chip, answer, A2_ST_COMMAND);
        break;
    }
}

void adelia2_spi(struct adelia2 *chip, const uint8_t *mosi, size_t mosi_n, uint8_t *miso, size_t rx_n,
                 int64_t start_ns, int64_t end_ns)
{
    struct answer answer;
    size_t skip;

    memset(miso, 0, rx_n);
    if (chip->damaged || !chip->logic_on || chip->rail_v[A2_VDDIO] < 1.0)
        return;
    adelia2_regs_advance(chip, start_ns);
    adelia2_power_spi(chip, mosi_n + rx_n, start_ns, end_ns);
    chip->spi_frames++;
    memset(miso, FLOATING, rx_n);
    if (mosi_n == 0)
        return;
    answer.command_bytes = answer.length = 0;
    do_command(chip, mosi, mosi_n, &answer, end_ns);
    if (answer.command_bytes == 0)
        return;
    /* Bytes that the host clocks out behind the command have already taken their share of the answer. */
    skip = mosi_n - answer.command_bytes;
    if (skip < answer.length)
        memcpy(miso, answer.byte + skip, answer.length - skip < rx_n ? answer.length - skip : rx_n);
}
