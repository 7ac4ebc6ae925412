/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * run_states: one table. */
#include "db/run_states.h"

#include <string.h>

#define TO(state) (1u << (RUN_STATE_##state))
/* Whatever goes on can end badly, at any time. */
#define BAD_ENDS (TO(ABORTED) | TO(ESTOP) | TO(TRIPPED) | TO(FAILED) | TO(INTERRUPTED))

static const struct {
    const char *name;
    unsigned next;
} states[RUN_STATE_COUNT] = {
    [RUN_STATE_QUEUED] = { "queued", TO(VALIDATING) | TO(RUNNING) | BAD_ENDS },
    [RUN_STATE_VALIDATING] = { "validating", TO(RUNNING) | BAD_ENDS },
    [RUN_STATE_RUNNING] = { "running", TO(PAUSING) | TO(PAUSED) | TO(HELD) | TO(STOPPING) | TO(DONE) |
                                           TO(STOPPED) | BAD_ENDS },
    [RUN_STATE_PAUSING] = { "pausing", TO(PAUSED) | TO(HELD) | TO(RUNNING) | TO(STOPPING) | TO(DONE) |
                                           TO(STOPPED) | BAD_ENDS },
    [RUN_STATE_PAUSED] = { "paused", TO(RUNNING) | TO(STOPPING) | TO(STOPPED) | BAD_ENDS },
    [RUN_STATE_HELD] = { "held", TO(RUNNING) | TO(STOPPING) | TO(STOPPED) | BAD_ENDS },
    [RUN_STATE_STOPPING] = { "stopping",
                             TO(STOPPING) /* by another word */ | TO(STOPPED) | TO(DONE) | BAD_ENDS },
    [RUN_STATE_INTERRUPTED] = { "interrupted", TO(RESUMED) | TO(ABORTED) },
    [RUN_STATE_RESUMED] = { "resumed", TO(RUNNING) | TO(PAUSED) | TO(HELD) | TO(STOPPING) | TO(DONE) |
                                           TO(STOPPED) | BAD_ENDS },
    [RUN_STATE_DONE] = { "done", 0 },
    [RUN_STATE_STOPPED] = { "stopped", 0 },
    [RUN_STATE_ABORTED] = { "aborted", 0 },
    [RUN_STATE_ESTOP] = { "estop", 0 },
    [RUN_STATE_TRIPPED] = { "tripped", 0 },
    [RUN_STATE_FAILED] = { "failed", 0 },
};

const char *run_state_name(int state)
{
    return state >= 0 && state < RUN_STATE_COUNT ? states[state].name : "";
}

int run_state_from_name(const char *name)
{
    for (int i = 0; i < RUN_STATE_COUNT; i++) {
        if (strcmp(states[i].name, name) == 0)
            return i;
    }
    return -1;
}

bool run_state_allowed(int from, int to)
{
    const unsigned begins = TO(QUEUED) | TO(VALIDATING) | TO(RUNNING);

    if (to < 0 || to >= RUN_STATE_COUNT || from >= RUN_STATE_COUNT)
        return false;
    return ((from < 0 ? begins : states[from].next) >> to & 1) != 0;
}

bool run_state_is_end(int state)
{
    return state >= RUN_STATE_DONE && state < RUN_STATE_COUNT;
}
