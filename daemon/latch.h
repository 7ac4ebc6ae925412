/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * latch: an emergency stop that went straight to the keeper (`nightbench estop`, nightbench-safe), or an
 * interlock that tripped while no run was active, is told and recorded by nobody else: this looks at the
 * keeper's latch once a second. One thread, which may wait for the keeper and for the recorder.
 */
#ifndef DAEMON_LATCH_H
#define DAEMON_LATCH_H

#include "daemon/audit.h"
#include "daemon/sched.h"

struct latch;

struct latch_setup {
    const char *keeper_path; /* NULL: no keeper, nothing to look at */
    struct sched *sched;
    struct audit *audit;
    const struct record_sink *sink;
    struct clock *clock;
};

/* What setup points to is borrowed until close. *ret_latch is NULL without a keeper. */
int latch_open(const struct latch_setup *setup, struct latch **ret_latch, struct error *err);
/* NULL is a no-op. */
void latch_close(struct latch *latch);

/* What was seen last. Zeroed: nothing yet. */
struct latch_view {
    bool started, latched, told;
    uint64_t trips; /* that were told when it was open last */
};
/* One look; true when this latch is to be told now. Not that of the start, which an earlier daemon has met;
 * not one that somebody here has told (then `trips` has gone up), and therefore not at first sight, nor while
 * a run is still to say how it ended. */
bool latch_look(struct latch_view *view, bool latched, uint64_t trips, bool busy);

#endif
