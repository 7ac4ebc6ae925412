/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * bridge_serprog: limits of the simulated serprog bridge, and the SPI flash that may stand behind it instead
 * of the chip in the socket, so that flashrom can judge the bridge. */
#ifndef DRIVERS_SIM_BRIDGE_SERPROG_H
#define DRIVERS_SIM_BRIDGE_SERPROG_H

#include <stddef.h>

#include "daemon/base/error.h"

enum { SERPROG_WRITE_MAX = 2048, SERPROG_READ_MAX = 2048, SERPROG_QUEUE_MAX = 1 << 20 };

struct spi_flash; /* MX25L1006E: 128 KiB */

struct spi_flash *spi_flash_open(void);
void spi_flash_close(struct spi_flash *flash);
/* One transaction that ends at end_ns, when programming and erasing begin. */
void spi_flash_transfer(struct spi_flash *flash, const uint8_t *mosi, size_t mosi_n, uint8_t *miso,
                        size_t rx_n, int64_t end_ns);

#endif
