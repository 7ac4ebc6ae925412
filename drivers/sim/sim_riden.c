/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * sim_riden: buck converters with a Modbus port: Riden RD6006 and RDTech DPS5005 (sim_dps.c gives the numbers
 * of the latter). Registers from public drivers [S]; accuracy and settling are [K]. Over-current protection
 * is a threshold of its own: at or below the current limit it trips when the output limits. */
#include "drivers/sim/sim_modbus_supply.h"

#include <math.h>
#include <stdlib.h>

#include "daemon/base/rng.h"
#include "drivers/sim/sim_models.h"
#include "drivers/sim/sim_supply.h"

enum { TRIP_OVP = 1, TRIP_OCP = 2 };
#define OCP_DELAY_S 20e-3 /* [K] */

struct supply_unit {
    struct modbus_supply *supply;
    struct world_source *source;
    uint16_t reg[MODBUS_SUPPLY_REGISTERS]; /* what was written, where nothing else is said */
    bool on;
    int trip;
    double gain_v, offset_v, gain_a, offset_a; /* of setting and reading alike: one converter */
};

struct modbus_supply {
    struct modbus_server server; /* first */
    const struct modbus_supply_data *data;
    struct world *world;
    uint32_t serial;
    struct supply_unit unit[MODBUS_UNITS_MAX];
};

static double volts(const struct supply_unit *u, int address)
{
    return u->reg[address] * u->supply->data->step_v;
}

static double amperes(const struct supply_unit *u, int address)
{
    return u->reg[address] * u->supply->data->step_a;
}

static void apply(struct supply_unit *u)
{
    const struct modbus_supply_data *d = u->supply->data;
    double limit_a = amperes(u, d->set_a), ocp_a = amperes(u, d->ocp);
    struct world_source_state state = {
        .on = u->on,
        .set_v = volts(u, d->set_v) * (1 + u->gain_v) + (u->reg[d->set_v] ? u->offset_v : 0),
        .limit_a = fmax(fmin(limit_a, ocp_a) * (1 + u->gain_a) + u->offset_a, 1e-6),
        .ovp_v = volts(u, d->ovp),
        .ocp = ocp_a <= limit_a,
        .ocp_delay_s = OCP_DELAY_S,
        .tau_s = d->tau_s,
        .off_ohm = d->off_ohm,
    };
    world_source_set(u->supply->world, u->source, &state);
}

static void on_trip(void *context, int channel, int trip)
{
    struct modbus_supply *s = context;
    struct supply_unit *u = &s->unit[channel - 1];
    u->on = false;
    u->trip = trip == WORLD_TRIP_OVP ? TRIP_OVP : TRIP_OCP;
}

/* Measured value in steps, as a 16-bit register has it. */
static uint16_t steps(double value, double step)
{
    return (uint16_t)fmin(fmax(round(value / step), 0), UINT16_MAX);
}

static double measured_volt(const struct supply_unit *u)
{
    return (world_source_volt(u->supply->world, u->source) - u->offset_v) / (1 + u->gain_v);
}

static double measured_ampere(const struct supply_unit *u)
{
    return (world_source_current(u->supply->world, u->source) - u->offset_a) / (1 + u->gain_a);
}

static int on_read(void *device, int unit, int function, int address, uint16_t *ret_value)
{
    struct modbus_supply *s = device;
    const struct modbus_supply_data *d = s->data;
    struct supply_unit *u = &s->unit[unit];
    if (function != 3)
        return MODBUS_ILLEGAL_FUNCTION;
    if (address < 0 || address >= MODBUS_SUPPLY_REGISTERS)
        return MODBUS_ILLEGAL_ADDRESS;
    uint16_t value = u->reg[address];
    if (address == d->id)
        value = d->model_id;
    else if (address == d->serial || address == d->serial + 1)
        value = (uint16_t)(s->serial >> (address == d->serial ? 16 : 0));
    else if (address == d->firmware)
        value = d->version;
    else if (address == d->out_v)
        value = steps(measured_volt(u), d->step_v);
    else if (address == d->out_a)
        value = steps(measured_ampere(u), d->step_a);
    else if (address == d->out_w)
        value = steps(measured_volt(u) * measured_ampere(u), 0.01);
    else if (address == d->in_v)
        value = steps(d->input_v, 0.01);
    else if (address == d->protection)
        value = (uint16_t)u->trip;
    else if (address == d->mode)
        value = u->on && world_source_limiting(s->world, u->source);
    else if (address == d->output)
        value = u->on;
    *ret_value = value;
    return 0;
}

static bool read_only(const struct modbus_supply_data *d, int address)
{
    const int fixed[] = { d->id,    d->serial, d->serial + 1, d->firmware,   d->out_v,
                          d->out_a, d->out_w,  d->in_v,       d->protection, d->mode };
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++) {
        if (fixed[i] == address)
            return true;
    }
    return false;
}

