/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_mpsse: the driver against an engine of ours at the end of a TCP link. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "drivers/driver.h"
#include "tests/unit/mpsse_engine.h"
#include "tests/unit/peer.h"

struct engine {
    struct mpsse_engine mpsse;
    struct peer peer;
};

static void say_to_peer(struct mpsse_engine *mpsse, const void *data, size_t n)
{
    peer_say(mpsse->context, data, n);
}

static void engine_data(struct peer *peer, const char *data, size_t n)
{
    struct engine *e = peer->context;
    mpsse_engine_feed(&e->mpsse, data, n);
}

struct rig {
    struct engine engine;
    struct transport_env env;
    struct driver_config config;
    void *state;
    struct error err;
    uint8_t payload[MESSAGE_PAYLOAD_MAX];
};

static int start(void **state)
{
    struct rig *rig = calloc(1, sizeof *rig);
    *state = rig;
    rig->engine.peer.on_data = engine_data;
    rig->engine.peer.context = &rig->engine;
    rig->engine.mpsse.say = say_to_peer;
    rig->engine.mpsse.context = &rig->engine.peer;
    rig->engine.mpsse.divide_by_5 = rig->engine.mpsse.loopback = true;
    rig->engine.mpsse.pins = 8;
    rig->env.cut_fd = -1;
    if (peer_start(&rig->engine.peer) || clock_open(NULL, &rig->env.clock, NULL) ||
        clock_actor_open(rig->env.clock, "test", 0, &rig->env.actor, NULL))
        return -1;
    snprintf(rig->config.name, sizeof rig->config.name, "bridge");
    snprintf(rig->config.resource, sizeof rig->config.resource, "%s", rig->engine.peer.resource);
    rig->config.spi_hz = 10e6;
    return 0;
}

static int stop(void **state)
{
    struct rig *rig = *state;
    driver_mpsse.close(rig->state);
    clock_actor_close(rig->env.actor);
    clock_close(rig->env.clock);
    peer_stop(&rig->engine.peer);
    free(rig);
    return 0;
}

static int opened(struct rig *rig)
{
    return driver_mpsse.open(&rig->config, &rig->env, &rig->state, &rig->err);
}

static int one(struct rig *rig, int op, double value, double *ret)
{
    struct message m = { .op = (uint16_t)op, .value = { value } };
    int code = driver_mpsse.request(rig->state, &m, rig->payload, sizeof rig->payload, &rig->err);
    if (ret)
        *ret = m.value[0];
    return code;
}

/* Two transactions of n bytes out, n - 1 in. */
static int exchange(struct rig *rig, uint16_t n)
{
    struct message_spi items[2] = { { n, (uint16_t)(n - 1), 0 }, { n, (uint16_t)(n - 1), 0 } };
    struct message m = { .op = MESSAGE_SPI_BATCH, .count = 2 };
    m.payload_length = (uint32_t)(sizeof items + 2u * n);
    memcpy(rig->payload, items, sizeof items);
    for (size_t i = 0; i < 2u * n; i++)
        rig->payload[sizeof items + i] = (uint8_t)(7 * i);
    return driver_mpsse.request(rig->state, &m, rig->payload, sizeof rig->payload, &rig->err);
}

static void check_exchange(const struct rig *rig, uint16_t n)
{
    const uint8_t *rx = rig->payload;
    for (size_t k = 0; k < 2; k++) {
        uint8_t sum = 0;
        for (size_t i = 0; i < n; i++)
            sum = (uint8_t)(sum * 31 + (uint8_t)(7 * (k * n + i)) + 1);
        for (size_t i = 0; i + 1 < n; i++) {
            sum = (uint8_t)(sum * 31 + 0xa5 + 1);
            assert_int_equal(*rx++, sum);
        }
    }
}

