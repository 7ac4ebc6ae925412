/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * migrations: the schema as a numbered list of steps. */
#ifndef DB_MIGRATIONS_H
#define DB_MIGRATIONS_H

#include "daemon/base/error.h"

struct sqlite3;

/* "nbdb": marks the file as ours, see file(1) and PRAGMA application_id. */
#define MIGRATIONS_APPLICATION_ID 0x6e626462

/* Number of the newest schema this build knows. */
int migrations_newest(void);
/* Brings a store to that schema, each step in its own transaction. A newer store and a foreign one are
 * refused. */
int migrations_run(struct sqlite3 *db, struct error *err);
/* As that, up to an older schema: what an older build would have left. For tests of the way from there. */
int migrations_run_to(struct sqlite3 *db, int version, struct error *err);
/* For readers: 0 when the store has exactly the schema of this build, else an error that says what to do. */
int migrations_check(struct sqlite3 *db, struct error *err);

#endif
