/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * chamber: what heats and cools the chip: temperature controllers, chambers, air streams. */
#ifndef INSTRUMENTS_CHAMBER_H
#define INSTRUMENTS_CHAMBER_H

#include "instruments/bench.h"

enum chamber_settled { CHAMBER_UNSETTLED, CHAMBER_SETTLED, CHAMBER_DOES_NOT_SAY };
struct chamber_state {
    double set_c, measured_c; /* measured: NAN when the sensor is broken */
    bool faulty;              /* the controller reports a fault of its own */
    bool on;                  /* false too where there is no switch */
    int settled;              /* its own word: enum chamber_settled */
};
/* Writes the set point and reads it back. ERR_RANGE outside the limits of its file. */
int chamber_set(struct bench_client *c, const struct bench_channel *ch, double celsius, struct error *err);
/* Ramp in kelvin per minute, window in kelvin, soak in seconds of the instrument's own "at temperature"; NAN
 * leaves one as it is. ERR_UNSUPPORTED where it has none. */
int chamber_setup(struct bench_client *c, const struct bench_channel *ch, double ramp_k_min, double window_k,
                  double soak_s, struct error *err);
/* Switches air or control and reads back. ERR_UNSUPPORTED where there is no switch. */
int chamber_switch(struct bench_client *c, const struct bench_channel *ch, bool on, struct error *err);
int chamber_read(struct bench_client *c, const struct bench_channel *ch, struct chamber_state *ret,
                 struct error *err);

#endif
