/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * nightbench_sigrok: the process that runs libsigrok for one instrument. The sigrok driver starts it with a
 * socket at descriptor 3 (drivers/sigrok_wire.h), and kills it when it hangs: nothing here tries to survive a
 * library that does. One thread, one message after the other; it ends when the socket closes. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "drivers/sigrok/acquire.h"
#include "drivers/sigrok_wire.h"

struct child {
    struct device device;
    struct message message; /* in work, then its answer */
    uint8_t payload[SIGROK_PAYLOAD_MAX + 1];
    uint8_t frame[sizeof(struct message) + SIGROK_PAYLOAD_MAX];
};

/* False when the driver has gone. */
static bool say(struct child *child, const struct message *message, const void *payload)
{
    size_t n = message->payload_length;
    memcpy(child->frame, message, sizeof *message);
    if (n > 0)
        memcpy(child->frame + sizeof *message, payload, n);
    return send(SIGROK_FD, child->frame, sizeof *message + n, MSG_NOSIGNAL) >= 0;
}

static bool hear(struct child *child)
{
    ssize_t n;
    do
        n = recv(SIGROK_FD, child->frame, sizeof child->frame, 0);
    while (n < 0 && errno == EINTR);
    if (n < (ssize_t)sizeof child->message)
        return false;
    memcpy(&child->message, child->frame, sizeof child->message);
    size_t length = (size_t)n - sizeof child->message;
    memcpy(child->payload, child->frame + sizeof child->message, length);
    child->payload[length] = '\0';
    return child->message.magic == MESSAGE_MAGIC && child->message.payload_length == length;
}

static int do_open(struct child *child, struct error *err)
{
    struct device *device = &child->device;
    if (device->instance)
        return error_set(err, ERR_CONFLICT, "the device is open already");
    int code = device_open(device, (const char *)child->payload, err);
    if (code)
        return code;
    const struct sr_dev_inst *instance = device->instance;
    int n = snprintf((char *)child->payload, sizeof child->payload, "%.60s%c%.60s%c%.60s%c%.60s",
                     device_text(sr_dev_inst_vendor_get(instance)), '\0',
                     device_text(sr_dev_inst_model_get(instance)), '\0',
                     device_text(sr_dev_inst_sernum_get(instance)), '\0',
                     device_text(sr_dev_inst_version_get(instance)));
    child->message.payload_length = (uint32_t)n + 1;
    return 0;
}

static int do_capture(struct child *child, struct capture *ret, struct error *err)
{
    struct message_la wish;
    struct message *m = &child->message;
    if (m->payload_length != sizeof wish)
        return error_set(err, ERR_INVALID, "a capture of %u bytes", m->payload_length);
    memcpy(&wish, child->payload, sizeof wish);
    int code = acquire_capture(&child->device, &wish, ret, err);
    if (code)
        return code;
    m->value[0] = ret->rate_hz;
    m->value[1] = ret->samples;
    m->value[2] = (double)ret->unit_bytes;
    m->count = ret->trigger_sample;
    m->payload_length = 0;
    return 0;
}

static int do_measure(struct child *child, struct error *err)
{
    struct message *m = &child->message;
    int quantity = (int)m->value[0];
    if (quantity < QUANTITY_VOLTAGE || quantity > QUANTITY_TEMPERATURE)
        return error_set(err, ERR_UNSUPPORTED, "no quantity %d", quantity);
    int code = acquire_reading(&child->device, m->channel, quantity, &m->value[0], &m->flags, err);
    if (code)
        return code;
    m->value[1] = m->value[2] = NAN; /* libsigrok knows neither uncertainty nor range */
    m->payload_length = 0;
    return 0;
}

static bool say_samples(struct child *child, const uint8_t *bits, size_t bytes)
{
    for (size_t sent = 0; sent < bytes;) {
        size_t n = bytes - sent < SIGROK_PAYLOAD_MAX ? bytes - sent : SIGROK_PAYLOAD_MAX;
        struct message m = { .magic = MESSAGE_MAGIC,
                             .op = SIGROK_DATA,
                             .seq = child->message.seq,
                             .count = (uint32_t)sent,
                             .payload_length = (uint32_t)n };
        if (!say(child, &m, bits + sent))
            return false;
        sent += n;
    }
    return true;
}

static bool serve(struct child *child)
{
    struct message *m = &child->message;
    struct error error = { 0 };
    struct capture capture = { 0 };
    int code;
    if (m->op == SIGROK_OPEN)
        code = do_open(child, &error);
    else if (!child->device.instance)
        code = error_set(&error, ERR_CONFLICT, "no device is open");
    else if (m->op == MESSAGE_LA_CAPTURE)
        code = do_capture(child, &capture, &error);
    else if (m->op == MESSAGE_MEASURE)
        code = do_measure(child, &error);
    else
        code = error_set(&error, ERR_UNSUPPORTED, "no operation %u", m->op);
    m->code = code;
    if (code)
        m->payload_length = sizeof error;
    bool heard = say(child, m, code ? (const void *)&error : child->payload);
    if (heard && capture.bits)
        heard = say_samples(child, capture.bits, (size_t)m->value[1] * capture.unit_bytes);
    g_free(capture.bits);
    return heard;
}

int main(void)
{
    static struct child child;
    int type = 0;
    socklen_t length = sizeof type;
    if (getsockopt(SIGROK_FD, SOL_SOCKET, SO_TYPE, &type, &length) < 0 || type != SOCK_SEQPACKET) {
        fprintf(stderr, "nightbench-sigrok is started by the sigrok driver of nightbenchd, not by hand\n");
        return 2;
    }
    while (hear(&child) && serve(&child))
        ;
    _exit(0); /* whatever the device's driver would still like to do may take for ever */
}
