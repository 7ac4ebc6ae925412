/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * sim_korad: Korad KA3005P on its serial line. A command ends when nothing more has come for a while: two
 * commands without a pause between them are one that nobody understands, and nothing is said about it. What
 * comes while it works is lost. The answer to ISET1? carries a stray byte, as the real ones do. Errors of the
 * unit are [K], from memory of the data sheet. Readings are of the moment, not averaged. sigrok-cli is the
 * judge. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/clock.h"
#include "daemon/base/rng.h"
#include "drivers/sim/sim_models.h"
#include "drivers/sim/sim_supply.h"

enum {
    COMMAND_MAX = 32,
    STATUS_CV = 0x01,
    STATUS_BEEP = 0x10,
    STATUS_OCP = 0x20,
    STATUS_OUTPUT = 0x40,
    STATUS_OVP = 0x80
};

#define GAP_NS   (15 * NS_PER_MS) /* silence that ends a command [K] */
#define WORK_NS  (10 * NS_PER_MS) /* between the end of a command and its answer [K] */
#define BYTE_NS  1041667LL        /* 9600 8N1 */
#define MAX_V    31.0
#define MAX_A    5.1
#define STEP_V   0.01
#define STEP_A   0.001
#define GAIN     0.005
#define OFFSET_V 0.02
#define OFFSET_A 0.003
#define OCP_S    0.05
#define TAU_S    0.01
#define BLEEDER  1e3

struct korad {
    struct sim_loop *loop;
    struct sim_link *link;
    struct world *world;
    struct world_source *source;
    uint64_t timer;
    bool working, stray, on, ocp, ovp, beep;
    int client;
    char command[COMMAND_MAX + 1], answer[COMMAND_MAX];
    size_t have, answer_n;
    double set_v, set_a;
    double error[4][2]; /* program volts, program amperes, read volts, read amperes: gain, offset */
};

static double with_error(const struct korad *k, int which, double value)
{
    return value * (1 + k->error[which][0]) + k->error[which][1];
}

static void apply(struct korad *k)
{
    struct world_source_state state = { .on = k->on,
                                        .set_v = fmax(with_error(k, 0, k->set_v), 0),
                                        .limit_a = fmax(with_error(k, 1, k->set_a), 1e-6),
                                        .ovp_v = k->ovp ? k->set_v * 1.05 + 0.1 : 0, /* [K] */
                                        .ocp = k->ocp,
                                        .ocp_delay_s = OCP_S,
                                        .tau_s = TAU_S,
                                        .off_ohm = BLEEDER };
    world_source_set(k->world, k->source, &state);
}

static void on_trip(void *context, int number, int trip)
{
    (void)number;
    (void)trip;
    ((struct korad *)context)->on = false;
}

static void switch_off(struct korad *k)
{
    k->on = k->ocp = k->ovp = false;
    k->have = 0;
    k->working = false;
    sim_cancel(k->loop, k->timer);
    k->timer = 0;
    apply(k);
}

/* ---- Commands ---- */

static int status(struct korad *k)
{
    bool limiting = k->on && world_source_limiting(k->world, k->source);
    return (limiting ? 0 : STATUS_CV) | (k->beep ? STATUS_BEEP : 0) | (k->ocp ? STATUS_OCP : 0) |
           (k->on ? STATUS_OUTPUT : 0) | (k->ovp ? STATUS_OVP : 0);
}

static void answer_number(struct korad *k, int decimals, double value)
{
    k->answer_n =
        (size_t)snprintf(k->answer, sizeof k->answer, "%05.*f", decimals, fmin(fmax(value, 0), 99.99));
}

static void set_number(const char *text, double max, double step, double *value)
{
    char *end;
    double asked = strtod(text, &end);
    if (end > text && *end == '\0' && asked >= 0 && asked <= max)
        *value = round(asked / step) * step;
}

static bool ask(struct korad *k, const char *text)
{
    if (strcmp(text, "*IDN?") == 0) {
        k->answer_n = (size_t)snprintf(k->answer, sizeof k->answer, "KORADKA3005PV2.0");
    } else if (strcmp(text, "STATUS?") == 0) {
        k->answer[0] = (char)status(k);
        k->answer_n = 1;
    } else if (strcmp(text, "VSET1?") == 0) {
        answer_number(k, 2, k->set_v);
    } else if (strcmp(text, "ISET1?") == 0) {
        answer_number(k, 3, k->set_a);
        if (k->stray)
            k->answer[k->answer_n++] = 'K';
    } else if (strcmp(text, "VOUT1?") == 0) {
        answer_number(k, 2, k->on ? with_error(k, 2, world_source_volt(k->world, k->source)) : 0);
    } else if (strcmp(text, "IOUT1?") == 0) {
        answer_number(k, 3, k->on ? with_error(k, 3, world_source_current(k->world, k->source)) : 0);
    } else {
        return false;
    }
    return true;
}

