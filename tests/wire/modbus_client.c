/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * modbus_client: our Modbus driver on a command line, for the tests of this folder: each word is one request,
 * each line of the output its answer.
 *   modbus_client [--clock SOCKET] [--links FILE] [--trace DIR] NAME RESOURCE MAP CLASS WORD...
 * Words: id, volt:CH:V, limit:CH:A, protect:CH:V:OCP, on:CH, off:CH, safe:CH, state:CH, clear:CH, readv:CH,
 * reada:CH, readt:CH, temp:CH:C, wait:SECONDS, resync. A word may repeat: 5*readv:1. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/driver.h"

static const struct {
    const char *word;
    int op;
    double first; /* value[0] where the word does not give it */
    bool given;
} WORDS[] = {
    { "id", MESSAGE_IDENTIFY, 0, false },
    { "volt", MESSAGE_SET_VOLTAGE, 0, true },
    { "limit", MESSAGE_SET_LIMIT, 0, true },
    { "protect", MESSAGE_SET_PROTECTION, 0, true },
    { "on", MESSAGE_OUTPUT, 1, false },
    { "off", MESSAGE_OUTPUT, 0, false },
    { "safe", MESSAGE_SAFE_OFF, 0, false },
    { "state", MESSAGE_STATE, 0, false },
    { "clear", MESSAGE_CLEAR_TRIP, 0, false },
    { "readv", MESSAGE_MEASURE, QUANTITY_VOLTAGE, false },
    { "reada", MESSAGE_MEASURE, QUANTITY_CURRENT, false },
    { "readt", MESSAGE_MEASURE, QUANTITY_TEMPERATURE, false },
    { "temp", MESSAGE_SET_TEMPERATURE, 0, true },
};

struct client {
    struct transport_env env;
    struct driver_config config;
    void *state;
    uint8_t payload[4096];
};

static int one(struct client *c, const char *word)
{
    char name[16] = "";
    double v[3] = { 0, 0, 0 };
    struct error err = { 0 };
    int n = sscanf(word, "%15[a-z]:%lf:%lf:%lf", name, &v[0], &v[1], &v[2]);
    double now_s = (double)clock_now(c->env.clock) * 1e-9;
    if (strcmp(name, "wait") == 0)
        return clock_sleep_until(c->env.actor, clock_now(c->env.clock) + (int64_t)(v[0] * 1e9), -1);
    int code = ERR_INVALID;
    struct message m = { .channel = (int16_t)v[0] };
    if (strcmp(name, "resync") == 0)
        code = driver_modbus.resync(c->state, &err);
    for (size_t i = 0; i < sizeof WORDS / sizeof *WORDS; i++) {
        if (strcmp(name, WORDS[i].word) != 0 || n < 1)
            continue;
        m.op = (uint16_t)WORDS[i].op;
        m.value[0] = WORDS[i].given ? v[1] : WORDS[i].first;
        m.value[1] = v[2];
        code = driver_modbus.request(c->state, &m, c->payload, sizeof c->payload, &err);
    }
    for (uint32_t i = 0; i + 1 < m.payload_length; i++)
        c->payload[i] = c->payload[i] ? c->payload[i] : ',';
    printf("%.6f %s %s %u %.9g %.9g %s\n", now_s, word, code ? error_name(code) : "ok", m.flags, m.value[0],
           m.value[1],
           code               ? err.message
           : m.payload_length ? (const char *)c->payload
                              : "");
    return 0;
}

int main(int argc, char **argv)
{
    static struct client c;
    static const char *const CLASSES[] = {
        [CLASS_PSU] = "psu", [CLASS_SMU] = "smu", [CLASS_DMM] = "dmm", [CLASS_CHAMBER] = "chamber"
    };
    const char *clock_path = NULL;
    struct error err = { 0 };
    int i = 1;
    for (; i + 1 < argc && strncmp(argv[i], "--", 2) == 0; i += 2) {
        if (strcmp(argv[i], "--clock") == 0)
            clock_path = argv[i + 1];
        else if (strcmp(argv[i], "--links") == 0)
            c.env.links_path = argv[i + 1];
        else if (strcmp(argv[i], "--trace") == 0)
            c.env.trace_dir = argv[i + 1];
    }
    if (argc - i < 4)
        return 2;
    c.env.cut_fd = -1;
    snprintf(c.config.name, sizeof c.config.name, "%s", argv[i]);
    snprintf(c.config.resource, sizeof c.config.resource, "%s", argv[i + 1]);
    snprintf(c.config.dialect_path, sizeof c.config.dialect_path, "configs/instruments/modbus/%s.json",
             argv[i + 2]);
    c.config.class = -1;
    for (size_t k = 0; k < sizeof CLASSES / sizeof *CLASSES; k++) {
        if (CLASSES[k] && strcmp(CLASSES[k], argv[i + 3]) == 0)
            c.config.class = (int)k;
    }
    int code = clock_open(clock_path, &c.env.clock, &err);
    if (!code)
        code = clock_actor_open(c.env.clock, "client", CLOCK_RANK_PORT, &c.env.actor, &err);
    if (!code)
        code = driver_modbus.open(&c.config, &c.env, &c.state, &err);
    printf("open %s %s\n", code ? error_name(code) : "ok", err.message);
    for (i += 4; i < argc && !code; i++) {
        char *star = strchr(argv[i], '*');
        int times = star ? atoi(argv[i]) : 1;
        for (int k = 0; k < times && !code; k++)
            code = one(&c, star ? star + 1 : argv[i]);
    }
    driver_modbus.close(c.state);
    clock_actor_close(c.env.actor);
    clock_close(c.env.clock);
    return code ? 1 : 0;
}
