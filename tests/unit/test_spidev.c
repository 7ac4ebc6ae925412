/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_spidev: the driver against a kernel of ours with a flash behind it, and each way in which a kernel
 * refuses, in each phase: no bytes come out as good ones, pins that are said to be released are, no
 * descriptor is lost, and the next request works once the fault has gone. (The real ioctls are judged by
 * tests/wire/100-spidev-through-shim. What comes in on the wire itself has no check sum of the bridge's: the
 * chip's framing has.) */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "drivers/sim/bridge_serprog.h"
#include "drivers/spi_bridge.h"

static int fake_open(const char *path, int flags);
static int fake_close(int fd);
static int fake_ioctl(int fd, unsigned long request, void *argument);
/* After the headers that declare them, and only where they are called. */
#define open(path, flags)       fake_open(path, flags)
#define close(fd)               fake_close(fd)
#define ioctl(fd, request, arg) fake_ioctl(fd, request, arg)
#include "drivers/spidev.c"
#undef open
#undef close
#undef ioctl

enum call { OPEN, SETTINGS, CLOCK, MESSAGE, CALLS };

static struct kernel {
    struct spi_flash *flash;
    int fail[CALLS]; /* errno of each call; 0: good */
    bool is_short;   /* one byte of a message is not transferred */
    int opened;
    uint32_t hz;
} kernel;

static int fake_open(const char *path, int flags)
{
    assert_string_equal(path, "/dev/null");
    assert_int_equal(flags, O_RDWR | O_CLOEXEC);
    errno = kernel.fail[OPEN];
    if (errno)
        return -1;
    kernel.opened++;
    return 1000;
}

static int fake_close(int fd)
{
    assert_int_equal(fd, 1000);
    kernel.opened--;
    return 0;
}

static int message(const struct spi_ioc_transfer *part, int parts)
{
    static uint8_t out[SPI_TX_MAX], in[SPI_RX_MAX];
    size_t out_n = 0, in_n = 0;
    uint8_t *back = NULL;
    for (int i = 0; i < parts; i++) {
        if (part[i].tx_buf) {
            memcpy(out + out_n, (const void *)(uintptr_t)part[i].tx_buf, part[i].len);
            out_n += part[i].len;
        } else {
            back = (uint8_t *)(uintptr_t)part[i].rx_buf;
            in_n = part[i].len;
        }
    }
    spi_flash_transfer(kernel.flash, out, out_n, in, in_n, 0);
    if (back)
        memcpy(back, in, in_n);
    return (int)(out_n + in_n) - kernel.is_short;
}

static int fake_ioctl(int fd, unsigned long request, void *argument)
{
    assert_int_equal(fd, 1000);
    bool is_message = request == SPI_IOC_MESSAGE(1) || request == SPI_IOC_MESSAGE(2);
    bool is_clock = request == SPI_IOC_WR_MAX_SPEED_HZ;
    errno = kernel.fail[is_message ? MESSAGE : is_clock ? CLOCK : SETTINGS];
    if (errno)
        return -1;
    if (is_clock)
        memcpy(&kernel.hz, argument, sizeof kernel.hz);
    return is_message ? message(argument, request == SPI_IOC_MESSAGE(2) ? 2 : 1) : 0;
}

struct rig {
    struct transport_env env;
    struct driver_config config;
    void *state;
    uint8_t payload[4096];
};

static int start(void **state)
{
    struct rig *rig = calloc(1, sizeof *rig);
    *state = rig;
    kernel = (struct kernel){ .flash = spi_flash_open() };
    rig->env.cut_fd = -1;
    snprintf(rig->config.name, sizeof rig->config.name, "bridge");
    snprintf(rig->config.resource, sizeof rig->config.resource, "spidev:/dev/null?idle=released");
    return clock_open(NULL, &rig->env.clock, NULL) ||
           clock_actor_open(rig->env.clock, "test", 0, &rig->env.actor, NULL) ||
           driver_spidev.open(&rig->config, &rig->env, &rig->state, NULL);
}

static int stop(void **state)
{
    struct rig *rig = *state;
    driver_spidev.close(rig->state);
    assert_int_equal(kernel.opened, 0);
    clock_actor_close(rig->env.actor);
    clock_close(rig->env.clock);
    spi_flash_close(kernel.flash);
    free(rig);
    return 0;
}

static int one(struct rig *rig, int op, double value, double *ret)
{
    struct message m = { .op = (uint16_t)op, .value = { value, 0 } };
    struct error err = { 0 };
    int code = driver_spidev.request(rig->state, &m, rig->payload, sizeof rig->payload, &err);
    if (ret)
        *ret = m.value[0];
    return code;
}

/* Reads the flash's identity: 0, or the code; garbage is a failure of the test. */
static int read_id(struct rig *rig)
{
    static const struct message_spi READ_ID = { .tx_len = 1, .rx_len = 3 };
    struct message m = { .op = MESSAGE_SPI_BATCH, .count = 1, .payload_length = sizeof READ_ID + 1 };
    struct error err = { 0 };
    memcpy(rig->payload, &READ_ID, sizeof READ_ID);
    rig->payload[sizeof READ_ID] = 0x9f;
    int code = driver_spidev.request(rig->state, &m, rig->payload, sizeof rig->payload, &err);
    if (code == 0) {
        assert_int_equal(m.payload_length, 3);
        assert_memory_equal(rig->payload, "\xc2\x20\x11", 3);
    }
    return code;
}

static void it_works(void **state)
{
    struct rig *rig = *state;
    double value = 0;
    assert_int_equal(kernel.opened, 0); /* connecting drives no pin */
    assert_int_equal(read_id(rig), ERR_REFUSED);
    assert_int_equal(one(rig, MESSAGE_SPI_DRIVE, 1, NULL), 0);
    assert_int_equal(read_id(rig), 0);
    assert_int_equal(one(rig, MESSAGE_SPI_CLOCK, 5e6, &value), 0);
    assert_true(value == 5e6 && kernel.hz == 5000000);
    assert_int_equal(one(rig, MESSAGE_SAFE_OFF, 0, &value), 0);
    assert_true(value == 0 && kernel.opened == 0);
}

enum phase { DRIVE, SET_CLOCK, TRANSFER, OFF, PHASES };

static int act(struct rig *rig, int phase)
{
    double driven = 1;
    int code;
    switch (phase) {
    case DRIVE:
        one(rig, MESSAGE_SPI_DRIVE, 0, NULL);
        return one(rig, MESSAGE_SPI_DRIVE, 1, NULL);
    case SET_CLOCK:
        return one(rig, MESSAGE_SPI_CLOCK, 2e6, NULL);
    case TRANSFER:
        return read_id(rig);
    default:
        code = one(rig, MESSAGE_SAFE_OFF, 0, &driven);
        assert_true(code || (driven == 0 && kernel.opened == 0)); /* released means closed */
        return code;
    }
}

/* What a port does after an error. */
static void mend(struct rig *rig, int code)
{
    if (code != ERR_LINK && code != ERR_NO_ANSWER)
        return;
    driver_spidev.close(rig->state);
    rig->state = NULL;
    assert_int_equal(driver_spidev.open(&rig->config, &rig->env, &rig->state, NULL), 0);
}

static void every_refusal_in_every_phase(void **state)
{
    static const struct {
        const char *name;
        int open, settings, clock, message;
        bool is_short;
        int ends[PHASES]; /* of each phase; off always works: it needs nothing of the kernel but to close */
    } FAULTS[] = {
        { "gone", ENODEV, ENODEV, ENODEV, ENODEV, false, { ERR_NO_ANSWER, ERR_LINK, ERR_LINK, 0 } },
        { "busy", EBUSY, 0, 0, 0, false, { ERR_NO_ANSWER, 0, 0, 0 } },
        { "denied", EACCES, 0, 0, 0, false, { ERR_NO_ANSWER, 0, 0, 0 } },
        { "no such mode", 0, EINVAL, 0, 0, false, { ERR_UNSUPPORTED, 0, 0, 0 } },
        { "no such clock", 0, 0, EINVAL, 0, false, { ERR_UNSUPPORTED, ERR_UNSUPPORTED, 0, 0 } },
        { "hung controller", 0, 0, 0, ETIMEDOUT, false, { 0, 0, ERR_LINK, 0 } },
        { "too long", 0, 0, 0, EMSGSIZE, false, { 0, 0, ERR_LINK, 0 } },
        { "short", 0, 0, 0, 0, true, { 0, 0, ERR_LINK, 0 } },
    };
    struct rig *rig = *state;
    for (size_t i = 0; i < sizeof FAULTS / sizeof *FAULTS; i++) {
        for (int phase = 0; phase < PHASES; phase++) {
            assert_int_equal(one(rig, MESSAGE_SPI_DRIVE, 1, NULL), 0);
            assert_int_equal(read_id(rig), 0);
            kernel.fail[OPEN] = FAULTS[i].open;
            kernel.fail[SETTINGS] = FAULTS[i].settings;
            kernel.fail[CLOCK] = FAULTS[i].clock;
            kernel.fail[MESSAGE] = FAULTS[i].message;
            kernel.is_short = FAULTS[i].is_short;
            int code = act(rig, phase);
            if (code != FAULTS[i].ends[phase])
                fail_msg("%s, phase %d: %s", FAULTS[i].name, phase, error_name(code));
            memset(kernel.fail, 0, sizeof kernel.fail);
            kernel.is_short = false;
            mend(rig, code);
            assert_true(kernel.opened <= 1);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(it_works, start, stop),
        cmocka_unit_test_setup_teardown(every_refusal_in_every_phase, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
