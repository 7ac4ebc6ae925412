/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * dataset: reader and writer of ".nbds" files. The file is read whole and checked before anything is
 * believed: a campaign must not discover at three in the morning that sample 3,712 has no class. */
#include "chip/dataset.h"

#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/json.h"
#include "daemon/base/rng.h"
#include "daemon/base/text.h"

enum { HEADER_BYTES = 40, RECORD_BYTES = 12, LENGTH_BYTES = 4 };

static const char magic[8] = { 'N', 'B', 'D', 'A', 'T', 'A', '1', '\n' };

struct dataset {
    struct dataset_content content; /* text unused: see root */
    struct dataset_record *records; /* owned, what content.records points at */
    char *file;                     /* owned, holds the samples */
    cJSON *root;                    /* owned, holds the names */
    const char **class_names;       /* owned tables of pointers into root */
    const char **source_names;
    const char **clip_names;
    char hash[SHA256_HEX];
};

static uint32_t get_u32(const uint8_t *in)
{
    return (uint32_t)in[0] | (uint32_t)in[1] << 8 | (uint32_t)in[2] << 16 | (uint32_t)in[3] << 24;
}

static void put_u32(uint8_t *out, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        out[i] = (uint8_t)(value >> (8 * i));
}

static size_t sample_size(const struct dataset_content *content)
{
    const struct dataset_shape *shape = &content->shape;

    return (size_t)shape->height * (size_t)shape->width * (size_t)shape->channels;
}

static int check_limit(const char *what, int64_t value, int64_t max, struct error *err)
{
    if (value >= 1 && value <= max)
        return 0;
    return error_set(err, ERR_RANGE, "%s is %" PRId64 ", allowed are 1 to %" PRId64, what, value, max);
}

/* Bytes of the file before the text's length field; the limits keep every product far below overflow. */
static int check_counts(const struct dataset_content *content, size_t *ret_bytes, struct error *err)
{
    const struct {
        const char *what;
        int64_t value, max;
    } limits[] = {
        { "sample count", content->count, DATASET_COUNT_MAX },
        { "height", content->shape.height, DATASET_DIMENSION_MAX },
        { "width", content->shape.width, DATASET_DIMENSION_MAX },
        { "channels", content->shape.channels, DATASET_DIMENSION_MAX },
        { "class count", content->class_count, DATASET_CLASSES_MAX },
        { "source count", content->source_count, DATASET_SOURCES_MAX },
        { "clip count", content->clip_count, DATASET_CLIPS_MAX },
    };
    uint64_t bytes;
    int code;

    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        code = check_limit(limits[i].what, limits[i].value, limits[i].max, err);
        if (code)
            return code;
    }
    code = check_limit("bytes per sample", (int64_t)sample_size(content), DATASET_SAMPLE_BYTES_MAX, err);
    if (code)
        return code;
    bytes = HEADER_BYTES + (uint64_t)content->count * (RECORD_BYTES + sample_size(content));
    if (bytes > DATASET_FILE_BYTES_MAX)
        return error_set(err, ERR_RANGE, "%" PRIu64 " bytes of samples, the limit is %d", bytes,
                         DATASET_FILE_BYTES_MAX);
    *ret_bytes = (size_t)bytes;
    return 0;
}

static int check_record(const struct dataset_content *content, int index, struct error *err)
{
    const struct dataset_record *record = &content->records[index];

    if (record->label >= content->class_count)
        return error_set(err, ERR_INVALID, "sample %d has label %u, there are %d classes", index,
                         (unsigned)record->label, content->class_count);
    if (record->source >= content->source_count)
        return error_set(err, ERR_INVALID, "sample %d has source %u, there are %d sources", index,
                         (unsigned)record->source, content->source_count);
    if (record->clip >= (uint32_t)content->clip_count)
        return error_set(err, ERR_INVALID, "sample %d has clip %" PRIu32 ", there are %d clips", index,
                         record->clip, content->clip_count);
    if (isinf(record->snr_db))
        return error_set(err, ERR_INVALID, "sample %d has an infinite SNR", index);
    return 0;
}

static int check_records(const struct dataset_content *content, struct error *err)
{
    int code = 0;

    for (int i = 0; i < content->count && !code; i++)
        code = check_record(content, i, err);
    return code;
}

