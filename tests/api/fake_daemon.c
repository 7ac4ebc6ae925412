/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * fake_daemon: the real HTTP server and the real store behind a daemon that owns no bench: its "run" counts
 * points in a thread. Serves the tests of the API and of the command line, and nothing else.
 *
 *   fake_daemon --db FILE --socket PATH [--port N] [--deadline SECONDS] [--point-ms N] [--no-run]
 *               [--tokens FILE] [--tls-cert FILE --tls-key FILE]
 *
 * The READY line ends with a token of role admin. Commands that were given are printed as they are recorded.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "daemon/events.h"
#include "db/recorder.h"
#include "web/http.h"

enum { POINTS = 20, SAMPLES = 8, KEYS = 16 };

struct fake {
    pthread_mutex_t lock;
    struct events *events;
    bool busy, stop, paused;
    int done, starts, point_ms;
    char state[24], ulid[ULID_TEXT];
    int keys;
    struct command_key key[KEYS];
    struct command_answer answer[KEYS]; /* texts owned */
    char held[64];                      /* why the queue is held; "": it is not */
    bool waits;                         /* one entry */
    pthread_t runner;
    bool runner_made;
};

static int fake_status(void *context, cJSON **ret, struct error *err)
{
    struct fake *fake = context;
    cJSON *root = cJSON_CreateObject();

    (void)err;
    pthread_mutex_lock(&fake->lock);
    cJSON_AddStringToObject(root, "state", fake->state);
    cJSON_AddBoolToObject(root, "busy", fake->busy);
    cJSON_AddStringToObject(root, "run", fake->ulid);
    cJSON_AddStringToObject(root, "campaign", "fake");
    cJSON_AddStringToObject(root, "backend", "chip");
    cJSON_AddStringToObject(root, "chip_serial", "W1-0-0");
    cJSON_AddStringToObject(root, "bench", "fake-bench");
    cJSON_AddBoolToObject(root, "simulated", true);
    cJSON_AddStringToObject(root, "clock", "real");
    cJSON_AddStringToObject(root, "build", "test");
    json_add_int64(root, "time_ns", clock_host_now());
    cJSON *progress = cJSON_AddObjectToObject(root, "progress");
    cJSON_AddStringToObject(progress, "kind", "sweep");
    cJSON_AddStringToObject(progress, "name", "counting");
    json_add_number(progress, "step", 0);
    json_add_number(progress, "steps", 1);
    json_add_number(progress, "point", fake->done);
    json_add_number(progress, "points", POINTS);
    json_add_number(progress, "points_done", fake->done);
    json_add_number(progress, "points_total", POINTS);
    json_add_number(progress, "samples_done", 0);
    json_add_number(progress, "samples_total", 0);
    json_add_number(progress, "retries", 0);
    json_add_number(progress, "elapsed_s", 0);
    json_add_number(progress, "eta_s", 0);
    cJSON_AddStringToObject(root, "message", "");
    cJSON_AddStringToObject(root, "code", "");
    cJSON_AddBoolToObject(root, "safe", !fake->busy);
    json_add_int64(root, "last_event", (int64_t)events_last(fake->events));
    pthread_mutex_unlock(&fake->lock);
    *ret = root;
    return 0;
}

static int fake_bench(void *context, cJSON **ret, struct error *err)
{
    static const char text[] = "{\"name\":\"fake-bench\",\"path\":\"none\",\"socket\":\"S1\",\"simulated\":"
                               "true,\"instruments\":[{\"name\":"
                               "\"psu1\",\"class\":\"psu\",\"driver\":\"scpi\",\"dialect\":\"x\","
                               "\"resource\":\"sim:\",\"vendor\":\"V\",\"model\":"
                               "\"M\",\"serial\":\"any\",\"energises\":true}],\"rails\":[{\"name\":\"VDDD\","
                               "\"channel\":\"psu1.1\",\"nominal_v\":0.8,"
                               "\"min_v\":0.6,\"max_v\":0.9,\"abs_max_v\":1.05,\"limit_a\":0.2}]}";

    (void)context;
    return json_parse(text, sizeof text - 1, ret, err);
}

