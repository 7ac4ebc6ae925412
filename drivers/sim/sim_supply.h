/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * sim_supply: what the Keysight-style supplies have in common: channels with programming and readback errors
 * of their own, protection, and the handlers of the commands that take channel lists. A model is a table of
 * channel data. */
#ifndef DRIVERS_SIM_SIM_SUPPLY_H
#define DRIVERS_SIM_SIM_SUPPLY_H

#include "drivers/sim/scpi_server.h"

enum { SUPPLY_CHANNELS_MAX = 4, SUPPLY_RANGES_MAX = 4 };

/* Error limits are "gain * |value| + offset", as data sheets give them. */
struct accuracy {
    double gain, offset;
};

/* One current readback range: used up to `up_to_a`. */
struct supply_range {
    double up_to_a;
    struct accuracy accuracy;
    double noise_a; /* rms, of one aperture */
};

struct supply_channel_data {
    double min_v, max_v, max_a, default_a;
    double max_ovp_v;
    double step_v, step_a; /* programming resolution */
    struct accuracy program_v, program_a, read_v;
    double noise_v;
    struct supply_range range[SUPPLY_RANGES_MAX];
    double tau_s;   /* of the output */
    double off_ohm; /* of the output when off: it programs down before it lets go [K] */
};

struct supply_data {
    struct scpi_model scpi;
    size_t instance_size; /* of a model's own struct, which starts with a struct supply; 0: that alone */
    double aperture_s;    /* of MEASure */
    double ocp_delay_s;
    struct supply_channel_data channel[SUPPLY_CHANNELS_MAX];
};

struct supply_channel {
    const struct supply_channel_data *data;
    struct world_source *source;
    double set_v, set_a, ovp_v, ocp_delay_s;
    double ocp_a; /* where OCP acts, for makes that have a level for it; 0: at the current limit */
    bool on, ocp, ovp_tripped, ocp_tripped, protected, sense_external; /* protected: by the watchdog */
    double program_v_gain, program_v_offset, program_a_gain, program_a_offset, read_v_gain, read_v_offset;
    double range_gain[SUPPLY_RANGES_MAX], range_offset[SUPPLY_RANGES_MAX];
    uint64_t readings;
    struct world_integrals start; /* of the aperture in progress */
};

struct supply {
    struct scpi_server server; /* first */
    const struct supply_data *data;
    struct world *world;
    uint64_t seed, entity;
    struct supply_channel channel[SUPPLY_CHANNELS_MAX];
    struct {
        bool armed;
        double delay_s;
        int64_t heard_ns; /* when the last byte came */
        uint64_t timer;
    } watchdog; /* of models that have one */
};

int supply_open(const struct supply_data *data, const struct sim_device_setup *setup, void **ret_device,
                struct error *err);
void supply_close(void *device);
void supply_reset(void *instrument);

/* An individual's error within a published limit: normal, the limit at three sigma, cut there. */
double supply_error(uint64_t seed, const char *what, uint64_t entity, uint64_t index, double limit);

/* Puts the programmed values, as this very unit makes them, into the world. */
void supply_apply(struct supply *supply, struct supply_channel *channel);
/* What this very unit reads when that is the truth; each call is a reading of its own. */
double supply_volt_reading(struct supply *supply, int number, double volt);
double supply_current_reading(struct supply *supply, int number, double amps);
/* The channel of a call; for handlers of models. */
struct supply_channel *supply_channel(const struct scpi_call *call, int i);

/* The I/O watchdog: bytes go through supply_watched_bytes, which is its food. */
void supply_watched_bytes(void *instrument, int client, const uint8_t *bytes, size_t n);
void supply_set_watchdog(struct scpi_call *call);
void supply_get_watchdog(struct scpi_call *call);
void supply_set_watchdog_delay(struct scpi_call *call);
void supply_get_watchdog_delay(struct scpi_call *call);

/* The shared commands: a model's table starts with these rows. */
void supply_set_voltage(struct scpi_call *call);
void supply_get_voltage(struct scpi_call *call);
void supply_set_current(struct scpi_call *call);
void supply_get_current(struct scpi_call *call);
void supply_set_ovp(struct scpi_call *call);
void supply_get_ovp(struct scpi_call *call);
void supply_get_ovp_tripped(struct scpi_call *call);
void supply_set_ocp(struct scpi_call *call);
void supply_get_ocp(struct scpi_call *call);
void supply_set_ocp_delay(struct scpi_call *call);
void supply_get_ocp_delay(struct scpi_call *call);
void supply_get_ocp_tripped(struct scpi_call *call);
void supply_clear(struct scpi_call *call);
void supply_set_output(struct scpi_call *call);
void supply_get_output(struct scpi_call *call);
void supply_set_sense(struct scpi_call *call);
void supply_get_sense(struct scpi_call *call);
void supply_measure_voltage(struct scpi_call *call);
void supply_measure_current(struct scpi_call *call);
void supply_select(struct scpi_call *call);
void supply_get_selected(struct scpi_call *call);
void supply_nothing(struct scpi_call *call);

#define SUPPLY_COMMANDS                                                                                      \
    { "[SOURce]:VOLTage[:LEVel][:IMMediate][:AMPLitude]", supply_set_voltage, supply_get_voltage },          \
        { "[SOURce]:CURRent[:LEVel][:IMMediate][:AMPLitude]", supply_set_current, supply_get_current },      \
        { "[SOURce]:VOLTage:PROTection[:LEVel]", supply_set_ovp, supply_get_ovp },                           \
        { "[SOURce]:VOLTage:PROTection:TRIPped", NULL, supply_get_ovp_tripped },                             \
        { "[SOURce]:VOLTage:SENSe[:SOURce]", supply_set_sense, supply_get_sense },                           \
        { "[SOURce]:CURRent:PROTection:STATe", supply_set_ocp, supply_get_ocp },                             \
        { "[SOURce]:CURRent:PROTection:DELay[:TIME]", supply_set_ocp_delay, supply_get_ocp_delay },          \
        { "[SOURce]:CURRent:PROTection:TRIPped", NULL, supply_get_ocp_tripped },                             \
        { "OUTPut[:STATe]", supply_set_output, supply_get_output },                                          \
        { "OUTPut:PROTection:CLEar", supply_clear, NULL },                                                   \
        { "MEASure[:SCALar]:VOLTage[:DC]", NULL, supply_measure_voltage },                                   \
        { "MEASure[:SCALar]:CURRent[:DC]", NULL, supply_measure_current },                                   \
        { "SYSTem:REMote", supply_nothing, NULL },                                                           \
    {                                                                                                        \
        "SYSTem:LOCal", supply_nothing, NULL                                                                 \
    }

#endif
