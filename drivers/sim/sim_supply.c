/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * sim_supply: channels of simulated supplies, their errors and their commands. */
#include "drivers/sim/sim_supply.h"

#include <math.h>
#include <stdlib.h>

#include "daemon/base/rng.h"

double supply_error(uint64_t seed, const char *what, uint64_t entity, uint64_t index, double limit)
{
    struct rng rng;
    rng_init(&rng, seed, what, entity, index, 0);
    return fmin(fmax(rng_normal(&rng) / 3, -1), 1) * limit;
}

struct supply_channel *supply_channel(const struct scpi_call *call, int i)
{
    struct supply *supply = (struct supply *)call->server;
    return &supply->channel[call->channel[i] - 1];
}

void supply_apply(struct supply *supply, struct supply_channel *channel)
{
    const struct supply_channel_data *data = channel->data;
    double limit_a =
        channel->ocp && channel->ocp_a > 0 ? fmin(channel->set_a, channel->ocp_a) : channel->set_a;
    struct world_source_state state = {
        .on = channel->on,
        .set_v = channel->set_v * (1 + channel->program_v_gain) + channel->program_v_offset,
        .limit_a = fmax(limit_a * (1 + channel->program_a_gain) + channel->program_a_offset, 1e-9),
        .ovp_v = channel->ovp_v,
        .ocp = channel->ocp,
        .ocp_delay_s = channel->ocp_delay_s,
        .tau_s = data->tau_s,
        .off_ohm = data->off_ohm,
    };
    world_source_set(supply->world, channel->source, &state);
}

static void on_trip(void *context, int number, int trip)
{
    struct supply *supply = context;
    struct supply_channel *channel = &supply->channel[number - 1];
    channel->on = false;
    if (trip == WORLD_TRIP_OVP)
        channel->ovp_tripped = true;
    else
        channel->ocp_tripped = true;
}

void supply_reset(void *instrument)
{
    struct supply *supply = instrument;
    for (int i = 0; i < supply->data->scpi.channels; i++) {
        struct supply_channel *channel = &supply->channel[i];
        channel->set_v = 0;
        channel->set_a = channel->data->default_a;
        channel->ovp_v = channel->data->max_ovp_v;
        channel->ocp_delay_s = supply->data->ocp_delay_s;
        channel->on = channel->ocp = channel->ovp_tripped = channel->ocp_tripped = channel->protected =
            channel->sense_external = false;
        supply_apply(supply, channel);
    }
    supply->watchdog.armed = false;
    supply->watchdog.delay_s = 60;
}

static void draw_errors(struct supply *supply, int i)
{
    struct supply_channel *channel = &supply->channel[i];
    const struct supply_channel_data *data = channel->data;
    uint64_t seed = supply->seed, entity = supply->entity, n = (uint64_t)i;
    channel->program_v_gain = supply_error(seed, "program_v_gain", entity, n, data->program_v.gain);
    channel->program_v_offset = supply_error(seed, "program_v_offset", entity, n, data->program_v.offset);
    channel->program_a_gain = supply_error(seed, "program_a_gain", entity, n, data->program_a.gain);
    channel->program_a_offset = supply_error(seed, "program_a_offset", entity, n, data->program_a.offset);
    channel->read_v_gain = supply_error(seed, "read_v_gain", entity, n, data->read_v.gain);
    channel->read_v_offset = supply_error(seed, "read_v_offset", entity, n, data->read_v.offset);
    for (int r = 0; r < SUPPLY_RANGES_MAX; r++) {
        uint64_t index = n * SUPPLY_RANGES_MAX + (uint64_t)r;
        channel->range_gain[r] =
            supply_error(seed, "read_a_gain", entity, index, data->range[r].accuracy.gain);
        channel->range_offset[r] =
            supply_error(seed, "read_a_offset", entity, index, data->range[r].accuracy.offset);
    }
}

