/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * fuzz_keeper: a hostile client on the keeper's socket: frames of any content go through the real reading,
 * the guard and the keeper's own commands; ports are replaced by one that checks that whatever reaches it was
 * allowed. Every answer is whole, and a refusal says why.
 *
 * sources: daemon/base/error.c daemon/base/text.c daemon/base/json.c daemon/base/json_read.c
 * sources: daemon/base/notify.c
 * sources: daemon/keeper/guard.c daemon/keeper/undo.c daemon/keeper/server_requests.c
 * aims: daemon/keeper/guard.c daemon/keeper/undo.c daemon/keeper/server*.c
 * options: -max_len=1024
 * edges: 300 */
#include "daemon/keeper/server.c"

#include <math.h>

#include "daemon/keeper/guard.h"
#include "tests/fuzz/fuzz.h"

enum { FRAMES_MAX = 24, FRAME_BYTES = sizeof(struct message) + MESSAGE_PAYLOAD_MAX + 16 };

static struct bench_file file;
static struct keeper keeper;
static uint8_t frame[FRAME_BYTES], answer[FRAME_BYTES];
static int port_mood; /* what the replaced port does with the next request */

/* ---- What the keeper's server calls ---- */
int64_t clock_now(const struct clock *clock)
{
    (void)clock;
    return 1000;
}
int64_t clock_host_now(void)
{
    return 1000;
}
int clock_actor_slot(const struct clock_actor *actor)
{
    (void)actor;
    return -1;
}
void clock_notify(struct clock *clock, int slot)
{
    (void)clock;
    (void)slot; /* checked by the real one */
}
int clock_evict(struct clock *clock, int pid, struct error *err)
{
    (void)clock;
    (void)pid;
    (void)err;
    return 0;
}
int clock_poll(struct clock_actor *actor, struct pollfd *fds, int count, int64_t deadline_ns,
               int64_t host_limit_ns)
{
    (void)actor;
    (void)fds;
    (void)count;
    (void)deadline_ns;
    (void)host_limit_ns;
    return ERR_CANCELLED;
}
void log_write(const struct log_place *place, enum log_level level, const struct log_about *about,
               const char *format, ...)
{
    char line[1024];
    va_list args;

    (void)place;
    (void)level;
    (void)about;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args); /* the arguments are what is tested */
    va_end(args);
}
void log_failure(const struct log_place *place, const char *context, const struct error *err)
{
    log_write(place, LOG_ERR, NULL, "%s %s", context, err->message);
}
double keeper_client_time_scale(void)
{
    return 1;
}
void keeper_latch(struct keeper *k, const char *reason)
{
    if (!k->latched)
        snprintf(k->latch.reason, sizeof k->latch.reason, "%s", reason);
    k->latched = true;
}
int keeper_safe(struct keeper *k, bool emergency, bool all, const char *reason)
{
    int barrier, below = UNDO_BARRIER_MAX + 1;

    FUZZ_CHECK(reason != NULL);
    while (undo_next_barrier(&k->undo, emergency, below, &barrier)) {
        FUZZ_CHECK(barrier >= 0 && barrier < below);
        below = barrier;
    }
    if (all || port_mood % 2)
        k->undo.count = 0;
    return k->undo.count;
}
int clock_server_pid(const struct clock_actor *actor)
{
    (void)actor;
    return 0;
}
int trips_clear(struct keeper *k, struct error *err)
{
    FUZZ_CHECK(k->latched || k->undo.count == 0);
    return port_mood % 3 == 0 ? error_set(err, ERR_TRIPPED, "still tripped") : 0;
}
bool observer_tripped(struct observer *observer, char *text, size_t size)
{
    (void)observer;
    (void)text;
    (void)size;
    return false;
}
int keeper_arm(struct keeper *k, const struct undo_step *step, struct error *err)
{
    return undo_add(&k->undo, step, err);
}
int keeper_unlatch(struct keeper *k, struct error *err)
{
    (void)err;
    k->latched = false;
    k->latch.reason[0] = '\0';
    return 0;
}
/* The observer sees every answer: here it sees that it is one. */
void observer_take(struct observer *observer, const struct message *answer, double asked)
{
    (void)observer;
    (void)asked;
    FUZZ_CHECK(answer->op > 0 && answer->op < MESSAGE_PORT_COUNT);
}
int observer_rule_count(const struct observer *observer)
{
    (void)observer;
    return 0;
}
int observer_fd(const struct observer *observer)
{
    (void)observer;
    return -1;
}
int64_t observer_due_ns(struct observer *observer)
{
    (void)observer;
    return CLOCK_NEVER;
}
void supervise_beat(struct supervise_page *page)
{
    (void)page;
}
int supervise_listen(const char *socket_path, int *ret_fd, struct error *err)
{
    (void)socket_path;
    (void)ret_fd;
    return error_set(err, ERR_UNSUPPORTED, "nobody listens here");
}
void keeper_close_ports(struct keeper *k)
{
    (void)k;
}
cJSON *port_health_of(const struct port *port, int instrument)
{
    (void)port;
    (void)instrument;
    return cJSON_CreateObject();
}
bool silence_runs(int pid)
{
    return pid > 0;
}
void port_drop(struct port *port, int code, const char *why)
{
    (void)port;
    FUZZ_CHECK(code < 0 && why != NULL);
}

