/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * sim_buspirate: a Bus Pirate v3.5 with firmware 6.2, as far as SPI needs it: terminal with prompt, echo and
 * the menu of the line speed, raw bit-bang mode, binary SPI mode. One byte after the other, each taking its
 * time on the line. Pins are inputs outside of SPI mode. What stands behind it is the socket or a flash. SPI
 * only by the write-then-read command: bulk transfers and CS by hand are refused.
 * Answers after the maker's binary-mode notes; flashrom's buspirate_spi is the judge. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/clock.h"
#include "drivers/sim/bridge_serprog.h"
#include "drivers/sim/sim_models.h"

enum {
    BLOCK_MAX = 4096, /* bytes of a write-then-read, each way */
    HEADER = 5,       /* 04 and two lengths */
    INPUT_MAX = 64 * 1024,
    ANSWER_MAX = BLOCK_MAX + 512,
    ZEROS_TO_BITBANG = 20,
    LINE_MAX_BYTES = 32,
    BRG_HZ = 4000000, /* line speed = BRG_HZ / (divisor + 1) */
    DIVISOR_MAX = 0xffff
};

#define BAUD_DEFAULT 115200.0

/* TERMINAL: prompt "HiZ>". SPEED_MENU, DIVISOR: after "b" and its entry 10; each takes a line. SPACE: the new
 * speed is in force, waits for a space. BITBANG, SPI: binary. Events: bytes and lines; a reset goes to
 * TERMINAL from everywhere. */
enum mode { TERMINAL, SPEED_MENU, DIVISOR, SPACE, BITBANG, SPI };

struct pirate {
    const char *name;
    struct sim_loop *loop;
    struct world *world;
    struct sim_link *link;
    struct spi_flash *flash; /* NULL: the socket */
    double byte_s, io_v;
    int mode, client, zeros, speed;
    uint64_t timer; /* 0: idle */
    char line[LINE_MAX_BYTES];
    size_t line_n, head, tail; /* unread bytes are input[head .. tail) */
    uint8_t input[INPUT_MAX], answer[ANSWER_MAX];
    size_t answer_n;
};

static const double SPEED_HZ[] = { 30e3, 125e3, 250e3, 1e6, 2e6, 2.6e6, 4e6, 8e6 };

static void say(struct pirate *p, const char *text)
{
    size_t n = strlen(text);
    memcpy(p->answer + p->answer_n, text, n);
    p->answer_n += n;
}

static void put(struct pirate *p, uint8_t byte)
{
    p->answer[p->answer_n++] = byte;
}

static void drive(struct pirate *p, bool on)
{
    if (!p->flash)
        world_pins(p->world, p->name, on, on ? p->io_v : 0.0);
}

static void enter(struct pirate *p, int mode)
{
    if ((p->mode == SPI) != (mode == SPI))
        drive(p, mode == SPI);
    p->mode = mode;
    p->zeros = 0;
    p->line_n = 0;
}

static void restart(struct pirate *p)
{
    enter(p, TERMINAL);
    p->byte_s = 10 / BAUD_DEFAULT;
    p->speed = 0;
}

/* One transaction through the pins; returns its duration in ns. */
static int64_t transact(struct pirate *p, const uint8_t *tx, size_t tx_n, uint8_t *rx, size_t rx_n)
{
    int64_t now_ns = sim_now(p->loop), end_ns = now_ns;
    double hz = SPEED_HZ[p->speed];
    if (p->flash) {
        end_ns += (int64_t)(8.0 * (double)(tx_n + rx_n) / hz * 1e9);
        spi_flash_transfer(p->flash, tx, tx_n, rx, rx_n, end_ns);
    } else {
        world_spi(p->world, tx, tx_n, rx, rx_n, now_ns, hz, &end_ns);
    }
    return end_ns - now_ns;
}

/* ---- Terminal ---- */

