/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * bench: opening of a bench, and the requests of its clients: to ports in this process by their queue, to
 * ports in the keeper by one SOCK_SEQPACKET connection per client. */
#include "instruments/bench.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "instruments/bench_private.h"
#include "instruments/history.h"
#include "instruments/keeper_client.h"
#include "instruments/port.h"

enum { CALLS_MAX = 64 };

/* Beyond every deadline of the ports: only a keeper that hangs or a clock that stands still gets here. Host
 * time. */
#define ANSWER_LIMIT_NS (120 * NS_PER_S)
#define HELLO_LIMIT_MS  5000

struct bench {
    const struct bench_file *file;
    struct bench_options options;
    struct port *port[BENCH_INSTRUMENTS_MAX]; /* NULL: in the keeper */
};

struct bench_call {
    struct bench_client *client;
    uint32_t seq;
    bool busy, local, abandoned; /* of the client's thread */
    atomic_bool done;
    int64_t begin_ns;
    struct message asked; /* as it was posted; the answer takes its place in `message` */
    struct message message;
    struct error error;
    struct port_request request;
    uint8_t payload[MESSAGE_TEXT_MAX];
};

struct bench_client {
    struct bench *bench;
    struct clock_actor *actor;
    int keeper_fd, keeper_slot; /* -1 when no instrument is in the keeper, or after it dropped us */
    int done_fd, cancel_fd;
    pthread_mutex_t lock; /* held by a port while it reports: the client is not freed under its hands */
    atomic_bool cancelled;
    bool shielded; /* of the client's thread */
    uint32_t seq;
    uint8_t *frame, *scratch; /* one message and one payload */
    size_t frame_length;
    struct history history;
    struct bench_call call[CALLS_MAX];
};

static void raise_fd(int fd)
{
    uint64_t one = 1;
    while (write(fd, &one, sizeof one) < 0 && errno == EINTR)
        ;
}

static void lower_fd(int fd)
{
    uint64_t count;
    while (read(fd, &count, sizeof count) < 0 && errno == EINTR)
        ;
}

/* ---- Clients ---- */
/* The keeper's slot in the clock is not known yet, so nobody could be notified: this exchange waits in host
 * time, which holds virtual time still. */
static int hello(struct bench_client *client, struct error *err)
{
    struct message m = {
        .magic = MESSAGE_MAGIC,
        .op = MESSAGE_KEEPER_HELLO,
        .instrument = -1,
        .flags = (uint32_t)(sizeof(struct message) << 16 | sizeof(struct error)),
        .value = { clock_actor_slot(client->actor) },
    };
    struct pollfd wait = { .fd = client->keeper_fd, .events = POLLIN };
    if (send(client->keeper_fd, &m, sizeof m, MSG_NOSIGNAL) < 0 ||
        poll(&wait, 1, (int)(HELLO_LIMIT_MS * keeper_client_time_scale())) <= 0 ||
        recv(client->keeper_fd, &m, sizeof m, 0) != (ssize_t)sizeof m)
        return error_set(err, ERR_NO_ANSWER, "the keeper does not answer a new client");
    if (m.code)
        return error_set(err, m.code, "the keeper refuses this client: is it of the same build?");
    client->keeper_slot = (int)m.value[0];
    return 0;
}

static void call_done(struct port_request *request)
{
    struct bench_call *call = request->context;
    struct bench_client *client = call->client;
    int slot = clock_actor_slot(client->actor);
    struct clock *clock = client->bench->options.clock;
    pthread_mutex_lock(&client->lock);
    atomic_store(&call->done, true);
    raise_fd(client->done_fd);
    pthread_mutex_unlock(&client->lock);
    clock_notify(clock, slot);
}

