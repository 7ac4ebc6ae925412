/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * sim_2450: Keithley 2450 source-measure unit, SCPI command set: a voltage source with current limit or a
 * current source with voltage limit, that measures either. Grammar from what public drivers send (QCoDeS,
 * PyMeasure); ranges and accuracy are [K]: from memory of the data sheet (one year), to be checked against a
 * printed one before anybody relies on them. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/rng.h"
#include "drivers/sim/sim_2450.h"
#include "drivers/sim/sim_models.h"
#include "drivers/sim/sim_supply.h"

struct smu_range {
    double full;
    struct accuracy source, measure;
    double noise; /* rms at 1 NPLC */
};

static const struct smu_range volt_range[] = { { 0.02, { 0.001, 200e-6 }, { 0.001, 150e-6 }, 0.5e-6 },
                                               { 0.2, { 0.00015, 200e-6 }, { 0.00015, 200e-6 }, 1e-6 },
                                               { 2, { 0.0002, 300e-6 }, { 0.00012, 300e-6 }, 5e-6 },
                                               { 20, { 0.00015, 2.4e-3 }, { 0.00015, 1e-3 }, 50e-6 },
                                               { 200, { 0.00015, 24e-3 }, { 0.00015, 10e-3 }, 500e-6 } };
static const struct smu_range amps_range[] = { { 10e-9, { 0.001, 100e-12 }, { 0.001, 50e-12 }, 0.5e-12 },
                                               { 100e-9, { 0.0006, 150e-12 }, { 0.0006, 100e-12 }, 1e-12 },
                                               { 1e-6, { 0.00025, 400e-12 }, { 0.00025, 300e-12 }, 5e-12 },
                                               { 10e-6, { 0.00025, 1.5e-9 }, { 0.00025, 700e-12 }, 50e-12 },
                                               { 100e-6, { 0.0002, 15e-9 }, { 0.0002, 6e-9 }, 0.5e-9 },
                                               { 1e-3, { 0.0002, 150e-9 }, { 0.0002, 60e-9 }, 5e-9 },
                                               { 10e-3, { 0.0002, 1.5e-6 }, { 0.0002, 600e-9 }, 50e-9 },
                                               { 0.1, { 0.00025, 15e-6 }, { 0.00025, 6e-6 }, 0.5e-6 },
                                               { 1.05, { 0.00067, 900e-6 }, { 0.0003, 500e-6 }, 5e-6 } };
enum {
    VOLT_RANGES = sizeof volt_range / sizeof *volt_range,
    AMPS_RANGES = sizeof amps_range / sizeof *amps_range
};

static const double MAX_V = 210, MAX_A = 1.05, TAU_S = 0.2e-3;
static const double OFF_NORMAL_OHM = 1e3, OFF_HIGH_OHM = 1e10;

static struct smu *smu_of(const struct scpi_call *call)
{
    return (struct smu *)call->server;
}

/* The range that a value is in; its index keys this unit's errors. */
static const struct smu_range *range_of(enum function function, double value, int *ret_index)
{
    const struct smu_range *table = function == FUNCTION_VOLT ? volt_range : amps_range;
    int n = function == FUNCTION_VOLT ? VOLT_RANGES : AMPS_RANGES, i = 0;
    while (i + 1 < n && fabs(value) > table[i].full)
        i++;
    *ret_index = i + (int)function * 16;
    return &table[i];
}

static double with_error(const struct smu *smu, const char *gain, const char *offset, enum function function,
                         double value, bool is_source)
{
    int index;
    const struct smu_range *range = range_of(function, value, &index);
    const struct accuracy *limit = is_source ? &range->source : &range->measure;
    return value * (1 + supply_error(smu->seed, gain, smu->entity, (uint64_t)index, limit->gain)) +
           supply_error(smu->seed, offset, smu->entity, (uint64_t)index, limit->offset);
}

