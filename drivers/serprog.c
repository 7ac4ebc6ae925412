/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * serprog: SPI bridges that speak serprog version 1 (flashrom's serprog-protocol): microcontrollers on USB
 * serial lines, network bridges, the simulated one. Transactions of a batch are pipelined: several are on
 * their way while earlier answers come back, within what the bridge says its buffer holds. No opcode is sent
 * whose bit in the command map is 0. */
#include <stdio.h>
#include <string.h>

#include "drivers/device.h"

enum serprog_byte { ACK = 0x06, NAK = 0x15 };

enum serprog_op {
    OP_NOP = 0x00,
    OP_Q_IFACE = 0x01,
    OP_Q_CMDMAP = 0x02,
    OP_Q_PGMNAME = 0x03,
    OP_Q_SERBUF = 0x04,
    OP_Q_WRNMAXLEN = 0x08,
    OP_SYNCNOP = 0x10,
    OP_Q_RDNMAXLEN = 0x11,
    OP_S_BUSTYPE = 0x12,
    OP_O_SPIOP = 0x13,
    OP_S_SPI_FREQ = 0x14,
    OP_S_PIN_STATE = 0x15
};

enum {
    BUS_SPI = 0x08,
    SPIOP_HEADER = 7,
    WINDOW_MAX = 32 * 1024, /* bytes on their way, each direction, when the bridge has flow control */
    SERBUF_FLOW_CONTROL = 0xffff,
    WRONG_ROUNDS_MAX = 8,
    NOPS_FIRST = 512,
    NOPS_MAX = 16 * 1024,
    READ_CHUNK = 16 * 1024,
    OUT_MAX = WINDOW_MAX + SPIOP_HEADER + SPI_TX_MAX
};

#define ANSWER_S 1.0 /* longest time to any answer, beside the transfer itself */
#define SYNC_S   0.1 /* a synchronising bridge answers at once */
#define RESYNC_S 2.0 /* then the bridge is given up */
#define QUIET_NS (20 * NS_PER_MS)

struct serprog {
    struct device device; /* first */
    uint8_t map[32];
    char name[17];
    unsigned version;
    size_t wrnmax, rdnmax, window;
    double hz;
    bool dirty; /* answers of an abandoned batch may still come */
    uint8_t out[OUT_MAX], chunk[READ_CHUNK], answer[SPI_BATCH_BYTES];
};

static bool offers(const struct serprog *s, int op)
{
    return s->map[op / 8] >> (op % 8) & 1;
}

static size_t little_endian(const uint8_t *bytes, int n)
{
    size_t value = 0;
    while (n-- > 0)
        value = value << 8 | bytes[n];
    return value;
}

/* One command and its answer of exactly `n` bytes behind the ACK. */
static int command(struct serprog *s, const uint8_t *bytes, size_t count, uint8_t *ret, size_t n,
                   struct error *err)
{
    uint8_t first = 0;
    int64_t end_ns = device_after(&s->device, ANSWER_S);
    int code = transport_write(s->device.transport, bytes, count, end_ns, err);
    if (!code)
        code = transport_read_all(s->device.transport, &first, 1, end_ns, err);
    if (code)
        return error_prefix(err, "serprog command %02x", bytes[0]);
    if (first == NAK)
        return error_set(err, ERR_REFUSED, "the bridge refuses serprog command %02x", bytes[0]);
    if (first != ACK)
        return error_set(err, ERR_GARBAGE, "the bridge answers %02x to serprog command %02x", first,
                         bytes[0]);
    return transport_read_all(s->device.transport, ret, n, end_ns, err);
}

static int ask(struct serprog *s, int op, uint8_t *ret, size_t n, struct error *err)
{
    uint8_t byte = (uint8_t)op;
    return command(s, &byte, 1, ret, n, err);
}

enum sync { SYNC_SILENT, SYNC_WRONG, SYNC_GOOD };

/* SYNCNOP is answered by NAK and ACK and nothing else. */
static int sync_once(struct serprog *s, enum sync *ret_sync, struct error *err)
{
    uint8_t nop = OP_SYNCNOP, answer[2];
    size_t have = 0, n = 0;
    int64_t end_ns = device_after(&s->device, SYNC_S);
    int code = transport_write(s->device.transport, &nop, 1, device_after(&s->device, ANSWER_S), err);
    while (!code && have < sizeof answer) {
        code = transport_read(s->device.transport, answer + have, sizeof answer - have, end_ns, &n, err);
        have += code ? 0 : n;
    }
    bool good = have == 2 && answer[0] == NAK && answer[1] == ACK;
    *ret_sync = good ? SYNC_GOOD : have > 0 ? SYNC_WRONG : SYNC_SILENT;
    return code == ERR_TIMEOUT ? 0 : code;
}

/* Two answers to SYNCNOP look alike: a bridge that is one answer behind gives them too. The answer to a NOP
 * is another one. */
static int prove_sync(struct serprog *s, bool *ret_synced, struct error *err)
{
    uint8_t nop = OP_NOP, answer = NAK;
    int code = transport_write(s->device.transport, &nop, 1, device_after(&s->device, ANSWER_S), err);
    if (!code)
        code = transport_read_all(s->device.transport, &answer, 1, device_after(&s->device, SYNC_S), err);
    *ret_synced = code == 0 && answer == ACK;
    return code == ERR_TIMEOUT ? 0 : code;
}

/* A bridge that was left inside a transaction swallows up to wrnmax + 6 bytes before it hears a command
 * again, and is silent: NOPs go out until it has, twice as many each time. Then two clean SYNCNOPs and a NOP
 * prove it. */
static int serprog_resync(void *state, struct error *err)
{
    struct serprog *s = state;
    static const uint8_t nops[NOPS_MAX] = { OP_NOP };
    int good = 0, wrong = 0;
    size_t fill = NOPS_FIRST;
    int64_t end_ns = device_after(&s->device, RESYNC_S);
    int code = transport_drain(s->device.transport, s->device.env, QUIET_NS, err);
    while (!code && clock_now(s->device.env->clock) < end_ns) {
        enum sync sync = SYNC_SILENT;
        bool proved = false;
        code = sync_once(s, &sync, err);
        good = sync == SYNC_GOOD ? good + 1 : 0;
        if (!code && good == 2)
            code = prove_sync(s, &proved, err);
        if (code)
            break;
        s->dirty = !proved;
        if (proved)
            return 0;
        if (good == 1)
            continue;
        wrong += sync != SYNC_SILENT;
        good = 0;
        if (wrong > WRONG_ROUNDS_MAX)
            return error_set(err, ERR_GARBAGE, "no serprog bridge: SYNCNOP is answered, but not by 15 06");
        if (sync == SYNC_SILENT) {
            code = transport_write(s->device.transport, nops, fill, end_ns, err);
            fill = 2 * fill < NOPS_MAX ? 2 * fill : NOPS_MAX;
        }
        if (!code)
            code = transport_drain(s->device.transport, s->device.env, QUIET_NS, err);
    }
    if (code && code != ERR_TIMEOUT)
        return code;
    return error_set(err, ERR_NO_ANSWER, "no serprog bridge: SYNCNOP is not answered by 15 06 within %.0f s",
                     RESYNC_S);
}

static int read_limits(struct serprog *s, struct error *err)
{
    uint8_t bytes[3];
    int code = 0;
    s->wrnmax = s->rdnmax = 1u << 24;
    s->window = SPIOP_HEADER + 1; /* unknown buffer: one transaction at a time */
    if (offers(s, OP_Q_WRNMAXLEN)) {
        code = ask(s, OP_Q_WRNMAXLEN, bytes, 3, err);
        if (!code && little_endian(bytes, 3))
            s->wrnmax = little_endian(bytes, 3);
    }
    if (!code && offers(s, OP_Q_RDNMAXLEN)) {
        code = ask(s, OP_Q_RDNMAXLEN, bytes, 3, err);
        if (!code && little_endian(bytes, 3))
            s->rdnmax = little_endian(bytes, 3);
    }
    if (!code && offers(s, OP_Q_SERBUF)) {
        code = ask(s, OP_Q_SERBUF, bytes, 2, err);
        size_t buffer = code ? 0 : little_endian(bytes, 2);
        s->window = buffer == SERBUF_FLOW_CONTROL || buffer > WINDOW_MAX ? WINDOW_MAX : buffer;
    }
    return code;
}

static int set_clock(struct serprog *s, double hz, struct error *err)
{
    if (!offers(s, OP_S_SPI_FREQ))
        return error_set(err, ERR_UNSUPPORTED, "this bridge cannot set its SPI clock");
    if (!(hz >= 1 && hz <= 4e9))
        return error_set(err, ERR_RANGE, "SPI clock %g Hz is outside 1 Hz .. 4 GHz", hz);
    uint32_t asked = (uint32_t)hz;
    uint8_t bytes[5] = { OP_S_SPI_FREQ, (uint8_t)asked, (uint8_t)(asked >> 8), (uint8_t)(asked >> 16),
                         (uint8_t)(asked >> 24) };
    uint8_t answer[4];
    int code = command(s, bytes, sizeof bytes, answer, sizeof answer, err);
    if (code)
        return code;
    s->hz = (double)little_endian(answer, 4);
    s->device.config->spi_hz = hz; /* asked for again after a reconnect */
    return 0;
}

static int handshake(void *state, struct error *err)
{
    struct serprog *s = state;
    static const int NEEDED[] = { OP_Q_IFACE, OP_SYNCNOP, OP_O_SPIOP, OP_S_PIN_STATE };
    uint8_t bytes[16];
    int code = serprog_resync(s, err);
    if (!code)
        code = ask(s, OP_Q_IFACE, bytes, 2, err);
    if (code)
        return code;
    s->version = (unsigned)little_endian(bytes, 2);
    if (s->version != 1)
        return error_set(err, ERR_UNSUPPORTED, "serprog version %u; this driver speaks version 1",
                         s->version);
    code = ask(s, OP_Q_CMDMAP, s->map, sizeof s->map, err);
    for (size_t i = 0; i < sizeof NEEDED / sizeof *NEEDED && !code; i++) {
        if (!offers(s, NEEDED[i]))
            code = error_set(err, ERR_UNSUPPORTED, "the bridge lacks serprog command %02x, which is needed",
                             NEEDED[i]);
    }
    if (!code && offers(s, OP_Q_PGMNAME)) {
        code = ask(s, OP_Q_PGMNAME, bytes, 16, err);
        if (!code)
            memcpy(s->name, bytes, 16);
    }
    if (!code)
        code = read_limits(s, err);
    if (!code && offers(s, OP_S_BUSTYPE)) {
        static const uint8_t spi[2] = { OP_S_BUSTYPE, BUS_SPI };
        code = command(s, spi, 2, NULL, 0, err);
    }
    if (!code && s->device.config->spi_hz > 0 && offers(s, OP_S_SPI_FREQ))
        code = set_clock(s, s->device.config->spi_hz, err);
    return code;
}

/* ---- Batches ---- */
struct batch {
    const struct message_spi *item;
    const uint8_t *tx; /* bytes of the next transaction to send */
    size_t count, sent, answered;
    size_t flying_tx, flying_rx; /* bytes on their way */
    size_t rx_have;              /* bytes of the current answer behind its ACK */
    bool acked;
    size_t rx_total;
};

static size_t cost(const struct message_spi *item)
{
    return SPIOP_HEADER + item->tx_len;
}

/* Appends transactions while the window has room; a delay closes it until everything before has been
 * answered. */
static size_t fill(struct serprog *s, struct batch *b)
{
    size_t n = 0;
    while (b->sent < b->count) {
        const struct message_spi *item = &b->item[b->sent];
        bool alone = b->sent == b->answered;
        bool waiting = b->sent > b->answered && b->item[b->sent - 1].delay_us > 0;
        if (waiting ||
            (!alone && (b->flying_tx + cost(item) > s->window || b->flying_rx + item->rx_len > s->window)))
            break;
        const uint8_t header[SPIOP_HEADER] = {
            OP_O_SPIOP, (uint8_t)item->tx_len, (uint8_t)(item->tx_len >> 8),
            0,          (uint8_t)item->rx_len, (uint8_t)(item->rx_len >> 8),
            0
        };
        memcpy(s->out + n, header, sizeof header);
        memcpy(s->out + n + sizeof header, b->tx, item->tx_len);
        b->tx += item->tx_len;
        n += cost(item);
        b->flying_tx += cost(item);
        b->flying_rx += item->rx_len + 1u;
        b->sent++;
    }
    return n;
}

static int take(struct serprog *s, struct batch *b, const uint8_t *bytes, size_t n, struct error *err)
{
    while (n > 0) {
        if (b->answered == b->sent)
            return error_set(err, ERR_GARBAGE, "%zu bytes came that nobody asked for", n);
        const struct message_spi *item = &b->item[b->answered];
        if (!b->acked) {
            if (*bytes == NAK)
                return error_set(err, ERR_REFUSED,
                                 "the bridge refuses SPI transaction %zu (%u bytes out, %u in)", b->answered,
                                 item->tx_len, item->rx_len);
            if (*bytes != ACK)
                return error_set(err, ERR_GARBAGE, "the bridge answers %02x to SPI transaction %zu", *bytes,
                                 b->answered);
            b->acked = true;
            bytes++;
            n--;
        }
        size_t part = item->rx_len - b->rx_have;
        part = part < n ? part : n;
        memcpy(s->answer + b->rx_total, bytes, part);
        b->rx_total += part;
        b->rx_have += part;
        bytes += part;
        n -= part;
        if (b->rx_have == item->rx_len) {
            b->flying_tx -= cost(item);
            b->flying_rx -= item->rx_len + 1u;
            b->rx_have = 0;
            b->acked = false;
            b->answered++;
        }
    }
    return 0;
}

static int run_batch(struct serprog *s, struct batch *b, struct error *err)
{
    while (b->answered < b->count) {
        size_t n = fill(s, b);
        double bits = 8.0 * (double)(b->flying_tx + b->flying_rx);
        int64_t end_ns = device_after(&s->device, ANSWER_S + 2 * bits / (s->hz > 0 ? s->hz : 1e5));
        int code = n ? transport_write(s->device.transport, s->out, n, end_ns, err) : 0;
        if (!code)
            code = transport_read(s->device.transport, s->chunk, sizeof s->chunk, end_ns, &n, err);
        if (!code)
            code = take(s, b, s->chunk, n, err);
        if (code)
            return code;
        uint32_t delay_us = b->answered > 0 ? b->item[b->answered - 1].delay_us : 0;
        if (b->answered == b->sent && delay_us > 0) {
            code = clock_sleep_until(s->device.env->actor,
                                     clock_now(s->device.env->clock) + delay_us * NS_PER_US,
                                     s->device.env->cut_fd);
            if (code)
                return error_set(err, code, "wait between SPI transactions");
        }
    }
    return 0;
}

/* Lengths come from a peer process: everything is checked before a byte goes out. */
static int check_batch(const struct serprog *s, const struct message *m, const struct message_spi *items,
                       size_t room, struct error *err)
{
    size_t tx = 0, rx = 0;
    for (uint32_t i = 0; i < m->count; i++) {
        size_t out = items[i].tx_len, in = items[i].rx_len;
        if (out > SPI_TX_MAX || in > SPI_RX_MAX || out > s->wrnmax || in > s->rdnmax)
            return error_set(err, ERR_RANGE,
                             "SPI transaction %u of %zu bytes out, %zu in; the bridge takes %zu, %zu", i, out,
                             in, s->wrnmax < SPI_TX_MAX ? s->wrnmax : SPI_TX_MAX,
                             s->rdnmax < SPI_RX_MAX ? s->rdnmax : SPI_RX_MAX);
        tx += out;
        rx += in;
    }
    if (m->payload_length != m->count * sizeof *items + tx || rx > room || rx > SPI_BATCH_BYTES)
        return error_set(err, ERR_INVALID, "SPI batch of %u transactions does not fit its message", m->count);
    return 0;
}

static int do_batch(struct serprog *s, struct message *m, uint8_t *payload, size_t room, struct error *err)
{
    struct message_spi items[SPI_BATCH_MAX];
    if (m->count > SPI_BATCH_MAX || m->payload_length < m->count * sizeof *items)
        return error_set(err, ERR_INVALID, "SPI batch of %u transactions in %u bytes", m->count,
                         m->payload_length);
    memcpy(items, payload, m->count * sizeof *items);
    int code = check_batch(s, m, items, room, err);
    if (code)
        return code;
    struct batch b = { .item = items, .tx = payload + m->count * sizeof *items, .count = m->count };
    transport_flush(s->device.transport);
    code = run_batch(s, &b, err);
    if (code) {
        s->dirty = true;
        return code;
    }
    memcpy(payload, s->answer, b.rx_total);
    m->payload_length = (uint32_t)b.rx_total;
    return 0;
}

static int drive(struct serprog *s, bool on, struct error *err)
{
    uint8_t bytes[2] = { OP_S_PIN_STATE, on };
    return command(s, bytes, sizeof bytes, NULL, 0, err);
}

static int do_identify(const struct serprog *s, struct message *m, uint8_t *payload, size_t room,
                       struct error *err)
{
    int n = snprintf((char *)payload, room, "serprog%c%s%c%cv%u", '\0', s->name, '\0', '\0', s->version);
    if (n < 0 || (size_t)n >= room)
        return error_set(err, ERR_INTERNAL, "no room for an identity");
    m->payload_length = (uint32_t)n + 1;
    return 0;
}

static int serve(void *state, struct message *m, uint8_t *payload, size_t room, struct error *err)
{
    struct serprog *s = state;
    int code = s->dirty ? serprog_resync(s, err) : 0;
    if (code)
        return code;
    switch (m->op) {
    case MESSAGE_IDENTIFY:
        return do_identify(s, m, payload, room, err);
    case MESSAGE_SPI_BATCH:
        return do_batch(s, m, payload, room, err);
    case MESSAGE_SPI_CLOCK:
        code = set_clock(s, m->value[0], err);
        if (code)
            return code;
        m->value[0] = s->hz;
        m->value[1] = (double)(s->wrnmax < SPI_TX_MAX ? s->wrnmax : SPI_TX_MAX);
        m->value[2] = (double)(s->rdnmax < SPI_RX_MAX ? s->rdnmax : SPI_RX_MAX);
        return 0;
    case MESSAGE_SPI_DRIVE:
        return drive(s, m->value[0] != 0, err);
    case MESSAGE_SAFE_OFF:
        code = drive(s, false, err);
        if (!code)
            m->value[0] = 0; /* the ACK is all the protocol has for a read back */
        return code;
    default:
        return error_set(err, ERR_UNSUPPORTED, "the serprog driver does not serve operation %u", m->op);
    }
}

static int serprog_request(void *state, struct message *message, uint8_t *payload, size_t room,
                           struct error *err)
{
    return device_request(state, serve, message, payload, room, err);
}

static int serprog_open(struct driver_config *config, const struct transport_env *env, void **ret_state,
                        struct error *err)
{
    return device_open(sizeof(struct serprog), config, env, handshake, ret_state, err);
}

/* On a connection of its own. Drained: a bridge may forget what a host leaves behind. */
static int shout(const struct driver_config *config, const struct transport_env *env, const uint8_t *bytes,
                 size_t n, struct error *err)
{
    struct transport *own;
    int code = transport_open(env, config->name, config->resource, &own, err);
    if (code)
        return code;
    code = transport_write(own, bytes, n, clock_now(env->clock) + (int64_t)(ANSWER_S * 1e9), err);
    if (!code)
        code = transport_drain(own, env, QUIET_NS, err);
    transport_close(own);
    return code;
}

/* NOPs first: a bridge that was left inside a transaction swallows some. One that closes the connection upon
 * them has heard no more, but is at a boundary now: it is told by the command alone. */
static int serprog_off_unheard(struct driver_config *config, const struct transport_env *env, void *state,
                               int channel, struct error *err)
{
    struct serprog *s = state;
    uint8_t bytes[NOPS_FIRST + 2] = { OP_NOP };
    (void)channel;
    bytes[NOPS_FIRST] = OP_S_PIN_STATE;
    bytes[NOPS_FIRST + 1] = 0;
    if (s)
        return transport_write(s->device.transport, bytes, sizeof bytes,
                               clock_now(env->clock) + (int64_t)(ANSWER_S * 1e9), err);
    int code = shout(config, env, bytes, sizeof bytes, err);
    return code == ERR_LINK ? shout(config, env, bytes + NOPS_FIRST, 2, err) : code;
}

static int serprog_describe(const struct driver_config *config, struct driver_description *ret,
                            struct json_problems *problems, struct error *err)
{
    (void)config;
    (void)problems;
    (void)err;
    *ret = (struct driver_description){ .vendor = "serprog", .energises = true };
    return 0;
}

const struct driver driver_serprog = {
    .name = "serprog",
    .link = DRIVER_BYTES,
    .classes = 1u << CLASS_SPI,
    .describe = serprog_describe,
    .open = serprog_open,
    .close = device_close,
    .request = serprog_request,
    .resync = serprog_resync,
    .off_unheard = serprog_off_unheard,
};
