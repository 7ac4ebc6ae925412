/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * logger: the data logger that some supplies and sources have: one value after the other by the instrument's
 * own clock, fetched in blocks, so that nothing is missed between two questions. */
#ifndef INSTRUMENTS_LOGGER_H
#define INSTRUMENTS_LOGGER_H

#include "instruments/bench.h"

enum { LOGGER_READ_MAX = 256 };

struct logger_values {
    int count; /* 0: no new ones yet */
    uint32_t flags;
    double value[LOGGER_READ_MAX],
        at_s[LOGGER_READ_MAX]; /* NAN where it gave a code; seconds since the start */
};

/* ret_begin_ns: bench time of the start. ERR_UNSUPPORTED where there is none, ERR_RANGE for a period that it
 * cannot keep. */
int logger_start(struct bench_client *c, const struct bench_channel *ch, int quantity, double period_s,
                 int64_t *ret_begin_ns, struct error *err);
/* What was not read yet, oldest first. ERR_REFUSED after values were lost on their way: start again. */
int logger_read(struct bench_client *c, const struct bench_channel *ch, struct logger_values *ret,
                struct error *err);
int logger_stop(struct bench_client *c, const struct bench_channel *ch, struct error *err);

#endif
