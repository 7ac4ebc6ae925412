/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * disk_shim: the VFS. It calls the real one for everything but fsync, which costs time and proves nothing
 * here: what is durable is decided by disk_image from the record. */
#include "tests/fault/disk_shim.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct shim_file {
    sqlite3_file base;
    sqlite3_file *real;
    int number; /* in the log; -1: not recorded */
    bool folder_sync;
};

/* One shim per process, as SQLite's list of VFSes is: the only global of these tests. */
static struct {
    pthread_mutex_t mutex; /* guards fault, operations, injected, bytes */
    sqlite3_vfs vfs, *real;
    struct disk_log *log;
    char folder[DISK_PATH_MAX];
    struct disk_fault fault;
    int64_t operations, injected, bytes;
} shim = { .mutex = PTHREAD_MUTEX_INITIALIZER, .fault = { .countdown = -1 } };

static struct shim_file *shim_of(sqlite3_file *file)
{
    return (struct shim_file *)(void *)file;
}

/* ---- Faults ---- */

/* True when this operation is to fail. `grows`: bytes that the file gains. */
static int verdict_on(bool is_sync, int64_t grows, int failure)
{
    int rc = SQLITE_OK;

    pthread_mutex_lock(&shim.mutex);
    if (!shim.fault.sync_only || is_sync) {
        shim.operations++;
        if (shim.fault.countdown == 0)
            rc = failure;
        if (shim.fault.countdown > 0 || (shim.fault.countdown == 0 && !shim.fault.sticky))
            shim.fault.countdown--;
    }
    if (rc == SQLITE_OK && grows > 0 && shim.fault.quota_bytes > 0 &&
        shim.bytes + grows > shim.fault.quota_bytes)
        rc = SQLITE_FULL;
    if (rc == SQLITE_OK)
        shim.bytes += grows;
    else
        shim.injected++;
    pthread_mutex_unlock(&shim.mutex);
    return rc;
}

void disk_shim_fault(const struct disk_fault *fault)
{
    pthread_mutex_lock(&shim.mutex);
    shim.fault = *fault;
    shim.operations = shim.injected = shim.bytes = 0;
    pthread_mutex_unlock(&shim.mutex);
}

int64_t disk_shim_operations(void)
{
    pthread_mutex_lock(&shim.mutex);
    int64_t n = shim.operations;
    pthread_mutex_unlock(&shim.mutex);
    return n;
}

int64_t disk_shim_injected(void)
{
    pthread_mutex_lock(&shim.mutex);
    int64_t n = shim.injected;
    pthread_mutex_unlock(&shim.mutex);
    return n;
}

/* ---- The log ---- */

static void fatal(const char *what)
{
    fprintf(stderr, "disk_shim: %s\n", what);
    exit(2);
}

struct disk_log *disk_log_new(void)
{
    struct disk_log *log = calloc(1, sizeof *log);

    if (log == NULL)
        fatal("no memory");
    pthread_mutex_init(&log->mutex, NULL);
    return log;
}

void disk_log_free(struct disk_log *log)
{
    if (log == NULL)
        return;
    for (int i = 0; i < log->ops; i++)
        free(log->op[i].data);
    free(log->op);
    pthread_mutex_destroy(&log->mutex);
    free(log);
}

/* Called with the log's mutex held. */
static struct disk_op *append(struct disk_log *log)
{
    if (log->ops == log->capacity) {
        log->capacity = log->capacity == 0 ? 1024 : log->capacity * 2;
        log->op = realloc(log->op, (size_t)log->capacity * sizeof *log->op);
        if (log->op == NULL)
            fatal("no memory");
    }
    log->op[log->ops] = (struct disk_op){ 0 };
    return &log->op[log->ops++];
}

static void note(int file, enum disk_op_kind kind, int64_t offset, int64_t size, const void *data)
{
    struct disk_op *op;

    if (shim.log == NULL || file < 0)
        return;
    pthread_mutex_lock(&shim.log->mutex);
    op = append(shim.log);
    op->kind = kind;
    op->file = file;
    op->offset = offset;
    op->size = size;
    if (data != NULL) {
        op->data = malloc((size_t)size);
        if (op->data == NULL)
            fatal("no memory");
        memcpy(op->data, data, (size_t)size);
    }
    pthread_mutex_unlock(&shim.log->mutex);
}

void disk_mark(struct disk_log *log, const struct disk_promise *promise)
{
    struct disk_op *op;

    pthread_mutex_lock(&log->mutex);
    op = append(log);
    op->kind = DISK_MARK;
    op->promise = *promise;
    pthread_mutex_unlock(&log->mutex);
}

