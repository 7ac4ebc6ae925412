/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * settings: what has been set on the channels of one instrument, so that a connection that was lost, or is in
 * doubt, can be made what it was: an instrument that has lost its power answers as before, with other
 * settings. Set points, limits, protections, ranges and chamber settings are put back and read back; an
 * output is never switched on: one that is found off where it was on is a trip. Port's thread. */
#ifndef INSTRUMENTS_SETTINGS_H
#define INSTRUMENTS_SETTINGS_H

#include "instruments/bench.h"
#include "instruments/message.h"

enum { SETTINGS_CHANNELS_MAX = BENCH_CHANNELS_MAX, SETTINGS_VALUES = 3 };

/* Operations that set something; in the order in which they are put back: what protects comes first. */
enum setting_kind {
    SETTING_LIMIT,
    SETTING_PROTECTION,
    SETTING_VOLTAGE,
    SETTING_CONFIGURE,
    SETTING_CHAMBER,
    SETTING_TEMPERATURE,
    SETTING_COUNT
};

/* LOST: an output was found off where it was on, and nobody has been told. TOLD: one request has been refused
 * for it; switching the output, or clearing the trip, goes on from here. */
enum settings_loss { LOSS_NONE, LOSS_LOST, LOSS_TOLD };

struct settings_channel {
    int number; /* 0: free */
    bool has[SETTING_COUNT];
    double value[SETTING_COUNT][SETTINGS_VALUES];
    bool on; /* switched on, and it said so */
    int loss;
};

struct settings {
    struct settings_channel channel[SETTINGS_CHANNELS_MAX];
    bool doubtful; /* must be put back before the next request */
};

/* Serves one message in place. */
typedef int (*settings_request)(void *context, struct message *message, struct error *err);

/* Before a request: an output that is about to be switched off counts as off, whatever comes of it. */
void settings_before(struct settings *settings, const struct message *asked);
/* After a request that succeeded. A state that says off where it was on gets the flag TRIPPED. */
void settings_after(struct settings *settings, const struct message *asked, struct message *answer);
/* ERR_TRIPPED for what makes no sense on an output that was lost; else 0. */
int settings_check(struct settings *settings, const struct message *asked, struct error *err);
/* Puts everything back and reads it back. On failure all of it stays doubtful. */
int settings_restore(struct settings *settings, settings_request request, void *context, struct error *err);

#endif
