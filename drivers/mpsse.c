/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * mpsse: FTDI's MPSSE engine (FT232H, FT2232H, FT4232H) as a SPI bridge. The engine is a stream of opcodes
 * (AN_108): this driver writes and reads that stream over any transport, so that it needs no USB to be
 * tested. A whole transaction is one write. Pins: ADBUS0 clock, 1 out, 2 in, 3 chip select; mode 0. Released
 * means inputs. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "drivers/spi_bridge.h"

enum opcode {
    WRITE_BYTES = 0x11, /* out on the falling edge, MSB first */
    READ_BYTES = 0x20,  /* in on the rising edge */
    SET_PINS = 0x80,    /* value, direction */
    READ_PINS = 0x81,
    LOOPBACK_OFF = 0x85,
    SET_DIVISOR = 0x86,
    FLUSH = 0x87,
    NO_DIVIDE_BY_5 = 0x8a,
    BOGUS_A = 0xaa, /* no opcodes: answered by FA and themselves */
    BOGUS_B = 0xab,
    BAD_OPCODE = 0xfa
};

enum { PIN_CLOCK = 1, PIN_OUT = 2, PIN_CS = 8, DRIVEN = PIN_CLOCK | PIN_OUT | PIN_CS };
enum { DIVISOR_MAX = 0xffff, SYNC_BYTES_MAX = 4096 };

#define BASE_HZ  60e6 /* clock is BASE_HZ / (2 * (1 + divisor)) */
#define ANSWER_S 1.0
#define QUIET_NS (20 * NS_PER_MS)

struct mpsse {
    struct spi_bridge bridge; /* first */
    unsigned divisor;
    bool other_mark; /* marks of two transactions in a row differ */
    uint8_t out[SPI_TX_MAX + 32];
};

static struct mpsse *of(struct spi_bridge *bridge)
{
    return (struct mpsse *)bridge;
}

static double clock_of(unsigned divisor)
{
    return BASE_HZ / (2.0 * (1 + divisor));
}

/* The fastest clock that is not above hz, else the slowest. */
static unsigned divisor_for(double hz)
{
    double divisor = ceil(BASE_HZ / (2 * hz) - 1 - 1e-9);
    return divisor <= 0 ? 0 : divisor >= DIVISOR_MAX ? DIVISOR_MAX : (unsigned)divisor;
}

static int tell(struct mpsse *s, const uint8_t *bytes, size_t n, struct error *err)
{
    return transport_write(s->bridge.device.transport, bytes, n, device_after(&s->bridge.device, ANSWER_S),
                           err);
}

static size_t put_pins(uint8_t *out, unsigned value, unsigned direction)
{
    out[0] = SET_PINS;
    out[1] = (uint8_t)value;
    out[2] = (uint8_t)direction;
    return 3;
}

static size_t put_length(uint8_t *out, int opcode, size_t n)
{
    out[0] = (uint8_t)opcode;
    out[1] = (uint8_t)((n - 1) & 0xff);
    out[2] = (uint8_t)((n - 1) >> 8);
    return 3;
}

static size_t put_divisor(uint8_t *out, unsigned divisor)
{
    out[0] = SET_DIVISOR;
    out[1] = (uint8_t)divisor;
    out[2] = (uint8_t)(divisor >> 8);
    return 3;
}

/* Reads until FA and the bogus opcode have come: all that came before belongs to the past. */
static int sync(struct mpsse *s, uint8_t bogus, struct error *err)
{
    const uint8_t out[] = { bogus, FLUSH };
    uint8_t last = 0, byte = 0;
    int64_t end_ns = device_after(&s->bridge.device, ANSWER_S);
    int code = tell(s, out, sizeof out, err);
    for (int i = 0; i < SYNC_BYTES_MAX && !code; i++) {
        code = transport_read_all(s->bridge.device.transport, &byte, 1, end_ns, err);
        if (!code && last == BAD_OPCODE && byte == bogus)
            return 0;
        last = byte;
    }
    return code ? code : error_set(err, ERR_GARBAGE, "no end of old bytes within %d", SYNC_BYTES_MAX);
}

/* A cut transaction has at most a length's worth of bytes open; they are filled with a wrong opcode, which is
 * harmless as data to a deselected chip and answered when it is heard. */
static int resync(struct spi_bridge *bridge, struct error *err)
{
    struct mpsse *s = of(bridge);
    uint8_t fill[SPI_TX_MAX];
    memset(fill, BOGUS_A, sizeof fill);
    int code = transport_drain(s->bridge.device.transport, bridge->device.env, QUIET_NS, err);
    if (!code)
        code = sync(s, BOGUS_A, err);
    if (code == ERR_TIMEOUT) {
        code = tell(s, fill, sizeof fill, err);
        if (!code)
            code = transport_drain(s->bridge.device.transport, bridge->device.env, QUIET_NS, err);
    }
    if (!code)
        code = sync(s, BOGUS_B, err);
    if (code == ERR_TIMEOUT)
        return error_set(err, ERR_NO_ANSWER, "no MPSSE engine answers a wrong opcode by FA");
    if (code)
        return code;
    uint8_t out[16] = { NO_DIVIDE_BY_5, LOOPBACK_OFF };
    size_t n = 2;
    n += put_divisor(out + n, s->divisor);
    n += put_pins(out + n, PIN_CS, bridge->driven ? DRIVEN : 0);
    return tell(s, out, n, err);
}