/* Number of a path below the recorded folder, or -1. */
static int name_of(struct disk_log *log, const char *path)
{
    size_t length = strlen(shim.folder);

    if (path == NULL || strncmp(path, shim.folder, length) != 0 || path[length] != '/')
        return -1;
    path += length + 1;
    for (int i = 0; i < log->names; i++) {
        if (strcmp(log->name[i], path) == 0)
            return i;
    }
    if (log->names == DISK_FILES_MAX || strlen(path) >= DISK_PATH_MAX)
        fatal("too many files");
    snprintf(log->name[log->names], DISK_PATH_MAX, "%s", path);
    log->current[log->names] = -1;
    return log->names++;
}

/* The file that a path means, created in the log when it is new. */
static int enter_file(const char *path)
{
    struct disk_log *log = shim.log;
    struct disk_op *op;
    int name, file;

    if (log == NULL)
        return -1;
    pthread_mutex_lock(&log->mutex);
    name = name_of(log, path);
    file = name < 0 ? -1 : log->current[name];
    if (name >= 0 && file < 0) {
        if (log->files == DISK_FILES_MAX)
            fatal("too many files");
        file = log->current[name] = log->files++;
        op = append(log);
        op->kind = DISK_CREATE;
        op->file = file;
        op->name = name;
    }
    pthread_mutex_unlock(&log->mutex);
    return file;
}

void disk_shim_record(struct disk_log *log, const char *folder)
{
    shim.log = log;
    snprintf(shim.folder, sizeof shim.folder, "%s", folder == NULL ? "" : folder);
}

/* ---- Files ---- */

static int shim_close(sqlite3_file *file)
{
    sqlite3_file *real = shim_of(file)->real;

    return real->pMethods == NULL ? SQLITE_OK : real->pMethods->xClose(real);
}

static int shim_read(sqlite3_file *file, void *data, int size, sqlite3_int64 offset)
{
    sqlite3_file *real = shim_of(file)->real;
    int rc = verdict_on(false, 0, SQLITE_IOERR_READ);

    return rc != SQLITE_OK ? rc : real->pMethods->xRead(real, data, size, offset);
}

static int shim_write(sqlite3_file *file, const void *data, int size, sqlite3_int64 offset)
{
    struct shim_file *f = shim_of(file);
    sqlite3_int64 length = 0, grows;
    int rc = f->real->pMethods->xFileSize(f->real, &length);

    grows = offset + size > length ? offset + size - length : 0;
    if (rc == SQLITE_OK)
        rc = verdict_on(false, grows, SQLITE_IOERR_WRITE);
    if (rc == SQLITE_OK)
        rc = f->real->pMethods->xWrite(f->real, data, size, offset);
    if (rc == SQLITE_OK)
        note(f->number, DISK_WRITE, offset, size, data);
    return rc;
}

static int shim_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    struct shim_file *f = shim_of(file);
    int rc = verdict_on(false, 0, SQLITE_IOERR_TRUNCATE);

    if (rc == SQLITE_OK)
        rc = f->real->pMethods->xTruncate(f->real, size);
    if (rc == SQLITE_OK)
        note(f->number, DISK_TRUNCATE, 0, size, NULL);
    return rc;
}

static int shim_sync(sqlite3_file *file, int flags)
{
    struct shim_file *f = shim_of(file);
    int rc = verdict_on(true, 0, SQLITE_IOERR_FSYNC);

    (void)flags;
    if (rc != SQLITE_OK)
        return rc;
    note(f->number, DISK_SYNC, 0, f->folder_sync, NULL);
    f->folder_sync = false;
    return SQLITE_OK;
}

static int shim_size(sqlite3_file *file, sqlite3_int64 *size)
{
    sqlite3_file *real = shim_of(file)->real;

    return real->pMethods->xFileSize(real, size);
}

static int shim_lock(sqlite3_file *file, int level)
{
    sqlite3_file *real = shim_of(file)->real;

    return real->pMethods->xLock(real, level);
}

static int shim_unlock(sqlite3_file *file, int level)
{
    sqlite3_file *real = shim_of(file)->real;

    return real->pMethods->xUnlock(real, level);
}

static int shim_check_lock(sqlite3_file *file, int *held)
{
    sqlite3_file *real = shim_of(file)->real;

    return real->pMethods->xCheckReservedLock(real, held);
}

static int shim_control(sqlite3_file *file, int op, void *data)
{
    sqlite3_file *real = shim_of(file)->real;

    /* These two would change a file behind the record. */
    if (op == SQLITE_FCNTL_SIZE_HINT || op == SQLITE_FCNTL_CHUNK_SIZE)
        return SQLITE_OK;
    return real->pMethods->xFileControl(real, op, data);
}

