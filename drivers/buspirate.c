/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * buspirate: the Bus Pirate's binary SPI mode (hardware v3, firmware 5.5 and later). Outside of SPI mode, in
 * raw bit-bang mode, its pins are inputs: that is how they are released, and its answer "BBIO1" is the read
 * back. Framing after the maker's binary-mode notes and flashrom's buspirate_spi.c; the pins' state in
 * bit-bang mode is [K]: measure it on the unit before trusting a socket to it. */
#include <stdio.h>
#include <string.h>

#include "drivers/spi_bridge.h"

enum {
    CMD_BITBANG = 0x00, /* leaves SPI mode; from the terminal it takes 20 of them */
    CMD_SPI = 0x01,
    CMD_CS_HIGH = 0x03,
    CMD_WRITE_READ = 0x04,
    CMD_PINS = 0x40 | 0x01, /* CS high; no power, no pull-ups: the bench has supplies of its own */
    CMD_SPEED = 0x60,
    CMD_MODE = 0x80 | 0x0a /* push-pull, clock idles low, data changes on its falling edge: mode 0 */
};

enum {
    DONE = 0x01,
    WRITE_READ_HEADER = 5,
    WRITE_READ_MAX = 4096,
    BITBANG_TRIES = 20,
    FILL_MAX = WRITE_READ_MAX + WRITE_READ_HEADER + BITBANG_TRIES
};

#define ANSWER_S  0.5
#define QUIET_NS  (30 * NS_PER_MS)
#define BYTE_S    (10 / 115200.0) /* the slowest line speed it comes with */
#define BETWEEN_S 0.01            /* its input overflows when bit-bang requests come faster */

static const double SPEEDS[] = { 30e3, 125e3, 250e3, 1e6, 2e6, 2.6e6, 4e6, 8e6 };
enum { SPEED_COUNT = sizeof SPEEDS / sizeof *SPEEDS };

struct buspirate {
    struct spi_bridge bridge; /* first */
    int speed;                /* index in SPEEDS */
    uint8_t out[WRITE_READ_HEADER + SPI_TX_MAX];
};

static struct buspirate *of(struct spi_bridge *bridge)
{
    return (struct buspirate *)bridge;
}

/* One byte, answered by 01. */
static int configure(struct buspirate *s, int byte, struct error *err)
{
    uint8_t out = (uint8_t)byte, in = 0;
    int code =
        transport_write(s->bridge.device.transport, &out, 1, device_after(&s->bridge.device, ANSWER_S), err);
    if (!code)
        code = transport_read_all(s->bridge.device.transport, &in, 1,
                                  device_after(&s->bridge.device, ANSWER_S), err);
    if (code) {
        error_prefix(err, "Bus Pirate command %02x", out);
        return code;
    }
    if (in != DONE)
        return error_set(err, ERR_GARBAGE, "the Bus Pirate answers %02x to command %02x", in, out);
    return 0;
}

/* Reads until `word` has come; counts what came. */
static int expect(struct buspirate *s, const char *word, int64_t end_ns, size_t *heard, struct error *err)
{
    char seen[BITBANG_TRIES * 8] = "";
    size_t have = 0, n = strlen(word);
    while (have < sizeof seen) {
        int code = transport_read_all(s->bridge.device.transport, seen + have, 1, end_ns, err);
        if (code)
            return code;
        have++;
        (*heard)++;
        if (have >= n && memcmp(seen + have - n, word, n) == 0)
            return 0;
    }
    return error_set(err, ERR_GARBAGE, "no %s within %zu bytes", word, sizeof seen);
}

/* From SPI mode, from the terminal's prompt, or from bit-bang mode itself. ERR_NO_ANSWER: it says nothing. */
static int enter_bitbang(struct buspirate *s, struct error *err)
{
    static const uint8_t zero = CMD_BITBANG;
    size_t heard = 0;
    for (int i = 0; i < BITBANG_TRIES; i++) {
        bool last = i == BITBANG_TRIES - 1;
        int code = transport_write(s->bridge.device.transport, &zero, 1,
                                   device_after(&s->bridge.device, ANSWER_S), err);
        if (!code)
            code =
                expect(s, "BBIO1", device_after(&s->bridge.device, last ? ANSWER_S : BETWEEN_S), &heard, err);
        if (code == 0) /* earlier zeros may bring more of them */
            return transport_drain(s->bridge.device.transport, s->bridge.device.env, QUIET_NS, err);
        if (code != ERR_TIMEOUT)
            return code;
    }
    return error_set(err, heard ? ERR_GARBAGE : ERR_NO_ANSWER,
                     "no Bus Pirate: nobody says BBIO1 after %d zeros", BITBANG_TRIES);
}

static int enter_spi(struct buspirate *s, struct error *err)
{
    static const uint8_t spi = CMD_SPI;
    size_t heard = 0;
    int code =
        transport_write(s->bridge.device.transport, &spi, 1, device_after(&s->bridge.device, ANSWER_S), err);
    if (!code)
        code = expect(s, "SPI1", device_after(&s->bridge.device, ANSWER_S), &heard, err);
    const int settings[] = { CMD_PINS, CMD_SPEED | s->speed, CMD_MODE, CMD_CS_HIGH };
    for (size_t i = 0; i < sizeof settings / sizeof *settings && !code; i++)
        code = configure(s, settings[i], err);
    return code;
}

