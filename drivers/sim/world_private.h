/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * world_private: what world.c (nets and sources), world_solve.c (voltages, integrals) and world_chip.c
 * (socket, chip, temperature, damage, reports) share. Nobody else. */
#ifndef DRIVERS_SIM_WORLD_PRIVATE_H
#define DRIVERS_SIM_WORLD_PRIVATE_H

#include <stdio.h>

#include "drivers/sim/chipmodel.h"
#include "drivers/sim/world.h"

struct world_net {
    struct world *world;
    int index, kind, contact;
    char name[WORLD_NAME_MAX];
    double abs_max_v, abs_min_v, capacitance_f;
    bool hidden; /* the open terminals of an unwired output */
    /* The segment since world->t_ns: v(t) = target + (v - target) exp(-t / tau). */
    double v, target_v, tau_s;
    double chip_a; /* static current into the chip, constant over the segment */
    double told_v; /* what the chip was last told */
    /* Integrals up to world->t_ns. */
    double volt_s, chip_coulomb, energy_j;
};

struct world_source {
    struct world_source_options options;
    char instrument[WORLD_NAME_MAX];
    struct world_net *net;
    struct world_source_state state;
    double share_a; /* steady current of the segment, without capacitor and dynamic charge */
    bool limiting;
    int64_t limiting_since_ns;
    int tripped; /* enum world_trip, 0 none; cleared by the next output on */
    double coulomb;
};

struct charge {
    struct world_net *net;
    double coulomb;
    int64_t t0_ns, t1_ns;
};

struct world {
    struct sim_loop *loop;
    FILE *log;
    uint64_t seed;
    struct world_net net[WORLD_NETS_MAX];
    int net_n;
    struct world_source source[WORLD_SOURCES_MAX];
    int source_n;
    struct charge charge[WORLD_CHARGES_MAX];
    int charge_n;
    int64_t t_ns;        /* everything is integrated up to here */
    int64_t step_due_ns; /* CLOCK_NEVER: everything has settled */
    uint64_t step_timer;
    bool solving, dirty;

    const struct chip_model *model;
    void *chip;
    bool plugged, damaged, pins_driven;
    double pins_v;
    char damage[160];

    double ambient_c, die_c, kelvin_per_watt, thermal_tau_s;
    double heat_j; /* energy at the last look at the temperature */
    int64_t heat_ns;
    uint64_t heat_timer;
};

/* world_solve.c */
void world_advance(struct world *world); /* integrates up to now */
void world_resolve(struct world *world); /* after any change: new targets, currents, next step */
double world_node_volt(const struct world_net *net, double after_s);
double world_dynamic_current(const struct world *world, const struct world_net *net);

/* world_chip.c */
void world_pin_volts(const struct world *world, double *rail_v);
double world_chip_current(struct world *world, struct world_net *net, double volt);
void world_check_damage(struct world *world);
void world_tell_chip(struct world *world);
void world_heat_start(struct world *world);

#endif
