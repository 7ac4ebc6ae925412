/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * sched: the runner thread of one bench and the snapshot of its run.
 */
#include "daemon/sched.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/build.h"
#include "daemon/base/log.h"
#include "daemon/job.h"
#include "daemon/queued.h"
#include "daemon/sched_internal.h"

/* Everything went off because somebody or something pulled the latch. */
static void tell_trip(struct sched *sched, const char *ulid, const char *why)
{
    cJSON *tree = cJSON_CreateObject();

    atomic_fetch_add(&sched->trips, 1);
    cJSON_AddStringToObject(tree, "run", ulid);
    cJSON_AddStringToObject(tree, "reason", why);
    char *json = json_print(tree, false);
    cJSON_Delete(tree);
    events_post(sched->setup.events, "trip", json != NULL ? json : "{}");
    free(json);
}

enum { STATE_EVENT_MAX = 128 };

/* With the lock held; the event is posted without it. */
static void write_state(struct sched *sched, const char *state, char json[STATE_EVENT_MAX])
{
    snprintf(sched->snapshot.state, sizeof sched->snapshot.state, "%s", state);
    snprintf(json, STATE_EVENT_MAX, "{\"state\":\"%s\",\"run\":\"%s\"}", state, sched->snapshot.ulid);
}

void sched_set_state(struct sched *sched, const char *state)
{
    char json[STATE_EVENT_MAX];

    pthread_mutex_lock(&sched->lock);
    write_state(sched, state, json);
    pthread_mutex_unlock(&sched->lock);
    events_post(sched->setup.events, "state", json);
}

/* The state of a run that goes on, by the words that it has been given. */
static const char *asked_for(struct sched *sched)
{
    if (atomic_load(&sched->command) == RUN_STOP)
        return "stopping";
    return atomic_load(&sched->pause) != RUN_PAUSE_GO ? "pausing" : "running";
}

/* Runner's thread. Copies what it is told into the snapshot and tells the streams. */
static void on_progress(void *context, const struct run_progress *progress)
{
    struct sched *sched = context;
    char json[SCHED_EVENT_MAX];

    pthread_mutex_lock(&sched->lock);
    bool new_state = sched_snapshot_take(&sched->snapshot, progress);
    if (strcmp(progress->state, "running") == 0) /* until the runner gets to what was asked for */
        snprintf(sched->snapshot.state, sizeof sched->snapshot.state, "%s", asked_for(sched));
    pthread_mutex_unlock(&sched->lock);
    sched_snapshot_event(&sched->snapshot, progress, json, sizeof json); /* the runner alone changes these */
    events_post(sched->setup.events, progress->cell >= 0 ? "point" : new_state ? "state" : "progress", json);
}

/* A run that was accepted and cannot start leaves a record all the same, with the reason. */
static int not_started(const struct run_context *context, struct run_result *result, const struct error *why)
{
    struct error err = { .code = 0 };

    if (run_record_failure(context, why, &err) != 0)
        log_error("record of a run that could not start", &err);
    result->safe = true; /* nothing has been touched */
    return why->code;
}

