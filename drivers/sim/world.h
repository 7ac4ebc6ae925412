/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * world: the one physical world behind a virtual bench. Nets (rails of the socket, the analog test bus) with
 * sources, leads, loads and meters; a socket with or without a chip; temperature; damage. Between two events
 * every voltage follows first-order laws, so that charge and energy are integrated in closed form and a meter
 * with an aperture gets the true average. Owned by the simulator's loop thread. */
#ifndef DRIVERS_SIM_WORLD_H
#define DRIVERS_SIM_WORLD_H

#include <stddef.h>

#include "daemon/base/json.h"

enum { WORLD_NETS_MAX = 48, WORLD_SOURCES_MAX = 32, WORLD_NAME_MAX = 32, WORLD_CHARGES_MAX = 4096 };

struct sim_loop;
struct chip_model;
struct chip_setup;
struct world;
struct world_net;
struct world_source;

/* log_path: the judge's log, appended, one line per transition: `t_ns kind net|instrument channel value`.
 * NULL: none. */
int world_open(struct sim_loop *loop, const char *log_path, uint64_t seed, struct world **ret_world,
               struct error *err);
void world_close(struct world *world);

/* ---- Nets ---- */
enum world_net_kind { WORLD_RAIL, WORLD_RAIL_IO, WORLD_BIAS, WORLD_REFERENCE, WORLD_TEST_BUS };
struct world_net_options {
    const char *name;
    int kind;         /* enum world_net_kind */
    double abs_max_v; /* above: damage. 0: none */
    double abs_min_v; /* below: damage (rails: -0.3) */
    double capacitance_f;
};
int world_net_add(struct world *world, const struct world_net_options *options, struct world_net **ret_net,
                  struct error *err);
struct world_net *world_net_find(struct world *world, const char *name); /* NULL when absent */
int world_net_index(const struct world_net *net);
const char *world_net_name(const struct world_net *net);
/* Volts that the chip sees at its pins now: 0 with an open contact or an empty socket. */
double world_volt(struct world *world, const struct world_net *net);
/* Current into the chip, and current that the source delivers, now, in ampere. */
double world_current(struct world *world, const struct world_net *net);

/* ---- Sources: an output of a supply, or a source-measure unit ---- */
struct world_source_state {
    bool on;
    double set_v;   /* programmed, true value at the terminals (the instrument has added its error) */
    double limit_a; /* current limit, magnitude */
    double ovp_v;   /* trips above; 0: none */
    bool ocp;       /* trips when limiting for longer than ocp_delay_s */
    double ocp_delay_s;
    double tau_s;   /* first-order settling of the output */
    double off_ohm; /* what it is when off: a high-impedance output, or a pull-down (bleeder) */
};
enum world_trip { WORLD_TRIP_OVP = 1, WORLD_TRIP_OCP = 2 };
struct world_source_options {
    const char *instrument;
    int channel;
    struct world_net *net; /* NULL: open terminals */
    double lead_ohm;
    bool remote_sense;
    /* Physical protection: the world has already switched the output off. */
    void (*on_trip)(void *context, int channel, int trip);
    void *context;
};
int world_source_add(struct world *world, const struct world_source_options *options,
                     struct world_source **ret_source, struct error *err);
/* Puts a new state in force now; logs what changed. */
void world_source_set(struct world *world, struct world_source *source,
                      const struct world_source_state *state);
/* At its terminals (sense terminals with remote sense). */
double world_source_volt(struct world *world, const struct world_source *source);
double world_source_current(struct world *world, const struct world_source *source);
bool world_source_limiting(struct world *world, const struct world_source *source);
/* Integrals since the world began, as of now: a meter takes them at both ends of its aperture, and their
 * difference over the time between is the true average, whatever happened meanwhile. */
struct world_integrals {
    double t_s;
    double volt_s;  /* at the terminals (sense terminals with remote sense) */
    double coulomb; /* delivered by the source */
};
struct world_integrals world_source_integrals(struct world *world, const struct world_source *source);
struct world_integrals world_net_integrals(struct world *world, const struct world_net *net);

/* ---- The chip's side ---- */
/* `coulomb` flow into net evenly over [t0, t1] (dynamic energy of a run); t0 >= now. */
void world_charge(struct world *world, struct world_net *net, double coulomb, int64_t t0_ns, int64_t t1_ns);
/* The chip's static currents or its test bus have changed: ask again. */
void world_touch(struct world *world);
/* The bridge drives its pins at io_v, or releases them. Driving into an unpowered IO rail damages the chip.
 */
void world_pins(struct world *world, const char *who, bool driven, double io_v);
double world_temperature(struct world *world); /* die, Celsius */
void world_set_ambient(struct world *world, double celsius);
/* Self-heating: kelvin per watt and time constant. 0 K/W switches it off. */
void world_set_thermal(struct world *world, double kelvin_per_watt, double tau_s);
void world_damage(struct world *world, const char *why);
bool world_damaged(const struct world *world);
/* Energy that has entered the chip's pins through a net since the world began, joule; all nets when NULL. */
double world_energy(struct world *world, const struct world_net *net);

/* ---- The socket ---- */
enum world_contact { WORLD_CONTACT_GOOD, WORLD_CONTACT_OPEN, WORLD_CONTACT_SHORT };
/* Chip in the socket; the world opens and closes it by its model. Unplugging keeps the model (its memories
 * are lost by power loss, as in life). */
int world_chip_open(struct world *world, const struct chip_model *model, const struct chip_setup *setup,
                    struct error *err);
void world_plug(struct world *world, bool plugged);
bool world_plugged(const struct world *world);
void world_contact(struct world *world, struct world_net *net, int contact);
/* SPI through the socket: as chip_model.spi; MISO floats high when there is no chip. */
void world_spi(struct world *world, const uint8_t *mosi, size_t mosi_n, uint8_t *miso, size_t rx_n,
               int64_t t_start_ns, double hz, int64_t *ret_end_ns);

/* Level of a line that a logic analyzer is on: a pin that the chip drives, CSN of the bridge (high while its
 * pins are driven), or a rail (high above 0.4 V). Low for what nobody drives. */
bool world_line(struct world *world, const char *name);

/* ---- The judge's side ---- */
void world_log(struct world *world, const char *kind, const char *who, int channel, double value);
/* Owned by the caller. */
cJSON *world_ground_truth(struct world *world);
cJSON *world_outputs(struct world *world);

#endif
