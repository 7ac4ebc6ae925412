/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * fuzz_runtime: a chip that answers anything to its host library. Mostly the answers are framed by the rules,
 * with data, status and now and then damage from the input, so that what reads registers, memories and
 * counters sees hostile values. Nothing waits for ever; outputs stay untouched on failure.
 *
 * sources: daemon/base/error.c daemon/base/text.c daemon/base/json.c daemon/base/json_read.c
 * sources: daemon/base/hash.c daemon/base/rng.c chip
 * options: -max_len=1024
 * edges: 250 */
#include "chip/runtime.h"

#include <math.h>

#include "tests/fuzz/fuzz.h"

enum { CALLS = 12, TRANSFERS_MAX = 200000, UNTOUCHED = 0x5A };

static struct {
    struct fuzz_input in;
    int64_t now_ns;
    int transfers;
} chip_side;

/* An answer of the chip: one byte for nothing, status, data, checksum. */
static void answer(const struct spi_transfer *t)
{
    unsigned how = fuzz_take(&chip_side.in, 1);
    size_t n = t->rx_len;

    if (how % 16 == 15) { /* nobody there, or noise */
        for (size_t i = 0; i < n; i++)
            t->rx[i] = how == 255 ? 0xFF : (uint8_t)fuzz_take(&chip_side.in, 1);
        return;
    }
    t->rx[0] = 0;
    if (n < 3)
        return;
    t->rx[1] = (uint8_t)(0xA0 | (how % 16 == 14 ? fuzz_take(&chip_side.in, 1) & 0x1F : how >> 4 & 1));
    if (n == 3) {
        t->rx[2] = framing_crc8(t->rx + 1, 1);
    } else {
        for (size_t i = 2; i < n - 2; i++)
            t->rx[i] = (uint8_t)fuzz_take(&chip_side.in, 1);
        uint16_t crc = framing_crc16(t->rx + 1, n - 3);
        t->rx[n - 2] = (uint8_t)(crc >> 8);
        t->rx[n - 1] = (uint8_t)crc;
    }
    if (how % 16 == 13)
        t->rx[n - 1] ^= 1;
}

static int batch(void *context, const struct spi_transfer *transfer, int count, struct error *err)
{
    const struct spi_bus *bus = context;

    FUZZ_CHECK(count > 0 && count <= SPI_BATCH_MAX);
    for (int i = 0; i < count; i++) {
        volatile uint8_t sum = 0;

        FUZZ_CHECK(++chip_side.transfers < TRANSFERS_MAX);
        FUZZ_CHECK(transfer[i].tx_len <= bus->tx_max && transfer[i].rx_len <= bus->rx_max);
        for (int k = 0; k < transfer[i].tx_len; k++)
            sum = (uint8_t)(sum + transfer[i].tx[k]);
    }
    chip_side.now_ns += 1000 * count;
    if (chip_side.in.size > 0 && *chip_side.in.data == 0x77) {
        fuzz_take(&chip_side.in, 1);
        return error_set(err, ERR_TIMEOUT, "the bridge says nothing");
    }
    for (int i = 0; i < count; i++) {
        if (transfer[i].rx_len > 0)
            answer(&transfer[i]);
    }
    return 0;
}

static int64_t now(void *context)
{
    (void)context;
    return chip_side.now_ns += 1000;
}

static int wait(void *context, int64_t duration_ns, struct error *err)
{
    (void)context;
    (void)err;
    FUZZ_CHECK(duration_ns >= 0);
    chip_side.now_ns += duration_ns;
    return 0;
}

/* What a failed call must not have written. */
static void check(int code, const struct error *err, const void *output, size_t size)
{
    if (code == 0)
        return;
    fuzz_check_refusal(code, err, NULL);
    for (size_t i = 0; i < size; i++)
        FUZZ_CHECK(((const uint8_t *)output)[i] == UNTOUCHED);
}

#define CALL(function, output, ...)                                                                          \
    do {                                                                                                     \
        memset(&(output), UNTOUCHED, sizeof(output));                                                        \
        int code = function(chip, __VA_ARGS__, &(output), &err);                                             \
        check(code, &err, &(output), sizeof(output));                                                        \
    } while (0)

static void call(struct chip *chip, unsigned which, int core)
{
    struct error err = { 0 };
    struct chip_identity identity;
    struct chip_conversions conversions;
    struct chip_counters counters;
    struct {
        uint32_t cycles, bits;
    } run;
    uint32_t value;
    int trim;
    double celsius;

    switch (which % 11) {
    case 0:
        memset(&identity, UNTOUCHED, sizeof identity);
        check(chip_identify(chip, &identity, &err), &err, &identity, sizeof identity);
        return;
    case 1:
        CALL(chip_read, value, core, "STATUS");
        return;
    case 2:
        CALL(chip_trim_read, trim, core, (int)which / 11, "offset");
        return;
    case 3:
        CALL(chip_extin, conversions, core, (int)which / 11, 5);
        return;
    case 4:
        memset(&celsius, UNTOUCHED, sizeof celsius);
        check(chip_temperature(chip, &celsius, &err), &err, &celsius, sizeof celsius);
        return;
    case 5:
        CALL(chip_counters, counters, core);
        return;
    case 6:
        memset(&run, UNTOUCHED, sizeof run);
        check(chip_wait(chip, 1000 * (int64_t)which, &run.cycles, &run.bits, &err), &err, &run, sizeof run);
        return;
    case 7:
        check(chip_write_verified(chip, core, "REPEAT", which, &err), &err, NULL, 0);
        return;
    case 8:
        check(chip_trim_write(chip, core, (int)which / 11, "gain", (int)which - 100, &err), &err, NULL, 0);
        return;
    case 9:
        check(chip_power(chip, which, true, false, &err), &err, NULL, 0);
        return;
    default:
        check(chip_reset(chip, &err), &err, NULL, 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct chip_profile *profile;
    struct spi_bus bus = {
        .batch = batch, .now = now, .wait = wait, .clock_hz = 10e6, .tx_max = 1040, .rx_max = 1040
    };
    struct fuzz_input choice = { data, size < 2 * CALLS ? size : 2 * CALLS };
    struct error err = { 0 };
    struct chip *chip = NULL;

    if (profile == NULL)
        FUZZ_CHECK(profile_load("configs/chips/adelia2.json", &profile, &err) == 0);
    chip_side.in = (struct fuzz_input){ data + choice.size, size - choice.size };
    chip_side.now_ns = chip_side.transfers = 0;
    bus.context = &bus;
    FUZZ_CHECK(chip_open(profile, &bus, &chip, &err) == 0);
    for (int i = 0; i < CALLS && choice.size > 0; i++) {
        unsigned which = fuzz_take(&choice, 1), core = fuzz_take(&choice, 1);
        call(chip, which, (int)(core % 5) - 1);
    }
    struct chip_link_stats stats = chip_link_stats(chip);
    FUZZ_CHECK(stats.transfers <= chip_side.transfers && stats.retries >= 0);
    chip_close(chip);
    return 0;
}
