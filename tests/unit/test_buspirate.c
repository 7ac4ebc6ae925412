/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_buspirate: the driver against the simulated Bus Pirate with a flash behind it, in virtual time: from
 * the terminal and from a mode that somebody left, batches, release of the pins, a cut in a transaction. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/sim_rig.h"

static const char BENCH[] = "{\"instruments\":[{\"name\":\"bridge\",\"simulate\":{\"model\":\"buspirate\","
                            "\"behind\":\"flash\"}}],\"rails\":{}}";

static int start(void **state)
{
    struct sim_rig *rig = calloc(1, sizeof *rig);
    struct error err = { 0 };
    *state = rig;
    rig->config.spi_hz = 2e6;
    if (sim_rig_start(rig, BENCH))
        return -1;
    if (sim_rig_connect(rig, "buspirate", "bridge", &err))
        fprintf(stderr, "%s\n", err.message);
    return rig->state == NULL;
}

static int stop(void **state)
{
    int code = sim_rig_stop(*state);
    free(*state);
    return code;
}

static int one(struct sim_rig *rig, int op, double value, struct message *ret)
{
    struct message m = { .op = (uint16_t)op, .value = { value } };
    int code = sim_rig_request(rig, &m, NULL);
    if (ret)
        *ret = m;
    return code;
}

/* Transactions of a batch, each a text of bytes to send and a number to read. */
struct item {
    const char *tx;
    uint16_t tx_n, rx_n;
    uint32_t delay_us;
};

static int batch(struct sim_rig *rig, const struct item *items, uint32_t count, struct error *err)
{
    uint8_t *tx = rig->payload + count * sizeof(struct message_spi);
    for (uint32_t i = 0; i < count; i++) {
        struct message_spi spi = { items[i].tx_n, items[i].rx_n, items[i].delay_us };
        memcpy(rig->payload + i * sizeof spi, &spi, sizeof spi);
        memcpy(tx, items[i].tx, items[i].tx_n);
        tx += items[i].tx_n;
    }
    struct message m = { .op = MESSAGE_SPI_BATCH, .count = count };
    m.payload_length = (uint32_t)(tx - rig->payload);
    return sim_rig_request(rig, &m, err);
}

static const struct item READ_ID = { "\x9f", 1, 3, 0 };

static void pins_are_released_until_told(void **state)
{
    struct sim_rig *rig = *state;
    struct message m;
    struct error err = { 0 };
    assert_int_equal(batch(rig, &READ_ID, 1, &err), ERR_REFUSED);
    assert_int_equal(one(rig, MESSAGE_SPI_DRIVE, 1, NULL), 0);
    assert_int_equal(batch(rig, &READ_ID, 1, &err), 0);
    assert_memory_equal(rig->payload, "\xc2\x20\x11", 3);
    assert_int_equal(one(rig, MESSAGE_SAFE_OFF, 1, &m), 0);
    assert_true(m.value[0] == 0);
    assert_int_equal(batch(rig, &READ_ID, 1, &err), ERR_REFUSED);
}

static void what_is_written_is_read(void **state)
{
    struct sim_rig *rig = *state;
    static const struct item WRITE[] = {
        { "\x06", 1, 0, 0 },
        { "\x02\x00\x01\x00"
          "nightbench",
          14, 0, 2000 },
        { "\x05", 1, 1, 0 },
        { "\x03\x00\x01\x00", 4, 10, 0 },
        { "\x03\x00\x01\x05", 4, 1000, 0 },
    };
    assert_int_equal(one(rig, MESSAGE_SPI_DRIVE, 1, NULL), 0);
    assert_int_equal(batch(rig, WRITE, 5, NULL), 0);
    assert_memory_equal(rig->payload,
                        "\x00"
                        "nightbench"
                        "bench\xff",
                        17);
}

static void clock_steps(void **state)
{
    struct sim_rig *rig = *state;
    static const struct {
        double asked, real;
    } STEPS[] = { { 1, 30e3 }, { 999999, 250e3 }, { 1e6, 1e6 }, { 20e6, 8e6 } };
    for (int driven = 0; driven < 2; driven++) {
        for (size_t i = 0; i < sizeof STEPS / sizeof *STEPS; i++) {
            struct message m;
            assert_int_equal(one(rig, MESSAGE_SPI_CLOCK, STEPS[i].asked, &m), 0);
            assert_true(m.value[0] == STEPS[i].real && m.value[1] == SPI_TX_MAX);
        }
        assert_int_equal(one(rig, MESSAGE_SPI_DRIVE, 1, NULL), 0);
    }
    assert_int_equal(one(rig, MESSAGE_SPI_CLOCK, 0, NULL), ERR_RANGE);
}

