/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * server_requests: what clients ask: of a port, behind the guard, with the answer sent by the port's own
 * thread; or of the keeper itself. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "daemon/base/json.h"
#include "daemon/base/log.h"
#include "daemon/keeper/guard.h"
#include "daemon/keeper/server_private.h"
#include "daemon/keeper/trips.h"

/* ---- Jobs ---- */
static struct job *job_take(struct server *server, size_t payload)
{
    bool large = payload > SMALL_PAYLOAD;
    struct job **list = large ? &server->free_large : &server->free_small;
    pthread_mutex_lock(&server->lock);
    struct job *job = *list;
    if (job)
        *list = job->next;
    pthread_mutex_unlock(&server->lock);
    if (job)
        return job;
    size_t room = large ? MESSAGE_PAYLOAD_MAX : SMALL_PAYLOAD;
    job = malloc(sizeof *job + room);
    if (job)
        job->room = room;
    return job;
}

static void job_give(struct server *server, struct job *job)
{
    struct job **list = job->room > SMALL_PAYLOAD ? &server->free_large : &server->free_small;
    pthread_mutex_lock(&server->lock);
    job->next = *list;
    *list = job;
    pthread_mutex_unlock(&server->lock);
}

static void list_free(struct job *list)
{
    while (list) {
        struct job *next = list->next;
        free(list);
        list = next;
    }
}

void server_jobs_free(struct server *server)
{
    list_free(server->free_small);
    list_free(server->free_large);
}

