/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_serprog: the driver against a small bridge whose chip answers every byte of a read with a running
 * checksum of what was written, so that a swapped or lost transaction cannot pass. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "drivers/serprog.c"
#include "tests/unit/peer.h"
#include "tests/unit/sim_rig.h"

struct bridge {
    struct peer peer;
    uint8_t map[32], in[1 << 17];
    size_t have;
    atomic_size_t serbuf, most_waiting; /* most bytes that were on their way at once */
    atomic_int pins, spiops, refuse_at, mute;
};

static size_t le(const uint8_t *p, int n)
{
    return n == 0 ? 0 : p[0] | le(p + 1, n - 1) << 8;
}

static uint8_t sum(const uint8_t *bytes, size_t n, size_t i)
{
    uint8_t s = (uint8_t)(i + 1);
    for (size_t k = 0; k < n; k++)
        s = (uint8_t)(s * 31 + bytes[k]);
    return s;
}

static size_t spiop(struct bridge *b, const uint8_t *p, size_t n)
{
    static uint8_t answer[4096];
    if (n < 7 || n < 7 + le(p + 1, 3))
        return 0;
    size_t out = le(p + 1, 3), in = le(p + 4, 3);
    if (atomic_fetch_add(&b->spiops, 1) + 1 == atomic_load(&b->refuse_at)) {
        peer_say(&b->peer, "\x15", 1);
    } else {
        answer[0] = 0x06;
        for (size_t i = 0; i < in; i++)
            answer[i + 1] = sum(p + 7, out, i);
        peer_say(&b->peer, answer, (in + 1) / 2);
        peer_say(&b->peer, answer + (in + 1) / 2, in + 1 - (in + 1) / 2);
    }
    return 7 + out;
}

/* Bytes taken; 0 when the command is not complete. */
static size_t one_command(struct bridge *b, const uint8_t *p, size_t n)
{
    uint8_t text[40] = { 0x06 };
    switch (p[0]) {
    case 0x00:
        peer_say(&b->peer, "\x06", 1);
        return 1;
    case 0x01:
        peer_say(&b->peer, "\x06\x01\x00", 3);
        return 1;
    case 0x02:
        memcpy(text + 1, b->map, 32);
        peer_say(&b->peer, text, 33);
        return 1;
    case 0x03:
        memcpy(text + 1, "tiny bridge", 12);
        peer_say(&b->peer, text, 17);
        return 1;
    case 0x04:
        text[1] = (uint8_t)b->serbuf, text[2] = (uint8_t)(b->serbuf >> 8);
        peer_say(&b->peer, text, 3);
        return 1;
    case 0x08:
        peer_say(&b->peer, "\x06\x00\x02\x00", 4);
        return 1; /* 512 */
    case 0x10:
        peer_say(&b->peer, "\x15\x06", 2);
        return 1;
    case 0x11:
        peer_say(&b->peer, "\x06\x00\x01\x00", 4);
        return 1; /* 256 */
    case 0x12:
        peer_say(&b->peer, "\x06", 1);
        return n < 2 ? 0 : 2;
    case 0x13:
        return spiop(b, p, n);
    case 0x14:
        if (n < 5)
            return 0;
        peer_say(&b->peer, "\x06\x40\x42\x0f\x00", 5); /* 1 MHz, whatever was asked */
        return 5;
    case 0x15:
        if (n < 2)
            return 0;
        atomic_store(&b->pins, p[1]);
        peer_say(&b->peer, "\x06", 1);
        return 2;
    default:
        peer_say(&b->peer, "\x15", 1);
        return 1;
    }
}

static void bridge_data(struct peer *peer, const char *data, size_t n)
{
    struct bridge *b = peer->context;
    if (atomic_load(&b->mute))
        return;
    memcpy(b->in + b->have, data, n);
    b->have += n;
    if (b->have > b->most_waiting)
        b->most_waiting = b->have;
    size_t done = 0, used;
    while (done < b->have && (used = one_command(b, b->in + done, b->have - done)) > 0)
        done += used;
    memmove(b->in, b->in + done, b->have - done);
    b->have -= done;
}

struct rig {
    struct bridge bridge;
    struct transport_env env;
    struct driver_config config;
    void *state;
    uint8_t payload[MESSAGE_PAYLOAD_MAX];
};

