/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * modbus_line: exchanges of one request and its answer. A whole frame is collected here, under the deadline
 * of the bench's clock, before libmodbus sees it: so libmodbus never waits. Its own error recovery stays off
 * (it hangs on a dead peer). An RTU answer carries no number, so after silence the time of a late answer is
 * waited out before the next request; over TCP an answer to an older request is known by its number and
 * passed over. */
#include "drivers/modbus_line.h"

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
    FRAME_MAX = MODBUS_LINE_FRAME_MAX,
    TCP_HEADER = 6,  /* before the unit's byte: transaction, protocol, length */
    RTU_CHECK = 2,   /* after the last byte: CRC */
    EXCEPTION_N = 3, /* unit, function, code */
    SERVER_BUSY = 6,
    SERVER_ACKNOWLEDGE = 5,
    STALE_FRAMES_MAX = 32
};
#define REST_QUIET_NS (30 * NS_PER_MS) /* rest of a broken frame: longer than the pauses of USB adapters */

/* What all links of one port share. */
struct modbus_line {
    const struct transport_env *env;
    int holders;
    struct transport *transport; /* NULL once the line has been lost */
    modbus_t *codec;
    int low_fd, near_fd; /* the two ends of the codec's socket pair: libmodbus has low_fd */
    bool tcp;
    double gap_s;          /* the longest that a unit of the line needs */
    int64_t quiet_from_ns; /* the last byte of the line */
    uint16_t number;       /* of the latest TCP request */
    size_t owed;           /* bytes of an RTU answer that may still come... */
    double owed_s;         /* ...within this time */
    uint8_t in[2 * FRAME_MAX];
    size_t have;
    uint8_t framed[FRAME_MAX], frame[FRAME_MAX]; /* the latest request, without and with framing */
    size_t framed_n, frame_n;
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

void modbus_line_reserve(void)
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

/* ---- The line ---- */
static int open_codec(struct modbus_line *line, struct error *err)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return error_set_errno(err, errno, "socket pair");
    line->near_fd = pair[1];
    line->low_fd = take_low(pair[0], err);
    if (line->low_fd < 0)
        return line->low_fd;
    line->codec = line->tcp ? modbus_new_tcp(NULL, MODBUS_TCP_DEFAULT_PORT)
                            : modbus_new_rtu("/dev/null", 9600, 'N', 8, 1); /* never connected: frames only */
    if (!line->codec)
        return error_set(err, ERR_MEMORY, "libmodbus: %s", modbus_strerror(errno));
    modbus_set_error_recovery(line->codec, MODBUS_ERROR_RECOVERY_NONE);
    modbus_set_response_timeout(line->codec, 0, 1000);
    modbus_set_byte_timeout(line->codec, 0, 1000);
    modbus_set_socket(line->codec, line->low_fd);
    return 0;
}

static int descriptor(const struct modbus_line *line)
{
    return line->transport->ops->fd(line->transport);
}

static int set_parity(const struct modbus_line *line, char parity, struct error *err)
{
    struct termios settings;
    if (parity == 'N')
        return 0;
    int fd = descriptor(line);
    if (fd < 0 || tcgetattr(fd, &settings) < 0)
        return error_set(err, ERR_UNSUPPORTED, "parity %c: no serial line", parity);
    settings.c_cflag |= PARENB | (parity == 'O' ? PARODD : 0);
    return tcsetattr(fd, TCSANOW, &settings) < 0 ? error_set_errno(err, errno, "parity %c", parity) : 0;
}

/* The answer to a question that somebody asked before us may still be on its way, and nothing in it says so:
 * the line must have been quiet for as long as an answer may take. */
static int wait_for_quiet(struct modbus_line *line, double timeout_s, struct error *err)
{
    if (line->tcp)
        return 0;
    int code = transport_drain(line->transport, line->env, (int64_t)(timeout_s * 1e9), err);
    line->quiet_from_ns = clock_now(line->env->clock);
    return code;
}

/* The line cannot be used any more: whoever holds it lets go when he finds out. */
static void lose_line(struct modbus_line *line)
{
    transport_close(line->transport);
    line->transport = NULL;
    if (line->env->line && *line->env->line == line)
        *line->env->line = NULL;
}

void modbus_line_leave(struct modbus_line *line)
{
    if (!line || --line->holders > 0)
        return;
    lose_line(line);
    if (line->codec)
        modbus_free(line->codec);
    if (line->near_fd >= 0)
        close(line->near_fd);
    give_low(line->low_fd);
    free(line);
}