static int fake_chips(void *context, cJSON **ret, struct error *err)
{
    static const char text[] =
        "[{\"type\":\"fake\",\"revision\":1,\"profile_hash\":\"00\",\"serial\":\"W1-0-0\",\"cores\":6,"
        "\"rows\":256,\"columns\":64}]";

    (void)context;
    return json_parse(text, sizeof text - 1, ret, err);
}

static int fake_campaigns(void *context, cJSON **ret, struct error *err)
{
    static const char text[] =
        "[{\"path\":\"configs/campaigns/fake.json\",\"name\":\"fake\",\"title\":\"Fake\",\"bench\":"
        "\"fake-bench\",\"steps\":1},{\"path\":\"configs/campaigns/bad.json\",\"error\":\"1:2: no\"}]";

    (void)context;
    return json_parse(text, sizeof text - 1, ret, err);
}

/* A campaign is valid here when it has a name. */
static int fake_check(void *context, const char *path, const char *text, cJSON **ret, struct error *err)
{
    static const char good[] = "{\"ok\":true}";
    static const char bad[] =
        "{\"ok\":false,\"problem_count\":1,\"problems\":[{\"pointer\":\"/name\",\"reason\":\"is "
        "missing\",\"hint\":\"add it\"}]}";
    bool ok = path != NULL || strstr(text, "\"name\"") != NULL;

    (void)context;
    return json_parse(ok ? good : bad, strlen(ok ? good : bad), ret, err);
}

static int fake_plan(void *context, const char *path, const char *text, cJSON **ret, struct error *err)
{
    static const char good[] = "{\"ok\":true,\"hash\":\"ab\",\"steps\":[{\"index\":0,\"kind\":\"sweep\","
                               "\"name\":\"counting\",\"points\":20,"
                               "\"skipped\":0,\"duration_s\":2.5,\"bytes\":1000}],\"points\":20,\"samples\":"
                               "160,\"duration_s\":2.5,\"bytes\":1000,"
                               "\"setpoints\":[]}";
    bool ok = path != NULL || strstr(text, "\"name\"") != NULL;

    return ok ? json_parse(good, sizeof good - 1, ret, err) : fake_check(context, path, text, ret, err);
}

static void post(struct fake *fake, const char *kind, const char *state, bool end)
{
    char json[512];

    pthread_mutex_lock(&fake->lock);
    snprintf(json, sizeof json,
             "{\"run\":\"%s\",\"state\":\"%s\",\"step\":0,\"steps\":1,\"kind\":\"sweep\",\"name\":"
             "\"counting\",\"points_done\":%d,"
             "\"points_total\":%d,\"samples_done\":0,\"samples_total\":0,\"elapsed_s\":0,\"eta_s\":0,"
             "\"cell\":%d,\"verdict\":"
             "\"pass\",\"row\":\"row %d\",\"end\":%s}",
             fake->ulid, state, fake->done, POINTS, fake->done, fake->done, end ? "true" : "false");
    pthread_mutex_unlock(&fake->lock);
    events_post(fake->events, kind, json);
}

static void *run_main(void *context)
{
    struct fake *fake = context;
    bool stopped = false;

    for (int i = 0; i < POINTS && !stopped; i++) {
        usleep((useconds_t)fake->point_ms * 1000);
        for (int n = 0; n < 10; n++)
            post(fake, "progress", "running", false);
        pthread_mutex_lock(&fake->lock);
        fake->done = i + 1;
        while (fake->paused && !fake->stop) {
            pthread_mutex_unlock(&fake->lock);
            usleep(1000);
            pthread_mutex_lock(&fake->lock);
        }
        stopped = fake->stop;
        pthread_mutex_unlock(&fake->lock);
        post(fake, "point", "running", false);
    }
    pthread_mutex_lock(&fake->lock);
    fake->busy = false;
    snprintf(fake->state, sizeof fake->state, "%s", stopped ? "aborted" : "completed");
    pthread_mutex_unlock(&fake->lock);
    post(fake, "state", stopped ? "aborted" : "completed", true);
    return NULL;
}

