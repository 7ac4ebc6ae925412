/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * sim_2450_buffer: the reading buffer of the 2450, and the loop that fills it by itself. */
#include <stdlib.h>
#include <string.h>

#include "drivers/sim/sim_2450.h"

static struct smu *smu_of(const struct scpi_call *call)
{
    return (struct smu *)call->server;
}

static void stop(struct smu *smu)
{
    if (smu->buffer.timer)
        sim_cancel(smu->server.loop, smu->buffer.timer);
    smu->buffer.timer = 0;
    smu->buffer.left = 0;
}

void smu_buffer_reset(struct smu *smu)
{
    stop(smu);
    smu->buffer.count = 0;
}

/* Full: the oldest ones go. */
void smu_buffer_keep(struct smu_buffer *buffer, double value, int64_t at_ns)
{
    if (!buffer->record)
        buffer->record = malloc(SMU_BUFFER_MAX * sizeof *buffer->record);
    if (!buffer->record)
        return;
    if (buffer->count == SMU_BUFFER_MAX)
        memmove(buffer->record, buffer->record + 1, (size_t)--buffer->count * sizeof *buffer->record);
    buffer->record[buffer->count++] = (struct smu_record){ value, at_ns };
}

/* A reading begins, or has ended. */
static void on_timer(void *context, int64_t now_ns)
{
    struct smu *smu = context;
    struct smu_buffer *buffer = &smu->buffer;
    double next_s = smu->nplc / SMU_LINE_HZ;
    buffer->timer = 0;
    if (buffer->measuring) {
        smu_buffer_keep(buffer, smu_reading(smu, &buffer->start), now_ns);
        buffer->measuring = false;
        next_s = buffer->delay_s;
        if (--buffer->left <= 0)
            return;
    } else {
        buffer->start = world_source_integrals(smu->world, smu->source);
        buffer->measuring = true;
    }
    buffer->timer = sim_at(smu->server.loop, now_ns + (int64_t)(next_s * 1e9), on_timer, smu);
}

/* ---- Commands ---- */
void smu_buffer_clear(struct scpi_call *call)
{
    smu_of(call)->buffer.count = 0;
}

void smu_buffer_count(struct scpi_call *call)
{
    scpi_server_answer(call, "%d", smu_of(call)->buffer.count);
}

/* TRAC:DATA? first, last, "defbuffer1", READ, REL */
void smu_buffer_data(struct scpi_call *call)
{
    const struct smu_buffer *buffer = &smu_of(call)->buffer;
    double first, last;
    if (!scpi_server_number(call, 0, 1, SMU_BUFFER_MAX, 1, &first) ||
        !scpi_server_number(call, 1, first, SMU_BUFFER_MAX, first, &last))
        return;
    if (last > buffer->count) {
        scpi_server_error(call, -222);
        return;
    }
    for (int i = (int)first - 1; i < (int)last; i++) {
        for (int k = 3; k < call->arg_n; k++) {
            if (scpi_server_keyword(call, k, "READing"))
                scpi_server_answer(call, "%.6E", buffer->record[i].value);
            else if (scpi_server_keyword(call, k, "RELative"))
                scpi_server_answer(call, "%.6f",
                                   (double)(buffer->record[i].at_ns - buffer->record[0].at_ns) * 1e-9);
        }
    }
}

/* TRIG:LOAD "SimpleLoop", count, delay, "defbuffer1" */
void smu_buffer_load(struct scpi_call *call)
{
    struct smu *smu = smu_of(call);
    double count, delay_s;
    if (call->arg_n < 3 || strcmp(call->arg[0], "\"SimpleLoop\"") != 0) {
        scpi_server_error(call, call->arg_n < 3 ? -109 : -224);
        return;
    }
    if (!scpi_server_number(call, 1, 1, 1e6, 1, &count) ||
        !scpi_server_number(call, 2, 167e-9, 10000, 0, &delay_s))
        return;
    stop(smu);
    smu->buffer.left = (int)count;
    smu->buffer.delay_s = delay_s;
}

void smu_buffer_start(struct scpi_call *call)
{
    struct smu *smu = smu_of(call);
    if (smu->buffer.timer || smu->buffer.left == 0) {
        scpi_server_error(call, -213);
        return;
    }
    smu->buffer.measuring = false;
    smu->buffer.timer = sim_at(smu->server.loop, sim_now(smu->server.loop), on_timer, smu);
}

void smu_buffer_abort(struct scpi_call *call)
{
    stop(smu_of(call));
}
