/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * sim_mpsse: FTDI's MPSSE engine (AN_108) as a byte stream, as far as a SPI bridge needs it: one opcode after
 * the other, each taking its time at the pins. ADBUS0 is the clock, 1 out, 2 in, 3 chip select; a pin is
 * driven when its direction bit is set. What stands behind it is the socket or a flash; one write-then-read
 * for each selection. */
#include <stdlib.h>
#include <string.h>

#include "daemon/base/clock.h"
#include "drivers/sim/bridge_serprog.h"
#include "drivers/sim/sim_models.h"

enum opcode {
    WRITE_BYTES = 0x11, /* out on the falling edge, MSB first */
    READ_BYTES = 0x20,  /* in on the rising edge */
    SET_PINS = 0x80,
    READ_PINS = 0x81,
    LOOPBACK_ON = 0x84,
    LOOPBACK_OFF = 0x85,
    SET_DIVISOR = 0x86,
    FLUSH = 0x87,
    NO_DIVIDE_BY_5 = 0x8a,
    DIVIDE_BY_5 = 0x8b,
    BAD_OPCODE = 0xfa
};
enum { PIN_CS = 8, SELECTION_MAX = 64 * 1024, INPUT_MAX = 256 * 1024 };

#define BASE_HZ   60e6
#define USB_NS    (125 * NS_PER_US) /* a micro-frame: from the host's write to the first opcode */
#define DIVISOR_5 5.0

struct mpsse {
    const char *name;
    struct sim_loop *loop;
    struct world *world;
    struct sim_link *link;
    struct spi_flash *flash; /* NULL: the socket */
    double io_v;
    int client;
    uint64_t timer; /* 0: idle */
    bool divides, loops;
    unsigned divisor;
    uint8_t pins, direction;
    bool served; /* the present selection has been read from */
    uint8_t input[INPUT_MAX], selection[SELECTION_MAX], answer[SELECTION_MAX + 2];
    size_t head, tail, selection_n; /* unread bytes are input[head .. tail) */
    size_t answer_n;
};

static bool is_selected(const struct mpsse *m)
{
    return !(m->pins & PIN_CS) && (m->direction & PIN_CS);
}

static double clock_hz(const struct mpsse *m)
{
    return BASE_HZ / (m->divides ? DIVISOR_5 : 1) / (2.0 * (1 + m->divisor));
}

static int64_t bits_ns(const struct mpsse *m, size_t bytes)
{
    return (int64_t)(8.0 * (double)bytes / clock_hz(m) * 1e9);
}

/* The chip sees what was written since its selection, and answers rx_n bytes. Returns what it takes. */
static int64_t transact(struct mpsse *m, uint8_t *rx, size_t rx_n)
{
    int64_t now_ns = sim_now(m->loop), end_ns = now_ns + bits_ns(m, rx_n);
    if (m->served || (m->selection_n == 0 && rx_n == 0)) {
        memset(rx, 0, rx_n);
        return 0;
    }
    if (m->flash)
        spi_flash_transfer(m->flash, m->selection, m->selection_n, rx, rx_n, end_ns);
    else
        world_spi(m->world, m->selection, m->selection_n, rx, rx_n, now_ns, clock_hz(m), &end_ns);
    m->served = true;
    return end_ns - now_ns;
}

static int64_t set_pins(struct mpsse *m, uint8_t pins, uint8_t direction)
{
    bool was_selected = is_selected(m), was_driven = m->direction != 0;
    m->pins = pins;
    m->direction = direction;
    if (!m->flash && (direction != 0) != was_driven)
        world_pins(m->world, m->name, direction != 0, direction ? m->io_v : 0.0);
    int64_t took_ns = was_selected && !is_selected(m) ? transact(m, m->answer, 0) : 0;
    if (was_selected != is_selected(m)) {
        m->selection_n = 0;
        m->served = false;
    }
    return took_ns;
}

/* Bytes that the opcode at the head needs, as far as is known. */
static size_t wanted(const struct mpsse *m)
{
    const uint8_t *op = m->input + m->head;
    switch (op[0]) {
    case WRITE_BYTES:
        return m->tail - m->head < 3 ? 3 : 3 + (size_t)(op[1] | op[2] << 8) + 1;
    case READ_BYTES:
    case SET_PINS:
    case SET_DIVISOR:
        return 3;
    default:
        return 1;
    }
}

static int64_t write_bytes(struct mpsse *m, const uint8_t *bytes, size_t n)
{
    size_t room = sizeof m->selection - m->selection_n;
    if (m->loops || !is_selected(m))
        return bits_ns(m, n); /* nobody hears it */
    n = n < room ? n : room;
    memcpy(m->selection + m->selection_n, bytes, n);
    m->selection_n += n;
    return m->flash ? bits_ns(m, n) : 0; /* the socket's time is that of its whole transaction */
}