static cJSON *fake_entry(const char *ulid, int place, const char *state)
{
    cJSON *entry = cJSON_CreateObject();

    cJSON_AddStringToObject(entry, "run", ulid);
    cJSON_AddStringToObject(entry, "campaign", "fake");
    json_add_number(entry, "place", place);
    json_add_number(entry, "priority", 0);
    cJSON_AddStringToObject(entry, "backend", "chip");
    cJSON_AddStringToObject(entry, "seed", "0");
    cJSON_AddStringToObject(entry, "operator", "");
    cJSON_AddStringToObject(entry, "tags", "");
    cJSON_AddStringToObject(entry, "note", "");
    json_add_number(entry, "duration_s", 2.5);
    cJSON_AddStringToObject(entry, "added", "2026-01-31T18:00:00.123Z");
    cJSON_AddNullToObject(entry, "not_before");
    cJSON_AddNullToObject(entry, "until");
    cJSON_AddNullToObject(entry, "expected_start");
    if (state != NULL) {
        cJSON_AddStringToObject(entry, "state", state);
        cJSON_AddStringToObject(entry, "waits", "");
    }
    return entry;
}

/* One run at a time; a second one waits, but is never begun. A campaign is valid here when it has a name. */
static int fake_start(void *context, const struct command_start *start, cJSON **ret,
                      struct json_problems *problems, struct error *err)
{
    struct fake *fake = context;
    char ulid[ULID_TEXT];

    if (start->campaign_json != NULL && strstr(start->campaign_json, "\"name\"") == NULL) {
        struct json_at at = { .problems = problems, .pointer = "/campaign/name" };
        json_problem(&at, "add it", "is missing");
    }
    if (problems->count > 0)
        return json_problems_error(problems, "request", err);
    pthread_mutex_lock(&fake->lock);
    bool busy = fake->busy;
    int rc = busy && start->now ? error_set(err, ERR_CONFLICT, "run %s is under way", fake->ulid) : 0;
    text_ulid(ulid);
    if (rc == 0 && busy)
        fake->waits = true;
    if (rc == 0 && !busy) {
        if (fake->runner_made)
            pthread_join(fake->runner, NULL);
        memcpy(fake->ulid, ulid, sizeof ulid);
        fake->busy = true;
        fake->stop = fake->paused = false;
        fake->done = 0;
        fake->starts++;
        snprintf(fake->state, sizeof fake->state, "running");
        fake->runner_made = pthread_create(&fake->runner, NULL, run_main, fake) == 0;
    }
    pthread_mutex_unlock(&fake->lock);
    if (rc == 0)
        *ret = fake_entry(ulid, busy, busy ? "queued" : "started");
    return rc;
}

static int fake_queue(void *context, cJSON **ret, struct error *err)
{
    struct fake *fake = context;
    cJSON *root = cJSON_CreateObject();

    (void)err;
    pthread_mutex_lock(&fake->lock);
    if (fake->held[0] != '\0') {
        cJSON *held = cJSON_AddObjectToObject(root, "held");
        cJSON_AddStringToObject(held, "reason", fake->held);
        cJSON_AddNullToObject(held, "since");
    } else {
        cJSON_AddNullToObject(root, "held");
    }
    cJSON *entries = cJSON_AddArrayToObject(root, "entries");
    if (fake->waits)
        cJSON_AddItemToArray(entries, fake_entry("01HX00000000000000000000QA", 1, NULL));
    pthread_mutex_unlock(&fake->lock);
    *ret = root;
    return 0;
}

static int fake_queue_entry(void *context, const char *run, cJSON **ret, struct error *err)
{
    (void)context;
    if (strcmp(run, "none") == 0)
        return error_set(err, ERR_NOT_FOUND, "none does not wait in the queue");
    *ret = fake_entry("01HX00000000000000000000QA", 1, "queued");
    cJSON_AddObjectToObject(*ret, "document");
    return 0;
}

static int fake_queue_edit(void *context, const char *run, const struct command_start *changes, cJSON **ret,
                           struct json_problems *problems, struct error *err)
{
    (void)context, (void)run, (void)changes;
    if (problems->count > 0)
        return json_problems_error(problems, "request", err);
    *ret = fake_entry("01HX00000000000000000000QA", 1, "queued");
    return 0;
}

