/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * spidev: the Linux kernel's SPI controllers (Raspberry Pi and the like), "spidev:/dev/spidev0.0". A transfer
 * waits in the kernel where nobody can cut it, so clocks that would make one last longer than about a second
 * are refused. A controller cannot let go of its pins: off closes the device. Whether the pins are released
 * then, by a sleep state of the device tree or by a buffer, only its builder knows, who says so with
 * "?idle=released"; otherwise a safe step reports that it could not be confirmed. */
#include <errno.h>
#include <fcntl.h>
#include <linux/spi/spidev.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "drivers/spi_bridge.h"

enum { BITS = 8, BUFFER_DEFAULT = 4096, PATH_BYTES = 200 };

#define PREFIX      "spidev:"
#define RELEASED    "?idle=released"
#define BUFFER_FILE "/sys/module/spidev/parameters/bufsiz"
#define CLOCK_MIN   20e3 /* a transaction of 2080 bytes takes 0.8 s */
#define CLOCK_MAX   200e6
#define CLOCK_START 1e6

struct spidev {
    struct spi_bridge bridge; /* first */
    int fd;                   /* -1: released */
    char path[PATH_BYTES];
    bool idle_released;
    uint32_t hz;
};

static struct spidev *of(struct spi_bridge *bridge)
{
    return (struct spidev *)bridge;
}

static void release(struct spidev *s)
{
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
}

/* A controller that cannot do what is asked says EINVAL; anything else is as good as a broken link. */
static int refusal(const struct spidev *s, const char *what, struct error *err)
{
    return error_set(err, errno == EINVAL ? ERR_UNSUPPORTED : ERR_LINK, "%s: %s: %s", s->path, what,
                     strerror(errno));
}

static int acquire(struct spidev *s, struct error *err)
{
    uint8_t mode = SPI_MODE_0, bits = BITS;
    s->fd = open(s->path, O_RDWR | O_CLOEXEC);
    if (s->fd < 0)
        return error_set(err, ERR_NO_ANSWER, "%s: %s", s->path, strerror(errno));
    if (ioctl(s->fd, SPI_IOC_WR_MODE, &mode) < 0 || ioctl(s->fd, SPI_IOC_WR_BITS_PER_WORD, &bits) < 0 ||
        ioctl(s->fd, SPI_IOC_WR_MAX_SPEED_HZ, &s->hz) < 0) {
        int code = refusal(s, "SPI settings", err);
        release(s);
        return code;
    }
    return 0;
}

/* Both parts in one message: CS stays low between them and rises at the end. */
static int transfer(struct spi_bridge *bridge, const uint8_t *tx, size_t tx_n, uint8_t *rx, size_t rx_n,
                    struct error *err)
{
    struct spidev *s = of(bridge);
    struct spi_ioc_transfer part[2];
    int parts = 0;
    memset(part, 0, sizeof part);
    if (tx_n > 0)
        part[parts++] = (struct spi_ioc_transfer){ .tx_buf = (uintptr_t)tx, .len = (uint32_t)tx_n };
    if (rx_n > 0)
        part[parts++] = (struct spi_ioc_transfer){ .rx_buf = (uintptr_t)rx, .len = (uint32_t)rx_n };
    for (int i = 0; i < parts; i++) {
        part[i].speed_hz = s->hz;
        part[i].bits_per_word = BITS;
    }
    if (parts == 0)
        return 0;
    int n = ioctl(s->fd, parts == 1 ? SPI_IOC_MESSAGE(1) : SPI_IOC_MESSAGE(2), part);
    if (n < 0)
        return error_set(err, ERR_LINK, "%s: %s", s->path, strerror(errno));
    if ((size_t)n != tx_n + rx_n)
        return error_set(err, ERR_LINK, "%s: %d bytes of %zu were transferred", s->path, n, tx_n + rx_n);
    return 0;
}