static void take_line(struct pirate *p)
{
    p->line[p->line_n] = '\0';
    p->line_n = 0;
    if (p->mode == SPEED_MENU && strcmp(p->line, "10") == 0) {
        p->mode = DIVISOR;
        say(p, "Enter raw value for BRG\r\n\r\n(34)>");
    } else if (p->mode == DIVISOR) {
        long divisor = strtol(p->line, NULL, 10);
        p->mode = SPACE;
        p->byte_s = 10.0 *
                    (double)((divisor < 0             ? 0
                              : divisor > DIVISOR_MAX ? DIVISOR_MAX
                                                      : divisor) +
                             1) /
                    BRG_HZ;
        say(p, "Adjust your terminal\r\nSpace to continue\r\n");
    } else if (p->mode == TERMINAL && strcmp(p->line, "b") == 0) {
        p->mode = SPEED_MENU;
        say(p, "Set serial port speed: (bps)\r\n 9. 115200\r\n10. BRG raw value\r\n\r\n(9)>");
    } else {
        p->mode = TERMINAL;
        say(p, "HiZ>");
    }
}

static void take_text(struct pirate *p, uint8_t byte)
{
    p->zeros = byte == 0 && p->mode == TERMINAL ? p->zeros + 1 : 0;
    if (p->zeros == ZEROS_TO_BITBANG) {
        enter(p, BITBANG);
        say(p, "BBIO1");
    } else if (p->mode == SPACE) {
        if (byte == ' ') {
            p->mode = TERMINAL;
            say(p, "\r\nHiZ>");
        }
    } else if (byte == '\n' || byte == '\r') {
        say(p, "\r\n");
        take_line(p);
    } else if (byte >= ' ' && byte < 0x7f && p->line_n < sizeof p->line - 1) {
        p->line[p->line_n++] = (char)byte;
        put(p, byte); /* the echo */
    }
}

static void take_bitbang(struct pirate *p, uint8_t byte)
{
    if (byte == 0x00) {
        say(p, "BBIO1");
    } else if (byte == 0x01) {
        enter(p, SPI);
        say(p, "SPI1");
    } else if (byte == 0x0f) {
        restart(p);
        put(p, 0x01);
        say(p, "\r\nBus Pirate v3.5\r\nCommunity Firmware v6.2 r1981 Bootloader v4.4\r\nDEVID:0x0447 "
               "REVID:0x3046 "
               "(24FJ64GA002 B8)\r\nhttp://dangerousprototypes.com\r\nHiZ>");
    } else {
        put(p, 0x00); /* other protocols are not built in */
    }
}

/* ---- SPI mode ---- */

static size_t big_endian(const uint8_t *bytes)
{
    return (size_t)bytes[0] << 8 | bytes[1];
}

/* Bytes that the command at the head wants, as far as it is known. */
static size_t wanted(const struct pirate *p)
{
    const uint8_t *command = p->input + p->head;
    size_t here = p->tail - p->head;
    if (p->mode != SPI)
        return 1;
    if (command[0] != 0x04)
        return 1;
    if (here < HEADER || big_endian(command + 1) > BLOCK_MAX || big_endian(command + 3) > BLOCK_MAX)
        return HEADER;
    return HEADER + big_endian(command + 1);
}

static int64_t write_read(struct pirate *p, const uint8_t *command)
{
    size_t tx_n = big_endian(command + 1), rx_n = big_endian(command + 3);
    if (tx_n > BLOCK_MAX || rx_n > BLOCK_MAX) {
        put(p, 0x00);
        return 0;
    }
    put(p, 0x01);
    int64_t took_ns = transact(p, command + HEADER, tx_n, p->answer + p->answer_n, rx_n);
    p->answer_n += rx_n;
    return took_ns;
}

static int64_t take_spi(struct pirate *p, const uint8_t *command)
{
    if (command[0] == 0x00) {
        enter(p, BITBANG);
        say(p, "BBIO1");
    } else if (command[0] == 0x01) {
        say(p, "SPI1");
    } else if (command[0] == 0x04) {
        return write_read(p, command);
    } else if ((command[0] & 0xf8) == 0x60) {
        p->speed = command[0] & 7;
        put(p, 0x01);
    } else if (command[0] == 0x03 || command[0] >> 4 == 4 || command[0] >> 4 == 8) {
        put(p, 0x01);
    } else {
        put(p, 0x00);
    }
    return 0;
}