static void every_byte_goes_through(void **state)
{
    static const uint16_t LENGTHS[] = { 1, 2, 255, 256, 257, SPI_TX_MAX };
    struct rig *rig = *state;
    assert_int_equal(opened(rig), 0);
    assert_int_equal(exchange(rig, 4), ERR_REFUSED); /* released */
    assert_int_equal(one(rig, MESSAGE_SPI_DRIVE, 1, NULL), 0);
    for (size_t i = 0; i < sizeof LENGTHS / sizeof *LENGTHS; i++) {
        if (exchange(rig, LENGTHS[i]))
            fail_msg("%u bytes: %s", LENGTHS[i], rig->err.message);
        check_exchange(rig, LENGTHS[i]);
    }
    assert_int_equal(atomic_load(&rig->engine.mpsse.selections), 2 * sizeof LENGTHS / sizeof *LENGTHS);
}

static void pins_are_inputs_until_told(void **state)
{
    struct rig *rig = *state;
    double value;
    assert_int_equal(opened(rig), 0);
    assert_int_equal(one(rig, MESSAGE_SPI_DRIVE, 1, NULL), 0);
    assert_true(rig->engine.mpsse.pins == 8 && rig->engine.mpsse.direction == 0x0b);
    assert_false(rig->engine.mpsse.divide_by_5 || rig->engine.mpsse.loopback);
    assert_int_equal(one(rig, MESSAGE_SAFE_OFF, 0, &value), 0);
    assert_true(value == 0 && rig->engine.mpsse.direction == 0);
}

static void clocks(void **state)
{
    static const struct {
        double asked, real;
        unsigned divisor;
    } CASES[] = { { 30e6, 30e6, 0 },
                  { 50e6, 30e6, 0 },
                  { 10e6, 10e6, 2 },
                  { 9.99e6, 7.5e6, 3 },
                  { 1, 60e6 / 131072, 65535 } };
    struct rig *rig = *state;
    assert_int_equal(opened(rig), 0);
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        double hz;
        assert_int_equal(one(rig, MESSAGE_SPI_CLOCK, CASES[i].asked, &hz), 0);
        assert_true(hz == CASES[i].real);
        assert_int_equal(one(rig, MESSAGE_SPI_DRIVE, 1, NULL), 0); /* answered: the divisor has arrived */
        assert_int_equal(rig->engine.mpsse.divisor, CASES[i].divisor);
    }
}

static void a_write_left_open_is_filled(void **state)
{
    struct rig *rig = *state;
    memcpy(rig->engine.mpsse.in, "\x11\xff\x01half", 7); /* 512 bytes were to come */
    rig->engine.mpsse.have = 7;
    assert_int_equal(opened(rig), 0);
    assert_int_equal(one(rig, MESSAGE_SPI_DRIVE, 1, NULL), 0);
    assert_int_equal(exchange(rig, 100), 0);
    check_exchange(rig, 100);
}

static void silence_and_a_stuck_select(void **state)
{
    struct rig *rig = *state;
    assert_int_equal(opened(rig), 0);
    assert_int_equal(one(rig, MESSAGE_SPI_DRIVE, 1, NULL), 0);
    atomic_store(&rig->engine.mpsse.cs_stuck, true);
    assert_int_equal(exchange(rig, 4), ERR_GARBAGE);
    atomic_store(&rig->engine.mpsse.cs_stuck, false);
    assert_int_equal(exchange(rig, 4), 0);
    atomic_store(&rig->engine.mpsse.mute, true);
    assert_int_equal(exchange(rig, 4), ERR_TIMEOUT);
    atomic_store(&rig->engine.mpsse.mute, false);
    assert_int_equal(exchange(rig, 4), 0);
    check_exchange(rig, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_byte_goes_through, start, stop),
        cmocka_unit_test_setup_teardown(pins_are_inputs_until_told, start, stop),
        cmocka_unit_test_setup_teardown(clocks, start, stop),
        cmocka_unit_test_setup_teardown(a_write_left_open_is_filled, start, stop),
        cmocka_unit_test_setup_teardown(silence_and_a_stuck_select, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