/* *ret_begun: the run had the bench in its hands. */
static int execute(struct sched *sched, struct run_result *ret_result, bool *ret_begun, struct error *err)
{
    const struct sched_setup *setup = &sched->setup;
    struct clock_actor *actor = NULL;
    struct bench_client *client = NULL;
    bool on_bench = sched->run.job.backend != CAMPAIGN_REFERENCE;
    struct queued_limit limit = queued_limit(setup, &sched->run.item, &sched->run.job,
                                             sched->run.resume != NULL ? &sched->run.resume->run : NULL);

    int code = clock_actor_open(setup->clock, "runner", CLOCK_RANK_RUNNER, &actor, err);
    struct run_context context = {
        .plan = sched->run.job.plan,
        .bench_file = sched->run.job.bench_file,
        .profile = sched->run.job.profile,
        .assets = sched->run.job.assets,
        .backend = sched->run.job.backend,
        .seed = sched->run.job.seed,
        .clock = setup->clock,
        .actor = actor,
        .bench = on_bench ? setup->bench : NULL,
        .sink = recorder_sink(setup->recorder),
        .command = &sched->command,
        .pause = &sched->pause,
        .deadline_ns = limit.deadline_ns,
        .budget_s = limit.budget_s,
        .latched = setup->latched,
        .latched_context = setup->keeper_context,
        .progress = on_progress,
        .progress_context = sched,
        .ulid = sched->run.item.ulid,
        .operator_name = sched->run.item.operator_name,
        .tags = sched->run.item.tags,
        .notes = sched->run.item.note,
        .queued_wall_ns = sched->run.item.added_ns,
        .validating_wall_ns = sched->run.validating_wall_ns,
        .build = build_revision,
        .bench_json = sched->run.job.bench_file->json,
        .chip_json = "",
        .history = sched->run.resume != NULL ? &sched->run.resume->history : NULL,
    };

    if (code != 0)
        return not_started(&context, ret_result, err);
    if (on_bench)
        code = bench_client_open(setup->bench, actor, &client, err);
    if (code != 0) {
        clock_actor_close(actor);
        return not_started(&context, ret_result, err);
    }
    context.client = client;
    pthread_mutex_lock(&sched->lock);
    sched->client = client;
    pthread_mutex_unlock(&sched->lock);
    *ret_begun = true;
    code = run_execute(&context, ret_result, err);
    pthread_mutex_lock(&sched->lock);
    sched->client = NULL;
    pthread_mutex_unlock(&sched->lock);
    bench_client_close(client);
    clock_actor_close(actor);
    return code;
}

/* The campaign was sound when it was queued; networks, data sets and the bench may have changed since. */
static int make_ready(struct sched *sched, struct error *err)
{
    struct sched_run *run = &sched->run;
    struct job job = { .plan = NULL };

    int code = queued_open(&sched->setup, &run->item, run->document, &job, err);
    if (code == ERR_CONFLICT) /* this daemon owns no bench: nothing is wrong with the run */
        return code;
    if (code != 0) {
        struct error why = { .code = 0 };
        if (queued_record_failure(&sched->setup, &run->item, run->document, run->validating_wall_ns, err,
                                  &why) != 0)
            log_error("record of a run that is not valid", &why);
        return code;
    }
    pthread_mutex_lock(&sched->lock);
    run->job = job;
    sched_snapshot_plan(&sched->snapshot, &job);
    pthread_mutex_unlock(&sched->lock);
    sched_set_state(sched, "starting");
    return 0;
}

/* With the lock held: what the end of a run leaves behind. */
static void end_run(struct sched *sched, const struct run_result *result, int code, const struct error *err)
{
    struct sched_snapshot *s = &sched->snapshot;

    snprintf(s->state, sizeof s->state, "%s", result->state);
    s->message[0] = '\0';
    if (code != 0)
        error_describe(err, s->message, sizeof s->message);
    if (result->chip_serial[0] != '\0')
        snprintf(s->chip_serial, sizeof s->chip_serial, "%s", result->chip_serial);
    s->code = code;
    s->safe = result->safe;
    s->eta_s = 0;
    s->elapsed_s = result->duration_s;
    if (strcmp(result->state, "interrupted") == 0)
        snprintf(sched->stays, sizeof sched->stays,
                 "run %s was interrupted; 'nightbench resume' goes on with it, 'nightbench queue release' "
                 "leaves it",
                 s->ulid);
    job_close(&sched->run.job);
    resume_close(sched->run.resume);
    free(sched->run.document);
    sched->run = (struct sched_run){ .document = NULL };
    sched->busy = false;
    sched->wanted++;
    pthread_cond_broadcast(&sched->wake);
}

/* A bench whose outputs are not known to be off is not fit for the next run. */
static void hold_unsafe(struct sched *sched, const struct run_result *result)
{
    struct error err = { .code = 0 };
    char reason[QUEUE_WORDS_MAX];

    if (result->safe || strcmp(result->state, "interrupted") == 0) /* that one goes on, or nothing does */
        return;
    snprintf(reason, sizeof reason, "run %s ended %s, and its outputs are not known to be off",
             sched->run.item.ulid, result->state);
    if (queue_hold(sched->setup.recorder, true, reason, &err) != 0)
        log_error("holding the queue", &err);
}

/* A run that has left no row is still in the queue: nothing can be recorded, or it is not for this daemon. It
 * must not be tried again and again: a person looks first. */