static void apply(struct smu *smu)
{
    enum function f = smu->source_function;
    double value = with_error(smu, "source_gain", "source_offset", f, smu->set[f], true);
    struct world_source_state state = { .on = smu->on,
                                        .ovp_v = smu->ovp_v,
                                        .tau_s = TAU_S,
                                        .off_ohm = smu->off_high_impedance ? OFF_HIGH_OHM : OFF_NORMAL_OHM };
    if (f == FUNCTION_VOLT) {
        state.set_v = value;
        state.limit_a = smu->limit[f];
    } else { /* a current source is a voltage source that always limits */
        state.set_v = value < 0 ? -smu->limit[f] : smu->limit[f];
        state.limit_a = fmax(fabs(value), 1e-12);
    }
    world_source_set(smu->world, smu->source, &state);
}

static void on_trip(void *context, int channel, int trip)
{
    struct smu *smu = context;
    (void)channel;
    (void)trip;
    smu->on = false;
    smu->tripped = true;
}

static void reset(void *instrument)
{
    struct smu *smu = instrument;
    smu->on = smu->sense_remote = smu->tripped = false;
    smu->source_function = FUNCTION_VOLT;
    smu->sense_function = FUNCTION_AMPS;
    smu->set[FUNCTION_VOLT] = smu->set[FUNCTION_AMPS] = 0;
    smu->limit[FUNCTION_VOLT] = 105e-6;
    smu->limit[FUNCTION_AMPS] = 0.21;
    smu->nplc = 1;
    smu->ovp_v = MAX_V;
    smu->last = NAN;
    smu_buffer_reset(smu);
    apply(smu);
}

/* ---- Source ---- */

/* Function of a keyword argument, quoted or not ("VOLT", "CURR:DC"); negative after an error. */
static int function_argument(struct scpi_call *call)
{
    char word[24] = "";
    if (call->arg_n < 1) {
        scpi_server_error(call, -109);
        return -1;
    }
    const char *text = call->arg[0];
    size_t n = 0;
    for (; *text && *text != ':' && n < sizeof word - 1; text++)
        if (*text != '"' && *text != '\'')
            word[n++] = (char)(*text >= 'a' && *text <= 'z' ? *text - 'a' + 'A' : *text);
    word[n] = '\0';
    call->arg[0] = word;
    bool volt = scpi_server_keyword(call, 0, "VOLTage"), amps = scpi_server_keyword(call, 0, "CURRent");
    call->arg[0] = "";
    if (volt || amps)
        return volt ? FUNCTION_VOLT : FUNCTION_AMPS;
    scpi_server_error(call, -224);
    return -1;
}

static void set_source_function(struct scpi_call *call)
{
    int function = function_argument(call);
    if (function < 0)
        return;
    smu_of(call)->source_function = (enum function)function;
    smu_of(call)->on = false; /* as the real one: a change of function switches off */
    apply(smu_of(call));
}

static void source_function_query(struct scpi_call *call)
{
    scpi_server_answer(call, smu_of(call)->source_function == FUNCTION_VOLT ? "VOLT" : "CURR");
}

static void set_level(struct scpi_call *call, enum function function, double max)
{
    double value;
    if (!scpi_server_number(call, 0, -max, max, 0, &value))
        return;
    smu_of(call)->set[function] = value;
    apply(smu_of(call));
}

static void set_limit(struct scpi_call *call, enum function function, double max)
{
    double value;
    if (!scpi_server_number(call, 0, 1e-9, max, max, &value))
        return;
    smu_of(call)->limit[function] = value;
    apply(smu_of(call));
}

static void number6(struct scpi_call *call, double value)
{
    scpi_server_answer(call, "%.6E", isfinite(value) ? value : 9.9e37);
}

static void set_volt(struct scpi_call *call)
{
    set_level(call, FUNCTION_VOLT, MAX_V);
}

static void volt_query(struct scpi_call *call)
{
    number6(call, smu_of(call)->set[FUNCTION_VOLT]);
}

static void set_amps(struct scpi_call *call)
{
    set_level(call, FUNCTION_AMPS, MAX_A);
}

static void amps_query(struct scpi_call *call)
{
    number6(call, smu_of(call)->set[FUNCTION_AMPS]);
}

static void set_ilimit(struct scpi_call *call)
{
    set_limit(call, FUNCTION_VOLT, MAX_A);
}

