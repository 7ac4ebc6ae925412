/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * upkeep: one thread that reads the store, and a ticker that looks at clocks and disk. */
#include "daemon/upkeep.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "daemon/base/json.h"
#include "daemon/base/log.h"
#include "daemon/base/ticker.h"
#include "db/check.h"

enum { LOOK_MS = 500, LOWEST_PRIORITY = 19, PATH_TEXT = 1024 };
#define PROMPT_NS (100 * NS_PER_MS)

struct upkeep {
    char db_path[PATH_TEXT];
    struct recorder *recorder;
    struct events *events;
    struct clock *clock;
    _Atomic uint64_t jumps;

    pthread_t checker;
    _Atomic bool stop; /* of the checker */

    struct ticker *looker;
    struct wall_watch watch; /* the looker's alone, as the next */
    enum recorder_condition told;
};

int64_t wall_watch_look(struct wall_watch *watch, int64_t host_ns, int64_t wall_ns)
{
    int64_t jump = watch->started ? wall_ns - watch->wall_ns - (host_ns - watch->host_ns) : 0;

    *watch = (struct wall_watch){ host_ns, wall_ns, true };
    return jump > UPKEEP_JUMP_NS || jump < -UPKEEP_JUMP_NS ? jump : 0;
}

static void record(struct upkeep *u, const char *kind, const char *text, const char *json)
{
    const struct record_sink *sink = recorder_sink(u->recorder);
    struct record_event event = {
        .kind = kind, .text = text, .json = json, .time_ns = clock_now(u->clock), .wall_ns = clock_wall_now()
    };
    struct error err;

    if (sink->event(sink->context, &event, &err) != 0)
        log_error("upkeep", &err);
}

static void mark_jump(struct upkeep *u, int64_t jump_ns)
{
    char text[96], json[128];
    double jump_s = (double)jump_ns / 1e9;

    atomic_fetch_add(&u->jumps, 1);
    snprintf(text, sizeof text, "the wall clock has jumped by %+.3f s", jump_s);
    snprintf(json, sizeof json, "{\"jump_s\":%.3f,\"host_ns\":\"%" PRId64 "\"}", jump_s, clock_host_now());
    log_warning("%s", text);
    record(u, "clock", text, json);
}

static void tell_condition(struct upkeep *u, const struct recorder_health *health)
{
    cJSON *json = cJSON_CreateObject();

    cJSON_AddStringToObject(json, "store", recorder_condition_name(health->condition));
    cJSON_AddStringToObject(json, "text", health->text);
    char *text = json != NULL ? json_print(json, false) : NULL;
    if (text != NULL)
        events_post(u->events, "log", text);
    cJSON_free(text);
    cJSON_Delete(json);
}

static void look(void *context)
{
    struct upkeep *u = context;
    struct recorder_health health;
    int64_t host_ns = clock_host_now(), wall_ns = clock_wall_now();
    /* Who was held up between the two clocks would see a jump that was none: the next look tells. */
    bool prompt = clock_host_now() - host_ns < PROMPT_NS;
    int64_t jump = prompt ? wall_watch_look(&u->watch, host_ns, wall_ns) : 0;

    recorder_health(u->recorder, &health);
    if (health.condition != u->told)
        tell_condition(u, &health);
    u->told = health.condition;
    if (jump != 0)
        mark_jump(u, jump);
}

static void *check_main(void *context)
{
    struct upkeep *u = context;
    int64_t begin = clock_host_now();
    struct error err;

    setpriority(PRIO_PROCESS, (id_t)gettid(), LOWEST_PRIORITY); /* of this thread alone */
    int code = check_store(u->db_path, &u->stop, &err);
    if (code == 0) {
        log_info("the store is sound: read whole in %.1f s", (double)(clock_host_now() - begin) / 1e9);
    } else if (code != ERR_CANCELLED) {
        log_error("checking the store", &err);
        record(u, "integrity", err.message, NULL);
    }
    return NULL;
}

static int start(struct upkeep *u, struct error *err)
{
    int code = ticker_start("the upkeep", LOOK_MS * NS_PER_MS, look, u, &u->looker, err);
    if (code != 0)
        return code;
    int failure = pthread_create(&u->checker, NULL, check_main, u);
    if (failure != 0) {
        ticker_stop(u->looker);
        return error_set_errno(err, failure, "cannot start the thread that checks the store");
    }
    return 0;
}

int upkeep_open(const char *db_path, struct recorder *recorder, struct events *events, struct clock *clock,
                struct upkeep **ret_upkeep, struct error *err)
{
    struct upkeep *u = calloc(1, sizeof *u);

    if (u == NULL)
        return error_set(err, ERR_MEMORY, "no memory for the upkeep of the store");
    snprintf(u->db_path, sizeof u->db_path, "%s", db_path);
    u->recorder = recorder;
    u->told = RECORDER_FINE;
    u->events = events;
    u->clock = clock;
    int code = start(u, err);
    if (code != 0) {
        free(u);
        return code;
    }
    *ret_upkeep = u;
    return 0;
}

uint64_t upkeep_jumps(const struct upkeep *u)
{
    return atomic_load(&u->jumps);
}

void upkeep_close(struct upkeep *u)
{
    if (u == NULL)
        return;
    recorder_refuse_waits(u->recorder, true); /* a full disk does not hold the daemon's end */
    u->stop = true;
    ticker_stop(u->looker);
    pthread_join(u->checker, NULL);
    free(u);
}
