/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * mapping_report: a mapping as JSON.
 */
#include "chip/mapping.h"
#include "daemon/base/json.h"

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

cJSON *mapping_report(const struct mapping *m, const struct network *network)
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
    return root;
}
