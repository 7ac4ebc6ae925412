/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_dataset: a written set reads back equal, damaged ones are refused with a reason, shuffling permutes.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "chip/dataset.h"
#include "daemon/base/hash.h"
#include "daemon/base/text.h"

enum { COUNT = 40, HEIGHT = 3, WIDTH = 5, SIZE = HEIGHT * WIDTH, INDEX_AT = 40, RECORD = 12 };

static const char text[] =
    "{\"classes\":[\"noise\",\"speech\"],\"sources\":[{\"name\":\"a\"},{\"name\":\"b\"}],"
    "\"clips\":[\"a/1\",\"a/2\",\"b/1\"],\"built_with\":{}}";

struct fixture {
    char path[64];
    struct dataset_record records[COUNT];
    uint8_t samples[COUNT * SIZE];
    struct dataset_content content;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    int fd;

    if (!f)
        return -1;
    snprintf(f->path, sizeof f->path, "/tmp/test_dataset.XXXXXX");
    fd = mkstemp(f->path);
    if (fd < 0) {
        free(f);
        return -1;
    }
    close(fd);
    for (int i = 0; i < COUNT; i++)
        f->records[i] = (struct dataset_record){ .label = (uint8_t)(i % 2),
                                                 .source = (uint16_t)(i % 4 / 2),
                                                 .clip = (uint32_t)i % 3,
                                                 .snr_db = i % 2 ? 5.25F + (float)i : NAN };
    for (int i = 0; i < COUNT * SIZE; i++)
        f->samples[i] = (uint8_t)(i * 7);
    f->content = (struct dataset_content){ .count = COUNT,
                                           .class_count = 2,
                                           .source_count = 2,
                                           .clip_count = 3,
                                           .shape = { HEIGHT, WIDTH, 1 },
                                           .records = f->records,
                                           .samples = f->samples,
                                           .text = text };
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    unlink(f->path);
    free(f);
    return 0;
}

static void write_set(struct fixture *f, char hash[SHA256_HEX])
{
    struct error err = { 0 };

    if (dataset_write(f->path, &f->content, hash, &err))
        fail_msg("%s", err.message);
}

static struct dataset *open_set(struct fixture *f)
{
    struct dataset *dataset = NULL;
    struct error err = { 0 };

    if (dataset_open(f->path, &dataset, &err))
        fail_msg("%s", err.message);
    return dataset;
}

static void test_reads_back_what_was_written(void **state)
{
    struct fixture *f = *state;
    struct dataset *dataset;
    char hash[SHA256_HEX];

    write_set(f, hash);
    dataset = open_set(f);
    assert_int_equal(dataset_count(dataset), COUNT);
    assert_int_equal(dataset_shape(dataset).height, HEIGHT);
    assert_int_equal(dataset_shape(dataset).width, WIDTH);
    assert_int_equal(dataset_sample_size(dataset), SIZE);
    assert_string_equal(dataset_hash(dataset), hash);
    for (int i = 0; i < COUNT; i++) {
        assert_memory_equal(dataset_sample(dataset, i), f->samples + i * SIZE, SIZE);
        assert_int_equal(dataset_label(dataset, i), f->records[i].label);
        assert_int_equal(dataset_source(dataset, i), f->records[i].source);
        assert_int_equal(dataset_clip(dataset, i), f->records[i].clip);
        if (isnan(f->records[i].snr_db))
            assert_true(isnan(dataset_snr_db(dataset, i)));
        else
            assert_true(dataset_snr_db(dataset, i) == f->records[i].snr_db);
    }
    assert_string_equal(dataset_class_name(dataset, 1), "speech");
    assert_string_equal(dataset_source_name(dataset, 1), "b");
    assert_string_equal(dataset_clip_name(dataset, 2), "b/1");
    dataset_close(dataset);
}

