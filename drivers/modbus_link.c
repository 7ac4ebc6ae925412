/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * modbus_link: exchanges of one request and its answer. A whole frame is collected here, under the deadline
 * of the bench's clock, before libmodbus sees it: so libmodbus never waits. Its own error recovery stays off
 * (it hangs on a dead peer); retries are here. An RTU answer carries no number, so after silence the time of
 * a late answer is waited out before the next request; over TCP an answer to an older request is known by its
 * number and passed over. */
#include "drivers/modbus_link.h"

#include <errno.h>
#include <fcntl.h>
#include <modbus/modbus.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

enum {
    LOW_FDS = 32,
    FRAME_MAX = MODBUS_TCP_MAX_ADU_LENGTH,
    TCP_HEADER = 6,  /* before the unit's byte: transaction, protocol, length */
    RTU_CHECK = 2,   /* after the last byte: CRC */
    EXCEPTION_N = 3, /* unit, function, code */
    SERVER_BUSY = 6,
    SERVER_ACKNOWLEDGE = 5,
    STALE_FRAMES_MAX = 32
};
#define REST_QUIET_NS (30 * NS_PER_MS) /* rest of a broken frame: longer than the pauses of USB adapters */

struct modbus_link {
    const struct transport_env *env;
    struct transport *transport;
    modbus_t *codec;
    int low_fd, near_fd; /* the two ends of the codec's socket pair: libmodbus has low_fd */
    bool tcp;
    struct modbus_link_pace pace;
    struct modbus_link_address address;
    int64_t quiet_from_ns; /* the last byte of the line */
    uint16_t number;       /* of the latest TCP request */
    size_t owed;           /* bytes of an RTU answer that may still come */
    uint8_t in[2 * FRAME_MAX];
    size_t have;
    uint8_t framed[FRAME_MAX], frame[FRAME_MAX]; /* the latest request, without and with framing */
    size_t framed_n, frame_n;
};

/* One request, without framing, and what its answer must look like. */
struct exchange {
    uint8_t ask[FRAME_MAX]; /* unit, function, data */
    size_t ask_n, answer_n; /* answer_n: unit, function, data of a good answer */
    uint8_t frame[FRAME_MAX];
    size_t frame_n;        /* of the answer, with framing */
    const uint8_t *answer; /* unit, function, data within `frame` */
};

/* ---- The reserve of low descriptors: numbers of descriptors are the process's, so this is too. ---- */
static struct {
    pthread_mutex_t lock;
    int fd[LOW_FDS], count;
    bool taken[LOW_FDS];
} reserve = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void fill_reserve(void)
{
    if (reserve.count)
        return;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    while (null >= 0 && reserve.count < LOW_FDS) {
        int fd = fcntl(null, F_DUPFD_CLOEXEC, 3);
        if (fd >= FD_SETSIZE)
            close(fd);
        if (fd < 0 || fd >= FD_SETSIZE)
            break;
        reserve.fd[reserve.count++] = fd;
    }
    if (null >= 0)
        close(null);
}

void modbus_link_reserve(void)
{
    pthread_mutex_lock(&reserve.lock);
    fill_reserve();
    pthread_mutex_unlock(&reserve.lock);
}

/* Moves fd to a low number; fd is closed in any case. */
static int take_low(int fd, struct error *err)
{
    int low = -1;
    pthread_mutex_lock(&reserve.lock);
    fill_reserve();
    for (int i = 0; i < reserve.count && low < 0; i++) {
        if (reserve.taken[i] || dup3(fd, reserve.fd[i], O_CLOEXEC) < 0)
            continue;
        reserve.taken[i] = true;
        low = reserve.fd[i];
    }
    pthread_mutex_unlock(&reserve.lock);
    close(fd);
    return low >= 0 ? low
                    : error_set(err, ERR_FULL, "no descriptor below %d is left for libmodbus", FD_SETSIZE);
}

static void give_low(int low)
{
    if (low < 0)
        return;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    pthread_mutex_lock(&reserve.lock);
    for (int i = 0; i < reserve.count; i++) {
        if (reserve.fd[i] == low && null >= 0 && dup3(null, low, O_CLOEXEC) >= 0)
            reserve.taken[i] = false;
    }
    pthread_mutex_unlock(&reserve.lock);
    if (null >= 0)
        close(null);
}

