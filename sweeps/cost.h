/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * cost: what acts on a bench cost in time and what records cost in bytes: the physics behind a plan's
 * estimate. Everything that a dialect, the profile or the mapping states is taken from there; what none of
 * them states is one named constant here. */
#ifndef SWEEPS_COST_H
#define SWEEPS_COST_H

#include "sweeps/step.h"

/* Not stated by any file: how long an instrument takes over one setting with its error query (typical of the
 * LAN supplies in configs/instruments), and what the way to the SPI bridge adds to the time on its wires: an
 * answer of the bridge, firmware and framing of one transaction, and a byte over its link. */
#define COST_SETTING_S     0.005
#define COST_EXCHANGE_S    0.00016
#define COST_TRANSACTION_S 0.000006
#define COST_LINK_BYTE_S   0.0000001
#define COST_IDENTIFY_S    0.001

/* What the store takes, indexes and pages included: measured on an evening's file with SQLite's dbstat. */
enum {
    COST_RUN_BYTES = 165000, /* an empty store, and the snapshots of one run */
    COST_STEP_BYTES = 100,
    COST_POINT_BYTES = 250,
    COST_READING_BYTES = 59,
    COST_SAMPLE_BYTES = 34,
    COST_TENSORS_BYTES = 20000, /* all tensors of one sample */
    COST_TRACE_BYTES = 19       /* one value of a continuous log */
};

/* One pass over volts and amperes of all rails: instruments work in parallel, the channels of one in turn. */
double cost_rails_s(const struct plan_inputs *inputs);
/* The shortest window that surely holds one such pass, whenever it begins. */
double cost_window_s(const struct plan_inputs *inputs);
double cost_power_up_s(const struct plan_inputs *inputs, const double *target_v);
double cost_power_down_s(const struct plan_inputs *inputs);
double cost_move_s(const struct plan_inputs *inputs, const double *from_v, const double *to_v);
/* From one temperature around the chip to another, and the soak there. */
double cost_soak_s(double from_c, double to_c, double soak_s);
/* SPI: transactions that carry so many bytes, in so many exchanges. */
double cost_spi_s(double spi_hz, int64_t bytes, int64_t transactions, int64_t exchanges);
/* One inference with its transfers; and the loading of a network, or of another converter setting only. */
double cost_inference_s(const struct plan_state *state, int network, int bits);
double cost_load_s(const struct plan_state *state, int network, bool whole);
double cost_core_hz(const struct chip_profile *profile);
/* Bytes of continuous logging over so many seconds. */
double cost_trace_bytes(const struct plan_inputs *inputs, double seconds);

#endif
