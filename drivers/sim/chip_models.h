/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * chip_models: the chips and the SPI bridge that drivers/sim/models.c lists. */
#ifndef DRIVERS_SIM_CHIP_MODELS_H
#define DRIVERS_SIM_CHIP_MODELS_H

#include "drivers/sim/chipmodel.h"
#include "drivers/sim/device.h"

extern const struct chip_model chip_adelia2_model;         /* "adelia2" */
extern const struct chip_model chip_tiny_model;            /* "tiny" */
extern const struct sim_device_model bridge_serprog_model; /* "serprog" */

#endif
