/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * sched: the runner thread of one bench and the snapshot of its run.
 */
#include "daemon/sched.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/build.h"
#include "daemon/base/hash.h"
#include "daemon/base/log.h"
#include "daemon/job.h"
#include "daemon/resume.h"
#include "daemon/sched_snapshot.h"

enum { KEYS_KEPT = 64, KEY_MAX = 80 };

struct accepted_key {
    char key[KEY_MAX], ulid[ULID_TEXT];
    uint8_t request[SHA256_BYTES]; /* what was asked under this key */
};

struct sched {
    struct sched_setup setup;
    pthread_t runner;
    _Atomic int command; /* enum run_command, read by the runner inside run_execute */
    _Atomic int pause;   /* enum run_pause */
    _Atomic uint64_t trips;

    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t wake;
    bool quit, busy, borrowed;
    struct job job;        /* accepted, owned by the runner while busy */
    struct resume *resume; /* as job; NULL: a new run */
    char operator_name[64], tags[128], ulid[ULID_TEXT];
    struct bench_client *client; /* of the run under way, for cancel */
    struct sched_snapshot snapshot;
    struct accepted_key keys[KEYS_KEPT]; /* ring */
    unsigned next_key;
};

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

static void set_state(struct sched *sched, const char *state)
{
    char json[128];

    pthread_mutex_lock(&sched->lock);
    snprintf(sched->snapshot.state, sizeof sched->snapshot.state, "%s", state);
    snprintf(json, sizeof json, "{\"state\":\"%s\",\"run\":\"%s\"}", state, sched->snapshot.ulid);
    pthread_mutex_unlock(&sched->lock);
    events_post(sched->setup.events, "state", json);
}

/* Runner's thread. Copies what it is told into the snapshot and tells the streams. */
static void on_progress(void *context, const struct run_progress *progress)
{
    struct sched *sched = context;
    char json[SCHED_EVENT_MAX];

    pthread_mutex_lock(&sched->lock);
    bool new_state = sched_snapshot_take(&sched->snapshot, progress);
    pthread_mutex_unlock(&sched->lock);
    sched_snapshot_event(&sched->snapshot, progress, json, sizeof json); /* the runner alone changes these */
    events_post(sched->setup.events, progress->cell >= 0 ? "point" : new_state ? "state" : "progress", json);
}

/* A run that was accepted and cannot start leaves a record all the same, with the reason. */
static int not_started(const struct run_context *context, const struct error *why)
{
    struct error err = { .code = 0 };

    if (run_record_failure(context, why, &err) != 0)
        log_error("record of a run that could not start", &err);
    return why->code;
}

static int execute(struct sched *sched, struct run_result *ret_result, struct error *err)
{
    const struct sched_setup *setup = &sched->setup;
    struct clock_actor *actor = NULL;
    struct bench_client *client = NULL;
    bool on_bench = sched->job.backend != CAMPAIGN_REFERENCE;

    int code = clock_actor_open(setup->clock, "runner", CLOCK_RANK_RUNNER, &actor, err);
    struct run_context context = {
        .plan = sched->job.plan,
        .bench_file = sched->job.bench_file,
        .profile = sched->job.profile,
        .assets = sched->job.assets,
        .backend = sched->job.backend,
        .seed = sched->job.seed,
        .clock = setup->clock,
        .actor = actor,
        .bench = on_bench ? setup->bench : NULL,
        .sink = recorder_sink(setup->recorder),
        .command = &sched->command,
        .pause = &sched->pause,
        .progress = on_progress,
        .progress_context = sched,
        .ulid = sched->ulid,
        .operator_name = sched->operator_name,
        .tags = sched->tags,
        .build = build_revision,
        .bench_json = sched->job.bench_file->json,
        .chip_json = "",
        .history = sched->resume != NULL ? &sched->resume->history : NULL,
    };

    if (code != 0)
        return not_started(&context, err);
    if (on_bench)
        code = bench_client_open(setup->bench, actor, &client, err);
    if (code != 0) {
        clock_actor_close(actor);
        return not_started(&context, err);
    }
    context.client = client;
    pthread_mutex_lock(&sched->lock);
    sched->client = client;
    pthread_mutex_unlock(&sched->lock);
    code = run_execute(&context, ret_result, err);
    pthread_mutex_lock(&sched->lock);
    sched->client = NULL;
    pthread_mutex_unlock(&sched->lock);
    bench_client_close(client);
    clock_actor_close(actor);
    return code;
}