static int shim_sector(sqlite3_file *file)
{
    sqlite3_file *real = shim_of(file)->real;

    return real->pMethods->xSectorSize(real);
}

static int shim_traits(sqlite3_file *file)
{
    sqlite3_file *real = shim_of(file)->real;

    return real->pMethods->xDeviceCharacteristics(real);
}

static int shim_shm_map(sqlite3_file *file, int page, int size, int extend, void volatile **at)
{
    sqlite3_file *real = shim_of(file)->real;
    int rc = verdict_on(false, 0, SQLITE_IOERR_SHMMAP);

    return rc != SQLITE_OK ? rc : real->pMethods->xShmMap(real, page, size, extend, at);
}

static int shim_shm_lock(sqlite3_file *file, int offset, int n, int flags)
{
    sqlite3_file *real = shim_of(file)->real;

    return real->pMethods->xShmLock(real, offset, n, flags);
}

static void shim_shm_barrier(sqlite3_file *file)
{
    sqlite3_file *real = shim_of(file)->real;

    real->pMethods->xShmBarrier(real);
}

static int shim_shm_unmap(sqlite3_file *file, int delete_it)
{
    sqlite3_file *real = shim_of(file)->real;

    return real->pMethods->xShmUnmap(real, delete_it);
}

static const sqlite3_io_methods METHODS = {
    .iVersion = 2, /* no memory mapping: writes through it would not be seen */
    .xClose = shim_close,
    .xRead = shim_read,
    .xWrite = shim_write,
    .xTruncate = shim_truncate,
    .xSync = shim_sync,
    .xFileSize = shim_size,
    .xLock = shim_lock,
    .xUnlock = shim_unlock,
    .xCheckReservedLock = shim_check_lock,
    .xFileControl = shim_control,
    .xSectorSize = shim_sector,
    .xDeviceCharacteristics = shim_traits,
    .xShmMap = shim_shm_map,
    .xShmLock = shim_shm_lock,
    .xShmBarrier = shim_shm_barrier,
    .xShmUnmap = shim_shm_unmap,
};

/* ---- The VFS ---- */

static int shim_open(sqlite3_vfs *vfs, const char *path, sqlite3_file *file, int flags, int *ret_flags)
{
    struct shim_file *f = shim_of(file);
    int exists = 1, rc = verdict_on(false, 0, SQLITE_CANTOPEN);

    (void)vfs;
    *f = (struct shim_file){ .number = -1 };
    f->real = (sqlite3_file *)(void *)(f + 1);
    f->real->pMethods = NULL;
    if (rc != SQLITE_OK)
        return rc;
    if (path != NULL)
        shim.real->xAccess(shim.real, path, SQLITE_ACCESS_EXISTS, &exists);
    rc = shim.real->xOpen(shim.real, path, f->real, flags, ret_flags);
    if (rc != SQLITE_OK)
        return rc;
    f->number = enter_file(path);
    /* As the real one: the folder is synced with the first sync of a new journal or log. */
    f->folder_sync =
        !exists && (flags & (SQLITE_OPEN_MAIN_JOURNAL | SQLITE_OPEN_SUPER_JOURNAL | SQLITE_OPEN_WAL));
    f->base.pMethods = &METHODS;
    return SQLITE_OK;
}

static int shim_delete(sqlite3_vfs *vfs, const char *path, int sync_folder)
{
    int rc = verdict_on(false, 0, SQLITE_IOERR_DELETE);
    struct disk_log *log = shim.log;

    (void)vfs;
    if (rc == SQLITE_OK)
        rc = shim.real->xDelete(shim.real, path, 0);
    if (rc != SQLITE_OK || log == NULL)
        return rc;
    pthread_mutex_lock(&log->mutex);
    int name = name_of(log, path);
    if (name >= 0) {
        struct disk_op *op = append(log);

        op->kind = DISK_DELETE;
        op->name = name;
        op->file = log->current[name];
        op->size = sync_folder != 0;
        log->current[name] = -1;
    }
    pthread_mutex_unlock(&log->mutex);
    return rc;
}

int disk_shim_install(void)
{
    shim.real = sqlite3_vfs_find(NULL);
    shim.vfs = *shim.real;
    shim.vfs.zName = "nightbench-shim";
    shim.vfs.szOsFile = (int)sizeof(struct shim_file) + shim.real->szOsFile;
    shim.vfs.pNext = NULL;
    shim.vfs.xOpen = shim_open;
    shim.vfs.xDelete = shim_delete;
    return sqlite3_vfs_register(&shim.vfs, 1) == SQLITE_OK ? 0 : -1;
}