/* ---- The line ---- */

static void on_timer(void *context, int64_t now_ns);

static void serve(struct pirate *p)
{
    if (p->timer || p->tail == p->head)
        return;
    size_t n = wanted(p);
    if (p->tail - p->head < n)
        return;
    const uint8_t *command = p->input + p->head;
    double line_s = p->byte_s * (double)n;
    int64_t took_ns = 0;
    p->answer_n = 0;
    if (p->mode == SPI)
        took_ns = take_spi(p, command);
    else if (p->mode == BITBANG)
        take_bitbang(p, command[0]);
    else
        take_text(p, command[0]);
    p->head += n;
    line_s += p->byte_s * (double)p->answer_n;
    int64_t end_ns = sim_now(p->loop) + took_ns + (int64_t)(line_s * 1e9);
    if (p->answer_n > 0)
        sim_link_send(p->link, p->client, p->answer, p->answer_n, end_ns);
    p->timer = sim_at(p->loop, end_ns, on_timer, p);
}

static void on_timer(void *context, int64_t now_ns)
{
    struct pirate *p = context;
    (void)now_ns;
    p->timer = 0;
    serve(p);
}

static void on_bytes(void *context, int client, const uint8_t *bytes, size_t n)
{
    struct pirate *p = context;
    p->client = client;
    memmove(p->input, p->input + p->head, p->tail - p->head);
    p->tail -= p->head;
    p->head = 0;
    if (n > sizeof p->input - p->tail) /* overrun: what does not fit is lost, as in a real one */
        n = sizeof p->input - p->tail;
    memcpy(p->input + p->tail, bytes, n);
    p->tail += n;
    serve(p);
}

/* It does not know why its host went away: pins and mode stay as they are. */
static void on_reboot(void *context)
{
    struct pirate *p = context;
    p->head = p->tail = 0;
    restart(p);
}

static void pirate_attach(void *device, struct sim_link *link)
{
    ((struct pirate *)device)->link = link;
}

static void pirate_close(void *device)
{
    struct pirate *p = device;
    if (!p)
        return;
    if (p->timer)
        sim_cancel(p->loop, p->timer);
    spi_flash_close(p->flash);
    free(p);
}

static int pirate_open(const struct sim_device_setup *setup, void **ret_device, struct error *err)
{
    static const char *const BEHIND[] = { "socket", "flash", NULL };
    struct json_problems problems = { 0 };
    struct json_at at = json_root(setup->options, &problems);
    struct pirate *p = calloc(1, sizeof *p);
    if (!p)
        return error_set(err, ERR_MEMORY, "simulated Bus Pirate %s", setup->name);
    p->name = setup->name;
    p->loop = setup->loop;
    p->world = setup->world;
    bool has_flash = json_choice(&at, "behind", false, BEHIND, 0) == 1;
    p->io_v = json_double(&at, "io_v", false, 0, 5, 3.3);
    p->byte_s = 10 / BAUD_DEFAULT;
    int code = 0;
    if (problems.count > 0)
        code = error_set(err, ERR_INVALID, "simulated Bus Pirate %s%.100s: %.200s", setup->name,
                         problems.item[0].pointer, problems.item[0].reason);
    if (!code && has_flash && !(p->flash = spi_flash_open()))
        code = error_set(err, ERR_MEMORY, "simulated Bus Pirate %s", setup->name);
    if (code) {
        free(p);
        return code;
    }
    *ret_device = p;
    return 0;
}

const struct sim_device_model sim_buspirate = {
    .name = "buspirate",
    .default_link = SIM_LINK_PTY,
    .clients_max = 1,
    .ops = { .on_bytes = on_bytes, .on_reboot = on_reboot },
    .open = pirate_open,
    .attach = pirate_attach,
    .close = pirate_close,
};
