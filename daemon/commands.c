/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * commands: struct command, answered by scheduler, documents and store. Any thread.
 */
#include <stdio.h>
#include <string.h>

#include "daemon/ask.h"
#include "daemon/compare.h"
#include "daemon/daemon.h"
#include "daemon/documents.h"
#include "daemon/metrics.h"
#include "daemon/queue.h"
#include "db/answer.h"
#include "instruments/keeper_client.h"

static int command_status(void *context, cJSON **ret, struct error *err)
{
    struct daemon *daemon = context;

    return sched_status(daemon->sched, ret, err);
}

static int tree(cJSON *root, cJSON **ret, struct error *err)
{
    if (root == NULL)
        return error_set(err, ERR_MEMORY, "no memory for the document");
    *ret = root;
    return 0;
}

static int command_bench(void *context, cJSON **ret, struct error *err)
{
    struct daemon *daemon = context;

    return tree(documents_bench(daemon->bench_file, daemon->profile), ret, err);
}

static int command_chips(void *context, cJSON **ret, struct error *err)
{
    struct daemon *daemon = context;
    char serial[CAMPAIGN_NAME_MAX];

    sched_chip_serial(daemon->sched, serial, sizeof serial);
    return tree(documents_chips(daemon->profile, serial), ret, err);
}

static int command_campaigns(void *context, cJSON **ret, struct error *err)
{
    char installed[OPTIONS_PATH_MAX];

    (void)context;
    return documents_campaigns(text_find_file("configs/campaigns", installed, sizeof installed), ret, err);
}

static int check(struct daemon *daemon, const char *path, const char *text, bool with_plan, cJSON **ret,
                 struct error *err)
{
    struct job_request request = {
        .path = path,
        .text = text,
        .bench_file = daemon->bench_file,
        .profile = daemon->profile,
        .bench_path = daemon->options.bench_path,
    };

    return documents_check(&request, with_plan, ret, err);
}

static int command_check(void *context, const char *path, const char *text, cJSON **ret, struct error *err)
{
    return check(context, path, text, false, ret, err);
}

static int command_plan(void *context, const char *path, const char *text, cJSON **ret, struct error *err)
{
    return check(context, path, text, true, ret, err);
}

static int command_start(void *context, const struct command_start *start, cJSON **ret,
                         struct json_problems *problems, struct error *err)
{
    return queue_start_run(context, start, ret, problems, err);
}

static int command_queue(void *context, cJSON **ret, struct error *err)
{
    return queue_document(context, ret, err);
}

static int command_queue_entry(void *context, const char *run, cJSON **ret, struct error *err)
{
    return queue_entry_document(context, run, ret, err);
}

static int command_queue_edit(void *context, const char *run, const struct command_start *changes,
                              cJSON **ret, struct json_problems *problems, struct error *err)
{
    return queue_edit_entry(context, run, changes, ret, problems, err);
}

static int command_queue_move(void *context, const char *run, int place, cJSON **ret, struct error *err)
{
    return queue_move_entry(context, run, place, ret, err);
}

static int command_queue_remove(void *context, const char *run, cJSON **ret, struct error *err)
{
    return queue_remove_entry(context, run, ret, err);
}

static int command_queue_hold(void *context, const char *who, const char *reason, cJSON **ret,
                              struct error *err)
{
    return queue_hold_all(context, who, reason, ret, err);
}

static int command_queue_release(void *context, const char *who, cJSON **ret, struct error *err)
{
    (void)who; /* stands in the audit log */
    return queue_release_all(context, ret, err);
}

static int command_recall(void *context, const struct command_key *key, struct command_answer *ret,
                          struct error *err)
{
    struct daemon *daemon = context;
    struct answer answer;

    int code = answer_find(daemon->options.db_path, key->text, key->request, &answer, err);
    if (code != 1)
        return code;
    *ret = (struct command_answer){ .status = answer.status, .body = answer.body };
    snprintf(ret->location, sizeof ret->location, "%s", answer.location);
    return 1;
}

static int command_remember(void *context, const struct command_key *key, const struct command_answer *from,
                            struct error *err)
{
    struct daemon *daemon = context;
    struct answer answer = { .status = from->status, .body = from->body };

    snprintf(answer.key, sizeof answer.key, "%s", key->text);
    memcpy(answer.request, key->request, sizeof answer.request);
    snprintf(answer.location, sizeof answer.location, "%s", from->location);
    return answer_keep(daemon->recorder, &answer, err);
}

