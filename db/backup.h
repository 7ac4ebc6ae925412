/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * backup: a verified copy of a store and its traces, while it is being recorded or not. The file appears
 * under its name only when all of it was read back: integrity, foreign keys, and the hash chain of every
 * trace. */
#ifndef DB_BACKUP_H
#define DB_BACKUP_H

#include "daemon/base/error.h"

struct backup_result {
    int64_t bytes; /* of all files of the backup */
    int64_t runs;
    int traces, missing; /* trace files; those of ended runs that are no longer beside the store */
    char sha256[65];     /* of the store's copy; <file>.sha256 has those of all files */
};

/* Copies db_path to file, its traces to <file>.traces/, and writes <file>.sha256 for sha256sum -c. A file
 * that exists is never overwritten. Needs no daemon and disturbs none: the log of the store grows while it
 * runs. */
int backup_store(const char *db_path, const char *file, struct backup_result *ret_result, struct error *err);

#endif
