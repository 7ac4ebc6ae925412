/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * queue: entries from requests, and documents about them. */
#include "daemon/queue.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/log.h"
#include "daemon/base/walltime.h"
#include "daemon/queued.h"
#include "db/queue.h"

enum { PRIORITY_NOW = QUEUE_PRIORITY_MAX + 1, EDIT_TRIES = 8 };

/* ---- What is told ---- */

static void add_time(cJSON *object, const char *key, int64_t wall_ns)
{
    char text[40];

    if (wall_ns != 0)
        cJSON_AddStringToObject(object, key, text_time(wall_ns, text, sizeof text));
    else
        cJSON_AddNullToObject(object, key);
}

static cJSON *entry_of(const struct queue_item *item, int place, int64_t expected_ns)
{
    cJSON *entry = cJSON_CreateObject();
    char seed[24];

    cJSON_AddStringToObject(entry, "run", item->ulid);
    cJSON_AddStringToObject(entry, "campaign", item->campaign);
    json_add_number(entry, "place", place);
    json_add_number(entry, "priority", item->priority);
    cJSON_AddStringToObject(entry, "backend", item->backend);
    snprintf(seed, sizeof seed, "%llu", (unsigned long long)item->seed);
    cJSON_AddStringToObject(entry, "seed", seed);
    cJSON_AddStringToObject(entry, "operator", item->operator_name);
    cJSON_AddStringToObject(entry, "tags", item->tags);
    cJSON_AddStringToObject(entry, "note", item->note);
    json_add_number(entry, "duration_s", item->duration_s);
    add_time(entry, "added", item->added_ns);
    add_time(entry, "not_before", item->not_before_ns);
    add_time(entry, "until", item->until_ns);
    add_time(entry, "expected_start", expected_ns);
    return entry;
}

/* The whole queue with when each is likely to begin; free(). The scheduler and the streams are told, too. */
static int read_queue(struct daemon *daemon, struct queue_list **ret_list, int64_t *expected_ns,
                      struct error *err)
{
    struct queue_list *list = calloc(1, sizeof *list);
    struct sched_queue known;

    if (list == NULL)
        return error_set(err, ERR_MEMORY, "no memory for the queue");
    int code = queue_read(daemon->options.db_path, list, err);
    if (code != 0) {
        free(list);
        return code;
    }
    sched_tell_queue(daemon->sched, list->count, list->reason);
    sched_queue(daemon->sched, &known);
    if (!list->held && known.reason[0] != '\0') {
        list->held = true;
        snprintf(list->reason, sizeof list->reason, "%s", known.reason);
    }
    double pace = clock_is_virtual(daemon->clock) ? 0.0 : 1.0;
    queue_order_expect(list->item, list->count, clock_wall_now() + (int64_t)(known.eta_s * pace * NS_PER_S),
                       pace, expected_ns);
    for (int i = 0; list->held && i < list->count; i++)
        expected_ns[i] = 0; /* nobody knows */
    *ret_list = list;
    return 0;
}

int queue_document(struct daemon *daemon, cJSON **ret, struct error *err)
{
    int64_t expected_ns[QUEUE_MAX];
    struct queue_list *list;

    int code = read_queue(daemon, &list, expected_ns, err);
    if (code != 0)
        return code;
    cJSON *root = cJSON_CreateObject();
    cJSON *held = list->held ? cJSON_AddObjectToObject(root, "held") : cJSON_AddNullToObject(root, "held");
    if (list->held) {
        cJSON_AddStringToObject(held, "reason", list->reason);
        add_time(held, "since", list->held_ns);
    }
    cJSON *entries = cJSON_AddArrayToObject(root, "entries");
    for (int i = 0; i < list->count; i++)
        cJSON_AddItemToArray(entries, entry_of(&list->item[i], i + 1, expected_ns[i]));
    free(list);
    if (entries == NULL) {
        cJSON_Delete(root);
        return error_set(err, ERR_MEMORY, "no memory for the queue");
    }
    *ret = root;
    return 0;
}

/* The entry as it stands in the queue now; place 0 when it is no longer there. */
static int entry_in_queue(struct daemon *daemon, const struct queue_item *item, cJSON **ret,
                          struct error *err)
{
    int64_t expected_ns[QUEUE_MAX];
    struct queue_list *list;
    int index = -1;

