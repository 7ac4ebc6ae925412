/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * sim_chamber: chambers and air streams that are spoken to in lines of text: inTEST ThermoStream, Thermotron
 * 3800, ESPEC P-300. Commands [S], from the drivers that configs/instruments/ names as sources. What comes
 * too soon after an exchange (or a setting) is lost, as in life: whoever hurries misses an answer. Options:
 * "tau_s", "low_c" and "high_c" (limits set at the panel), "fault" (what the error register says). */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/clock.h"
#include "daemon/base/rng.h"
#include "drivers/sim/sim_air.h"
#include "drivers/sim/sim_models.h"

enum { LINE_MAX_BYTES = 120 };

struct chamber;

/* arg is what follows the name; a setting returns false when it refuses. */
struct text_command {
    const char *name;
    bool (*set)(struct chamber *c, const char *arg);
    void (*ask)(const struct chamber *c, char *out, size_t size);
};

struct text_model {
    const struct text_command *command; /* ends with a NULL name */
    const char *end, *good, *bad;       /* good, bad: answers to settings, NULL: none */
    double pace_s;                      /* to the answer */
    double deaf_s, deaf_after_set_s;    /* what it does not hear after an exchange, after a setting */
    double tau_s, low_c, high_c;
};

struct chamber {
    struct sim_air air;
    const struct text_model *model;
    struct sim_link *link;
    char serial[16], line[LINE_MAX_BYTES];
    size_t have;
    int slot; /* set point in use: 0 hot, 1 ambient, 2 cold */
    double slot_c[3], soak_s, low_c, high_c;
    int fault;
    int64_t deaf_until_ns;
};

static bool number(const char *arg, double min, double max, double *ret)
{
    char *end;
    double value = strtod(arg, &end);
    if (end == arg || *end || !(value >= min && value <= max))
        return false;
    *ret = value;
    return true;
}

static double tenths(double value)
{
    return round(value * 10) / 10;
}

/* ---- What they have in common ---- */
static void ask_air(const struct chamber *c, char *out, size_t size)
{
    snprintf(out, size, "%.1f", c->air.air_c);
}

static void ask_set(const struct chamber *c, char *out, size_t size)
{
    snprintf(out, size, "%.1f", c->air.set_c);
}

static bool set_point(struct chamber *c, const char *arg)
{
    double celsius;
    if (!number(arg, c->low_c, c->high_c, &celsius))
        return false;
    c->slot_c[c->slot] = tenths(celsius);
    sim_air_set(&c->air, c->slot_c[c->slot]);
    return true;
}

static bool switch_on(struct chamber *c, const char *arg)
{
    sim_air_switch(&c->air, true);
    return *arg == '\0';
}

static bool switch_off(struct chamber *c, const char *arg)
{
    sim_air_switch(&c->air, false);
    return *arg == '\0';
}

/* ---- ThermoStream ---- */
static void ats_ask_identity(const struct chamber *c, char *out, size_t size)
{
    snprintf(out, size, "inTEST,ATS-545,%s,3.10", c->serial);
}

static bool ats_set_slot(struct chamber *c, const char *arg)
{
    double slot;
    if (!number(arg, 0, 2, &slot))
        return false;
    c->slot = (int)slot;
    sim_air_set(&c->air, c->slot_c[c->slot]);
    return true;
}

static bool ats_set_flow(struct chamber *c, const char *arg)
{
    double on;
    if (!number(arg, 0, 1, &on))
        return false;
    sim_air_switch(&c->air, on != 0);
    return true;
}

static bool ats_set_ramp(struct chamber *c, const char *arg)
{
    return number(arg, 0, 9999, &c->air.ramp_k_min);
}

static void ats_ask_ramp(const struct chamber *c, char *out, size_t size)
{
    snprintf(out, size, "%.1f", c->air.ramp_k_min);
}

static bool ats_set_soak(struct chamber *c, const char *arg)
{
    return number(arg, 0, 9999, &c->soak_s);
}

static void ats_ask_soak(const struct chamber *c, char *out, size_t size)
{
    snprintf(out, size, "%.0f", c->soak_s);
}

static bool ats_set_window(struct chamber *c, const char *arg)
{
    return number(arg, 0.1, 9.9, &c->air.window_k);
}

static void ats_ask_window(const struct chamber *c, char *out, size_t size)
{
    snprintf(out, size, "%.1f", c->air.window_k);
}

static void ats_ask_low(const struct chamber *c, char *out, size_t size)
{
    snprintf(out, size, "%.1f", c->low_c);
}

static void ats_ask_high(const struct chamber *c, char *out, size_t size)
{
    snprintf(out, size, "%.1f", c->high_c);
}

/* Bit 0: at temperature for the soak time; bit 1: not. */
static void ats_ask_settled(const struct chamber *c, char *out, size_t size)
{
    snprintf(out, size, "%d", sim_air_inside_s(&c->air) >= c->soak_s ? 1 : 2);
}

/* Bit 5: flow, bit 6: ready, bit 8: manual mode. */
static void ats_ask_auxiliary(const struct chamber *c, char *out, size_t size)
{
    snprintf(out, size, "%d", 1 << 8 | 1 << 6 | (c->air.on ? 1 << 5 : 0));
}

