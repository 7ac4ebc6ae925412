/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * ftdishim: for LD_PRELOAD. Stands in for libftdi1, so far as flashrom and our ftdi transport use it: one
 * FT232H, 0403:6014 with serial number NB1, whose MPSSE engine is at the TCP port FTDI_SHIM (the simulated
 * one). USB itself is not there: what a cable or a driver of the kernel does is not tested. */
#include <libftdi1/ftdi.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { NOT_FOUND = -3, NO_DEVICE = -4, TIMEOUT = -7 };

static int fd = -1, mode, latency_ms = 16;

int ftdi_init(struct ftdi_context *ftdi)
{
    memset(ftdi, 0, sizeof *ftdi);
    ftdi->usb_read_timeout = ftdi->usb_write_timeout = 5000;
    return 0;
}

struct ftdi_context *ftdi_new(void)
{
    struct ftdi_context *ftdi = malloc(sizeof *ftdi);
    if (ftdi)
        ftdi_init(ftdi);
    return ftdi;
}

void ftdi_free(struct ftdi_context *ftdi)
{
    free(ftdi);
}

int ftdi_set_interface(struct ftdi_context *ftdi, enum ftdi_interface interface)
{
    (void)ftdi;
    return interface == INTERFACE_ANY || interface == INTERFACE_A ? 0 : -1;
}

int ftdi_usb_open_desc(struct ftdi_context *ftdi, int vendor, int product, const char *description,
                       const char *serial)
{
    const char *port = getenv("FTDI_SHIM");
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int one = 1;
    if (!port || vendor != 0x0403 || product != 0x6014 || description ||
        (serial && strcmp(serial, "NB1") != 0))
        return NOT_FOUND;
    address.sin_port = htons((uint16_t)atoi(port));
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
        return NO_DEVICE;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    ftdi->type = TYPE_232H;
    return 0;
}

int ftdi_usb_open(struct ftdi_context *ftdi, int vendor, int product)
{
    return ftdi_usb_open_desc(ftdi, vendor, product, NULL, NULL);
}

int ftdi_usb_close(struct ftdi_context *ftdi)
{
    (void)ftdi;
    close(fd);
    fd = -1;
    return 0;
}

int ftdi_usb_reset(struct ftdi_context *ftdi)
{
    (void)ftdi;
    return 0;
}

int ftdi_set_latency_timer(struct ftdi_context *ftdi, unsigned char latency)
{
    (void)ftdi;
    latency_ms = latency;
    return 0;
}

/* Bits of a new mode are inputs: said to the engine, which has no modes. */
int ftdi_set_bitmode(struct ftdi_context *ftdi, unsigned char bitmask, unsigned char new_mode)
{
    static const unsigned char RELEASE[] = { 0x80, 8, 0 };
    (void)ftdi;
    (void)bitmask;
    mode = new_mode;
    return send(fd, RELEASE, sizeof RELEASE, MSG_NOSIGNAL) == sizeof RELEASE ? 0 : NO_DEVICE;
}

int ftdi_read_data_set_chunksize(struct ftdi_context *ftdi, unsigned int size)
{
    (void)ftdi;
    return size > 0 ? 0 : -1;
}

int ftdi_write_data_set_chunksize(struct ftdi_context *ftdi, unsigned int size)
{
    (void)ftdi;
    return size > 0 ? 0 : -1;
}

int ftdi_setflowctrl(struct ftdi_context *ftdi, int flow)
{
    (void)ftdi;
    (void)flow;
    return 0;
}

int ftdi_tcioflush(struct ftdi_context *ftdi)
{
    char scrap[512];
    (void)ftdi;
    while (recv(fd, scrap, sizeof scrap, MSG_DONTWAIT) > 0)
        ;
    return 0;
}

const char *ftdi_get_error_string(struct ftdi_context *ftdi)
{
    (void)ftdi;
    return "the stand-in has no words for it";
}

int ftdi_write_data(struct ftdi_context *ftdi, const unsigned char *bytes, int size)
{
    (void)ftdi;
    for (int done = 0; done < size;) {
        ssize_t n = mode == BITMODE_MPSSE ? send(fd, bytes + done, (size_t)(size - done), MSG_NOSIGNAL) : -1;
        if (n <= 0)
            return NO_DEVICE;
        done += (int)n;
    }
    return size;
}

/* What has come within the latency timer; no bytes are no error. */
int ftdi_read_data(struct ftdi_context *ftdi, unsigned char *bytes, int size)
{
    struct pollfd wait = { .fd = fd, .events = POLLIN };
    (void)ftdi;
    if (poll(&wait, 1, latency_ms) <= 0)
        return 0;
    ssize_t n = recv(fd, bytes, (size_t)size, 0);
    return n > 0 ? (int)n : NO_DEVICE;
}