/* ---- What may reach a port ---- */
static bool armed(int kind, int channel)
{
    return undo_find(&keeper.undo, kind, channel) >= 0;
}

/* As an instrument reads it: parts end at ';' and line ends, headers at white space, which is all of 0..32.
 */
static void check_raw_command(const uint8_t *text, size_t n)
{
    size_t start = 0;

    for (size_t i = 0; i <= n; i++) {
        if (i < n && text[i] != ';' && text[i] != '\n' && text[i] != '\r')
            continue;
        while (start < i && (text[start] <= ' ' || text[start] == ':'))
            start++;
        size_t end = start;
        while (end < i && text[end] > ' ')
            end++;
        if (end > start)
            FUZZ_CHECK(text[end - 1] == '?');
        start = i + 1;
    }
}

static void check_allowed(const struct message *m, const uint8_t *payload)
{
    const struct bench_channel *ch = guard_channel(&file, m);
    bool raises = m->op == MESSAGE_SET_VOLTAGE || m->op == MESSAGE_SET_LIMIT || m->op == MESSAGE_SPI_BATCH ||
                  m->op == MESSAGE_SET_PROTECTION || m->op == MESSAGE_CLEAR_TRIP ||
                  (m->value[0] != 0 && (m->op == MESSAGE_OUTPUT || m->op == MESSAGE_SPI_DRIVE));

    FUZZ_CHECK(m->instrument >= 0 && m->instrument < file.instrument_count);
    FUZZ_CHECK(file.instrument[m->instrument].energises);
    FUZZ_CHECK(m->op > 0 && m->op < MESSAGE_PORT_COUNT && m->op != MESSAGE_SAFE_OFF);
    FUZZ_CHECK(!keeper.latched || !raises);
    if (m->op == MESSAGE_SET_VOLTAGE)
        FUZZ_CHECK(ch != NULL && m->value[0] >= ch->volt_min_v && m->value[0] <= ch->volt_max_v);
    if (m->op == MESSAGE_SET_LIMIT)
        FUZZ_CHECK(ch != NULL && m->value[0] >= ch->limit_min_a && m->value[0] <= ch->limit_max_a);
    if (m->op == MESSAGE_OUTPUT && m->value[0] != 0)
        FUZZ_CHECK(ch != NULL && armed(UNDO_OUTPUT_OFF, ch->index));
    if (m->op == MESSAGE_SPI_DRIVE && m->value[0] != 0)
        FUZZ_CHECK(armed(UNDO_SPI_RELEASE, -1));
    if (m->op == MESSAGE_QUERY)
        check_raw_command(payload, m->payload_length);
}