int supply_open(const struct supply_data *data, const struct sim_device_setup *setup, void **ret_device,
                struct error *err)
{
    struct supply *supply = calloc(1, data->instance_size ? data->instance_size : sizeof *supply);
    if (!supply)
        return error_set(err, ERR_MEMORY, "supply %s", setup->name);
    supply->data = data;
    supply->world = setup->world;
    supply->seed = setup->seed;
    supply->entity = rng_entity(setup->name);
    scpi_server_init(&supply->server, &data->scpi, setup);
    for (int i = 0; i < data->scpi.channels; i++) {
        struct supply_channel *channel = &supply->channel[i];
        struct world_source_options options = {
            .instrument = setup->name, .channel = i + 1, .on_trip = on_trip, .context = supply
        };
        for (int w = 0; w < setup->wire_count; w++)
            if (setup->wire[w].channel == i + 1) {
                options.net = setup->wire[w].net;
                options.lead_ohm = setup->wire[w].lead_ohm;
                options.remote_sense = setup->wire[w].remote_sense;
            }
        channel->data = &data->channel[i];
        draw_errors(supply, i);
        int code = world_source_add(setup->world, &options, &channel->source, err);
        if (code) {
            supply_close(supply);
            return code;
        }
    }
    supply_reset(supply);
    *ret_device = supply;
    return 0;
}

void supply_close(void *device)
{
    struct supply *supply = device;
    scpi_server_fini(&supply->server);
    free(supply);
}

/* ---- Commands ---- */

static struct supply *supply_of(const struct scpi_call *call)
{
    return (struct supply *)call->server;
}

/* The limits of all channels of a call must allow the value: otherwise none is changed. */
static bool common_number(struct scpi_call *call, size_t min_at, size_t max_at, double *ret_value)
{
    double min = -INFINITY, max = INFINITY;
    for (int i = 0; i < call->channel_n; i++) {
        const char *data = (const char *)supply_channel(call, i)->data;
        min = fmax(min, min_at == SIZE_MAX ? 0 : *(const double *)(const void *)(data + min_at));
        max = fmin(max, *(const double *)(const void *)(data + max_at));
    }
    return scpi_server_number(call, 0, min, max, 0, ret_value);
}

static double rounded(double value, double step)
{
    return round(value / step) * step;
}

void supply_set_voltage(struct scpi_call *call)
{
    double value;
    if (!common_number(call, offsetof(struct supply_channel_data, min_v),
                       offsetof(struct supply_channel_data, max_v), &value))
        return;
    for (int i = 0; i < call->channel_n; i++) {
        struct supply_channel *channel = supply_channel(call, i);
        channel->set_v = rounded(value, channel->data->step_v);
        supply_apply(supply_of(call), channel);
    }
}

void supply_get_voltage(struct scpi_call *call)
{
    for (int i = 0; i < call->channel_n; i++) {
        const struct supply_channel *channel = supply_channel(call, i);
        if (!scpi_server_bound_asked(call, 0, channel->data->min_v, channel->data->max_v))
            scpi_server_answer_number(call, channel->set_v);
    }
}

void supply_set_current(struct scpi_call *call)
{
    double value;
    if (!common_number(call, SIZE_MAX, offsetof(struct supply_channel_data, max_a), &value))
        return;
    for (int i = 0; i < call->channel_n; i++) {
        struct supply_channel *channel = supply_channel(call, i);
        channel->set_a = rounded(value, channel->data->step_a);
        supply_apply(supply_of(call), channel);
    }
}

void supply_get_current(struct scpi_call *call)
{
    for (int i = 0; i < call->channel_n; i++) {
        const struct supply_channel *channel = supply_channel(call, i);
        if (!scpi_server_bound_asked(call, 0, 0, channel->data->max_a))
            scpi_server_answer_number(call, channel->set_a);
    }
}

void supply_set_ovp(struct scpi_call *call)
{
    double value;
    if (!common_number(call, SIZE_MAX, offsetof(struct supply_channel_data, max_ovp_v), &value))
        return;
    for (int i = 0; i < call->channel_n; i++) {
        supply_channel(call, i)->ovp_v = value;
        supply_apply(supply_of(call), supply_channel(call, i));
    }
}

void supply_get_ovp(struct scpi_call *call)
{
    for (int i = 0; i < call->channel_n; i++)
        scpi_server_answer_number(call, supply_channel(call, i)->ovp_v);
}

void supply_get_ovp_tripped(struct scpi_call *call)
{
    for (int i = 0; i < call->channel_n; i++)
        scpi_server_answer(call, "%d", supply_channel(call, i)->ovp_tripped);
}