/* A write-then-read that was cut waits for up to 4096 bytes and says nothing meanwhile: zeros fill it. Its
 * answer tells nothing; what counts is BBIO1 afterwards. A chip that is selected meanwhile sees zeros, so a
 * cut transaction is the caller's to repeat. */
static int resync(struct spi_bridge *bridge, struct error *err)
{
    static const uint8_t zeros[FILL_MAX];
    struct buspirate *s = of(bridge);
    int code = transport_drain(s->bridge.device.transport, bridge->device.env, QUIET_NS, err);
    if (!code)
        code = enter_bitbang(s, err);
    if (code == ERR_NO_ANSWER) {
        code = transport_write(s->bridge.device.transport, zeros, sizeof zeros,
                               device_after(&s->bridge.device, ANSWER_S + FILL_MAX * BYTE_S), err);
        if (!code) /* all of it has to pass the line before it can be heard */
            code = transport_drain(s->bridge.device.transport, bridge->device.env,
                                   QUIET_NS + (int64_t)(FILL_MAX * BYTE_S * 1e9), err);
        if (!code)
            code = enter_bitbang(s, err);
    }
    return !code && bridge->driven ? enter_spi(s, err) : code;
}

static int transfer(struct spi_bridge *bridge, const uint8_t *tx, size_t tx_n, uint8_t *rx, size_t rx_n,
                    struct error *err)
{
    struct buspirate *s = of(bridge);
    const uint8_t header[WRITE_READ_HEADER] = { CMD_WRITE_READ, (uint8_t)(tx_n >> 8), (uint8_t)tx_n,
                                                (uint8_t)(rx_n >> 8), (uint8_t)rx_n };
    uint8_t first = 0;
    memcpy(s->out, header, sizeof header);
    memcpy(s->out + sizeof header, tx, tx_n);
    transport_flush(s->bridge.device.transport);
    double bytes = (double)(sizeof header + tx_n + rx_n + 1);
    int64_t end_ns = device_after(&s->bridge.device, ANSWER_S + 2 * bytes * (BYTE_S + 8 / SPEEDS[s->speed]));
    int code = transport_write(s->bridge.device.transport, s->out, sizeof header + tx_n, end_ns, err);
    if (!code)
        code = transport_read_all(s->bridge.device.transport, &first, 1, end_ns, err);
    if (code)
        return code;
    if (first != DONE)
        return error_set(err, first == 0 ? ERR_REFUSED : ERR_GARBAGE,
                         "the Bus Pirate answers %02x to a transaction of %zu bytes out, %zu in", first, tx_n,
                         rx_n);
    return transport_read_all(s->bridge.device.transport, rx, rx_n, end_ns, err);
}

static int set_clock(struct spi_bridge *bridge, double hz, double *ret_hz, struct error *err)
{
    struct buspirate *s = of(bridge);
    int speed = spi_bridge_step(SPEEDS, SPEED_COUNT, hz);
    int code = bridge->driven ? configure(s, CMD_SPEED | speed, err) : 0; /* else when SPI mode is entered */
    if (code)
        return code;
    s->speed = speed;
    *ret_hz = SPEEDS[speed];
    return 0;
}

static int drive(struct spi_bridge *bridge, bool on, bool *ret_driven, struct error *err)
{
    struct buspirate *s = of(bridge);
    int code = on && bridge->driven ? 0 : on ? enter_spi(s, err) : enter_bitbang(s, err);
    if (!code)
        *ret_driven = on;
    return code;
}

static const struct spi_bridge_ops OPS = {
    .transfer = transfer,
    .set_clock = set_clock,
    .drive = drive,
    .resync = resync,
};

static int set_up(void *state, struct error *err)
{
    struct buspirate *s = state;
    double spi_hz = s->bridge.device.config->spi_hz;
    s->bridge.ops = &OPS;
    s->bridge.tx_max = SPI_TX_MAX;
    s->bridge.rx_max = SPI_RX_MAX;
    snprintf(s->bridge.vendor, sizeof s->bridge.vendor, "Dangerous Prototypes");
    snprintf(s->bridge.model, sizeof s->bridge.model, "Bus Pirate");
    snprintf(s->bridge.firmware, sizeof s->bridge.firmware, "BBIO1 SPI1");
    s->speed = spi_bridge_step(SPEEDS, SPEED_COUNT, spi_hz > 0 ? spi_hz : 1e6);
    return spi_bridge_resync(s, err); /* one that somebody left driving lets go of its pins */
}

static int buspirate_open(struct driver_config *config, const struct transport_env *env, void **ret_state,
                          struct error *err)
{
    return device_open(sizeof(struct buspirate), config, env, set_up, ret_state, err);
}

static int buspirate_describe(const struct driver_config *config, struct driver_description *ret,
                              struct json_problems *problems, struct error *err)
{
    (void)config;
    (void)problems;
    (void)err;
    *ret = (struct driver_description){ .vendor = "Dangerous Prototypes", .energises = true };
    return 0;
}

const struct driver driver_buspirate = {
    .name = "buspirate",
    .link = DRIVER_BYTES,
    .classes = 1u << CLASS_SPI,
    .describe = buspirate_describe,
    .open = buspirate_open,
    .close = device_close,
    .request = spi_bridge_request,
    .resync = spi_bridge_resync,
};
