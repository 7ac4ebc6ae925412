/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * sched_queue: what the runner does next: the run that a dead daemon left behind, then what waits. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/base/log.h"
#include "daemon/sched_internal.h"

enum { LOOK_AGAIN_S = 1 }; /* into a store that could not be asked */

/* With the lock held. */
bool sched_may_look(const struct sched *sched)
{
    return sched->begun && !sched->busy && !sched->quit && !sched->borrowed && !sched->promised &&
           sched->stays[0] == '\0';
}

/* With the lock held and nothing running: what the runner does next. */
void sched_hand_over(struct sched *sched, const struct sched_run *run, const char *state)
{
    struct sched_snapshot fresh = { .host_begin_ns = clock_host_now(), .host_told_ns = clock_host_now() };

    snprintf(fresh.state, sizeof fresh.state, "%s", state);
    snprintf(fresh.ulid, sizeof fresh.ulid, "%s", run->item.ulid);
    snprintf(fresh.campaign, sizeof fresh.campaign, "%s", run->item.campaign);
    snprintf(fresh.backend, sizeof fresh.backend, "%s", run->item.backend);
    snprintf(fresh.chip_serial, sizeof fresh.chip_serial, "%s", sched->snapshot.chip_serial);
    if (run->job.plan != NULL)
        sched_snapshot_plan(&fresh, &run->job);
    sched->snapshot = fresh;
    sched->run = *run;
    sched->busy = true;
    atomic_store(&sched->command, RUN_GO);
    atomic_store(&sched->pause, RUN_PAUSE_GO);
    recorder_refuse_waits(sched->setup.recorder, false);
    pthread_cond_broadcast(&sched->wake);
}

/* With the lock held; without it while the store is asked. */
void sched_pick(struct sched *sched)
{
    struct queue_taken taken = { .taken = false };
    struct error err = { .code = 0 };
    uint64_t wanted = sched->wanted;
    int64_t now_ns = clock_wall_now();

    sched->picking = true;
    pthread_mutex_unlock(&sched->lock);
    struct error latch = { .code = 0 };
    bool latched = sched_check_latch(sched, &latch) != 0;
    int code = queue_take(sched->setup.recorder, now_ns, !latched, &taken, &err);
    pthread_mutex_lock(&sched->lock);
    sched->picking = false;
    sched->looked = wanted;
    if (code != 0) {
        if (!sched->look_failed) /* said once, not at each try */
            log_error("the queue", &err);
        sched->look_ns = now_ns + LOOK_AGAIN_S * NS_PER_S;
    } else {
        sched->look_ns = taken.look_ns;
        sched->waiting = taken.waiting;
        snprintf(sched->held, sizeof sched->held, "%s", taken.reason);
        latched = latched && taken.waiting > 0; /* it may be cleared past this daemon: look again */
        snprintf(sched->latch, sizeof sched->latch, "%s", latched ? latch.message : "");
        if (latched)
            sched->look_ns = now_ns + LOOK_AGAIN_S * NS_PER_S;
    }
    sched->look_failed = code != 0;
    if (taken.taken && sched->quit) { /* the next daemon finds it where it was */
        free(taken.document);
    } else if (taken.taken) {
        struct sched_run run = { .item = taken.item,
                                 .document = taken.document,
                                 .validating_wall_ns = clock_wall_now() };
        sched_hand_over(sched, &run, "validating");
    }
    pthread_cond_broadcast(&sched->wake);
}

/* With the lock held: until something has changed, or an entry's time has come: by the wall clock, also when
 * that is set meanwhile. */
void sched_wait_for_work(struct sched *sched)
{
    struct timespec until = { .tv_sec = sched->look_ns / NS_PER_S, .tv_nsec = sched->look_ns % NS_PER_S };

    if (sched->look_ns == 0 || !sched_may_look(sched))
        pthread_cond_wait(&sched->wake, &sched->lock);
    else if (pthread_cond_clockwait(&sched->wake, &sched->lock, CLOCK_REALTIME, &until) == ETIMEDOUT)
        sched->wanted++;
}

void sched_look(struct sched *sched)
{
    pthread_mutex_lock(&sched->lock);
    uint64_t mine = ++sched->wanted;
    pthread_cond_broadcast(&sched->wake);
    while (sched->looked < mine && sched_may_look(sched))
        pthread_cond_wait(&sched->wake, &sched->lock);
    pthread_mutex_unlock(&sched->lock);
}

/* With the lock held: ERR_CONFLICT while there is a run, or the bench is borrowed. */
int sched_check_free(const struct sched *sched, struct error *err)
{
    if (sched->borrowed)
        return error_set(err, ERR_CONFLICT, "somebody is asking the instruments: try again in a moment");
    if (!sched->busy && !sched->quit)
        return 0;
    return error_set(err, ERR_CONFLICT,
                     "run %s is under way; wait for it (nightbench watch) or stop it first",
                     sched->run.item.ulid);
}

int sched_check_latch(const struct sched *sched, struct error *err)
{
    char why[QUEUE_WORDS_MAX];

    if (sched->setup.latched == NULL || !sched->setup.latched(sched->setup.keeper_context, why, sizeof why))
        return 0;
    return error_set(err, ERR_CONFLICT,
                     "latched (%.300s): nothing can be switched on until 'nightbench clear REASON'", why);
}

