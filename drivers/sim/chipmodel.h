/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * chipmodel: what a simulated chip offers to the virtual bench. It sees what a chip sees: volts on its pins,
 * SPI frames, temperature. It gives what a chip gives: currents, bytes, pin levels. Ground truth is for tests
 * alone. */
#ifndef DRIVERS_SIM_CHIPMODEL_H
#define DRIVERS_SIM_CHIPMODEL_H

#include "daemon/base/json.h"
#include "drivers/sim/loop.h"
#include "drivers/sim/world.h"

struct chip_setup {
    const char
        *profile_path; /* "chip": {"profile": path}, resolved against the working directory; "" when none */
    const cJSON *options; /* "chip": {"simulate": {...}} (population parameters); may be NULL */
    uint64_t seed;
    int die;
    struct sim_loop *loop;
    struct world *world; /* nets are found by rail name: world_net_find(world, "VDDD") */
};

struct chip_model {
    const char *name; /* "simulate": {"model": name} */
    int (*open)(const struct chip_setup *setup, void **ret_chip, struct error *err);
    void (*close)(void *chip);

    /* One transaction, CS low to CS high: mosi_n bytes go out, then rx_n bytes are read into miso (the host
     * sends 0x00 meanwhile). It starts at t_start_ns with a bit clock of hz; *ret_end_ns is CS high (start +
     * 8 bits a byte at hz, plus what the model adds). An absent, unpowered or damaged chip leaves MISO
     * floating: 0xFF or 0x00. */
    void (*spi)(void *chip, const uint8_t *mosi, size_t mosi_n, uint8_t *miso, size_t rx_n,
                int64_t t_start_ns, double hz, int64_t *ret_end_ns);
    /* The bridge drives (true) or releases its pins, at level io_v volts. Driving while VDDIO is off is
     * back-powering: the world decides the damage; the chip only learns of it. May be NULL. */
    void (*pins)(void *chip, bool driven, double io_v, int64_t t_ns);

    /* Static current of one rail in ampere, into the chip, with rail_v[i] on net i (world_net_index order) at
     * temp_c. Called at every change of a voltage or of the temperature, and after world_touch(). Dynamic
     * energy is not part of it: that is charged with world_charge(). */
    double (*rail_current)(void *chip, struct world_net *net, const double *rail_v, double temp_c,
                           int64_t t_ns);
    /* A rail's voltage has changed (after world_settled() or a step): power loss clears memories here. May be
     * NULL. */
    void (*on_rail_change)(void *chip, struct world_net *net, double volt, int64_t t_ns);

    /* What the chip does to the analog test bus now: returns false when it is high-impedance; else
     * open-circuit volts and source impedance. May be NULL: always high-impedance. */
    bool (*atb_drive)(void *chip, int64_t t_ns, double *ret_volt, double *ret_ohm);

    /* Level of an output pin; false when the chip drives no pin of that name. May be NULL. */
    bool (*pin)(void *chip, const char *name, int64_t t_ns, bool *ret_level);

    /* Over-voltage or back-powering has destroyed it. May be NULL. */
    void (*on_damage)(void *chip, const char *why, int64_t t_ns);
    /* Owned by the caller: true offsets, energy, Fmax. May be NULL. */
    cJSON *(*ground_truth)(void *chip, int64_t t_ns);
};

/* By name; NULL when unknown. */
const struct chip_model *chip_model_find(const char *name);

#endif
