/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * table: columns of text for a terminal, each as wide as its widest cell.
 */
#ifndef DAEMON_CLIENT_TABLE_H
#define DAEMON_CLIENT_TABLE_H

#include <stdio.h>

#include "daemon/base/text.h"

enum { TABLE_COLUMNS_MAX = 16 };

struct table {
    int columns, rows;
    char **cell; /* rows * columns texts; owned */
    int capacity;
    bool right[TABLE_COLUMNS_MAX]; /* numbers */
    bool failed;                   /* out of memory: table_print says so */
};

/* heads: one per column, a leading '>' aligns the column to the right. */
void table_init(struct table *table, int columns, const char *const *heads);
/* Adds a row; texts[columns], NULL prints as nothing. */
void table_row(struct table *table, const char *const *texts);
void table_print(const struct table *table, FILE *out);
void table_free(struct table *table);

#endif