static int fake_queue_move(void *context, const char *run, int place, cJSON **ret, struct error *err)
{
    (void)context, (void)run, (void)err;
    *ret = fake_entry("01HX00000000000000000000QA", place, "queued");
    return 0;
}

static int fake_queue_remove(void *context, const char *run, cJSON **ret, struct error *err)
{
    (void)context, (void)run, (void)err;
    *ret = fake_entry("01HX00000000000000000000QA", 0, "removed");
    return 0;
}

static int fake_queue_hold(void *context, const char *who, const char *reason, cJSON **ret, struct error *err)
{
    struct fake *fake = context;

    pthread_mutex_lock(&fake->lock);
    snprintf(fake->held, sizeof fake->held, "%.20s: %.40s", who, reason);
    pthread_mutex_unlock(&fake->lock);
    return fake_queue(context, ret, err);
}

static int fake_queue_release(void *context, const char *who, cJSON **ret, struct error *err)
{
    struct fake *fake = context;

    (void)who;
    pthread_mutex_lock(&fake->lock);
    fake->held[0] = '\0';
    pthread_mutex_unlock(&fake->lock);
    return fake_queue(context, ret, err);
}

static int fake_recall(void *context, const struct command_key *key, struct command_answer *ret,
                       struct error *err)
{
    struct fake *fake = context;
    int rc = 0;

    pthread_mutex_lock(&fake->lock);
    for (int i = 0; i < fake->keys && i < KEYS && rc == 0; i++) {
        if (strcmp(fake->key[i].text, key->text) != 0)
            continue;
        rc = 1;
        *ret = fake->answer[i];
        ret->body = strdup(ret->body);
        if (memcmp(fake->key[i].request, key->request, sizeof key->request) != 0) {
            free(ret->body);
            rc = error_set(err, ERR_CONFLICT, "this Idempotency-Key has come with another request");
        }
    }
    pthread_mutex_unlock(&fake->lock);
    return rc;
}

static int fake_remember(void *context, const struct command_key *key, const struct command_answer *answer,
                         struct error *err)
{
    struct fake *fake = context;

    (void)err;
    pthread_mutex_lock(&fake->lock);
    int slot = fake->keys++ % KEYS;
    free((void *)(uintptr_t)fake->key[slot].text);
    free(fake->answer[slot].body);
    fake->key[slot] = *key;
    fake->key[slot].text = strdup(key->text);
    fake->answer[slot] = *answer;
    fake->answer[slot].body = strdup(answer->body);
    pthread_mutex_unlock(&fake->lock);
    return 0;
}

static int fake_stop(void *context, struct error *err)
{
    struct fake *fake = context;

    pthread_mutex_lock(&fake->lock);
    int rc = fake->busy ? 0 : error_set(err, ERR_CONFLICT, "no run is under way");
    fake->stop = true;
    pthread_mutex_unlock(&fake->lock);
    return rc;
}

static int fake_pause(void *context, bool dark, struct error *err)
{
    struct fake *fake = context;

    (void)dark;
    pthread_mutex_lock(&fake->lock);
    bool busy = fake->busy;
    fake->paused = busy;
    pthread_mutex_unlock(&fake->lock);
    return busy ? 0 : error_set(err, ERR_CONFLICT, "no run is under way");
}

static int fake_resume(void *context, char ret_ulid[ULID_TEXT], struct error *err)
{
    struct fake *fake = context;

    pthread_mutex_lock(&fake->lock);
    bool paused = fake->paused;
    fake->paused = false;
    if (paused)
        memcpy(ret_ulid, fake->ulid, ULID_TEXT);
    pthread_mutex_unlock(&fake->lock);
    return paused ? 0 : error_set(err, ERR_CONFLICT, "no run is paused");
}

static int fake_estop(void *context, const char *who, struct error *err)
{
    (void)who;
    (void)fake_stop(context, NULL);
    (void)err;
    return 0;
}

static int fake_clear(void *context, const char *who, const char *reason, struct error *err)
{
    (void)context;
    (void)who;
    (void)reason;
    (void)err;
    return 0;
}