void supply_set_ocp(struct scpi_call *call)
{
    bool on;
    if (!scpi_server_boolean(call, 0, &on))
        return;
    for (int i = 0; i < call->channel_n; i++) {
        supply_channel(call, i)->ocp = on;
        supply_apply(supply_of(call), supply_channel(call, i));
    }
}

void supply_get_ocp(struct scpi_call *call)
{
    for (int i = 0; i < call->channel_n; i++)
        scpi_server_answer(call, "%d", supply_channel(call, i)->ocp);
}

void supply_set_ocp_delay(struct scpi_call *call)
{
    double value;
    if (!scpi_server_number(call, 0, 0, 3600, supply_of(call)->data->ocp_delay_s, &value))
        return;
    for (int i = 0; i < call->channel_n; i++) {
        supply_channel(call, i)->ocp_delay_s = value;
        supply_apply(supply_of(call), supply_channel(call, i));
    }
}

void supply_get_ocp_delay(struct scpi_call *call)
{
    for (int i = 0; i < call->channel_n; i++)
        scpi_server_answer_number(call, supply_channel(call, i)->ocp_delay_s);
}

void supply_get_ocp_tripped(struct scpi_call *call)
{
    for (int i = 0; i < call->channel_n; i++)
        scpi_server_answer(call, "%d", supply_channel(call, i)->ocp_tripped);
}

void supply_clear(struct scpi_call *call)
{
    for (int i = 0; i < call->channel_n; i++)
        supply_channel(call, i)->ovp_tripped = supply_channel(call, i)->ocp_tripped =
            supply_channel(call, i)->protected = false;
}

/* ---- The I/O watchdog ---- */

static int64_t watchdog_due_ns(const struct supply *supply)
{
    return supply->watchdog.heard_ns + (int64_t)(supply->watchdog.delay_s * 1e9);
}

static void on_watchdog(void *context, int64_t now_ns)
{
    struct supply *supply = context;
    supply->watchdog.timer = 0;
    if (!supply->watchdog.armed)
        return;
    if (now_ns < watchdog_due_ns(supply)) { /* fed meanwhile */
        supply->watchdog.timer = sim_at(supply->server.loop, watchdog_due_ns(supply), on_watchdog, supply);
        return;
    }
    supply->watchdog.armed = false;
    for (int i = 0; i < supply->data->scpi.channels; i++) {
        supply->channel[i].protected = true;
        supply->channel[i].on = false;
        supply_apply(supply, &supply->channel[i]);
    }
}

static void feed(struct supply *supply)
{
    supply->watchdog.heard_ns = sim_now(supply->server.loop);
    if (supply->watchdog.armed && !supply->watchdog.timer)
        supply->watchdog.timer = sim_at(supply->server.loop, watchdog_due_ns(supply), on_watchdog, supply);
}

void supply_watched_bytes(void *instrument, int client, const uint8_t *bytes, size_t n)
{
    feed(instrument);
    scpi_server_bytes(instrument, client, bytes, n);
}

void supply_set_watchdog(struct scpi_call *call)
{
    struct supply *supply = supply_of(call);
    if (!scpi_server_boolean(call, 0, &supply->watchdog.armed))
        return;
    if (supply->watchdog.timer)
        sim_cancel(supply->server.loop, supply->watchdog.timer);
    supply->watchdog.timer = 0;
    feed(supply);
}

void supply_get_watchdog(struct scpi_call *call)
{
    scpi_server_answer(call, "%d", supply_of(call)->watchdog.armed);
}

void supply_set_watchdog_delay(struct scpi_call *call)
{
    double value;
    if (scpi_server_number(call, 0, 1, 3600, 60, &value))
        supply_of(call)->watchdog.delay_s = value;
}

void supply_get_watchdog_delay(struct scpi_call *call)
{
    scpi_server_answer(call, "%d", (int)supply_of(call)->watchdog.delay_s);
}

void supply_set_output(struct scpi_call *call)
{
    bool on;
    if (!scpi_server_boolean(call, 0, &on))
        return;
    for (int i = 0; on && i < call->channel_n; i++)
        if (supply_channel(call, i)->ovp_tripped || supply_channel(call, i)->ocp_tripped ||
            supply_channel(call, i)->protected) {
            scpi_server_error(call, -221); /* a tripped output wants OUTP:PROT:CLE first */
            return;
        }
    for (int i = 0; i < call->channel_n; i++) {
        supply_channel(call, i)->on = on;
        supply_apply(supply_of(call), supply_channel(call, i));
    }
}