static int transfer(struct spi_bridge *bridge, const uint8_t *tx, size_t tx_n, uint8_t *rx, size_t rx_n,
                    struct error *err)
{
    struct mpsse *s = of(bridge);
    const uint8_t mark = s->other_mark ? BOGUS_B : BOGUS_A;
    uint8_t marked[2];
    s->other_mark = !s->other_mark;
    transport_flush(s->bridge.device.transport);
    s->out[0] = mark;
    size_t n = 1 + put_pins(s->out + 1, 0, DRIVEN);
    if (tx_n > 0) {
        n += put_length(s->out + n, WRITE_BYTES, tx_n);
        memcpy(s->out + n, tx, tx_n);
        n += tx_n;
    }
    if (rx_n > 0)
        n += put_length(s->out + n, READ_BYTES, rx_n);
    n += put_pins(s->out + n, PIN_CS, DRIVEN);
    s->out[n++] = READ_PINS; /* its answer says that the transaction has ended */
    s->out[n++] = FLUSH;
    double bits_s = 8 * (double)(tx_n + rx_n) / clock_of(s->divisor);
    int64_t end_ns = device_after(&s->bridge.device, ANSWER_S + 2 * bits_s);
    uint8_t pins = 0;
    int code = transport_write(s->bridge.device.transport, s->out, n, end_ns, err);
    if (!code)
        code = transport_read_all(s->bridge.device.transport, marked, sizeof marked, end_ns, err);
    if (!code && (marked[0] != BAD_OPCODE || marked[1] != mark))
        return error_set(err, ERR_GARBAGE, "the engine answers %02x %02x to the mark %02x of a transaction",
                         marked[0], marked[1], mark);
    if (!code)
        code = transport_read_all(s->bridge.device.transport, rx, rx_n, end_ns, err);
    if (!code)
        code = transport_read_all(s->bridge.device.transport, &pins, 1, end_ns, err);
    if (!code && !(pins & PIN_CS))
        return error_set(err, ERR_GARBAGE, "the engine says %02x for its pins after a transaction: CS is low",
                         pins);
    return code;
}

static int set_clock(struct spi_bridge *bridge, double hz, double *ret_hz, struct error *err)
{
    struct mpsse *s = of(bridge);
    uint8_t out[3];
    unsigned divisor = divisor_for(hz);
    int code = tell(s, out, put_divisor(out, divisor), err);
    if (!code)
        code = sync(s, BOGUS_A, err); /* the engine has come past it */
    if (code)
        return code;
    s->divisor = divisor;
    *ret_hz = clock_of(divisor);
    return 0;
}

/* The direction register cannot be read; what is read back is that the engine has come past it. */
static int drive(struct spi_bridge *bridge, bool on, bool *ret_driven, struct error *err)
{
    struct mpsse *s = of(bridge);
    uint8_t out[3];
    int code = tell(s, out, put_pins(out, PIN_CS, on ? DRIVEN : 0), err);
    if (!code)
        code = sync(s, BOGUS_A, err);
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
    struct mpsse *s = state;
    double spi_hz = s->bridge.device.config->spi_hz;
    s->bridge.ops = &OPS;
    s->bridge.tx_max = SPI_TX_MAX;
    s->bridge.rx_max = SPI_RX_MAX;
    snprintf(s->bridge.vendor, sizeof s->bridge.vendor, "FTDI");
    snprintf(s->bridge.model, sizeof s->bridge.model, "MPSSE");
    s->divisor = divisor_for(spi_hz > 0 ? spi_hz : 1e6);
    return spi_bridge_resync(s, err); /* one that somebody left driving lets go of its pins */
}

static int mpsse_open(struct driver_config *config, const struct transport_env *env, void **ret_state,
                      struct error *err)
{
    return device_open(sizeof(struct mpsse), config, env, set_up, ret_state, err);
}

static int mpsse_describe(const struct driver_config *config, struct driver_description *ret,
                          struct json_problems *problems, struct error *err)
{
    (void)config;
    (void)problems;
    (void)err;
    *ret = (struct driver_description){ .vendor = "FTDI", .energises = true };
    return 0;
}

const struct driver driver_mpsse = {
    .name = "mpsse",
    .link = DRIVER_BYTES,
    .classes = 1u << CLASS_SPI,
    .describe = mpsse_describe,
    .open = mpsse_open,
    .close = device_close,
    .request = spi_bridge_request,
    .resync = spi_bridge_resync,
};