static void run_one(struct sched *sched)
{
    struct run_result result = { .state = "failed", .safe = false };
    struct error err = { .code = 0 };
    char json[256];

    log_set_run(sched->ulid);
    int code = execute(sched, &result, &err);
    if (code != 0)
        log_error("run ended", &err);
    log_set_run("");
    if (strcmp(result.state, "tripped") == 0)
        tell_trip(sched, sched->ulid, err.message);

    pthread_mutex_lock(&sched->lock);
    struct sched_snapshot *s = &sched->snapshot;
    snprintf(s->state, sizeof s->state, "%s", result.state);
    s->message[0] = '\0';
    if (code != 0)
        error_describe(&err, s->message, sizeof s->message);
    if (result.chip_serial[0] != '\0')
        snprintf(s->chip_serial, sizeof s->chip_serial, "%s", result.chip_serial);
    s->code = code;
    s->safe = result.safe;
    s->eta_s = 0;
    s->elapsed_s = result.duration_s;
    job_close(&sched->job);
    resume_close(sched->resume);
    sched->resume = NULL;
    sched->busy = false;
    snprintf(json, sizeof json, "{\"state\":\"%s\",\"run\":\"%s\",\"end\":true,\"code\":\"%s\",\"safe\":%s}",
             result.state, s->ulid, code != 0 ? error_name(code) : "", result.safe ? "true" : "false");
    pthread_cond_broadcast(&sched->wake);
    pthread_mutex_unlock(&sched->lock);
    events_post(sched->setup.events, "state", json);
}

