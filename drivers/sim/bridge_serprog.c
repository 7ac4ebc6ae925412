/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * bridge_serprog: an SPI bridge that speaks serprog version 1 over its link, as a microcontroller does it:
 * one command at a time from a queue, each taking the time that its bytes take. Its pins are tri-state until
 * S_PIN_STATE 1; driving them into an unpowered socket is the world's business. What stands behind it is the
 * chip in the socket, or a flash. */
#include "drivers/sim/bridge_serprog.h"

#include <stdlib.h>
#include <string.h>

#include "daemon/base/clock.h"
#include "drivers/sim/chip_models.h"

enum {
    ACK = 0x06,
    NAK = 0x15,
    OP_NOP = 0x00,
    OP_Q_IFACE = 0x01,
    OP_Q_CMDMAP = 0x02,
    OP_Q_PGMNAME = 0x03,
    OP_Q_SERBUF = 0x04,
    OP_Q_BUSTYPE = 0x05,
    OP_Q_WRNMAXLEN = 0x08,
    OP_SYNCNOP = 0x10,
    OP_Q_RDNMAXLEN = 0x11,
    OP_S_BUSTYPE = 0x12,
    OP_SPIOP = 0x13,
    OP_S_SPI_FREQ = 0x14,
    OP_S_PIN_STATE = 0x15,
    OP_COUNT = 0x16,
    BUS_SPI = 1 << 3,
    SPIOP_HEADER = 7,
    ANSWER_MAX = 1 + SERPROG_READ_MAX
};

/* The pace of a bridge with high-speed USB or 100 Mbit Ethernet: ours, each can be set in the bench file. */
#define LATENCY_S                                                                                            \
    125e-6            /* from its send buffer to the host: one or two microframes, or a switch and a stack */
#define BYTE_S 0.1e-6 /* a byte over the link, either way */
#define OP_S   3e-6   /* firmware per command */

/* Its SPI clock: an even division of 120 MHz, as an ARM PL022 makes it. */
#define SPI_BASE_HZ  120000000u
#define SPI_DIV_MAX  65024u
#define SPI_START_HZ 1000000u

struct bridge {
    const char *name;
    struct sim_loop *loop;
    struct world *world;
    struct sim_link *link;
    struct spi_flash *flash; /* NULL: the socket */
    double latency_s, byte_s, op_s, io_v;
    uint32_t spi_hz;
    bool pins_on;
    int client;
    uint64_t timer; /* 0: idle */
    size_t skip;    /* bytes of a refused command that are still to come */
    uint8_t *queue;
    size_t head, tail; /* unread bytes are queue[head .. tail) */
    uint8_t answer[ANSWER_MAX];
    size_t answer_n;
};

static void put(struct bridge *b, uint8_t byte)
{
    b->answer[b->answer_n++] = byte;
}

static void put_le(struct bridge *b, uint32_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        put(b, (uint8_t)(value >> 8 * i));
}

static uint32_t get_le(const uint8_t *p, int bytes)
{
    uint32_t value = 0;

    for (int i = bytes - 1; i >= 0; i--)
        value = value << 8 | p[i];
    return value;
}

/* ---- Commands: each fills the answer and returns the time it takes beyond its link bytes, in ns. ---- */
typedef int64_t (*command_fn)(struct bridge *b, const uint8_t *command);

static int64_t do_nop(struct bridge *b, const uint8_t *command)
{
    (void)command;
    put(b, ACK);
    return 0;
}

static int64_t do_interface(struct bridge *b, const uint8_t *command)
{
    (void)command;
    put(b, ACK);
    put_le(b, 1, 2);
    return 0;
}

static int64_t do_map(struct bridge *b, const uint8_t *command);

static int64_t do_name(struct bridge *b, const uint8_t *command)
{
    static const char name[16] = "nightbench-sim";

    (void)command;
    put(b, ACK);
    for (size_t i = 0; i < sizeof name; i++)
        put(b, (uint8_t)name[i]);
    return 0;
}

static int64_t do_serial_buffer(struct bridge *b, const uint8_t *command)
{
    (void)command;
    put(b, ACK);
    put_le(b, 0xFFFF, 2); /* flow control works: as large as one likes */
    return 0;
}

static int64_t do_bus_type(struct bridge *b, const uint8_t *command)
{
    (void)command;
    put(b, ACK);
    put(b, BUS_SPI);
    return 0;
}

static int64_t do_write_max(struct bridge *b, const uint8_t *command)
{
    (void)command;
    put(b, ACK);
    put_le(b, SERPROG_WRITE_MAX, 3);
    return 0;
}

static int64_t do_read_max(struct bridge *b, const uint8_t *command)
{
    (void)command;
    put(b, ACK);
    put_le(b, SERPROG_READ_MAX, 3);
    return 0;
}

