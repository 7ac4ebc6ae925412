/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * sim_metex: a hand-held meter of the Metex family at its serial line: it answers each 'D' with what its
 * display shows, 14 characters, volts d.c. with 4000 counts. "shows" chooses another display, as somebody who
 * has turned the dial would. libsigrok's driver "metex-m3640d" is its client. Errors are [K], of the order of
 * such meters' data sheets. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/rng.h"
#include "drivers/sim/sim_models.h"
#include "drivers/sim/sim_supply.h"

enum { ANSWER = 14, SHOWN = 13, RANGES = 4 };

#define COUNTS    4000.0
#define INPUT_OHM 10e6
#define GAIN      0.003
#define ANSWER_NS 100000000LL /* 14 characters at 1200 baud */

struct metex {
    struct sim_loop *loop;
    struct sim_link *link;
    struct world *world;
    struct world_source *input; /* never on; NULL: in the air */
    const char *shows;          /* NULL: volts */
    double gain;
};

/* "DC -1.234  V  ": range by range until the value fits. */
static void display(struct metex *m, char out[ANSWER + 1])
{
    double volt = m->input ? world_source_volt(m->world, m->input) * (1 + m->gain) : 0;
    for (int decimals = RANGES - 1; decimals >= 0; decimals--) {
        double counts = round(volt * pow(10, decimals));
        if (fabs(counts) >= COUNTS)
            continue;
        snprintf(out, ANSWER + 1, "DC %6.*f%4s\r", decimals, counts / pow(10, decimals), "V");
        return;
    }
    snprintf(out, ANSWER + 1, "DC    .OL%4s\r", "V");
}

static void on_bytes(void *context, int client, const uint8_t *bytes, size_t n)
{
    struct metex *m = context;
    for (size_t i = 0; i < n; i++) {
        char text[ANSWER + 1];
        if (bytes[i] != 'D')
            continue;
        if (m->shows)
            snprintf(text, sizeof text, "%-13.13s\r", m->shows);
        else
            display(m, text);
        sim_link_send(m->link, client, text, ANSWER, sim_now(m->loop) + ANSWER_NS);
    }
}

static void metex_attach(void *device, struct sim_link *link)
{
    ((struct metex *)device)->link = link;
}

static int metex_open(const struct sim_device_setup *setup, void **ret_device, struct error *err)
{
    struct world_source_state state = { .off_ohm = INPUT_OHM, .limit_a = 1e-9, .tau_s = 1e-6 };
    struct json_problems problems = { 0 };
    struct json_at at = json_root(setup->options, &problems);
    struct metex *m = calloc(1, sizeof *m);
    int code = 0;
    if (!m)
        return error_set(err, ERR_MEMORY, "simulated meter %s", setup->name);
    m->loop = setup->loop;
    m->world = setup->world;
    m->gain = supply_error(setup->seed, "gain", rng_entity(setup->name), 0, GAIN);
    const char *shows = json_string(&at, "shows", false, ""), *net = json_string(&at, "net", false, "");
    m->shows = shows[0] ? shows : NULL;
    struct world_source_options input = { .instrument = setup->name, .channel = 1 };
    if (setup->wire_count > 0)
        input.net = setup->wire[0].net;
    else if (net[0] && !(input.net = world_net_find(setup->world, net)))
        code = error_set(err, ERR_INVALID, "%s: no net '%.40s'", setup->name, net);
    if (!code && input.net)
        code = world_source_add(setup->world, &input, &m->input, err);
    if (code) {
        free(m);
        return code;
    }
    if (m->input)
        world_source_set(m->world, m->input, &state);
    *ret_device = m;
    return 0;
}

const struct sim_device_model sim_metex = {
    .name = "metex",
    .default_link = SIM_LINK_PTY,
    .clients_max = 1,
    .ops = { .on_bytes = on_bytes },
    .open = metex_open,
    .attach = metex_attach,
    .close = free,
};