static int open_line(const struct transport_env *env, const char *name,
                     const struct modbus_link_address *address, double timeout_s, struct modbus_line **ret,
                     struct error *err)
{
    struct modbus_line *line = calloc(1, sizeof *line);
    if (!line)
        return error_set(err, ERR_MEMORY, "Modbus line of %s", name);
    *line = (struct modbus_line){ .env = env, .holders = 1, .low_fd = -1, .near_fd = -1 };
    int code = transport_open(env, name, address->carrier, &line->transport, err);
    line->tcp = !code && (address->framing == MODBUS_LINK_TCP ||
                          (address->framing == MODBUS_LINK_SIM && !isatty(descriptor(line))));
    if (!code)
        code = set_parity(line, address->parity, err);
    if (!code)
        code = open_codec(line, err);
    if (!code)
        code = wait_for_quiet(line, timeout_s, err);
    if (code) {
        modbus_line_leave(line);
        return code;
    }
    *ret = line;
    return 0;
}

int modbus_line_join(const struct transport_env *env, const char *name,
                     const struct modbus_link_address *address, const struct modbus_link_pace *pace,
                     struct modbus_line **ret, struct error *err)
{
    double gap_s = address->gap_s > pace->gap_s ? address->gap_s : pace->gap_s;
    struct modbus_line *line = env->line ? *env->line : NULL;
    int code = 0;
    if (line)
        line->holders++;
    else
        code = open_line(env, name, address, pace->timeout_s, &line, err);
    if (code)
        return code;
    if (gap_s > line->gap_s)
        line->gap_s = gap_s;
    if (env->line)
        *env->line = line;
    *ret = line;
    return 0;
}

