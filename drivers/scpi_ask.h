/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * scpi_ask: what people ask: who are you, and raw lines of their own. Port's thread. */
#ifndef DRIVERS_SCPI_ASK_H
#define DRIVERS_SCPI_ASK_H

#include "drivers/scpi_talk.h"
#include "instruments/message.h"

/* MESSAGE_IDENTIFY from the text that the instrument gave. */
int scpi_ask_identity(const struct dialect *dialect, const char *identity, struct message *m,
                      uint8_t *payload, size_t room, struct error *err);
/* MESSAGE_QUERY. ret_changed: true when the line was a setting. */
int scpi_ask_query(struct scpi_talk *talk, struct message *m, uint8_t *payload, size_t room,
                   bool *ret_changed, struct error *err);

#endif