static void connects_to_a_unit_in_spi_mode(void **state)
{
    struct sim_rig *rig = *state;
    assert_int_equal(one(rig, MESSAGE_SPI_DRIVE, 1, NULL), 0);
    rig->driver->close(rig->state);
    rig->state = NULL;
    assert_int_equal(sim_rig_connect(rig, "buspirate", "bridge", NULL), 0);
    assert_int_equal(batch(rig, &READ_ID, 1, NULL), ERR_REFUSED); /* and lets go of its pins */
    assert_int_equal(one(rig, MESSAGE_SPI_DRIVE, 1, NULL), 0);
    assert_int_equal(batch(rig, &READ_ID, 1, NULL), 0);
    assert_memory_equal(rig->payload, "\xc2\x20\x11", 3);
}

static void a_transaction_left_open_is_filled(void **state)
{
    struct sim_rig *rig = *state;
    struct transport *wire = NULL;
    assert_int_equal(one(rig, MESSAGE_SPI_DRIVE, 1, NULL), 0);
    rig->driver->close(rig->state);
    rig->state = NULL;
    assert_int_equal(transport_open(&rig->env, "bridge", "sim:", &wire, NULL), 0);
    assert_int_equal(
        transport_write(wire, "\x04\x0f\xff\x00\x01half", 9, clock_now(rig->env.clock) + NS_PER_S, NULL), 0);
    sim_rig_wait(rig, 0.1); /* the bytes have arrived */
    transport_close(wire);
    assert_int_equal(sim_rig_connect(rig, "buspirate", "bridge", NULL), 0);
    assert_int_equal(one(rig, MESSAGE_SPI_DRIVE, 1, NULL), 0);
    assert_int_equal(batch(rig, &READ_ID, 1, NULL), 0);
    assert_memory_equal(rig->payload, "\xc2\x20\x11", 3);
}

static void after_silence_it_goes_on(void **state)
{
    struct sim_rig *rig = *state;
    static const char *const KINDS[] = { "silence", "truncate" };
    assert_int_equal(one(rig, MESSAGE_SPI_DRIVE, 1, NULL), 0);
    for (size_t i = 0; i < sizeof KINDS / sizeof *KINDS; i++) {
        assert_int_equal(sim_rig_fault(rig, "bridge", KINDS[i], 1, 0), 0);
        assert_int_equal(batch(rig, &READ_ID, 1, NULL), ERR_TIMEOUT);
        assert_int_equal(batch(rig, &READ_ID, 1, NULL), 0);
        assert_memory_equal(rig->payload, "\xc2\x20\x11", 3);
    }
}

static void lengths_that_lie_are_refused(void **state)
{
    struct sim_rig *rig = *state;
    assert_int_equal(one(rig, MESSAGE_SPI_DRIVE, 1, NULL), 0);
    struct message_spi item = { .tx_len = 100, .rx_len = 1 };
    memcpy(rig->payload, &item, sizeof item);
    struct message m = { .op = MESSAGE_SPI_BATCH, .count = 1, .payload_length = sizeof item + 50 };
    assert_int_equal(sim_rig_request(rig, &m, NULL), ERR_INVALID);
    item.tx_len = SPI_TX_MAX + 1;
    memcpy(rig->payload, &item, sizeof item);
    m.payload_length = sizeof item + SPI_TX_MAX + 1;
    assert_int_equal(sim_rig_request(rig, &m, NULL), ERR_RANGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(pins_are_released_until_told, start, stop),
        cmocka_unit_test_setup_teardown(what_is_written_is_read, start, stop),
        cmocka_unit_test_setup_teardown(clock_steps, start, stop),
        cmocka_unit_test_setup_teardown(connects_to_a_unit_in_spi_mode, start, stop),
        cmocka_unit_test_setup_teardown(a_transaction_left_open_is_filled, start, stop),
        cmocka_unit_test_setup_teardown(after_silence_it_goes_on, start, stop),
        cmocka_unit_test_setup_teardown(lengths_that_lie_are_refused, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
