/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * sim_34461a: Keysight 34461A multimeter, volts DC. Grammar from what public drivers send; accuracy is [K]:
 * from memory of the data sheet (one year), to be checked against a printed one before anybody relies on it.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/rng.h"
#include "drivers/sim/sim_models.h"
#include "drivers/sim/sim_supply.h"

enum { READINGS_MAX = 10000, RANGES = 5 };

static const struct {
    double full;
    struct accuracy accuracy; /* gain of reading, offset in volt */
    double noise_v;           /* rms at 1 NPLC */
} ranges[RANGES] = { { 0.1, { 50e-6, 3.5e-6 }, 0.3e-6 },
                     { 1, { 40e-6, 7e-6 }, 1e-6 },
                     { 10, { 35e-6, 50e-6 }, 5e-6 },
                     { 100, { 45e-6, 600e-6 }, 100e-6 },
                     { 1000, { 45e-6, 10e-3 }, 1e-3 } };

static const double LINE_HZ = 50, OVERLOAD = 9.9e37, INPUT_OHM = 10e6, INPUT_HIGH_OHM = 10e9;

struct dmm {
    struct scpi_server server; /* first */
    struct world *world;
    struct world_source *input; /* a load: never on */
    uint64_t seed, entity, readings;
    int fixed_range; /* -1: auto */
    double nplc, delay_s;
    bool autozero, high_impedance;
    int samples;
    uint64_t timer;
    int left; /* samples to come */
    int count;
    double *reading;
    struct world_integrals start;
};

static struct dmm *dmm_of(const struct scpi_call *call)
{
    return (struct dmm *)call->server;
}

static void apply_input(struct dmm *dmm)
{
    bool high = dmm->high_impedance && (dmm->fixed_range < 0 || dmm->fixed_range <= 2);
    struct world_source_state state = { .limit_a = 1e-9,
                                        .tau_s = 1e-3,
                                        .off_ohm = high ? INPUT_HIGH_OHM : INPUT_OHM };
    world_source_set(dmm->world, dmm->input, &state);
}

static void stop(struct dmm *dmm)
{
    sim_cancel(dmm->server.loop, dmm->timer);
    dmm->timer = 0;
    dmm->left = 0;
    dmm->server.pending_until_ns = 0;
}

static void configure(struct dmm *dmm)
{
    stop(dmm);
    dmm->fixed_range = -1;
    dmm->nplc = 10;
    dmm->delay_s = 0;
    dmm->autozero = true;
    dmm->samples = 1;
    dmm->count = 0;
}

static void reset(void *instrument)
{
    struct dmm *dmm = instrument;
    configure(dmm);
    dmm->high_impedance = false;
    apply_input(dmm);
}

/* ---- Taking readings ---- */

static double convert(struct dmm *dmm, double volt)
{
    int range = dmm->fixed_range;
    for (int i = 0; range < 0 && i < RANGES; i++)
        if (fabs(volt) <= ranges[i].full * 1.2 || i == RANGES - 1)
            range = i;
    if (fabs(volt) > ranges[range].full * 1.2)
        return volt > 0 ? OVERLOAD : -OVERLOAD;
    uint64_t index = (uint64_t)range;
    double gain = supply_error(dmm->seed, "gain", dmm->entity, index, ranges[range].accuracy.gain);
    double offset = supply_error(dmm->seed, "offset", dmm->entity, index, ranges[range].accuracy.offset);
    struct rng rng;
    rng_init(&rng, dmm->seed, "readback", dmm->entity, 1, dmm->readings++);
    return volt * (1 + gain) + offset + rng_normal(&rng) * ranges[range].noise_v / sqrt(dmm->nplc);
}

static int64_t aperture_ns(const struct dmm *dmm)
{
    return (int64_t)(dmm->nplc / LINE_HZ * 1e9);
}

/* One sample: delay, aperture, and as long again with autozero (the zero is read, too). */
static int64_t period_ns(const struct dmm *dmm)
{
    return aperture_ns(dmm) * (dmm->autozero ? 2 : 1) + (int64_t)(dmm->delay_s * 1e9);
}

