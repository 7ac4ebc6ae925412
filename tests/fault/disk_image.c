/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * disk_image: durable bytes per file, and the operations after them that nobody has synced. */
#include "tests/fault/disk_image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TEAR = 512, BLOCK = 4096 };

struct bytes {
    unsigned char *data;
    int64_t size, capacity;
};

struct list {
    int *op;
    int count, capacity;
};

struct disk_image {
    const struct disk_log *log;
    int next; /* first operation that was not issued */
    struct disk_promise promise;
    struct bytes durable[DISK_FILES_MAX];
    struct list pending[DISK_FILES_MAX]; /* by file: its unsynced operations */
    int entry[DISK_FILES_MAX];           /* by name: durable folder entry, -1: none */
    struct list entries;                 /* unsynced changes of the folder */
};

static void *grown(void *data, size_t bytes)
{
    data = realloc(data, bytes);
    if (data == NULL) {
        fputs("disk_image: no memory\n", stderr);
        exit(2);
    }
    return data;
}

static void push(struct list *list, int op)
{
    if (list->count == list->capacity) {
        list->capacity = list->capacity == 0 ? 16 : list->capacity * 2;
        list->op = grown(list->op, (size_t)list->capacity * sizeof *list->op);
    }
    list->op[list->count++] = op;
}

static void resize(struct bytes *b, int64_t size)
{
    if (size > b->capacity) {
        b->capacity = size + size / 2 + BLOCK;
        b->data = grown(b->data, (size_t)b->capacity);
    }
    if (size > b->size)
        memset(b->data + b->size, 0, (size_t)(size - b->size));
    b->size = size;
}

static void put(struct bytes *b, const struct disk_op *op, int64_t from, int64_t to)
{
    if (op->offset + to > b->size)
        resize(b, op->offset + to);
    memcpy(b->data + op->offset + from, op->data + from, (size_t)(to - from));
}

static void apply_whole(struct bytes *b, const struct disk_op *op)
{
    if (op->kind == DISK_WRITE)
        put(b, op, 0, op->size);
    else
        resize(b, op->size);
}

struct disk_image *disk_image_new(const struct disk_log *log)
{
    struct disk_image *image = grown(NULL, sizeof *image);

    *image = (struct disk_image){ .log = log };
    for (int i = 0; i < DISK_FILES_MAX; i++)
        image->entry[i] = -1;
    return image;
}

void disk_image_free(struct disk_image *image)
{
    for (int i = 0; i < DISK_FILES_MAX; i++) {
        free(image->durable[i].data);
        free(image->pending[i].op);
    }
    free(image->entries.op);
    free(image);
}

static void change_entry(int *entry, const struct disk_op *op)
{
    entry[op->name] = op->kind == DISK_CREATE ? op->file : -1;
}

static void sync_folder(struct disk_image *image)
{
    for (int i = 0; i < image->entries.count; i++)
        change_entry(image->entry, &image->log->op[image->entries.op[i]]);
    image->entries.count = 0;
}

static void sync_file(struct disk_image *image, int file)
{
    struct list *pending = &image->pending[file];

    for (int i = 0; i < pending->count; i++)
        apply_whole(&image->durable[file], &image->log->op[pending->op[i]]);
    pending->count = 0;
}

void disk_image_advance(struct disk_image *image, int to)
{
    for (; image->next < to; image->next++) {
        const struct disk_op *op = &image->log->op[image->next];

        switch (op->kind) {
        case DISK_WRITE:
        case DISK_TRUNCATE:
            push(&image->pending[op->file], image->next);
            break;
        case DISK_SYNC:
            sync_file(image, op->file);
            if (op->size != 0)
                sync_folder(image);
            break;
        case DISK_CREATE:
        case DISK_DELETE:
            push(&image->entries, image->next);
            if (op->kind == DISK_DELETE && op->size != 0)
                sync_folder(image);
            break;
        case DISK_MARK:
            image->promise = op->promise;
            break;
        }
    }
}

const struct disk_promise *disk_image_promise(const struct disk_image *image)
{
    return &image->promise;
}

/* Sectors are those of the disk, not of the write: the first and the last may be partial. */
static void put_some(struct bytes *b, const struct disk_op *op, int sector, struct rng *rng)
{
    for (int64_t from = 0, to; from < op->size; from = to) {
        int64_t end = (op->offset + from) / sector * sector + sector - op->offset;
        uint32_t draw = rng_below(rng, 8);

        to = end < op->size ? end : op->size;
        if (draw < 4)
            put(b, op, from, to);
        else if (draw == 4 && sector > TEAR && to - from > TEAR)
            put(b, op, from, from + TEAR * (1 + (int64_t)rng_below(rng, (uint32_t)((to - from - 1) / TEAR))));
    }
}

static void outcome(const struct disk_image *image, int file, enum disk_cut cut, struct rng *rng,
                    struct bytes *ret)
{
    const struct list *pending = &image->pending[file];
    int last = cut == CUT_IN_ORDER ? (int)rng_below(rng, (uint32_t)pending->count + 1) : pending->count;

    ret->size = 0;
    resize(ret, image->durable[file].size);
    if (ret->size > 0)
        memcpy(ret->data, image->durable[file].data, (size_t)ret->size);
    for (int i = 0; i < pending->count && i <= last && cut != CUT_NOTHING_ARRIVED; i++) {
        const struct disk_op *op = &image->log->op[pending->op[i]];

        if (cut == CUT_ALL_ARRIVED || (cut == CUT_IN_ORDER && i < last))
            apply_whole(ret, op);
        else if (op->kind == DISK_WRITE)
            put_some(ret, op, cut == CUT_SECTORS_4096 ? BLOCK : TEAR, rng);
        else if (rng_below(rng, 2) == 0)
            apply_whole(ret, op);
    }
}

static int write_file(const char *folder, const char *name, const struct bytes *b)
{
    char path[512], *slash;
    int fd;

    snprintf(path, sizeof path, "%s/%s", folder, name);
    slash = strrchr(path, '/');
    *slash = '\0';
    if (mkdir(path, 0755) != 0 && errno != EEXIST)
        return -1;
    *slash = '/';
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        return -1;
    ssize_t written = b->size == 0 ? 0 : write(fd, b->data, (size_t)b->size);
    close(fd);
    return written == b->size ? 0 : -1;
}

int disk_image_write(const struct disk_image *image, enum disk_cut cut, struct rng *rng, const char *folder)
{
    uint32_t unsynced = (uint32_t)image->entries.count;
    int entry[DISK_FILES_MAX], kept, rc = 0;
    struct bytes b = { 0 };

    memcpy(entry, image->entry, sizeof entry);
    kept = cut == CUT_NOTHING_ARRIVED ? 0
           : cut == CUT_ALL_ARRIVED   ? (int)unsynced
                                      : (int)rng_below(rng, unsynced + 1);
    for (int i = 0; i < kept; i++)
        change_entry(entry, &image->log->op[image->entries.op[i]]);
    for (int name = 0; rc == 0 && name < image->log->names; name++) {
        if (entry[name] < 0)
            continue;
        outcome(image, entry[name], cut, rng, &b);
        rc = write_file(folder, image->log->name[name], &b);
    }
    free(b.data);
    return rc;
}