static int on_write(void *device, int unit, int address, uint16_t value)
{
    struct modbus_supply *s = device;
    const struct modbus_supply_data *d = s->data;
    struct supply_unit *u = &s->unit[unit];
    if (address < 0 || address >= MODBUS_SUPPLY_REGISTERS || read_only(d, address))
        return MODBUS_ILLEGAL_ADDRESS;
    if ((address == d->set_v && value > d->max_set_v) || (address == d->set_a && value > d->max_set_a))
        return MODBUS_ILLEGAL_VALUE;
    if (address == d->output) {
        u->on = value != 0;
        u->trip = 0; /* writing the switch forgets a trip */
    } else {
        u->reg[address] = value;
    }
    apply(u);
    return 0;
}

static void reset(void *device, int unit)
{
    struct modbus_supply *s = device;
    const struct modbus_supply_data *d = s->data;
    struct supply_unit *u = &s->unit[unit];
    u->on = false;
    u->trip = 0;
    for (int i = 0; i < MODBUS_SUPPLY_REGISTERS; i++)
        u->reg[i] = 0;
    u->reg[d->set_v] = (uint16_t)lround(5 / d->step_v);
    u->reg[d->set_a] = (uint16_t)lround(1 / d->step_a);
    u->reg[d->ovp] = (uint16_t)lround(d->default_ovp_v / d->step_v);
    u->reg[d->ocp] = (uint16_t)lround(d->default_ocp_a / d->step_a);
    apply(u);
}

/* ---- The device ---- */
static const struct modbus_server_model SERVER = {
    .read = on_read, .write = on_write, .reset = reset, .pace_s = 4e-3
};

static int add_unit(struct modbus_supply *s, int i, const struct sim_device_setup *setup, struct error *err)
{
    struct supply_unit *u = &s->unit[i];
    struct world_source_options options = {
        .instrument = setup->name, .channel = i + 1, .on_trip = on_trip, .context = s
    };
    for (int w = 0; w < setup->wire_count; w++) {
        if (setup->wire[w].channel == i + 1) {
            options.net = setup->wire[w].net;
            options.lead_ohm = setup->wire[w].lead_ohm;
        }
    }
    uint64_t entity = rng_entity(setup->name), n = (uint64_t)i;
    u->supply = s;
    u->gain_v = supply_error(setup->seed, "gain_v", entity, n, s->data->gain);
    u->offset_v = supply_error(setup->seed, "offset_v", entity, n, 2 * s->data->step_v);
    u->gain_a = supply_error(setup->seed, "gain_a", entity, n, s->data->gain);
    u->offset_a = supply_error(setup->seed, "offset_a", entity, n, 2 * s->data->step_a);
    return world_source_add(setup->world, &options, &u->source, err);
}

int modbus_supply_open(const struct modbus_supply_data *data, const struct sim_device_setup *setup,
                       void **ret_device, struct error *err)
{
    struct modbus_supply *s = calloc(1, sizeof *s);
    if (!s)
        return error_set(err, ERR_MEMORY, "supply %s", setup->name);
    int code = modbus_server_init(&s->server, &SERVER, setup, err);
    s->data = data;
    s->world = setup->world;
    s->serial = (uint32_t)(rng_entity(setup->name) % 100000000);
    for (int i = 0; i < s->server.units && !code; i++) {
        code = add_unit(s, i, setup, err);
        if (!code)
            reset(s, i);
    }
    if (code) {
        free(s);
        return code;
    }
    *ret_device = s;
    return 0;
}

void modbus_supply_close(void *device)
{
    free(device);
}

/* ---- RD6006 ---- */
static const struct modbus_supply_data rd6006 = {
    .model_id = 60062,
    .version = 128,
    .step_v = 0.01,
    .step_a = 0.001,
    .max_set_v = 6000,
    .max_set_a = 6000,
    .default_ovp_v = 62,
    .default_ocp_a = 6.2,
    .input_v = 64,
    .gain = 0.003,
    .tau_s = 2e-3,
    .off_ohm = 1e3,
    .id = 0,
    .serial = 1,
    .firmware = 3,
    .set_v = 8,
    .set_a = 9,
    .out_v = 10,
    .out_a = 11,
    .out_w = 13,
    .in_v = 14,
    .protection = 16,
    .mode = 17,
    .output = 18,
    .ovp = 82,
    .ocp = 83,
};

static int open_riden(const struct sim_device_setup *setup, void **ret_device, struct error *err)
{
    return modbus_supply_open(&rd6006, setup, ret_device, err);
}

const struct sim_device_model sim_riden = {
    .name = "rd6006",
    .default_link = SIM_LINK_PTY,
    .clients_max = 1,
    .ops = { .on_bytes = modbus_server_bytes,
             .on_close = modbus_server_gone,
             .on_reboot = modbus_server_reboot },
    .open = open_riden,
    .attach = modbus_server_attach,
    .close = modbus_supply_close,
};
