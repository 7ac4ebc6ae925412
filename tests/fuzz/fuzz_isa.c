/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * fuzz_isa: assembler text, and instruction words as text. What was assembled assembles again from its own
 * disassembly to the same words.
 *
 * sources: daemon/base/error.c daemon/base/text.c chip/isa.c
 * aims: chip/isa.c
 * edges: 65 */
#include "chip/isa.h"

#include <stdlib.h>

#include "daemon/base/text.h"
#include "tests/fuzz/fuzz.h"

static void check_round_trip(const uint32_t *words, int count)
{
    static uint32_t again[ISA_WORDS_MAX];
    struct strbuf text = { 0 };
    struct error err = { 0 };
    char line[ISA_LINE_MAX];
    int got = -1;

    for (int i = 0; i < count; i++)
        strbuf_add(&text, "%s\n", isa_disassemble(words[i], line, sizeof line));
    if (count > 0) {
        FUZZ_CHECK(isa_assemble(text.text, again, ISA_WORDS_MAX, &got, &err) == 0);
        FUZZ_CHECK(got == count && memcmp(words, again, (size_t)count * sizeof *words) == 0);
    }
    strbuf_free(&text);
}

static void check_words(const uint8_t *data, size_t size)
{
    char line[ISA_LINE_MAX];
    struct fuzz_input in = { data, size };

    while (in.size > 0) {
        uint32_t word = fuzz_take(&in, 4);

        isa_disassemble(word, line, sizeof line);
        FUZZ_CHECK(line[0] != '\0' && strnlen(line, sizeof line) < sizeof line - 1);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint32_t words[ISA_WORDS_MAX];
    struct error err = { 0 };
    int count = -1;
    char *text = fuzz_text(data, size);
    int code = isa_assemble(text, words, ISA_WORDS_MAX, &count, &err);

    check_words(data, size);
    if (code != 0) {
        fuzz_check_refusal(code, &err, NULL);
        FUZZ_CHECK(count == -1);
    } else {
        check_round_trip(words, count);
    }
    free(text);
    return 0;
}
