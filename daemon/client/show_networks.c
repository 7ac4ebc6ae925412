/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * show_networks: how the networks of a plan lie on the chip, core by core.
 */
#include <stdio.h>
#include <string.h>

#include "daemon/client/show.h"
#include "daemon/client/table.h"

enum { NUMBER_TEXT = 32, LAYERS_TEXT = 160 };

static const char *number(const cJSON *tree, const char *name, char out[NUMBER_TEXT])
{
    snprintf(out, NUMBER_TEXT, "%.0f", show_number(tree, name));
    return out;
}

/* "conv1, fc1 x4": each layer once, with its blocks on this core. */
static void layers_of(const cJSON *blocks, double core, char out[LAYERS_TEXT])
{
    const char *last = NULL;
    const cJSON *block;
    size_t used = 0;
    int count = 0;

    out[0] = '\0';
    cJSON_ArrayForEach(block, blocks)
    {
        const char *layer = show_text(block, "layer");
        if (show_number(block, "core") != core || used >= LAYERS_TEXT - 1)
            continue;
        bool same = last != NULL && strcmp(last, layer) == 0;
        if (!same && count > 1)
            used += (size_t)snprintf(out + used, LAYERS_TEXT - used, " x%d", count);
        count = same ? count + 1 : 1;
        if (!same && used < LAYERS_TEXT)
            used += (size_t)snprintf(out + used, LAYERS_TEXT - used, "%s%s", last != NULL ? ", " : "", layer);
        last = layer;
    }
    if (count > 1 && used < LAYERS_TEXT)
        snprintf(out + used, LAYERS_TEXT - used, " x%d", count);
}

static void show_network(const cJSON *network, FILE *out)
{
    static const char *const heads[] = { ">CORE", ">CELLS", ">USED", ">MEMORY", ">NORMS", "LAYERS" };
    double cells = show_number(network, "cells"), available = show_number(network, "cells_available");
    struct table table;
    const cJSON *core;

    fprintf(out, "\nnetwork %s: %.0f of %.0f cells (%.1f %%), %.0f MVMs and %.0f conversions per inference\n",
            show_text(network, "network"), cells, available, 100 * cells / available,
            show_number(network, "mvms"), show_number(network, "conversions"));
    table_init(&table, 6, heads);
    cJSON_ArrayForEach(core, cJSON_GetObjectItemCaseSensitive(network, "cores"))
    {
        char index[NUMBER_TEXT], own[NUMBER_TEXT], used[NUMBER_TEXT], memory[NUMBER_TEXT], norms[NUMBER_TEXT];
        char layers[LAYERS_TEXT];

        snprintf(used, sizeof used, "%.1f %%", 100 * show_number(core, "used"));
        layers_of(cJSON_GetObjectItemCaseSensitive(network, "blocks"), show_number(core, "core"), layers);
        table_row(&table, (const char *const[]){ number(core, "core", index), number(core, "cells", own),
                                                 used, number(core, "memory_bytes", memory),
                                                 number(core, "norms", norms), layers });
    }
    table_print(&table, out);
    table_free(&table);
}

void show_networks(const cJSON *plan, FILE *out)
{
    const cJSON *network;

    cJSON_ArrayForEach(network, cJSON_GetObjectItemCaseSensitive(plan, "networks"))
        show_network(network, out);
}