static void ats_ask_error(const struct chamber *c, char *out, size_t size)
{
    snprintf(out, size, "%d", c->fault);
}

static bool ats_clear(struct chamber *c, const char *arg)
{
    (void)arg;
    c->fault = 0;
    return true;
}

static bool nothing(struct chamber *c, const char *arg)
{
    (void)c;
    (void)arg;
    return true;
}

static const struct text_command ats_commands[] = {
    { "*IDN", NULL, ats_ask_identity },
    { "*CLS", nothing, NULL },
    { "SETN", ats_set_slot, NULL },
    { "SETP", set_point, ask_set },
    { "TEMP", NULL, ask_air },
    { "TECR", NULL, ats_ask_settled },
    { "FLOW", ats_set_flow, NULL },
    { "RAMP", ats_set_ramp, ats_ask_ramp },
    { "SOAK", ats_set_soak, ats_ask_soak },
    { "WNDW", ats_set_window, ats_ask_window },
    { "LLIM", NULL, ats_ask_low },
    { "ULIM", NULL, ats_ask_high },
    { "AUXC", NULL, ats_ask_auxiliary },
    { "EROR", NULL, ats_ask_error },
    { "CLER", ats_clear, NULL },
    { NULL, NULL, NULL },
};

static const struct text_model ats = {
    .command = ats_commands,
    .end = "\r\n",
    .pace_s = 20e-3,
    .deaf_s = 40e-3,
    .tau_s = 10, /* [K] an air stream */
    .low_c = -99.9,
    .high_c = 225,
};

/* ---- Thermotron ---- */
static void tt_ask_identity(const struct chamber *c, char *out, size_t size)
{
    (void)c;
    snprintf(out, size, "3800");
}

static bool tt_set_point(struct chamber *c, const char *arg)
{
    return *arg == ',' && set_point(c, arg + 1);
}

static void tt_ask_mode(const struct chamber *c, char *out, size_t size)
{
    snprintf(out, size, "%d", c->air.on ? 16 : 2);
}

static const struct text_command tt_commands[] = {
    { "IDEN", NULL, tt_ask_identity },
    { "SETP1", tt_set_point, ask_set },
    { "PVAR1", NULL, ask_air },
    { "RUNM", switch_on, NULL },
    { "STOP", switch_off, NULL },
    { "MODE", NULL, tt_ask_mode },
    { NULL, NULL, NULL },
};

static const struct text_model tt = {
    .command = tt_commands,
    .end = "\n",
    .pace_s = 50e-3,
    .deaf_after_set_s = 0.9,
    .tau_s = 60,
    .low_c = -55,
    .high_c = 150,
};

/* ---- ESPEC ---- */
static void espec_ask_type(const struct chamber *c, char *out, size_t size)
{
    (void)c;
    snprintf(out, size, "T,P300,180.0");
}

/* "TEMP,S85.0"; some send a space after the comma. */
static bool espec_set(struct chamber *c, const char *arg)
{
    arg += *arg == ',';
    arg += strspn(arg, " ");
    return *arg == 'S' && set_point(c, arg + 1);
}

static void espec_ask(const struct chamber *c, char *out, size_t size)
{
    snprintf(out, size, "%.1f,%.1f,%.1f,%.1f", c->air.air_c, c->air.set_c, c->high_c, c->low_c);
}

static bool espec_set_mode(struct chamber *c, const char *arg)
{
    if (strcmp(arg, ",CONSTANT") == 0)
        return switch_on(c, "");
    return (strcmp(arg, ",STANDBY") == 0 || strcmp(arg, ",OFF") == 0) && switch_off(c, "");
}

static void espec_ask_mode(const struct chamber *c, char *out, size_t size)
{
    snprintf(out, size, "%s", c->air.on ? "CONSTANT" : "STANDBY");
}

static void espec_ask_monitor(const struct chamber *c, char *out, size_t size)
{
    snprintf(out, size, "%.1f,,%s,%d", c->air.air_c, c->air.on ? "CONSTANT" : "STANDBY", c->fault);
}

static const struct text_command espec_commands[] = {
    { "TYPE", NULL, espec_ask_type },
    { "TEMP", espec_set, espec_ask },
    { "MODE", espec_set_mode, espec_ask_mode },
    { "MON", NULL, espec_ask_monitor },
    { NULL, NULL, NULL },
};

static const struct text_model espec = {
    .command = espec_commands,
    .end = "\r\n",
    .good = "OK:",
    .bad = "NA:",
    .pace_s = 60e-3,
    .deaf_s = 80e-3,
    .tau_s = 60,
    .low_c = -70,
    .high_c = 180,
};

/* ---- Lines ---- */
static void say(struct chamber *c, int client, const char *text)
{
    char line[LINE_MAX_BYTES * 2];
    int n = snprintf(line, sizeof line, "%s%s", text, c->model->end);
    sim_link_send(c->link, client, line, (size_t)n, sim_now(c->air.loop) + (int64_t)(c->model->pace_s * 1e9));
}

