/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * mapping_report: a mapping as text for people and as JSON for pages.
 */
#include <stdlib.h>

#include "chip/mapping.h"
#include "daemon/base/json.h"
#include "daemon/base/text.h"

char *mapping_report_text(const struct mapping *m, const struct network *network)
{
    struct strbuf out = { NULL, 0, 0, false };
    int core_cells = m->rows * m->columns;

    strbuf_add(&out,
               "%s: %lld of %lld cells (%.1f %%), %d blocks in %d stages, %lld MVMs and %lld conversions per "
               "inference\n",
               network->name, (long long)m->cells, (long long)m->cells_available,
               100.0 * (double)m->cells / (double)m->cells_available, m->block_count, m->stage_count,
               (long long)m->mvms, (long long)m->conversions);
    for (int core = 0; core < m->core_count; core++)
        strbuf_add(&out, "core %d: %5d of %d cells (%5.1f %%), %4d bytes of data memory, %2d norms\n", core,
                   m->core_cells[core], core_cells, 100.0 * m->core_cells[core] / core_cells,
                   m->core_memory[core], m->core_norms[core]);
    for (int i = 0; i < m->block_count; i++) {
        const struct mapping_block *b = &m->block[i];
        const struct mapping_stage *stage = &m->stage[b->stage];
        strbuf_add(&out,
                   "%-8s core %d%s elements %3d-%3d channels %2d-%2d at row %3d column %2d (%d x %d cells)\n",
                   network->layer[stage->layer].name, b->core, b->core == stage->owner ? "*" : " ",
                   b->vector0, b->vector0 + b->rows - 1, b->channel0, b->channel0 + b->channels - 1, b->row0,
                   b->column0, b->rows, b->channels * stage->slices);
    }
    if (out.failed) {
        strbuf_free(&out);
        return NULL;
    }
    return out.text;
}

static cJSON *core_json(const struct mapping *m, int core)
{
    cJSON *object = cJSON_CreateObject();

    json_add_int64(object, "core", core);
    json_add_int64(object, "cells", m->core_cells[core]);
    json_add_number(object, "used", (double)m->core_cells[core] / (m->rows * m->columns));
    json_add_int64(object, "memory_bytes", m->core_memory[core]);
    json_add_int64(object, "norms", m->core_norms[core]);
    return object;
}

static cJSON *block_json(const struct mapping *m, const struct network *network,
                         const struct mapping_block *b)
{
    const struct mapping_stage *stage = &m->stage[b->stage];
    cJSON *object = cJSON_CreateObject();

    cJSON_AddStringToObject(object, "layer", network->layer[stage->layer].name);
    json_add_int64(object, "stage", b->stage);
    json_add_int64(object, "core", b->core);
    cJSON_AddBoolToObject(object, "owner", b->core == stage->owner);
    json_add_int64(object, "vector0", b->vector0);
    json_add_int64(object, "rows", b->rows);
    json_add_int64(object, "channel0", b->channel0);
    json_add_int64(object, "channels", b->channels);
    json_add_int64(object, "row0", b->row0);
    json_add_int64(object, "column0", b->column0);
    json_add_int64(object, "columns", (int64_t)b->channels * stage->slices);
    return object;
}

char *mapping_report_json(const struct mapping *m, const struct network *network)
{
    cJSON *root = cJSON_CreateObject();
    cJSON *cores = cJSON_AddArrayToObject(root, "cores");
    cJSON *blocks = cJSON_AddArrayToObject(root, "blocks");

    cJSON_AddStringToObject(root, "network", network->name);
    cJSON_AddStringToObject(root, "network_hash", network->hash);
    cJSON_AddStringToObject(root, "mapping_hash", m->hash);
    json_add_int64(root, "rows", m->rows);
    json_add_int64(root, "columns", m->columns);
    json_add_int64(root, "cells", m->cells);
    json_add_int64(root, "cells_available", m->cells_available);
    json_add_int64(root, "conversions", m->conversions);
    json_add_int64(root, "mvms", m->mvms);
    json_add_int64(root, "macs", m->macs);
    for (int i = 0; i < m->core_count; i++)
        cJSON_AddItemToArray(cores, core_json(m, i));
    for (int i = 0; i < m->block_count; i++)
        cJSON_AddItemToArray(blocks, block_json(m, network, &m->block[i]));
    char *text = json_print(root, false);
    cJSON_Delete(root);
    return text;
}
