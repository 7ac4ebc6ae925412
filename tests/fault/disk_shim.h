/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * disk_shim: an SQLite VFS between the store and the real one. It records every change of every file in order
 * (the wal-index is no data and is left out), from which disk_image rebuilds what a power cut may leave; and
 * it can fail the n-th operation, or run full. Registered as the default VFS, so that the product is used as
 * it is. */
#ifndef TESTS_FAULT_DISK_SHIM_H
#define TESTS_FAULT_DISK_SHIM_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DISK_FILES_MAX = 256, DISK_PATH_MAX = 128 };

enum disk_op_kind {
    DISK_CREATE,   /* path `name` now means file `file` */
    DISK_DELETE,   /* path `name` means nothing; size 1: the folder was synced */
    DISK_WRITE,    /* `size` bytes at `offset` */
    DISK_TRUNCATE, /* to `size` */
    DISK_SYNC,     /* size 1: with the folder, as for a file that was just created */
    DISK_MARK      /* the store has promised: see disk_mark */
};

/* Everything that the store had acknowledged at one moment; counts only grow. */
struct disk_promise {
    int64_t points, samples, events;
    bool run, ended;
};

struct disk_op {
    enum disk_op_kind kind;
    int file, name;
    int64_t offset, size;
    unsigned char *data;
    struct disk_promise promise; /* DISK_MARK */
};

struct disk_log {
    pthread_mutex_t mutex;
    struct disk_op *op;
    int ops, capacity;
    int files, names;
    char name[DISK_FILES_MAX][DISK_PATH_MAX]; /* below the folder of the recording */
    int current[DISK_FILES_MAX];              /* by name: the file it means, or -1 */
};

/* What goes wrong; all zero: nothing. Guarded by the shim. */
struct disk_fault {
    int64_t countdown;   /* operations that still succeed; negative: never fails */
    bool sticky;         /* every later one fails too */
    bool sync_only;      /* counts only syncs */
    int64_t quota_bytes; /* room for files to grow, from now on; beyond it SQLITE_FULL; 0: no limit */
};

/* Registers the shim as default VFS. Recording starts with log != NULL: files below `folder` only. */
int disk_shim_install(void);
void disk_shim_record(struct disk_log *log, const char *folder);
void disk_shim_fault(const struct disk_fault *fault);
/* Operations so far (of those that a fault counts) and faults injected, since the last disk_shim_fault. */
int64_t disk_shim_operations(void);
int64_t disk_shim_injected(void);

struct disk_log *disk_log_new(void);
void disk_log_free(struct disk_log *log);
/* Notes a promise at this place of the log. */
void disk_mark(struct disk_log *log, const struct disk_promise *promise);

#endif