static void give_back(struct sched *sched, const struct error *why)
{
    struct error err = { .code = 0 };

    if (queue_untake(sched->setup.recorder, sched->run.item.ulid, &err) == 0)
        return;
    pthread_mutex_lock(&sched->lock);
    snprintf(sched->stays, sizeof sched->stays,
             "run %s could not begin (%.300s); 'nightbench queue release' tries again", sched->run.item.ulid,
             why->message);
    sched->waiting++;
    pthread_mutex_unlock(&sched->lock);
}

static void run_one(struct sched *sched)
{
    struct run_result result = { .state = "failed", .safe = false };
    struct error err = { .code = 0 };
    bool begun = false;
    char json[256];
    int code = 0;

    log_set_run(sched->run.item.ulid);
    if (sched->run.document != NULL) {
        code = make_ready(sched, &err);
        result.safe = code != 0; /* nothing has been touched */
    }
    if (code == 0)
        code = execute(sched, &result, &begun, &err);
    if (code != 0)
        log_error("run ended", &err);
    log_set_run("");
    if (strcmp(result.state, "tripped") == 0)
        tell_trip(sched, sched->run.item.ulid, err.message);
    if (begun)
        hold_unsafe(sched, &result);
    if (code != 0 && sched->run.document != NULL)
        give_back(sched, &err);

    pthread_mutex_lock(&sched->lock);
    end_run(sched, &result, code, &err);
    snprintf(json, sizeof json, "{\"state\":\"%s\",\"run\":\"%s\",\"end\":true,\"code\":\"%s\",\"safe\":%s}",
             result.state, sched->snapshot.ulid, code != 0 ? error_name(code) : "",
             result.safe ? "true" : "false");
    pthread_mutex_unlock(&sched->lock);
    events_post(sched->setup.events, "state", json);
}

static void *runner_main(void *context)
{
    struct sched *sched = context;

    pthread_mutex_lock(&sched->lock);
    while (sched->busy || !sched->quit) {
        if (sched->busy) {
            pthread_mutex_unlock(&sched->lock);
            run_one(sched);
            pthread_mutex_lock(&sched->lock);
        } else if (sched_may_look(sched) && sched->wanted != sched->looked) {
            sched_pick(sched);
        } else {
            sched_wait_for_work(sched);
        }
    }
    pthread_mutex_unlock(&sched->lock);
    return NULL;
}

int sched_open(const struct sched_setup *setup, struct sched **ret_sched, struct error *err)
{
    struct sched *sched = calloc(1, sizeof *sched);

    if (sched == NULL)
        return error_set(err, ERR_MEMORY, "no memory for the scheduler");
    sched->setup = *setup;
    snprintf(sched->snapshot.state, sizeof sched->snapshot.state, "idle");
    sched->snapshot.safe = true;
    pthread_mutex_init(&sched->lock, NULL);
    clock_host_cond_init(&sched->wake);
    int code = pthread_create(&sched->runner, NULL, runner_main, sched);
    if (code != 0) {
        pthread_cond_destroy(&sched->wake);
        pthread_mutex_destroy(&sched->lock);
        free(sched);
        return error_set_errno(err, code, "cannot start the runner thread");
    }
    *ret_sched = sched;
    return 0;
}

/* With the lock. An abort is never weakened to a stop, nor is what the next daemon would find in the store,
 * where it stands first: the runner may end at once. */
static void raise_command(struct sched *sched, int command)
{
    static const char *const words[] = {
        [RUN_STOP] = "", [RUN_ABORT] = RUN_WORD_ABORT, [RUN_ESTOP] = RUN_WORD_ESTOP
    };

    if (atomic_load(&sched->command) >= command)
        return;
    if (words[command] != NULL) /* RUN_HALT: it is to go on */
        recorder_hint_state(sched->setup.recorder, NULL, "stopping", words[command]);
    atomic_store(&sched->command, command);
}

static int command_run(struct sched *sched, int command, const char *state, struct error *err)
{
    char json[STATE_EVENT_MAX] = "";
    bool down = false;
    int code = 0;

    pthread_mutex_lock(&sched->lock);
    if (!sched->busy) {
        code = error_set(err, ERR_CONFLICT, "no run is under way");
    } else {
        raise_command(sched, command);
        if (command >= RUN_HALT) /* also of a runner that waits for room on the disk */
            recorder_refuse_waits(sched->setup.recorder, true);
        /* What is going down already is not cut: the outputs' read back would be lost. */
        down = strcmp(sched->snapshot.state, "powering_down") == 0;
        if (command >= RUN_HALT && sched->client != NULL && !down)
            bench_client_cancel(sched->client, true);
        /* Under the same lock: a word that comes as the run ends must not write over how it ended. */
        if (!down)
            write_state(sched, state, json);
    }
    pthread_mutex_unlock(&sched->lock);
    if (json[0] != '\0')
        events_post(sched->setup.events, "state", json);
    return code;
}

