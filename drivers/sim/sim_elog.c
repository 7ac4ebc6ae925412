/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * sim_elog: one timer a channel, one value a period. */
#include "drivers/sim/sim_elog.h"

#include <stdlib.h>
#include <string.h>

#define PERIOD_MIN_S 102.4e-6 /* [S] */
#define PERIOD_MAX_S 60.0

static struct elog_frame *frame_of(const struct scpi_call *call)
{
    return (struct elog_frame *)call->server;
}

static struct elog_channel *log_of(const struct scpi_call *call, int i)
{
    struct elog_frame *frame = frame_of(call);
    struct elog_channel *log = &frame->channel[call->channel[i] - 1];
    log->supply = &frame->supply;
    log->number = call->channel[i];
    return log;
}

static void stop(struct elog_channel *log)
{
    if (log->timer)
        sim_cancel(log->supply->server.loop, log->timer);
    log->timer = 0;
    log->initiated = log->running = false;
    log->count = 0;
}

void elog_reset(void *instrument)
{
    struct elog_frame *frame = instrument;
    supply_reset(instrument);
    frame->binary = false;
    for (int i = 0; i < SUPPLY_CHANNELS_MAX; i++) {
        struct elog_channel *log = &frame->channel[i];
        stop(log);
        log->volts = true;
        log->amperes = false;
        log->period_s = 0.1;
    }
}

void elog_close(void *device)
{
    struct elog_frame *frame = device;
    for (int i = 0; i < SUPPLY_CHANNELS_MAX; i++) {
        stop(&frame->channel[i]);
        free(frame->channel[i].value);
    }
    supply_close(device);
}

/* ---- The clock of a channel ---- */
static void keep(struct elog_channel *log, double value)
{
    if (log->count == ELOG_VALUES_MAX) {
        struct scpi_call call = { .server = &log->supply->server };
        scpi_server_error(&call, -230);
        stop(log);
        return;
    }
    log->value[log->count++] = (float)value;
}

static void on_period(void *context, int64_t now_ns)
{
    struct elog_channel *log = context;
    struct supply_channel *channel = &log->supply->channel[log->number - 1];
    struct world_integrals end = world_source_integrals(log->supply->world, channel->source);
    double seconds = end.t_s - log->start.t_s;
    (void)now_ns;
    log->timer = 0;
    if (log->volts)
        keep(log, supply_volt_reading(log->supply, log->number, (end.volt_s - log->start.volt_s) / seconds));
    if (log->amperes && log->running)
        keep(log,
             supply_current_reading(log->supply, log->number, (end.coulomb - log->start.coulomb) / seconds));
    if (!log->running)
        return;
    log->start = end;
    log->due_ns += (int64_t)(log->period_s * 1e9);
    log->timer = sim_at(log->supply->server.loop, log->due_ns, on_period, log);
}

/* ---- Commands ---- */
void elog_set_format(struct scpi_call *call)
{
    if (scpi_server_keyword(call, 0, "REAL"))
        frame_of(call)->binary = true;
    else if (scpi_server_keyword(call, 0, "ASCii"))
        frame_of(call)->binary = false;
    else
        scpi_server_error(call, -224);
}

void elog_set_border(struct scpi_call *call)
{
    if (!scpi_server_keyword(call, 0, "NORMal"))
        scpi_server_error(call, -224); /* nobody here asks for the other one */
}

static void choose(struct scpi_call *call, bool volts)
{
    bool on;
    if (!scpi_server_boolean(call, 0, &on))
        return;
    for (int i = 0; i < call->channel_n; i++) {
        struct elog_channel *log = log_of(call, i);
        if (log->running)
            scpi_server_error(call, -221);
        else if (volts)
            log->volts = on;
        else
            log->amperes = on;
    }
}

void elog_set_volts(struct scpi_call *call)
{
    choose(call, true);
}

void elog_set_amperes(struct scpi_call *call)
{
    choose(call, false);
}

void elog_set_period(struct scpi_call *call)
{
    double period_s;
    if (!scpi_server_number(call, 0, PERIOD_MIN_S, PERIOD_MAX_S, 0.1, &period_s))
        return;
    for (int i = 0; i < call->channel_n; i++)
        log_of(call, i)->period_s = period_s;
}

void elog_get_period(struct scpi_call *call)
{
    for (int i = 0; i < call->channel_n; i++)
        scpi_server_answer_number(call, log_of(call, i)->period_s);
}

void elog_set_source(struct scpi_call *call)
{
    if (!scpi_server_keyword(call, 0, "BUS") && !scpi_server_keyword(call, 0, "IMMediate"))
        scpi_server_error(call, -224);
}

void elog_initiate(struct scpi_call *call)
{
    for (int i = 0; i < call->channel_n; i++) {
        struct elog_channel *log = log_of(call, i);
        if (log->running || !(log->volts || log->amperes)) {
            scpi_server_error(call, -213);
            return;
        }
        log->initiated = true;
    }
}

void elog_trigger(struct scpi_call *call)
{
    for (int i = 0; i < call->channel_n; i++) {
        struct elog_channel *log = log_of(call, i);
        struct sim_loop *loop = call->server->loop;
        if (!log->value)
            log->value = malloc(ELOG_VALUES_MAX * sizeof *log->value);
        if (!log->initiated || !log->value) {
            scpi_server_error(call, -213);
            continue;
        }
        log->initiated = false;
        log->running = true;
        log->count = 0;
        log->start = world_source_integrals(log->supply->world, log->supply->channel[log->number - 1].source);
        log->due_ns = sim_now(loop) + (int64_t)(log->period_s * 1e9);
        log->timer = sim_at(loop, log->due_ns, on_period, log);
    }
}

static void answer_block(struct scpi_call *call, const float *value, int count)
{
    uint8_t bytes[4 * ELOG_VALUES_MAX];
    for (int i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &value[i], sizeof bits);
        for (int k = 0; k < 4; k++)
            bytes[4 * i + k] = (uint8_t)(bits >> (24 - 8 * k));
    }
    scpi_server_answer_block(call, bytes, (size_t)count * 4);
}

/* Up to as many records of one channel; fetched ones are gone. */
void elog_fetch(struct scpi_call *call)
{
    double wanted;
    if (!scpi_server_number(call, 0, 1, 100000, 1, &wanted))
        return;
    struct elog_channel *log = log_of(call, 0);
    int each = log->volts + log->amperes;
    int count = (int)wanted * each < log->count ? (int)wanted * each : log->count;
    if (frame_of(call)->binary) {
        answer_block(call, log->value, count);
    } else {
        for (int i = 0; i < count; i++)
            scpi_server_answer_number(call, (double)log->value[i]);
        if (count == 0)
            scpi_server_answer(call, "%s", "");
    }
    if (count > 0)
        memmove(log->value, log->value + count, (size_t)(log->count - count) * sizeof *log->value);
    log->count -= count;
}

void elog_abort(struct scpi_call *call)
{
    for (int i = 0; i < call->channel_n; i++)
        stop(log_of(call, i));
}