int bench_client_open(struct bench *bench, struct clock_actor *actor, struct bench_client **ret_client,
                      struct error *err)
{
    struct bench_client *client = calloc(1, sizeof *client);
    if (!client)
        return error_set(err, ERR_MEMORY, "bench client");
    *client = (struct bench_client){ .bench = bench, .actor = actor, .keeper_fd = -1, .keeper_slot = -1 };
    int code = 0;
    pthread_mutex_init(&client->lock, NULL);
    client->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    client->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    client->frame = malloc(sizeof(struct message) + MESSAGE_PAYLOAD_MAX);
    client->scratch = malloc(MESSAGE_PAYLOAD_MAX);
    if (client->done_fd < 0 || client->cancel_fd < 0)
        code = error_set_errno(err, errno, "bench client");
    else if (!client->frame || !client->scratch)
        code = error_set(err, ERR_MEMORY, "bench client");
    bool needs_keeper = false;
    for (int i = 0; i < bench->file->instrument_count; i++)
        needs_keeper |= bench->file->instrument[i].energises;
    if (!code && needs_keeper && !bench->options.keeper_socket)
        code = error_set(err, ERR_INVALID, "bench '%s' has instruments that energise: it needs a keeper",
                         bench->file->name);
    if (!code && needs_keeper) {
        code = keeper_client_connect(bench->options.keeper_socket, &client->keeper_fd, err);
        if (!code)
            code = hello(client, err);
    }
    if (code) {
        bench_client_close(client);
        return code;
    }
    *ret_client = client;
    return 0;
}

/* Calls that were given up still belong to their port until it answers. */
static bool wait_for_local(struct bench_client *client)
{
    for (int i = 0; i < CALLS_MAX; i++) {
        struct bench_call *call = &client->call[i];
        while (call->busy && call->local && !atomic_load(&call->done)) {
            struct pollfd fd = { .fd = client->done_fd, .events = POLLIN };
            if (clock_poll(client->actor, &fd, 1, CLOCK_NEVER, ANSWER_LIMIT_NS) <= 0)
                return false;
            lower_fd(client->done_fd);
        }
    }
    return true;
}

void bench_client_close(struct bench_client *client)
{
    if (!client)
        return;
    if (client->keeper_fd >= 0) {
        close(client->keeper_fd);
        clock_notify(client->bench->options.clock, client->keeper_slot);
    }
    if (!wait_for_local(client))
        return;                        /* a port may still write into it: better lost than corrupted */
    pthread_mutex_lock(&client->lock); /* the last port has left call_done */
    pthread_mutex_unlock(&client->lock);
    if (client->done_fd >= 0)
        close(client->done_fd);
    if (client->cancel_fd >= 0)
        close(client->cancel_fd);
    pthread_mutex_destroy(&client->lock);
    free(client->frame);
    free(client->scratch);
    free(client);
}

struct bench *bench_of(const struct bench_client *client)
{
    return client->bench;
}

void bench_client_cancel(struct bench_client *client, bool cancelled)
{
    atomic_store(&client->cancelled, cancelled);
    if (cancelled) {
        raise_fd(client->cancel_fd);
        clock_notify(client->bench->options.clock, clock_actor_slot(client->actor));
    } else {
        lower_fd(client->cancel_fd);
    }
}

void bench_client_shield(struct bench_client *client, bool on)
{
    client->shielded = on;
}

static bool is_cancelled(const struct bench_client *client)
{
    return !client->shielded && atomic_load(&client->cancelled);
}

/* What ends a wait; nothing does while shielded. */
static int cut_fd(const struct bench_client *client)
{
    return client->shielded ? -1 : client->cancel_fd;
}

int64_t bench_now(const struct bench_client *client)
{
    return clock_now(client->bench->options.clock);
}

static int cancelled(struct error *err)
{
    return error_set(err, ERR_CANCELLED, "cancelled");
}

int bench_wait(struct bench_client *client, int64_t duration_ns, struct error *err)
{
    if (is_cancelled(client))
        return cancelled(err);
    int code = clock_sleep_until(client->actor, bench_now(client) + duration_ns, cut_fd(client));
    return code ? error_set(err, code, "wait") : 0;
}

uint8_t *bench_client_scratch(struct bench_client *client)
{
    return client->scratch;
}

