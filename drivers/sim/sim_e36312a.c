/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * sim_e36312a: Keysight E36312A triple supply (6 V 5 A, twice 25 V 1 A). Command grammar from the SCPI that
 * public drivers send (QCoDeS, PyMeasure); limits, accuracy and resolution are [K]: from memory of the data
 * sheet (12 months, 23 +-5 C), to be checked against a printed one before anybody relies on them. */
#include "drivers/sim/sim_models.h"
#include "drivers/sim/sim_supply.h"

/* [K] 25 V outputs. */
#define OUTPUT_25V                                                                                           \
    {                                                                                                        \
        .min_v = 0, .max_v = 25.75, .max_a = 1.03, .default_a = 1.0, .max_ovp_v = 27.5, .step_v = 1e-3,      \
        .step_a = 0.1e-3, .program_v = { 0.0003, 5e-3 }, .program_a = { 0.002, 4e-3 },                       \
        .read_v = { 0.0003, 5e-3 }, .noise_v = 150e-6, .tau_s = 1e-3, .off_ohm = 1e3,                        \
        .range = { { 0.02, { 0.0025, 80e-6 }, 1e-6 }, { 2.0, { 0.001, 4e-3 }, 50e-6 } },                     \
    }

/* Bits of the instrument summary: 0 off, 1 constant current, 2 constant voltage; bit 9 OVP, bit 10 OCP [K].
 */
static void summary_query(struct scpi_call *call)
{
    if (call->suffix < 1 || call->suffix > call->server->model->channels) {
        scpi_server_error(call, -113);
        return;
    }
    struct supply *supply = (struct supply *)call->server;
    const struct supply_channel *channel = &supply->channel[call->suffix - 1];
    int bits = 0;
    if (channel->on)
        bits |= world_source_limiting(supply->world, channel->source) ? 1 : 2;
    bits |= (channel->ovp_tripped ? 1 << 9 : 0) | (channel->ocp_tripped ? 1 << 10 : 0);
    scpi_server_answer(call, "%d", bits);
}

static const struct scpi_command commands[] = {
    SUPPLY_COMMANDS,
    { "INSTrument[:SELect]", supply_select, supply_get_selected },
    { "INSTrument:NSELect", supply_select, supply_get_selected },
    { "STATus:QUEStionable:INSTrument:ISUMmary#:CONDition", NULL, summary_query },
    { NULL, NULL, NULL },
};

static const struct supply_data data = {
    .scpi = { .vendor = "Keysight Technologies",
              .model = "E36312A",
              .firmware = "2.1.3-1.0.4-1.12",
              .serial_prefix = "MY",
              .command = commands,
              .channels = 3,
              .pace_s = 3e-3, /* [K] "command processing time < 10 ms" */
              .reset = supply_reset },
    .aperture_s = 20e-3, /* one power line cycle at 50 Hz */
    .ocp_delay_s = 50e-3,
    .channel = { { .min_v = 0,
                   .max_v = 6.18,
                   .max_a = 5.15,
                   .default_a = 5.0,
                   .max_ovp_v = 6.6,
                   .step_v = 0.5e-3,
                   .step_a = 0.5e-3,
                   .program_v = { 0.0003, 3e-3 },
                   .program_a = { 0.002, 10e-3 },
                   .read_v = { 0.0003, 3e-3 },
                   .noise_v = 100e-6,
                   .range = { { 0.02, { 0.0025, 80e-6 }, 1e-6 }, { 10.0, { 0.001, 10e-3 }, 100e-6 } },
                   .tau_s = 1e-3,
                   .off_ohm = 1e3 },
                 OUTPUT_25V,
                 OUTPUT_25V },
};

static int open_e36312a(const struct sim_device_setup *setup, void **ret_device, struct error *err)
{
    return supply_open(&data, setup, ret_device, err);
}

const struct sim_device_model sim_e36312a = {
    .name = "e36312a",
    .default_link = SIM_LINK_TCP,
    .clients_max = 1,
    .ops = { .on_bytes = scpi_server_bytes, .on_close = scpi_server_gone, .on_reboot = scpi_server_reboot },
    .open = open_e36312a,
    .attach = scpi_server_attach,
    .close = supply_close,
};
