/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * safe_report: from the keeper to the store. */
#include "daemon/safe_report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/json.h"
#include "daemon/base/text.h"
#include "instruments/keeper_client.h"

enum { MARK_MAX = 1024 };

static const char *text_of(const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    return cJSON_IsString(item) ? item->valuestring : "";
}

/* An orderly power-down by a run, all confirmed, stands in that run's own records. */
static bool is_routine(const cJSON *report)
{
    const cJSON *missed = cJSON_GetObjectItemCaseSensitive(report, "missed");
    return strcmp(text_of(report, "reason"), "asked for by a client") == 0 && cJSON_IsNumber(missed) &&
           missed->valuedouble == 0;
}

static bool is_marked(const char *mark_path, const char *mark)
{
    char *text = NULL;
    if (text_read_file(mark_path, MARK_MAX, &text, NULL, NULL))
        return false;
    bool same = strcmp(text, mark) == 0;
    free(text);
    return same;
}

static int write_event(const cJSON *report, const struct record_sink *sink, struct clock *clock,
                       struct error *err)
{
    char text[RECORD_TEXT_MAX];
    const cJSON *missed = cJSON_GetObjectItemCaseSensitive(report, "missed");
    double misses = cJSON_IsNumber(missed) ? missed->valuedouble : 0;
    snprintf(text, sizeof text, "%s: the keeper took the safe state: %.120s; %g outputs did not confirm",
             text_of(report, "time"), text_of(report, "reason"), misses);
    char *json = json_print(report, false);
    struct record_event event = {
        .kind = "safe", .text = text, .json = json, .time_ns = clock_now(clock), .wall_ns = clock_wall_now()
    };
    int code = sink->event(sink->context, &event, err);
    if (code == 0)
        code = sink->ack(sink->context, err);
    free(json);
    return code;
}

int safe_report_record(const char *keeper_path, const char *mark_path, const char *db_path,
                       const struct record_sink *sink, struct clock *clock, struct error *err)
{
    char *status = NULL, mark[MARK_MAX];
    cJSON *root = NULL;
    int code = keeper_client_status(keeper_path, &status, err);
    if (code == 0)
        code = json_parse(status, strlen(status), &root, err);
    free(status);
    if (code != 0)
        return code;
    const cJSON *report = cJSON_GetObjectItemCaseSensitive(root, "last_safe");
    snprintf(mark, sizeof mark, "%.40s %.900s\n", text_of(report, "time"), db_path);
    if (cJSON_IsObject(report) && !is_routine(report) && !is_marked(mark_path, mark)) {
        code = write_event(report, sink, clock, err);
        if (code == 0)
            code = text_write_file(mark_path, mark, strlen(mark), err);
    }
    cJSON_Delete(root);
    return code;
}
