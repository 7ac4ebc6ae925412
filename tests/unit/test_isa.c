/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_isa: words from text, text from words, and back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "chip/isa.h"
#include "daemon/base/rng.h"

static void test_assembles(void **state)
{
    static const uint32_t want[] = { 0x0E000003, 0x0200101F, 0x02150000, 0x03000000, 0x0902FFFF,
                                     0x04000000, 0x08000000, 0x0C050000, 0x0A010000, 0x0F000000 };
    uint32_t words[16];
    int count = 0;
    struct error err;

    (void)state;
    assert_int_equal(
        isa_assemble("LAYER 3 ; conv4\n set in_base, 0x101F\nSET BN0, 0\n\n# comment\nWIN\nLOOP 2, 65535\n"
                     "GATHER\nNEXT\r\nSIGNAL 5\nMOV 1\nHALT",
                     words, 16, &count, &err),
        0);
    assert_int_equal(count, 10);
    assert_memory_equal(words, want, sizeof want);
}

static void test_refuses(void **state)
{
    static const struct {
        const char *text, *message;
    } cases[] = { { "NOP\nJUMP 3", "line 2" },      { "SET IN_BASE", "operands" },
                  { "SET NOWHERE, 1", "operands" }, { "SET 28, 1", "operands" },
                  { "LAYER 65536", "operands" },    { "HALT 1", "operands" },
                  { "LOOP 256, 1", "operands" },    { "WAIT -1", "operands" } };
    uint32_t words[4];
    int count = 77;
    struct error err;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(isa_assemble(cases[i].text, words, 4, &count, &err), ERR_INVALID);
        if (!strstr(err.message, cases[i].message))
            fail_msg("%s: %s", cases[i].text, err.message);
    }
    assert_int_equal(count, 77);
    assert_int_equal(isa_assemble("NOP\nNOP\nNOP\nNOP\nNOP", words, 4, &count, &err), ERR_FULL);
}

/* Whatever the text of a word is, it assembles to the same word; or the word is told to be none. */
static void test_round_trip(void **state)
{
    struct rng rng;
    int known = 0;

    (void)state;
    printf("seed 1\n");
    rng_init(&rng, 1, "isa", 0, 0, 0);
    for (int i = 0; i < 50000; i++) {
        char text[ISA_LINE_MAX];
        uint32_t word = rng_below(&rng, 20) << 24, back = 0;
        int count = 0;
        word |= rng_below(&rng, 2) ? rng_below(&rng, 40) << 16 : 0;
        word |= rng_below(&rng, 2) ? rng_below(&rng, 65536) : 0;
        isa_disassemble(word, text, sizeof text);
        if (text[0] == '?')
            continue;
        known++;
        assert_int_equal(isa_assemble(text, &back, 1, &count, NULL), 0);
        assert_int_equal(back, word);
    }
    assert_true(known > 10000);
    char text[ISA_LINE_MAX];
    assert_string_equal(isa_disassemble(0x02000FC0, text, sizeof text), "SET IN_BASE, 4032");
    assert_string_equal(isa_disassemble(0xFF000000, text, sizeof text), "??? 0xFF000000");
    assert_string_equal(isa_disassemble(0x0F000001, text, sizeof text), "??? 0x0F000001");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_assembles),
        cmocka_unit_test(test_refuses),
        cmocka_unit_test(test_round_trip),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