static int64_t execute(struct mpsse *m, const uint8_t *op, size_t n)
{
    size_t length = n >= 3 ? (size_t)(op[1] | op[2] << 8) + 1 : 0;
    switch (op[0]) {
    case WRITE_BYTES:
        return write_bytes(m, op + 3, length);
    case READ_BYTES:
        m->answer_n = length;
        if (is_selected(m) && !m->loops)
            return transact(m, m->answer, length);
        memset(m->answer, 0xff, length);
        return bits_ns(m, length);
    case SET_PINS:
        return set_pins(m, op[1], op[2]);
    case READ_PINS:
        m->answer[0] = m->pins;
        m->answer_n = 1;
        return 0;
    case LOOPBACK_ON:
    case LOOPBACK_OFF:
        m->loops = op[0] == LOOPBACK_ON;
        return 0;
    case SET_DIVISOR:
        m->divisor = (unsigned)length - 1;
        return 0;
    case NO_DIVIDE_BY_5:
    case DIVIDE_BY_5:
        m->divides = op[0] == DIVIDE_BY_5;
        return 0;
    case FLUSH:
        return 0;
    default:
        m->answer[0] = BAD_OPCODE;
        m->answer[1] = op[0];
        m->answer_n = 2;
        return 0;
    }
}

static void on_timer(void *context, int64_t now_ns);

static void serve(struct mpsse *m)
{
    while (!m->timer && m->tail > m->head) {
        size_t n = wanted(m);
        if (m->tail - m->head < n)
            return;
        m->answer_n = 0;
        int64_t took_ns = execute(m, m->input + m->head, n);
        int64_t end_ns = sim_now(m->loop) + took_ns;
        m->head += n;
        if (m->answer_n > 0)
            sim_link_send(m->link, m->client, m->answer, m->answer_n, end_ns + USB_NS);
        if (took_ns > 0)
            m->timer = sim_at(m->loop, end_ns, on_timer, m);
    }
}

static void on_timer(void *context, int64_t now_ns)
{
    struct mpsse *m = context;
    (void)now_ns;
    m->timer = 0;
    serve(m);
}

static void on_bytes(void *context, int client, const uint8_t *bytes, size_t n)
{
    struct mpsse *m = context;
    m->client = client;
    memmove(m->input, m->input + m->head, m->tail - m->head);
    m->tail -= m->head;
    m->head = 0;
    if (n > sizeof m->input - m->tail) /* USB would hold the host back; what does not fit is lost here */
        n = sizeof m->input - m->tail;
    memcpy(m->input + m->tail, bytes, n);
    m->tail += n;
    serve(m);
}

/* Power came back: pins are inputs, the clock is that of the reset. */
static void on_reboot(void *context)
{
    struct mpsse *m = context;
    m->head = m->tail = m->selection_n = 0;
    m->divides = true;
    m->loops = m->served = false;
    m->divisor = 0;
    set_pins(m, 0, 0);
}

static void attach(void *device, struct sim_link *link)
{
    ((struct mpsse *)device)->link = link;
}

static void close_mpsse(void *device)
{
    struct mpsse *m = device;
    if (!m)
        return;
    if (m->timer)
        sim_cancel(m->loop, m->timer);
    spi_flash_close(m->flash);
    free(m);
}

static int open_mpsse(const struct sim_device_setup *setup, void **ret_device, struct error *err)
{
    static const char *const BEHIND[] = { "socket", "flash", NULL };
    struct json_problems problems = { 0 };
    struct json_at at = json_root(setup->options, &problems);
    struct mpsse *m = calloc(1, sizeof *m);
    if (!m)
        return error_set(err, ERR_MEMORY, "simulated MPSSE engine %s", setup->name);
    m->name = setup->name;
    m->loop = setup->loop;
    m->world = setup->world;
    m->divides = true;
    m->io_v = json_double(&at, "io_v", false, 0, 5, 3.3);
    bool has_flash = json_choice(&at, "behind", false, BEHIND, 0) == 1;
    int code = json_problems_error(&problems, setup->name, err);
    if (!code && has_flash && !(m->flash = spi_flash_open()))
        code = error_set(err, ERR_MEMORY, "simulated MPSSE engine %s", setup->name);
    if (code) {
        free(m);
        return code;
    }
    *ret_device = m;
    return 0;
}

const struct sim_device_model sim_mpsse = {
    .name = "mpsse",
    .default_link = SIM_LINK_TCP,
    .clients_max = 1,
    .ops = { .on_bytes = on_bytes, .on_reboot = on_reboot },
    .open = open_mpsse,
    .attach = attach,
    .close = close_mpsse,
};
