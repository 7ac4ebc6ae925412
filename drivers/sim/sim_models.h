/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * sim_models: the simulated instruments, declared once; drivers/sim/models.c lists them. */
#ifndef DRIVERS_SIM_SIM_MODELS_H
#define DRIVERS_SIM_SIM_MODELS_H

#include "drivers/sim/device.h"

extern const struct sim_device_model sim_e36312a, sim_n6705c, sim_n6762a, sim_2450, sim_34461a;
extern const struct sim_device_model sim_buspirate, sim_mpsse, sim_korad, sim_dp832;
extern const struct sim_device_model sim_riden, sim_dps, sim_waveshare, sim_eurotherm;
extern const struct sim_device_model sim_thermostream, sim_thermotron, sim_espec;
extern const struct sim_device_model sim_watlow_f4, sim_watlow_f4t, sim_adam_4017, sim_adam_4024;
extern const struct sim_device_model sim_sump, sim_metex;

#endif
