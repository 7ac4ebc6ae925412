/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_simchip_pins: what the simulated chip drives on its output pins. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "drivers/sim/chip_adelia2.c"

static void irq_follows_done_where_asked_for(void **state)
{
    (void)state;
    static struct bench_chip bc;
    bool level = false;
    for (unsigned i = 0; i < 16; i++) {
        bc.chip.logic_on = i & 1;
        bc.chip.done = i & 2;
        bc.chip.irqen = i & 4 ? 1 : 0;
        bc.chip.damaged = i & 8;
        assert_true(chip_adelia2_model.pin(&bc, "IRQ", 0, &level));
        assert_int_equal(level, i == 7);
    }
    level = true;
    assert_false(chip_adelia2_model.pin(&bc, "CSN", 0, &level)); /* an input: the bridge's */
    assert_true(level);
}

/* A run that has come to its end by now is done, though nobody has asked the chip since. */
static void irq_comes_with_time(void **state)
{
    (void)state;
    static struct bench_chip bc;
    bool level = true;
    bc.chip.logic_on = true;
    bc.chip.irqen = 1;
    bc.chip.run = (struct adelia2_run){ .active = true, .start_ns = 0, .end_ns = 1000 };
    assert_true(chip_adelia2_model.pin(&bc, "IRQ", 999, &level) && !level);
    assert_true(chip_adelia2_model.pin(&bc, "IRQ", 1000, &level) && level);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(irq_follows_done_where_asked_for),
        cmocka_unit_test(irq_comes_with_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
