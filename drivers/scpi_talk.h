/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * scpi_talk: settings and questions in the words of a dialect, over one link: selects channels, joins
 * messages where the dialect allows, looks into the error queue after every setting, and gives each answer to
 * the question that it belongs to. Knows nothing of messages and ports. */
#ifndef DRIVERS_SCPI_TALK_H
#define DRIVERS_SCPI_TALK_H

#include "drivers/dialect.h"
#include "drivers/scpi_link.h"

enum { SCPI_TALK_ANSWERS_MAX = 12 };

struct scpi_talk {
    struct dialect *dialect;
    struct scpi_link link;
    char command[SCPI_MESSAGE_MAX]; /* last sent, for errors */
};

/* Text as it is; the answer is in link.answer. */
int scpi_talk_query(struct scpi_talk *s, const char *text, double timeout_s, struct error *err);
/* A setting as it is, and a look at the error queue. */
int scpi_talk_set(struct scpi_talk *s, const char *text, struct error *err);
/* Empties the error queue. The first entry becomes the error; first_text is one that was read already, or
 * NULL. */
int scpi_talk_errors(struct scpi_talk *s, const char *first_text, struct error *err);
bool scpi_talk_has(const struct scpi_talk *s, int command);
/* A setting of the dialect for a channel. */
int scpi_talk_set_value(struct scpi_talk *s, int command, int channel, double value, int decimals,
                        struct error *err);
/* Number of answers that a command brings: its parts. */
int scpi_talk_answers(const char *text);
/* Asks several commands of the dialect, joined where it allows. ret: the numbers in order, room for
 * SCPI_TALK_ANSWERS_MAX. */
int scpi_talk_ask(struct scpi_talk *s, const int *commands, int count, int channel, double timeout_s,
                  double *ret, struct error *err);
int scpi_talk_ask_one(struct scpi_talk *s, int command, int channel, double *ret, struct error *err);

#endif