static int command_pause(void *context, bool dark, struct error *err)
{
    struct daemon *daemon = context;

    return sched_pause(daemon->sched, dark, err);
}

static int command_resume(void *context, char ret_ulid[ULID_TEXT], struct error *err)
{
    struct daemon *daemon = context;

    return sched_resume(daemon->sched, ret_ulid, err);
}

static int command_stop(void *context, struct error *err)
{
    struct daemon *daemon = context;

    return sched_stop(daemon->sched, err);
}

static int command_abort(void *context, struct error *err)
{
    struct daemon *daemon = context;

    return sched_abort(daemon->sched, err);
}

static int command_estop(void *context, const char *who, struct error *err)
{
    struct daemon *daemon = context;

    return sched_estop(daemon->sched, who, err);
}

static int command_clear(void *context, const char *who, const char *reason, struct error *err)
{
    struct daemon *daemon = context;
    char text[RECORD_TEXT_MAX];

    if (daemon->bench_file == NULL)
        return error_set(err, ERR_UNSUPPORTED, "this daemon has no bench");
    snprintf(text, sizeof text, "%.40s: %.200s", who, reason);
    int code = sched_check_clear(daemon->sched, err);
    if (code == 0)
        code = keeper_client_clear(daemon->keeper_path, text, err);
    if (code != 0)
        return code;
    struct record_event event = {
        .kind = "clear", .text = text, .time_ns = clock_now(daemon->clock), .wall_ns = clock_wall_now()
    };
    const struct record_sink *sink = recorder_sink(daemon->recorder);
    code = sink->event(sink->context, &event, err);
    queue_cleared(daemon);
    return code;
}

static int command_scan(void *context, cJSON **ret, struct error *err)
{
    return ask_scan(context, ret, err);
}

static int command_query(void *context, const char *instrument, const char *text, cJSON **ret,
                         struct error *err)
{
    return ask_query(context, instrument, text, ret, err);
}

static int command_report(void *context, const char *instrument, cJSON **ret, struct error *err)
{
    return ask_report(context, instrument, ret, err);
}

static int command_compare(void *context, const char *run_a, const char *run_b, cJSON **ret,
                           struct error *err)
{
    struct daemon *daemon = context;

    return compare_document(daemon->options.db_path, run_a, run_b, ret, err);
}

static int command_events(void *context, uint64_t after, struct daemon_event *out, int max)
{
    struct daemon *daemon = context;

    return events_read(daemon->events, after, out, max);
}

static int command_subscribe(void *context, void (*wake)(void *wake_context), void *wake_context)
{
    struct daemon *daemon = context;

    return events_subscribe(daemon->events, wake, wake_context);
}

static void command_unsubscribe(void *context, void *wake_context)
{
    struct daemon *daemon = context;

    events_unsubscribe(daemon->events, wake_context);
}

static void command_audit(void *context, const struct command_audit *entry)
{
    struct daemon *daemon = context;

    audit_post(daemon->audit, entry);
}

static int command_metrics(void *context, struct strbuf *out, struct error *err)
{
    return metrics_text(context, out, err);
}

void daemon_commands(struct daemon *daemon, struct command *ret_command)
{
    *ret_command = (struct command){
        .context = daemon,
        .status = command_status,
        .bench = command_bench,
        .chips = command_chips,
        .campaigns = command_campaigns,
        .check = command_check,
        .plan = command_plan,
        .start = command_start,
        .queue = command_queue,
        .queue_entry = command_queue_entry,
        .queue_edit = command_queue_edit,
        .queue_move = command_queue_move,
        .queue_remove = command_queue_remove,
        .queue_hold = command_queue_hold,
        .queue_release = command_queue_release,
        .recall = command_recall,
        .remember = command_remember,
        .pause = command_pause,
        .resume = command_resume,
        .stop = command_stop,
        .abort = command_abort,
        .estop = command_estop,
        .clear = command_clear,
        .scan = command_scan,
        .query = command_query,
        .report = command_report,
        .compare = command_compare,
        .events = command_events,
        .subscribe = command_subscribe,
        .unsubscribe = command_unsubscribe,
        .audit = command_audit,
        .metrics = command_metrics,
        .db_path = daemon->options.db_path,
    };
}