    int code = read_queue(daemon, &list, expected_ns, err);
    if (code != 0)
        return code;
    for (int i = 0; i < list->count; i++)
        if (strcmp(list->item[i].ulid, item->ulid) == 0)
            index = i;
    cJSON *entry =
        entry_of(index >= 0 ? &list->item[index] : item, index + 1, index >= 0 ? expected_ns[index] : 0);
    cJSON_AddStringToObject(entry, "state", index >= 0 ? "queued" : "started");
    cJSON_AddStringToObject(entry, "waits", index >= 0 ? list->reason : "");
    free(list);
    *ret = entry;
    return 0;
}

static void tell_streams(struct daemon *daemon, const char *what, const char *run)
{
    char json[128];

    snprintf(json, sizeof json, "{\"changed\":\"%s\",\"run\":\"%s\"}", what, run);
    events_post(daemon->events, "queue", json);
}

int queue_entry_document(struct daemon *daemon, const char *run, cJSON **ret, struct error *err)
{
    struct queue_item item;
    char *text = NULL;
    cJSON *campaign = NULL;

    int code = queue_find(daemon->options.db_path, run, &item, &text, err);
    if (code == 0)
        code = json_parse(text, strlen(text), &campaign, err);
    if (code == 0)
        code = entry_in_queue(daemon, &item, ret, err);
    if (code == 0)
        cJSON_AddItemToObject(*ret, "document", campaign);
    else
        cJSON_Delete(campaign);
    free(text);
    return code;
}

/* ---- What is asked for ---- */

static void problem(struct json_problems *problems, const char *pointer, const char *hint, const char *reason)
{
    struct json_at at = { .problems = problems };

    snprintf(at.pointer, sizeof at.pointer, "%s", pointer);
    json_problem(&at, hint, "%.230s", reason);
}

static void take_word(char *out, size_t size, const char *word)
{
    if (word != NULL)
        snprintf(out, size, "%s", word);
}

static void take_time(const char *text, const char *pointer, int64_t after_ns, int64_t *time_ns,
                      struct json_problems *problems)
{
    struct error why;

    if (text == NULL)
        return;
    if (text[0] == '\0')
        *time_ns = 0;
    else if (walltime_parse(text, after_ns, time_ns, &why) != 0)
        problem(problems, pointer, "07:30", why.message);
}

/* The earliest moment at which it may begin. */
static int64_t begin_of(const struct queue_item *item)
{
    int64_t now_ns = clock_wall_now();

    return item->not_before_ns > now_ns ? item->not_before_ns : now_ns;
}

/* Puts what the request says over what the item has. Mistakes become problems. */
static void take_request(const struct command_start *start, struct queue_item *item,
                         struct json_problems *problems)
{
    int64_t now_ns = clock_wall_now();
    struct error why;
    int backend;

    take_word(item->operator_name, sizeof item->operator_name, start->operator_name);
    take_word(item->tags, sizeof item->tags, start->tags);
    take_word(item->note, sizeof item->note, start->note);
    if (start->backend != NULL) {
        if (queued_backend(start->backend, &backend, &why) != 0)
            problem(problems, "/backend", "chip", why.message);
        snprintf(item->backend, sizeof item->backend, "%s", start->backend);
    }
    if (start->seed != NULL)
        item->seed = *start->seed;
    if (start->priority != NULL)
        item->priority = *start->priority;
    take_time(start->not_before, "/not_before", now_ns, &item->not_before_ns, problems);
    /* The next 07:30 is the one after the run may begin. */
    int64_t from_ns = begin_of(item);
    take_time(start->until, "/until", from_ns, &item->until_ns, problems);
    if (item->until_ns != 0 && item->until_ns <= from_ns)
        problem(problems, "/until", "", "is over before the run may begin");
}

/* Reads the file where the request names one: the text is what is kept. */
static int read_campaign(const struct command_start *start, char **ret_text, struct error *err)
{
    cJSON *root = NULL;

    if (start->campaign_path != NULL) {
        int code = json_load(start->campaign_path, &root, err);
        if (code != 0)
            return code;
    }
    char *text = root != NULL ? json_print(root, false) : strdup(start->campaign_json);
    cJSON_Delete(root);
    if (text == NULL)
        return error_set(err, ERR_MEMORY, "no memory for the campaign");
    *ret_text = text;
    return 0;
}

/* Where the campaign stands in the request: pointers into it are told as pointers into that. */
static void move_pointers(struct json_problems *problems)
{
    for (int i = 0; i < problems->count && i < JSON_PROBLEMS_MAX; i++) {
        char pointer[JSON_POINTER_MAX];
        snprintf(pointer, sizeof pointer, "/campaign%.*s", JSON_POINTER_MAX - 10, problems->item[i].pointer);
        memcpy(problems->item[i].pointer, pointer, sizeof pointer);
    }
}