/* ---- Opening ---- */
static int open_codec(struct modbus_link *link, struct error *err)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return error_set_errno(err, errno, "socket pair");
    link->near_fd = pair[1];
    link->low_fd = take_low(pair[0], err);
    if (link->low_fd < 0)
        return link->low_fd;
    link->codec = link->tcp ? modbus_new_tcp(NULL, MODBUS_TCP_DEFAULT_PORT)
                            : modbus_new_rtu("/dev/null", 9600, 'N', 8, 1); /* never connected: frames only */
    if (!link->codec)
        return error_set(err, ERR_MEMORY, "libmodbus: %s", modbus_strerror(errno));
    modbus_set_error_recovery(link->codec, MODBUS_ERROR_RECOVERY_NONE);
    modbus_set_response_timeout(link->codec, 0, 1000);
    modbus_set_byte_timeout(link->codec, 0, 1000);
    modbus_set_socket(link->codec, link->low_fd);
    return 0;
}

static int descriptor(const struct modbus_link *link)
{
    return link->transport->ops->fd(link->transport);
}

static int set_parity(const struct modbus_link *link, struct error *err)
{
    struct termios line;
    char parity = link->address.parity;
    if (parity == 'N')
        return 0;
    int fd = descriptor(link);
    if (fd < 0 || tcgetattr(fd, &line) < 0)
        return error_set(err, ERR_UNSUPPORTED, "parity %c: no serial line", parity);
    line.c_cflag |= PARENB | (parity == 'O' ? PARODD : 0);
    return tcsetattr(fd, TCSANOW, &line) < 0 ? error_set_errno(err, errno, "parity %c", parity) : 0;
}

int modbus_link_open(const struct transport_env *env, const char *name, const char *resource,
                     const struct modbus_link_pace *pace, struct modbus_link **ret, struct error *err)
{
    struct modbus_link *link = calloc(1, sizeof *link);
    if (!link)
        return error_set(err, ERR_MEMORY, "Modbus link of %s", name);
    *link = (struct modbus_link){ .env = env, .pace = *pace, .low_fd = -1, .near_fd = -1 };
    int code = modbus_link_parse(resource, &link->address, err);
    if (!code)
        code = transport_open(env, name, link->address.carrier, &link->transport, err);
    if (code) {
        modbus_link_close(link);
        return code;
    }
    link->tcp = link->address.framing == MODBUS_LINK_TCP ||
                (link->address.framing == MODBUS_LINK_SIM && !isatty(descriptor(link)));
    if (link->address.gap_s > link->pace.gap_s)
        link->pace.gap_s = link->address.gap_s;
    code = set_parity(link, err);
    if (!code)
        code = open_codec(link, err);
    if (code) {
        modbus_link_close(link);
        return code;
    }
    *ret = link;
    return 0;
}

void modbus_link_close(struct modbus_link *link)
{
    if (!link)
        return;
    if (link->codec)
        modbus_free(link->codec);
    if (link->near_fd >= 0)
        close(link->near_fd);
    give_low(link->low_fd);
    transport_close(link->transport);
    free(link);
}

int modbus_link_unit(const struct modbus_link *link, int i)
{
    return i >= 0 && i < link->address.unit_count ? link->address.unit[i] : -1;
}