static void ilimit_query(struct scpi_call *call)
{
    number6(call, smu_of(call)->limit[FUNCTION_VOLT]);
}

static void set_vlimit(struct scpi_call *call)
{
    set_limit(call, FUNCTION_AMPS, MAX_V);
}

static void vlimit_query(struct scpi_call *call)
{
    number6(call, smu_of(call)->limit[FUNCTION_AMPS]);
}

static void limit_tripped_query(struct scpi_call *call)
{
    /* The current source's own limit is what it sources; only the voltage source can be in compliance. */
    struct smu *smu = smu_of(call);
    bool limiting = world_source_limiting(smu->world, smu->source);
    bool compliance = smu->source_function == FUNCTION_VOLT ? limiting : smu->on && !limiting;
    scpi_server_answer(call, compliance ? "1" : "0");
}

static void set_protection(struct scpi_call *call)
{
    /* PROT2, PROT5 ... PROT180 or NONE: over-voltage steps. */
    struct smu *smu = smu_of(call);
    const char *text = call->arg_n ? call->arg[0] : "";
    if (strcmp(text, "NONE") == 0)
        smu->ovp_v = MAX_V;
    else if (strncmp(text, "PROT", 4) == 0 && atof(text + 4) >= 2)
        smu->ovp_v = atof(text + 4);
    else
        scpi_server_error(call, call->arg_n ? -224 : -109);
    apply(smu);
}

static void protection_query(struct scpi_call *call)
{
    if (smu_of(call)->ovp_v >= MAX_V)
        scpi_server_answer(call, "NONE");
    else
        scpi_server_answer(call, "PROT%g", smu_of(call)->ovp_v);
}

static void protection_tripped_query(struct scpi_call *call)
{
    scpi_server_answer(call, smu_of(call)->tripped ? "1" : "0");
}

static void set_output(struct scpi_call *call)
{
    bool on;
    if (!scpi_server_boolean(call, 0, &on))
        return;
    smu_of(call)->on = on;
    smu_of(call)->tripped = false;
    apply(smu_of(call));
}

static void output_query(struct scpi_call *call)
{
    scpi_server_answer(call, smu_of(call)->on ? "1" : "0");
}

static void set_off_state(struct scpi_call *call)
{
    if (!scpi_server_keyword(call, 0, "HIMPedance") && !scpi_server_keyword(call, 0, "NORMal"))
        scpi_server_error(call, call->arg_n ? -224 : -109);
    else {
        smu_of(call)->off_high_impedance = scpi_server_keyword(call, 0, "HIMPedance");
        apply(smu_of(call));
    }
}

static void off_state_query(struct scpi_call *call)
{
    scpi_server_answer(call, smu_of(call)->off_high_impedance ? "HIMP" : "NORM");
}

/* ---- Sense ---- */

static void set_sense_function(struct scpi_call *call)
{
    int function = function_argument(call);
    if (function >= 0)
        smu_of(call)->sense_function = (enum function)function;
}

static void sense_function_query(struct scpi_call *call)
{
    scpi_server_answer(call, smu_of(call)->sense_function == FUNCTION_VOLT ? "\"VOLT:DC\"" : "\"CURR:DC\"");
}

static void set_nplc(struct scpi_call *call)
{
    scpi_server_number(call, 0, 0.01, 10, 1, &smu_of(call)->nplc);
}

static void nplc_query(struct scpi_call *call)
{
    number6(call, smu_of(call)->nplc);
}

static void set_remote(struct scpi_call *call)
{
    scpi_server_boolean(call, 0, &smu_of(call)->sense_remote);
}

static void remote_query(struct scpi_call *call)
{
    scpi_server_answer(call, smu_of(call)->sense_remote ? "1" : "0");
}

/* The model ranges by itself: explicit ranges are checked and otherwise taken as said. */
static void set_range(struct scpi_call *call)
{
    double value;
    scpi_server_number(call, 0, 0, MAX_V, MAX_V, &value);
}

static void set_auto(struct scpi_call *call)
{
    bool on;
    scpi_server_boolean(call, 0, &on);
}

