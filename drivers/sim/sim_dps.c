/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * sim_dps: RDTech DPS5005, registers from libsigrok's driver [S]. OVP and OCP are those of preset M0. */
#include "drivers/sim/sim_modbus_supply.h"
#include "drivers/sim/sim_models.h"

static const struct modbus_supply_data dps5005 = {
    .model_id = 5005,
    .version = 14,
    .step_v = 0.01,
    .step_a = 0.001,
    .max_set_v = 5000,
    .max_set_a = 5000,
    .default_ovp_v = 51,
    .default_ocp_a = 5.2,
    .input_v = 55,
    .gain = 0.005,
    .tau_s = 2e-3,
    .off_ohm = 1e3,
    .id = 11,
    .serial = -2, /* two registers that do not exist */
    .firmware = 12,
    .set_v = 0,
    .set_a = 1,
    .out_v = 2,
    .out_a = 3,
    .out_w = 4,
    .in_v = 5,
    .protection = 7,
    .mode = 8,
    .output = 9,
    .ovp = 82,
    .ocp = 83,
};

static int open_dps(const struct sim_device_setup *setup, void **ret_device, struct error *err)
{
    return modbus_supply_open(&dps5005, setup, ret_device, err);
}

const struct sim_device_model sim_dps = {
    .name = "dps5005",
    .default_link = SIM_LINK_PTY,
    .clients_max = 1,
    .ops = { .on_bytes = modbus_server_bytes,
             .on_close = modbus_server_gone,
             .on_reboot = modbus_server_reboot },
    .open = open_dps,
    .attach = modbus_server_attach,
    .close = modbus_supply_close,
};
