/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * table: columns of text for a terminal.
 */
#include "daemon/client/table.h"

#include <stdlib.h>
#include <string.h>

void table_init(struct table *table, int columns, const char *const *heads)
{
    const char *plain[TABLE_COLUMNS_MAX];

    memset(table, 0, sizeof *table);
    table->columns = columns < TABLE_COLUMNS_MAX ? columns : TABLE_COLUMNS_MAX;
    for (int i = 0; i < table->columns; i++) {
        table->right[i] = heads[i][0] == '>';
        plain[i] = heads[i] + table->right[i];
    }
    table_row(table, plain);
}

void table_row(struct table *table, const char *const *texts)
{
    if (table->rows == table->capacity) {
        int capacity = table->capacity > 0 ? 2 * table->capacity : 16;
        char **cell = realloc(table->cell, (size_t)capacity * (size_t)table->columns * sizeof *cell);

        if (cell == NULL) {
            table->failed = true;
            return;
        }
        table->cell = cell;
        table->capacity = capacity;
    }
    for (int i = 0; i < table->columns; i++) {
        char *copy = strdup(texts[i] != NULL ? texts[i] : "");

        table->failed |= copy == NULL;
        table->cell[table->rows * table->columns + i] = copy;
    }
    table->rows++;
}

static const char *cell_at(const struct table *table, int row, int column)
{
    const char *text = table->cell[row * table->columns + column];

    return text != NULL ? text : "?";
}

void table_print(const struct table *table, FILE *out)
{
    int width[TABLE_COLUMNS_MAX] = { 0 };

    for (int row = 0; row < table->rows; row++)
        for (int i = 0; i < table->columns; i++) {
            int length = (int)strlen(cell_at(table, row, i));

            width[i] = length > width[i] ? length : width[i];
        }
    for (int row = 0; row < table->rows; row++) {
        int columns = table->columns;

        while (columns > 1 && cell_at(table, row, columns - 1)[0] == '\0')
            columns--; /* no spaces at the end of a line */
        for (int i = 0; i < columns; i++) {
            bool last = i == columns - 1;
            int padding = table->right[i] ? width[i] : last ? 0 : -width[i];

            fprintf(out, "%*s%s", padding, cell_at(table, row, i), last ? "\n" : "  ");
        }
    }
    if (table->failed)
        fputs("(rows are missing: out of memory)\n", out);
}

void table_free(struct table *table)
{
    for (int i = 0; i < table->rows * table->columns; i++)
        free(table->cell[i]);
    free(table->cell);
    memset(table, 0, sizeof *table);
}