static void set(struct korad *k, const char *text)
{
    const struct {
        const char *name;
        bool *value;
    } SWITCHES[] = { { "OUT", &k->on }, { "OCP", &k->ocp }, { "OVP", &k->ovp }, { "BEEP", &k->beep } };
    if (strncmp(text, "VSET1:", 6) == 0)
        set_number(text + 6, MAX_V, STEP_V, &k->set_v);
    else if (strncmp(text, "ISET1:", 6) == 0)
        set_number(text + 6, MAX_A, STEP_A, &k->set_a);
    for (size_t i = 0; i < sizeof SWITCHES / sizeof *SWITCHES; i++) {
        size_t n = strlen(SWITCHES[i].name);
        if (strncmp(text, SWITCHES[i].name, n) == 0 && (text[n] == '0' || text[n] == '1') && !text[n + 1])
            *SWITCHES[i].value = text[n] == '1';
    }
    apply(k);
}

/* ---- The line ---- */

static void on_done(void *context, int64_t now_ns)
{
    struct korad *k = context;
    k->timer = 0;
    k->working = false;
    k->have = 0;
    k->answer_n = 0;
    if (ask(k, k->command))
        sim_link_send(k->link, k->client, k->answer, k->answer_n, now_ns + BYTE_NS * (int64_t)k->answer_n);
    else
        set(k, k->command);
}

static void on_gap(void *context, int64_t now_ns)
{
    struct korad *k = context;
    k->command[k->have] = '\0';
    k->working = true;
    k->timer = sim_at(k->loop, now_ns + WORK_NS, on_done, k);
}

static void on_bytes(void *context, int client, const uint8_t *bytes, size_t n)
{
    struct korad *k = context;
    k->client = client;
    if (k->working)
        return; /* it does not listen while it works */
    if (n > COMMAND_MAX - k->have)
        n = COMMAND_MAX - k->have;
    memcpy(k->command + k->have, bytes, n);
    k->have += n;
    if (k->timer)
        sim_cancel(k->loop, k->timer);
    k->timer = sim_at(k->loop, sim_now(k->loop) + GAP_NS + BYTE_NS * (int64_t)n, on_gap, k);
}

static void on_reboot(void *context)
{
    switch_off(context);
}

static void korad_attach(void *device, struct sim_link *link)
{
    ((struct korad *)device)->link = link;
}

static void korad_close(void *device)
{
    free(device);
}

static int korad_open(const struct sim_device_setup *setup, void **ret_device, struct error *err)
{
    static const char *const DRAWS[4] = { "program_v", "program_a", "read_v", "read_a" };
    struct json_problems problems = { 0 };
    struct json_at at = json_root(setup->options, &problems);
    struct korad *k = calloc(1, sizeof *k);
    if (!k)
        return error_set(err, ERR_MEMORY, "simulated supply %s", setup->name);
    k->loop = setup->loop;
    k->world = setup->world;
    k->stray = json_boolean(&at, "stray_byte", false, true);
    k->beep = true;
    for (int i = 0; i < 4; i++) {
        uint64_t entity = rng_entity(setup->name);
        k->error[i][0] = supply_error(setup->seed, DRAWS[i], entity, 0, GAIN);
        k->error[i][1] = supply_error(setup->seed, DRAWS[i], entity, 1, i % 2 ? OFFSET_A : OFFSET_V);
    }
    struct world_source_options options = {
        .instrument = setup->name, .channel = 1, .on_trip = on_trip, .context = k
    };
    if (setup->wire_count) {
        options.net = setup->wire[0].net;
        options.lead_ohm = setup->wire[0].lead_ohm;
    }
    int code = world_source_add(setup->world, &options, &k->source, err);
    if (code) {
        free(k);
        return code;
    }
    apply(k);
    *ret_device = k;
    return 0;
}

const struct sim_device_model sim_korad = {
    .name = "ka3005p",
    .default_link = SIM_LINK_PTY,
    .clients_max = 1,
    .ops = { .on_bytes = on_bytes, .on_reboot = on_reboot },
    .open = korad_open,
    .attach = korad_attach,
    .close = korad_close,
};