static int fake_compare(void *context, const char *run_a, const char *run_b, cJSON **ret, struct error *err)
{
    cJSON *root;

    (void)context;
    (void)err;
    root = cJSON_CreateObject();
    cJSON_AddStringToObject(root, "a", run_a);
    cJSON_AddStringToObject(root, "b", run_b);
    cJSON_AddArrayToObject(root, "cells");
    cJSON_AddNullToObject(root, "first_difference");
    *ret = root;
    return 0;
}

static cJSON *fake_row(const char *name)
{
    cJSON *row = cJSON_CreateObject();

    cJSON_AddStringToObject(row, "name", name);
    cJSON_AddStringToObject(row, "resource", "tcp:127.0.0.1:1");
    cJSON_AddBoolToObject(row, "answers", true);
    cJSON_AddBoolToObject(row, "matches", true);
    for (int i = 0; i < 2; i++) {
        cJSON *identity = cJSON_AddObjectToObject(row, i == 0 ? "expected" : "found");
        cJSON_AddStringToObject(identity, "vendor", "maker");
        cJSON_AddStringToObject(identity, "model", "M1");
        cJSON_AddStringToObject(identity, "serial", i == 0 ? "any" : "7");
        if (i == 1)
            cJSON_AddStringToObject(identity, "firmware", "1.0");
    }
    cJSON_AddStringToObject(row, "error", "");
    return row;
}

static int fake_scan(void *context, cJSON **ret, struct error *err)
{
    (void)context, (void)err;
    *ret = cJSON_CreateArray();
    cJSON_AddItemToArray(*ret, fake_row("psu1"));
    return 0;
}

/* Answers with what it was asked; an instrument of the name "none" is not there. */
static int fake_query(void *context, const char *instrument, const char *text, cJSON **ret, struct error *err)
{
    (void)context;
    if (strcmp(instrument, "none") == 0)
        return error_set(err, ERR_NOT_FOUND, "no instrument 'none'");
    *ret = cJSON_CreateObject();
    cJSON_AddStringToObject(*ret, "instrument", instrument);
    cJSON_AddStringToObject(*ret, "command", text);
    cJSON_AddStringToObject(*ret, "answer", text);
    return 0;
}

static int fake_report(void *context, const char *instrument, cJSON **ret, struct error *err)
{
    (void)context, (void)err;
    *ret = fake_row(instrument);
    cJSON_AddArrayToObject(*ret, "channels");
    return 0;
}

static int fake_events(void *context, uint64_t after, struct daemon_event *out, int max)
{
    struct fake *fake = context;

    return events_read(fake->events, after, out, max);
}

static int fake_subscribe(void *context, void (*wake)(void *), void *wake_context)
{
    struct fake *fake = context;

    return events_subscribe(fake->events, wake, wake_context);
}

static void fake_unsubscribe(void *context, void *wake_context)
{
    struct fake *fake = context;

    events_unsubscribe(fake->events, wake_context);
}

static void fake_audit(void *context, const struct command_audit *audit)
{
    (void)context;
    printf("AUDIT %s %s %s %d %s\n", audit->user, audit->role, audit->action, audit->status, audit->subject);
    fflush(stdout);
}

static int fake_metrics(void *context, struct strbuf *out, struct error *err)
{
    (void)context, (void)err;
    strbuf_add(out, "# TYPE nightbench_fake gauge\nnightbench_fake 1\n");
    return 0;
}

/* ---- A small recorded run, through the real recorder. ---- */