static int64_t do_sync(struct bridge *b, const uint8_t *command)
{
    (void)command;
    put(b, NAK);
    put(b, ACK);
    return 0;
}

static int64_t do_set_bus(struct bridge *b, const uint8_t *command)
{
    put(b, (command[1] & BUS_SPI) != 0 ? ACK : NAK);
    return 0;
}

/* The highest step that is not above what was asked for, else the lowest. */
static int64_t do_frequency(struct bridge *b, const uint8_t *command)
{
    uint32_t asked = get_le(command + 1, 4), half;

    if (asked == 0) {
        put(b, NAK);
        return 0;
    }
    half = SPI_BASE_HZ / 2 / asked + (SPI_BASE_HZ / 2 % asked != 0);
    if (half < 1)
        half = 1;
    if (half > SPI_DIV_MAX / 2)
        half = SPI_DIV_MAX / 2;
    b->spi_hz = SPI_BASE_HZ / 2 / half;
    put(b, ACK);
    put_le(b, b->spi_hz, 4);
    return 0;
}

static int64_t do_pins(struct bridge *b, const uint8_t *command)
{
    b->pins_on = command[1] != 0;
    if (b->flash == NULL)
        world_pins(b->world, b->name, b->pins_on, b->pins_on ? b->io_v : 0.0);
    put(b, ACK);
    return 0;
}

static int64_t do_spi(struct bridge *b, const uint8_t *command)
{
    uint32_t send = get_le(command + 1, 3), receive = get_le(command + 4, 3);
    const uint8_t *mosi = command + SPIOP_HEADER;
    int64_t now_ns = sim_now(b->loop), end_ns;

    if (!b->pins_on || receive > SERPROG_READ_MAX) {
        put(b, NAK);
        return 0;
    }
    put(b, ACK);
    if (b->flash != NULL) {
        end_ns = now_ns + (int64_t)(8.0 * (send + receive) / b->spi_hz * 1e9);
        spi_flash_transfer(b->flash, mosi, send, b->answer + 1, receive, end_ns);
    } else {
        world_spi(b->world, mosi, send, b->answer + 1, receive, now_ns, b->spi_hz, &end_ns);
    }
    b->answer_n += receive;
    return end_ns - now_ns;
}

/* parameters: bytes behind the opcode; a NULL function is an opcode that is not offered. */
static const struct {
    command_fn run;
    size_t parameters;
} commands[OP_COUNT] = {
    [OP_NOP] = { do_nop, 0 },
    [OP_Q_IFACE] = { do_interface, 0 },
    [OP_Q_CMDMAP] = { do_map, 0 },
    [OP_Q_PGMNAME] = { do_name, 0 },
    [OP_Q_SERBUF] = { do_serial_buffer, 0 },
    [OP_Q_BUSTYPE] = { do_bus_type, 0 },
    [OP_Q_WRNMAXLEN] = { do_write_max, 0 },
    [OP_SYNCNOP] = { do_sync, 0 },
    [OP_Q_RDNMAXLEN] = { do_read_max, 0 },
    [OP_S_BUSTYPE] = { do_set_bus, 1 },
    [OP_SPIOP] = { do_spi, SPIOP_HEADER - 1 },
    [OP_S_SPI_FREQ] = { do_frequency, 4 },
    [OP_S_PIN_STATE] = { do_pins, 1 },
};

static int64_t do_map(struct bridge *b, const uint8_t *command)
{
    uint8_t map[32] = { 0 };

    (void)command;
    for (unsigned op = 0; op < OP_COUNT; op++)
        if (commands[op].run != NULL)
            map[op / 8] |= (uint8_t)(1 << op % 8);
    put(b, ACK);
    for (size_t i = 0; i < sizeof map; i++)
        put(b, map[i]);
    return 0;
}

/* ---- The queue ---- */

/* Length of the command at the head of the queue; 0: not all of it is here. */
static size_t command_length(const struct bridge *b)
{
    const uint8_t *command = b->queue + b->head;
    size_t here = b->tail - b->head, length = 1;

    if (here == 0)
        return 0;
    if (command[0] < OP_COUNT && commands[command[0]].run != NULL)
        length += commands[command[0]].parameters;
    if (command[0] == OP_SPIOP && here >= SPIOP_HEADER) {
        uint32_t send = get_le(command + 1, 3);

        if (send <= SERPROG_WRITE_MAX)
            length += send;
    }
    return here >= length ? length : 0;
}

static void on_timer(void *context, int64_t now_ns);

