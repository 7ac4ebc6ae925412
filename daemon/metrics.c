/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * metrics: one line per quantity, read from the same snapshot as the status.
 */
#include "daemon/metrics.h"

#include <string.h>

#include "daemon/base/build.h"
#include "daemon/health.h"
#include "daemon/upkeep.h"

static void head(struct strbuf *out, const char *name, const char *kind, const char *help)
{
    strbuf_add(out, "# HELP nightbench_%s %s\n# TYPE nightbench_%s %s\n", name, help, name, kind);
}

static void value(struct strbuf *out, const char *name, const char *kind, const char *help, double number)
{
    char text[40];

    head(out, name, kind, help);
    strbuf_add(out, "nightbench_%s %s\n", name, text_number(number, text, sizeof text));
}

/* A label's value: what would end it is escaped. */
static void label(struct strbuf *out, const char *text)
{
    for (const char *c = text; *c != '\0'; c++) {
        if (*c == '\\' || *c == '"')
            strbuf_add(out, "\\%c", *c);
        else if (*c == '\n')
            strbuf_add(out, "\\n");
        else
            strbuf_bytes(out, c, 1);
    }
}

static double number_of(const cJSON *tree, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(tree, name);

    return cJSON_IsNumber(item) ? item->valuedouble : cJSON_IsTrue(item) ? 1 : 0;
}

static const char *text_of(const cJSON *tree, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(tree, name);

    return cJSON_IsString(item) ? item->valuestring : "";
}

static void add_run(struct strbuf *out, const cJSON *status)
{
    static const struct {
        const char *name, *member, *help;
    } rows[] = {
        { "run_points_done", "points_done", "Points of the present or last run that are done." },
        { "run_points", "points_total", "Points of the present or last run." },
        { "run_samples_done", "samples_done", "Samples of the present or last run that are done." },
        { "run_samples", "samples_total", "Samples of the present or last run." },
        { "run_retries", "retries", "Attempts of the present or last run beyond the first of each point." },
        { "run_elapsed_seconds", "elapsed_s", "Bench time since the run began." },
        { "run_remaining_seconds", "eta_s", "Bench time until the run ends, estimated." },
    };
    const cJSON *progress = cJSON_GetObjectItemCaseSensitive(status, "progress");

    head(out, "run_state", "gauge", "1 for the state that the bench is in.");
    strbuf_add(out, "nightbench_run_state{state=\"");
    label(out, text_of(status, "state"));
    strbuf_add(out, "\"} 1\n");
    value(out, "run_busy", "gauge", "1 while a run is accepted or under way.", number_of(status, "busy"));
    value(out, "outputs_safe", "gauge", "1 when the last run has read back every output as off.",
          number_of(status, "safe"));
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        value(out, rows[i].name, "gauge", rows[i].help, number_of(progress, rows[i].member));
}

static void add_store(struct strbuf *out, struct recorder *recorder)
{
    struct recorder_health health;

    recorder_health(recorder, &health);
    value(out, "recorder_queue_entries", "gauge", "Records that are not on disk yet.",
          (double)recorder_backlog(recorder));
    value(out, "store_condition", "gauge",
          "0 fine, 1 little room, 2 recording waits, 3 recording has failed.", health.condition);
    value(out, "store_free_bytes", "gauge", "Room on the disk of the store.", (double)health.free_bytes);
    value(out, "store_wal_bytes", "gauge", "Size of the store's write-ahead log.", (double)health.wal_bytes);
}

static void port_rows(struct strbuf *out, const cJSON *ports, const char *name, const char *member,
                      const char *kind, const char *help)
{
    char text[40];
    const cJSON *port;

    head(out, name, kind, help);
    cJSON_ArrayForEach(port, ports)
    {
        if (cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(port, member)))
            continue; /* it has never answered */
        strbuf_add(out, "nightbench_%s{port=\"", name);
        label(out, text_of(port, "instrument"));
        strbuf_add(out, "\"} %s\n", text_number(number_of(port, member), text, sizeof text));
    }
}