static const struct text_command *find(const struct text_model *model, const char *line)
{
    const struct text_command *best = NULL;
    for (const struct text_command *k = model->command; k->name; k++) {
        size_t n = strlen(k->name);
        if (strncmp(line, k->name, n) == 0 && !isalpha((unsigned char)line[n]))
            best = k;
    }
    return best;
}

static void on_line(struct chamber *c, int client, const char *line)
{
    const struct text_model *model = c->model;
    const struct text_command *k = find(model, line);
    const char *arg = k ? line + strlen(k->name) : "";
    char out[LINE_MAX_BYTES] = "", reply[LINE_MAX_BYTES * 2];
    double deaf_s = model->deaf_s;

    if (k && *arg == '?' && k->ask) {
        k->ask(c, out, sizeof out);
        say(c, client, out);
        deaf_s += model->pace_s;
    } else {
        bool done = k && *arg != '?' && k->set && k->set(c, arg + strspn(arg, " "));
        if (done)
            snprintf(reply, sizeof reply, "%s%s", model->good ? model->good : "", line);
        else
            snprintf(reply, sizeof reply, "%s%s", model->bad ? model->bad : "",
                     k ? "DATA OUT OF RANGE" : "CMD ERR");
        if (model->good)
            say(c, client, reply);
        deaf_s += model->good ? model->pace_s : 0;
        deaf_s = fmax(deaf_s, model->deaf_after_set_s);
    }
    c->deaf_until_ns = sim_now(c->air.loop) + (int64_t)(deaf_s * 1e9);
}

static void on_bytes(void *context, int client, const uint8_t *bytes, size_t n)
{
    struct chamber *c = context;
    for (size_t i = 0; i < n; i++) {
        if (bytes[i] != '\n') {
            if (c->have < sizeof c->line - 1 && bytes[i] != '\r')
                c->line[c->have++] = bytes[i] ? (char)bytes[i] : '?';
            continue;
        }
        c->line[c->have] = '\0';
        bool heard = c->have > 0 && sim_now(c->air.loop) >= c->deaf_until_ns;
        c->have = 0;
        if (heard)
            on_line(c, client, c->line);
    }
}

/* They come back as they were, but standing still. */
static void on_reboot(void *context)
{
    struct chamber *c = context;
    c->have = 0;
    c->deaf_until_ns = 0;
    sim_air_switch(&c->air, false);
}

static void attach(void *context, struct sim_link *link)
{
    ((struct chamber *)context)->link = link;
}

static int open_chamber(const struct text_model *model, const struct sim_device_setup *setup,
                        void **ret_device, struct error *err)
{
    struct json_problems problems = { 0 };
    struct json_at at = json_root(setup->options, &problems);
    struct rng rng;
    struct chamber *c = calloc(1, sizeof *c);
    if (!c)
        return error_set(err, ERR_MEMORY, "%s", setup->name);
    int code = sim_air_init(&c->air, setup, model->tau_s, err);
    c->model = model;
    c->slot = 1;
    c->slot_c[0] = c->slot_c[1] = c->slot_c[2] = SIM_AIR_ROOM_C;
    c->air.on = false;
    c->low_c = json_double(&at, "low_c", false, model->low_c, model->high_c, model->low_c);
    c->high_c = json_double(&at, "high_c", false, model->low_c, model->high_c, model->high_c);
    c->fault = (int)json_integer(&at, "fault", false, 0, 0x7fff, 0);
    rng_init(&rng, setup->seed, "serial", rng_entity(setup->name), 0, 0);
    snprintf(c->serial, sizeof c->serial, "%06u", rng_below(&rng, 1000000));
    if (!code)
        code = json_problems_error(&problems, setup->name, err);
    if (code) {
        free(c);
        return code;
    }
    *ret_device = c;
    return 0;
}

static int open_ats(const struct sim_device_setup *setup, void **ret_device, struct error *err)
{
    return open_chamber(&ats, setup, ret_device, err);
}

static int open_tt(const struct sim_device_setup *setup, void **ret_device, struct error *err)
{
    return open_chamber(&tt, setup, ret_device, err);
}

static int open_espec(const struct sim_device_setup *setup, void **ret_device, struct error *err)
{
    return open_chamber(&espec, setup, ret_device, err);
}

static void close_chamber(void *device)
{
    struct chamber *c = device;
    if (!c)
        return;
    sim_air_fini(&c->air);
    free(c);
}

#define CHAMBER(model_name, opener)                                                                          \
    {                                                                                                        \
        .name = model_name, .default_link = SIM_LINK_TCP, .clients_max = 1,                                  \
        .ops = { .on_bytes = on_bytes, .on_reboot = on_reboot }, .open = opener, .attach = attach,           \
        .close = close_chamber,                                                                              \
    }

const struct sim_device_model sim_thermostream = CHAMBER("thermostream", open_ats);
const struct sim_device_model sim_thermotron = CHAMBER("thermotron-3800", open_tt);
const struct sim_device_model sim_espec = CHAMBER("espec-p300", open_espec);
