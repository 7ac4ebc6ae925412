/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * la: the logic analyzer class. A capture is `samples` samples of up to 64 inputs, packed: one sample is
 * unit_bytes bytes, little-endian, bit n is input n; inputs that were not asked for are 0. */
#ifndef INSTRUMENTS_LA_H
#define INSTRUMENTS_LA_H

#include "instruments/bench.h"

enum {
    LA_INPUTS_MAX = 64,
    LA_SAMPLES_MAX = 1 << 20,
    LA_BYTES_MAX = 4 << 20 /* of one capture */
};
#define LA_TIMEOUT_MAX_S 50.0
#define LA_RATE_MAX_HZ   10e9

enum la_trigger { LA_AT_ONCE, LA_LOW, LA_HIGH, LA_RISING, LA_FALLING, LA_EITHER, LA_TRIGGER_COUNT };
/* NULL-terminated names, in that order: "at_once", "low" ... */
extern const char *const LA_TRIGGERS[];

struct la_request {
    double rate_hz;
    uint64_t channels; /* bit per input */
    uint32_t samples;
    int trigger, trigger_channel; /* channel is an input, and one of channels, unless LA_AT_ONCE */
    int before_percent;           /* of the samples, kept from before the trigger */
    double timeout_s;             /* for the trigger to come */
};

struct la_capture {
    double rate_hz;   /* in force; may be another than was asked for */
    uint32_t samples; /* fewer than asked for where an analyzer counts what has passed before the trigger */
    int unit_bytes;
    int64_t trigger_sample; /* -1: none */
    int64_t time_ns;        /* bench clock at the end */
    uint8_t *bits;          /* samples * unit_bytes; la_capture_free */
};

/* What is wrong with a request, before it travels and again behind the wire. */
int la_check(const struct la_request *request, struct error *err);
/* Arms, waits for the trigger and fetches. The analyzer's port is busy meanwhile, other ports are not.
 * ERR_TIMEOUT: the trigger did not come. */
int la_capture(struct bench_client *client, int instrument, const struct la_request *request,
               struct la_capture *ret, struct error *err);
void la_capture_free(struct la_capture *capture);
bool la_level(const struct la_capture *capture, uint32_t sample, int input);

#endif