/* Executes the command at the head, and is busy until it has ended. */
static void execute(struct bridge *b, size_t length)
{
    const uint8_t *command = b->queue + b->head;
    int64_t now_ns = sim_now(b->loop), end_ns = now_ns;
    double link_s;

    b->answer_n = 0;
    if (command[0] >= OP_COUNT || commands[command[0]].run == NULL) {
        put(b, NAK);
    } else if (command[0] == OP_SPIOP && get_le(command + 1, 3) > SERPROG_WRITE_MAX) {
        put(b, NAK); /* too long to hold: its bytes are read and forgotten */
        b->skip = get_le(command + 1, 3);
    } else {
        end_ns += commands[command[0]].run(b, command);
    }
    b->head += length;
    link_s = b->op_s + b->byte_s * (double)(length + b->answer_n);
    end_ns += (int64_t)(link_s * 1e9);
    sim_link_send(b->link, b->client, b->answer, b->answer_n, end_ns + (int64_t)(b->latency_s * 1e9));
    b->timer = sim_at(b->loop, end_ns, on_timer, b);
}

static void serve(struct bridge *b)
{
    size_t length;

    if (b->timer != 0)
        return;
    if (b->skip > 0) {
        size_t part = b->tail - b->head < b->skip ? b->tail - b->head : b->skip;

        b->head += part;
        b->skip -= part;
    }
    length = b->skip > 0 ? 0 : command_length(b);
    if (length > 0)
        execute(b, length);
}

static void on_timer(void *context, int64_t now_ns)
{
    struct bridge *b = context;

    (void)now_ns;
    b->timer = 0;
    serve(b);
}

static void forget(struct bridge *b)
{
    b->head = b->tail = b->skip = 0;
}

static void on_open(void *context, int client)
{
    struct bridge *b = context;

    b->client = client;
    forget(b);
}

static void on_bytes(void *context, int client, const uint8_t *bytes, size_t n)
{
    struct bridge *b = context;

    b->client = client;
    if (b->head > 0) {
        memmove(b->queue, b->queue + b->head, b->tail - b->head);
        b->tail -= b->head;
        b->head = 0;
    }
    if (n > SERPROG_QUEUE_MAX - b->tail) /* overrun: what does not fit is lost, as in a real one */
        n = SERPROG_QUEUE_MAX - b->tail;
    memcpy(b->queue + b->tail, bytes, n);
    b->tail += n;
    serve(b);
}

/* A bridge does not know why its host went away: its pins stay as they are. */
static void on_close(void *context, int client)
{
    (void)client;
    forget(context);
}

/* ---- The device ---- */

static int serprog_open(const struct sim_device_setup *setup, void **ret_device, struct error *err)
{
    static const char *const behind[] = { "socket", "flash", NULL };
    struct json_problems problems = { 0 };
    struct json_at at = json_root(setup->options, &problems);
    struct bridge *b = calloc(1, sizeof *b);
    int what = json_choice(&at, "behind", false, behind, 0);

    if (b == NULL)
        return error_set(err, ERR_MEMORY, "simulated bridge %s: out of memory", setup->name);
    b->name = setup->name;
    b->loop = setup->loop;
    b->world = setup->world;
    b->latency_s = json_double(&at, "latency_s", false, 0, 10, LATENCY_S);
    b->byte_s = json_double(&at, "byte_s", false, 0, 1, BYTE_S);
    b->op_s = json_double(&at, "op_s", false, 0, 1, OP_S);
    b->io_v = json_double(&at, "io_v", false, 0, 5, 1.8);
    b->spi_hz = SPI_START_HZ;
    if (problems.count > 0) {
        error_set(err, ERR_INVALID, "simulated bridge %s%.100s: %.200s", setup->name,
                  problems.item[0].pointer, problems.item[0].reason);
        goto fail;
    }
    b->queue = malloc(SERPROG_QUEUE_MAX);
    b->flash = what == 1 ? spi_flash_open() : NULL;
    if (b->queue == NULL || (what == 1 && b->flash == NULL)) {
        error_set(err, ERR_MEMORY, "simulated bridge %s: out of memory", setup->name);
        goto fail_memory;
    }
    *ret_device = b;
    return 0;

fail_memory:
    spi_flash_close(b->flash);
    free(b->queue);
    free(b);
    return ERR_MEMORY;
fail:
    free(b);
    return ERR_INVALID;
}

static void serprog_attach(void *device, struct sim_link *link)
{
    ((struct bridge *)device)->link = link;
}

static void serprog_close(void *device)
{
    struct bridge *b = device;

    if (b == NULL)
        return;
    if (b->timer != 0)
        sim_cancel(b->loop, b->timer);
    spi_flash_close(b->flash);
    free(b->queue);
    free(b);
}

const struct sim_device_model bridge_serprog_model = {
    .name = "serprog",
    .default_link = SIM_LINK_TCP,
    .clients_max = 1,
    .ops = { .on_open = on_open, .on_bytes = on_bytes, .on_close = on_close },
    .open = serprog_open,
    .attach = serprog_attach,
    .close = serprog_close,
};