/* The campaign as this daemon would run it. */
static int check_campaign(struct daemon *daemon, const struct command_start *start, const char *text,
                          struct queue_item *item, cJSON **ret_budget, struct json_problems *problems,
                          struct error *err)
{
    struct json_problems *own = calloc(1, sizeof *own); /* what is wrong with the request is no matter here */
    struct job_request request = { .text = text, .seed = item->seed };
    struct job job = { .plan = NULL };

    if (own == NULL)
        return error_set(err, ERR_MEMORY, "no memory to check the campaign");
    if (queued_backend(item->backend, &request.backend, NULL) != 0)
        request.backend = CAMPAIGN_CHIP; /* reported */
    int code = queued_check(sched_setup_of(daemon->sched), &request, &job, own, err);
    if (start->campaign_path == NULL)
        move_pointers(own);
    json_problems_append(problems, own);
    free(own);
    if (code == 0) {
        snprintf(item->campaign, sizeof item->campaign, "%s", job.campaign->name);
        item->duration_s = job.plan->duration_s;
        int64_t begin_ns = begin_of(item);
        if (start->until == NULL && item->until_ns == 0) /* the campaign's own is the next one from now on */
            item->until_ns = job_until_ns(job.campaign, begin_ns);
        double budget_s = job_budget_s(job.campaign, item->until_ns, begin_ns);
        item->duration_s = fmin(item->duration_s, fmax(budget_s, 0.0));
        *ret_budget = job_budget_json(&job, item->until_ns, begin_ns);
    }
    job_close(&job);
    return code;
}

/* ---- Adding ---- */

/* Entry, and the answer to its key, in one transaction: whatever dies then, the request is not run twice. */
static int add(struct daemon *daemon, const struct command_start *start, const struct queue_item *item,
               const char *text, struct error *err)
{
    struct queue_addition addition = { .item = item, .document = text, .unless_held = start->now };
    struct answer answer = { .status = 201 };
    char body[64];

    if (start->key != NULL) {
        snprintf(body, sizeof body, "{\"run\":\"%s\"}", item->ulid);
        snprintf(answer.key, sizeof answer.key, "%s", start->key->text);
        memcpy(answer.request, start->key->request, sizeof answer.request);
        snprintf(answer.location, sizeof answer.location, "/api/v1/runs/%s", item->ulid);
        answer.body = body;
        addition.answer = &answer;
    }
    return queue_add(daemon->recorder, &addition, err);
}

static int add_at_once(struct daemon *daemon, const struct command_start *start, struct queue_item *item,
                       const char *text, struct error *err)
{
    int code = sched_promise(daemon->sched, err);

    if (code != 0)
        return code;
    item->priority = PRIORITY_NOW;
    code = add(daemon, start, item, text, err);
    sched_keep(daemon->sched);
    return code;
}

int queue_start_run(struct daemon *daemon, const struct command_start *start, cJSON **ret,
                    struct json_problems *problems, struct error *err)
{
    struct queue_item item = { .backend = "chip", .added_ns = clock_wall_now() };
    cJSON *budget = NULL;
    char *text = NULL;

    take_request(start, &item, problems);
    if (start->now && item.not_before_ns != 0)
        problem(problems, "/not_before", "", "a run that begins now has no such time");
    int code = read_campaign(start, &text, err);
    if (code == 0)
        code = check_campaign(daemon, start, text, &item, &budget, problems, err);
    if ((code == 0 || code == ERR_INVALID) && problems->count > 0)
        code = json_problems_error(problems, "request", err);
    text_ulid(item.ulid);
    if (code == 0 && start->now) {
        code = add_at_once(daemon, start, &item, text, err);
    } else if (code == 0) {
        code = add(daemon, start, &item, text, err);
        if (code == 0)
            sched_look(daemon->sched);
    }
    free(text);
    if (code != 0) {
        cJSON_Delete(budget);
        return code;
    }
    tell_streams(daemon, "added", item.ulid);
    if (entry_in_queue(daemon, &item, ret, err) != 0) { /* it is in the queue: nothing else may be said */
        *ret = entry_of(&item, 0, 0);
        cJSON_AddStringToObject(*ret, "state", "queued");
        cJSON_AddStringToObject(*ret, "waits", "");
    }
    if (budget != NULL)
        cJSON_AddItemToObject(*ret, "budget", budget);
    return 0;
}

/* ---- Changing ---- */