/* Its outputs have been taken away, or it was told to end for that; one that waits in the dark for a person
 * goes on when he has cleared. */
static bool ends_by_latch(const struct sched *sched, bool latched)
{
    const char *state = sched->snapshot.state;
    int command = atomic_load(&sched->command);
    bool waits = strcmp(state, "paused") == 0 || strcmp(state, "held") == 0;
    bool dark = waits && command == RUN_GO && atomic_load(&sched->pause) >= RUN_PAUSE_DARK;

    return command == RUN_ESTOP || (latched && !dark && sched->run.job.backend != CAMPAIGN_REFERENCE);
}

int sched_check_clear(struct sched *sched, struct error *err)
{
    bool latched = sched_check_latch(sched, NULL) != 0;
    int code = 0;

    pthread_mutex_lock(&sched->lock);
    if (sched->busy && ends_by_latch(sched, latched))
        code = error_set(err, ERR_CONFLICT,
                         "run %s has to end first: it does by itself, or by 'nightbench abort'; then clear",
                         sched->run.item.ulid);
    pthread_mutex_unlock(&sched->lock);
    return code;
}

int sched_promise(struct sched *sched, struct error *err)
{
    int latched = sched_check_latch(sched, err);

    pthread_mutex_lock(&sched->lock);
    while (sched->picking)
        pthread_cond_wait(&sched->wake, &sched->lock);
    int code = latched != 0 ? latched : sched_check_free(sched, err);
    if (code == 0 && sched->promised)
        code = error_set(err, ERR_CONFLICT, "another run is being started just now");
    else if (code == 0 && sched->stays[0] != '\0')
        code = error_set(err, ERR_CONFLICT, "%s", sched->stays);
    sched->promised = sched->promised || code == 0;
    pthread_mutex_unlock(&sched->lock);
    return code;
}

void sched_keep(struct sched *sched)
{
    pthread_mutex_lock(&sched->lock);
    sched->promised = false;
    pthread_mutex_unlock(&sched->lock);
    sched_look(sched);
}

void sched_let_go(struct sched *sched)
{
    pthread_mutex_lock(&sched->lock);
    sched->stays[0] = '\0';
    pthread_mutex_unlock(&sched->lock);
}

void sched_tell_queue(struct sched *sched, int waiting, const char *held)
{
    pthread_mutex_lock(&sched->lock);
    sched->waiting = waiting;
    snprintf(sched->held, sizeof sched->held, "%s", held);
    pthread_mutex_unlock(&sched->lock);
}

void sched_queue_known(const struct sched *sched, struct sched_queue *ret)
{
    *ret = (struct sched_queue){ .waiting = sched->waiting, .busy = sched->busy };
    if (sched->busy && isfinite(sched->snapshot.eta_s))
        ret->eta_s = sched->snapshot.eta_s;
    snprintf(ret->reason, sizeof ret->reason, "%s",
             sched->stays[0] != '\0'  ? sched->stays
             : sched->held[0] != '\0' ? sched->held
                                      : sched->latch);
}

void sched_queue(struct sched *sched, struct sched_queue *ret)
{
    pthread_mutex_lock(&sched->lock);
    sched_queue_known(sched, ret);
    pthread_mutex_unlock(&sched->lock);
}

/* Newest run interrupted, and somebody has to decide about it first: he wants to, or the run waited for him
 * anyway, or the keeper lets nothing be switched on. */
static void wait_for_person(struct sched *sched, bool asked)
{
    char ulid[ULID_TEXT];
    bool waited = false;

    if (resume_pending(sched->setup.db_path, ulid, &waited, NULL) != 0)
        return;
    if (!asked && !waited && sched_check_latch(sched, NULL) == 0)
        return;
    pthread_mutex_lock(&sched->lock);
    snprintf(
        sched->stays, sizeof sched->stays,
        "run %s was interrupted; 'nightbench resume' goes on with it, 'nightbench queue release' leaves it",
        ulid);
    pthread_mutex_unlock(&sched->lock);
}

static void record_not_resumed(const struct sched *sched, struct error *why)
{
    const struct record_sink *sink = recorder_sink(sched->setup.recorder);

    error_prefix(why, "an interrupted run cannot go on");
    log_error("resume", why);
    struct record_event event = { .kind = "resume",
                                  .text = why->message,
                                  .time_ns = clock_now(sched->setup.clock),
                                  .wall_ns = clock_wall_now() };
    if (sink->event(sink->context, &event, why) != 0)
        log_error("record of that", why);
}

void sched_begin(struct sched *sched, const char *policy)
{
    struct error why = { .code = 0 };
    char ulid[ULID_TEXT];
    int code = ERR_NOT_FOUND;

    if (strcmp(policy, "auto") == 0)
        code = sched_go_on(sched, true, ulid, &why);
    if (code == 0)
        log_notice("going on with run %s, which was interrupted", ulid);
    else if (code != ERR_NOT_FOUND)
        record_not_resumed(sched, &why);
    if (code != 0 && strcmp(policy, "never") != 0)
        wait_for_person(sched, strcmp(policy, "ask") == 0);
    pthread_mutex_lock(&sched->lock);
    sched->begun = true;
    pthread_mutex_unlock(&sched->lock);
    sched_look(sched);
}
