/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * sim_n6705c: Keysight N6705C power analyzer with four modules: N6784A-like source-measure units (four
 * quadrants, +-20 V), or N6762A precision supplies (50 V, 3 A). Command grammar from the SCPI that public
 * drivers send; numbers are [K]: from memory of the data sheet (one year), to be checked against a printed
 * one before anybody relies on them. */
#include <string.h>

#include "drivers/sim/sim_elog.h"
#include "drivers/sim/sim_models.h"

/* [K] N6784A: seamless current readback ranges 10 uA, 1 mA, 100 mA, 3 A; 6 V and 20 V. */
#define N6784A                                                                                               \
    {                                                                                                        \
        .min_v = -20.4, .max_v = 20.4, .max_a = 3.06, .default_a = 0.1, .max_ovp_v = 22, .step_v = 0.2e-3,   \
        .step_a = 1e-6, .program_v = { 0.00025, 0.6e-3 }, .program_a = { 0.0004, 0.3e-3 },                   \
        .read_v = { 0.00025, 0.6e-3 }, .noise_v = 20e-6, .tau_s = 0.2e-3, .off_ohm = 1e3,                    \
        .range = { { 10e-6, { 0.00025, 8e-9 }, 0.5e-9 },                                                     \
                   { 1e-3, { 0.00025, 100e-9 }, 5e-9 },                                                      \
                   { 0.1, { 0.00025, 10e-6 }, 0.3e-6 },                                                      \
                   { 3.1, { 0.0003, 250e-6 }, 10e-6 } },                                                     \
    }

/* [K] N6762A: 50 V, 3 A, positive only; readback 5.5 V and 50 V, 100 mA and 3 A. */
#define N6762A                                                                                               \
    {                                                                                                        \
        .min_v = 0, .max_v = 51, .max_a = 3.06, .default_a = 0.1, .max_ovp_v = 55, .step_v = 0.6e-3,         \
        .step_a = 0.05e-3, .program_v = { 0.00016, 6e-3 }, .program_a = { 0.0004, 0.2e-3 },                  \
        .read_v = { 0.00016, 1.5e-3 }, .noise_v = 50e-6, .tau_s = 0.5e-3, .off_ohm = 1e3,                    \
        .range = { { 0.1, { 0.0003, 15e-6 }, 1e-6 }, { 3.1, { 0.0004, 160e-6 }, 10e-6 } },                   \
    }

/* Operation condition: 1 CV, 2 CC, 4 off [K]. */
static void operation_query(struct scpi_call *call)
{
    struct supply *supply = (struct supply *)call->server;
    for (int i = 0; i < call->channel_n; i++) {
        const struct supply_channel *channel = supply_channel(call, i);
        bool limiting = world_source_limiting(supply->world, channel->source);
        scpi_server_answer(call, "%d", !channel->on ? 4 : limiting ? 2 : 1);
    }
}

/* Questionable condition: 1 over-voltage, 2 over-current, 2048 put off by a protection that is not its own
 * [K]. */
static void questionable_query(struct scpi_call *call)
{
    for (int i = 0; i < call->channel_n; i++) {
        const struct supply_channel *channel = supply_channel(call, i);
        scpi_server_answer(call, "%d",
                           (channel->ovp_tripped ? 1 : 0) | (channel->ocp_tripped ? 2 : 0) |
                               (channel->protected ? 2048 : 0));
    }
}

/* Emulation and priority mode: this module is a four-quadrant supply with voltage priority, and says so. */
static void set_emulation(struct scpi_call *call)
{
    if (call->arg_n < 1)
        scpi_server_error(call, -109);
    else if (strcmp(call->arg[0], "PS4Q") != 0 && strcmp(call->arg[0], "SMU") != 0)
        scpi_server_error(call, -224);
}

static void emulation_query(struct scpi_call *call)
{
    for (int i = 0; i < call->channel_n; i++)
        scpi_server_answer(call, "PS4Q");
}

static void set_function(struct scpi_call *call)
{
    if (call->arg_n < 1)
        scpi_server_error(call, -109);
    else if (!scpi_server_keyword(call, 0, "VOLTage"))
        scpi_server_error(call, -224);
}