const struct sched_setup *sched_setup_of(const struct sched *sched)
{
    return &sched->setup;
}

bool sched_halt(struct sched *sched, int wait_ms)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += wait_ms / 1000;
    until.tv_nsec += wait_ms % 1000 * NS_PER_MS;
    if (until.tv_nsec >= NS_PER_S) {
        until.tv_sec++;
        until.tv_nsec -= NS_PER_S;
    }
    pthread_mutex_lock(&sched->lock);
    bool first = !sched->quit;
    sched->quit = true;
    pthread_cond_broadcast(&sched->wake);
    while (sched->picking)
        pthread_cond_wait(&sched->wake, &sched->lock);
    pthread_mutex_unlock(&sched->lock);
    if (first)
        (void)command_run(sched, RUN_HALT, "aborting", NULL);
    pthread_mutex_lock(&sched->lock);
    while (sched->busy && pthread_cond_timedwait(&sched->wake, &sched->lock, &until) != ETIMEDOUT)
        ;
    bool halted = !sched->busy;
    pthread_mutex_unlock(&sched->lock);
    return halted;
}

void sched_close(struct sched *sched)
{
    if (sched == NULL)
        return;
    while (!sched_halt(sched, 1000))
        ;
    pthread_join(sched->runner, NULL);
    pthread_cond_destroy(&sched->wake);
    pthread_mutex_destroy(&sched->lock);
    free(sched);
}

int sched_go_on(struct sched *sched, bool told, char ret_ulid[ULID_TEXT], struct error *err)
{
    const struct job_request bench = { .bench_file = sched->setup.bench_file,
                                       .profile = sched->setup.profile,
                                       .bench_path = sched->setup.bench_path };
    struct resume *resume = NULL;
    struct job job = { .plan = NULL };
    int command = RUN_GO, pause = RUN_PAUSE_GO;

    int code = resume_open(sched->setup.db_path, &resume, err);
    if (code == 0 && told)
        resume_words(&resume->run, &command, &pause);
    if (code == 0 && command == RUN_GO && pause == RUN_PAUSE_GO)
        code = sched_check_latch(sched, err);
    if (code == 0)
        code = resume_job(resume, &bench, &job, err);
    if (code == 0 && job.backend != CAMPAIGN_REFERENCE && sched->setup.bench == NULL)
        code = error_set(err, ERR_CONFLICT, "run %s needs a bench; this daemon has none", resume->run.ulid);
    pthread_mutex_lock(&sched->lock);
    while (sched->picking)
        pthread_cond_wait(&sched->wake, &sched->lock);
    if (code == 0)
        code = sched_check_free(sched, err);
    if (code == 0) {
        struct sched_run run = { .job = job, .resume = resume };
        resume_item(resume, &job, &run.item);
        memcpy(ret_ulid, run.item.ulid, ULID_TEXT);
        sched->stays[0] = '\0';
        sched_hand_over(sched, &run, "starting");
        atomic_store(&sched->command, command);
        atomic_store(&sched->pause, pause);
    }
    pthread_mutex_unlock(&sched->lock);
    if (code != 0) {
        job_close(&job);
        resume_close(resume);
        return code;
    }
    sched_set_state(sched, "starting");
    return 0;
}

int sched_pause(struct sched *sched, bool dark, struct error *err)
{
    int code = 0, word = dark ? RUN_PAUSE_DARK : RUN_PAUSE_LIT;

    pthread_mutex_lock(&sched->lock);
    if (!sched->busy)
        code = error_set(err, ERR_CONFLICT, "no run is under way");
    else if (atomic_load(&sched->command) != RUN_GO)
        code = error_set(err, ERR_CONFLICT, "run %s is ending: it cannot be paused", sched->run.item.ulid);
    pthread_mutex_unlock(&sched->lock);
    if (code != 0)
        return code;
    /* Recorded before the runner can have obeyed. */
    recorder_hint_state(sched->setup.recorder, "running", "pausing", dark ? "with the outputs off" : "");
    pthread_mutex_lock(&sched->lock);
    if (atomic_load(&sched->pause) < word) /* a hold is never weakened */
        atomic_store(&sched->pause, word);
    if (strcmp(sched->snapshot.state, "running") == 0)
        snprintf(sched->snapshot.state, sizeof sched->snapshot.state, "pausing");
    pthread_mutex_unlock(&sched->lock);
    return 0;
}

