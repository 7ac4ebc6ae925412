/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * fake_queue: a queue in which one run waits at most, for ever.
 */
#include <stdio.h>
#include <string.h>

#include "tests/api/fake.h"

cJSON *fake_queue_row(const char *ulid, int place, const char *state)
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
        cJSON_AddItemToArray(entries, fake_queue_row("01HX00000000000000000000QA", 1, NULL));
    pthread_mutex_unlock(&fake->lock);
    *ret = root;
    return 0;
}

static int fake_queue_entry(void *context, const char *run, cJSON **ret, struct error *err)
{
    (void)context;
    if (strcmp(run, "none") == 0)
        return error_set(err, ERR_NOT_FOUND, "none does not wait in the queue");
    *ret = fake_queue_row("01HX00000000000000000000QA", 1, "queued");
    cJSON_AddObjectToObject(*ret, "document");
    return 0;
}

static int fake_queue_edit(void *context, const char *run, const struct command_start *changes, cJSON **ret,
                           struct json_problems *problems, struct error *err)
{
    (void)context, (void)run, (void)changes;
    if (problems->count > 0)
        return json_problems_error(problems, "request", err);
    *ret = fake_queue_row("01HX00000000000000000000QA", 1, "queued");
    return 0;
}

static int fake_queue_move(void *context, const char *run, int place, cJSON **ret, struct error *err)
{
    (void)context, (void)run, (void)err;
    *ret = fake_queue_row("01HX00000000000000000000QA", place, "queued");
    return 0;
}

static int fake_queue_remove(void *context, const char *run, cJSON **ret, struct error *err)
{
    (void)context, (void)run, (void)err;
    *ret = fake_queue_row("01HX00000000000000000000QA", 0, "removed");
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

void fake_queue_serve(struct command *command)
{
    command->queue = fake_queue;
    command->queue_entry = fake_queue_entry;
    command->queue_edit = fake_queue_edit;
    command->queue_move = fake_queue_move;
    command->queue_remove = fake_queue_remove;
    command->queue_hold = fake_queue_hold;
    command->queue_release = fake_queue_release;
}
