/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * fuzz_scpi: what an instrument may answer: numbers, joined answers, error entries, block data, in pieces. An
 * answer ends at the same byte however it was cut up, and a number is finite and reads back.
 *
 * sources: daemon/base/error.c daemon/base/text.c drivers/scpi_link.c drivers/scpi_text.c
 * sources: tests/fuzz/fake_transport.c
 * aims: drivers/scpi_link.c drivers/scpi_text.c
 * edges: 90 */
#include "drivers/scpi_link.h"
#include "drivers/scpi_text.h"

#include <math.h>
#include <stdlib.h>

#include "daemon/base/text.h"
#include "tests/fuzz/fake_transport.h"
#include "tests/fuzz/fuzz.h"

enum { PARTS_MAX = 16 };

static void check_number(const char *text)
{
    double value = 4711, again = 0;
    char number[40];

    if (!scpi_text_number(text, &value)) {
        FUZZ_CHECK(value == 4711);
        return;
    }
    FUZZ_CHECK(isfinite(value));
    FUZZ_CHECK(strpbrk(text, "xXpP") == NULL); /* no hexadecimal: 0x10 is no decimal number of 488.2 */
    FUZZ_CHECK(scpi_text_number(text_number(value, number, sizeof number), &again) && again == value);
}

static void check_parts(const char *text)
{
    char *copy = strdup(text), *parts[PARTS_MAX];
    const char *rest;
    int code;

    FUZZ_CHECK(copy != NULL);
    int count = scpi_text_split(copy, parts, PARTS_MAX);
    FUZZ_CHECK(count >= 1 && count <= PARTS_MAX);
    FUZZ_CHECK(parts[0] == copy);
    for (int i = 0; i < count; i++) {
        FUZZ_CHECK(i == 0 || parts[i] == parts[i - 1] + strlen(parts[i - 1]) + 1);
        check_number(parts[i]);
        if (scpi_text_error(parts[i], &code, &rest))
            FUZZ_CHECK(rest > parts[i] && rest <= parts[i] + strlen(parts[i]));
    }
    free(copy);
}

/* Where the first answer ends, by the framer alone; 0: nowhere. */
static size_t end_of_answer(const uint8_t *data, size_t size)
{
    struct scpi_framer framer = { 0 };

    for (size_t i = 0; i < size; i++) {
        if (scpi_framer_take(&framer, (char)data[i])) {
            FUZZ_CHECK(data[i] == '\n' && framer.length == i + 1);
            return i + 1;
        }
    }
    return 0;
}

static void check_link(const uint8_t *data, size_t size, size_t piece)
{
    struct transport_env env = { .cut_fd = -1 };
    struct scpi_link link;
    struct error err = { 0 };
    size_t end = end_of_answer(data, size);

    fake_transport_feed(data, size, piece, false);
    FUZZ_CHECK(scpi_link_open(&link, &env, "dut", "tcp:fuzz", &err) == 0);
    int code = scpi_link_receive(&link, 1.0, &err);
    if (code != 0) {
        fuzz_check_refusal(code, &err, NULL);
        FUZZ_CHECK(end == 0 || end < size); /* whole, and nothing behind it: must be read */
    } else {
        FUZZ_CHECK(end > 0 && link.answer_length < end && link.answer[link.answer_length] == '\0');
        FUZZ_CHECK(memcmp(link.answer, data, link.answer_length) == 0);
        check_parts(link.answer);
    }
    scpi_link_close(&link);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = { data, size };
    size_t piece = fuzz_take(&in, 1) % 16 + 1u;
    char *text = fuzz_text(in.data, in.size);

    check_number(text);
    check_parts(text);
    check_link(in.data, in.size, piece);
    check_link(in.data, in.size, in.size + 1);
    free(text);
    return 0;
}