static void *runner_main(void *context)
{
    struct sched *sched = context;

    pthread_mutex_lock(&sched->lock);
    while (sched->busy || !sched->quit) {
        if (!sched->busy) {
            pthread_cond_wait(&sched->wake, &sched->lock);
            continue;
        }
        pthread_mutex_unlock(&sched->lock);
        run_one(sched);
        pthread_mutex_lock(&sched->lock);
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
    pthread_cond_init(&sched->wake, NULL);
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

static int command_run(struct sched *sched, int command, const char *state, struct error *err)
{
    bool down = false;
    int code = 0;

    pthread_mutex_lock(&sched->lock);
    if (!sched->busy) {
        code = error_set(err, ERR_CONFLICT, "no run is under way");
    } else {
        /* An abort is never weakened to a stop. */
        if (atomic_load(&sched->command) < command)
            atomic_store(&sched->command, command);
        if (command >= RUN_ABORT) /* also of a runner that waits for room on the disk */
            recorder_refuse_waits(sched->setup.recorder, true);
        /* What is going down already is not cut: the outputs' read back would be lost. */
        down = strcmp(sched->snapshot.state, "powering_down") == 0;
        if (command >= RUN_ABORT && sched->client != NULL && !down)
            bench_client_cancel(sched->client, true);
    }
    pthread_mutex_unlock(&sched->lock);
    if (code == 0 && !down)
        set_state(sched, state);
    return code;
}

void sched_halt(struct sched *sched)
{
    pthread_mutex_lock(&sched->lock);
    sched->quit = true;
    pthread_cond_broadcast(&sched->wake);
    pthread_mutex_unlock(&sched->lock);
    (void)command_run(sched, RUN_HALT, "aborting", NULL);
    pthread_mutex_lock(&sched->lock);
    while (sched->busy)
        pthread_cond_wait(&sched->wake, &sched->lock);
    pthread_mutex_unlock(&sched->lock);
}

void sched_close(struct sched *sched)
{
    if (sched == NULL)
        return;
    sched_halt(sched);
    pthread_join(sched->runner, NULL);
    pthread_cond_destroy(&sched->wake);
    pthread_mutex_destroy(&sched->lock);
    free(sched);
}

static void hash_request(const struct command_start *start, uint8_t out[SHA256_BYTES])
{
    const char *const parts[] = { start->campaign_path, start->campaign_json, start->backend,
                                  start->operator_name, start->tags,          start->note };
    struct sha256_ctx hash;

    sha256_init(&hash);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        const char *part = parts[i] != NULL ? parts[i] : "";
        sha256_update(&hash, part, strlen(part) + 1);
    }
    sha256_update(&hash, &start->seed, sizeof start->seed);
    sha256_final(&hash, out);
}

/* With the lock held: 1 and the run that this key was answered with; 0 when the key is new; ERR_CONFLICT when
 * it stands for another request. */
static int find_key(const struct sched *sched, const struct command_start *start, char ret_ulid[ULID_TEXT],
                    struct error *err)
{
    const char *key = start->idempotency_key;
    uint8_t request[SHA256_BYTES];

    if (key == NULL || key[0] == '\0')
        return 0;
    hash_request(start, request);
    for (int i = 0; i < KEYS_KEPT; i++) {
        if (strcmp(sched->keys[i].key, key) != 0)
            continue;
        if (memcmp(sched->keys[i].request, request, sizeof request) != 0)
            return error_set(err, ERR_CONFLICT,
                             "this Idempotency-Key has started run %s with another request; use a fresh key",
                             sched->keys[i].ulid);
        memcpy(ret_ulid, sched->keys[i].ulid, ULID_TEXT);
        return 1;
    }
    return 0;
}

static int backend_from_name(const char *name, int *ret_backend, struct error *err)
{
    if (name == NULL || strcmp(name, "chip") == 0)
        *ret_backend = CAMPAIGN_CHIP;
    else if (strcmp(name, "reference") == 0)
        *ret_backend = CAMPAIGN_REFERENCE;
    else
        return error_set(err, ERR_INVALID, "/backend: '%s' is not a back end; choose chip or reference",
                         name);
    return 0;
}

/* With the lock held and nothing running: hands the job, under sched->ulid, to the runner. */
static void hand_over(struct sched *sched, struct job *job, struct resume *resume)
{
    struct sched_snapshot fresh = { .points_total = job->plan->cell_count,
                                    .samples_total = job->plan->sample_count,
                                    .eta_s = job->plan->duration_s,
                                    .step_count = job->plan->step_count,
                                    .host_begin_ns = clock_host_now(),
                                    .host_told_ns = clock_host_now() };

    snprintf(fresh.state, sizeof fresh.state, "starting");
    snprintf(fresh.ulid, sizeof fresh.ulid, "%s", sched->ulid);
    snprintf(fresh.campaign, sizeof fresh.campaign, "%s", job->campaign->name);
    snprintf(fresh.chip_serial, sizeof fresh.chip_serial, "%s", sched->snapshot.chip_serial);
    snprintf(fresh.backend, sizeof fresh.backend, "%s",
             job->backend == CAMPAIGN_REFERENCE ? "reference" : "chip");
    sched->snapshot = fresh;
    sched->job = *job;
    sched->resume = resume;
    sched->busy = true;
    atomic_store(&sched->command, RUN_GO);
    atomic_store(&sched->pause, RUN_PAUSE_GO);
    recorder_refuse_waits(sched->setup.recorder, false);
    pthread_cond_broadcast(&sched->wake);
}

/* With the lock held and nothing running. */
static void accept_job(struct sched *sched, struct job *job, const struct command_start *start)
{
    text_ulid(sched->ulid);
    snprintf(sched->operator_name, sizeof sched->operator_name, "%s",
             start->operator_name != NULL ? start->operator_name : "");
    snprintf(sched->tags, sizeof sched->tags, "%s", start->tags != NULL ? start->tags : "");
    if (start->idempotency_key != NULL && start->idempotency_key[0] != '\0') {
        struct accepted_key *key = &sched->keys[sched->next_key++ % KEYS_KEPT];
        snprintf(key->key, sizeof key->key, "%s", start->idempotency_key);
        snprintf(key->ulid, sizeof key->ulid, "%s", sched->ulid);
        hash_request(start, key->request);
    }
    hand_over(sched, job, NULL);
}

/* With the lock held: ERR_CONFLICT while there is a run, or the bench is borrowed. */
static int check_free(const struct sched *sched, struct error *err)
{
    if (sched->borrowed)
        return error_set(err, ERR_CONFLICT, "somebody is asking the instruments: try again in a moment");
    if (!sched->busy && !sched->quit)
        return 0;
    return error_set(err, ERR_CONFLICT,
                     "run %s is under way; wait for it (nightbench watch) or stop it first", sched->ulid);
}

int sched_start(struct sched *sched, const struct command_start *start, char ret_ulid[ULID_TEXT],
                struct error *err)
{
    struct json_problems *problems = calloc(1, sizeof *problems);
    struct job job = { .plan = NULL };
    struct job_request request = {
        .path = start->campaign_path,
        .text = start->campaign_json,
        .seed = start->seed,
        .bench_file = sched->setup.bench_file,
        .profile = sched->setup.profile,
        .bench_path = sched->setup.bench_path,
    };
    int code = problems == NULL ? error_set(err, ERR_MEMORY, "no memory to check the campaign") : 0;
    int known = 0;

    if (code == 0)
        code = backend_from_name(start->backend, &request.backend, err);
    if (code == 0 && request.backend != CAMPAIGN_REFERENCE && sched->setup.bench == NULL)
        code = error_set(err, ERR_CONFLICT,
                         "this daemon has no bench (--no-bench): only backend 'reference' can run");
    if (code == 0 && start->idempotency_key != NULL && strlen(start->idempotency_key) >= KEY_MAX)
        code = error_set(err, ERR_INVALID, "Idempotency-Key is longer than %d characters", KEY_MAX - 1);
    if (code == 0) {
        pthread_mutex_lock(&sched->lock);
        known = find_key(sched, start, ret_ulid, err);
        pthread_mutex_unlock(&sched->lock);
        code = known < 0 ? known : 0;
        if (known != 0)
            goto done;
        code = job_open(&request, &job, problems, err);
    }
    if (code != 0)
        goto done;
    pthread_mutex_lock(&sched->lock);
    known = find_key(sched, start, ret_ulid, err); /* the same request may have come twice at once */
    if (known != 0) {
        code = known < 0 ? known : 0;
    } else if ((code = check_free(sched, err)) == 0) {
        accept_job(sched, &job, start);
        memcpy(ret_ulid, sched->ulid, ULID_TEXT);
    }
    pthread_mutex_unlock(&sched->lock);
    if (code != 0 || known != 0)
        job_close(&job);
    else
        set_state(sched, "starting");
done:
    free(problems);
    return code;
}

int sched_resume_interrupted(struct sched *sched, char ret_ulid[ULID_TEXT], struct error *err)
{
    const struct job_request bench = { .bench_file = sched->setup.bench_file,
                                       .profile = sched->setup.profile,
                                       .bench_path = sched->setup.bench_path };
    struct resume *resume = NULL;
    struct job job = { .plan = NULL };

    int code = resume_open(sched->setup.db_path, &resume, err);
    if (code == 0)
        code = resume_job(resume, &bench, &job, err);
    if (code == 0 && job.backend != CAMPAIGN_REFERENCE && sched->setup.bench == NULL)
        code = error_set(err, ERR_CONFLICT, "run %s needs a bench; this daemon has none", resume->run.ulid);
    pthread_mutex_lock(&sched->lock);
    if (code == 0)
        code = check_free(sched, err);
    if (code == 0) {
        snprintf(sched->ulid, sizeof sched->ulid, "%s", resume->run.ulid);
        snprintf(sched->operator_name, sizeof sched->operator_name, "%s", resume->run.operator_name);
        snprintf(sched->tags, sizeof sched->tags, "%s", resume->run.tags);
        memcpy(ret_ulid, sched->ulid, ULID_TEXT);
        hand_over(sched, &job, resume);
    }
    pthread_mutex_unlock(&sched->lock);
    if (code != 0) {
        job_close(&job);
        resume_close(resume);
        return code;
    }
    set_state(sched, "starting");
    return 0;
}

int sched_pause(struct sched *sched, bool dark, struct error *err)
{
    int code = 0, word = dark ? RUN_PAUSE_DARK : RUN_PAUSE_LIT;

    pthread_mutex_lock(&sched->lock);
    if (!sched->busy)
        code = error_set(err, ERR_CONFLICT, "no run is under way");
    else if (atomic_load(&sched->command) != RUN_GO)
        code = error_set(err, ERR_CONFLICT, "run %s is ending: it cannot be paused", sched->ulid);
    else if (atomic_load(&sched->pause) < word) /* a hold is never weakened */
        atomic_store(&sched->pause, word);
    pthread_mutex_unlock(&sched->lock);
    return code;
}

int sched_resume(struct sched *sched, char ret_ulid[ULID_TEXT], struct error *err)
{
    int code = 0;

    pthread_mutex_lock(&sched->lock);
    bool busy = sched->busy;
    if (busy) {
        memcpy(ret_ulid, sched->ulid, ULID_TEXT);
        if (atomic_exchange(&sched->pause, RUN_PAUSE_GO) == RUN_PAUSE_GO)
            code = error_set(err, ERR_CONFLICT, "run %s is neither paused nor held", sched->ulid);
    }
    pthread_mutex_unlock(&sched->lock);
    return busy ? code : sched_resume_interrupted(sched, ret_ulid, err);
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
    int code = sched->setup.estop != NULL ? sched->setup.estop(sched->setup.estop_context, who, err)
                                          : error_set(err, ERR_UNSUPPORTED, "this daemon has no bench");

    /* The outputs are off (or the keeper said why not); now the run has to end too. */
    (void)command_run(sched, RUN_ESTOP, "aborting", NULL);
    if (code != ERR_UNSUPPORTED)
        tell_trip(sched, "", who);
    return code;
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
    int code = check_free(sched, err);
    if (code == 0)
        sched->borrowed = true;
    pthread_mutex_unlock(&sched->lock);
    return code;
}

void sched_give_back(struct sched *sched)
{
    pthread_mutex_lock(&sched->lock);
    sched->borrowed = false;
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

    pthread_mutex_lock(&sched->lock);
    snapshot = sched->snapshot;
    bool busy = sched->busy;
    pthread_mutex_unlock(&sched->lock);
    return sched_snapshot_status(&snapshot, &sched->setup, busy, ret, err);
}
