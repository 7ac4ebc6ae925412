/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * pause: waiting, and what is dark meanwhile. */
#include "sweeps/pause.h"

#include <time.h>

#define SLICE_S 0.1 /* how soon a word is seen */
enum { HOST_NAP_MS = 5 };

static int wanted(const struct run *run)
{
    return run->context->pause != NULL ? atomic_load(run->context->pause) : RUN_PAUSE_GO;
}

static int tell_state(struct run *run, const char *state, const char *why, struct error *err)
{
    const struct record_sink *sink = run->sink;

    run->progress.state = state;
    runner_progress(run, 0);
    return sink->state != NULL ? sink->state(sink->context, state, why, err) : 0;
}

/* In virtual time a person's minutes would be over in no time: each slice costs a little of the host's, so
 * that what goes on being logged stays within reason. */
static int wait_slice(struct run *run, struct error *err)
{
    const struct timespec nap = { .tv_nsec = HOST_NAP_MS * 1000000L };

    if (clock_is_virtual(run->context->clock) || run->context->actor == NULL)
        nanosleep(&nap, NULL);
    return runner_wait(run, SLICE_S, err);
}

/* Waits for GO. A word that asks for darkness is obeyed while waiting, too. */
static int wait_for_go(struct run *run, struct run_dark *dark, bool *is_dark, struct error *err)
{
    int word, rc = 0;

    while ((word = wanted(run)) != RUN_PAUSE_GO && !runner_stopping(run) && rc == 0) {
        if (word != RUN_PAUSE_LIT && !*is_dark) {
            rc = runner_go_dark(run, dark, err);
            *is_dark = true;
        }
        if (rc == 0)
            rc = wait_slice(run, err);
    }
    return rc;
}

static int wait_in(struct run *run, const char *state, const char *why, struct error *err)
{
    struct run_dark dark;
    bool is_dark = false;

    int rc = tell_state(run, state, why, err);
    if (rc == 0)
        rc = wait_for_go(run, &dark, &is_dark, err);
    if (rc < 0 || runner_stopping(run))
        return rc;
    if (is_dark)
        rc = runner_relight(run, &dark, err);
    return rc == 0 ? tell_state(run, "running", "", err) : rc;
}

int pause_here(struct run *run, struct error *err)
{
    int word = wanted(run);

    if (word == RUN_PAUSE_GO || runner_stopping(run))
        return 0;
    return wait_in(run, "paused", word == RUN_PAUSE_DARK ? "with the outputs off" : "", err);
}

int pause_hold(struct run *run, const char *why, struct error *err)
{
    if (run->context->pause == NULL)
        return error_set(err, ERR_UNSUPPORTED, "nobody can resume this run: %s", why);
    atomic_store(run->context->pause, RUN_PAUSE_HELD);
    int rc = runner_event(run, "held", NULL, err, "waiting for a person: %s", why);
    return rc == 0 ? wait_in(run, "held", why, err) : rc;
}
