/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * trips: one question to every source, one more to those that have tripped. */
#include "daemon/keeper/trips.h"

#include "daemon/base/log.h"
#include "daemon/keeper/call.h"

/* One request to each source that is asked for; call[i] is of channel i. */
static int ask(struct keeper *keeper, int op, const bool *asked, struct call **call, struct error *err)
{
    const struct bench_file *file = keeper->file;
    for (int i = 0; i < file->channel_count; i++) {
        const struct bench_channel *ch = &file->channel[i];
        if (asked[i])
            call[i] = call_post(keeper, op, ch->instrument, ch->number, PORT_NORMAL);
    }
    if (!call_wait(keeper, call, file->channel_count, call_limit_ns(), true))
        return error_set(err, ERR_CANCELLED, "an emergency stop has come meanwhile");
    return 0;
}

static void give_back(struct call **call)
{
    for (int i = 0; i < BENCH_CHANNELS_MAX; i++)
        call_free(call[i]);
}

static int cleared(const struct bench_channel *ch, const struct call *call, struct error *err)
{
    const char *rail = ch->rail[0] ? ch->rail : "no rail";
    if (!call || !call_answered(call))
        return error_set(err, ERR_TRIPPED, "%s (%s) has tripped: no answer", ch->name, rail);
    const struct port_request *request = &call->request;
    if (request->message.code == ERR_REFUSED) /* told, for the next power-up may fail for it */
        log_warning("%s (%s) has tripped, and can only be cleared at the instrument: %s", ch->name, rail,
                    request->error.message);
    else if (request->message.code)
        return error_set(err, ERR_TRIPPED, "%s (%s) has tripped: %s", ch->name, rail, request->error.message);
    else
        log_notice("%s (%s): its protection had tripped, and is cleared", ch->name, rail);
    return 0;
}

int trips_clear(struct keeper *keeper, struct error *err)
{
    const struct bench_file *file = keeper->file;
    struct call *state[BENCH_CHANNELS_MAX] = { NULL }, *clear[BENCH_CHANNELS_MAX] = { NULL };
    bool asked[BENCH_CHANNELS_MAX] = { false }, tripped[BENCH_CHANNELS_MAX] = { false };
    for (int i = 0; i < file->channel_count; i++)
        asked[i] = file->channel[i].can_source && keeper->port[file->channel[i].instrument];
    int code = ask(keeper, MESSAGE_STATE, asked, state, err);
    for (int i = 0; !code && i < file->channel_count; i++)
        tripped[i] = asked[i] && observer_has_tripped(keeper->observer, i);
    if (!code)
        code = ask(keeper, MESSAGE_CLEAR_TRIP, tripped, clear, err);
    for (int i = 0; !code && i < file->channel_count; i++) {
        if (tripped[i])
            code = cleared(&file->channel[i], clear[i], err);
    }
    give_back(state);
    give_back(clear);
    return code;
}
