/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * history: the last requests of one bench client with what became of them, so that the record of an error
 * says what led to it. Owned by the client's thread; never allocates. */
#ifndef INSTRUMENTS_HISTORY_H
#define INSTRUMENTS_HISTORY_H

#include "daemon/base/text.h"
#include "instruments/message.h"

enum { HISTORY_ROWS = 20 };

struct history {
    unsigned count; /* ever added */
    struct history_row {
        uint16_t op;
        int16_t instrument, channel;
        int32_t code;
        uint32_t items;
        double value;
        int64_t begin_ns, elapsed_ns;
    } row[HISTORY_ROWS];
};

/* A request as it was asked, and its end. Times of the bench's clock. */
void history_add(struct history *history, const struct message *asked, int64_t begin_ns, int64_t end_ns,
                 int code);
/* [{"at_s","instrument","op","channel","value","items","elapsed_ms","code"}], oldest first; at_s is relative
 * to now. name_of gives the name of an instrument's index. */
void history_json(const struct history *history, int64_t now_ns,
                  const char *(*name_of)(const void *context, int instrument), const void *context,
                  struct strbuf *out);

#endif
