/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * sim_dp832: Rigol DP832 triple supply (twice 30 V 3 A, 5 V 3 A). Every command acts on the selected channel
 * unless it names one ("CH2"). Command grammar from what public drivers send (libsigrok's scpi-pps, QCoDeS);
 * limits and accuracy are [K], from memory of the data sheet. */
#include <stdlib.h>

#include "drivers/sim/sim_models.h"
#include "drivers/sim/sim_supply.h"

enum { CHANNELS = 3 };

struct dp832 {
    struct supply supply; /* first */
    struct {
        bool ovp;
        double ovp_v, ocp_a;
    } set[CHANNELS];
    bool beeper, over_temperature;
};

/* [K] */
#define OUTPUT(volts, ovp, offset_v)                                                                         \
    {                                                                                                        \
        .min_v = 0, .max_v = (volts), .max_a = 3.2, .default_a = 3.0, .max_ovp_v = (ovp), .step_v = 1e-3,    \
        .step_a = 1e-3, .program_v = { 0.0005, 2 * (offset_v) }, .program_a = { 0.002, 5e-3 },               \
        .read_v = { 0.0005, (offset_v) }, .noise_v = 200e-6, .range = { { 10, { 0.0015, 5e-3 }, 100e-6 } },  \
        .tau_s = 2e-3, .off_ohm = 1e3                                                                        \
    }

static struct dp832 *of(const struct scpi_call *call)
{
    return (struct dp832 *)call->server;
}

/* "CH2" as the first argument names the channel; it is taken off. False when there is no such channel. */
static bool take_channel(struct scpi_call *call)
{
    if (call->arg_n == 0 || call->arg[0][0] != 'C' || call->arg[0][1] != 'H')
        return true;
    int channel = atoi(call->arg[0] + 2);
    if (channel < 1 || channel > CHANNELS) {
        scpi_server_error(call, -224);
        return false;
    }
    call->channel[0] = channel;
    for (int i = 1; i < call->arg_n; i++)
        call->arg[i - 1] = call->arg[i];
    call->arg_n--;
    return true;
}

#define WITH_CHANNEL(name, handler)                                                                          \
    static void name(struct scpi_call *call)                                                                 \
    {                                                                                                        \
        if (take_channel(call))                                                                              \
            handler(call);                                                                                   \
    }

static void answer_switch(struct scpi_call *call, bool on)
{
    scpi_server_answer(call, on ? "ON" : "OFF");
}

static void output_query(struct scpi_call *call)
{
    answer_switch(call, supply_channel(call, 0)->on);
}

static void mode_query(struct scpi_call *call)
{
    struct dp832 *s = of(call);
    const struct supply_channel *channel = supply_channel(call, 0);
    bool limiting = channel->on && world_source_limiting(s->supply.world, channel->source);
    scpi_server_answer(call, limiting ? "CC" : "CV");
}

/* ---- Protection: a level and a switch each ---- */

static void apply_protection(struct scpi_call *call)
{
    struct dp832 *s = of(call);
    struct supply_channel *channel = supply_channel(call, 0);
    int i = call->channel[0] - 1;
    channel->ovp_v = s->set[i].ovp ? s->set[i].ovp_v : 0;
    channel->ocp_a = s->set[i].ocp_a;
    supply_apply(&s->supply, channel);
}

static void set_level(struct scpi_call *call, double *level, double max)
{
    if (scpi_server_number(call, 0, 1e-3, max, max, level))
        apply_protection(call);
}

static void set_ovp_level(struct scpi_call *call)
{
    set_level(call, &of(call)->set[call->channel[0] - 1].ovp_v, supply_channel(call, 0)->data->max_ovp_v);
}

static void set_ocp_level(struct scpi_call *call)
{
    set_level(call, &of(call)->set[call->channel[0] - 1].ocp_a, 3.3);
}

static void ovp_level_query(struct scpi_call *call)
{
    scpi_server_answer_number(call, of(call)->set[call->channel[0] - 1].ovp_v);
}

static void ocp_level_query(struct scpi_call *call)
{
    scpi_server_answer_number(call, of(call)->set[call->channel[0] - 1].ocp_a);
}

static void set_ovp(struct scpi_call *call)
{
    if (scpi_server_boolean(call, 0, &of(call)->set[call->channel[0] - 1].ovp))
        apply_protection(call);
}

static void set_ocp(struct scpi_call *call)
{
    if (scpi_server_boolean(call, 0, &supply_channel(call, 0)->ocp))
        apply_protection(call);
}

static void ovp_query(struct scpi_call *call)
{
    answer_switch(call, of(call)->set[call->channel[0] - 1].ovp);
}

static void ocp_query(struct scpi_call *call)
{
    answer_switch(call, supply_channel(call, 0)->ocp);
}

static void ovp_tripped_query(struct scpi_call *call)
{
    scpi_server_answer(call, supply_channel(call, 0)->ovp_tripped ? "YES" : "NO");
}

static void ocp_tripped_query(struct scpi_call *call)
{
    scpi_server_answer(call, supply_channel(call, 0)->ocp_tripped ? "YES" : "NO");
}

static void clear_ovp(struct scpi_call *call)
{
    supply_channel(call, 0)->ovp_tripped = false;
}

static void clear_ocp(struct scpi_call *call)
{
    supply_channel(call, 0)->ocp_tripped = false;
}

/* ---- Power is the product of what the meters say ---- */

static void answer_power(struct scpi_call *call)
{
    struct dp832 *s = of(call);
    const struct supply_channel *channel = supply_channel(call, 0);
    double volt = world_source_volt(s->supply.world, channel->source);
    double ampere = world_source_current(s->supply.world, channel->source);
    scpi_server_answer_number(call, (volt * (1 + channel->read_v_gain) + channel->read_v_offset) *
                                        (ampere * (1 + channel->range_gain[0]) + channel->range_offset[0]));
}

static void power_query(struct scpi_call *call)
{
    scpi_server_wait(call, of(call)->supply.data->aperture_s, answer_power);
}

/* ---- The system ---- */

static void set_beeper(struct scpi_call *call)
{
    scpi_server_boolean(call, 0, &of(call)->beeper);
}

static void beeper_query(struct scpi_call *call)
{
    answer_switch(call, of(call)->beeper);
}

static void set_otp(struct scpi_call *call)
{
    scpi_server_boolean(call, 0, &of(call)->over_temperature);
}

static void otp_query(struct scpi_call *call)
{
    answer_switch(call, of(call)->over_temperature);
}

WITH_CHANNEL(output_set_ch, supply_set_output)
WITH_CHANNEL(output_query_ch, output_query)
WITH_CHANNEL(mode_query_ch, mode_query)
WITH_CHANNEL(measure_voltage_ch, supply_measure_voltage)
WITH_CHANNEL(measure_current_ch, supply_measure_current)
WITH_CHANNEL(power_query_ch, power_query)
WITH_CHANNEL(set_ovp_ch, set_ovp)
WITH_CHANNEL(ovp_query_ch, ovp_query)
WITH_CHANNEL(set_ovp_level_ch, set_ovp_level)
WITH_CHANNEL(ovp_level_query_ch, ovp_level_query)
WITH_CHANNEL(ovp_tripped_query_ch, ovp_tripped_query)
WITH_CHANNEL(clear_ovp_ch, clear_ovp)
WITH_CHANNEL(set_ocp_ch, set_ocp)
WITH_CHANNEL(ocp_query_ch, ocp_query)
WITH_CHANNEL(set_ocp_level_ch, set_ocp_level)
WITH_CHANNEL(ocp_level_query_ch, ocp_level_query)
WITH_CHANNEL(ocp_tripped_query_ch, ocp_tripped_query)
WITH_CHANNEL(clear_ocp_ch, clear_ocp)

static const struct scpi_command commands[] = {
    { "INSTrument:NSELect", supply_select, supply_get_selected },
    { "INSTrument[:SELect]", supply_select, supply_get_selected },
    { "[SOURce]:VOLTage[:LEVel][:IMMediate][:AMPLitude]", supply_set_voltage, supply_get_voltage },
    { "[SOURce]:CURRent[:LEVel][:IMMediate][:AMPLitude]", supply_set_current, supply_get_current },
    { "OUTPut[:STATe]", output_set_ch, output_query_ch },
    { "OUTPut:MODE", NULL, mode_query_ch },
    { "OUTPut:OVP[:STATe]", set_ovp_ch, ovp_query_ch },
    { "OUTPut:OVP:VALue", set_ovp_level_ch, ovp_level_query_ch },
    { "OUTPut:OVP:QUES", NULL, ovp_tripped_query_ch },
    { "OUTPut:OVP:CLEAR", clear_ovp_ch, NULL },
    { "OUTPut:OCP[:STATe]", set_ocp_ch, ocp_query_ch },
    { "OUTPut:OCP:VALue", set_ocp_level_ch, ocp_level_query_ch },
    { "OUTPut:OCP:QUES", NULL, ocp_tripped_query_ch },
    { "OUTPut:OCP:CLEAR", clear_ocp_ch, NULL },
    { "MEASure[:VOLTage][:DC]", NULL, measure_voltage_ch },
    { "MEASure:CURRent[:DC]", NULL, measure_current_ch },
    { "MEASure:POWEr[:DC]", NULL, power_query_ch },
    { "SYSTem:BEEPer[:STATe]", set_beeper, beeper_query },
    { "SYSTem:OTP", set_otp, otp_query },
    { "SYSTem:REMote", supply_nothing, NULL },
    { "SYSTem:LOCal", supply_nothing, NULL },
    { NULL, NULL, NULL },
};

static void reset(void *instrument)
{
    struct dp832 *s = instrument;
    supply_reset(&s->supply);
    for (int i = 0; i < CHANNELS; i++) {
        struct supply_channel *channel = &s->supply.channel[i];
        s->set[i].ovp = false;
        s->set[i].ovp_v = channel->data->max_ovp_v;
        s->set[i].ocp_a = channel->ocp_a = 3.3;
        channel->ovp_v = 0;
        supply_apply(&s->supply, channel);
    }
    s->beeper = s->over_temperature = true;
}

static const struct supply_data data = {
    .scpi = { .vendor = "RIGOL TECHNOLOGIES",
              .model = "DP832",
              .firmware = "00.01.16",
              .serial_prefix = "DP8C",
              .command = commands,
              .channels = CHANNELS,
              .pace_s = 10e-3, /* "commands need about 10 ms" */
              .plain_numbers = true,
              .reset = reset },
    .instance_size = sizeof(struct dp832),
    .aperture_s = 50e-3, /* [K] */
    .ocp_delay_s = 50e-3,
    .channel = { OUTPUT(32, 33, 10e-3), OUTPUT(32, 33, 10e-3), OUTPUT(5.3, 5.5, 5e-3) },
};

static int open_dp832(const struct sim_device_setup *setup, void **ret_device, struct error *err)
{
    int code = supply_open(&data, setup, ret_device, err);
    if (!code)
        reset(*ret_device);
    return code;
}

const struct sim_device_model sim_dp832 = {
    .name = "dp832",
    .default_link = SIM_LINK_TCP,
    .clients_max = 1,
    .ops = { .on_bytes = scpi_server_bytes, .on_close = scpi_server_gone, .on_reboot = scpi_server_reboot },
    .open = open_dp832,
    .attach = scpi_server_attach,
    .close = supply_close,
};