/* The controller rounds down by itself and does not say to what. */
static int set_clock(struct spi_bridge *bridge, double hz, double *ret_hz, struct error *err)
{
    struct spidev *s = of(bridge);
    if (hz < CLOCK_MIN || hz > CLOCK_MAX)
        return error_set(err, ERR_RANGE, "SPI clock %g Hz is outside %g .. %g Hz", hz, CLOCK_MIN, CLOCK_MAX);
    uint32_t asked = (uint32_t)hz;
    if (s->fd >= 0 && ioctl(s->fd, SPI_IOC_WR_MAX_SPEED_HZ, &asked) < 0)
        return refusal(s, "SPI clock", err);
    s->hz = asked;
    *ret_hz = asked;
    return 0;
}

static int drive(struct spi_bridge *bridge, bool on, bool *ret_driven, struct error *err)
{
    struct spidev *s = of(bridge);
    int code = 0;
    if (on && s->fd < 0)
        code = acquire(s, err);
    else if (!on)
        release(s);
    if (!code)
        *ret_driven = on || !s->idle_released;
    return code;
}

/* The kernel has no half transactions. */
static int resync(struct spi_bridge *bridge, struct error *err)
{
    (void)bridge;
    (void)err;
    return 0;
}

static const struct spi_bridge_ops OPS = {
    .transfer = transfer,
    .set_clock = set_clock,
    .drive = drive,
    .resync = resync,
};

/* Bytes that the kernel takes in one message. */
static size_t kernel_buffer(void)
{
    size_t bytes = BUFFER_DEFAULT;
    FILE *file = fopen(BUFFER_FILE, "re");
    if (!file)
        return bytes;
    if (fscanf(file, "%zu", &bytes) != 1 || bytes < 2)
        bytes = BUFFER_DEFAULT;
    fclose(file);
    return bytes;
}

static int parse(struct spidev *s, const char *resource, struct error *err)
{
    size_t prefix = strlen(PREFIX);
    const char *query = strchr(resource, '?');
    size_t n = query ? (size_t)(query - resource) : strlen(resource);
    if (strncmp(resource, PREFIX, prefix) != 0 || n == prefix || n - prefix >= sizeof s->path ||
        (query && strcmp(query, RELEASED) != 0))
        return error_set(err, ERR_INVALID,
                         "resource '%s': write " PREFIX "/dev/spidevB.C or " PREFIX "/dev/spidevB.C" RELEASED,
                         resource);
    memcpy(s->path, resource + prefix, n - prefix);
    s->idle_released = query != NULL;
    return 0;
}

static void spidev_close(void *state)
{
    struct spidev *s = state;
    if (!s)
        return;
    release(s);
    free(s);
}

static int spidev_open(struct driver_config *config, const struct transport_env *env, void **ret_state,
                       struct error *err)
{
    struct spidev *s = calloc(1, sizeof *s);
    if (!s)
        return error_set(err, ERR_MEMORY, "driver state of %s", config->name);
    size_t half = kernel_buffer() / 2;
    s->fd = -1;
    s->bridge = (struct spi_bridge){ .ops = &OPS,
                                     .device.config = config,
                                     .device.env = env,
                                     .tx_max = half < SPI_TX_MAX ? half : SPI_TX_MAX,
                                     .rx_max = half < SPI_RX_MAX ? half : SPI_RX_MAX,
                                     .vendor = "Linux",
                                     .model = "spidev" };
    s->hz =
        (uint32_t)(config->spi_hz >= CLOCK_MIN && config->spi_hz <= CLOCK_MAX ? config->spi_hz : CLOCK_START);
    int code = parse(s, config->resource, err);
    if (!code && access(s->path, R_OK | W_OK) < 0) /* opening it would drive the pins */
        code = error_set(err, ERR_NO_ANSWER, "%s: %s", s->path, strerror(errno));
    if (code) {
        error_at(err, config->name, "", 0);
        spidev_close(s);
        return code;
    }
    *ret_state = s;
    return 0;
}

static int spidev_describe(const struct driver_config *config, struct driver_description *ret,
                           struct json_problems *problems, struct error *err)
{
    (void)config;
    (void)problems;
    (void)err;
    *ret = (struct driver_description){ .vendor = "Linux", .energises = true };
    return 0;
}

const struct driver driver_spidev = {
    .name = "spidev",
    .link = DRIVER_OWN,
    .classes = 1u << CLASS_SPI,
    .describe = spidev_describe,
    .open = spidev_open,
    .close = spidev_close,
    .request = spi_bridge_request,
    .resync = spi_bridge_resync,
};