static int rig_start(void **state)
{
    struct rig *rig = calloc(1, sizeof *rig);
    *state = rig;
    static const int OFFERED[] = { 0, 1, 2, 3, 4, 5, 8, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15 };
    for (size_t i = 0; i < sizeof OFFERED / sizeof *OFFERED; i++)
        rig->bridge.map[OFFERED[i] / 8] |= (uint8_t)(1 << OFFERED[i] % 8);
    rig->bridge.serbuf = 0xffff;
    rig->bridge.peer.on_data = bridge_data;
    rig->bridge.peer.context = &rig->bridge;
    rig->env.cut_fd = -1;
    if (peer_start(&rig->bridge.peer) || clock_open(NULL, &rig->env.clock, NULL) ||
        clock_actor_open(rig->env.clock, "test", 0, &rig->env.actor, NULL))
        return -1;
    snprintf(rig->config.name, sizeof rig->config.name, "bridge");
    snprintf(rig->config.resource, sizeof rig->config.resource, "%s", rig->bridge.peer.resource);
    rig->config.spi_hz = 2e6;
    return 0;
}

static int rig_stop(void **state)
{
    struct rig *rig = *state;
    driver_serprog.close(rig->state);
    clock_actor_close(rig->env.actor);
    clock_close(rig->env.clock);
    peer_stop(&rig->bridge.peer);
    free(rig);
    return 0;
}

static void opened(struct rig *rig)
{
    struct error err = { 0 };
    if (driver_serprog.open(&rig->config, &rig->env, &rig->state, &err))
        fail_msg("%s", err.message);
}

static int request(struct rig *rig, struct message *m, struct error *err)
{
    return driver_serprog.request(rig->state, m, rig->payload, sizeof rig->payload, err);
}

/* Transaction i writes i % 200 + 1 bytes and reads i % 37. */
static uint8_t byte_of(uint32_t i, size_t k)
{
    return (uint8_t)(i * 7 + k * 13);
}

static int send_batch(struct rig *rig, uint32_t count, uint32_t delay_at, uint32_t delay_us,
                      struct error *err)
{
    struct message m = { .op = MESSAGE_SPI_BATCH, .count = count };
    uint8_t *tx = rig->payload + count * sizeof(struct message_spi);
    for (uint32_t i = 0; i < count; i++) {
        struct message_spi item = { (uint16_t)(i % 200 + 1), (uint16_t)(i % 37),
                                    i == delay_at ? delay_us : 0 };
        memcpy(rig->payload + i * sizeof item, &item, sizeof item);
        for (size_t k = 0; k < item.tx_len; k++)
            *tx++ = byte_of(i, k);
    }
    m.payload_length = (uint32_t)(tx - rig->payload);
    return request(rig, &m, err);
}

static void must_be_whole(const struct rig *rig, uint32_t count)
{
    const uint8_t *rx = rig->payload;
    for (uint32_t i = 0; i < count; i++) {
        uint8_t tx[200];
        for (size_t k = 0; k < i % 200 + 1; k++)
            tx[k] = byte_of(i, k);
        for (size_t k = 0; k < i % 37; k++)
            assert_int_equal(*rx++, sum(tx, i % 200 + 1, k));
    }
}

static void handshake_and_identity(void **state)
{
    struct rig *rig = *state;
    opened(rig);
    struct message m = { .op = MESSAGE_IDENTIFY }, clock = { .op = MESSAGE_SPI_CLOCK, .value = { 5e6 } };
    assert_int_equal(request(rig, &m, NULL), 0);
    assert_memory_equal(rig->payload, "serprog\0tiny bridge\0\0v1", 24);
    assert_int_equal(request(rig, &clock, NULL), 0);
    assert_true(clock.value[0] == 1e6 && clock.value[1] == 512 && clock.value[2] == 256);
    assert_true(rig->config.spi_hz == 5e6); /* what a reconnect asks for again */
    assert_int_equal(atomic_load(&rig->bridge.pins), 0);
}

static void a_needed_command_is_missing(void **state)
{
    struct rig *rig = *state;
    rig->bridge.map[0x15 / 8] &= (uint8_t) ~(1 << 0x15 % 8);
    struct error err = { 0 };
    assert_int_equal(driver_serprog.open(&rig->config, &rig->env, &rig->state, &err), ERR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "15"));
}

