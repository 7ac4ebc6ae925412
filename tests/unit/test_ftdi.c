/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_ftdi: the mpsse driver over "ftdi:", with a stand-in for libftdi1 (the functions below come before the
 * library's) in front of an engine of ours. What the stand-in takes from libftdi's documentation nobody has
 * held against hardware. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <libftdi1/ftdi.h>

#include "drivers/driver.h"
#include "tests/unit/mpsse_engine.h"

enum { GONE = -4, LATE = -7 };

/* The device on the desk. One at a time: libftdi's functions know no context of ours. */
static struct desk {
    struct mpsse_engine engine;
    int open_code, vendor, product, interface; /* as asked for */
    char serial[64], log[2048];
    bool open, unplugged, stuck;
    int latency_ms, mode, deaf_reads, cut_at_read, cut_fd;
    uint8_t answer[1 << 17];
    size_t have, taken;
} desk;

static void engine_says(struct mpsse_engine *engine, const void *data, size_t n)
{
    (void)engine;
    memcpy(desk.answer + desk.have, data, n);
    desk.have += n;
}

static int note(const char *what)
{
    size_t n = strlen(desk.log);
    snprintf(desk.log + n, sizeof desk.log - n, "%s ", what);
    return desk.unplugged ? GONE : 0;
}

struct ftdi_context *ftdi_new(void)
{
    return calloc(1, sizeof(struct ftdi_context));
}

void ftdi_free(struct ftdi_context *ftdi)
{
    free(ftdi);
}

int ftdi_set_interface(struct ftdi_context *ftdi, enum ftdi_interface interface)
{
    (void)ftdi;
    desk.interface = interface;
    return 0;
}

int ftdi_usb_open_desc(struct ftdi_context *ftdi, int vendor, int product, const char *description,
                       const char *serial)
{
    assert_null(description);
    assert_true(ftdi->usb_read_timeout > 0 && ftdi->usb_read_timeout <= 500);
    desk.vendor = vendor;
    desk.product = product;
    snprintf(desk.serial, sizeof desk.serial, "%s", serial ? serial : "(any)");
    desk.open = desk.open_code == 0;
    return desk.open_code;
}

int ftdi_usb_close(struct ftdi_context *ftdi)
{
    (void)ftdi;
    assert_true(desk.open);
    desk.open = false;
    return note("close");
}

int ftdi_usb_reset(struct ftdi_context *ftdi)
{
    (void)ftdi;
    return note("reset");
}

int ftdi_set_bitmode(struct ftdi_context *ftdi, unsigned char bitmask, unsigned char mode)
{
    (void)ftdi;
    assert_int_equal(bitmask, 0);
    desk.mode = mode;
    desk.engine.direction = 0; /* a change of mode makes all pins inputs */
    return note(mode == BITMODE_MPSSE ? "mpsse" : "plain");
}

int ftdi_set_latency_timer(struct ftdi_context *ftdi, unsigned char latency)
{
    (void)ftdi;
    desk.latency_ms = latency;
    return note("latency");
}

int ftdi_read_data_set_chunksize(struct ftdi_context *ftdi, unsigned int size)
{
    (void)ftdi;
    assert_true(size >= 512);
    return 0;
}

int ftdi_write_data_set_chunksize(struct ftdi_context *ftdi, unsigned int size)
{
    (void)ftdi;
    assert_true(size > 0);
    return 0;
}

int ftdi_setflowctrl(struct ftdi_context *ftdi, int flow)
{
    (void)ftdi;
    return flow == SIO_DISABLE_FLOW_CTRL ? 0 : -1;
}

int ftdi_tcioflush(struct ftdi_context *ftdi)
{
    (void)ftdi;
    desk.have = desk.taken = 0;
    return note("flush");
}

const char *ftdi_get_error_string(struct ftdi_context *ftdi)
{
    (void)ftdi;
    return "the stand-in says so";
}

int ftdi_write_data(struct ftdi_context *ftdi, const unsigned char *bytes, int size)
{
    assert_true(desk.open && desk.mode == BITMODE_MPSSE);
    assert_true(size > 0 && size <= 512 && ftdi->usb_write_timeout <= 500);
    if (desk.unplugged)
        return GONE;
    if (desk.stuck)
        return LATE;
    mpsse_engine_feed(&desk.engine, bytes, (size_t)size);
    return size;
}

/* In pieces, as USB packets come; nothing after the latency timer. */
int ftdi_read_data(struct ftdi_context *ftdi, unsigned char *bytes, int size)
{
    uint64_t one = 1;
    assert_true(desk.open && desk.mode == BITMODE_MPSSE);
    assert_true(size > 0 && ftdi->usb_read_timeout <= 100);
    if (desk.unplugged)
        return GONE;
    if (desk.cut_at_read > 0 && --desk.cut_at_read == 0)
        assert_int_equal(write(desk.cut_fd, &one, sizeof one), sizeof one);
    size_t n = desk.have - desk.taken;
    if (n == 0) {
        nanosleep(&(struct timespec){ .tv_nsec = desk.latency_ms * 1000000L }, NULL);
        return ++desk.deaf_reads % 2 ? 0 : LATE;
    }
    if (n > 62)
        n = 62;
    if (n > (size_t)size)
        n = (size_t)size;
    memcpy(bytes, desk.answer + desk.taken, n);
    desk.taken += n;
    if (desk.taken == desk.have)
        desk.taken = desk.have = 0;
    return (int)n;
}

/* ---- The tests ---- */
struct rig {
    struct transport_env env;
    struct driver_config config;
    void *state;
    struct error err;
    uint8_t payload[MESSAGE_PAYLOAD_MAX];
};

static int setup(void **state)
{
    struct rig *rig = calloc(1, sizeof *rig);
    memset(&desk, 0, sizeof desk);
    desk.engine.say = engine_says;
    desk.engine.divide_by_5 = desk.engine.loopback = true;
    rig->env.cut_fd = desk.cut_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    snprintf(rig->config.name, sizeof rig->config.name, "bridge");
    snprintf(rig->config.resource, sizeof rig->config.resource, "ftdi:0403:6014");
    rig->config.spi_hz = 10e6;
    *state = rig;
    return clock_open(NULL, &rig->env.clock, NULL) ||
           clock_actor_open(rig->env.clock, "test", 0, &rig->env.actor, NULL);
}

static int teardown(void **state)
{
    struct rig *rig = *state;
    driver_mpsse.close(rig->state);
    assert_false(desk.open);
    clock_actor_close(rig->env.actor);
    clock_close(rig->env.clock);
    close(rig->env.cut_fd);
    free(rig);
    return 0;
}

static int open_it(struct rig *rig)
{
    return driver_mpsse.open(&rig->config, &rig->env, &rig->state, &rig->err);
}

static int drive(struct rig *rig, bool on)
{
    struct message m = { .op = MESSAGE_SPI_DRIVE, .value = { on } };
    return driver_mpsse.request(rig->state, &m, rig->payload, sizeof rig->payload, &rig->err);
}

static int exchange(struct rig *rig, uint16_t n)
{
    struct message_spi item = { n, n, 0 };
    struct message m = { .op = MESSAGE_SPI_BATCH, .count = 1, .payload_length = (uint32_t)sizeof item + n };
    memcpy(rig->payload, &item, sizeof item);
    for (size_t i = 0; i < n; i++)
        rig->payload[sizeof item + i] = (uint8_t)(11 * i);
    return driver_mpsse.request(rig->state, &m, rig->payload, sizeof rig->payload, &rig->err);
}

static void check_exchange(const struct rig *rig, uint16_t n)
{
    uint8_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum = (uint8_t)(sum * 31 + (uint8_t)(11 * i) + 1);
    for (size_t i = 0; i < n; i++) {
        sum = (uint8_t)(sum * 31 + 0xa5 + 1);
        assert_int_equal(rig->payload[i], sum);
    }
}

static void test_every_byte(void **state)
{
    static const uint16_t LENGTHS[] = { 1,   61,  62,  63,
                                        509, 512, 513, SPI_RX_MAX < SPI_TX_MAX ? SPI_RX_MAX : SPI_TX_MAX };
    struct rig *rig = *state;
    if (open_it(rig))
        fail_msg("open: %s", rig->err.message);
    assert_string_equal(desk.log, "reset plain latency flush mpsse ");
    assert_true(desk.vendor == 0x403 && desk.product == 0x6014 && desk.interface == INTERFACE_A);
    assert_string_equal(desk.serial, "(any)");
    assert_true(desk.latency_ms >= 1 && desk.latency_ms <= 16);
    assert_int_equal(desk.engine.direction, 0);
    assert_int_equal(drive(rig, true), 0);
    assert_int_equal(desk.engine.direction, 0x0b);
    for (size_t i = 0; i < sizeof LENGTHS / sizeof *LENGTHS; i++) {
        if (exchange(rig, LENGTHS[i]))
            fail_msg("%u bytes: %s", LENGTHS[i], rig->err.message);
        check_exchange(rig, LENGTHS[i]);
    }
    driver_mpsse.close(rig->state);
    rig->state = NULL;
    assert_int_equal(desk.engine.direction, 0); /* who goes leaves no pin driven */
    assert_non_null(strstr(desk.log, "plain close"));
}

static void test_addresses(void **state)
{
    static const struct {
        const char *resource, *serial;
        int product, interface;
    } GOOD[] = { { "ftdi:0403:6010::B", "(any)", 0x6010, INTERFACE_B },
                 { "ftdi:0403:6011:FT12:D", "FT12", 0x6011, INTERFACE_D },
                 { "ftdi:0403:6014:FT 3:A", "FT 3", 0x6014, INTERFACE_A },
                 { "ftdi:0403:601c:X", "X", 0x601c, INTERFACE_A } };
    static const char *const BAD[] = {
        "ftdi:",
        "ftdi:0403",
        "ftdi:403:6014",
        "ftdi:0403:601",
        "ftdi:0403:60144",
        "ftdi:0403:6014::E",
        "ftdi:0403:6014:X:AB",
        "ftdi:0403-6014",
        "ftdi:0403:6014:0123456789012345678901234567890123456789012345678901234567890123"
    };
    struct rig *rig = *state;
    for (size_t i = 0; i < sizeof GOOD / sizeof *GOOD; i++) {
        snprintf(rig->config.resource, sizeof rig->config.resource, "%s", GOOD[i].resource);
        if (open_it(rig))
            fail_msg("%s: %s", GOOD[i].resource, rig->err.message);
        assert_string_equal(desk.serial, GOOD[i].serial);
        assert_true(desk.product == GOOD[i].product && desk.interface == GOOD[i].interface);
        driver_mpsse.close(rig->state);
        rig->state = NULL;
    }
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        snprintf(rig->config.resource, sizeof rig->config.resource, "%s", BAD[i]);
        if (open_it(rig) != ERR_INVALID || !strstr(rig->err.message, "ftdi:0403:6014 or"))
            fail_msg("%s: %s", BAD[i], rig->err.message);
    }
}