static void test_refuses_indices_outside(void **state)
{
    struct fixture *f = *state;
    struct dataset *dataset;
    char hash[SHA256_HEX];

    write_set(f, hash);
    dataset = open_set(f);
    for (int i = -1; i <= COUNT; i += COUNT + 1) {
        assert_null(dataset_sample(dataset, i));
        assert_int_equal(dataset_label(dataset, i), -1);
        assert_int_equal(dataset_source(dataset, i), -1);
        assert_int_equal(dataset_clip(dataset, i), -1);
        assert_true(isnan(dataset_snr_db(dataset, i)));
    }
    assert_null(dataset_class_name(dataset, 2));
    assert_null(dataset_source_name(dataset, -1));
    assert_null(dataset_clip_name(dataset, 3));
    dataset_close(dataset);
}

/* Independent check of the layout: the bytes are put together here by the header's table, not by the writer.
 */
static void test_layout_is_the_documented_one(void **state)
{
    struct fixture *f = *state;
    static const uint8_t header[INDEX_AT] = { 'N', 'B', 'D',    'A', 'T', 'A', '1',   '\n', COUNT, 0,
                                              0,   0,   HEIGHT, 0,   0,   0,   WIDTH, 0,    0,     0,
                                              1,   0,   0,      0,   2,   0,   0,     0,    2,     0,
                                              0,   0,   3,      0,   0,   0,   0,     0,    0,     0 };
    /* record 1: label 1, source 0, clip 1, 6.25 dB = 0x40c80000 */
    static const uint8_t record[RECORD] = { 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0xc8, 0x40 };
    char hash[SHA256_HEX], hex[SHA256_HEX];
    struct error err = { 0 };
    uint8_t digest[SHA256_BYTES];
    size_t length, text_at = INDEX_AT + COUNT * (RECORD + SIZE);
    char *file;

    write_set(f, hash);
    assert_int_equal(text_read_file(f->path, 1 << 20, &file, &length, &err), 0);
    assert_int_equal(length, text_at + 4 + strlen(text) + SHA256_BYTES);
    assert_memory_equal(file, header, sizeof header);
    assert_memory_equal(file + INDEX_AT + RECORD, record, sizeof record);
    assert_memory_equal(file + INDEX_AT + COUNT * RECORD, f->samples, sizeof f->samples);
    assert_int_equal((uint8_t)file[text_at], strlen(text));
    assert_memory_equal(file + text_at + 4, text, strlen(text));
    sha256(file, length - SHA256_BYTES, digest);
    assert_memory_equal(file + length - SHA256_BYTES, digest, SHA256_BYTES);
    hash_hex(digest, SHA256_BYTES, hex);
    assert_string_equal(hash, hex);
    free(file);
}

/* Writes `length` bytes and expects dataset_open to refuse them with `reason` and the path in the message. */
static void expect_refused(struct fixture *f, const char *file, size_t length, int code, const char *reason)
{
    struct dataset *dataset = NULL;
    struct error err = { 0 };

    assert_int_equal(text_write_file(f->path, file, length, &err), 0);
    assert_int_equal(dataset_open(f->path, &dataset, &err), code);
    assert_null(dataset);
    if (!strstr(err.message, reason) || !strstr(err.message, f->path))
        fail_msg("\"%s\" has no \"%s\" or no path", err.message, reason);
}

static void reseal(char *file, size_t length)
{
    uint8_t digest[SHA256_BYTES];

    sha256(file, length - SHA256_BYTES, digest);
    memcpy(file + length - SHA256_BYTES, digest, SHA256_BYTES);
}

