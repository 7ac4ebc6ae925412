/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_mpsse: the driver against a small engine that executes the opcodes of AN_108 and a chip whose answer
 * is a running checksum of what was written since CS fell, so that a lost or swapped byte cannot pass. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "drivers/driver.h"
#include "tests/unit/peer.h"

struct engine {
    struct peer peer;
    uint8_t in[1 << 16];
    size_t have;
    uint8_t pins, direction, sum;
    unsigned divisor;
    atomic_bool mute, divide_by_5, loopback, cs_stuck;
    atomic_int selections;
};

static uint8_t shift(struct engine *e, uint8_t byte)
{
    e->sum = (uint8_t)(e->sum * 31 + byte + 1);
    return e->sum;
}

static void pins(struct engine *e, uint8_t value, uint8_t direction)
{
    if ((e->pins & 8) && !(value & 8) && (direction & 8)) {
        e->sum = 0;
        atomic_fetch_add(&e->selections, 1);
    }
    e->pins = value;
    e->direction = direction;
}

/* Bytes taken; 0 when the command is not complete. */
static size_t one_opcode(struct engine *e, const uint8_t *p, size_t n)
{
    size_t length = n >= 3 ? (p[1] | (size_t)p[2] << 8) + 1 : 0;
    uint8_t out[1 << 12], answer[2] = { 0xfa, p[0] };
    switch (p[0]) {
    case 0x11:
        if (n < 3 || n < 3 + length)
            return 0;
        for (size_t i = 0; i < length; i++)
            shift(e, p[3 + i]);
        return 3 + length;
    case 0x20:
        if (n < 3)
            return 0;
        for (size_t i = 0; i < length && i < sizeof out; i++)
            out[i] = shift(e, 0xa5);
        peer_say(&e->peer, out, length);
        return 3;
    case 0x80:
        if (n < 3)
            return 0;
        pins(e, p[1], p[2]);
        return 3;
    case 0x81:
        answer[0] = atomic_load(&e->cs_stuck) ? 0 : e->pins;
        peer_say(&e->peer, answer, 1);
        return 1;
    case 0x85:
        atomic_store(&e->loopback, false);
        return 1;
    case 0x86:
        e->divisor = (unsigned)length - 1;
        return n < 3 ? 0 : 3;
    case 0x87:
        return 1;
    case 0x8a:
        atomic_store(&e->divide_by_5, false);
        return 1;
    default:
        peer_say(&e->peer, answer, 2);
        return 1;
    }
}

static void engine_data(struct peer *peer, const char *data, size_t n)
{
    struct engine *e = peer->context;
    if (atomic_load(&e->mute))
        return;
    memcpy(e->in + e->have, data, n);
    e->have += n;
    size_t done = 0, used;
    while (done < e->have && (used = one_opcode(e, e->in + done, e->have - done)) > 0)
        done += used;
    memmove(e->in, e->in + done, e->have - done);
    e->have -= done;
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
    rig->engine.divide_by_5 = rig->engine.loopback = true;
    rig->engine.pins = 8;
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
    assert_int_equal(atomic_load(&rig->engine.selections), 2 * sizeof LENGTHS / sizeof *LENGTHS);
}

static void pins_are_inputs_until_told(void **state)
{
    struct rig *rig = *state;
    double value;
    assert_int_equal(opened(rig), 0);
    assert_int_equal(one(rig, MESSAGE_SPI_DRIVE, 1, NULL), 0);
    assert_true(rig->engine.pins == 8 && rig->engine.direction == 0x0b);
    assert_false(rig->engine.divide_by_5 || rig->engine.loopback);
    assert_int_equal(one(rig, MESSAGE_SAFE_OFF, 0, &value), 0);
    assert_true(value == 0 && rig->engine.direction == 0);
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
        assert_int_equal(rig->engine.divisor, CASES[i].divisor);
    }
}

static void a_write_left_open_is_filled(void **state)
{
    struct rig *rig = *state;
    memcpy(rig->engine.in, "\x11\xff\x01half", 7); /* 512 bytes were to come */
    rig->engine.have = 7;
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
    atomic_store(&rig->engine.cs_stuck, true);
    assert_int_equal(exchange(rig, 4), ERR_GARBAGE);
    atomic_store(&rig->engine.cs_stuck, false);
    assert_int_equal(exchange(rig, 4), 0);
    atomic_store(&rig->engine.mute, true);
    assert_int_equal(exchange(rig, 4), ERR_TIMEOUT);
    atomic_store(&rig->engine.mute, false);
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
