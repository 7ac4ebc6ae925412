/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * spi: what a SPI bridge to the socket offers, as a bus of half-duplex transactions (CS low, write tx, read
 * rx, CS high). The chip runtime sees this interface and nothing else, so it runs over any bridge, over a
 * keeper or in a test.
 */
#ifndef INSTRUMENTS_SPI_H
#define INSTRUMENTS_SPI_H

#include <stddef.h>

#include "daemon/base/error.h"

enum {
    SPI_TX_MAX = 1040, /* a full ADL2 write burst and its framing, with slack */
    SPI_RX_MAX = 1040,
    SPI_BATCH_MAX = 256,         /* transactions in one batch */
    SPI_BATCH_BYTES = 128 * 1024 /* tx + rx bytes in one batch: one message to the keeper */
};

/* One transaction. rx is written only if the whole batch succeeded. */
struct spi_transfer {
    const uint8_t *tx;
    uint8_t *rx; /* NULL allowed when rx_len is 0 */
    uint16_t tx_len, rx_len;
    uint32_t delay_us; /* wait after this transaction, before the next, in bench time */
};

/* Used from one thread at a time. Errors: TIMEOUT, LINK, GARBAGE (retryable), FENCED, CANCELLED, RANGE. */
struct spi_bus {
    void *context;
    int (*batch)(void *context, const struct spi_transfer *transfer, int count, struct error *err);
    /* Bench time now, ns; and a wait in bench time. */
    int64_t (*now)(void *context);
    int (*wait)(void *context, int64_t duration_ns, struct error *err);
    /* SPI clock in force after set, Hz; bounds of one transaction. */
    double clock_hz;
    int tx_max, rx_max;
};

#endif
