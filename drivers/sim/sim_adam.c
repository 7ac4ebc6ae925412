/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * sim_adam: Advantech ADAM-4017+ (eight analog inputs, option "nets") and ADAM-4024 (four analog outputs,
 * wired as the bench file says). Registers [S in part]: values from 0, ranges from 200, name at 210, version
 * at 212. The inputs count 0 .. 65535 over -10 .. 10 V, the outputs 0 .. 4095 over 0 .. 10 V [K]. */
#include <math.h>
#include <stdlib.h>

#include "daemon/base/rng.h"
#include "drivers/sim/modbus_server.h"
#include "drivers/sim/sim_inputs.h"
#include "drivers/sim/sim_models.h"
#include "drivers/sim/sim_supply.h"

enum {
    INPUTS = 8,
    OUTPUTS = 4,
    RANGE_AT = 200,
    NAME_AT = 210,
    VERSION_AT = 212,
    VERSION = 0x0123,
    RANGE_10V = 8, /* -10 .. 10 V */
    OUTPUT_MAX = 4095
};
#define OUTPUT_LIMIT_A 5e-3 /* [K] */

struct adam {
    struct modbus_server server; /* first */
    struct world *world;
    int name, channels;
    struct sim_inputs inputs;
    struct world_source *output[OUTPUTS];
    uint16_t code[OUTPUTS];
    double gain[OUTPUTS], offset_v[OUTPUTS];
};

static uint16_t value_of(const struct adam *a, int i)
{
    if (a->name == 0x4024)
        return a->code[i];
    double volt = fmin(fmax(sim_inputs_volt(&a->inputs, i), -10), 10);
    return (uint16_t)lround((volt + 10) / 20 * 65535);
}

static int on_read(void *device, int unit, int function, int address, uint16_t *ret_value)
{
    const struct adam *a = device;
    (void)unit;
    if (function != 3)
        return MODBUS_ILLEGAL_FUNCTION;
    if (address >= 0 && address < a->channels)
        *ret_value = value_of(a, address);
    else if (address >= RANGE_AT && address < RANGE_AT + a->channels)
        *ret_value = RANGE_10V;
    else if (address == NAME_AT)
        *ret_value = (uint16_t)a->name;
    else if (address == VERSION_AT)
        *ret_value = VERSION;
    else
        return MODBUS_ILLEGAL_ADDRESS;
    return 0;
}

static void drive(struct adam *a, int i, uint16_t code)
{
    double volt = 10.0 * code / OUTPUT_MAX;
    struct world_source_state state = { .on = true,
                                        .set_v = code ? volt * (1 + a->gain[i]) + a->offset_v[i] : 0,
                                        .limit_a = OUTPUT_LIMIT_A,
                                        .tau_s = 1e-3,
                                        .off_ohm = 1e3 };
    a->code[i] = code;
    world_source_set(a->world, a->output[i], &state);
}

static int on_write(void *device, int unit, int address, uint16_t value)
{
    struct adam *a = device;
    (void)unit;
    if (a->name != 0x4024 || address < 0 || address >= OUTPUTS)
        return MODBUS_ILLEGAL_ADDRESS;
    if (value > OUTPUT_MAX)
        return MODBUS_ILLEGAL_VALUE;
    drive(a, address, value);
    return 0;
}

/* Outputs come back at 0 V. */
static void reset(void *device, int unit)
{
    struct adam *a = device;
    (void)unit;
    for (int i = 0; a->name == 0x4024 && i < OUTPUTS; i++)
        drive(a, i, 0);
}

static const struct modbus_server_model SERVER = {
    .read = on_read, .write = on_write, .reset = reset, .pace_s = 3e-3
};

static int add_output(struct adam *a, int i, const struct sim_device_setup *setup, struct error *err)
{
    struct world_source_options options = { .instrument = setup->name, .channel = i + 1 };
    uint64_t entity = rng_entity(setup->name);
    for (int w = 0; w < setup->wire_count; w++) {
        if (setup->wire[w].channel == i + 1) {
            options.net = setup->wire[w].net;
            options.lead_ohm = setup->wire[w].lead_ohm;
        }
    }
    a->gain[i] = supply_error(setup->seed, "gain", entity, (uint64_t)i, 0.001);
    a->offset_v[i] = supply_error(setup->seed, "offset", entity, (uint64_t)i, 0.002);
    int code = world_source_add(setup->world, &options, &a->output[i], err);
    if (!code)
        drive(a, i, 0);
    return code;
}

static int open_adam(int name, const struct sim_device_setup *setup, void **ret_device, struct error *err)
{
    struct adam *a = calloc(1, sizeof *a);
    if (!a)
        return error_set(err, ERR_MEMORY, "%s", setup->name);
    a->name = name;
    a->channels = name == 0x4024 ? OUTPUTS : INPUTS;
    a->world = setup->world;
    int code = modbus_server_init(&a->server, &SERVER, setup, err);
    if (!code && a->server.units != 1)
        code = error_set(err, ERR_INVALID, "%s: one module has one address", setup->name);
    if (!code && name == 0x4017)
        code = sim_inputs_init(&a->inputs, setup, INPUTS, 0.001, 0.002, err);
    for (int i = 0; i < OUTPUTS && name == 0x4024 && !code; i++)
        code = add_output(a, i, setup, err);
    if (code) {
        free(a);
        return code;
    }
    *ret_device = a;
    return 0;
}

static int open_4017(const struct sim_device_setup *setup, void **ret_device, struct error *err)
{
    return open_adam(0x4017, setup, ret_device, err);
}

static int open_4024(const struct sim_device_setup *setup, void **ret_device, struct error *err)
{
    return open_adam(0x4024, setup, ret_device, err);
}

#define ADAM(model_name, opener)                                                                             \
    {                                                                                                        \
        .name = model_name, .default_link = SIM_LINK_PTY, .clients_max = 1,                                  \
        .ops = { .on_bytes = modbus_server_bytes,                                                            \
                 .on_close = modbus_server_gone,                                                             \
                 .on_reboot = modbus_server_reboot },                                                        \
        .open = opener, .attach = modbus_server_attach, .close = free,                                       \
    }

const struct sim_device_model sim_adam_4017 = ADAM("adam-4017", open_4017);
const struct sim_device_model sim_adam_4024 = ADAM("adam-4024", open_4024);