/* Answers at once: well, with all the room it was given, or with an error. */
void port_post(struct port *port, struct port_request *request)
{
    struct message *m = &request->message;

    (void)port;
    FUZZ_CHECK(m->payload_length <= request->room);
    check_allowed(m, request->payload);
    if (port_mood % 3 == 0) {
        memset(request->payload, 'x', request->room);
        m->payload_length = (uint32_t)request->room;
    } else if (port_mood % 3 == 1) {
        m->code = error_set(&request->error, ERR_TIMEOUT, "no answer");
    } else {
        m->payload_length = 0;
        m->flags = MESSAGE_TRIPPED;
    }
    request->done(request);
}

/* ---- The bench, the client ---- */
static void make_bench(void)
{
    static const struct bench_instrument instruments[] = {
        { .name = "psu1", .class = CLASS_PSU, .energises = true },
        { .name = "dmm1", .class = CLASS_DMM },
        { .name = "spi1", .class = CLASS_SPI, .energises = true },
    };

    memcpy(file.instrument, instruments, sizeof instruments);
    snprintf(file.name, sizeof file.name, "fuzz");
    file.instrument_count = 3;
    file.spi_instrument = 2;
    file.channel_count = 3;
    for (int i = 0; i < 3; i++) {
        file.channel[i] = (struct bench_channel){
            .index = i,
            .instrument = i == 2 ? 1 : 0,
            .number = i % 2 + 1,
            .can_source = i < 2,
            .volt_max_v = 6,
            .limit_min_a = 0.001,
            .limit_max_a = 5,
        };
        snprintf(file.channel[i].name, sizeof file.channel[i].name, "%s", i == 2 ? "dmm1.1" : "psu1.x");
    }
}

static uint32_t take_payload(struct fuzz_input *in, uint8_t *payload)
{
    static const uint32_t lengths[] = { MESSAGE_PAYLOAD_MAX, MESSAGE_PAYLOAD_MAX + 1, SMALL_PAYLOAD,
                                        SMALL_PAYLOAD + 1 };
    uint32_t length = fuzz_take(in, 1);

    if (length >= 252) {
        memset(payload, 'y', lengths[length - 252]);
        return lengths[length - 252];
    }
    length = length < in->size ? length : (uint32_t)in->size;
    for (uint32_t i = 0; i < length; i++)
        payload[i] = (uint8_t)fuzz_take(in, 1);
    return length;
}

/* A frame from the input's choices; its length. Now and then one that is no message. */
static size_t make_frame(struct fuzz_input *in)
{
    static const double values[] = {
        0, 1, -1, NAN, 1e300, -1e300, 3.3, 0.5, 6.1, 1000, 1001, 2, 1.5, INFINITY
    };
    static const uint8_t ops[] = { MESSAGE_KEEPER_HELLO, MESSAGE_KEEPER_UNDO,  MESSAGE_OUTPUT,
                                   MESSAGE_SET_VOLTAGE,  MESSAGE_QUERY,        MESSAGE_SPI_DRIVE,
                                   MESSAGE_KEEPER_ESTOP, MESSAGE_KEEPER_CLEAR, MESSAGE_KEEPER_STATUS,
                                   MESSAGE_SPI_BATCH,    MESSAGE_STATE,        MESSAGE_KEEPER_SAFE };
    struct message m = { .magic = MESSAGE_MAGIC, .seq = fuzz_take(in, 1) };
    unsigned op = fuzz_take(in, 1), where = fuzz_take(in, 1);

    m.op = op < 128 ? ops[op % sizeof ops] : (uint16_t)(op - 128);
    bool own = m.op >= MESSAGE_KEEPER_HELLO;
    m.instrument = where % 16 == 15 ? (int16_t)fuzz_take(in, 2) : own ? -1 : (int16_t)(where % 4);
    m.channel = (int16_t)(where / 16 % 4);
    m.flags =
        where >= 192 ? fuzz_take(in, 4) : (uint32_t)(sizeof(struct message) << 16 | sizeof(struct error));
    for (int i = 0; i < 4; i++)
        m.value[i] = values[fuzz_take(in, 1) % (sizeof values / sizeof *values)];
    m.payload_length = take_payload(in, frame + sizeof m);
    size_t n = sizeof m + m.payload_length;
    if (m.seq == 0xFE)
        m.payload_length++;
    if (m.seq == 0xFD)
        m.magic = 0;
    memcpy(frame, &m, sizeof m);
    return m.seq == 0xFC ? op : n;
}

