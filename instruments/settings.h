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

enum { SETTINGS_VALUES = 3 };

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
    int number;
    double settle_s; /* after a new set point, or switching */
    bool has[SETTING_COUNT];
    double value[SETTING_COUNT][SETTINGS_VALUES];
    bool on; /* switched on, and it said so */
    int loss;
    bool tripped;     /* by its last state */
    int64_t moved_ns; /* when the output was last told to change */
};

struct settings {
    bool doubtful; /* must be put back before the next request */
    int count;
    struct settings_channel channel[];
};

/* For the channels that the file knows of this instrument. Caller: free(). */
int settings_open(const struct bench_file *file, int instrument, struct settings **ret, struct error *err);

/* Serves one message in place. */
typedef int (*settings_request)(void *context, struct message *message, struct error *err);

/* Before a request: an output that is about to be switched off counts as off, whatever comes of it. */
void settings_before(struct settings *settings, const struct message *asked);
/* After a request that succeeded, with the bench times of its begin and end. A state that says off where it
 * was on gets the flag TRIPPED. Readings get UNSETTLED when they began too soon after a change, and TRIPPED
 * when the last state said so. */
void settings_after(struct settings *settings, const struct message *asked, struct message *answer,
                    int64_t begin_ns, int64_t end_ns);
/* ERR_TRIPPED for what makes no sense on an output that was lost; else 0. */
int settings_check(struct settings *settings, const struct message *asked, struct error *err);
/* Puts everything back and reads it back. On failure all of it stays doubtful. */
int settings_restore(struct settings *settings, settings_request request, void *context, struct error *err);

#endif
