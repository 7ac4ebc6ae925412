/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * acquire: one session of libsigrok at a time: a capture of logic, or one reading of a meter. */
#ifndef DRIVERS_SIGROK_ACQUIRE_H
#define DRIVERS_SIGROK_ACQUIRE_H

#include "drivers/sigrok/device.h"
#include "instruments/la.h"
#include "instruments/message.h"

struct capture {
    double rate_hz;
    uint32_t trigger_sample; /* ~0: none */
    uint32_t samples;        /* may be fewer than wished for when there was a trigger */
    size_t unit_bytes;
    uint8_t *bits; /* samples * unit_bytes; g_free */
};
int acquire_capture(struct device *device, const struct message_la *wish, struct capture *ret,
                    struct error *err);
/* channel: from 1. flags: enum reading_flag; value is infinite or NaN with READING_NOT_A_NUMBER. */
int acquire_reading(struct device *device, int channel, int quantity, double *ret_value, uint32_t *ret_flags,
                    struct error *err);

#endif