static void test_refuses_damage(void **state)
{
    /* Damage that a matching hash cannot excuse: {offset, byte, code, reason}. */
    static const struct {
        size_t at;
        int value, code;
        const char *reason;
    } edits[] = {
        { 0, 'X', ERR_INVALID, "not a dataset" },
        { 11, 0x7f, ERR_RANGE, "sample count" },
        { 8, 0, ERR_RANGE, "sample count" },
        { 19, 0xff, ERR_RANGE, "width" },
        { 8, COUNT + 60, ERR_INVALID, "truncated" },
        { 36, 1, ERR_INVALID, "newer version" },
        { INDEX_AT + 3 * RECORD, 2, ERR_INVALID, "sample 3 has label 2" },
        { INDEX_AT + 3 * RECORD + 2, 2, ERR_INVALID, "sample 3 has source 2" },
        { INDEX_AT + 3 * RECORD + 4, 3, ERR_INVALID, "sample 3 has clip 3" },
        { 32, 4, ERR_INVALID, "\"clips\" is not an array of 4" },
    };
    struct fixture *f = *state;
    char hash[SHA256_HEX];
    struct error err = { 0 };
    char *file, *copy;
    size_t length;

    write_set(f, hash);
    assert_int_equal(text_read_file(f->path, 1 << 20, &file, &length, &err), 0);
    copy = malloc(length + 1);
    assert_non_null(copy);
    for (size_t i = 0; i < sizeof edits / sizeof edits[0]; i++) {
        memcpy(copy, file, length);
        copy[edits[i].at] = (char)edits[i].value;
        reseal(copy, length);
        expect_refused(f, copy, length, edits[i].code, edits[i].reason);
    }
    memcpy(copy, file, length);
    copy[INDEX_AT + COUNT * RECORD + 5] ^= 1; /* one bit of one sample */
    expect_refused(f, copy, length, ERR_INVALID, "damaged");
    expect_refused(f, file, 20, ERR_INVALID, "truncated");
    expect_refused(f, file, length - 1, ERR_INVALID, "truncated");
    memcpy(copy, file, length);
    copy[length] = 0;
    expect_refused(f, copy, length + 1, ERR_INVALID, "too long");
    free(copy);
    free(file);
}

static void test_missing_file_is_not_found(void **state)
{
    struct dataset *dataset = NULL;
    struct error err = { 0 };

    (void)state;
    assert_int_equal(dataset_open("/nonexistent/set.nbds", &dataset, &err), ERR_NOT_FOUND);
    assert_non_null(strstr(err.message, "/nonexistent/set.nbds"));
}

static void test_writer_refuses_what_reader_would(void **state)
{
    struct fixture *f = *state;
    struct error err = { 0 };
    char hash[SHA256_HEX] = "untouched";

    f->records[7].clip = 3;
    assert_int_equal(dataset_write(f->path, &f->content, hash, &err), ERR_INVALID);
    assert_non_null(strstr(err.message, "sample 7 has clip 3"));
    f->records[7].clip = 0;
    f->content.text = "{\"classes\":[\"noise\"]}";
    assert_int_equal(dataset_write(f->path, &f->content, hash, &err), ERR_INVALID);
    assert_non_null(strstr(err.message, "classes"));
    assert_string_equal(hash, "untouched");
}

static void test_shuffle_is_a_repeatable_permutation(void **state)
{
    struct fixture *f = *state;
    struct dataset *a, *b, *c;
    char hash[SHA256_HEX];
    int moved = 0, ones = 0, differ = 0;

    write_set(f, hash);
    a = open_set(f);
    b = open_set(f);
    c = open_set(f);
    dataset_shuffle_labels(a, 1);
    dataset_shuffle_labels(b, 1);
    dataset_shuffle_labels(c, 2);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(dataset_label(a, i), dataset_label(b, i));
        assert_int_equal(dataset_source(a, i), f->records[i].source);
        moved += dataset_label(a, i) != f->records[i].label;
        differ += dataset_label(a, i) != dataset_label(c, i);
        ones += dataset_label(a, i);
    }
    assert_int_equal(ones, COUNT / 2);
    assert_true(moved > 0);
    assert_true(differ > 0);
    dataset_close(a);
    dataset_close(b);
    dataset_close(c);
    dataset_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_reads_back_what_was_written, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refuses_indices_outside, setup, teardown),
        cmocka_unit_test_setup_teardown(test_layout_is_the_documented_one, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refuses_damage, setup, teardown),
        cmocka_unit_test(test_missing_file_is_not_found),
        cmocka_unit_test_setup_teardown(test_writer_refuses_what_reader_would, setup, teardown),
        cmocka_unit_test_setup_teardown(test_shuffle_is_a_repeatable_permutation, setup, teardown),
    };

    return cmocka_run_group_tests_name("dataset", tests, NULL, NULL);
}
