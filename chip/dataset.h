/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * dataset: labelled samples in one self-checking file (".nbds"), as campaigns and the training script read
 * them.
 *
 * Layout, all integers little-endian:
 *
 *   offset  size            what
 *   0       8               magic "NBDATA1\n"
 *   8       4               count: number of samples
 *   12      3 x 4           shape: height, width, channels of one sample
 *   24      4               class_count
 *   28      4               source_count
 *   32      4               clip_count
 *   36      4               reserved, 0
 *   40      count x 12      index: u8 label, u8 0, u16 source, u32 clip, f32 snr_db (NaN where SNR has no
 * meaning)
 *   ...     count x h*w*c   samples, u8, HWC order: element (row, column, channel) at (row*w + column)*c +
 * channel
 *   ...     4               length of the text
 *   ...     length          JSON: {"classes":["..."], "sources":[{"name","package","licence"}],
 * "clips":["..."], "built_with":{...}} end-32  32              SHA-256 of every byte before it
 *
 * The hash, as text, is the dataset's identity in records. A sample keeps its source and its clip so that
 * accuracy can be told per source, and so that confidence intervals can be clustered by clip.
 *
 * A struct dataset is read-only after dataset_open (dataset_shuffle_labels apart) and may be shared by
 * threads.
 */
#ifndef CHIP_DATASET_H
#define CHIP_DATASET_H

#include <stddef.h>
#include <stdint.h>

#include "daemon/base/error.h"
#include "daemon/base/hash.h"

enum {
    DATASET_COUNT_MAX = 1000000,
    DATASET_DIMENSION_MAX = 65536,
    DATASET_SAMPLE_BYTES_MAX = 1 << 20,
    DATASET_CLASSES_MAX = 255,
    DATASET_SOURCES_MAX = 1024,
    DATASET_CLIPS_MAX = 100000,
    DATASET_FILE_BYTES_MAX = 1 << 30
};

struct dataset_shape {
    int height, width, channels;
};

/* What is known of a sample besides its bytes. */
struct dataset_record {
    uint8_t label;
    uint16_t source;
    uint32_t clip;
    float snr_db;
};

/* What dataset_write puts into a file; `text` is the JSON described above. */
struct dataset_content {
    int count, class_count, source_count, clip_count;
    struct dataset_shape shape;
    const struct dataset_record *records; /* [count] */
    const uint8_t *samples;               /* [count * height * width * channels] */
    const char *text;
};

struct dataset;

/* Reads and checks the whole file: size, magic, hash, every index, and the text against the counts. */
int dataset_open(const char *path, struct dataset **ret_dataset, struct error *err);
void dataset_close(struct dataset *dataset);

int dataset_count(const struct dataset *dataset);
struct dataset_shape dataset_shape(const struct dataset *dataset);
size_t dataset_sample_size(const struct dataset *dataset);
int dataset_class_count(const struct dataset *dataset);
int dataset_source_count(const struct dataset *dataset);
int dataset_clip_count(const struct dataset *dataset);
/* SHA-256 of the file's content, 64 hex digits. Unchanged by dataset_shuffle_labels: see there. */
const char *dataset_hash(const struct dataset *dataset);

/* `index` outside 0..count-1: NULL from pointers, -1 from numbers, NaN from the SNR. Names outside: NULL. */
const uint8_t *dataset_sample(const struct dataset *dataset, int index);
int dataset_label(const struct dataset *dataset, int index);
int dataset_source(const struct dataset *dataset, int index);
int64_t dataset_clip(const struct dataset *dataset, int index);
float dataset_snr_db(const struct dataset *dataset, int index);
const char *dataset_class_name(const struct dataset *dataset, int label);
const char *dataset_source_name(const struct dataset *dataset, int source);
const char *dataset_clip_name(const struct dataset *dataset, int64_t clip);

/* Permutes the labels in memory, the same way for the same seed: a network that still scores well on shuffled
 * labels is being scored wrongly. Whoever records results of a shuffled set must record the seed beside the
 * hash. */
void dataset_shuffle_labels(struct dataset *dataset, uint64_t seed);

/* Checks `content` by the rules of dataset_open and writes the file whole (temporary file, fsync, rename). */
int dataset_write(const char *path, const struct dataset_content *content, char ret_hash[SHA256_HEX],
                  struct error *err);

#endif
