/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * world_chip: the socket and the chip in it: pins, temperature, damage; and the reports for tests. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/clock.h"
#include "drivers/sim/world_private.h"

static const double IO_ALIVE_V = 1.0; /* below that, pads must not be fed */
static const double FEED_HARMLESS_V = 0.3;
static const double LINE_HIGH_V = 0.4;
static const double HEAT_STEP_S = 0.25; /* how often the temperature is looked at */
static const double HEAT_SEEN_C = 0.02; /* a smaller change of the die is not worth new currents */

/* ---- Currents and volts ---- */

static bool chip_sees(const struct world *world, const struct world_net *net)
{
    return world->chip && world->plugged && !net->hidden && net->contact != WORLD_CONTACT_OPEN;
}

void world_pin_volts(const struct world *world, double *rail_v)
{
    for (int i = 0; i < world->net_n; i++)
        rail_v[i] = chip_sees(world, &world->net[i]) && world->net[i].contact == WORLD_CONTACT_GOOD
                        ? world->net[i].v
                        : 0;
}

double world_chip_current(struct world *world, struct world_net *net, double volt)
{
    if (!chip_sees(world, net))
        return 0;
    double rail_v[WORLD_NETS_MAX];
    world_pin_volts(world, rail_v);
    rail_v[net->index] = volt;
    return world->model->rail_current(world->chip, net, rail_v, world->die_c, world->t_ns);
}

void world_tell_chip(struct world *world)
{
    if (!world->chip || !world->model->on_rail_change)
        return;
    double rail_v[WORLD_NETS_MAX];
    world_pin_volts(world, rail_v);
    for (int i = 0; i < world->net_n; i++) {
        struct world_net *net = &world->net[i];
        if (net->hidden || net->told_v == rail_v[i])
            continue;
        net->told_v = rail_v[i];
        world->model->on_rail_change(world->chip, net, rail_v[i], world->t_ns);
    }
}

/* ---- Temperature ---- */

static void on_heat(void *context, int64_t now_ns)
{
    struct world *world = context;
    world->heat_timer = 0;
    double energy_j = world_energy(world, NULL);
    double dt_s = (double)(now_ns - world->heat_ns) * 1e-9;
    double watt = dt_s > 0 ? (energy_j - world->heat_j) / dt_s : 0;
    double target_c = world->ambient_c + watt * world->kelvin_per_watt;
    double step_c = (target_c - world->die_c) * (1 - exp(-dt_s / world->thermal_tau_s));
    world->heat_ns = now_ns;
    world->heat_j = energy_j;
    world->die_c += step_c;
    if (fabs(step_c) > HEAT_SEEN_C)
        world_resolve(world);
    else
        world_heat_start(world);
}

void world_heat_start(struct world *world)
{
    if (world->heat_timer || world->thermal_tau_s <= 0 || !world->plugged)
        return;
    bool powered = false;
    for (int i = 0; i < world->source_n; i++)
        powered = powered || (world->source[i].state.on && !world->source[i].net->hidden);
    if (!powered && fabs(world->die_c - world->ambient_c) < HEAT_SEEN_C)
        return;
    if (world->heat_ns < world->t_ns - (int64_t)(HEAT_STEP_S * 1e9)) {
        world->heat_ns = world->t_ns; /* it slept: the time before was cold */
        world->heat_j = world_energy(world, NULL);
    }
    world->heat_timer = sim_at(world->loop, world->t_ns + (int64_t)(HEAT_STEP_S * 1e9), on_heat, world);
}

double world_temperature(struct world *world)
{
    return world->die_c;
}

void world_set_ambient(struct world *world, double celsius)
{
    world->ambient_c = celsius;
    if (world->thermal_tau_s <= 0)
        world->die_c = celsius;
    world_resolve(world);
}

void world_set_thermal(struct world *world, double kelvin_per_watt, double tau_s)
{
    world->kelvin_per_watt = kelvin_per_watt;
    world->thermal_tau_s = tau_s;
    if (tau_s <= 0)
        world->die_c = world->ambient_c;
}

/* ---- Damage ---- */

void world_damage(struct world *world, const char *why)
{
    if (world->damaged || !world->chip || !world->plugged)
        return;
    world->damaged = true;
    snprintf(world->damage, sizeof world->damage, "%s", why);
    world_log(world, "damage", why, 0, world->die_c);
    if (world->model->on_damage)
        world->model->on_damage(world->chip, why, world->t_ns);
}

bool world_damaged(const struct world *world)
{
    return world->damaged;
}

/* The IO rail's volts at the chip; infinite when the chip has none to protect. */
static double io_volt(const struct world *world)
{
    for (int i = 0; i < world->net_n; i++)
        if (world->net[i].kind == WORLD_RAIL_IO)
            return world->net[i].contact == WORLD_CONTACT_GOOD ? world->net[i].v : 0;
    return INFINITY;
}

void world_check_damage(struct world *world)
{
    if (!world->plugged)
        return;
    char why[160];
    for (int i = 0; i < world->net_n; i++) {
        const struct world_net *net = &world->net[i];
        bool rated = !net->hidden && net->contact == WORLD_CONTACT_GOOD && net->kind != WORLD_TEST_BUS;
        bool over = rated && net->abs_max_v > 0 && net->v > net->abs_max_v;
        bool under = rated && net->abs_max_v > 0 && net->v < net->abs_min_v;
        if (over || under) {
            snprintf(why, sizeof why, "over-voltage:%s:%.3fV", net->name, net->v);
            world_damage(world, why);
        }
        if (net->kind == WORLD_TEST_BUS && io_volt(world) < IO_ALIVE_V)
            for (int s = 0; s < world->source_n; s++)
                if (world->source[s].net == net && world->source[s].state.on &&
                    fabs(net->v) > FEED_HARMLESS_V) {
                    snprintf(why, sizeof why, "fed-while-off:%s:%.3fV", net->name, net->v);
                    world_damage(world, why);
                }
    }
    if (world->pins_driven && world->pins_v > FEED_HARMLESS_V && io_volt(world) < IO_ALIVE_V)
        world_damage(world, "fed-while-off:pins");
}

