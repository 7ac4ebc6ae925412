/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_tiny_chip: a chip of another kind than the others, by its profile alone: another framing, a few
 * registers, and refusals for what it has not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "chip/runtime.h"

/* Another chip, another framing: sixteen bytes behind a 16-bit instruction. */
static int tiny_batch(void *context, const struct spi_transfer *t, int count, struct error *err)
{
    uint8_t *registers = context;

    (void)err;
    for (int i = 0; i < count; i++) {
        int address = (t[i].tx[0] & 0x7F) << 8 | t[i].tx[1];
        for (int k = 0; k < t[i].tx_len - 2 && !(t[i].tx[0] & 0x80); k++)
            registers[(address + k) % 16] = t[i].tx[2 + k];
        for (int k = 0; k < t[i].rx_len; k++)
            t[i].rx[k] = registers[(address + k) % 16];
    }
    return 0;
}

static int64_t tiny_now(void *context)
{
    (void)context;
    return 0;
}

static void test_tiny_chip(void **state)
{
    uint8_t registers[16] = { 0x5A, 0x07 };
    struct spi_bus bus = {
        .context = registers, .batch = tiny_batch, .now = tiny_now, .tx_max = 64, .rx_max = 64
    };
    struct chip_profile *profile = NULL;
    struct chip *chip = NULL;
    struct chip_identity id;
    struct chip_program program = { .core_count = 0 };
    uint32_t value;
    struct error err = { 0 };

    (void)state;
    if (profile_load("tests/sim/tiny-chip.json", &profile, &err))
        fail_msg("%s", err.message);
    assert_int_equal(chip_open(profile, &bus, &chip, &err), 0);
    assert_int_equal(chip_identify(chip, &id, &err), 0);
    assert_string_equal(id.serial, "");
    assert_int_equal(chip_write_verified(chip, CHIP_GLOBAL, "SCRATCH", 0xC3, &err), 0);
    assert_int_equal(registers[2], 0xC3);
    assert_int_equal(chip_read(chip, CHIP_GLOBAL, "SERIAL", &value, &err), 0);
    assert_int_equal(value, 7);
    assert_int_equal(chip_reset(chip, &err), ERR_UNSUPPORTED);
    assert_int_equal(chip_load(chip, &program, &err), ERR_UNSUPPORTED);
    assert_int_equal(chip_temperature(chip, &(double){ 0 }, &err), ERR_UNSUPPORTED);
    registers[0] = 0xFF;
    assert_int_equal(chip_identify(chip, &id, &err), ERR_NO_ANSWER);
    assert_string_equal(err.instrument, "chip"); /* who and what, as of an instrument */
    assert_string_equal(err.command, "read of ID");
    registers[0] = 0x5B;
    assert_int_equal(chip_identify(chip, &id, &err), ERR_IDENTITY);
    chip_close(chip);
    profile_free(profile);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_tiny_chip) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
