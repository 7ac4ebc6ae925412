/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * sim_air: the air of a simulated chamber: it follows its set point with one time constant, at most as fast
 * as its ramp, and the chip's surroundings are that air. Switched off it goes back to the room. Simulator's
 * thread. */
#ifndef DRIVERS_SIM_SIM_AIR_H
#define DRIVERS_SIM_SIM_AIR_H

#include "drivers/sim/device.h"

#define SIM_AIR_ROOM_C 25.0

struct sim_air {
    struct sim_loop *loop;
    struct world *world;
    const char *name;
    double set_c, air_c, tau_s;
    double ramp_k_min; /* 0: as fast as it can */
    double window_k;   /* inside is at most this far from the set point */
    bool on;
    double goal_c;     /* where a ramp has come to */
    int64_t inside_ns; /* since when it is inside; INT64_MAX: it is not */
    uint64_t timer;    /* 0: the air is at rest */
};

/* At rest at room temperature, switched on. tau_s from the option of that name, or the default. */
int sim_air_init(struct sim_air *air, const struct sim_device_setup *setup, double tau_s, struct error *err);
void sim_air_fini(struct sim_air *air);
void sim_air_set(struct sim_air *air, double celsius);
void sim_air_switch(struct sim_air *air, bool on);
/* Seconds for which the air has been inside its window; negative: it is not. */
double sim_air_inside_s(const struct sim_air *air);

#endif