static int record_point(const struct record_sink *sink, int cell, struct error *err)
{
    struct record_sample samples[SAMPLES];
    char axes[64], identity[32];
    double bits = 8 + cell;
    int rc;

    snprintf(axes, sizeof axes, "{\"adc_bits\":%g}", bits);
    snprintf(identity, sizeof identity, "cell%d", cell);
    struct record_cell row = {
        .step = 0, .index = cell, .axes_json = axes, .identity = identity, .repeat = 1
    };
    struct record_attempt attempt = {
        .step = 0, .cell = cell, .attempt = 1, .message = "", .time_ns = 1000 * cell
    };
    for (int i = 0; i < SAMPLES; i++)
        samples[i] = (struct record_sample){ .sample = i,
                                             .label = (int16_t)(i % 2),
                                             .prediction = (int16_t)(i % 3 == 0),
                                             .output = { i, -i, 0, 0 },
                                             .cycles = 100 };
    struct record_samples batch = { .cell = cell, .attempt = 1, .count = SAMPLES, .sample = samples };
    struct record_reading reading = { .cell = cell,
                                      .attempt = 1,
                                      .channel = "accuracy",
                                      .instrument = "",
                                      .reading = {
                                          .value = 0.5 + 0.1 * cell, .uncertainty = 0.01, .range = 1.0 } };
    if ((rc = sink->cell(sink->context, &row, err)) != 0 ||
        (rc = sink->attempt(sink->context, &attempt, err)) != 0 ||
        (rc = sink->samples(sink->context, &batch, err)) != 0 ||
        (rc = sink->reading(sink->context, &reading, err)) != 0)
        return rc;
    attempt.end = true;
    attempt.verdict = cell == 0 ? VERDICT_FAIL : VERDICT_PASS;
    return sink->attempt(sink->context, &attempt, err);
}

static int record_details(const struct record_sink *sink, struct error *err)
{
    static const int8_t codes[6] = { 1, -2, 3, -4, 5, -6 };
    const double coefficients[2] = { 0.5, 1.01 };
    int64_t times[16], id;
    float values[16];
    int rc;

    for (int i = 0; i < 16; i++) {
        times[i] = 1000 * i;
        values[i] = 0.8F + 0.001F * (float)i;
    }
    struct record_tensor tensor = { .attempt = 1,
                                    .sample = 0,
                                    .layer = 0,
                                    .kind = TENSOR_CODE,
                                    .layer_name = "conv1",
                                    .shape = { 6, 1, 1 },
                                    .type_bits = 8,
                                    .data = codes,
                                    .bytes = sizeof codes };
    struct record_calibration calibration = { .key = "die/0/adc/0",
                                              .kind = "adc",
                                              .instrument_chain = "src1,dmm1",
                                              .coefficient = coefficients,
                                              .coefficient_count = 2,
                                              .raw_json = "[]",
                                              .validity_s = 3600,
                                              .time_ns = 500 };
    struct record_trace trace = {
        .channel = "rail.vddd.voltage", .unit = UNIT_VOLT, .time_ns = times, .value = values, .count = 16
    };
    struct record_event event = { .kind = "report",
                                  .text = "ADC   gain  accuracy\n8 bit 4x    0.5",
                                  .time_ns = 9000 };
    if ((rc = sink->tensor(sink->context, &tensor, err)) != 0 ||
        (rc = sink->calibration(sink->context, &calibration, &id, err)) != 0 ||
        (rc = sink->trace(sink->context, &trace, err)) != 0)
        return rc;
    return sink->event(sink->context, &event, err);
}

static int record_run(const char *db_path, struct error *err)
{
    struct record_step step = { .kind = "sweep", .name = "counting" };
    struct recorder *recorder;
    char ulid[ULID_TEXT];
    int64_t id;

    int rc = recorder_open(db_path, &recorder, err);
    if (rc != 0)
        return rc;
    const struct record_sink *sink = recorder_sink(recorder);
    text_ulid(ulid);
    struct record_run run = { .ulid = ulid,
                              .campaign = "fake",
                              .plan_hash = "ab",
                              .bench = "fake-bench",
                              .socket = "S1",
                              .chip_serial = "W1-0-0",
                              .chip_type = "fake",
                              .operator_name = "",
                              .backend = "chip",
                              .build = "test",
                              .network_hash = "",
                              .mapping_hash = "",
                              .dataset_hash = "",
                              .plan_json = "{}",
                              .bench_json = "{}",
                              .chip_json = "{}",
                              .tags = "",
                              .seed = 7,
                              .simulated = true,
                              .wall_ns = clock_wall_now() };
    rc = sink->run_begin(sink->context, &run, &id, err);
    if (rc == 0)
        rc = sink->step(sink->context, &step, err);
    for (int cell = 0; rc == 0 && cell < 3; cell++)
        rc = record_point(sink, cell, err);
    if (rc == 0)
        rc = record_details(sink, err);
    step.end = true;
    if (rc == 0)
        rc = sink->step(sink->context, &step, err);
    if (rc == 0)
        rc = sink->run_end(sink->context, "done", 0, "", 10000, err);
    int closed = recorder_close(recorder, rc == 0 ? err : NULL);
    return rc != 0 ? rc : closed;
}

