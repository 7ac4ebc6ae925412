/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * settings: the notes, and putting them back. */
#include "instruments/settings.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/record.h"

/* A read back differs from what was set by the instrument's step. A value that was lost differs by more. */
#define STEP_SHARE 2e-3
#define STEP_FLOOR 2e-3 /* volts, amperes */

static const int OPS[SETTING_COUNT] = {
    [SETTING_LIMIT] = MESSAGE_SET_LIMIT,       [SETTING_PROTECTION] = MESSAGE_SET_PROTECTION,
    [SETTING_VOLTAGE] = MESSAGE_SET_VOLTAGE,   [SETTING_CONFIGURE] = MESSAGE_CONFIGURE,
    [SETTING_CHAMBER] = MESSAGE_CHAMBER_SETUP, [SETTING_TEMPERATURE] = MESSAGE_SET_TEMPERATURE,
};

static int kind_of(int op)
{
    int kind = 0;
    while (kind < SETTING_COUNT && OPS[kind] != op)
        kind++;
    return kind;
}

static bool switches_off(const struct message *m)
{
    return m->op == MESSAGE_SAFE_OFF || m->op == MESSAGE_CLEAR_TRIP ||
           (m->op == MESSAGE_OUTPUT && m->value[0] == 0);
}

/* Without a description (tests) there are as many channels as a driver may describe. */
enum { CHANNELS_UNKNOWN = 16 };

int settings_open(const struct bench_file *file, int instrument, struct settings **ret, struct error *err)
{
    int count = 0;
    for (int i = 0; i < file->channel_count; i++)
        count += file->channel[i].instrument == instrument;
    bool known = count > 0;
    count = known ? count : CHANNELS_UNKNOWN;
    struct settings *settings = calloc(1, sizeof *settings + (size_t)count * sizeof *settings->channel);
    if (!settings)
        return error_set(err, ERR_MEMORY, "settings of '%s'", file->instrument[instrument].name);
    settings->count = count;
    for (int i = 0, k = 0; k < count; i++) {
        if (known && file->channel[i].instrument != instrument)
            continue;
        settings->channel[k] = (struct settings_channel){ .number = known ? file->channel[i].number : k + 1,
                                                          .settle_s = known ? file->channel[i].settle_s : 0,
                                                          .moved_ns = INT64_MIN };
        k++;
    }
    *ret = settings;
    return 0;
}

static struct settings_channel *find(struct settings *settings, int number)
{
    for (int i = 0; i < settings->count; i++) {
        if (settings->channel[i].number == number)
            return &settings->channel[i];
    }
    return NULL;
}

void settings_before(struct settings *settings, const struct message *asked)
{
    struct settings_channel *ch = switches_off(asked) ? find(settings, asked->channel) : NULL;
    if (!ch)
        return;
    ch->on = false;
    ch->loss = LOSS_NONE;
}

static void note(struct settings_channel *ch, int kind, const struct message *asked)
{
    for (int i = 0; i < SETTINGS_VALUES; i++) {
        bool left = isnan(asked->value[i]); /* "as it is": an older setting stands, also an automatic range */
        if (kind == SETTING_CONFIGURE || !left || !ch->has[kind])
            ch->value[kind][i] = asked->value[i];
    }
    ch->has[kind] = true;
}

static void note_switched(struct settings_channel *ch, bool on, int64_t end_ns)
{
    ch->on = on;
    ch->moved_ns = end_ns;
    if (on)
        ch->loss = LOSS_NONE;
}

static void take_state(struct settings_channel *ch, struct message *state)
{
    /* At 0 V some have no other switch than their set point. */
    bool zero = ch->has[SETTING_VOLTAGE] && ch->value[SETTING_VOLTAGE][0] == 0;
    if (ch->on && !zero && !(state->flags & MESSAGE_ON) && !ch->loss)
        ch->loss = LOSS_LOST;
    if (ch->loss)
        state->flags |= MESSAGE_TRIPPED;
    ch->tripped = state->flags & MESSAGE_TRIPPED;
}

