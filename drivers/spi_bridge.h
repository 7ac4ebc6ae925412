/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * spi_bridge: what bridges have in common that run one transaction at a time: checking a batch that comes
 * from another process, running it with its pauses, and serving the messages of the class. A driver is a
 * struct that starts with a struct spi_bridge, and one struct spi_bridge_ops. A bridge that can hold several
 * transactions (drivers/serprog.c) does better by itself. */
#ifndef DRIVERS_SPI_BRIDGE_H
#define DRIVERS_SPI_BRIDGE_H

#include "drivers/device.h"

struct spi_bridge;

struct spi_bridge_ops {
    /* CS low, tx out, rx in, CS high. Lengths are within the bridge's bounds. */
    int (*transfer)(struct spi_bridge *bridge, const uint8_t *tx, size_t tx_n, uint8_t *rx, size_t rx_n,
                    struct error *err);
    /* The highest clock that the bridge has and that is not above hz, else its lowest. */
    int (*set_clock)(struct spi_bridge *bridge, double hz, double *ret_hz, struct error *err);
    /* Drives or releases the pins. ret_driven: what a read back says, where the bridge has one. */
    int (*drive)(struct spi_bridge *bridge, bool on, bool *ret_driven, struct error *err);
    /* Brings both ends to a message boundary; leaves pins and clock as they should be. */
    int (*resync)(struct spi_bridge *bridge, struct error *err);
};

struct spi_bridge {
    struct device device; /* first */
    const struct spi_bridge_ops *ops;
    size_t tx_max, rx_max; /* of one transaction */
    bool driven;           /* transactions are refused while the pins are released */
    bool dirty;            /* bytes of an abandoned transaction may still come */
    char vendor[32], model[32], firmware[32];
    uint8_t answer[SPI_BATCH_BYTES];
};

/* For struct driver: state is the bridge. */
int spi_bridge_request(void *state, struct message *message, uint8_t *payload, size_t room,
                       struct error *err);
int spi_bridge_resync(void *state, struct error *err);
/* Index of the highest of `count` ascending steps that is not above hz, else 0. */
int spi_bridge_step(const double *steps, int count, double hz);

#endif
