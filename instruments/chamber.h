/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * chamber: what heats and cools the chip: temperature controllers, chambers, air streams. */
#ifndef INSTRUMENTS_CHAMBER_H
#define INSTRUMENTS_CHAMBER_H

#include "instruments/bench.h"

struct chamber_state {
    double set_c, measured_c; /* measured: NAN when the sensor is broken */
    bool faulty;              /* the controller reports a fault of its own */
};
/* Writes the set point and reads it back. ERR_RANGE outside the limits of its file. */
int chamber_set(struct bench_client *c, const struct bench_channel *ch, double celsius, struct error *err);
int chamber_read(struct bench_client *c, const struct bench_channel *ch, struct chamber_state *ret,
                 struct error *err);

#endif
