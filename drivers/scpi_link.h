/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * scpi_link: messages of IEEE 488.2 over a transport: one write per message, reading up to the terminator
 * (not up to a line feed inside a block). Knows nothing of dialects. */
#ifndef DRIVERS_SCPI_LINK_H
#define DRIVERS_SCPI_LINK_H

#include "drivers/transport.h"

enum { SCPI_ANSWER_MAX = 64 * 1024, SCPI_MESSAGE_MAX = 1024 };

/* Finds the end of an answer that arrives in pieces. Zero-initialise. */
struct scpi_framer {
    int state;
    size_t header_digits; /* digits of a block's length still to come */
    size_t block_left;    /* bytes of a block still to come */
    size_t length;
};
/* Takes one byte; true when it was the terminator. */
bool scpi_framer_take(struct scpi_framer *framer, char byte);

struct scpi_link {
    const struct transport_env *env;
    struct transport *transport;
    char *answer; /* SCPI_ANSWER_MAX + 1 bytes: the last answer, NUL-terminated, without its terminator */
    size_t answer_length;
    char *rest; /* what came behind the end of the last answer */
    size_t rest_length;
    bool crlf;          /* messages end with CR LF */
    double pause_s;     /* from the end of an exchange to the next message */
    int64_t not_before; /* bench time of the next message, at the earliest */
};

int scpi_link_open(struct scpi_link *link, const struct transport_env *env, const char *name,
                   const char *resource, struct error *err);
void scpi_link_close(struct scpi_link *link);
/* The next message goes out this much later, at the earliest. */
void scpi_link_rest(struct scpi_link *link, double seconds);
/* Sends text and its line feed in one write. */
int scpi_link_send(struct scpi_link *link, const char *text, double timeout_s, struct error *err);
/* Reads one answer into link->answer; what came behind it is kept for the next call. */
int scpi_link_receive(struct scpi_link *link, double timeout_s, struct error *err);
/* Drops stale input, sends, reads the answer. ERR_GARBAGE when more than one answer came: nobody can say
 * which is ours. */
int scpi_link_query(struct scpi_link *link, const char *text, double timeout_s, struct error *err);

#endif