static int fenced(struct bench_client *client, struct error *err)
{
    if (client->keeper_fd >= 0)
        close(client->keeper_fd);
    client->keeper_fd = -1;
    for (int i = 0; i < CALLS_MAX; i++) {
        struct bench_call *call = &client->call[i];
        if (!call->busy || call->local || atomic_load(&call->done))
            continue;
        call->message.code = error_set(&call->error, ERR_FENCED, "the keeper has dropped this client");
        atomic_store(&call->done, true);
    }
    return error_set(err, ERR_FENCED, "the keeper has dropped this client: safe state is in force");
}

/* ---- Calls ---- */
static struct bench_call *free_call(struct bench_client *client)
{
    for (int i = 0; i < CALLS_MAX; i++) {
        struct bench_call *call = &client->call[i];
        if (call->busy && call->abandoned && atomic_load(&call->done))
            call->busy = false;
        if (!call->busy)
            return call;
    }
    return NULL;
}

/* A full socket is waited for in host time: virtual time stands still while bytes are on their way. */
static int send_frame(struct bench_client *client, size_t n, struct error *err)
{
    for (;;) {
        ssize_t sent = send(client->keeper_fd, client->frame, n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent == (ssize_t)n)
            break;
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            struct pollfd wait = { .fd = client->keeper_fd, .events = POLLOUT };
            clock_notify(client->bench->options.clock, client->keeper_slot);
            if (poll(&wait, 1, HELLO_LIMIT_MS) > 0)
                continue;
            return error_set(err, ERR_TIMEOUT, "the keeper takes no requests");
        }
        return sent < 0 && errno == EMSGSIZE
                   ? error_set(err, ERR_FULL, "message of %zu bytes: net.core.wmem_max is too small", n)
                   : fenced(client, err);
    }
    clock_notify(client->bench->options.clock, client->keeper_slot);
    return 0;
}

static int post_remote(struct bench_client *client, struct bench_call *call, const void *payload, size_t n,
                       struct error *err)
{
    if (client->keeper_fd < 0)
        return error_set(err, ERR_FENCED, "the keeper has dropped this client: open the bench again");
    memcpy(client->frame, &call->message, sizeof call->message);
    if (n > 0)
        memcpy(client->frame + sizeof call->message, payload, n);
    return send_frame(client, sizeof call->message + n, err);
}

static int post_local(struct bench_client *client, struct bench_call *call, struct port *port,
                      const void *payload, size_t n, struct error *err)
{
    if (n > sizeof call->payload)
        return error_set(err, ERR_RANGE, "request of %zu bytes is longer than %zu", n, sizeof call->payload);
    if (n > 0)
        memcpy(call->payload, payload, n);
    call->request = (struct port_request){
        .message = call->message,
        .payload = call->payload,
        .room = sizeof call->payload,
        .priority = PORT_NORMAL,
        .done = call_done,
        .context = call,
    };
    port_post(port, &call->request);
    (void)client;
    return 0;
}

int bench_client_post(struct bench_client *client, const struct message *message, const void *payload,
                      size_t n, struct bench_call **ret_call, struct error *err)
{
    if (is_cancelled(client))
        return cancelled(err);
    if (n > MESSAGE_PAYLOAD_MAX)
        return error_set(err, ERR_RANGE, "payload of %zu bytes is longer than %d", n, MESSAGE_PAYLOAD_MAX);
    struct bench_call *call = free_call(client);
    if (!call)
        return error_set(err, ERR_FULL, "more than %d requests at once", CALLS_MAX);
    struct port *port = message->instrument >= 0 ? client->bench->port[message->instrument] : NULL;
    call->client = client;
    call->busy = true;
    call->abandoned = false;
    call->local = port != NULL;
    call->seq = ++client->seq;
    call->message = *message;
    call->message.magic = MESSAGE_MAGIC;
    call->message.seq = call->seq;
    call->message.payload_length = (uint32_t)n;
    call->error = (struct error){ 0 };
    call->asked = call->message;
    call->begin_ns = bench_now(client);
    atomic_store(&call->done, false);
    int code =
        port ? post_local(client, call, port, payload, n, err) : post_remote(client, call, payload, n, err);
    if (code) {
        call->busy = false;
        return code;
    }
    *ret_call = call;
    return 0;
}

