/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * run_states: the states of a run, by the words that stand in the store, and which may follow which. */
#ifndef DB_RUN_STATES_H
#define DB_RUN_STATES_H

#include <stdbool.h>

enum run_state {
    RUN_STATE_QUEUED,
    RUN_STATE_VALIDATING,
    RUN_STATE_RUNNING,
    RUN_STATE_PAUSING,
    RUN_STATE_PAUSED,
    RUN_STATE_HELD,
    RUN_STATE_STOPPING,
    RUN_STATE_INTERRUPTED, /* its daemon died, or was ended, in the middle */
    RUN_STATE_RESUMED,
    RUN_STATE_DONE, /* from here on: ends */
    RUN_STATE_STOPPED,
    RUN_STATE_ABORTED,
    RUN_STATE_ESTOP,
    RUN_STATE_TRIPPED,
    RUN_STATE_FAILED,
    RUN_STATE_COUNT
};

const char *run_state_name(int state);
int run_state_from_name(const char *name); /* -1 when unknown */
/* May a run that is in `from` go to `to`? From -1, which is none, to where runs begin. */
bool run_state_allowed(int from, int to);
/* Is there nothing after it? An interrupted run can be resumed, so that is no end. */
bool run_state_is_end(int state);

#endif