static void next_sample(struct dmm *dmm);

static void on_aperture_end(void *context, int64_t now_ns)
{
    struct dmm *dmm = context;
    (void)now_ns;
    struct world_integrals end = world_source_integrals(dmm->world, dmm->input);
    double volt = (end.volt_s - dmm->start.volt_s) / (end.t_s - dmm->start.t_s);
    dmm->timer = 0;
    if (dmm->count < READINGS_MAX)
        dmm->reading[dmm->count++] = convert(dmm, volt);
    if (--dmm->left > 0)
        next_sample(dmm);
}

static void on_aperture_begin(void *context, int64_t now_ns)
{
    struct dmm *dmm = context;
    dmm->start = world_source_integrals(dmm->world, dmm->input);
    dmm->timer = sim_at(dmm->server.loop, now_ns + aperture_ns(dmm), on_aperture_end, dmm);
}

static void next_sample(struct dmm *dmm)
{
    int64_t begin_ns = sim_now(dmm->server.loop) + period_ns(dmm) - aperture_ns(dmm);
    dmm->timer = sim_at(dmm->server.loop, begin_ns, on_aperture_begin, dmm);
}

static void initiate(struct dmm *dmm)
{
    stop(dmm);
    dmm->count = 0;
    dmm->left = dmm->samples;
    dmm->server.pending_until_ns = sim_now(dmm->server.loop) + dmm->samples * period_ns(dmm);
    next_sample(dmm);
}

static void answer_all(struct scpi_call *call)
{
    struct dmm *dmm = dmm_of(call);
    if (dmm->left > 0) { /* the last sample is due at this very instant */
        scpi_server_wait(call, 1e-6, answer_all);
        return;
    }
    if (dmm->count == 0)
        scpi_server_error(call, -230);
    for (int i = 0; i < dmm->count; i++)
        scpi_server_answer_number(call, dmm->reading[i]);
}

static void fetch_query(struct scpi_call *call)
{
    int64_t left_ns = call->server->pending_until_ns - sim_now(call->server->loop);
    if (left_ns > 0)
        scpi_server_wait(call, (double)left_ns * 1e-9, answer_all);
    else
        answer_all(call);
}

static void read_query(struct scpi_call *call)
{
    initiate(dmm_of(call));
    fetch_query(call);
}

static void start(struct scpi_call *call)
{
    if (dmm_of(call)->left > 0)
        scpi_server_error(call, -213);
    else
        initiate(dmm_of(call));
}

static void abort_all(struct scpi_call *call)
{
    stop(dmm_of(call));
}

/* R? [n], DATA:REMove? n: takes the oldest out as a block of text. */
static void remove_query(struct scpi_call *call)
{
    struct dmm *dmm = dmm_of(call);
    double n = dmm->count;
    if (call->arg_n && !scpi_server_number(call, 0, 1, READINGS_MAX, 1, &n))
        return;
    int take = n < dmm->count ? (int)n : dmm->count;
    struct strbuf text = { .text = NULL };
    for (int i = 0; i < take; i++)
        strbuf_add(&text, "%s%+.8E", i ? "," : "", dmm->reading[i]);
    scpi_server_answer_block(call, text.text ? text.text : "", text.length);
    strbuf_free(&text);
    dmm->count -= take;
    memmove(dmm->reading, dmm->reading + take, (size_t)dmm->count * sizeof *dmm->reading);
}

static void points_query(struct scpi_call *call)
{
    scpi_server_answer(call, "%+d", dmm_of(call)->count);
}

/* ---- Configuration ---- */

static bool range_argument(struct scpi_call *call, int i)
{
    struct dmm *dmm = dmm_of(call);
    double value;
    if (call->arg_n <= i || scpi_server_keyword(call, i, "AUTO") || scpi_server_keyword(call, i, "DEFault")) {
        dmm->fixed_range = -1;
        return true;
    }
    if (!scpi_server_number(call, i, 0, 1000, 10, &value))
        return false;
    dmm->fixed_range = 0;
    while (dmm->fixed_range < RANGES - 1 && ranges[dmm->fixed_range].full < value)
        dmm->fixed_range++;
    return true;
}

