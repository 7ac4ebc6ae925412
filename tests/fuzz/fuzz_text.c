/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * fuzz_text: numbers and bytes as text in buffers of every size: always terminated, never past the end, and
 * text_number reads back as the same double; texts as times; files.
 *
 * sources: daemon/base/error.c daemon/base/text.c daemon/base/units.c
 * aims: daemon/base/text.c daemon/base/units.c
 * edges: 150 */
#include "daemon/base/text.h"

#include <ctype.h>
#include <math.h>

#include "daemon/base/units.h"
#include "tests/fuzz/fuzz.h"

enum { OUT_MAX = 64, MS_NS = 1000000, ULID_TIME = 10 };

static void check_out(const char *out, size_t size)
{
    FUZZ_CHECK(strnlen(out, size) < size);
    for (const char *p = out; *p != '\0'; p++)
        FUZZ_CHECK(isprint((unsigned char)*p));
}

static void check_numbers(double value, int digits, size_t size)
{
    char *out = malloc(size), whole[OUT_MAX]; /* of the exact size: the sanitizer guards its end */

    FUZZ_CHECK(out != NULL);
    check_out(text_engineering(value, "V", digits, out, size), size);
    check_out(text_duration(value, out, size), size);
    check_out(text_bytes(value, out, size), size);
    check_out(text_number(value, out, size), size);
    text_number(value, whole, sizeof whole);
    FUZZ_CHECK(isfinite(value) ? strtod(whole, NULL) == value : strcmp(whole, "null") == 0);
    free(out);
}

/* A time that is taken prints, to the millisecond, as one that is taken as the same. */
static bool check_parsed(const char *text)
{
    int64_t wall_ns = 0, again_ns = 0;
    char out[OUT_MAX];

    if (!text_parse_time(text, &wall_ns)) {
        FUZZ_CHECK(wall_ns == 0);
        return false;
    }
    FUZZ_CHECK(wall_ns >= 0);
    FUZZ_CHECK(text_parse_time(text_time(wall_ns, out, sizeof out), &again_ns));
    FUZZ_CHECK(again_ns == wall_ns / MS_NS * MS_NS);
    return true;
}

/* UTC of any 64-bit time: fields in their ranges, and order kept from second to second. */
static void check_time(int64_t wall_ns, size_t size)
{
    char *out = malloc(size), whole[OUT_MAX];
    int year, month, day, hour, minute, second, ms, used = 0;

    FUZZ_CHECK(out != NULL);
    check_out(text_time(wall_ns, out, size), size);
    free(out);
    text_time(wall_ns, whole, sizeof whole);
    FUZZ_CHECK(sscanf(whole, "%4d-%2d-%2dT%2d:%2d:%2d.%3dZ%n", &year, &month, &day, &hour, &minute, &second,
                      &ms, &used) == 7);
    FUZZ_CHECK(used == 24 && whole[used] == '\0');
    FUZZ_CHECK(check_parsed(whole) || year < 1970 || year > 2200);
    FUZZ_CHECK(month >= 1 && month <= 12 && day >= 1 && day <= 31 && hour >= 0 && hour <= 23);
    FUZZ_CHECK(minute >= 0 && minute <= 59 && second >= 0 && second <= 59 && ms >= 0 && ms <= 999);
}

/* What was written is read, at the limit and not beyond it; what was removed is not there. */
static void check_file(const uint8_t *data, size_t size, bool private)
{
    static char folder[OUT_MAX], path[2 * OUT_MAX], found[2 * OUT_MAX];
    struct error err = { 0 };
    char *back = NULL;
    size_t length = 0;

    if (folder[0] == '\0') {
        fuzz_folder(folder, sizeof folder);
        snprintf(path, sizeof path, "%s/file", folder);
    }
    FUZZ_CHECK((private ? text_write_private : text_write_file)(path, data, size, &err) == 0);
    FUZZ_CHECK(text_find_file(path, found, sizeof found) == path);
    FUZZ_CHECK(text_read_file(path, size, &back, &length, &err) == 0);
    FUZZ_CHECK(length == size && memcmp(back, data, size) == 0 && back[size] == '\0');
    free(back);
    back = NULL;
    if (size > 0)
        fuzz_check_refusal(text_read_file(path, size - 1, &back, &length, &err), &err, back);
    FUZZ_CHECK(text_remove_file(path, &err) == 0 && text_remove_file(path, &err) == 0);
    fuzz_check_refusal(text_read_file(path, size, &back, &length, &err), &err, back);
    rmdir(folder);
    folder[0] = '\0';
}

static void check_ulid(void)
{
    char first[ULID_TEXT], second[ULID_TEXT];

    text_ulid(first);
    text_ulid(second);
    check_out(first, sizeof first);
    FUZZ_CHECK(strlen(first) == ULID_TEXT - 1 && strcmp(first, second) != 0);
    FUZZ_CHECK(strncmp(first, second, ULID_TIME) <= 0);
}

static void check_escape(const uint8_t *data, size_t length, size_t size)
{
    char *out = malloc(size), *whole = malloc(4 * length + 1);

    FUZZ_CHECK(out != NULL && whole != NULL);
    check_out(text_escape(data, length, out, size), size);
    check_out(text_escape(data, length, whole, 4 * length + 1), 4 * length + 1);
    if (strlen(whole) < size)
        FUZZ_CHECK(strcmp(out, whole) == 0);
    else if (size >= 4)
        FUZZ_CHECK(strcmp(out + strlen(out) - 3, "...") == 0);
    free(out);
    free(whole);
}

/* A strbuf holds what was added, whatever the sizes of the parts. */
static void check_strbuf(const uint8_t *data, size_t size)
{
    struct strbuf buf = { 0 };
    size_t at = 0;

    while (at < size) {
        size_t part = data[at] % 64 + 1u;
        part = part < size - at ? part : size - at;
        if (memchr(data + at, '\0', part) == NULL && part % 2)
            strbuf_add(&buf, "%.*s", (int)part, (const char *)data + at);
        else
            strbuf_bytes(&buf, data + at, part);
        at += part;
        FUZZ_CHECK(buf.length == at && buf.text[at] == '\0');
    }
    FUZZ_CHECK(!buf.failed && (size == 0 || memcmp(buf.text, data, size) == 0));
    strbuf_free(&buf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = { data, size };
    size_t out_size = fuzz_take(&in, 1) % OUT_MAX + 1u;
    int digits = (int)fuzz_take(&in, 1) - 100;
    uint64_t bits = (uint64_t)fuzz_take(&in, 4) << 32 | fuzz_take(&in, 4);
    double value;

    memcpy(&value, &bits, sizeof value);
    check_numbers(value, digits, out_size);
    check_time((int64_t)bits, out_size);
    check_escape(in.data, in.size, out_size);
    check_strbuf(in.data, in.size);
    char *text = fuzz_text(in.data, in.size);
    int unit = unit_from_symbol(text);
    FUZZ_CHECK(unit == -1 || strcmp(unit_info(unit)->symbol, text) == 0);
    FUZZ_CHECK(unit_info((int)bits)->name[0] != '\0');
    check_parsed(text);
    free(text);
    if (digits % 16 == 0) { /* files are slow */
        check_file(in.data, in.size, digits % 32 == 0);
        check_ulid();
    }
    return 0;
}
