/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * spi_client: spi_client DRIVER RESOURCE: one of our SPI drivers against a flash: released pins are refused,
 * identity, erase, program, read back, release. Prints what failed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/driver.h"

struct client {
    const struct driver *driver;
    void *state;
    struct error err;
    uint8_t payload[MESSAGE_PAYLOAD_MAX];
};

static int request(struct client *c, int op, double value, double *ret)
{
    struct message m = { .op = (uint16_t)op, .value = { value } };
    int code = c->driver->request(c->state, &m, c->payload, sizeof c->payload, &c->err);
    if (ret)
        *ret = m.value[0];
    return code;
}

static int transfer(struct client *c, const char *tx, uint16_t tx_n, uint16_t rx_n, uint32_t delay_us)
{
    struct message_spi item = { tx_n, rx_n, delay_us };
    struct message m = { .op = MESSAGE_SPI_BATCH, .count = 1, .payload_length = sizeof item + tx_n };
    memcpy(c->payload, &item, sizeof item);
    memcpy(c->payload + sizeof item, tx, tx_n);
    return c->driver->request(c->state, &m, c->payload, sizeof c->payload, &c->err);
}

#define CHECK(condition)                                                                                     \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            printf("FAILED: %s: %s\n", #condition, c->err.message);                                          \
            return 1;                                                                                        \
        }                                                                                                    \
    } while (0)

static int run(struct client *c, bool idle_released)
{
    static const char PAGE[1042] = "\x02\x00\x10\x00The quick brown fox";
    enum { PAGE_BYTES = 4 + 19 };
    double value;
    CHECK(transfer(c, "\x9f", 1, 3, 0) == ERR_REFUSED);
    CHECK(request(c, MESSAGE_SPI_CLOCK, 4e6, &value) == 0 && value <= 4e6);
    CHECK(request(c, MESSAGE_SPI_CLOCK, 0.5, NULL) == ERR_RANGE);
    CHECK(request(c, MESSAGE_SPI_DRIVE, 1, NULL) == 0);
    CHECK(transfer(c, "\x9f", 1, 3, 0) == 0 && memcmp(c->payload, "\xc2\x20\x11", 3) == 0);
    CHECK(transfer(c, "\x06", 1, 0, 0) == 0);
    CHECK(transfer(c, "\x20\x00\x10\x00", 4, 0, 60000) == 0);
    CHECK(transfer(c, "\x06", 1, 0, 0) == 0);
    CHECK(transfer(c, PAGE, PAGE_BYTES, 0, 2000) == 0);
    CHECK(transfer(c, "\x03\x00\x10\x00", 4, 1000, 0) == 0);
    CHECK(memcmp(c->payload, PAGE + 4, PAGE_BYTES - 4) == 0 && c->payload[999] == 0xff);
    CHECK(transfer(c, PAGE, sizeof PAGE, 0, 0) == ERR_RANGE);
    CHECK(request(c, MESSAGE_SAFE_OFF, 0, &value) == 0 && (value == 0) == idle_released);
    CHECK(transfer(c, "\x9f", 1, 3, 0) == ERR_REFUSED);
    return 0;
}

int main(int argc, char **argv)
{
    static struct client client;
    struct transport_env env = { .cut_fd = -1 };
    struct driver_config config = { .name = "bridge", .spi_hz = 1e6 };
    if (argc != 3 || !(client.driver = driver_find(argv[1])))
        return 2;
    snprintf(config.resource, sizeof config.resource, "%s", argv[2]);
    if (clock_open(NULL, &env.clock, NULL) || clock_actor_open(env.clock, "client", 0, &env.actor, NULL))
        return 2;
    if (client.driver->open(&config, &env, &client.state, &client.err)) {
        printf("open: %s\n", client.err.message);
        return 1;
    }
    int code = run(&client, strstr(argv[2], "idle=released") || strncmp(argv[2], "spidev:", 7) != 0);
    client.driver->close(client.state);
    clock_actor_close(env.actor);
    clock_close(env.clock);
    return code;
}