static void auto_query(struct scpi_call *call)
{
    scpi_server_answer(call, "1");
}

/* ---- Reading ---- */

static void answer_elements(struct scpi_call *call)
{
    const struct smu *smu = smu_of(call);
    int first = call->arg_n && (call->arg[0][0] == '"' || call->arg[0][0] == '\'') ? 1 : 0;
    if (call->arg_n <= first) {
        number6(call, smu->last);
        return;
    }
    for (int i = first; i < call->arg_n; i++) {
        if (scpi_server_keyword(call, i, "READing"))
            number6(call, smu->last);
        else if (scpi_server_keyword(call, i, "SOURce"))
            number6(call, smu->last_source);
        else if (scpi_server_keyword(call, i, "RELative"))
            scpi_server_answer(call, "%.6f", (double)smu->last_ns * 1e-9);
        else
            scpi_server_error(call, -224);
    }
}

double smu_reading(struct smu *smu, const struct world_integrals *start)
{
    struct world_integrals end = world_source_integrals(smu->world, smu->source);
    double dt_s = end.t_s - start->t_s;
    enum function f = smu->sense_function;
    double value =
        f == FUNCTION_VOLT ? (end.volt_s - start->volt_s) / dt_s : (end.coulomb - start->coulomb) / dt_s;
    int index;
    double rms = range_of(f, value, &index)->noise / sqrt(smu->nplc);
    struct rng rng;
    rng_init(&rng, smu->seed, "readback", smu->entity, 1, smu->readings++);
    return with_error(smu, "measure_gain", "measure_offset", f, value, false) + rng_normal(&rng) * rms;
}

static void read_done(struct scpi_call *call)
{
    struct smu *smu = smu_of(call);
    smu->last = smu_reading(smu, &smu->start);
    smu->last_source = smu->set[smu->source_function];
    smu->last_ns = sim_now(smu->server.loop);
    smu_buffer_keep(&smu->buffer, smu->last, smu->last_ns);
    answer_elements(call);
}

static void read_query(struct scpi_call *call)
{
    struct smu *smu = smu_of(call);
    if (smu->buffer.timer) {
        scpi_server_error(call, -213); /* its trigger model is at work */
        return;
    }
    smu->start = world_source_integrals(smu->world, smu->source);
    scpi_server_wait(call, smu->nplc / SMU_LINE_HZ, read_done);
}

static void measure_volt_query(struct scpi_call *call)
{
    smu_of(call)->sense_function = FUNCTION_VOLT;
    read_query(call);
}

static void measure_amps_query(struct scpi_call *call)
{
    smu_of(call)->sense_function = FUNCTION_AMPS;
    read_query(call);
}

static void fetch_query(struct scpi_call *call)
{
    if (smu_of(call)->buffer.count == 0)
        scpi_server_error(call, -230);
    answer_elements(call);
}

static void language_query(struct scpi_call *call)
{
    scpi_server_answer(call, "SCPI");
}