void supply_get_output(struct scpi_call *call)
{
    for (int i = 0; i < call->channel_n; i++)
        scpi_server_answer(call, "%d", supply_channel(call, i)->on);
}

void supply_set_sense(struct scpi_call *call)
{
    bool external = scpi_server_keyword(call, 0, "EXTernal");
    if (!external && !scpi_server_keyword(call, 0, "INTernal")) {
        scpi_server_error(call, -224);
        return;
    }
    for (int i = 0; i < call->channel_n; i++)
        supply_channel(call, i)->sense_external = external;
}

void supply_get_sense(struct scpi_call *call)
{
    for (int i = 0; i < call->channel_n; i++)
        scpi_server_answer(call, supply_channel(call, i)->sense_external ? "EXT" : "INT");
}

/* ---- Measurement: the true average over the aperture, then this unit's errors ---- */

static double noise(struct supply *supply, int number, double rms)
{
    struct rng rng;
    rng_init(&rng, supply->seed, "readback", supply->entity, (uint64_t)number,
             supply->channel[number - 1].readings++);
    return rng_normal(&rng) * rms;
}

double supply_volt_reading(struct supply *supply, int number, double volt)
{
    const struct supply_channel *channel = &supply->channel[number - 1];
    return volt * (1 + channel->read_v_gain) + channel->read_v_offset +
           noise(supply, number, channel->data->noise_v);
}

double supply_current_reading(struct supply *supply, int number, double amps)
{
    const struct supply_channel *channel = &supply->channel[number - 1];
    const struct supply_range *range = channel->data->range;
    int r = 0;
    while (r + 1 < SUPPLY_RANGES_MAX && range[r + 1].up_to_a > 0 && fabs(amps) > range[r].up_to_a)
        r++;
    return amps * (1 + channel->range_gain[r]) + channel->range_offset[r] +
           noise(supply, number, range[r].noise_a);
}

static void begin_aperture(struct scpi_call *call, scpi_handler resume)
{
    struct supply *supply = supply_of(call);
    for (int i = 0; i < call->channel_n; i++) {
        struct supply_channel *channel = supply_channel(call, i);
        channel->start = world_source_integrals(supply->world, channel->source);
    }
    scpi_server_wait(call, supply->data->aperture_s, resume);
}

static void answer_voltage(struct scpi_call *call)
{
    struct supply *supply = supply_of(call);
    for (int i = 0; i < call->channel_n; i++) {
        const struct supply_channel *channel = supply_channel(call, i);
        struct world_integrals end = world_source_integrals(supply->world, channel->source);
        double volt = (end.volt_s - channel->start.volt_s) / (end.t_s - channel->start.t_s);
        scpi_server_answer_number(call, supply_volt_reading(supply, call->channel[i], volt));
    }
}

static void answer_current(struct scpi_call *call)
{
    struct supply *supply = supply_of(call);
    for (int i = 0; i < call->channel_n; i++) {
        const struct supply_channel *channel = supply_channel(call, i);
        struct world_integrals end = world_source_integrals(supply->world, channel->source);
        double amps = (end.coulomb - channel->start.coulomb) / (end.t_s - channel->start.t_s);
        scpi_server_answer_number(call, supply_current_reading(supply, call->channel[i], amps));
    }
}

void supply_measure_voltage(struct scpi_call *call)
{
    begin_aperture(call, answer_voltage);
}

void supply_measure_current(struct scpi_call *call)
{
    begin_aperture(call, answer_current);
}

void supply_select(struct scpi_call *call)
{
    double value;
    const char *text = call->arg_n ? call->arg[0] : "";
    if (text[0] == 'C' && text[1] == 'H')
        call->arg[0] = text + 2; /* INST CH2 */
    if (scpi_server_number(call, 0, 1, call->server->model->channels, 1, &value))
        call->server->selected = (int)value;
}

void supply_get_selected(struct scpi_call *call)
{
    scpi_server_answer(call, "%d", call->server->selected);
}

void supply_nothing(struct scpi_call *call)
{
    (void)call;
}
