/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * latch: what is looked at, and what is told.
 */
#include "daemon/latch.h"

#include <stdlib.h>
#include <string.h>

#include "daemon/base/log.h"
#include "daemon/base/ticker.h"
#include "daemon/health.h"

enum { LOOK_S = 1 };

struct latch {
    struct latch_setup setup;
    struct latch_view view; /* the ticker's alone */
    struct ticker *ticker;
};

bool latch_look(struct latch_view *view, bool latched, uint64_t trips, bool busy)
{
    if (!view->started || !latched) {
        *view = (struct latch_view){ .started = true, .latched = latched, .told = latched, .trips = trips };
        return false;
    }
    if (!view->latched) {
        view->latched = true;
        return false;
    }
    if (view->told || busy)
        return false;
    view->told = true;
    return trips == view->trips;
}

/* A person or a program of this user has asked the keeper for it; else it was an interlock. */
static void tell(const struct latch *latch, const char *reason)
{
    static const char by_hand[] = "emergency stop: ";
    const struct latch_setup *setup = &latch->setup;
    struct record_event event = {
        .kind = "trip", .text = reason, .time_ns = clock_now(setup->clock), .wall_ns = clock_wall_now()
    };
    struct error err = { .code = 0 };

    log_warning("the keeper is latched: %s", reason);
    if (strncmp(reason, by_hand, sizeof by_hand - 1) == 0) {
        struct command_audit entry = { .user = "local",
                                       .role = "admin",
                                       .action = "e-stop at the keeper",
                                       .status = 202,
                                       .subject = reason + sizeof by_hand - 1 };
        audit_post(setup->audit, &entry);
    }
    sched_trip(setup->sched, reason); /* first: the store may have to wait for room */
    if (setup->sink->event(setup->sink->context, &event, &err) != 0)
        log_error("recording a trip", &err);
}

static void look(void *context)
{
    struct latch *latch = context;
    struct error err = { .code = 0 };
    struct health health;

    if (health_read(NULL, latch->setup.keeper_path, &health, &err) != 0)
        return; /* whoever needs the keeper says that it is away */
    /* First: a run that is over by then has told its trip before. */
    bool busy = sched_busy(latch->setup.sched);
    if (latch_look(&latch->view, health.latched, sched_trips(latch->setup.sched), busy))
        tell(latch, health.reason);
    health_free(&health);
}

int latch_open(const struct latch_setup *setup, struct latch **ret_latch, struct error *err)
{
    *ret_latch = NULL;
    if (setup->keeper_path == NULL)
        return 0;
    struct latch *latch = calloc(1, sizeof *latch);
    if (latch == NULL)
        return error_set(err, ERR_MEMORY, "no memory to watch the keeper's latch");
    latch->setup = *setup;
    int code = ticker_start("the keeper's latch", LOOK_S * NS_PER_S, look, latch, &latch->ticker, err);
    if (code != 0) {
        free(latch);
        return code;
    }
    *ret_latch = latch;
    return 0;
}

void latch_close(struct latch *latch)
{
    if (latch == NULL)
        return;
    ticker_stop(latch->ticker);
    free(latch);
}
