/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * sim_elog: the external data logger of the N6705 and N6700 frames: by the frame's own clock each channel's
 * true average over one period after the other, with this unit's errors, kept until it is fetched.
 * Simulator's thread. */
#ifndef DRIVERS_SIM_SIM_ELOG_H
#define DRIVERS_SIM_SIM_ELOG_H

#include "drivers/sim/sim_supply.h"

enum { ELOG_VALUES_MAX = 8192 }; /* what waits to be fetched; more is lost, and an error */

struct elog_channel {
    struct supply *supply;
    int number;
    bool volts, amperes, initiated, running;
    double period_s;
    int64_t due_ns;
    uint64_t timer;
    struct world_integrals start; /* of the period in progress */
    float *value;                 /* volts before amperes of each period, most recent last */
    int count;
};

struct elog_frame {
    struct supply supply; /* first */
    bool binary;
    struct elog_channel channel[SUPPLY_CHANNELS_MAX];
};

void elog_reset(void *instrument); /* with the supply's own */
void elog_close(void *device);

void elog_set_format(struct scpi_call *call);
void elog_set_border(struct scpi_call *call);
void elog_set_volts(struct scpi_call *call);
void elog_set_amperes(struct scpi_call *call);
void elog_set_period(struct scpi_call *call);
void elog_get_period(struct scpi_call *call);
void elog_set_source(struct scpi_call *call);
void elog_initiate(struct scpi_call *call);
void elog_trigger(struct scpi_call *call);
void elog_fetch(struct scpi_call *call);
void elog_abort(struct scpi_call *call);

#define ELOG_COMMANDS                                                                                        \
    { "FORMat[:DATA]", elog_set_format, NULL }, { "FORMat:BORDer", elog_set_border, NULL },                  \
        { "SENSe:ELOG:FUNCtion:VOLTage", elog_set_volts, NULL },                                             \
        { "SENSe:ELOG:FUNCtion:CURRent", elog_set_amperes, NULL },                                           \
        { "SENSe:ELOG:PERiod", elog_set_period, elog_get_period },                                           \
        { "TRIGger:ELOG:SOURce", elog_set_source, NULL },                                                    \
        { "INITiate[:IMMediate]:ELOG", elog_initiate, NULL },                                                \
        { "TRIGger:ELOG[:IMMediate]", elog_trigger, NULL }, { "FETCh:ELOG", NULL, elog_fetch },              \
    {                                                                                                        \
        "ABORt:ELOG", elog_abort, NULL                                                                       \
    }

#endif
