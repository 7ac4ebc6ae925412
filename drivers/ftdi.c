/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * ftdi: the byte stream of an FTDI chip's MPSSE engine over USB, through libftdi1:
 * "ftdi:VID:PID[:SERIAL[:INTERFACE]]", ids in hexadecimal, an empty serial number for the only one, interface
 * A to D. The engine's pins are inputs when it is opened and when it is closed. libftdi blocks: every call is
 * a slice of at most SLICE_MS, or one USB packet, and the cut is looked at between them. */
#include <ctype.h>
#include <libftdi1/ftdi.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/transport.h"

enum {
    SLICE_MS = 50,
    PACKET = 512,          /* of a high-speed bulk endpoint: goes through whole or not at all */
    PACKET_LIMIT_MS = 500, /* the engine takes one as fast as its SPI clock lets it */
    LATENCY_MS = 2,        /* the chip answers an empty read after that */
    SERIAL_MAX = 64,
    USB_TIMEOUT = -7, /* LIBUSB_ERROR_TIMEOUT */
    USB_GONE = -4     /* LIBUSB_ERROR_NO_DEVICE */
};

struct ftdi {
    struct transport base; /* first */
    const struct transport_env *env;
    struct ftdi_context *usb;
};

struct address {
    int vendor, product, interface; /* enum ftdi_interface */
    char serial[SERIAL_MAX];        /* "": any */
};

/* Four hexadecimal digits; moves *text behind them. */
static int take_id(const char **text)
{
    char digits[5] = "";
    for (int i = 0; i < 4; i++) {
        if (!isxdigit((unsigned char)(*text)[i]))
            return -1;
        digits[i] = (*text)[i];
    }
    *text += 4;
    return (int)strtol(digits, NULL, 16);
}

static int parse(const char *text, struct address *ret, struct error *err)
{
    const char *rest = text, *letter = "A";
    struct address found = { .vendor = take_id(&rest) };
    found.product = found.vendor >= 0 && *rest++ == ':' ? take_id(&rest) : -1;
    bool good = found.product >= 0 && (*rest == '\0' || *rest == ':');
    if (good && *rest) {
        size_t n = strcspn(++rest, ":");
        good = n < sizeof found.serial;
        memcpy(found.serial, rest, good ? n : 0);
        letter = rest[n] ? rest + n + 1 : letter;
    }
    if (!good || letter[0] < 'A' || letter[0] > 'D' || letter[1])
        return error_set(err, ERR_INVALID,
                         "resource 'ftdi:%s': write ftdi:VID:PID[:SERIAL[:INTERFACE]], as ftdi:0403:6014 or "
                         "ftdi:0403:6010::B",
                         text);
    found.interface = INTERFACE_A + letter[0] - 'A';
    *ret = found;
    return 0;
}

static int check_cut(const struct ftdi *s, struct error *err)
{
    struct pollfd cut = { .fd = s->env->cut_fd, .events = POLLIN };
    return poll(&cut, 1, 0) > 0 ? error_set(err, ERR_CANCELLED, "cut by a safe request") : 0;
}

static int broken(const struct ftdi *s, const char *what, int usb_code, struct error *err)
{
    return error_set(err, ERR_LINK, "%s: %s", what,
                     usb_code == USB_GONE ? "the device was unplugged" : ftdi_get_error_string(s->usb));
}

static int ftdi_transport_read(struct transport *transport, void *data, size_t size, int64_t deadline_ns,
                               size_t *ret_n, struct error *err)
{
    struct ftdi *s = (struct ftdi *)transport;
    s->usb->usb_read_timeout = SLICE_MS;
    for (;;) {
        int code = check_cut(s, err);
        if (code)
            return code;
        int n = ftdi_read_data(s->usb, data, size < INT32_MAX ? (int)size : INT32_MAX);
        if (n > 0) {
            *ret_n = (size_t)n;
            return 0;
        }
        if (n < 0 && n != USB_TIMEOUT)
            return broken(s, "USB read", n, err);
        if (clock_now(s->env->clock) >= deadline_ns)
            return error_set(err, ERR_TIMEOUT, "no answer before the deadline");
    }
}