static struct bench_call *call_of(struct bench_client *client, uint32_t seq)
{
    for (int i = 0; i < CALLS_MAX; i++) {
        if (client->call[i].busy && !client->call[i].local && client->call[i].seq == seq)
            return &client->call[i];
    }
    return NULL;
}

/* Takes one answer from the keeper. The payload stays in the frame for the call that is being collected; any
 * other call keeps a copy of up to MESSAGE_TEXT_MAX bytes. */
static int receive_frame(struct bench_client *client, struct bench_call **ret_call, struct error *err)
{
    *ret_call = NULL;
    ssize_t n =
        recv(client->keeper_fd, client->frame, sizeof(struct message) + MESSAGE_PAYLOAD_MAX, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    struct message m;
    if (n < (ssize_t)sizeof m)
        return fenced(client, err);
    memcpy(&m, client->frame, sizeof m);
    if (m.magic != MESSAGE_MAGIC || m.payload_length != (size_t)n - sizeof m)
        return fenced(client, err);
    struct bench_call *call = call_of(client, m.seq);
    if (!call)
        return 0; /* the answer to a call that was given up */
    call->message = m;
    const uint8_t *payload = client->frame + sizeof m;
    if (m.code && m.payload_length >= sizeof call->error)
        memcpy(&call->error, payload, sizeof call->error);
    memcpy(call->payload, payload,
           m.payload_length < sizeof call->payload ? m.payload_length : sizeof call->payload);
    atomic_store(&call->done, true);
    *ret_call = call;
    return 0;
}

/* Waits until this call is done; *ret_in_frame when its payload is still whole in the frame. */
static int wait_for(struct bench_client *client, const struct bench_call *call, bool *ret_in_frame,
                    struct error *err)
{
    *ret_in_frame = false;
    while (!atomic_load(&call->done)) {
        struct pollfd fds[3] = { { .fd = cut_fd(client), .events = POLLIN },
                                 { .fd = client->done_fd, .events = POLLIN },
                                 { .fd = client->keeper_fd, .events = POLLIN } };
        int n = clock_poll(client->actor, fds, client->keeper_fd >= 0 ? 3 : 2, CLOCK_NEVER,
                           (int64_t)((double)ANSWER_LIMIT_NS * keeper_client_time_scale()));
        if (n < 0)
            return error_set(err, n, "waiting for an answer of the bench");
        if (is_cancelled(client))
            return cancelled(err);
        if (fds[1].revents)
            lower_fd(client->done_fd);
        if (fds[2].revents && client->keeper_fd >= 0) {
            struct bench_call *taken = NULL;
            struct error ignored;
            receive_frame(client, &taken, &ignored); /* a dropped connection shows in the calls it ends */
            *ret_in_frame = taken == call;
        }
    }
    return 0;
}

static const char *instrument_name(const void *context, int instrument)
{
    const struct bench_file *file = context;
    return instrument >= 0 && instrument < file->instrument_count ? file->instrument[instrument].name
                                                                  : "keeper";
}

/* Who was asked what, where neither the port nor the keeper has said it. */
static void name_error(const struct bench_client *client, const struct bench_call *call, struct error *err)
{
    if (err == NULL || err->instrument[0] != '\0' || err->code == ERR_CANCELLED)
        return;
    error_at(err, instrument_name(client->bench->file, call->asked.instrument), message_word(call->asked.op),
             bench_now(client) - call->begin_ns);
}

int bench_client_collect(struct bench_client *client, struct bench_call *call, struct message *ret_message,
                         void *out, size_t room, struct error *err)
{
    bool in_frame = false;
    int code = wait_for(client, call, &in_frame, err);
    if (code) {
        history_add(&client->history, &call->asked, call->begin_ns, bench_now(client), code);
        name_error(client, call, err);
        call->abandoned = true;
        if (!call->local)
            call->busy = false;
        return code;
    }
    call->busy = false;
    const struct message *m = call->local ? &call->request.message : &call->message;
    history_add(&client->history, &call->asked, call->begin_ns, bench_now(client), m->code);
    if (m->code) {
        if (err)
            *err = call->local ? call->request.error : call->error;
        name_error(client, call, err);
        return m->code;
    }
    size_t n = m->payload_length;
    if (n > room || (!in_frame && n > sizeof call->payload))
        return error_set(err, ERR_FULL, "answer of %zu bytes is longer than %zu", n, room);
    if (n > 0)
        memcpy(out, in_frame ? client->frame + sizeof *m : call->payload, n);
    *ret_message = *m;
    return 0;
}

int bench_client_call(struct bench_client *client, struct message *message, const void *payload, size_t n,
                      void *out, size_t room, struct error *err)
{
    struct bench_call *call = NULL;
    int code = bench_client_post(client, message, payload, n, &call, err);
    return code ? code : bench_client_collect(client, call, message, out, room, err);
}

void bench_client_history(const struct bench_client *client, struct strbuf *out)
{
    history_json(&client->history, bench_now(client), instrument_name, client->bench->file, out);
}

/* ---- The bench ---- */
static int open_ports(struct bench *bench, struct error *err)
{
    struct port_options options = {
        .clock = bench->options.clock,
        .links_path = bench->options.links_path,
        .trace_dir = bench->options.trace_dir,
    };
    for (int i = 0; i < bench->file->instrument_count; i++) {
        int line_of = bench->file->instrument[i].line_of;
        if (bench->file->instrument[i].energises)
            continue;
        int code = 0;
        if (line_of)
            bench->port[i] = bench->port[line_of - 1];
        else
            code = port_open(bench->file, i, &options, &bench->port[i], err);
        if (code)
            return code;
    }
    return 0;
}

/* Every port is asked at once who is there: that connects it and checks its identity. */
static int meet_all(struct bench *bench, struct bench_client *client, struct error *err)
{
    struct bench_call *call[BENCH_INSTRUMENTS_MAX];
    int posted = 0, code = 0;
    for (; posted < bench->file->instrument_count && !code; posted++) {
        struct message m = { .op = MESSAGE_IDENTIFY, .instrument = (int16_t)posted };
        code = bench_client_post(client, &m, NULL, 0, &call[posted], err);
    }
    if (code)
        posted--;
    for (int i = 0; i < posted; i++) {
        struct message m;
        struct error own = { 0 };
        int failed = bench_client_collect(client, call[i], &m, client->scratch, MESSAGE_PAYLOAD_MAX, &own);
        if (failed && !code) {
            code = failed;
            if (err)
                *err = own;
        }
    }
    return code;
}

int bench_open(const struct bench_file *file, const struct bench_options *options, struct bench **ret_bench,
               struct error *err)
{
    struct bench *bench = calloc(1, sizeof *bench);
    if (!bench)
        return error_set(err, ERR_MEMORY, "bench");
    bench->file = file;
    bench->options = *options;
    struct clock_actor *actor = NULL; /* running: holds virtual time until every port is there */
    struct bench_client *client = NULL;
    int code = clock_actor_open(options->clock, "bench_open", CLOCK_RANK_RUNNER, &actor, err);
    if (!code)
        code = open_ports(bench, err);
    if (!code)
        code = bench_client_open(bench, actor, &client, err);
    if (!code)
        code = meet_all(bench, client, err);
    bench_client_close(client);
    if (code)
        bench_close(bench);
    else
        *ret_bench = bench;
    clock_actor_close(actor);
    return code;
}

cJSON *bench_ports_json(const struct bench *bench)
{
    cJSON *list = cJSON_CreateArray();

    for (int i = 0; i < bench->file->instrument_count; i++) {
        if (bench->port[i])
            cJSON_AddItemToArray(list, port_health_of(bench->port[i], i));
    }
    return list;
}

void bench_close(struct bench *bench)
{
    if (!bench)
        return;
    for (int i = 0; i < bench->file->instrument_count; i++) {
        if (!bench->file->instrument[i].line_of)
            port_close(bench->port[i]);
    }
    free(bench);
}

const struct bench_file *bench_file_of(const struct bench *bench)
{
    return bench->file;
}