static void test_open_fails(void **state)
{
    static const struct {
        int usb_code;
        const char *says;
    } ROWS[] = { { -3, "lsusb" }, { -4, "udev" }, { -5, "another program" }, { -8, "stand-in" } };
    struct rig *rig = *state;
    for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++) {
        desk.open_code = ROWS[i].usb_code;
        assert_int_equal(open_it(rig), ERR_NO_ANSWER);
        if (!strstr(rig->err.message, ROWS[i].says))
            fail_msg("%d: %s", ROWS[i].usb_code, rig->err.message);
    }
    desk.open_code = 0;
    desk.unplugged = true;
    assert_int_equal(open_it(rig), ERR_LINK);
    assert_null(rig->state);
}

static void test_unplugged(void **state)
{
    struct rig *rig = *state;
    assert_int_equal(open_it(rig), 0);
    assert_int_equal(drive(rig, true), 0);
    desk.unplugged = true;
    assert_int_equal(exchange(rig, 4), ERR_LINK);
    assert_non_null(strstr(rig->err.message, "unplugged"));
}

static void test_stuck_and_mute(void **state)
{
    struct rig *rig = *state;
    assert_int_equal(open_it(rig), 0);
    assert_int_equal(drive(rig, true), 0);
    desk.stuck = true;
    assert_int_equal(exchange(rig, 4), ERR_TIMEOUT);
    desk.stuck = false;
    assert_int_equal(driver_mpsse.resync(rig->state, &rig->err), 0);
    atomic_store(&desk.engine.mute, true);
    assert_int_equal(exchange(rig, 4), ERR_TIMEOUT);
    atomic_store(&desk.engine.mute, false);
    assert_int_equal(driver_mpsse.resync(rig->state, &rig->err), 0);
    assert_int_equal(exchange(rig, 400), 0);
    check_exchange(rig, 400);
}

/* A cut while an answer is waited for, and one before a byte is sent: each ends the call at the next slice.
 */
static void test_cut(void **state)
{
    struct rig *rig = *state;
    uint64_t count;
    assert_int_equal(open_it(rig), 0);
    assert_int_equal(drive(rig, true), 0);
    atomic_store(&desk.engine.mute, true);
    desk.cut_at_read = 3;
    desk.deaf_reads = 0;
    assert_int_equal(exchange(rig, 4), ERR_CANCELLED);
    assert_true(desk.deaf_reads <= 3);
    assert_int_equal(exchange(rig, 4), ERR_CANCELLED);
    assert_int_equal(read(rig->env.cut_fd, &count, sizeof count), sizeof count);
    atomic_store(&desk.engine.mute, false);
    assert_int_equal(driver_mpsse.resync(rig->state, &rig->err), 0);
    assert_int_equal(exchange(rig, 100), 0);
    check_exchange(rig, 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_every_byte, setup, teardown),
        cmocka_unit_test_setup_teardown(test_addresses, setup, teardown),
        cmocka_unit_test_setup_teardown(test_open_fails, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unplugged, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stuck_and_mute, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cut, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
