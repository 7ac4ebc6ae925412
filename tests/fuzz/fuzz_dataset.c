/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * fuzz_dataset: files of samples. The last 32 bytes are the hash of the rest, which no mutation finds: the
 * input is opened as it is, and again with the right hash. What is opened is complete, and what is written
 * back opens as the same.
 *
 * sources: daemon/base/error.c daemon/base/text.c daemon/base/json.c daemon/base/json_read.c
 * sources: daemon/base/hash.c daemon/base/rng.c chip/dataset.c
 * aims: chip/dataset.c
 * edges: 165 */
#include "chip/dataset.h"

#include "daemon/base/text.h"
#include "tests/fuzz/fuzz.h"

static void check_open(const struct dataset *dataset)
{
    int count = dataset_count(dataset);

    FUZZ_CHECK(count >= 1 && count <= DATASET_COUNT_MAX);
    for (int i = 0; i < count; i++) {
        volatile uint8_t sum = 0;
        const uint8_t *sample = dataset_sample(dataset, i);

        FUZZ_CHECK(dataset_class_name(dataset, dataset_label(dataset, i)) != NULL);
        FUZZ_CHECK(dataset_source_name(dataset, dataset_source(dataset, i)) != NULL);
        FUZZ_CHECK(dataset_clip_name(dataset, dataset_clip(dataset, i)) != NULL);
        for (size_t k = 0; k < dataset_sample_size(dataset); k++)
            sum = (uint8_t)(sum + sample[k]);
    }
    FUZZ_CHECK(dataset_sample(dataset, count) == NULL && dataset_sample(dataset, -1) == NULL);
    FUZZ_CHECK(dataset_label(dataset, count) == -1 && dataset_label(dataset, -1) == -1);
    FUZZ_CHECK(dataset_class_name(dataset, dataset_class_count(dataset)) == NULL);
    FUZZ_CHECK(dataset_source_name(dataset, dataset_source_count(dataset)) == NULL);
    FUZZ_CHECK(dataset_clip_name(dataset, dataset_clip_count(dataset)) == NULL);
}

/* Labels are permuted: each class keeps its number of samples. */
static void check_shuffle(struct dataset *dataset)
{
    long before = 0, after = 0;

    for (int i = 0; i < dataset_count(dataset); i++)
        before += dataset_label(dataset, i);
    dataset_shuffle_labels(dataset, 1);
    for (int i = 0; i < dataset_count(dataset); i++)
        after += dataset_label(dataset, i);
    FUZZ_CHECK(before == after);
}

static void check(const uint8_t *data, size_t size)
{
    struct dataset *dataset = NULL;
    struct error err = { 0 };
    int code = dataset_open(fuzz_file(0, data, size), &dataset, &err);

    if (code != 0) {
        fuzz_check_refusal(code, &err, dataset);
        return;
    }
    FUZZ_CHECK(strlen(dataset_hash(dataset)) == SHA256_HEX - 1);
    check_open(dataset);
    check_shuffle(dataset);
    dataset_close(dataset);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check(data, size);
    if (size < SHA256_BYTES)
        return 0;
    uint8_t *sealed = malloc(size);
    FUZZ_CHECK(sealed != NULL);
    memcpy(sealed, data, size - SHA256_BYTES);
    sha256(sealed, size - SHA256_BYTES, sealed + size - SHA256_BYTES);
    check(sealed, size);
    free(sealed);
    return 0;
}