static void check_answers(int fd, uint32_t seq)
{
    struct message m;
    struct error err;

    for (ssize_t n; (n = recv(fd, answer, sizeof answer, MSG_DONTWAIT)) > 0;) {
        FUZZ_CHECK(n >= (ssize_t)sizeof m);
        memcpy(&m, answer, sizeof m);
        FUZZ_CHECK(m.magic == MESSAGE_MAGIC && m.seq == seq);
        FUZZ_CHECK(m.payload_length == (size_t)n - sizeof m);
        if (m.code != 0) {
            FUZZ_CHECK(m.payload_length == sizeof err);
            memcpy(&err, answer + sizeof m, sizeof err);
            fuzz_check_refusal(m.code, &err, NULL);
        } else if (m.op == MESSAGE_KEEPER_STATUS && m.instrument < 0) {
            answer[n] = '\0';
            fuzz_check_json((const char *)answer + sizeof m);
        }
    }
}

static void check_undo_list(void)
{
    FUZZ_CHECK(keeper.undo.count >= 0 && keeper.undo.count <= 3); /* one per target of this bench */
    for (int i = 0; i < keeper.undo.count; i++) {
        const struct undo_step *step = &keeper.undo.step[i];

        FUZZ_CHECK(step->kind == UNDO_SPI_RELEASE ? step->channel == -1 : step->kind == UNDO_OUTPUT_OFF);
        FUZZ_CHECK(step->kind == UNDO_SPI_RELEASE ||
                   (step->channel >= 0 && step->channel < file.channel_count));
        FUZZ_CHECK(step->barrier >= 0 && step->barrier <= UNDO_BARRIER_MAX);
    }
}

static void connect_client(struct server *server, int *ret_fd)
{
    int fds[2], bytes = 2 * FRAME_BYTES;

    FUZZ_CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) == 0);
    for (int i = 0; i < 2; i++) {
        if (setsockopt(fds[i], SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes) < 0)
            setsockopt(fds[i], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    }
    struct link *link = calloc(1, sizeof *link);
    FUZZ_CHECK(link != NULL);
    *link = (struct link){ .server = server, .fd = fds[0], .pid = 4711, .slot = -1 };
    atomic_store(&link->references, 1);
    server->links = link;
    server->link_count = 1;
    *ret_fd = fds[1];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = { data, size };
    struct server server = { .keeper = &keeper, .epoll_fd = -1, .listen_fd = -1, .signal_fd = -1 };
    int fd;

    make_bench();
    keeper = (struct keeper){ .file = &file };
    pthread_mutex_init(&server.lock, NULL);
    server.frame = malloc(sizeof(struct message) + MESSAGE_PAYLOAD_MAX + 1);
    FUZZ_CHECK(server.frame != NULL);
    connect_client(&server, &fd);
    for (int i = 0; i < FRAMES_MAX && in.size > 0 && server.links != NULL; i++) {
        port_mood = (int)fuzz_take(&in, 1);
        size_t n = make_frame(&in);
        struct message sent;
        memcpy(&sent, frame, sizeof sent);
        if (send(fd, frame, n, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
            break;
        read_link(&server, server.links);
        check_answers(fd, sent.seq);
        check_undo_list();
    }
    server_close(&server);
    close(fd);
    return 0;
}