static const char *option(int argc, char **argv, const char *name)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return i + 1 < argc ? argv[i + 1] : "";
    return NULL;
}

int main(int argc, char **argv)
{
    struct fake *fake = calloc(1, sizeof *fake);
    const char *db = option(argc, argv, "--db"), *socket = option(argc, argv, "--socket"),
               *port = option(argc, argv, "--port");
    const char *deadline = option(argc, argv, "--deadline"), *point_ms = option(argc, argv, "--point-ms");
    struct error err = { 0 };
    struct web *web;
    sigset_t set;
    int signal_number;

    if (fake == NULL || db == NULL || socket == NULL)
        return 2;
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    pthread_mutex_init(&fake->lock, NULL);
    log_init("fake_daemon", LOG_WARNING);
    fake->events = events_open();
    fake->point_ms = point_ms != NULL ? atoi(point_ms) : 10;
    snprintf(fake->state, sizeof fake->state, "idle");
    struct command command = { .context = fake,
                               .status = fake_status,
                               .bench = fake_bench,
                               .chips = fake_chips,
                               .campaigns = fake_campaigns,
                               .check = fake_check,
                               .plan = fake_plan,
                               .start = fake_start,
                               .queue = fake_queue,
                               .queue_entry = fake_queue_entry,
                               .queue_edit = fake_queue_edit,
                               .queue_move = fake_queue_move,
                               .queue_remove = fake_queue_remove,
                               .queue_hold = fake_queue_hold,
                               .queue_release = fake_queue_release,
                               .recall = fake_recall,
                               .remember = fake_remember,
                               .pause = fake_pause,
                               .resume = fake_resume,
                               .stop = fake_stop,
                               .abort = fake_stop,
                               .estop = fake_estop,
                               .clear = fake_clear,
                               .scan = fake_scan,
                               .query = fake_query,
                               .report = fake_report,
                               .compare = fake_compare,
                               .events = fake_events,
                               .subscribe = fake_subscribe,
                               .unsubscribe = fake_unsubscribe,
                               .audit = fake_audit,
                               .metrics = fake_metrics,
                               .db_path = db };
    char token[AUTH_SECRET_TEXT];
    struct web_options options = { .port = port != NULL ? atoi(port) : 0,
                                   .socket_path = socket,
                                   .command = &command,
                                   .db_path = db,
                                   .tls_cert_path = option(argc, argv, "--tls-cert"),
                                   .tls_key_path = option(argc, argv, "--tls-key"),
                                   .request_deadline_s = deadline != NULL ? atof(deadline) : 0 };
    int rc = option(argc, argv, "--no-run") == NULL ? record_run(db, &err) : 0;
    if (rc == 0)
        rc = auth_open(option(argc, argv, "--tokens"), &options.auth, &err);
    if (rc == 0)
        rc = auth_add(options.auth, "test", ROLE_ADMIN, 1, token, &err);
    if (rc == 0)
        rc = web_open(&options, &web, &err);
    if (rc != 0) {
        fprintf(stderr, "fake_daemon: %s\n", err.message);
        return 1;
    }
    printf("READY http=127.0.0.1:%d socket=%s token=%s\n", web_port(web), socket, token);
    fflush(stdout);
    sigwait(&set, &signal_number);
    (void)fake_stop(fake, NULL);
    if (fake->runner_made)
        pthread_join(fake->runner, NULL);
    web_close(web);
    auth_close(options.auth);
    events_close(fake->events);
    for (int i = 0; i < KEYS; i++) {
        free((void *)(uintptr_t)fake->key[i].text);
        free(fake->answer[i].body);
    }
    free(fake);
    return 0;
}
