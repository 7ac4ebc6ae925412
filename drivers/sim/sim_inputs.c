/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * sim_inputs: nets, and the errors of each input. */
#include "drivers/sim/sim_inputs.h"

#include "daemon/base/rng.h"
#include "drivers/sim/sim_supply.h"

#define INPUT_OHM 1000000.0 /* [K] */

/* An input loads its net like a source that is never on. */
static int add(struct sim_inputs *inputs, int i, const char *net, const struct sim_device_setup *setup,
               struct error *err)
{
    struct world_source_options options = { .instrument = setup->name,
                                            .channel = i + 1,
                                            .net = world_net_find(setup->world, net) };
    struct world_source_state state = { .off_ohm = INPUT_OHM, .limit_a = 1e-9, .tau_s = 1e-6 };
    if (!options.net)
        return error_set(err, ERR_INVALID, "%s: no net '%.40s'", setup->name, net);
    int code = world_source_add(setup->world, &options, &inputs->source[i], err);
    if (!code)
        world_source_set(setup->world, inputs->source[i], &state);
    return code;
}

int sim_inputs_init(struct sim_inputs *inputs, const struct sim_device_setup *setup, int count, double gain,
                    double offset_v, struct error *err)
{
    const cJSON *item, *list = cJSON_GetObjectItemCaseSensitive(setup->options, "nets");
    uint64_t entity = rng_entity(setup->name);
    int i = 0;
    *inputs = (struct sim_inputs){ .world = setup->world, .count = count };
    cJSON_ArrayForEach(item, list)
    {
        if (i == count)
            return error_set(err, ERR_INVALID, "%s: more than %d nets", setup->name, count);
        int code = cJSON_IsString(item) ? add(inputs, i, item->valuestring, setup, err) : 0;
        if (code)
            return code;
        i++;
    }
    for (i = 0; i < count; i++) {
        inputs->gain[i] = supply_error(setup->seed, "gain", entity, (uint64_t)i, gain);
        inputs->offset_v[i] = supply_error(setup->seed, "offset", entity, (uint64_t)i, offset_v);
    }
    return 0;
}

double sim_inputs_volt(const struct sim_inputs *inputs, int i)
{
    double volt = inputs->source[i] ? world_source_volt(inputs->world, inputs->source[i]) : 0;
    return volt * (1 + inputs->gain[i]) + inputs->offset_v[i];
}
