/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * models: the registry of simulated devices and chips: one line each. */
#include <string.h>

#include "drivers/sim/chip_models.h"
#include "drivers/sim/sim_models.h"

static const struct sim_device_model *const devices[] = {
    &sim_e36312a,   &sim_n6705c,     &sim_2450,         &sim_34461a,     &bridge_serprog_model,
    &sim_buspirate, &sim_korad,      &sim_dp832,        &sim_riden,      &sim_dps,
    &sim_waveshare, &sim_eurotherm,  &sim_thermostream, &sim_thermotron, &sim_espec,
    &sim_watlow_f4, &sim_watlow_f4t, &sim_adam_4017,    &sim_adam_4024,  &sim_n6762a,
    &sim_mpsse,     &sim_sump,       &sim_metex,
};
enum { DEVICES = sizeof devices / sizeof *devices };

static const char *const device_names[] = {
    "e36312a",      "n6705c",          "2450",       "34461a",    "serprog",       "buspirate",
    "ka3005p",      "dp832",           "rd6006",     "dps5005",   "waveshare-ai8", "eurotherm-32xx",
    "thermostream", "thermotron-3800", "espec-p300", "watlow-f4", "watlow-f4t",    "adam-4017",
    "adam-4024",    "n6762a",          "mpsse",      "sump",      "metex",         NULL
};

static const struct chip_model *const chips[] = {
    &chip_adelia2_model,
    &chip_tiny_model,
};

const struct sim_device_model *sim_model_find(const char *name)
{
    for (size_t i = 0; i < DEVICES; i++)
        if (strcmp(devices[i]->name, name) == 0)
            return devices[i];
    return NULL;
}

const char *const *sim_model_names(void)
{
    _Static_assert(sizeof device_names / sizeof *device_names == DEVICES + 1, "a name for every model");
    return device_names;
}

const struct chip_model *chip_model_find(const char *name)
{
    for (size_t i = 0; i < sizeof chips / sizeof *chips; i++)
        if (strcmp(chips[i]->name, name) == 0)
            return chips[i];
    return NULL;
}
