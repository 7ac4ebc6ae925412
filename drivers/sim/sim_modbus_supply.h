/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * sim_modbus_supply: what differs between simulated supplies with a Modbus port: numbers and the places of
 * registers. -1: there is no such register. */
#ifndef DRIVERS_SIM_SIM_MODBUS_SUPPLY_H
#define DRIVERS_SIM_SIM_MODBUS_SUPPLY_H

#include "drivers/sim/modbus_server.h"

enum { MODBUS_SUPPLY_REGISTERS = 128 };

struct modbus_supply_data {
    uint16_t model_id, version, max_set_v, max_set_a; /* max: in steps */
    double step_v, step_a, default_ovp_v, default_ocp_a, input_v;
    double gain; /* error of setting and reading, at three sigma */
    double tau_s, off_ohm;
    int id, serial, firmware, set_v, set_a, out_v, out_a, out_w, in_v, protection, mode, output, ovp, ocp;
};

int modbus_supply_open(const struct modbus_supply_data *data, const struct sim_device_setup *setup,
                       void **ret_device, struct error *err);
void modbus_supply_close(void *device);

#endif
