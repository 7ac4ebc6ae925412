/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * store: opens a store file for its one writer or for a reader, with every pragma that durability and safety
 * need. */
#ifndef DB_STORE_H
#define DB_STORE_H

#include <stddef.h>

#include "daemon/base/error.h"

struct store;
struct sqlite3;

/* The writer waits long for somebody who holds the file (a person's VACUUM): the queue fills and the sweep
 * slows down, but nothing is lost. */
enum { STORE_WRITER_BUSY_MS = 60000, STORE_READER_BUSY_MS = 5000, STORE_WAL_BYTES = 16 << 20 };
/* The log is copied into the store when it has grown by so much. Somebody who reads for long keeps it from
 * starting over: it grows, is complained about, and at last nothing more is written until he has done. */
#define STORE_CHECKPOINT_BYTES (4LL << 20)
#define STORE_WAL_ALARM_BYTES  (256LL << 20)
#define STORE_WAL_MAX_BYTES    (8LL << 30)

/* Creates the file when it is absent; brings the schema up to date. A second writer is refused. */
int store_open_writer(const char *path, struct store **ret_store, struct error *err);
/* Read only; never creates or changes anything. */
int store_open_reader(const char *path, struct store **ret_store, struct error *err);
/* NULL is a no-op. */
void store_close(struct store *store);
/* After a commit: copies the log into the store when it is time. A reader in the way is no error. */
int store_checkpoint(struct store *store, struct error *err);
/* Gives back the memory of cached pages, which otherwise grows for weeks up to SQLite's limit. */
void store_release_cache(struct store *store);
/* How long the writer, which opens with STORE_WRITER_BUSY_MS, waits for another program's lock from here on.
 */
void store_set_patience(struct store *store, int ms);
/* Size of the log as of the last commit. */
int64_t store_wal_bytes(const struct store *store);
/* For db/ only. */
struct sqlite3 *store_handle(struct store *store);
const char *store_path(const struct store *store);
/* "<store>.traces/<ulid>.trace" into out. */
void store_trace_path(const char *store_path_text, const char *ulid, char *out, size_t size);

#endif