/* ---- One exchange ---- */
static void put(uint8_t *at, int value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static int64_t after(const struct modbus_line *line, double seconds)
{
    return clock_now(line->env->clock) + (int64_t)(seconds * 1e9);
}

/* Has libmodbus frame the request; one that is the same as the last needs no new frame. */
static int make_frame(struct modbus_line *line, const struct modbus_exchange *x, struct error *err)
{
    if (line->frame_n && line->framed_n == x->ask_n && memcmp(line->framed, x->ask, x->ask_n) == 0)
        return 0;
    line->frame_n = 0;
    int made = modbus_send_raw_request(line->codec, x->ask, (int)x->ask_n);
    ssize_t n = made > 0 ? recv(line->near_fd, line->frame, sizeof line->frame, MSG_DONTWAIT) : -1;
    if (n != made || n < (ssize_t)x->ask_n)
        return error_set(err, ERR_INTERNAL, "libmodbus makes no frame: %s", modbus_strerror(errno));
    line->frame_n = (size_t)n;
    line->framed_n = x->ask_n;
    memcpy(line->framed, x->ask, x->ask_n);
    return 0;
}

/* Raw requests of libmodbus all have transaction 0: a late answer would pass for the next one, so TCP frames
 * are numbered here. */
static int ask(struct modbus_line *line, struct modbus_exchange *x, struct error *err)
{
    int code = make_frame(line, x, err);
    if (code)
        return code;
    if (line->tcp) {
        line->number++;
        put(line->frame, line->number);
    } else {
        transport_flush(line->transport);
        line->have = 0;
        code = clock_sleep_until(line->env->actor, line->quiet_from_ns + (int64_t)(line->gap_s * 1e9),
                                 line->env->cut_fd);
        if (code)
            return error_set(err, code, "cut by a safe request");
        line->owed = x->answer_n + RTU_CHECK;
        line->owed_s = x->timeout_s;
    }
    return transport_write(line->transport, line->frame, line->frame_n, after(line, x->timeout_s), err);
}

/* Reads until `n` bytes are there. */
static int gather(struct modbus_line *line, size_t n, int64_t deadline_ns, struct error *err)
{
    while (line->have < n) {
        size_t got = 0;
        size_t room = line->tcp ? sizeof line->in - line->have : n - line->have;
        int code = transport_read(line->transport, line->in + line->have, room, deadline_ns, &got, err);
        if (code)
            return code;
        line->have += got;
        line->quiet_from_ns = clock_now(line->env->clock);
    }
    return 0;
}

static void take_frame(struct modbus_line *line, struct modbus_exchange *x, size_t n)
{
    memcpy(x->frame, line->in, n);
    x->frame_n = n;
    x->answer = x->frame + (line->tcp ? TCP_HEADER : 0);
    line->have -= n;
    memmove(line->in, line->in + n, line->have);
}

static int half_a_frame(const struct modbus_line *line, struct error *err)
{
    return error_set(err, ERR_LINK, "an answer stops after %zu bytes", line->have);
}

/* A stream that is out of step never finds back, and half a frame would swallow the next one: the connection
 * is made anew. */
static int receive_tcp(struct modbus_line *line, struct modbus_exchange *x, struct error *err)
{
    int64_t deadline_ns = after(line, x->timeout_s);
    for (int stale = 0; stale < STALE_FRAMES_MAX; stale++) {
        int code = gather(line, TCP_HEADER, deadline_ns, err);
        if (code)
            return code == ERR_TIMEOUT && line->have > 0 ? half_a_frame(line, err) : code;
        unsigned protocol = (unsigned)(line->in[2] << 8 | line->in[3]);
        size_t n = (size_t)(line->in[4] << 8 | line->in[5]);
        if (protocol != 0 || n < EXCEPTION_N || n > FRAME_MAX - TCP_HEADER)
            return error_set(err, ERR_LINK, "no Modbus/TCP header: protocol %u, %zu bytes", protocol, n);
        code = gather(line, TCP_HEADER + n, deadline_ns, err);
        if (code)
            return code == ERR_TIMEOUT ? half_a_frame(line, err) : code;
        take_frame(line, x, TCP_HEADER + n);
        if ((x->frame[0] << 8 | x->frame[1]) == line->number)
            return 0;
    }
    return error_set(err, ERR_LINK, "%d answers to older requests", STALE_FRAMES_MAX);
}

static int receive_rtu(struct modbus_line *line, struct modbus_exchange *x, struct error *err)
{
    int64_t deadline_ns = after(line, x->timeout_s);
    int code = gather(line, EXCEPTION_N + RTU_CHECK, deadline_ns, err);
    if (code)
        return code;
    bool exception = line->in[1] == (x->ask[1] | 0x80);
    if (line->in[0] != x->ask[0] || (line->in[1] != x->ask[1] && !exception))
        return error_set(err, ERR_GARBAGE, "unit %d, function %d was asked; unit %d, function %d answers",
                         x->ask[0], x->ask[1], line->in[0], line->in[1]);
    size_t n = (exception ? EXCEPTION_N : x->answer_n) + RTU_CHECK;
    code = gather(line, n, deadline_ns, err);
    if (code)
        return code;
    take_frame(line, x, n);
    return 0;
}

/* Has libmodbus take an RTU frame apart: its lengths and its CRC. A TCP frame has no check sum, and its
 * lengths are known already. */
static int check_frame(struct modbus_line *line, const struct modbus_exchange *x, struct error *err)
{
    uint8_t seen[FRAME_MAX], scrap[FRAME_MAX];
    modbus_set_slave(line->codec, x->ask[0]);
    if (send(line->near_fd, x->frame, x->frame_n, MSG_NOSIGNAL) != (ssize_t)x->frame_n)
        return error_set_errno(err, errno, "socket pair");
    int n = modbus_receive_confirmation(line->codec, seen);
    if (n == (int)x->frame_n)
        return 0;
    int reason = errno;
    while (recv(line->low_fd, scrap, sizeof scrap, MSG_DONTWAIT) > 0)
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

static int try_once(struct modbus_line *line, struct modbus_exchange *x, struct error *err)
{
    int code = ask(line, x, err);
    if (!code)
        code = line->tcp ? receive_tcp(line, x, err) : receive_rtu(line, x, err);
    if (!code && !line->tcp)
        code = check_frame(line, x, err);
    if (code)
        return code;
    line->owed = 0;
    const uint8_t *answer = x->answer;
    size_t n = x->frame_n - (line->tcp ? TCP_HEADER : RTU_CHECK);
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
int modbus_line_settle(struct modbus_line *line, struct error *err)
{
    if (!line->transport)
        return error_set(err, ERR_LINK, "the line was lost");
    if (line->tcp || line->owed == 0)
        return 0;
    struct error own = { 0 };
    int code;
    if (line->have > 0)
        code = transport_drain(line->transport, line->env, REST_QUIET_NS, &own);
    else
        code = gather(line, line->owed, after(line, line->owed_s), &own);
    if (code && code != ERR_TIMEOUT) {
        if (err)
            *err = own;
        return code;
    }
    line->owed = line->have = 0;
    return 0;
}

int modbus_line_exchange(struct modbus_line *line, struct modbus_exchange *x, struct error *err)
{
    int code = modbus_line_settle(line, err);
    if (!code)
        code = try_once(line, x, err);
    if (code == ERR_LINK)
        lose_line(line);
    return code;
}
