/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * pause: waiting, and what is dark meanwhile. */
#include "sweeps/pause.h"

#include <stdio.h>
#include <time.h>

#define SLICE_S 0.1 /* how soon a word is seen */
enum {
    HOST_NAP_MS = 5,
    SLICES_PER_LOOK = 10, /* at outputs that are on: nobody measures meanwhile */
    SLICES_PER_SIGN = 300 /* of life: who waits for a person does not hang */
};

static int wanted(const struct run *run)
{
    return run->context->pause != NULL ? atomic_load(run->context->pause) : RUN_PAUSE_GO;
}

bool pause_wanted(const struct run *run)
{
    return wanted(run) != RUN_PAUSE_GO;
}

/* Who sees that it waits may rely on that it does so after a death of the daemon, too: the store first. */
static int tell_state(struct run *run, const char *state, const char *why, struct error *err)
{
    const struct record_sink *sink = run->sink;

    int rc = sink->state != NULL ? sink->state(sink->context, state, why, err) : 0;
    if (rc == 0)
        rc = sink->ack(sink->context, err);
    if (rc < 0)
        return rc;
    run->progress.state = state;
    runner_progress(run, 0);
    return 0;
}

/* In virtual time a person's minutes would be over in no time: each slice costs a little of the host's, so
 * that what goes on being logged stays within reason. */
static int wait_slice(struct run *run, struct error *err)
{
    const struct timespec nap = { .tv_nsec = HOST_NAP_MS * 1000000L };

    if (clock_is_virtual(run->context->clock) || run->context->actor == NULL)
        nanosleep(&nap, NULL);
    int rc = runner_wait(run, SLICE_S, err);
    return rc == ERR_CANCELLED && runner_check(run, NULL) == 0 && runner_out_of_time(run) ? 0 : rc;
}

/* Going dark may fail, for it may be an instrument that somebody is called for: the power-down has recorded
 * what was not confirmed, and a person is waited for all the same. */
static int go_dark(struct run *run, struct run_dark *dark, struct error *err)
{
    struct error own = { 0 };

    int rc = runner_go_dark(run, dark, &own);
    if (rc == ERR_FENCED || rc == ERR_TRIPPED || runner_check(run, NULL) < 0) {
        if (err != NULL)
            *err = own;
        return rc;
    }
    return 0;
}

/* What has been switched off meanwhile, by a trip or an e-stop past the daemon, ends the run now and not when
 * it is resumed. An instrument that does not answer just now is no such thing. */
static int look_at_outputs(struct run *run, struct error *err)
{
    struct error own = { 0 };

    int rc = run->has_bench && run->power.up ? power_check(&run->power, &own) : 0;
    if (rc != ERR_TRIPPED && rc != ERR_FENCED)
        return 0;
    if (err != NULL)
        *err = own;
    return rc;
}

/* Waits for GO. A word that asks for darkness is obeyed while waiting, too. */
static int wait_for_go(struct run *run, struct run_dark *dark, bool *is_dark, struct error *err)
{
    int word, rc = 0, slices = 0;

    while ((word = wanted(run)) != RUN_PAUSE_GO && !runner_stopping(run) && !runner_out_of_time(run) &&
           rc == 0) {
        if (word != RUN_PAUSE_LIT && !*is_dark) {
            rc = go_dark(run, dark, err);
            *is_dark = true;
        }
        if (rc == 0)
            rc = wait_slice(run, err);
        if (++slices % SLICES_PER_SIGN == 0)
            runner_progress(run, 0);
        if (rc == 0 && !*is_dark && slices % SLICES_PER_LOOK == 0)
            rc = look_at_outputs(run, err);
    }
    return rc;
}

/* `is_dark`: *dark has been filled by who calls. Returns with the outputs as they were, unless stopping. */
static int wait_in(struct run *run, const char *state, const char *why, struct run_dark *dark, bool is_dark,
                   struct error *err)
{
    int rc = tell_state(run, state, why, err);
    if (rc == 0)
        rc = wait_for_go(run, dark, &is_dark, err);
    if (rc < 0 || runner_stopping(run))
        return rc;
    rc = tell_state(run, "running", "", err);
    /* When there is time for nothing but the end, what is dark stays dark. */
    return rc == 0 && is_dark && !runner_out_of_time(run) ? runner_relight(run, dark, err) : rc;
}

int pause_here(struct run *run, struct error *err)
{
    struct run_dark dark;
    int word = wanted(run);
    bool is_dark = word >= RUN_PAUSE_DARK;
    const char *why = word == RUN_PAUSE_HELD ? "held when its daemon ended"
                      : is_dark              ? "with the outputs off"
                                             : "";

    if (word == RUN_PAUSE_GO || runner_stopping(run))
        return 0;
    int rc = is_dark ? go_dark(run, &dark, err) : 0;
    return rc == 0 ? wait_in(run, word == RUN_PAUSE_HELD ? "held" : "paused", why, &dark, is_dark, err) : rc;
}

int pause_hold(struct run *run, const char *why, struct error *err)
{
    struct run_dark dark;
    struct error again = { 0 };
    char reason[ERROR_LINE_MAX];

    if (run->context->pause == NULL)
        return error_set(err, ERR_UNSUPPORTED, "nobody can resume this run: %s", why);
    int rc = go_dark(run, &dark, &again);
    snprintf(reason, sizeof reason, "%s", why);
    while (rc == 0) {
        atomic_store(run->context->pause, RUN_PAUSE_HELD);
        rc = runner_event(run, "held", NULL, err, "waiting for a person: %s", reason);
        if (rc < 0)
            return rc;
        again = (struct error){ 0 };
        rc = wait_in(run, "held", reason, &dark, true, &again);
        if (rc == 0 || rc == ERR_FENCED || rc == ERR_TRIPPED || rc == ERR_FULL ||
            runner_check(run, NULL) < 0 || runner_stopping(run))
            break;
        /* It was not mended: what has come up again goes down, and the waiting goes on. */
        error_describe(&again, reason, sizeof reason);
        struct run_dark halfway;
        rc = go_dark(run, &halfway, &again);
    }
    if (rc < 0 && err != NULL)
        *err = again;
    return rc;
}
