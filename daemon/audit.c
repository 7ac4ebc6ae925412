/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * audit: a ring of entries between HTTP and the recorder.
 */
#include "daemon/audit.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/base/json.h"
#include "daemon/base/log.h"

struct entry {
    char user[48], role[16], action[AUDIT_ACTION_MAX], subject[160];
    int status;
    int64_t time_ns, wall_ns;
};

struct audit {
    const struct record_sink *sink;
    struct clock *clock;
    pthread_t thread;
    _Atomic uint64_t dropped;

    pthread_mutex_t lock; /* guards all below; never held across a call of the sink */
    pthread_cond_t wake;
    bool closing;
    unsigned first, count;
    struct entry queue[AUDIT_QUEUE_MAX];
};

static int write_entry(const struct audit *audit, const struct entry *entry, struct error *err)
{
    char text[64 + AUDIT_ACTION_MAX + 32];
    cJSON *details = cJSON_CreateObject();

    cJSON_AddStringToObject(details, "user", entry->user);
    cJSON_AddStringToObject(details, "role", entry->role);
    cJSON_AddStringToObject(details, "action", entry->action);
    json_add_number(details, "status", entry->status);
    cJSON_AddStringToObject(details, "subject", entry->subject);
    char *json = details != NULL ? json_print(details, false) : NULL;
    cJSON_Delete(details);
    snprintf(text, sizeof text, "%s (%s): %s: %d", entry->user, entry->role, entry->action, entry->status);
    struct record_event event = {
        .kind = "audit", .text = text, .json = json, .time_ns = entry->time_ns, .wall_ns = entry->wall_ns
    };
    int code = audit->sink->event(audit->sink->context, &event, err);
    cJSON_free(json);
    return code;
}

static void *audit_main(void *context)
{
    struct audit *audit = context;
    bool failed = false;

    pthread_mutex_lock(&audit->lock);
    while (audit->count > 0 || !audit->closing) {
        if (audit->count == 0) {
            pthread_cond_wait(&audit->wake, &audit->lock);
            continue;
        }
        struct entry entry = audit->queue[audit->first];
        struct error err = { .code = 0 };

        audit->first = (audit->first + 1) % AUDIT_QUEUE_MAX;
        audit->count--;
        pthread_mutex_unlock(&audit->lock);
        int code = write_entry(audit, &entry, &err);
        if (code != 0)
            atomic_fetch_add(&audit->dropped, 1);
        if (code != 0 && !failed)
            log_error("audit", &err); /* once: the store says no more after its first failure */
        failed = code != 0;
        pthread_mutex_lock(&audit->lock);
    }
    pthread_mutex_unlock(&audit->lock);
    return NULL;
}

int audit_open(const struct record_sink *sink, struct clock *clock, struct audit **ret_audit,
               struct error *err)
{
    struct audit *audit = calloc(1, sizeof *audit);

    if (audit == NULL)
        return error_set(err, ERR_MEMORY, "no memory for the audit log");
    audit->sink = sink;
    audit->clock = clock;
    pthread_mutex_init(&audit->lock, NULL);
    pthread_cond_init(&audit->wake, NULL);
    int failure = pthread_create(&audit->thread, NULL, audit_main, audit);
    if (failure != 0) {
        pthread_cond_destroy(&audit->wake);
        pthread_mutex_destroy(&audit->lock);
        free(audit);
        return error_set_errno(err, failure, "cannot start the thread of the audit log");
    }
    *ret_audit = audit;
    return 0;
}

void audit_close(struct audit *audit)
{
    if (audit == NULL)
        return;
    pthread_mutex_lock(&audit->lock);
    audit->closing = true;
    pthread_cond_signal(&audit->wake);
    pthread_mutex_unlock(&audit->lock);
    pthread_join(audit->thread, NULL);
    pthread_cond_destroy(&audit->wake);
    pthread_mutex_destroy(&audit->lock);
    free(audit);
}

void audit_post(struct audit *audit, const struct command_audit *from)
{
    struct entry entry = { .status = from->status,
                           .time_ns = clock_now(audit->clock),
                           .wall_ns = clock_wall_now() };

    snprintf(entry.user, sizeof entry.user, "%s", from->user);
    snprintf(entry.role, sizeof entry.role, "%s", from->role);
    snprintf(entry.action, sizeof entry.action, "%s", from->action);
    snprintf(entry.subject, sizeof entry.subject, "%s", from->subject);
    log_notice("audit: %s (%s): %s: %d %s", entry.user, entry.role, entry.action, entry.status,
               entry.subject);
    pthread_mutex_lock(&audit->lock);
    bool room = audit->count < AUDIT_QUEUE_MAX && !audit->closing;
    if (room)
        audit->queue[(audit->first + audit->count++) % AUDIT_QUEUE_MAX] = entry;
    pthread_cond_signal(&audit->wake);
    pthread_mutex_unlock(&audit->lock);
    if (!room)
        atomic_fetch_add(&audit->dropped, 1);
}

uint64_t audit_dropped(const struct audit *audit)
{
    return atomic_load(&audit->dropped);
}