/* A table of the names in an array of strings, or (key given) of objects with that string member. Walks the
 * list itself: cJSON finds element i by counting from the start, which is quadratic over thousands of clips.
 */
static int read_names(const cJSON *root, const char *array, const char *key, int count,
                      const char ***ret_names, struct error *err)
{
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(root, array);
    const char **names;
    const cJSON *item;
    int n = 0;

    if (!cJSON_IsArray(list) || cJSON_GetArraySize(list) != count)
        return error_set(err, ERR_INVALID, "text: \"%s\" is not an array of %d", array, count);
    names = calloc((size_t)count, sizeof *names);
    if (!names)
        return error_set(err, ERR_MEMORY, "no memory for %d names", count);
    cJSON_ArrayForEach(item, list)
    {
        const cJSON *name = key ? cJSON_GetObjectItemCaseSensitive(item, key) : item;

        if (!cJSON_IsString(name)) {
            free(names);
            return error_set(err, ERR_INVALID, "text: \"%s\" element %d has no name", array, n);
        }
        names[n++] = name->valuestring;
    }
    *ret_names = names;
    return 0;
}

static int read_text(struct dataset *dataset, const char *text, size_t length, struct error *err)
{
    const struct dataset_content *content = &dataset->content;
    int code;

    code = json_parse(text, length, &dataset->root, err);
    if (code)
        return code;
    code = read_names(dataset->root, "classes", NULL, content->class_count, &dataset->class_names, err);
    if (code)
        return code;
    code = read_names(dataset->root, "sources", "name", content->source_count, &dataset->source_names, err);
    if (code)
        return code;
    return read_names(dataset->root, "clips", NULL, content->clip_count, &dataset->clip_names, err);
}

static int read_header(const uint8_t *file, size_t length, struct dataset_content *content, struct error *err)
{
    int32_t field[7];

    if (length < HEADER_BYTES + LENGTH_BYTES + SHA256_BYTES)
        return error_set(err, ERR_INVALID, "truncated: %zu bytes cannot hold a dataset", length);
    if (memcmp(file, magic, sizeof magic) != 0)
        return error_set(err, ERR_INVALID, "not a dataset: it does not start with NBDATA1");
    for (int i = 0; i < 7; i++) {
        uint32_t value = get_u32(file + 8 + 4 * i);

        field[i] = value > INT32_MAX ? -1 : (int32_t)value; /* -1 is refused by check_counts */
    }
    content->count = field[0];
    content->shape = (struct dataset_shape){ .height = field[1], .width = field[2], .channels = field[3] };
    content->class_count = field[4];
    content->source_count = field[5];
    content->clip_count = field[6];
    if (get_u32(file + 36) != 0)
        return error_set(err, ERR_INVALID, "reserved header word is not 0: written by a newer version?");
    return 0;
}

static int check_hash(struct dataset *dataset, const uint8_t *file, size_t length, struct error *err)
{
    uint8_t hash[SHA256_BYTES];
    char stored[SHA256_HEX];

    sha256(file, length - SHA256_BYTES, hash);
    hash_hex(hash, SHA256_BYTES, dataset->hash);
    hash_hex(file + length - SHA256_BYTES, SHA256_BYTES, stored);
    if (strcmp(dataset->hash, stored) != 0)
        return error_set(err, ERR_INVALID,
                         "damaged: the content hashes to %.16s..., the file says %.16s...; build it again",
                         dataset->hash, stored);
    return 0;
}

static void read_index(struct dataset *dataset, const uint8_t *file)
{
    const uint8_t *in = file + HEADER_BYTES;

    for (int i = 0; i < dataset->content.count; i++, in += RECORD_BYTES) {
        struct dataset_record *record = &dataset->records[i];
        uint32_t snr_bits = get_u32(in + 8);

        record->label = in[0];
        record->source = (uint16_t)(in[2] | in[3] << 8);
        record->clip = get_u32(in + 4);
        memcpy(&record->snr_db, &snr_bits, sizeof record->snr_db);
    }
}