static void set_configure(struct scpi_call *call)
{
    configure(dmm_of(call));
    range_argument(call, 0);
    apply_input(dmm_of(call));
}

static void configure_query(struct scpi_call *call)
{
    const struct dmm *dmm = dmm_of(call);
    double full = ranges[dmm->fixed_range < 0 ? 2 : dmm->fixed_range].full;
    scpi_server_answer(call, "\"VOLT %+.8E,%+.8E\"", full, full * 1e-6);
}

static void measure_query(struct scpi_call *call)
{
    set_configure(call);
    read_query(call);
}

static void set_nplc(struct scpi_call *call)
{
    static const double values[] = { 0.02, 0.2, 1, 10, 100 };
    double value;
    if (!scpi_server_number(call, 0, 0.02, 100, 10, &value))
        return;
    size_t i = 0;
    while (i + 1 < sizeof values / sizeof *values && values[i] < value * (1 - 1e-9))
        i++;
    dmm_of(call)->nplc = values[i];
}

static void nplc_query(struct scpi_call *call)
{
    scpi_server_answer_number(call, dmm_of(call)->nplc);
}

static void set_range(struct scpi_call *call)
{
    range_argument(call, 0);
    apply_input(dmm_of(call));
}

static void range_query(struct scpi_call *call)
{
    const struct dmm *dmm = dmm_of(call);
    scpi_server_answer_number(call, ranges[dmm->fixed_range < 0 ? 2 : dmm->fixed_range].full);
}

static void set_auto(struct scpi_call *call)
{
    bool on;
    if (scpi_server_boolean(call, 0, &on))
        dmm_of(call)->fixed_range = on ? -1 : dmm_of(call)->fixed_range < 0 ? 2 : dmm_of(call)->fixed_range;
}

static void auto_query(struct scpi_call *call)
{
    scpi_server_answer(call, dmm_of(call)->fixed_range < 0 ? "1" : "0");
}

static void set_zero(struct scpi_call *call)
{
    scpi_server_boolean(call, 0, &dmm_of(call)->autozero);
}

static void zero_query(struct scpi_call *call)
{
    scpi_server_answer(call, dmm_of(call)->autozero ? "1" : "0");
}

static void set_impedance(struct scpi_call *call)
{
    if (scpi_server_boolean(call, 0, &dmm_of(call)->high_impedance))
        apply_input(dmm_of(call));
}

static void impedance_query(struct scpi_call *call)
{
    scpi_server_answer(call, dmm_of(call)->high_impedance ? "1" : "0");
}

static void set_samples(struct scpi_call *call)
{
    double value;
    if (scpi_server_number(call, 0, 1, READINGS_MAX, 1, &value))
        dmm_of(call)->samples = (int)value;
}

static void samples_query(struct scpi_call *call)
{
    scpi_server_answer(call, "%+d", dmm_of(call)->samples);
}

static void set_delay(struct scpi_call *call)
{
    scpi_server_number(call, 0, 0, 3600, 0, &dmm_of(call)->delay_s);
}

static void delay_query(struct scpi_call *call)
{
    scpi_server_answer_number(call, dmm_of(call)->delay_s);
}

static void set_trigger_source(struct scpi_call *call)
{
    if (!scpi_server_keyword(call, 0, "IMMediate"))
        scpi_server_error(call, call->arg_n ? -224 : -109); /* nothing else is wired */
}

static void trigger_source_query(struct scpi_call *call)
{
    scpi_server_answer(call, "IMM");
}

static void function_query(struct scpi_call *call)
{
    scpi_server_answer(call, "\"VOLT\"");
}

static void terminals_query(struct scpi_call *call)
{
    scpi_server_answer(call, "FRON");
}

