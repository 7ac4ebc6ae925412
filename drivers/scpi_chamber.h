/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * scpi_chamber: chambers and air streams that are spoken to in lines of text, as their dialect says. Each
 * serves one message in place. Port's thread. */
#ifndef DRIVERS_SCPI_CHAMBER_H
#define DRIVERS_SCPI_CHAMBER_H

#include "drivers/scpi_talk.h"
#include "instruments/message.h"

/* Refused outside the file's limits and outside those that the chamber itself has been given. */
int scpi_chamber_set(struct scpi_talk *talk, const struct dialect_channel *ch, struct message *m,
                     struct error *err);
int scpi_chamber_setup(struct scpi_talk *talk, struct message *m, struct error *err);
int scpi_chamber_state(struct scpi_talk *talk, const struct dialect_channel *ch, struct message *m,
                       struct error *err);
int scpi_chamber_measure(struct scpi_talk *talk, const struct dialect_channel *ch, struct message *m,
                         struct error *err);

#endif
