/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * scpi_log: the instrument's own data logger: it takes one value after the other by its own clock, and they
 * are fetched in blocks. One quantity of one channel at a time, so that no order of interleaving must be
 * believed. Port's thread. */
#ifndef DRIVERS_SCPI_LOG_H
#define DRIVERS_SCPI_LOG_H

#include "drivers/scpi_talk.h"
#include "instruments/message.h"

/* Of one channel. Zero: not running. */
struct scpi_log {
    bool running;
    int64_t fetched; /* values so far */
    double period_s;
    double zero_s; /* of the instrument's clock: its first time, less one period */
};

int scpi_log_start(struct scpi_talk *talk, struct scpi_log *log, struct message *m, struct error *err);
/* As many as there are by now, as fit into the payload, and as one fetch may bring. */
int scpi_log_read(struct scpi_talk *talk, struct scpi_log *log, struct message *m, uint8_t *payload,
                  size_t room, struct error *err);
int scpi_log_stop(struct scpi_talk *talk, struct scpi_log *log, struct message *m, struct error *err);

#endif