/* ---- One exchange ---- */
static void put(uint8_t *at, int value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static int64_t after(const struct modbus_link *link, double seconds)
{
    return clock_now(link->env->clock) + (int64_t)(seconds * 1e9);
}

/* Has libmodbus frame the request; one that is the same as the last needs no new frame. */
static int make_frame(struct modbus_link *link, const struct exchange *x, struct error *err)
{
    if (link->frame_n && link->framed_n == x->ask_n && memcmp(link->framed, x->ask, x->ask_n) == 0)
        return 0;
    link->frame_n = 0;
    int made = modbus_send_raw_request(link->codec, x->ask, (int)x->ask_n);
    ssize_t n = made > 0 ? recv(link->near_fd, link->frame, sizeof link->frame, MSG_DONTWAIT) : -1;
    if (n != made || n < (ssize_t)x->ask_n)
        return error_set(err, ERR_INTERNAL, "libmodbus makes no frame: %s", modbus_strerror(errno));
    link->frame_n = (size_t)n;
    link->framed_n = x->ask_n;
    memcpy(link->framed, x->ask, x->ask_n);
    return 0;
}

/* Raw requests of libmodbus all have transaction 0: a late answer would pass for the next one, so TCP frames
 * are numbered here. */
static int ask(struct modbus_link *link, struct exchange *x, struct error *err)
{
    int code = make_frame(link, x, err);
    if (code)
        return code;
    if (link->tcp) {
        link->number++;
        put(link->frame, link->number);
    } else {
        transport_flush(link->transport);
        link->have = 0;
        code = clock_sleep_until(link->env->actor, link->quiet_from_ns + (int64_t)(link->pace.gap_s * 1e9),
                                 link->env->cut_fd);
        if (code)
            return error_set(err, code, "cut by a safe request");
        link->owed = x->answer_n + RTU_CHECK;
    }
    return transport_write(link->transport, link->frame, link->frame_n, after(link, link->pace.timeout_s),
                           err);
}

/* Reads until `n` bytes are there. */
static int gather(struct modbus_link *link, size_t n, int64_t deadline_ns, struct error *err)
{
    while (link->have < n) {
        size_t got = 0;
        size_t room = link->tcp ? sizeof link->in - link->have : n - link->have;
        int code = transport_read(link->transport, link->in + link->have, room, deadline_ns, &got, err);
        if (code)
            return code;
        link->have += got;
        link->quiet_from_ns = clock_now(link->env->clock);
    }
    return 0;
}

static void take_frame(struct modbus_link *link, struct exchange *x, size_t n)
{
    memcpy(x->frame, link->in, n);
    x->frame_n = n;
    x->answer = x->frame + (link->tcp ? TCP_HEADER : 0);
    link->have -= n;
    memmove(link->in, link->in + n, link->have);
}

static int half_a_frame(const struct modbus_link *link, struct error *err)
{
    return error_set(err, ERR_LINK, "an answer stops after %zu bytes", link->have);
}

/* A stream that is out of step never finds back, and half a frame would swallow the next one: the connection
 * is made anew. */
static int receive_tcp(struct modbus_link *link, struct exchange *x, struct error *err)
{
    int64_t deadline_ns = after(link, link->pace.timeout_s);
    for (int stale = 0; stale < STALE_FRAMES_MAX; stale++) {
        int code = gather(link, TCP_HEADER, deadline_ns, err);
        if (code)
            return code == ERR_TIMEOUT && link->have > 0 ? half_a_frame(link, err) : code;
        unsigned protocol = (unsigned)(link->in[2] << 8 | link->in[3]);
        size_t n = (size_t)(link->in[4] << 8 | link->in[5]);
        if (protocol != 0 || n < EXCEPTION_N || n > FRAME_MAX - TCP_HEADER)
            return error_set(err, ERR_LINK, "no Modbus/TCP header: protocol %u, %zu bytes", protocol, n);
        code = gather(link, TCP_HEADER + n, deadline_ns, err);
        if (code)
            return code == ERR_TIMEOUT ? half_a_frame(link, err) : code;
        take_frame(link, x, TCP_HEADER + n);
        if ((x->frame[0] << 8 | x->frame[1]) == link->number)
            return 0;
    }
    return error_set(err, ERR_LINK, "%d answers to older requests", STALE_FRAMES_MAX);
}

static int receive_rtu(struct modbus_link *link, struct exchange *x, struct error *err)
{
    int64_t deadline_ns = after(link, link->pace.timeout_s);
    int code = gather(link, EXCEPTION_N + RTU_CHECK, deadline_ns, err);
    if (code)
        return code;
    bool exception = link->in[1] == (x->ask[1] | 0x80);
    if (link->in[0] != x->ask[0] || (link->in[1] != x->ask[1] && !exception))
        return error_set(err, ERR_GARBAGE, "unit %d, function %d was asked; unit %d, function %d answers",
                         x->ask[0], x->ask[1], link->in[0], link->in[1]);
    size_t n = (exception ? EXCEPTION_N : x->answer_n) + RTU_CHECK;
    code = gather(link, n, deadline_ns, err);
    if (code)
        return code;
    take_frame(link, x, n);
    return 0;
}

/* Has libmodbus take an RTU frame apart: its lengths and its CRC. A TCP frame has no check sum, and its
 * lengths are known already. */
static int check_frame(struct modbus_link *link, const struct exchange *x, struct error *err)
{
    uint8_t seen[FRAME_MAX], scrap[FRAME_MAX];
    modbus_set_slave(link->codec, x->ask[0]);
    if (send(link->near_fd, x->frame, x->frame_n, MSG_NOSIGNAL) != (ssize_t)x->frame_n)
        return error_set_errno(err, errno, "socket pair");
    int n = modbus_receive_confirmation(link->codec, seen);
    if (n == (int)x->frame_n)
        return 0;
    int reason = errno;
    while (recv(link->low_fd, scrap, sizeof scrap, MSG_DONTWAIT) > 0)
        ; /* what a frame that is too long left behind */
    return error_set(err, ERR_GARBAGE, "a broken frame answers: %s",
                     n < 0 ? modbus_strerror(reason) : "wrong length");
}

static int exception_of(int exception, struct error *err)
{
    static const char *const NAMES[] = { "?",
                                         "illegal function",
                                         "illegal data address",
                                         "illegal data value",
                                         "device failure",
                                         "acknowledge",
                                         "busy",
                                         "negative acknowledge",
                                         "memory parity",
                                         "?",
                                         "gateway path unavailable",
                                         "gateway target does not answer" };
    bool known = exception > 0 && exception < (int)(sizeof NAMES / sizeof *NAMES);
    int code = exception == 2 || exception == 3 ? ERR_RANGE : ERR_REFUSED;
    error_set(err, code, "the instrument answers exception %d (%s)", exception,
              known ? NAMES[exception] : "unknown");
    if (err)
        err->retryable = exception == SERVER_BUSY || exception == SERVER_ACKNOWLEDGE;
    return code;
}

static int try_once(struct modbus_link *link, struct exchange *x, struct error *err)
{
    int code = ask(link, x, err);
    if (!code)
        code = link->tcp ? receive_tcp(link, x, err) : receive_rtu(link, x, err);
    if (!code && !link->tcp)
        code = check_frame(link, x, err);
    if (code)
        return code;
    link->owed = 0;
    const uint8_t *answer = x->answer;
    size_t n = x->frame_n - (link->tcp ? TCP_HEADER : RTU_CHECK);
    if (answer[0] != x->ask[0])
        return error_set(err, ERR_GARBAGE, "unit %d was asked, unit %d answers", x->ask[0], answer[0]);
    if (answer[1] == (x->ask[1] | 0x80) && n == EXCEPTION_N)
        return exception_of(answer[2], err);
    if (answer[1] != x->ask[1] || n != x->answer_n)
        return error_set(err, ERR_GARBAGE, "function %d: an answer of function %d with %zu bytes, not %zu",
                         x->ask[1], answer[1], n, x->answer_n);
    return 0;
}

/* Silence: the answer may still come, complete, within once more the time that it may take. Garbage: the rest
 * of it follows closely. Over TCP numbers tell. */
int modbus_link_settle(struct modbus_link *link, struct error *err)
{
    if (link->tcp || link->owed == 0)
        return 0;
    struct error own = { 0 };
    int code;
    if (link->have > 0)
        code = transport_drain(link->transport, link->env, REST_QUIET_NS, &own);
    else
        code = gather(link, link->owed, after(link, link->pace.timeout_s), &own);
    if (code && code != ERR_TIMEOUT) {
        if (err)
            *err = own;
        return code;
    }
    link->owed = link->have = 0;
    return 0;
}

static int exchange(struct modbus_link *link, struct exchange *x, struct error *err)
{
    for (int retry = 0;; retry++) {
        struct error failure = { 0 };
        int code = modbus_link_settle(link, &failure);
        if (!code)
            code = try_once(link, x, &failure);
        bool again = code == ERR_TIMEOUT || code == ERR_GARBAGE || (code == ERR_REFUSED && failure.retryable);
        if (code && again && retry < link->pace.retries)
            continue;
        if (code && err)
            *err = failure;
        return code;
    }
}

int modbus_link_read(struct modbus_link *link, int unit, int function, int address, int count,
                     uint16_t *ret_values, struct error *err)
{
    if (count < 1 || count > MODBUS_LINK_READ_MAX || address < 0 || address + count > 0x10000)
        return error_set(err, ERR_RANGE, "%d registers from %d: at most %d at once", count, address,
                         MODBUS_LINK_READ_MAX);
    struct exchange x = { .ask = { (uint8_t)unit, (uint8_t)function },
                          .ask_n = 6,
                          .answer_n = 3 + 2 * (size_t)count };
    put(x.ask + 2, address);
    put(x.ask + 4, count);
    int code = exchange(link, &x, err);
    if (code)
        return code;
    if (x.answer[2] != 2 * count)
        return error_set(err, ERR_GARBAGE, "%d bytes where %d were asked for", x.answer[2], 2 * count);
    for (int i = 0; i < count; i++)
        ret_values[i] = (uint16_t)(x.answer[3 + 2 * i] << 8 | x.answer[4 + 2 * i]);
    return 0;
}

int modbus_link_write(struct modbus_link *link, int unit, int address, const uint16_t *values, int count,
                      struct error *err)
{
    if (count < 1 || count > MODBUS_LINK_WRITE_MAX || address < 0 || address + count > 0x10000)
        return error_set(err, ERR_RANGE, "%d registers to %d: at most %d at once", count, address,
                         MODBUS_LINK_WRITE_MAX);
    struct exchange x = { .ask = { (uint8_t)unit, 6 }, .ask_n = 6, .answer_n = 6 };
    put(x.ask + 2, address);
    put(x.ask + 4, values[0]);
    if (count > 1) {
        x.ask[1] = 16;
        put(x.ask + 4, count);
        x.ask[6] = (uint8_t)(2 * count);
        for (int i = 0; i < count; i++)
            put(x.ask + 7 + 2 * i, values[i]);
        x.ask_n = 7 + 2 * (size_t)count;
    }
    int code = exchange(link, &x, err);
    if (code)
        return code;
    if (memcmp(x.answer + 2, x.ask + 2, 4) != 0)
        return error_set(err, ERR_GARBAGE, "the instrument confirms another register or value");
    return 0;
}
