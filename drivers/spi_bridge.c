/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * spi_bridge: batches and messages of bridges that run one transaction at a time. */
#include "drivers/spi_bridge.h"

#include <stdio.h>
#include <string.h>

int spi_bridge_step(const double *steps, int count, double hz)
{
    int i = count - 1;
    while (i > 0 && steps[i] > hz)
        i--;
    return i;
}

/* Lengths come from a peer process: everything is checked before a byte goes out. */
static int check_batch(const struct spi_bridge *b, const struct message *m, const struct message_spi *items,
                       size_t room, struct error *err)
{
    size_t tx = 0, rx = 0;
    for (uint32_t i = 0; i < m->count; i++) {
        if (items[i].tx_len > b->tx_max || items[i].rx_len > b->rx_max)
            return error_set(err, ERR_RANGE,
                             "SPI transaction %u of %u bytes out, %u in; the bridge takes %zu, %zu", i,
                             items[i].tx_len, items[i].rx_len, b->tx_max, b->rx_max);
        tx += items[i].tx_len;
        rx += items[i].rx_len;
    }
    if (m->payload_length != m->count * sizeof *items + tx || rx > room || rx > SPI_BATCH_BYTES)
        return error_set(err, ERR_INVALID, "SPI batch of %u transactions does not fit its message", m->count);
    return 0;
}

static int run_batch(struct spi_bridge *b, const struct message_spi *items, uint32_t count, const uint8_t *tx,
                     size_t *ret_rx, struct error *err)
{
    size_t rx = 0;
    for (uint32_t i = 0; i < count; i++) {
        int code = b->ops->transfer(b, tx, items[i].tx_len, b->answer + rx, items[i].rx_len, err);
        if (code) {
            error_prefix(err, "SPI transaction %u", i);
            return code;
        }
        tx += items[i].tx_len;
        rx += items[i].rx_len;
        if (items[i].delay_us == 0)
            continue;
        code = clock_sleep_until(b->device.env->actor,
                                 clock_now(b->device.env->clock) + items[i].delay_us * NS_PER_US,
                                 b->device.env->cut_fd);
        if (code)
            return error_set(err, code, "wait between SPI transactions");
    }
    *ret_rx = rx;
    return 0;
}

static int do_batch(struct spi_bridge *b, struct message *m, uint8_t *payload, size_t room, struct error *err)
{
    struct message_spi items[SPI_BATCH_MAX];
    if (m->count > SPI_BATCH_MAX || m->payload_length < m->count * sizeof *items)
        return error_set(err, ERR_INVALID, "SPI batch of %u transactions in %u bytes", m->count,
                         m->payload_length);
    memcpy(items, payload, m->count * sizeof *items);
    int code = check_batch(b, m, items, room, err);
    if (code)
        return code;
    if (!b->driven)
        return error_set(err, ERR_REFUSED, "the pins of the bridge are released");
    size_t rx = 0;
    code = run_batch(b, items, m->count, payload + m->count * sizeof *items, &rx, err);
    if (code) {
        b->dirty = true;
        return code;
    }
    memcpy(payload, b->answer, rx);
    m->payload_length = (uint32_t)rx;
    return 0;
}

static int do_identify(const struct spi_bridge *b, struct message *m, uint8_t *payload, size_t room,
                       struct error *err)
{
    int n =
        snprintf((char *)payload, room, "%s%c%s%c%c%s", b->vendor, '\0', b->model, '\0', '\0', b->firmware);
    if (n < 0 || (size_t)n >= room)
        return error_set(err, ERR_INTERNAL, "no room for an identity");
    m->payload_length = (uint32_t)n + 1;
    return 0;
}

static int do_clock(struct spi_bridge *b, struct message *m, struct error *err)
{
    double hz = m->value[0], real_hz = 0;
    if (!(hz >= 1 && hz <= 4e9))
        return error_set(err, ERR_RANGE, "SPI clock %g Hz is outside 1 Hz .. 4 GHz", hz);
    int code = b->ops->set_clock(b, hz, &real_hz, err);
    if (code)
        return code;
    b->device.config->spi_hz = hz; /* asked for again after a reconnect */
    m->value[0] = real_hz;
    m->value[1] = (double)b->tx_max;
    m->value[2] = (double)b->rx_max;
    return 0;
}

static int do_drive(struct spi_bridge *b, bool on, bool *ret_driven, struct error *err)
{
    *ret_driven = true;
    int code = b->ops->drive(b, on, ret_driven, err);
    if (code)
        b->dirty = true; /* how far it came is unknown */
    else
        b->driven = on;
    return code;
}

static int serve(void *state, struct message *m, uint8_t *payload, size_t room, struct error *err)
{
    struct spi_bridge *b = state;
    bool driven;
    int code = b->dirty ? spi_bridge_resync(b, err) : 0;
    if (code)
        return code;
    switch (m->op) {
    case MESSAGE_IDENTIFY:
        return do_identify(b, m, payload, room, err);
    case MESSAGE_SPI_BATCH:
        return do_batch(b, m, payload, room, err);
    case MESSAGE_SPI_CLOCK:
        return do_clock(b, m, err);
    case MESSAGE_SPI_DRIVE:
        return do_drive(b, m->value[0] != 0, &driven, err);
    case MESSAGE_SAFE_OFF:
        code = do_drive(b, false, &driven, err);
        if (!code)
            m->value[0] = driven;
        return code;
    default:
        return error_set(err, ERR_UNSUPPORTED, "a SPI bridge does not serve operation %u", m->op);
    }
}

int spi_bridge_request(void *state, struct message *message, uint8_t *payload, size_t room, struct error *err)
{
    return device_request(state, serve, message, payload, room, err);
}

int spi_bridge_resync(void *state, struct error *err)
{
    struct spi_bridge *b = state;
    int code = b->ops->resync(b, err);
    if (!code)
        b->dirty = false;
    return code;
}