void settings_after(struct settings *settings, const struct message *asked, struct message *answer,
                    int64_t begin_ns, int64_t end_ns)
{
    int kind = kind_of(asked->op);
    struct settings_channel *ch = find(settings, asked->channel);
    if (!ch)
        return;
    if (kind == SETTING_VOLTAGE && !(ch->has[kind] && ch->value[kind][0] == asked->value[0]))
        ch->moved_ns = end_ns;
    if (kind < SETTING_COUNT)
        note(ch, kind, asked);
    else if (asked->op == MESSAGE_OUTPUT)
        note_switched(ch, asked->value[0] != 0, end_ns);
    else if (asked->op == MESSAGE_STATE || asked->op == MESSAGE_CLEAR_TRIP)
        take_state(ch, answer);
    if (asked->op != MESSAGE_MEASURE)
        return;
    if (ch->moved_ns != INT64_MIN && begin_ns < ch->moved_ns + (int64_t)(ch->settle_s * 1e9))
        answer->flags |= READING_UNSETTLED;
    if (ch->tripped)
        answer->flags |= READING_TRIPPED;
}

int settings_check(struct settings *settings, const struct message *asked, struct error *err)
{
    struct settings_channel *ch = find(settings, asked->channel);
    bool always = asked->op == MESSAGE_STATE || asked->op == MESSAGE_IDENTIFY || asked->op == MESSAGE_QUERY ||
                  switches_off(asked);
    if (!ch || !ch->loss || always)
        return 0;
    if (ch->loss == LOSS_TOLD && asked->op == MESSAGE_OUTPUT)
        return 0;
    ch->loss = LOSS_TOLD;
    return error_set(
        err, ERR_TRIPPED,
        "output %d was found off where it was on: the instrument rebooted, or was switched by hand; "
        "its settings are put back, the output is not",
        ch->number);
}

/* ---- Putting back ---- */
static int ask(const struct settings_channel *ch, int op, struct message *m, settings_request request,
               void *context, struct error *err)
{
    *m = (struct message){ .magic = MESSAGE_MAGIC, .op = (uint16_t)op, .channel = (int16_t)ch->number };
    for (int kind = 0; kind < SETTING_COUNT; kind++) {
        if (OPS[kind] == op)
            memcpy(m->value, ch->value[kind], sizeof ch->value[kind]);
    }
    return request(context, m, err);
}

static bool same(double found, double wanted)
{
    return fabs(found - wanted) <= STEP_SHARE * fabs(wanted) + STEP_FLOOR;
}

static int check_state(const struct settings_channel *ch, const struct message *state, struct error *err)
{
    if (ch->has[SETTING_VOLTAGE] && !same(state->value[0], ch->value[SETTING_VOLTAGE][0]))
        return error_set(err, ERR_REFUSED, "channel %d: put back to %g V, reads back %g V", ch->number,
                         ch->value[SETTING_VOLTAGE][0], state->value[0]);
    if (ch->has[SETTING_LIMIT] && !isnan(state->value[1]) &&
        !same(state->value[1], ch->value[SETTING_LIMIT][0]))
        return error_set(err, ERR_REFUSED, "channel %d: put back to %g A, reads back %g A", ch->number,
                         ch->value[SETTING_LIMIT][0], state->value[1]);
    return 0;
}

/* What is as it was is not written again: the chip may be running on it. */
static bool needless(const struct settings_channel *ch, int kind, const struct message *state)
{
    if (kind == SETTING_VOLTAGE)
        return same(state->value[0], ch->value[kind][0]);
    return kind == SETTING_LIMIT && same(state->value[1], ch->value[kind][0]);
}

static int restore(struct settings_channel *ch, settings_request request, void *context, struct error *err)
{
    struct message m, state;
    bool source = ch->has[SETTING_VOLTAGE] || ch->has[SETTING_LIMIT] || ch->has[SETTING_PROTECTION] || ch->on;
    int code = 0;
    if (source) {
        code = ask(ch, MESSAGE_STATE, &state, request, context, err);
        if (!code)
            take_state(ch, &state);
    }
    for (int kind = 0; kind < SETTING_COUNT && !code; kind++) {
        if (ch->has[kind] && !(source && needless(ch, kind, &state)))
            code = ask(ch, OPS[kind], &m, request, context, err);
    }
    if (!code && (ch->has[SETTING_VOLTAGE] || ch->has[SETTING_LIMIT])) {
        code = ask(ch, MESSAGE_STATE, &state, request, context, err);
        if (!code)
            code = check_state(ch, &state, err);
    }
    return code;
}

int settings_restore(struct settings *settings, settings_request request, void *context, struct error *err)
{
    for (int i = 0; i < settings->count; i++) {
        int code = restore(&settings->channel[i], request, context, err);
        if (code)
            return code;
    }
    settings->doubtful = false;
    return 0;
}