static const struct scpi_command commands[] = {
    { "[SOURce#]:FUNCtion[:MODE]", set_source_function, source_function_query },
    { "[SOURce#]:VOLTage[:LEVel][:IMMediate][:AMPLitude]", set_volt, volt_query },
    { "[SOURce#]:VOLTage:RANGe", set_range, volt_query },
    { "[SOURce#]:VOLTage:RANGe:AUTO", set_auto, auto_query },
    { "[SOURce#]:VOLTage:ILIMit[:LEVel]", set_ilimit, ilimit_query },
    { "[SOURce#]:VOLTage:ILIMit[:LEVel]:TRIPped", NULL, limit_tripped_query },
    { "[SOURce#]:VOLTage:PROTection[:LEVel]", set_protection, protection_query },
    { "[SOURce#]:VOLTage:PROTection[:LEVel]:TRIPped", NULL, protection_tripped_query },
    { "[SOURce#]:CURRent[:LEVel][:IMMediate][:AMPLitude]", set_amps, amps_query },
    { "[SOURce#]:CURRent:RANGe", set_range, amps_query },
    { "[SOURce#]:CURRent:RANGe:AUTO", set_auto, auto_query },
    { "[SOURce#]:CURRent:VLIMit[:LEVel]", set_vlimit, vlimit_query },
    { "[SOURce#]:CURRent:VLIMit[:LEVel]:TRIPped", NULL, limit_tripped_query },
    { "OUTPut#[:STATe]", set_output, output_query },
    { "OUTPut#:VOLTage:SMODe", set_off_state, off_state_query },
    { "OUTPut#:CURRent:SMODe", set_off_state, off_state_query },
    { "SENSe#:FUNCtion[:ON]", set_sense_function, sense_function_query },
    { "SENSe#:CURRent[:DC]:NPLCycles", set_nplc, nplc_query },
    { "SENSe#:VOLTage[:DC]:NPLCycles", set_nplc, nplc_query },
    { "SENSe#:CURRent[:DC]:RSENse", set_remote, remote_query },
    { "SENSe#:VOLTage[:DC]:RSENse", set_remote, remote_query },
    { "SENSe#:CURRent[:DC]:RANGe[:UPPer]", set_range, auto_query },
    { "SENSe#:VOLTage[:DC]:RANGe[:UPPer]", set_range, auto_query },
    { "SENSe#:CURRent[:DC]:RANGe:AUTO", set_auto, auto_query },
    { "SENSe#:VOLTage[:DC]:RANGe:AUTO", set_auto, auto_query },
    { "READ", NULL, read_query },
    { "FETCh", NULL, fetch_query },
    { "MEASure:VOLTage[:DC]", NULL, measure_volt_query },
    { "MEASure:CURRent[:DC]", NULL, measure_amps_query },
    { "TRACe:CLEar", smu_buffer_clear, NULL },
    { "TRACe:ACTual", NULL, smu_buffer_count },
    { "TRACe:DATA", NULL, smu_buffer_data },
    { "TRIGger:LOAD", smu_buffer_load, NULL },
    { "INITiate[:IMMediate]", smu_buffer_start, NULL },
    { "ABORt", smu_buffer_abort, NULL },
    { "*LANG", NULL, language_query },
    { NULL, NULL, NULL },
};

static const struct scpi_model model = {
    .vendor = "KEITHLEY INSTRUMENTS",
    .model = "MODEL 2450",
    .firmware = "1.7.12b",
    .serial_prefix = "0",
    .command = commands,
    .channels = 1,
    .pace_s = 0.5e-3, /* [K] */
    .keithley_errors = true,
    .reset = reset,
};

static void close_2450(void *device)
{
    struct smu *smu = device;
    smu_buffer_reset(smu);
    free(smu->buffer.record);
    scpi_server_fini(&smu->server);
    free(smu);
}

static int open_2450(const struct sim_device_setup *setup, void **ret_device, struct error *err)
{
    struct smu *smu = calloc(1, sizeof *smu);
    if (!smu)
        return error_set(err, ERR_MEMORY, "%s", setup->name);
    struct world_source_options options = {
        .instrument = setup->name, .channel = 1, .on_trip = on_trip, .context = smu
    };
    if (setup->wire_count) {
        options.net = setup->wire[0].net;
        options.lead_ohm = setup->wire[0].lead_ohm;
        options.remote_sense = setup->wire[0].remote_sense;
    }
    smu->world = setup->world;
    smu->seed = setup->seed;
    smu->entity = rng_entity(setup->name);
    smu->off_high_impedance =
        true; /* saved set-up of this unit: the factory's NORMal shorts the test bus when off */
    scpi_server_init(&smu->server, &model, setup);
    int code = world_source_add(setup->world, &options, &smu->source, err);
    if (code) {
        close_2450(smu);
        return code;
    }
    reset(smu);
    *ret_device = smu;
    return 0;
}

const struct sim_device_model sim_2450 = {
    .name = "2450",
    .default_link = SIM_LINK_TCP,
    .clients_max = 1,
    .ops = { .on_bytes = scpi_server_bytes, .on_close = scpi_server_gone, .on_reboot = scpi_server_reboot },
    .open = open_2450,
    .attach = scpi_server_attach,
    .close = close_2450,
};
