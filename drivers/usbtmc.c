/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * usbtmc: USB instruments through the kernel's character device, "usbtmc:/dev/usbtmc0". One write is one
 * message. The kernel's read waits where nobody can cut it, and asking twice confuses instruments; so the
 * status byte is polled until it says that an answer is there (MAV), and only then is it read. Devices
 * without that request are read in slices. Real time only. */
#include <errno.h>
#include <fcntl.h>
#include <linux/usb/tmc.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "drivers/transport.h"

enum { STB_MAV = 0x10, SLICE_MS = 200 };

#define POLL_FIRST_NS (200 * NS_PER_US)
#define POLL_LAST_NS  (5 * NS_PER_MS)

struct usbtmc {
    struct transport base;
    const struct transport_env *env;
    int fd;
    bool has_status; /* READ_STB is served */
};

static int cut_or_wait(const struct usbtmc *t, int64_t until_ns, struct error *err)
{
    struct pollfd fd = { .fd = t->env->cut_fd, .events = POLLIN };
    int ready = clock_poll(t->env->actor, &fd, t->env->cut_fd >= 0 ? 1 : 0, until_ns, 0);
    if (ready < 0)
        return error_set(err, ready, "waiting for an answer");
    return ready > 0 ? error_set(err, ERR_CANCELLED, "cut by a safe request") : 0;
}

/* True when a read will find something, as far as that can be known. */
static bool has_answer(struct usbtmc *t)
{
    unsigned char status = 0;
    if (!t->has_status)
        return true;
    if (ioctl(t->fd, USBTMC488_IOCTL_READ_STB, &status) == 0)
        return status & STB_MAV;
    if (errno == ENOTTY || errno == EINVAL || errno == EOPNOTSUPP)
        t->has_status = false;
    return !t->has_status;
}

static int usbtmc_read(struct transport *transport, void *data, size_t size, int64_t deadline_ns,
                       size_t *ret_n, struct error *err)
{
    struct usbtmc *t = (struct usbtmc *)transport;
    int64_t pause_ns = POLL_FIRST_NS;
    for (;;) {
        if (has_answer(t)) {
            ssize_t n = read(t->fd, data, size);
            if (n > 0) {
                *ret_n = (size_t)n;
                return 0;
            }
            if (n < 0 && errno != EAGAIN && errno != ETIMEDOUT && errno != EINTR)
                return error_set(err, ERR_LINK, "read: %s", strerror(errno));
        }
        int64_t now_ns = clock_now(t->env->clock);
        if (now_ns >= deadline_ns)
            return error_set(err, ERR_TIMEOUT, "no answer before the deadline");
        int64_t until_ns = now_ns + pause_ns < deadline_ns ? now_ns + pause_ns : deadline_ns;
        int code = cut_or_wait(t, until_ns, err);
        if (code)
            return code;
        pause_ns = 2 * pause_ns < POLL_LAST_NS ? 2 * pause_ns : POLL_LAST_NS;
    }
}

static int usbtmc_write(struct transport *transport, const void *data, size_t n, int64_t deadline_ns,
                        struct error *err)
{
    struct usbtmc *t = (struct usbtmc *)transport;
    const uint8_t *next = data;
    while (n > 0) {
        ssize_t sent = write(t->fd, next, n);
        if (sent > 0) {
            next += sent;
            n -= (size_t)sent;
            continue;
        }
        if (sent < 0 && errno != EAGAIN && errno != ETIMEDOUT && errno != EINTR)
            return error_set(err, ERR_LINK, "write: %s", strerror(errno));
        int64_t now_ns = clock_now(t->env->clock);
        if (now_ns >= deadline_ns)
            return error_set(err, ERR_TIMEOUT, "the instrument does not take what is sent");
        int code = cut_or_wait(t, now_ns + POLL_LAST_NS, err);
        if (code)
            return code;
    }
    return 0;
}

static void usbtmc_flush(struct transport *transport)
{
    struct usbtmc *t = (struct usbtmc *)transport;
    char scrap[1024];
    while (t->has_status && has_answer(t) && t->has_status)
        if (read(t->fd, scrap, sizeof scrap) <= 0)
            return;
}

static void usbtmc_close(struct transport *transport)
{
    struct usbtmc *t = (struct usbtmc *)transport;
    close(t->fd);
    free(t);
}

static int usbtmc_fd(const struct transport *transport)
{
    return ((const struct usbtmc *)transport)->fd;
}

static int usbtmc_open(const struct transport_env *env, const char *name, const char *address,
                       struct transport **ret, struct error *err)
{
    (void)name;
    if (clock_is_virtual(env->clock))
        return error_set(err, ERR_UNSUPPORTED, "usbtmc:%s: a USB device knows real time only", address);
    int fd = open(address, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return error_set(err, ERR_NO_ANSWER, "usbtmc:%s: %s", address, strerror(errno));
    struct usbtmc *t = calloc(1, sizeof *t);
    if (!t) {
        close(fd);
        return error_set(err, ERR_MEMORY, "transport");
    }
    *t = (struct usbtmc){ .base.ops = &transport_usbtmc, .env = env, .fd = fd, .has_status = true };
    uint32_t slice_ms = SLICE_MS;
    /* Neither is vital: an old kernel has no settable time-out, and a stand-in has no buffers to clear. */
    if (ioctl(fd, USBTMC_IOCTL_SET_TIMEOUT, &slice_ms) == 0)
        ioctl(fd, USBTMC_IOCTL_CLEAR);
    *ret = &t->base;
    return 0;
}

const struct transport_ops transport_usbtmc = {
    .prefix = "usbtmc",
    .open = usbtmc_open,
    .read = usbtmc_read,
    .write = usbtmc_write,
    .flush = usbtmc_flush,
    .close = usbtmc_close,
    .fd = usbtmc_fd,
};