static void function_query(struct scpi_call *call)
{
    for (int i = 0; i < call->channel_n; i++)
        scpi_server_answer(call, "VOLT");
}

static void channel_model_query(struct scpi_call *call)
{
    bool quadrants = supply_channel(call, 0)->data->min_v < 0;
    for (int i = 0; i < call->channel_n; i++)
        scpi_server_answer(call, quadrants ? "N6784A" : "N6762A");
}

static void channel_count_query(struct scpi_call *call)
{
    scpi_server_answer(call, "%d", call->server->model->channels);
}

#define FRAME_COMMANDS                                                                                       \
    SUPPLY_COMMANDS, ELOG_COMMANDS,                                                                          \
        { "OUTPut:PROTection:WDOG[:STATe]", supply_set_watchdog, supply_get_watchdog },                      \
        { "OUTPut:PROTection:WDOG:DELay", supply_set_watchdog_delay, supply_get_watchdog_delay },            \
        { "STATus:OPERation:CONDition", NULL, operation_query },                                             \
        { "STATus:QUEStionable:CONDition", NULL, questionable_query },                                       \
        { "SYSTem:CHANnel:MODel", NULL, channel_model_query },                                               \
    {                                                                                                        \
        "SYSTem:CHANnel[:COUNt]", NULL, channel_count_query                                                  \
    }

static const struct scpi_command supply_commands[] = {
    FRAME_COMMANDS,
    { NULL, NULL, NULL },
};

static const struct scpi_command commands[] = {
    FRAME_COMMANDS,
    { "[SOURce]:CURRent:LIMit[:POSitive][:IMMediate][:AMPLitude]", supply_set_current, supply_get_current },
    { "[SOURce]:VOLTage:PROTection:REMote[:POSitive][:LEVel]", supply_set_ovp, supply_get_ovp },
    { "[SOURce]:EMULation", set_emulation, emulation_query },
    { "[SOURce]:FUNCtion", set_function, function_query },
    { NULL, NULL, NULL },
};

#define FRAME(table, module)                                                                                 \
    {                                                                                                        \
        .scpi = { .vendor = "Keysight Technologies",                                                         \
                  .model = "N6705C",                                                                         \
                  .firmware = "F.01.14",                                                                     \
                  .serial_prefix = "MY",                                                                     \
                  .command = (table),                                                                        \
                  .channels = 4,                                                                             \
                  .pace_s = 1e-3, /* [K] */                                                                  \
                  .reset = elog_reset },                                                                     \
        .instance_size = sizeof(struct elog_frame),                                                          \
        .aperture_s = 20.48e-3, /* [K] 1000 points of 20.48 us */                                            \
            .ocp_delay_s = 20e-3, .channel = { module, module, module, module },                             \
    }

static const struct supply_data smu_frame = FRAME(commands, N6784A);
static const struct supply_data psu_frame = FRAME(supply_commands, N6762A);

static int open_frame(const struct supply_data *data, const struct sim_device_setup *setup, void **ret_device,
                      struct error *err)
{
    int code = supply_open(data, setup, ret_device, err);
    if (!code)
        elog_reset(*ret_device);
    return code;
}

static int open_n6705c(const struct sim_device_setup *setup, void **ret_device, struct error *err)
{
    return open_frame(&smu_frame, setup, ret_device, err);
}

static int open_n6762a(const struct sim_device_setup *setup, void **ret_device, struct error *err)
{
    return open_frame(&psu_frame, setup, ret_device, err);
}

#define MODEL(model_name, opener)                                                                            \
    {                                                                                                        \
        .name = model_name, .default_link = SIM_LINK_TCP, .clients_max = 1,                                  \
        .ops = { .on_bytes = supply_watched_bytes,                                                           \
                 .on_close = scpi_server_gone,                                                               \
                 .on_reboot = scpi_server_reboot },                                                          \
        .open = opener, .attach = scpi_server_attach, .close = elog_close,                                   \
    }

const struct sim_device_model sim_n6705c = MODEL("n6705c", open_n6705c);
const struct sim_device_model sim_n6762a = MODEL("n6762a", open_n6762a);
