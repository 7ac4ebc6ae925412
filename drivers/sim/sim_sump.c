/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * sim_sump: a logic analyzer that speaks SUMP (Openbench Logic Sniffer), on the lines that the bench file's
 * "logic" wires to it. libsigrok's driver "ols" is its client. Levels are looked at when it is armed and
 * every POLL_NS after, until its trigger fires: a capture shows the level before and the level after. Stages
 * beyond the first, run-length coding and the extensions of later cores are not modelled. */
#include <stdlib.h>
#include <string.h>

#include "daemon/base/clock.h"
#include "drivers/sim/sim_models.h"

enum command {
    SUMP_RESET = 0x00,
    SUMP_RUN = 0x01,
    SUMP_ID = 0x02,
    SUMP_METADATA = 0x04,
    SUMP_LONG = 0x80, /* four bytes follow */
    SUMP_DIVIDER = 0x80,
    SUMP_COUNTS = 0x81,
    SUMP_FLAGS = 0x82,
    SUMP_MASK = 0xc0,
    SUMP_VALUE = 0xc1
};

enum { LOOKS_MAX = 10000 }; /* a real one waits for ever */
enum { LONG_BYTES = 5, INPUTS = 32, MEMORY_BYTES = 24 * 1024, GROUPS = 4, FLAG_DEMUX = 1 };

#define CLOCK_HZ 100e6
#define POLL_NS  NS_PER_MS

struct sump {
    struct sim_loop *loop;
    struct sim_link *link;
    struct world *world;
    const char *pin[INPUTS]; /* NULL: open */
    uint8_t command[LONG_BYTES];
    size_t have;
    uint32_t divider, read_count, delay_count, flags, mask, value, armed_levels;
    uint64_t timer; /* 0: not armed */
    int looks;      /* since it was armed */
    int client;
};

static uint32_t little(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

static uint32_t levels(struct sump *s)
{
    uint32_t all = 0;
    for (int i = 0; i < INPUTS; i++)
        all |= (uint32_t)(s->pin[i] && world_line(s->world, s->pin[i])) << i;
    return all;
}

static void say(struct sump *s, const void *bytes, size_t n, int64_t after_ns)
{
    sim_link_send(s->link, s->client, bytes, n, sim_now(s->loop) + after_ns);
}

static void disarm(struct sump *s)
{
    if (s->timer)
        sim_cancel(s->loop, s->timer);
    s->timer = 0;
}

/* The memory, newest sample first, groups that are switched off left out. */
static void send_capture(struct sump *s, uint32_t after)
{
    uint8_t memory[MEMORY_BYTES];
    size_t n = 0;
    for (uint32_t i = 0; i < s->read_count && n < sizeof memory; i++) {
        uint32_t sample = i < s->delay_count ? after : s->armed_levels;
        for (int group = 0; group < GROUPS && n < sizeof memory; group++) {
            if (!(s->flags >> (2 + group) & 1))
                memory[n++] = (uint8_t)(sample >> 8 * group);
        }
    }
    double rate_hz = CLOCK_HZ * (s->flags & FLAG_DEMUX ? 2 : 1) / (s->divider + 1.0);
    if (n > 0) /* all groups may be off */
        say(s, memory, n, (int64_t)(s->read_count / rate_hz * 1e9));
}

static void look(void *context, int64_t now_ns)
{
    struct sump *s = context;
    uint32_t now = levels(s);
    s->timer = 0;
    if ((now & s->mask) == (s->value & s->mask))
        send_capture(s, now);
    else if (s->looks++ < LOOKS_MAX)
        s->timer = sim_at(s->loop, now_ns + POLL_NS, look, s);
}

static void run(struct sump *s)
{
    disarm(s);
    s->looks = 0;
    s->armed_levels = levels(s);
    look(s, sim_now(s->loop));
}

static void take_short(struct sump *s, uint8_t command)
{
    static const uint8_t METADATA[] = "\x01SUMP\0"
                                      "\x21\x00\x00\x60\x00" /* 24 KiB */
                                      "\x23\x05\xf5\xe1\x00" /* 100 MHz */
                                      "\x40\x20";            /* 32 inputs; the text's own NUL ends the list */
    switch (command) {
    case SUMP_RESET:
        disarm(s);
        s->mask = s->value = 0;
        break;
    case SUMP_RUN:
        run(s);
        break;
    case SUMP_ID:
        say(s, "1ALS", 4, 0);
        break;
    case SUMP_METADATA:
        say(s, METADATA, sizeof METADATA, 0);
        break;
    default:
        break;
    }
}

static void take_long(struct sump *s)
{
    uint32_t value = little(s->command + 1);
    switch (s->command[0]) {
    case SUMP_DIVIDER:
        s->divider = value & 0xffffff;
        break;
    case SUMP_COUNTS:
        s->read_count = ((value & 0xffff) + 1) * 4;
        s->delay_count = ((value >> 16) + 1) * 4;
        break;
    case SUMP_FLAGS:
        s->flags = value;
        break;
    case SUMP_MASK:
        s->mask = value;
        break;
    case SUMP_VALUE:
        s->value = value;
        break;
    default:
        break;
    }
}

static void on_bytes(void *context, int client, const uint8_t *bytes, size_t n)
{
    struct sump *s = context;
    s->client = client;
    for (size_t i = 0; i < n; i++) {
        s->command[s->have++] = bytes[i];
        if (s->command[0] < SUMP_LONG)
            take_short(s, s->command[0]);
        else if (s->have == LONG_BYTES)
            take_long(s);
        else
            continue;
        s->have = 0;
    }
}

static void on_reboot(void *context)
{
    struct sump *s = context;
    disarm(s);
    s->have = 0;
    s->mask = s->value = s->flags = 0;
}

static void sump_attach(void *device, struct sim_link *link)
{
    ((struct sump *)device)->link = link;
}

static void sump_close(void *device)
{
    if (device)
        disarm(device);
    free(device);
}

static int sump_open(const struct sim_device_setup *setup, void **ret_device, struct error *err)
{
    struct sump *s = calloc(1, sizeof *s);
    if (!s)
        return error_set(err, ERR_MEMORY, "simulated analyzer %s", setup->name);
    s->loop = setup->loop;
    s->world = setup->world;
    s->read_count = s->delay_count = 4;
    for (int i = 0; i < INPUTS; i++)
        s->pin[i] = setup->pin[i];
    *ret_device = s;
    return 0;
}

const struct sim_device_model sim_sump = {
    .name = "sump",
    .default_link = SIM_LINK_PTY,
    .clients_max = 1,
    .ops = { .on_bytes = on_bytes, .on_reboot = on_reboot },
    .open = sump_open,
    .attach = sump_attach,
    .close = sump_close,
};