/* Any thread. A client that does not read its answers is cut off: nothing waits for it. */
static void send_answer(struct link *link, const struct message *message, const void *payload,
                        const struct error *error)
{
    struct message m = *message;
    if (m.code) {
        payload = error;
        m.payload_length = sizeof *error;
    }
    struct iovec iov[2] = { { .iov_base = &m, .iov_len = sizeof m } };
    struct msghdr header = { .msg_iov = iov, .msg_iovlen = m.payload_length ? 2 : 1 };
    memcpy(&iov[1].iov_base, &payload, sizeof payload); /* iovec is not const-correct */
    iov[1].iov_len = m.payload_length;
    ssize_t n;
    do
        n = sendmsg(link->fd, &header, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        shutdown(link->fd, SHUT_RDWR);
    clock_notify(link->server->keeper->clock, link->slot);
}

static void job_done(struct port_request *request)
{
    struct job *job = request->context;
    struct link *link = job->link;
    struct server *server = link->server;
    observer_take(server->keeper->observer, &request->message, job->asked);
    send_answer(link, &request->message, job->payload, &request->error);
    atomic_fetch_sub(&link->jobs, 1);
    job_give(server, job);
    server_link_unref(link);
}

static void answer_now(struct link *link, const struct message *message, int code, const struct error *err)
{
    struct message m = *message;
    m.code = code;
    m.payload_length = 0;
    m.time_ns = clock_now(link->server->keeper->clock);
    send_answer(link, &m, NULL, err);
}

/* ---- Commands to the keeper itself ---- */
/* Numbers travel as doubles; whatever is no whole number in the range becomes -2, which no rule accepts. */
static int whole(double value, int min, int max)
{
    return value >= min && value <= max && value == (int)value ? (int)value : -2;
}

static int do_hello(struct link *link, struct message *m, struct error *err)
{
    if (m->flags != (uint32_t)(sizeof(struct message) << 16 | sizeof(struct error)))
        return error_set(err, ERR_UNSUPPORTED, "client and keeper are of different builds");
    link->slot = whole(m->value[0], -1, CLOCK_ACTORS_MAX - 1);
    link->greeted = true;
    link->server->had_client = true;
    m->value[0] = clock_actor_slot(link->server->keeper->actor);
    return 0;
}

/* What feeds the chip, and a chamber, which is held here when an interlock watches it. */
static bool can_be_undone(const struct bench_file *file, int channel)
{
    if (channel < 0 || channel >= file->channel_count)
        return false;
    const struct bench_channel *ch = &file->channel[channel];
    return ch->can_source || file->instrument[ch->instrument].class == CLASS_CHAMBER;
}

static int do_undo(struct link *link, const struct message *m, struct error *err)
{
    struct keeper *keeper = link->server->keeper;
    const struct bench_file *file = keeper->file;
    int kind = whole(m->value[0], UNDO_OUTPUT_OFF, UNDO_SPI_RELEASE);
    struct undo_step step = {
        .kind = kind,
        .channel = kind == UNDO_SPI_RELEASE ? -1 : whole(m->value[1], 0, BENCH_CHANNELS_MAX - 1),
        .barrier = whole(m->value[2], 0, UNDO_BARRIER_MAX),
        .emergency_barrier = whole(m->value[3], 0, UNDO_BARRIER_MAX),
        .owner = link->pid,
    };
    if (keeper->latched)
        return error_set(
            err, ERR_TRIPPED,
            "latched (%s): nightbench clear REASON ends it; without a daemon, nightbench-safe clear REASON",
            keeper->latch.reason);
    if (step.kind == UNDO_SPI_RELEASE && file->spi_instrument < 0)
        return error_set(err, ERR_INVALID, "this bench has no SPI bridge");
    if (step.kind == UNDO_OUTPUT_OFF && !can_be_undone(file, step.channel))
        return error_set(err, ERR_INVALID, "no source channel %d", step.channel);
    for (int i = 0; i < keeper->undo.count; i++) {
        int owner = keeper->undo.step[i].owner;
        if (owner != 0 && owner != link->pid && server_has_links(link->server, owner))
            return error_set(err, ERR_CONFLICT, "process %d has this bench switched on", owner);
    }
    return keeper_arm(keeper, &step, err);
}

static int do_safe(struct link *link, struct message *m)
{
    struct keeper *keeper = link->server->keeper;
    bool emergency = m->value[0] != 0;
    keeper->patient = !emergency;
    m->value[0] = keeper_safe(keeper, emergency, false, "asked for by a client");
    keeper->patient = false;
    return 0;
}

static int do_estop(struct link *link, struct message *m, const char *reason)
{
    struct server *server = link->server;
    char text[KEEPER_REASON_MAX];
    snprintf(text, sizeof text, "emergency stop: %.200s", reason);
    keeper_latch(server->keeper, text); /* first: nothing new gets through while the list runs */
    server_drop_requests(server, ERR_TRIPPED, text);
    m->value[0] = keeper_safe(server->keeper, true, true, text);
    return 0;
}

static int do_clear(struct link *link, const char *reason, struct error *err)
{
    struct keeper *keeper = link->server->keeper;
    if (reason[strspn(reason, " ")] == '\0')
        return error_set(err, ERR_INVALID, "clearing needs a reason");
    struct latch_record was = keeper->latch;
    bool latched = keeper->latched;
    char known[INTERLOCK_TEXT_MAX];
    struct error why = { 0 };
    int code = 0;
    if (latched || keeper->undo.count == 0) { /* not in the middle of somebody's run */
        keeper->patient = true;
        code = trips_clear(keeper, &why);
        keeper->patient = false;
        if (code)
            return error_set(err, code, "not cleared: %s", why.message);
        observer_tripped(keeper->observer, known, sizeof known); /* what was read and cleared just now */
    }
    code = keeper_unlatch(keeper, &why);
    if (code) {
        log_error("clearing the latch", &why);
        return error_set(err, code, "it stays latched, since its file would latch the next keeper: %s",
                         why.message);
    }
    if (latched)
        log_notice("latch '%s' cleared by process %d: %s", was.reason, link->pid, reason);
    return 0;
}

static void add_steps(cJSON *root, const struct keeper *keeper)
{
    cJSON *armed = cJSON_AddArrayToObject(root, "armed");
    for (int i = 0; i < keeper->undo.count; i++) {
        const struct undo_step *step = &keeper->undo.step[i];
        cJSON *item = cJSON_CreateObject();
        cJSON_AddItemToArray(armed, item);
        cJSON_AddStringToObject(item, "target",
                                step->kind == UNDO_SPI_RELEASE
                                    ? keeper->file->instrument[keeper->file->spi_instrument].name
                                    : keeper->file->channel[step->channel].name);
        json_add_number(item, "barrier", step->barrier);
        json_add_number(item, "emergency_barrier", step->emergency_barrier);
        json_add_number(item, "owner", step->owner);
    }
}

static void add_ports(cJSON *root, const struct keeper *keeper)
{
    cJSON *ports = cJSON_AddArrayToObject(root, "ports");
    for (int i = 0; i < keeper->file->instrument_count; i++) {
        if (keeper->port[i])
            cJSON_AddItemToArray(ports, port_health_of(keeper->port[i], i));
    }
}

static void do_status(struct link *link, const struct message *message)
{
    const struct keeper *keeper = link->server->keeper;
    struct error err = { 0 };
    cJSON *root = cJSON_CreateObject();
    cJSON_AddStringToObject(root, "bench", keeper->file->name);
    json_add_number(root, "pid", getpid());
    cJSON_AddBoolToObject(root, "latched", keeper->latched);
    cJSON_AddStringToObject(root, "reason", keeper->latch.reason);
    json_add_number(root, "clients", link->server->link_count - 1);
    json_add_number(root, "interlocks", observer_rule_count(keeper->observer));
    const struct supervise_page *page = keeper->options.page;
    cJSON_AddBoolToObject(root, "supervised", page && getppid() == page->parent);
    json_add_number(root, "generation", page ? page->generation : 0);
    add_steps(root, keeper);
    add_ports(root, keeper);
    cJSON *last = NULL;
    if (!keeper->last_safe || json_parse(keeper->last_safe, strlen(keeper->last_safe), &last, NULL))
        last = cJSON_CreateNull();
    cJSON_AddItemToObject(root, "last_safe", last);
    char *text = json_print(root, false);
    cJSON_Delete(root);
    struct message m = *message;
    m.code = text ? 0 : error_set(&err, ERR_MEMORY, "status");
    m.payload_length = text ? (uint32_t)strnlen(text, MESSAGE_PAYLOAD_MAX) : 0;
    send_answer(link, &m, text, &err);
    free(text);
}

static void serve_keeper(struct link *link, struct message *m, const uint8_t *payload)
{
    struct error err = { 0 };
    char text[KEEPER_REASON_MAX];
    snprintf(text, sizeof text, "%.*s", (int)m->payload_length, (const char *)payload);
    int code;
    switch (m->op) {
    case MESSAGE_KEEPER_BEAT:
        link->beats = true;
        link->beat_ns = clock_host_now();
        return;
    case MESSAGE_KEEPER_STATUS:
        do_status(link, m);
        return;
    case MESSAGE_KEEPER_HELLO:
        code = do_hello(link, m, &err);
        break;
    case MESSAGE_KEEPER_UNDO:
        code = do_undo(link, m, &err);
        break;
    case MESSAGE_KEEPER_SAFE:
        code = do_safe(link, m);
        break;
    case MESSAGE_KEEPER_ESTOP:
        code = do_estop(link, m, text);
        break;
    case MESSAGE_KEEPER_CLEAR:
        code = do_clear(link, text, &err);
        break;
    default:
        code = error_set(&err, ERR_UNSUPPORTED, "the keeper knows no operation %u", m->op);
    }
    answer_now(link, m, code, &err);
}

/* ---- Requests to ports ---- */
static void serve_port(struct link *link, const struct message *m, const uint8_t *payload)
{
    struct server *server = link->server;
    struct keeper *keeper = server->keeper;
    struct guard guard = { .file = keeper->file,
                           .undo = &keeper->undo,
                           .latched = keeper->latched,
                           .latch_reason = keeper->latch.reason };
    struct error err = { 0 };
    int code = link->greeted ? guard_check(&guard, m, payload, &err)
                             : error_set(&err, ERR_INVALID, "a client says hello first");
    if (!code && atomic_load(&link->jobs) >= JOBS_PER_LINK)
        code = error_set(&err, ERR_FULL, "more than %d requests of one client", JOBS_PER_LINK);
    struct job *job =
        code ? NULL : job_take(server, m->op == MESSAGE_SPI_BATCH ? MESSAGE_PAYLOAD_MAX : m->payload_length);
    if (!code && !job)
        code = error_set(&err, ERR_MEMORY, "request");
    if (code) {
        error_at(&err,
                 m->instrument >= 0 && m->instrument < keeper->file->instrument_count
                     ? keeper->file->instrument[m->instrument].name
                     : NULL,
                 NULL, 0);
        answer_now(link, m, code, &err);
        return;
    }
    memcpy(job->payload, payload, m->payload_length);
    job->link = link;
    job->asked = m->value[0];
    job->request = (struct port_request){
        .message = *m,
        .payload = job->payload,
        .room = job->room,
        .priority = PORT_NORMAL,
        .done = job_done,
        .context = job,
    };
    atomic_fetch_add(&link->references, 1);
    atomic_fetch_add(&link->jobs, 1);
    port_post(keeper->port[m->instrument], &job->request);
}

void server_request(struct link *link, struct message *message, const uint8_t *payload)
{
    if (message->instrument < 0)
        serve_keeper(link, message, payload);
    else
        serve_port(link, message, payload);
}