/* A packet that does not go through in time leaves the stream in doubt, as any time-out does. */
static int ftdi_transport_write(struct transport *transport, const void *data, size_t n, int64_t deadline_ns,
                                struct error *err)
{
    struct ftdi *s = (struct ftdi *)transport;
    const uint8_t *next = data;
    s->usb->usb_write_timeout = PACKET_LIMIT_MS;
    while (n > 0) {
        int part = n < PACKET ? (int)n : PACKET;
        int code = check_cut(s, err);
        if (code)
            return code;
        if (clock_now(s->env->clock) >= deadline_ns)
            return error_set(err, ERR_TIMEOUT, "the deadline passed while sending");
        int sent = ftdi_write_data(s->usb, next, part);
        if (sent == USB_TIMEOUT)
            return error_set(err, ERR_TIMEOUT, "the engine takes no bytes");
        if (sent != part)
            return broken(s, "USB write", sent, err);
        next += part;
        n -= (size_t)part;
    }
    return 0;
}

/* What has come as far as this process; what the chip still holds is asked for by nobody. */
static void ftdi_transport_flush(struct transport *transport)
{
    ((struct ftdi *)transport)->usb->readbuffer_remaining = 0;
}

static void ftdi_transport_close(struct transport *transport)
{
    struct ftdi *s = (struct ftdi *)transport;
    ftdi_set_bitmode(s->usb, 0, BITMODE_RESET); /* pins float */
    ftdi_usb_close(s->usb);
    ftdi_free(s->usb);
    free(s);
}

static int ftdi_transport_fd(const struct transport *transport)
{
    (void)transport;
    return -1;
}

/* What libftdi's codes mean to a person with a cable in hand. */
static int open_error(const struct ftdi *s, const char *address, int usb_code, struct error *err)
{
    static const struct {
        int usb_code;
        const char *why;
    } ROWS[] = {
        { -3, "no such device on USB (lsusb lists what is there)" },
        { -4, "the device does not open: may this user write to it? configs/systemd/60-nightbench.rules, for "
              "udev, "
              "gives it to the group nightbench" },
        { -5, "the interface is in use by another program" },
    };
    for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++) {
        if (ROWS[i].usb_code == usb_code)
            return error_set(err, ERR_NO_ANSWER, "ftdi:%s: %s", address, ROWS[i].why);
    }
    return error_set(err, ERR_NO_ANSWER, "ftdi:%s: %s", address, ftdi_get_error_string(s->usb));
}

/* Everything that an earlier program may have left is put right before the first byte. */
static int prepare(const struct ftdi *s)
{
    return ftdi_usb_reset(s->usb) == 0 && ftdi_set_bitmode(s->usb, 0, BITMODE_RESET) == 0 &&
           ftdi_set_latency_timer(s->usb, LATENCY_MS) == 0 &&
           ftdi_read_data_set_chunksize(s->usb, 16 * 1024) == 0 &&
           ftdi_write_data_set_chunksize(s->usb, PACKET) == 0 &&
           ftdi_setflowctrl(s->usb, SIO_DISABLE_FLOW_CTRL) == 0 && ftdi_tcioflush(s->usb) == 0 &&
           ftdi_set_bitmode(s->usb, 0, BITMODE_MPSSE) == 0;
}

static int ftdi_transport_open(const struct transport_env *env, const char *name, const char *text,
                               struct transport **ret, struct error *err)
{
    struct address address = { 0 };
    (void)name;
    int code = parse(text, &address, err);
    if (code)
        return code;
    if (clock_is_virtual(env->clock))
        return error_set(err, ERR_UNSUPPORTED, "ftdi:%s: USB does not wait for virtual time", text);
    struct ftdi *s = calloc(1, sizeof *s);
    if (s)
        s->usb = ftdi_new();
    if (!s || !s->usb) {
        free(s);
        return error_set(err, ERR_MEMORY, "transport ftdi:%s", text);
    }
    s->base.ops = &transport_ftdi;
    s->env = env;
    s->usb->usb_read_timeout = s->usb->usb_write_timeout = PACKET_LIMIT_MS; /* of control transfers too */
    ftdi_set_interface(s->usb, (enum ftdi_interface)address.interface);
    int failure = ftdi_usb_open_desc(s->usb, address.vendor, address.product, NULL,
                                     address.serial[0] ? address.serial : NULL);
    if (failure) {
        code = open_error(s, text, failure, err);
    } else if (!prepare(s)) {
        code = error_set(err, ERR_LINK, "ftdi:%s: %s", text, ftdi_get_error_string(s->usb));
        ftdi_usb_close(s->usb);
    }
    if (code) {
        ftdi_free(s->usb);
        free(s);
        return code;
    }
    *ret = &s->base;
    return 0;
}

const struct transport_ops transport_ftdi = {
    .prefix = "ftdi",
    .open = ftdi_transport_open,
    .read = ftdi_transport_read,
    .write = ftdi_transport_write,
    .flush = ftdi_transport_flush,
    .close = ftdi_transport_close,
    .fd = ftdi_transport_fd,
};