void world_pins(struct world *world, const char *who, bool driven, double io_v)
{
    world_advance(world);
    if (driven != world->pins_driven)
        world_log(world, "pins", who, 0, driven);
    world->pins_driven = driven;
    world->pins_v = io_v;
    world_check_damage(world);
    if (world->chip && world->plugged && world->model->pins)
        world->model->pins(world->chip, driven, io_v, world->t_ns);
}

/* ---- The socket ---- */

int world_chip_open(struct world *world, const struct chip_model *model, const struct chip_setup *setup,
                    struct error *err)
{
    if (world->chip)
        return error_set(err, ERR_CONFLICT, "the socket has a chip already");
    void *chip = NULL;
    int code = model->open(setup, &chip, err);
    if (code)
        return code;
    world->model = model;
    world->chip = chip;
    world_plug(world, true);
    return 0;
}

void world_plug(struct world *world, bool plugged)
{
    world_advance(world);
    if (plugged != world->plugged)
        world_log(world, "plug", "socket", 0, plugged);
    world->plugged = plugged && world->chip;
    world_resolve(world);
}

bool world_plugged(const struct world *world)
{
    return world->plugged;
}

void world_contact(struct world *world, struct world_net *net, int contact)
{
    world_advance(world);
    net->contact = contact;
    world_log(world, "contact", net->name, 0, contact);
    world_resolve(world);
}

void world_spi(struct world *world, const uint8_t *mosi, size_t mosi_n, uint8_t *miso, size_t rx_n,
               int64_t t_start_ns, double hz, int64_t *ret_end_ns)
{
    world_advance(world);
    if (world->chip && world->plugged) {
        world->model->spi(world->chip, mosi, mosi_n, miso, rx_n, t_start_ns, hz, ret_end_ns);
        return;
    }
    memset(miso, 0xFF, rx_n);
    *ret_end_ns = t_start_ns + (int64_t)((double)(mosi_n + rx_n) * 8e9 / hz);
}

bool world_line(struct world *world, const char *name)
{
    bool level = false;
    world_advance(world);
    if (world->chip && world->plugged && world->model->pin &&
        world->model->pin(world->chip, name, world->t_ns, &level))
        return level;
    if (strcmp(name, "CSN") == 0)
        return world->pins_driven && world->pins_v > LINE_HIGH_V;
    struct world_net *net = world_net_find(world, name);
    return net && net->v > LINE_HIGH_V; /* on the board, whether there is a chip or not */
}

/* ---- Reports ---- */

cJSON *world_ground_truth(struct world *world)
{
    world_advance(world);
    cJSON *root = cJSON_CreateObject();
    json_add_int64(root, "t_ns", world->t_ns);
    json_add_number(root, "temperature_c", world->die_c);
    cJSON_AddBoolToObject(root, "plugged", world->plugged);
    cJSON_AddBoolToObject(root, "damaged", world->damaged);
    cJSON_AddStringToObject(root, "damage", world->damage);
    cJSON_AddBoolToObject(root, "pins_driven", world->pins_driven);
    cJSON *nets = cJSON_AddObjectToObject(root, "nets");
    for (int i = 0; i < world->net_n; i++) {
        const struct world_net *net = &world->net[i];
        if (net->hidden)
            continue;
        cJSON *item = cJSON_AddObjectToObject(nets, net->name);
        json_add_number(item, "volt", net->v);
        json_add_number(item, "ampere", net->chip_a + world_dynamic_current(world, net));
        json_add_number(item, "static_ampere", net->chip_a);
        json_add_number(item, "coulomb", net->chip_coulomb);
        json_add_number(item, "energy_j", net->energy_j);
    }
    json_add_number(root, "energy_j", world_energy(world, NULL));
    if (world->chip && world->model->ground_truth)
        cJSON_AddItemToObject(root, "chip", world->model->ground_truth(world->chip, world->t_ns));
    return root;
}

cJSON *world_outputs(struct world *world)
{
    world_advance(world);
    cJSON *root = cJSON_CreateArray();
    for (int i = 0; i < world->source_n; i++) {
        const struct world_source *source = &world->source[i];
        cJSON *item = cJSON_CreateObject();
        cJSON_AddStringToObject(item, "instrument", source->instrument);
        json_add_int64(item, "channel", source->options.channel);
        cJSON_AddStringToObject(item, "net", source->net->hidden ? "" : source->net->name);
        cJSON_AddBoolToObject(item, "on", source->state.on);
        json_add_number(item, "set_v", source->state.set_v);
        json_add_number(item, "limit_a", source->state.limit_a);
        json_add_number(item, "volt", world_source_volt(world, source));
        json_add_number(item, "ampere", world_source_current(world, source));
        cJSON_AddBoolToObject(item, "limiting", source->limiting);
        cJSON_AddStringToObject(item, "tripped",
                                source->tripped == WORLD_TRIP_OVP   ? "ovp"
                                : source->tripped == WORLD_TRIP_OCP ? "ocp"
                                                                    : "");
        cJSON_AddItemToArray(root, item);
    }
    return root;
}