static int read_file(struct dataset *dataset, const uint8_t *file, size_t length, struct error *err)
{
    struct dataset_content *content = &dataset->content;
    size_t text_at, text_length;
    int code;

    code = read_header(file, length, content, err);
    if (code)
        return code;
    code = check_counts(content, &text_at, err);
    if (code)
        return code;
    if (length < text_at + LENGTH_BYTES + SHA256_BYTES)
        return error_set(err, ERR_INVALID, "truncated: %zu bytes, %d samples alone need %zu", length,
                         content->count, text_at);
    text_length = get_u32(file + text_at);
    if (length != text_at + LENGTH_BYTES + text_length + SHA256_BYTES)
        return error_set(err, ERR_INVALID, "%s: %zu bytes, the header promises %zu",
                         length < text_at + LENGTH_BYTES + text_length + SHA256_BYTES ? "truncated"
                                                                                      : "too long",
                         length, text_at + LENGTH_BYTES + text_length + SHA256_BYTES);
    code = check_hash(dataset, file, length, err);
    if (code)
        return code;
    dataset->records = calloc((size_t)content->count, sizeof *dataset->records);
    if (!dataset->records)
        return error_set(err, ERR_MEMORY, "no memory for an index of %d", content->count);
    read_index(dataset, file);
    content->records = dataset->records;
    content->samples = file + HEADER_BYTES + (size_t)content->count * RECORD_BYTES;
    code = check_records(content, err);
    if (code)
        return code;
    return read_text(dataset, (const char *)file + text_at + LENGTH_BYTES, text_length, err);
}

int dataset_open(const char *path, struct dataset **ret_dataset, struct error *err)
{
    struct dataset *dataset = calloc(1, sizeof *dataset);
    size_t length;
    int code;

    if (!dataset)
        return error_set(err, ERR_MEMORY, "%s: no memory", path);
    code = text_read_file(path, DATASET_FILE_BYTES_MAX, &dataset->file, &length, err);
    if (code)
        goto fail;
    code = read_file(dataset, (const uint8_t *)dataset->file, length, err);
    if (code) {
        error_prefix(err, "%s", path);
        goto fail;
    }
    *ret_dataset = dataset;
    return 0;

fail:
    dataset_close(dataset);
    return code;
}

void dataset_close(struct dataset *dataset)
{
    if (!dataset)
        return;
    free(dataset->clip_names);
    free(dataset->source_names);
    free(dataset->class_names);
    cJSON_Delete(dataset->root);
    free(dataset->records);
    free(dataset->file);
    free(dataset);
}

int dataset_count(const struct dataset *dataset)
{
    return dataset->content.count;
}

struct dataset_shape dataset_shape(const struct dataset *dataset)
{
    return dataset->content.shape;
}

size_t dataset_sample_size(const struct dataset *dataset)
{
    return sample_size(&dataset->content);
}

int dataset_class_count(const struct dataset *dataset)
{
    return dataset->content.class_count;
}

int dataset_source_count(const struct dataset *dataset)
{
    return dataset->content.source_count;
}

int dataset_clip_count(const struct dataset *dataset)
{
    return dataset->content.clip_count;
}

const char *dataset_hash(const struct dataset *dataset)
{
    return dataset->hash;
}

static const struct dataset_record *record_at(const struct dataset *dataset, int index)
{
    return index >= 0 && index < dataset->content.count ? &dataset->records[index] : NULL;
}

const uint8_t *dataset_sample(const struct dataset *dataset, int index)
{
    if (!record_at(dataset, index))
        return NULL;
    return dataset->content.samples + (size_t)index * sample_size(&dataset->content);
}

int dataset_label(const struct dataset *dataset, int index)
{
    const struct dataset_record *record = record_at(dataset, index);

    return record ? record->label : -1;
}

int dataset_source(const struct dataset *dataset, int index)
{
    const struct dataset_record *record = record_at(dataset, index);

    return record ? record->source : -1;
}

int64_t dataset_clip(const struct dataset *dataset, int index)
{
    const struct dataset_record *record = record_at(dataset, index);

    return record ? (int64_t)record->clip : -1;
}

float dataset_snr_db(const struct dataset *dataset, int index)
{
    const struct dataset_record *record = record_at(dataset, index);

    return record ? record->snr_db : NAN;
}

const char *dataset_class_name(const struct dataset *dataset, int label)
{
    return label >= 0 && label < dataset->content.class_count ? dataset->class_names[label] : NULL;
}