static const struct scpi_command commands[] = {
    { "CONFigure[:VOLTage][:DC]", set_configure, configure_query },
    { "MEASure[:VOLTage][:DC]", NULL, measure_query },
    { "READ", NULL, read_query },
    { "INITiate[:IMMediate]", start, NULL },
    { "ABORt", abort_all, NULL },
    { "FETCh", NULL, fetch_query },
    { "R", NULL, remove_query },
    { "DATA:REMove", NULL, remove_query },
    { "DATA:POINts", NULL, points_query },
    { "[SENSe]:FUNCtion[:ON]", NULL, function_query },
    { "[SENSe]:VOLTage[:DC]:NPLCycles", set_nplc, nplc_query },
    { "[SENSe]:VOLTage[:DC]:RANGe[:UPPer]", set_range, range_query },
    { "[SENSe]:VOLTage[:DC]:RANGe:AUTO", set_auto, auto_query },
    { "[SENSe]:VOLTage[:DC]:ZERO:AUTO", set_zero, zero_query },
    { "[SENSe]:VOLTage[:DC]:IMPedance:AUTO", set_impedance, impedance_query },
    { "SAMPle:COUNt", set_samples, samples_query },
    { "TRIGger:SOURce", set_trigger_source, trigger_source_query },
    { "TRIGger:DELay", set_delay, delay_query },
    { "ROUTe:TERMinals", NULL, terminals_query },
    { NULL, NULL, NULL },
};

#define MODEL(number)                                                                                        \
    {                                                                                                        \
        .vendor = "Keysight Technologies", .model = (number), .firmware = "A.03.03-02.40-03.03-00.52-03-02", \
        .serial_prefix = "MY", .command = commands, .channels = 1, .pace_s = 0.5e-3 /* [K] */,               \
        .reset = reset                                                                                       \
    }

/* "identity" of the simulate object: a 34465A says so, and measures as a 34461A does. */
static const char *const identities[] = { "34461a", "34465a", NULL };
static const struct scpi_model models[] = { MODEL("34461A"), MODEL("34465A") };

static void close_34461a(void *device)
{
    struct dmm *dmm = device;
    scpi_server_fini(&dmm->server);
    free(dmm->reading);
    free(dmm);
}

static int open_34461a(const struct sim_device_setup *setup, void **ret_device, struct error *err)
{
    struct dmm *dmm = calloc(1, sizeof *dmm);
    if (!dmm)
        return error_set(err, ERR_MEMORY, "%s", setup->name);
    struct world_source_options options = { .instrument = setup->name, .channel = 1 };
    struct json_problems problems = { 0 };
    struct json_at at = json_root(setup->options, &problems);
    int identity = json_choice(&at, "identity", false, identities, 0);
    if (setup->wire_count)
        options.net = setup->wire[0].net;
    dmm->world = setup->world;
    dmm->seed = setup->seed;
    dmm->entity = rng_entity(setup->name);
    scpi_server_init(&dmm->server, &models[identity], setup);
    dmm->reading = calloc(READINGS_MAX, sizeof *dmm->reading);
    int code = dmm->reading ? 0 : error_set(err, ERR_MEMORY, "%s", setup->name);
    if (problems.count > 0)
        code = error_set(err, ERR_INVALID, "simulated meter %s%.100s: %.200s", setup->name,
                         problems.item[0].pointer, problems.item[0].reason);
    if (!code)
        code = world_source_add(setup->world, &options, &dmm->input, err);
    if (code) {
        close_34461a(dmm);
        return code;
    }
    reset(dmm);
    *ret_device = dmm;
    return 0;
}

const struct sim_device_model sim_34461a = {
    .name = "34461a",
    .default_link = SIM_LINK_TCP,
    .clients_max = 2, /* [K] more than one socket is allowed */
    .ops = { .on_bytes = scpi_server_bytes, .on_close = scpi_server_gone, .on_reboot = scpi_server_reboot },
    .open = open_34461a,
    .attach = scpi_server_attach,
    .close = close_34461a,
};
