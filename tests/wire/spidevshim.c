/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * spidevshim: for LD_PRELOAD. With SPIDEV_SHIM=PORT, /dev/spidev9.* is a SPI controller whose wires end at a
 * serprog bridge on that TCP port of this host; the kernel's rules for a message are kept (size of the
 * buffer, CS over all its transfers). A transfer that sends and receives at the same time is asked of the
 * half-duplex bridge once per byte, with all that was sent before it: right for commands that only read.
 * Pins are driven from open to close. */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/spi/spidev.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BUFFER = 2048, HEADER = 7, ACK = 0x06, FILES = 1024 };

static const char DEVICE[] = "/dev/spidev9.";
static char is_device[FILES];
static uint32_t speed_hz = 1000000;
static uint8_t mode, bits = 8;

int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);

static void *next(const char *name)
{
    return dlsym(RTLD_NEXT, name);
}

static int wants(const char *path)
{
    return getenv("SPIDEV_SHIM") && strncmp(path, DEVICE, sizeof DEVICE - 1) == 0;
}

/* A command and its answer of exactly n bytes behind the ACK. */
static int ask(int fd, const uint8_t *command, size_t count, uint8_t *answer, size_t n)
{
    uint8_t first;
    if (send(fd, command, count, MSG_NOSIGNAL) != (ssize_t)count || recv(fd, &first, 1, MSG_WAITALL) != 1 ||
        first != ACK || (n > 0 && recv(fd, answer, n, MSG_WAITALL) != (ssize_t)n)) {
        errno = EIO;
        return -1;
    }
    return 0;
}

static int open_device(void)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_port = htons((uint16_t)atoi(getenv("SPIDEV_SHIM"))),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    if (fd < 0 || fd >= FILES || connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
        return -1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    is_device[fd] = 1;
    return ask(fd, (const uint8_t *)"\x15\x01", 2, NULL, 0) ? -1 : fd;
}

int open(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    unsigned permissions = va_arg(args, unsigned);
    va_end(args);
    if (wants(path))
        return open_device();
    return ((int (*)(const char *, int, ...))next("open"))(path, flags, permissions);
}

int open64(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    unsigned permissions = va_arg(args, unsigned);
    va_end(args);
    if (wants(path))
        return open_device();
    return ((int (*)(const char *, int, ...))next("open64"))(path, flags, permissions);
}

int __open_2(const char *path, int flags)
{
    return wants(path) ? open_device() : ((int (*)(const char *, int))next("__open_2"))(path, flags);
}

int __open64_2(const char *path, int flags)
{
    return wants(path) ? open_device() : ((int (*)(const char *, int))next("__open64_2"))(path, flags);
}

int access(const char *path, int how)
{
    return wants(path) ? 0 : ((int (*)(const char *, int))next("access"))(path, how);
}

/* The kernel says how much a message may be. */
FILE *fopen(const char *path, const char *how)
{
    static char text[] = "2048\n";
    if (getenv("SPIDEV_SHIM") && strcmp(path, "/sys/module/spidev/parameters/bufsiz") == 0)
        return fmemopen(text, sizeof text - 1, "r");
    return ((FILE * (*)(const char *, const char *)) next("fopen"))(path, how);
}

FILE *fopen64(const char *path, const char *how)
{
    return fopen(path, how);
}

int close(int fd)
{
    if (fd >= 0 && fd < FILES && is_device[fd]) {
        is_device[fd] = 0;
        ask(fd, (const uint8_t *)"\x15\x00", 2, NULL, 0);
    }
    return ((int (*)(int))next("close"))(fd);
}

static int spiop(int fd, const uint8_t *tx, size_t tx_n, uint8_t *rx, size_t rx_n)
{
    uint8_t command[HEADER + BUFFER] = { 0x13, (uint8_t)tx_n, (uint8_t)(tx_n >> 8),
                                         0,    (uint8_t)rx_n, (uint8_t)(rx_n >> 8),
                                         0 };
    memcpy(command + HEADER, tx, tx_n);
    return ask(fd, command, HEADER + tx_n, rx, rx_n);
}

/* Sent bytes first, then received ones; or one transfer of both. */
static int message(int fd, const struct spi_ioc_transfer *part, size_t count)
{
    uint8_t tx[BUFFER] = { 0 }, rx[BUFFER];
    size_t tx_n = 0, rx_n = 0;
    for (size_t i = 0; i < count; i++) {
        const uint8_t *from = (const uint8_t *)(uintptr_t)part[i].tx_buf;
        uint8_t *to = (uint8_t *)(uintptr_t)part[i].rx_buf;
        if (tx_n + rx_n + part[i].len > BUFFER) {
            errno = EMSGSIZE;
            return -1;
        }
        if (from && to && count == 1) {
            to[0] = 0xff;
            for (size_t k = 1; k < part[i].len; k++)
                if (spiop(fd, from, k, to + k, 1))
                    return -1;
            return part[i].len == 1 && spiop(fd, from, 1, NULL, 0) ? -1 : (int)part[i].len;
        }
        if ((from && rx_n > 0) || (from && to)) {
            errno = EINVAL; /* more than this shim can do */
            return -1;
        }
        if (from)
            memcpy(tx + tx_n, from, part[i].len);
        *(from ? &tx_n : &rx_n) += part[i].len;
    }
    if (spiop(fd, tx, tx_n, rx, rx_n))
        return -1;
    for (size_t i = 0, done = 0; i < count; i++) {
        if (!part[i].rx_buf)
            continue;
        memcpy((void *)(uintptr_t)part[i].rx_buf, rx + done, part[i].len);
        done += part[i].len;
    }
    return (int)(tx_n + rx_n);
}

static int set_speed(int fd, uint32_t hz)
{
    const uint8_t command[5] = { 0x14, (uint8_t)hz, (uint8_t)(hz >> 8), (uint8_t)(hz >> 16),
                                 (uint8_t)(hz >> 24) };
    uint8_t answer[4];
    speed_hz = hz;
    return ask(fd, command, sizeof command, answer, sizeof answer);
}

int ioctl(int fd, unsigned long request, ...)
{
    va_list args;
    va_start(args, request);
    void *argument = va_arg(args, void *);
    va_end(args);
    if (fd < 0 || fd >= FILES || !is_device[fd])
        return ((int (*)(int, unsigned long, ...))next("ioctl"))(fd, request, argument);
    if (_IOC_TYPE(request) == SPI_IOC_MAGIC && _IOC_NR(request) == 0)
        return message(fd, argument, _IOC_SIZE(request) / sizeof(struct spi_ioc_transfer));
    switch (request) {
    case SPI_IOC_WR_MODE:
        mode = *(uint8_t *)argument;
        return 0;
    case SPI_IOC_WR_MODE32:
        mode = (uint8_t) * (uint32_t *)argument;
        return 0;
    case SPI_IOC_RD_MODE:
        *(uint8_t *)argument = mode;
        return 0;
    case SPI_IOC_RD_MODE32:
        *(uint32_t *)argument = mode;
        return 0;
    case SPI_IOC_WR_BITS_PER_WORD:
        bits = *(uint8_t *)argument;
        return 0;
    case SPI_IOC_RD_BITS_PER_WORD:
        *(uint8_t *)argument = bits;
        return 0;
    case SPI_IOC_WR_MAX_SPEED_HZ:
        return set_speed(fd, *(uint32_t *)argument);
    case SPI_IOC_RD_MAX_SPEED_HZ:
        *(uint32_t *)argument = speed_hz;
        return 0;
    default:
        errno = ENOTTY;
        return -1;
    }
}
