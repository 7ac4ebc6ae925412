/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * metrics: one line per quantity, read from the same snapshot as the status.
 */
#include "daemon/metrics.h"

#include <string.h>

#include "daemon/base/build.h"

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

int metrics_text(struct daemon *daemon, struct strbuf *out, struct error *err)
{
    struct webhook_counts hooks = { 0 };
    int64_t beat_ns = atomic_load(&daemon->beat_ns);
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
    value(out, "recorder_queue_entries", "gauge", "Records that are not on disk yet.",
          (double)recorder_backlog(daemon->recorder));
    if (beat_ns != 0) /* none without a bench */
        value(out, "keeper_beat_age_seconds", "gauge",
              "Since the keeper was last told that this daemon lives.",
              (double)(clock_host_now() - beat_ns) * 1e-9);
    value(out, "audit_dropped_total", "counter", "Commands that are in the log but not in the store.",
          (double)audit_dropped(daemon->audit));
    if (daemon->webhook != NULL)
        hooks = webhook_counts(daemon->webhook);
    value(out, "webhook_sent_total", "counter", "Webhook messages that were delivered.", (double)hooks.sent);
    value(out, "webhook_lost_total", "counter", "Webhook messages that were given up or found no room.",
          (double)(hooks.failed + hooks.dropped));
    return 0;
}