static void nobody_there(void **state)
{
    struct rig *rig = *state;
    struct error err = { 0 };
    rig->config.resource[0] = '\0';
    snprintf(rig->config.resource, sizeof rig->config.resource, "tcp:127.0.0.1:1");
    assert_int_equal(driver_serprog.open(&rig->config, &rig->env, &rig->state, &err), ERR_NO_ANSWER);
}

static void a_batch_is_pipelined_and_complete(void **state)
{
    struct rig *rig = *state;
    opened(rig);
    struct error err = { 0 };
    assert_int_equal(send_batch(rig, SPI_BATCH_MAX, UINT32_MAX, 0, &err), 0);
    must_be_whole(rig, SPI_BATCH_MAX);
    assert_int_equal(atomic_load(&rig->bridge.spiops), SPI_BATCH_MAX);
    assert_true(rig->bridge.most_waiting > 2000); /* many transactions at once */
}

static void the_bridge_s_buffer_is_respected(void **state)
{
    struct rig *rig = *state;
    rig->bridge.serbuf = 400;
    opened(rig);
    struct error err = { 0 };
    rig->bridge.most_waiting = 0;
    assert_int_equal(send_batch(rig, SPI_BATCH_MAX, UINT32_MAX, 0, &err), 0);
    must_be_whole(rig, SPI_BATCH_MAX);
    assert_true(rig->bridge.most_waiting <= 400);
    assert_true(rig->bridge.most_waiting > 207); /* and used */
}

static void a_delay_is_kept(void **state)
{
    struct rig *rig = *state;
    opened(rig);
    struct error err = { 0 };
    int64_t start_ns = clock_host_now();
    assert_int_equal(send_batch(rig, 20, 10, 50000, &err), 0);
    assert_true(clock_host_now() - start_ns >= 50 * NS_PER_MS);
    must_be_whole(rig, 20);
}

static void after_a_refusal_the_link_is_clean(void **state)
{
    struct rig *rig = *state;
    opened(rig);
    struct error err = { 0 };
    atomic_store(&rig->bridge.refuse_at, 5);
    assert_int_equal(send_batch(rig, 100, UINT32_MAX, 0, &err), ERR_REFUSED);
    assert_non_null(strstr(err.message, "transaction 4"));
    assert_int_equal(send_batch(rig, 100, UINT32_MAX, 0, &err), 0);
    must_be_whole(rig, 100);
}

/* ---- In virtual time, against the simulated bridge ---- */
static int sim_start(void **state)
{
    static const char BENCH[] =
        "{\"instruments\":[{\"name\":\"bridge\",\"simulate\":{\"model\":\"serprog\",\"link\":\"tcp\","
        "\"behind\":\"flash\"}},{\"name\":\"feed\",\"simulate\":{\"model\":\"e36312a\"}}],"
        "\"rails\":{\"VDD\":{\"instrument\":\"feed\",\"channel\":1}}}";
    struct sim_rig *sim = calloc(1, sizeof *sim);
    *state = sim;
    return sim_rig_start(sim, BENCH) || sim_rig_connect(sim, "serprog", "bridge", NULL);
}

static int sim_stop(void **state)
{
    int code = sim_rig_stop(*state);
    free(*state);
    return code;
}

static double since(const struct sim_rig *sim, int64_t start_ns)
{
    return (double)(clock_now(sim->env.clock) - start_ns) / 1e9;
}

/* Somebody was killed after the head of a transaction of `length` bytes. */
static void a_transaction_left_open_is_filled(void **state)
{
    struct sim_rig *sim = *state;
    struct serprog *s = sim->state;
    static const size_t LENGTHS[] = { 1, 519, 4096, 65536 };
    for (size_t i = 0; i < sizeof LENGTHS / sizeof *LENGTHS; i++) {
        size_t n = LENGTHS[i];
        const uint8_t head[SPIOP_HEADER] = { OP_O_SPIOP, (uint8_t)n, (uint8_t)(n >> 8), (uint8_t)(n >> 16) };
        struct error err = { 0 };
        assert_int_equal(
            transport_write(s->device.transport, head, sizeof head, device_after(&s->device, 1), &err), 0);
        int64_t start_ns = clock_now(sim->env.clock);
        if (serprog_resync(s, &err))
            fail_msg("%zu bytes: %s", n, err.message);
        assert_true(since(sim, start_ns) < RESYNC_S);
        assert_int_equal(ask(s, OP_Q_IFACE, (uint8_t[2]){ 0 }, 2, &err), 0);
    }
}