static void add_ports(struct strbuf *out, const cJSON *ports)
{
    static const struct {
        const char *name, *member, *kind, *help;
    } rows[] = {
        { "port_connected", "connected", "gauge", "1 while the link to the instrument stands." },
        { "port_busy_seconds", "busy_s", "gauge",
          "For how long the port has been at its present request; 0: idle." },
        { "port_answer_age_seconds", "answer_age_s", "gauge", "Since the instrument last answered well." },
        { "port_requests_total", "requests", "counter", "Requests that have ended." },
        { "port_connects_total", "connects", "counter", "Connections that were made." },
    };
    const cJSON *port, *failure;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        port_rows(out, ports, rows[i].name, rows[i].member, rows[i].kind, rows[i].help);
    head(out, "port_failures_total", "counter", "Requests that failed, by kind of error.");
    cJSON_ArrayForEach(port, ports)
    {
        cJSON_ArrayForEach(failure, cJSON_GetObjectItemCaseSensitive(port, "failures"))
        {
            strbuf_add(out, "nightbench_port_failures_total{port=\"");
            label(out, text_of(port, "instrument"));
            strbuf_add(out, "\",class=\"%s\"} %.0f\n", failure->string, failure->valuedouble);
        }
    }
}

/* A keeper that does not answer is an answer, too. */
static void add_bench(struct strbuf *out, const struct daemon *daemon)
{
    struct health health = { .ports = NULL };
    int64_t beat_ns = atomic_load(&daemon->beat_ns);

    bool up =
        health_read(daemon->bench, daemon->keeper != NULL ? daemon->keeper_path : NULL, &health, NULL) == 0 &&
        daemon->keeper != NULL;
    value(out, "keeper_up", "gauge", "1 when the keeper answers.", up);
    value(out, "keeper_latched", "gauge", "1 while an emergency stop or a trip waits for a person.",
          health.latched);
    value(out, "keeper_generation", "gauge", "How often the keeper died and was replaced.",
          health.generation);
    value(out, "keeper_armed_steps", "gauge", "Outputs that the keeper would switch off now.", health.armed);
    value(out, "keeper_beat_age_seconds", "gauge", "Since the keeper was last told that this daemon lives.",
          beat_ns != 0 ? (double)(clock_host_now() - beat_ns) * 1e-9 : 0.0);
    value(out, "trips_total", "counter", "Emergency stops, and runs that a trip has ended.",
          (double)sched_trips(daemon->sched));
    add_ports(out, health.ports);
    health_free(&health);
}

int metrics_text(struct daemon *daemon, struct strbuf *out, struct error *err)
{
    struct webhook_counts hooks = { 0 };
    cJSON *status;

    int code = sched_status(daemon->sched, &status, err);
    if (code != 0)
        return code;
    head(out, "build_info", "gauge", "1, with the revision and compiler of this build.");
    strbuf_add(out, "nightbench_build_info{revision=\"");
    label(out, build_revision);
    strbuf_add(out, "\",compiler=\"");
    label(out, build_compiler);
    strbuf_add(out, "\"} 1\n");
    add_run(out, status);
    cJSON_Delete(status);
    add_store(out, daemon->recorder);
    add_bench(out, daemon);
    int64_t silent_ns = 0;
    (void)sched_silence(daemon->sched, &silent_ns); /* where its lock is taken it has just moved */
    value(out, "run_silent_seconds", "gauge", "Since the runner last told anything; 0 while nothing runs.",
          (double)silent_ns * 1e-9);
    value(out, "clock_jumps_total", "counter", "Jumps of the wall clock by more than a second.",
          (double)upkeep_jumps(daemon->upkeep));
    value(out, "audit_dropped_total", "counter", "Commands that are in the log but not in the store.",
          (double)audit_dropped(daemon->audit));
    if (daemon->webhook != NULL)
        hooks = webhook_counts(daemon->webhook);
    value(out, "webhook_sent_total", "counter", "Webhook messages that were delivered.", (double)hooks.sent);
    value(out, "webhook_lost_total", "counter", "Webhook messages that were given up or found no room.",
          (double)(hooks.failed + hooks.dropped));
    return 0;
}
