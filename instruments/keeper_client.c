/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * keeper_client: single questions to the keeper, and the heartbeat. */
#include "instruments/keeper_client.h"

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/base/clock.h"
#include "instruments/message.h"

enum {
    BUFFER_BYTES = 2 * MESSAGE_PAYLOAD_MAX,
    ANSWER_LIMIT_MS = 30000,
    STATUS_LIMIT_MS = 5000,
    REASON_MAX = 400
};

struct keeper_heartbeat {
    int fd;
    uint32_t seq;
};

double keeper_client_time_scale(void)
{
    const char *text = getenv("NB_TIME_SCALE");
    double scale = text ? strtod(text, NULL) : 1;
    return scale >= 1 && scale <= 100 ? scale : 1;
}

int keeper_client_connect(const char *socket_path, int *ret_fd, struct error *err)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    if (strlen(socket_path) >= sizeof address.sun_path)
        return error_set(err, ERR_RANGE, "socket path is longer than %zu bytes: %s",
                         sizeof address.sun_path - 1, socket_path);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", socket_path);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return error_set_errno(err, errno, "socket");
    int bytes =
        BUFFER_BYTES; /* a message of the full size must fit; FORCE where we may, else the system's cap */
    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes) < 0)
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0) {
        int saved = errno;
        close(fd);
        return error_set(err, ERR_NO_ANSWER, "no keeper at %s: %s", socket_path, strerror(saved));
    }
    *ret_fd = fd;
    return 0;
}

static int ask(const char *socket_path, struct message *message, const char *text, char **ret_payload,
               struct error *err)
{
    int fd = -1;
    int code = keeper_client_connect(socket_path, &fd, err);
    if (code)
        return code;
    size_t room = sizeof *message + MESSAGE_PAYLOAD_MAX;
    uint8_t *frame = calloc(1, room + 1);
    if (!frame) {
        close(fd);
        return error_set(err, ERR_MEMORY, "question to the keeper");
    }
    message->magic = MESSAGE_MAGIC;
    message->instrument = -1;
    message->payload_length = (uint32_t)strnlen(text, REASON_MAX);
    memcpy(frame, message, sizeof *message);
    memcpy(frame + sizeof *message, text, message->payload_length);
    /* Whoever asks for the list to be run waits until it has been; how things are is told at once or not at
     * all. */
    int limit_ms = message->op == MESSAGE_KEEPER_STATUS ? STATUS_LIMIT_MS : ANSWER_LIMIT_MS;
    ssize_t n = send(fd, frame, sizeof *message + message->payload_length, MSG_NOSIGNAL);
    struct pollfd wait = { .fd = fd, .events = POLLIN };
    if (n > 0 && poll(&wait, 1, (int)(limit_ms * keeper_client_time_scale())) == 0)
        code = error_set(err, ERR_TIMEOUT, "the keeper does not answer within %d s", limit_ms / 1000);
    else
        n = n > 0 ? recv(fd, frame, room, 0) : n;
    close(fd);
    if (!code && n < (ssize_t)sizeof *message)
        code = error_set(err, ERR_LINK, "the keeper closed the connection");
    if (!code) {
        memcpy(message, frame, sizeof *message);
        code = message->code;
        if (code && err)
            memcpy(err, frame + sizeof *message, sizeof *err);
        memmove(frame, frame + sizeof *message, (size_t)n - sizeof *message);
        frame[(size_t)n - sizeof *message] = '\0';
    }
    if (code || !ret_payload)
        free(frame);
    else
        *ret_payload = (char *)frame;
    return code;
}

int keeper_client_estop(const char *socket_path, const char *reason, int *ret_missed, struct error *err)
{
    struct message m = { .op = MESSAGE_KEEPER_ESTOP };
    int code = ask(socket_path, &m, reason, NULL, err);
    if (!code && ret_missed)
        *ret_missed = (int)m.value[0];
    return code;
}

int keeper_client_off(const char *socket_path, int *ret_missed, struct error *err)
{
    struct message m = { .op = MESSAGE_KEEPER_SAFE };
    int code = ask(socket_path, &m, "", NULL, err);
    if (!code && ret_missed)
        *ret_missed = (int)m.value[0];
    return code;
}

int keeper_client_clear(const char *socket_path, const char *reason, struct error *err)
{
    struct message m = { .op = MESSAGE_KEEPER_CLEAR };
    return ask(socket_path, &m, reason, NULL, err);
}

int keeper_client_status(const char *socket_path, char **ret_json, struct error *err)
{
    struct message m = { .op = MESSAGE_KEEPER_STATUS };
    return ask(socket_path, &m, "", ret_json, err);
}

int keeper_client_heartbeat_open(const char *socket_path, struct keeper_heartbeat **ret, struct error *err)
{
    struct keeper_heartbeat *heartbeat = calloc(1, sizeof *heartbeat);
    if (!heartbeat)
        return error_set(err, ERR_MEMORY, "heartbeat");
    int code = keeper_client_connect(socket_path, &heartbeat->fd, err);
    if (code) {
        free(heartbeat);
        return code;
    }
    code = keeper_client_heartbeat(heartbeat, err);
    if (code) {
        keeper_client_heartbeat_close(heartbeat);
        return code;
    }
    *ret = heartbeat;
    return 0;
}

int keeper_client_heartbeat(struct keeper_heartbeat *heartbeat, struct error *err)
{
    struct message m = {
        .magic = MESSAGE_MAGIC, .op = MESSAGE_KEEPER_BEAT, .instrument = -1, .seq = heartbeat->seq++
    };
    ssize_t n = send(heartbeat->fd, &m, sizeof m, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n == (ssize_t)sizeof m || (n < 0 && (errno == EAGAIN || errno == EINTR)))
        return 0; /* a full buffer holds beats enough */
    return error_set(err, ERR_FENCED,
                     "the keeper has dropped this process: everything is being switched off");
}

void keeper_client_heartbeat_close(struct keeper_heartbeat *heartbeat)
{
    if (!heartbeat)
        return;
    close(heartbeat->fd);
    free(heartbeat);
}