/* Whether the entry's `until` is that of its campaign, and not one that somebody has given for this run. */
static bool is_own_until(const struct queue_item *item, const char *text)
{
    int64_t begin_ns = item->not_before_ns > item->added_ns ? item->not_before_ns : item->added_ns;
    int64_t until_ns = 0;
    cJSON *root = NULL;

    if (item->until_ns == 0 || json_parse(text, strlen(text), &root, NULL) != 0)
        return false;
    const cJSON *until = cJSON_GetObjectItemCaseSensitive(root, "until");
    bool own = cJSON_IsString(until) && walltime_parse(until->valuestring, begin_ns, &until_ns, NULL) == 0 &&
               until_ns == item->until_ns;
    cJSON_Delete(root);
    return own;
}

/* One try; ERR_CONFLICT, retryable, where somebody else was faster. */
static int try_edit(struct daemon *daemon, const char *run, const struct command_start *changes, cJSON **ret,
                    struct json_problems *problems, struct error *err)
{
    bool other = changes->campaign_path != NULL || changes->campaign_json != NULL;
    struct queue_item before, item;
    char *text = NULL, *fresh = NULL;
    cJSON *budget = NULL;

    int code = queue_find(daemon->options.db_path, run, &before, &text, err);
    if (code != 0)
        return code;
    item = before;
    if (other && is_own_until(&item, text))
        item.until_ns = 0; /* goes with its campaign */
    take_request(changes, &item, problems);
    if (other)
        code = read_campaign(changes, &fresh, err);
    if (code == 0)
        code = check_campaign(daemon, changes, other ? fresh : text, &item, &budget, problems, err);
    if ((code == 0 || code == ERR_INVALID) && problems->count > 0)
        code = json_problems_error(problems, "request", err);
    if (code == 0)
        code = queue_replace(daemon->recorder, &before, &item, fresh, err);
    free(fresh);
    free(text);
    if (code == 0) {
        sched_look(daemon->sched); /* its time may have come */
        tell_streams(daemon, "edited", item.ulid);
        code = entry_in_queue(daemon, &item, ret, err);
    }
    if (code == 0 && budget != NULL)
        cJSON_AddItemToObject(*ret, "budget", budget);
    else
        cJSON_Delete(budget);
    return code;
}

int queue_edit_entry(struct daemon *daemon, const char *run, const struct command_start *changes, cJSON **ret,
                     struct json_problems *problems, struct error *err)
{
    struct error own = { .code = 0 };
    int code, tries = 0;

    do
        code = try_edit(daemon, run, changes, ret, problems, &own);
    while (code == ERR_CONFLICT && own.retryable && ++tries < EDIT_TRIES);
    if (code != 0)
        *err = own;
    return code;
}

int queue_move_entry(struct daemon *daemon, const char *run, int place, cJSON **ret, struct error *err)
{
    struct queue_item item;

    int code = queue_find(daemon->options.db_path, run, &item, NULL, err);
    if (code == 0)
        code = queue_move(daemon->recorder, item.ulid, place - 1, err);
    if (code != 0)
        return code;
    tell_streams(daemon, "moved", item.ulid);
    return entry_in_queue(daemon, &item, ret, err);
}

int queue_remove_entry(struct daemon *daemon, const char *run, cJSON **ret, struct error *err)
{
    struct queue_item item;

    int code = queue_find(daemon->options.db_path, run, &item, NULL, err);
    if (code == 0)
        code = queue_remove(daemon->recorder, item.ulid, err);
    if (code != 0)
        return code;
    sched_look(daemon->sched);
    tell_streams(daemon, "removed", item.ulid);
    cJSON *entry = entry_of(&item, 0, 0);
    cJSON_AddStringToObject(entry, "state", "removed");
    cJSON_AddStringToObject(entry, "waits", "");
    *ret = entry;
    return 0;
}

int queue_hold_all(struct daemon *daemon, const char *who, const char *reason, cJSON **ret, struct error *err)
{
    char text[QUEUE_WORDS_MAX];

    snprintf(text, sizeof text, "%s%s%s", who, reason[0] != '\0' ? ": " : "", reason);
    int code = queue_hold(daemon->recorder, false, text, err);
    if (code != 0)
        return code;
    tell_streams(daemon, "held", "");
    return queue_document(daemon, ret, err);
}

int queue_release_all(struct daemon *daemon, cJSON **ret, struct error *err)
{
    int code = queue_release(daemon->recorder, false, err);

    if (code != 0)
        return code;
    sched_let_go(daemon->sched);
    sched_look(daemon->sched);
    tell_streams(daemon, "released", "");
    return queue_document(daemon, ret, err);
}

void queue_cleared(struct daemon *daemon)
{
    struct error err = { .code = 0 };

    if (queue_release(daemon->recorder, true, &err) != 0)
        log_error("releasing the queue", &err);
    else
        sched_look(daemon->sched);
}
