/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * sim_2450: what the files of the simulated source-measure unit share. Simulator's thread. */
#ifndef DRIVERS_SIM_SIM_2450_H
#define DRIVERS_SIM_SIM_2450_H

#include "drivers/sim/scpi_server.h"

#define SMU_LINE_HZ 50.0

enum function { FUNCTION_VOLT, FUNCTION_AMPS };
enum { SMU_BUFFER_MAX = 10000 };

/* defbuffer1, and the trigger model that fills it: one reading, a delay, the next one. */
struct smu_buffer {
    struct smu_record {
        double value;
        int64_t at_ns;
    } * record;
    int count;
    int left; /* readings that the trigger model still takes */
    double delay_s;
    bool measuring;
    uint64_t timer;
    struct world_integrals start;
};

struct smu {
    struct scpi_server server; /* first */
    struct world *world;
    struct world_source *source;
    uint64_t seed, entity, readings;
    bool on, sense_remote, off_high_impedance, tripped;
    enum function source_function, sense_function;
    double set[2], limit[2]; /* by function: volts, amperes; limit[f] limits the other quantity of source f */
    double nplc, ovp_v;
    double last, last_source;
    int64_t last_ns;
    struct world_integrals start;
    struct smu_buffer buffer;
};

/* What it reads of the time since start. */
double smu_reading(struct smu *smu, const struct world_integrals *start);

void smu_buffer_reset(struct smu *smu);
void smu_buffer_keep(struct smu_buffer *buffer, double value, int64_t at_ns);
void smu_buffer_clear(struct scpi_call *call);
void smu_buffer_count(struct scpi_call *call);
void smu_buffer_data(struct scpi_call *call);
void smu_buffer_load(struct scpi_call *call);
void smu_buffer_start(struct scpi_call *call);
void smu_buffer_abort(struct scpi_call *call);

#endif