int sched_resume(struct sched *sched, char ret_ulid[ULID_TEXT], struct error *err)
{
    int code = sched_busy(sched) ? sched_check_latch(sched, err) : 0;

    if (code != 0) /* it would come up against it, and end */
        return code;
    pthread_mutex_lock(&sched->lock);
    bool busy = sched->busy;
    if (busy) {
        memcpy(ret_ulid, sched->run.item.ulid, ULID_TEXT);
        if (atomic_exchange(&sched->pause, RUN_PAUSE_GO) == RUN_PAUSE_GO)
            code = error_set(err, ERR_CONFLICT, "run %s is neither paused nor held", ret_ulid);
    }
    pthread_mutex_unlock(&sched->lock);
    if (busy && code == 0) /* before it had come to the pause */
        recorder_hint_state(sched->setup.recorder, "pausing", "running", "");
    return busy ? code : sched_go_on(sched, false, ret_ulid, err);
}

int sched_stop(struct sched *sched, struct error *err)
{
    return command_run(sched, RUN_STOP, "stopping", err);
}

int sched_abort(struct sched *sched, struct error *err)
{
    return command_run(sched, RUN_ABORT, "aborting", err);
}

int sched_estop(struct sched *sched, const char *who, struct error *err)
{
    int code = sched->setup.estop != NULL ? sched->setup.estop(sched->setup.keeper_context, who, err)
                                          : error_set(err, ERR_UNSUPPORTED, "this daemon has no bench");

    /* The outputs are off (or the keeper said why not); now the run has to end too, also after our death. */
    (void)command_run(sched, RUN_ESTOP, "aborting", NULL);
    if (code != ERR_UNSUPPORTED)
        tell_trip(sched, "", who);
    return code;
}

void sched_trip(struct sched *sched, const char *why)
{
    tell_trip(sched, "", why);
}

uint64_t sched_trips(const struct sched *sched)
{
    return atomic_load(&sched->trips);
}

bool sched_silence(struct sched *sched, int64_t *ret_silent_ns)
{
    if (pthread_mutex_trylock(&sched->lock) != 0)
        return false;
    *ret_silent_ns = sched->busy ? clock_host_now() - sched->snapshot.host_told_ns : 0;
    pthread_mutex_unlock(&sched->lock);
    return true;
}

int sched_borrow(struct sched *sched, struct error *err)
{
    pthread_mutex_lock(&sched->lock);
    while (sched->picking)
        pthread_cond_wait(&sched->wake, &sched->lock);
    int code = sched_check_free(sched, err);
    if (code == 0)
        sched->borrowed = true;
    pthread_mutex_unlock(&sched->lock);
    return code;
}

void sched_give_back(struct sched *sched)
{
    pthread_mutex_lock(&sched->lock);
    sched->borrowed = false;
    pthread_cond_broadcast(&sched->wake);
    pthread_mutex_unlock(&sched->lock);
}

bool sched_busy(struct sched *sched)
{
    pthread_mutex_lock(&sched->lock);
    bool busy = sched->busy;
    pthread_mutex_unlock(&sched->lock);
    return busy;
}

void sched_chip_serial(struct sched *sched, char *out, size_t size)
{
    pthread_mutex_lock(&sched->lock);
    snprintf(out, size, "%s", sched->snapshot.chip_serial);
    pthread_mutex_unlock(&sched->lock);
}

int sched_status(struct sched *sched, cJSON **ret, struct error *err)
{
    struct sched_snapshot snapshot;
    struct sched_queue queue;

    pthread_mutex_lock(&sched->lock);
    snapshot = sched->snapshot;
    sched_queue_known(sched, &queue);
    pthread_mutex_unlock(&sched->lock);
    return sched_snapshot_status(&snapshot, &sched->setup, &queue, ret, err);
}