/* How long a driver holds on to a bridge that says nothing: in work, and as it opens. */
static void a_dead_bridge_is_given_up_within_its_time(void **state)
{
    struct sim_rig *sim = *state;
    static const char *const FAULTS[] = { "deaf", "silence" };
    struct message m = { .magic = MESSAGE_MAGIC, .op = MESSAGE_SPI_DRIVE, .value = { 1 } };
    struct error err = { 0 };
    for (int i = 0; i < 2; i++) {
        assert_int_equal(sim_rig_fault(sim, "bridge", FAULTS[i], -1, 0), 0);
        int64_t start_ns = clock_now(sim->env.clock);
        assert_int_equal(sim_rig_request(sim, &m, &err), ERR_TIMEOUT);
        assert_int_equal(sim->driver->resync(sim->state, &err), ERR_NO_ANSWER);
        assert_true(since(sim, start_ns) < ANSWER_S + RESYNC_S + 0.5);
        sim->driver->close(sim->state);
        sim->state = NULL;
        start_ns = clock_now(sim->env.clock);
        assert_int_equal(sim_rig_connect(sim, "serprog", "bridge", &err), ERR_NO_ANSWER);
        assert_true(since(sim, start_ns) < RESYNC_S + 0.5);
        assert_int_equal(sim_rig_fault(sim, "bridge", "none", 0, 0), 0);
        sim_rig_wait(sim, 1);
        assert_int_equal(sim_rig_connect(sim, "serprog", "bridge", &err), 0);
    }
}

static void a_silent_bridge_times_out(void **state)
{
    struct rig *rig = *state;
    opened(rig);
    atomic_store(&rig->bridge.mute, 1);
    struct error err = { 0 };
    assert_int_equal(send_batch(rig, 1, UINT32_MAX, 0, &err), ERR_TIMEOUT);
}

static void pins_are_driven_and_released(void **state)
{
    struct rig *rig = *state;
    opened(rig);
    struct message on = { .op = MESSAGE_SPI_DRIVE, .value = { 1 } },
                   off = { .op = MESSAGE_SAFE_OFF, .value = { 1 } };
    assert_int_equal(request(rig, &on, NULL), 0);
    assert_int_equal(atomic_load(&rig->bridge.pins), 1);
    assert_int_equal(request(rig, &off, NULL), 0);
    assert_int_equal(atomic_load(&rig->bridge.pins), 0);
    assert_true(off.value[0] == 0);
}

static void a_batch_that_lies_about_its_size_is_refused(void **state)
{
    struct rig *rig = *state;
    opened(rig);
    struct error err = { 0 };
    struct message_spi item = { .tx_len = 100, .rx_len = 1 };
    memcpy(rig->payload, &item, sizeof item);
    struct message m = { .op = MESSAGE_SPI_BATCH, .count = 1, .payload_length = sizeof item + 50 };
    assert_int_equal(request(rig, &m, &err), ERR_INVALID);
    m.count = 1u << 30;
    assert_int_equal(request(rig, &m, &err), ERR_INVALID);
    item.tx_len = 513; /* more than wrnmax */
    memcpy(rig->payload, &item, sizeof item);
    m.count = 1;
    m.payload_length = sizeof item + 513;
    assert_int_equal(request(rig, &m, &err), ERR_RANGE);
    assert_int_equal(atomic_load(&rig->bridge.spiops), 0);
}

int main(void)
{
#define RIG(test) cmocka_unit_test_setup_teardown(test, rig_start, rig_stop)
#define SIM(test) cmocka_unit_test_setup_teardown(test, sim_start, sim_stop)
    const struct CMUnitTest tests[] = {
        RIG(handshake_and_identity),
        RIG(a_needed_command_is_missing),
        RIG(nobody_there),
        RIG(a_batch_is_pipelined_and_complete),
        RIG(the_bridge_s_buffer_is_respected),
        RIG(a_delay_is_kept),
        RIG(after_a_refusal_the_link_is_clean),
        SIM(a_transaction_left_open_is_filled),
        SIM(a_dead_bridge_is_given_up_within_its_time),
        RIG(a_silent_bridge_times_out),
        RIG(pins_are_driven_and_released),
        RIG(a_batch_that_lies_about_its_size_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
