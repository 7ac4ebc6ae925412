/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * history: a ring of rows. */
#include "instruments/history.h"

#include <math.h>

static const char *op_name(int op)
{
    static const char *const names[] = {
        [MESSAGE_SET_VOLTAGE] = "set_voltage",
        [MESSAGE_SET_LIMIT] = "set_limit",
        [MESSAGE_SET_PROTECTION] = "set_protection",
        [MESSAGE_OUTPUT] = "output",
        [MESSAGE_STATE] = "state",
        [MESSAGE_CLEAR_TRIP] = "clear_trip",
        [MESSAGE_MEASURE] = "measure",
        [MESSAGE_CONFIGURE] = "configure",
        [MESSAGE_IDENTIFY] = "identify",
        [MESSAGE_QUERY] = "query",
        [MESSAGE_SPI_BATCH] = "spi_batch",
        [MESSAGE_SPI_CLOCK] = "spi_clock",
        [MESSAGE_SPI_DRIVE] = "spi_drive",
        [MESSAGE_SET_TEMPERATURE] = "set_temperature",
        [MESSAGE_SAFE_OFF] = "safe_off",
        [MESSAGE_LA_CAPTURE] = "la_capture",
        [MESSAGE_LA_FETCH] = "la_fetch",
    };

    if (op > 0 && op < MESSAGE_PORT_COUNT && names[op] != NULL)
        return names[op];
    switch (op) {
    case MESSAGE_KEEPER_UNDO:
        return "undo";
    case MESSAGE_KEEPER_SAFE:
        return "safe";
    default:
        return "keeper";
    }
}

void history_add(struct history *history, const struct message *asked, int64_t begin_ns, int64_t end_ns,
                 int code)
{
    history->row[history->count++ % HISTORY_ROWS] = (struct history_row){ .op = asked->op,
                                                                          .instrument = asked->instrument,
                                                                          .channel = asked->channel,
                                                                          .code = code,
                                                                          .items = asked->count,
                                                                          .value = asked->value[0],
                                                                          .begin_ns = begin_ns,
                                                                          .elapsed_ns = end_ns - begin_ns };
}

void history_json(const struct history *history, int64_t now_ns,
                  const char *(*name_of)(const void *context, int instrument), const void *context,
                  struct strbuf *out)
{
    unsigned count = history->count < HISTORY_ROWS ? history->count : HISTORY_ROWS;

    strbuf_add(out, "[");
    for (unsigned i = history->count - count; i != history->count; i++) {
        const struct history_row *row = &history->row[i % HISTORY_ROWS];
        strbuf_add(out, "%s{\"at_s\":%.6f,\"instrument\":\"%s\",\"op\":\"%s\",\"channel\":%d",
                   i == history->count - count ? "" : ",", (double)(row->begin_ns - now_ns) / 1e9,
                   name_of(context, row->instrument), op_name(row->op), row->channel);
        if (row->items > 0)
            strbuf_add(out, ",\"items\":%u", (unsigned)row->items);
        else if (isfinite(row->value))
            strbuf_add(out, ",\"value\":%.9g", row->value);
        strbuf_add(out, ",\"elapsed_ms\":%.3f,\"code\":\"%s\"}", (double)row->elapsed_ns / 1e6,
                   error_name(row->code));
    }
    strbuf_add(out, "]");
}