const char *dataset_source_name(const struct dataset *dataset, int source)
{
    return source >= 0 && source < dataset->content.source_count ? dataset->source_names[source] : NULL;
}

const char *dataset_clip_name(const struct dataset *dataset, int64_t clip)
{
    return clip >= 0 && clip < dataset->content.clip_count ? dataset->clip_names[clip] : NULL;
}

void dataset_shuffle_labels(struct dataset *dataset, uint64_t seed)
{
    struct rng rng;

    rng_init(&rng, seed, "dataset_shuffle_labels", 0, 0, 0);
    for (int i = dataset->content.count - 1; i > 0; i--) {
        int j = (int)rng_below(&rng, (uint32_t)i + 1);
        uint8_t label = dataset->records[i].label;

        dataset->records[i].label = dataset->records[j].label;
        dataset->records[j].label = label;
    }
}

static void write_index(const struct dataset_content *content, uint8_t *out)
{
    for (int i = 0; i < content->count; i++, out += RECORD_BYTES) {
        const struct dataset_record *record = &content->records[i];
        uint32_t snr_bits = 0x7fc00000; /* one NaN for all, so that equal content gives equal bytes */

        if (!isnan(record->snr_db))
            memcpy(&snr_bits, &record->snr_db, sizeof snr_bits);
        out[0] = record->label;
        out[2] = (uint8_t)record->source;
        out[3] = (uint8_t)(record->source >> 8);
        put_u32(out + 4, record->clip);
        put_u32(out + 8, snr_bits);
    }
}

static void write_image(const struct dataset_content *content, size_t text_at, size_t text_length,
                        uint8_t *file)
{
    const uint32_t fields[7] = {
        (uint32_t)content->count,          (uint32_t)content->shape.height, (uint32_t)content->shape.width,
        (uint32_t)content->shape.channels, (uint32_t)content->class_count,  (uint32_t)content->source_count,
        (uint32_t)content->clip_count,
    };
    size_t samples_at = HEADER_BYTES + (size_t)content->count * RECORD_BYTES;
    size_t end = text_at + LENGTH_BYTES + text_length;

    memcpy(file, magic, sizeof magic);
    for (int i = 0; i < 7; i++)
        put_u32(file + 8 + 4 * i, fields[i]);
    write_index(content, file + HEADER_BYTES);
    memcpy(file + samples_at, content->samples, text_at - samples_at);
    put_u32(file + text_at, (uint32_t)text_length);
    memcpy(file + text_at + LENGTH_BYTES, content->text, text_length);
    sha256(file, end, file + end);
}

/* Parses the text just as a reader will, so that no file can be written that cannot be opened. */
static int check_text(const struct dataset_content *content, size_t length, struct error *err)
{
    struct dataset *probe = calloc(1, sizeof *probe);
    int code;

    if (!probe)
        return error_set(err, ERR_MEMORY, "no memory");
    probe->content = *content;
    code = read_text(probe, content->text, length, err);
    dataset_close(probe);
    return code;
}

static int build_image(const struct dataset_content *content, uint8_t **ret_file, size_t *ret_length,
                       struct error *err)
{
    size_t text_length = strlen(content->text);
    size_t text_at, length;
    uint8_t *file;
    int code;

    code = check_counts(content, &text_at, err);
    if (code)
        return code;
    code = check_records(content, err);
    if (code)
        return code;
    code = check_text(content, text_length, err);
    if (code)
        return code;
    length = text_at + LENGTH_BYTES + text_length + SHA256_BYTES;
    file = calloc(1, length);
    if (!file)
        return error_set(err, ERR_MEMORY, "no memory for %zu bytes", length);
    write_image(content, text_at, text_length, file);
    *ret_file = file;
    *ret_length = length;
    return 0;
}

int dataset_write(const char *path, const struct dataset_content *content, char ret_hash[SHA256_HEX],
                  struct error *err)
{
    uint8_t *file = NULL;
    size_t length = 0;
    int code = build_image(content, &file, &length, err);

    if (code) {
        error_prefix(err, "%s", path);
        return code;
    }
    code = text_write_file(path, file, length, err);
    if (!code)
        hash_hex(file + length - SHA256_BYTES, SHA256_BYTES, ret_hash);
    free(file);
    return code;
}
