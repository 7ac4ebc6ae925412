/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * sim_inputs: analog inputs of a simulated module: input n looks at the net that the option "nets" names at
 * place n, with a gain and an offset of its own; the others hang in the air and read 0. Simulator's thread.
 */
#ifndef DRIVERS_SIM_SIM_INPUTS_H
#define DRIVERS_SIM_SIM_INPUTS_H

#include "drivers/sim/device.h"

enum { SIM_INPUTS_MAX = 128 };

struct sim_inputs {
    struct world *world;
    int count;
    struct world_source *source[SIM_INPUTS_MAX]; /* never on; NULL: in the air */
    double gain[SIM_INPUTS_MAX], offset_v[SIM_INPUTS_MAX];
};

/* gain and offset_v: limits of the errors. */
int sim_inputs_init(struct sim_inputs *inputs, const struct sim_device_setup *setup, int count, double gain,
                    double offset_v, struct error *err);
/* What input i, from 0, makes of its net. */
double sim_inputs_volt(const struct sim_inputs *inputs, int i);

#endif
