/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_simchip_bridge: a client on a real socket, the serprog bridge, the world and the simulated chips
 * behind it. */
#include <arpa/inet.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cmocka.h>

#include "drivers/sim/bridge_serprog.h"
#include "drivers/sim/chip_models.h"

enum { RAILS_MAX = 8 };

struct rail {
    const char *name;
    int kind;
    double volt, abs_max_v;
};
static const struct rail adelia_rails[] = {
    { "VDDIO", WORLD_RAIL_IO, 1.8, 2.1 }, { "VDDD", WORLD_RAIL, 0.8, 1.05 },
    { "VDDM", WORLD_RAIL, 0.8, 1.05 },    { "VDDA", WORLD_RAIL, 0.8, 1.05 },
    { "VDDADC", WORLD_RAIL, 0.8, 1.05 },  { "VREF", WORLD_REFERENCE, 0.6, 0.9 },
    { "VBN", WORLD_BIAS, 0, 1.8 },        { "ATB0", WORLD_TEST_BUS, 0, 0 },
};
static const struct rail tiny_rails[] = { { "VDDIO", WORLD_RAIL_IO, 3.3, 4.0 },
                                          { "VDD", WORLD_RAIL, 1.8, 2.3 } };

struct bench {
    char dir[64];
    struct sim_loop *loop;
    struct world *world;
    struct world_source *source[RAILS_MAX];
    void *bridge;
    struct sim_link *link;
    cJSON *options;
    pthread_t thread;
    int fd;
    double idle_a; /* of the last rail, before the loop has its thread */
};

static void *run_loop(void *context)
{
    struct error err;

    (void)sim_loop_run(((struct bench *)context)->loop, &err);
    return NULL;
}

/* A bench whose rails are on, but those from `off` on. */
static void bench_open(struct bench *b, const struct chip_model *model, const struct rail *rail, int rails,
                       int off)
{
    struct error err;
    struct timeval patience = { .tv_sec = 20 };
    struct sockaddr_in to = { .sin_family = AF_INET };

    memset(b, 0, sizeof *b);
    snprintf(b->dir, sizeof b->dir, "/tmp/nb-bridge-XXXXXX");
    assert_non_null(mkdtemp(b->dir));
    assert_int_equal(sim_loop_open(b->dir, false, 1, &b->loop, &err), 0);
    assert_int_equal(world_open(b->loop, NULL, 1, &b->world, &err), 0);
    for (int i = 0; i < rails; i++) {
        struct world_net_options net = { rail[i].name, rail[i].kind, rail[i].abs_max_v, -0.3, 1e-6 };
        struct world_source_options source = { .instrument = "psu", .channel = i + 1 };

        assert_int_equal(world_net_add(b->world, &net, &source.net, &err), 0);
        assert_int_equal(world_source_add(b->world, &source, &b->source[i], &err), 0);
    }
    if (model != NULL) {
        struct chip_setup chip = {
            .profile_path = "", .seed = 1, .die = 1, .loop = b->loop, .world = b->world
        };

        assert_int_equal(world_chip_open(b->world, model, &chip, &err), 0);
    }
    for (int i = 0; i < rails && i < off; i++) {
        struct world_source_state on = { .on = true, .set_v = rail[i].volt, .limit_a = 0.1, .off_ohm = 1e6 };

        world_source_set(b->world, b->source[i], &on);
    }
    b->options = cJSON_Parse(model != NULL ? "{}" : "{\"behind\":\"flash\"}");
    struct sim_device_setup device = {
        .name = "bridge", .options = b->options, .loop = b->loop, .world = b->world
    };
    struct sim_link_options link = { .name = "bridge", .kind = SIM_LINK_TCP, .clients_max = 1 };
    assert_int_equal(bridge_serprog_model.open(&device, &b->bridge, &err), 0);
    assert_int_equal(sim_link_open(b->loop, &link, &bridge_serprog_model.ops, b->bridge, &b->link, &err), 0);
    bridge_serprog_model.attach(b->bridge, b->link);
    if (rails > 0)
        b->idle_a = world_current(b->world, world_net_find(b->world, rail[rails - 1].name));
    assert_int_equal(pthread_create(&b->thread, NULL, run_loop, b), 0);

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port = htons((uint16_t)atoi(strrchr(sim_link_resource(b->link), ':') + 1));
    b->fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(setsockopt(b->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), 0);
    assert_int_equal(connect(b->fd, (struct sockaddr *)&to, sizeof to), 0);
}

static void bench_stop(struct bench *b)
{
    sim_loop_stop(b->loop);
    pthread_join(b->thread, NULL);
}

static void bench_close(struct bench *b)
{
    char command[96];

    close(b->fd);
    bridge_serprog_model.close(b->bridge);
    world_close(b->world);
    sim_loop_close(b->loop);
    cJSON_Delete(b->options);
    snprintf(command, sizeof command, "rm -rf %s", b->dir);
    assert_int_equal(system(command), 0);
}

static void send_bytes(struct bench *b, const void *bytes, size_t n)
{
    assert_int_equal(send(b->fd, bytes, n, MSG_NOSIGNAL), n);
}

static void expect(struct bench *b, const void *want, size_t n)
{
    uint8_t got[4096];

    assert_true(n <= sizeof got);
    if (n == 0)
        return; /* recv of nothing waits for something */
    assert_int_equal(recv(b->fd, got, n, MSG_WAITALL), n);
    assert_memory_equal(got, want, n);
}

#define SEND(b, text)   send_bytes(b, text, sizeof(text) - 1)
#define EXPECT(b, text) expect(b, text, sizeof(text) - 1)

static void spi(struct bench *b, const char *mosi, size_t n, const char *miso, size_t rx_n)
{
    const uint8_t header[7] = {
        0x13, (uint8_t)n, (uint8_t)(n >> 8), 0, (uint8_t)rx_n, (uint8_t)(rx_n >> 8), 0
    };

    send_bytes(b, header, sizeof header);
    send_bytes(b, mosi, n);
    EXPECT(b, "\x06");
    expect(b, miso, rx_n);
}

static void test_commands(void **state)
{
    struct bench b;
    uint8_t long_op[7 + SERPROG_WRITE_MAX + 1] = { 0x13 };

    (void)state;
    bench_open(&b, NULL, NULL, 0, 0);
    SEND(&b, "\x10\x10");
    EXPECT(&b, "\x15\x06\x15\x06");
    SEND(&b, "\x01\x05\x04\x08\x11");
    EXPECT(&b, "\x06\x01\x00\x06\x08\x06\xff\xff\x06\x00\x08\x00\x06\x00\x08\x00");
    SEND(&b, "\x02");
    EXPECT(&b, "\x06\x3f\x01\x3f\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    SEND(&b, "\x0b\x16\xff"); /* not offered */
    EXPECT(&b, "\x15\x15\x15");
    SEND(&b, "\x12\x01\x12\x08");
    EXPECT(&b, "\x15\x06");
    SEND(&b,
         "\x14\0\0\0\0\x14\x80\xf0\xfa\x02\x14\0\x2d\x31\x01\x14\xff\xff\xff\xff\x14\x01\0\0\0"); /* 0, 50 M,
                                                                                                     20 M */
    EXPECT(&b, "\x15\x06\x80\xc3\xc9\x01\x06\0\x2d\x31\x01\x06\0\x87\x93\x03\x06\x35\x07\0\0");
    SEND(&b, "\x13\x01\0\0\x03\0\0\x9f"); /* pins are tri-state */
    EXPECT(&b, "\x15");
    SEND(&b, "\x15\x01");
    EXPECT(&b, "\x06");
    for (int i = 0; i < 8; i++) { /* a byte at a time */
        send_bytes(&b, &"\x13\x01\0\0\x03\0\0\x9f"[i], 1);
        usleep(1000);
    }
    EXPECT(&b, "\x06\xc2\x20\x11");
    long_op[1] = 1; /* one byte too long: refused, and its bytes swallowed */
    long_op[2] = SERPROG_WRITE_MAX >> 8;
    memset(long_op + 7, 0x10, sizeof long_op - 7);
    send_bytes(&b, long_op, sizeof long_op);
    SEND(&b, "\x13\0\0\0\x01\x08\0"); /* read too long */
    SEND(&b, "\x00");
    EXPECT(&b, "\x15\x15\x06");
    bench_stop(&b);
    bench_close(&b);
}

static void test_adelia2(void **state)
{
    struct bench b;
    double energy;

    (void)state;
    bench_open(&b, &chip_adelia2_model, adelia_rails, 8, 8);
    SEND(&b, "\x14\0\x2d\x31\x01\x15\x01");
    EXPECT(&b, "\x06\0\x2d\x31\x01\x06");
    spi(&b, "\x0b\0\0\0\0\xbf", 6, "\xff\xa0\x41\x44\x02\x01\x94\x6e", 8);
    spi(&b, "\x9f", 1, "\xff\x41\x44\x02\x01", 5);
    bench_stop(&b);
    assert_false(world_damaged(b.world));
    energy = world_energy(b.world, world_net_find(b.world, "VDDIO"));
    assert_true(energy > 0);
    assert_true(world_current(b.world, world_net_find(b.world, "VDDD")) > 10e-6);
    bench_close(&b);
}

/* Pins into an unpowered socket: the chip is gone for good. */
static void test_back_power(void **state)
{
    struct bench b;
    cJSON *truth;

    (void)state;
    bench_open(&b, &chip_adelia2_model, adelia_rails, 8, 0);
    SEND(&b, "\x15\x01");
    EXPECT(&b, "\x06");
    spi(&b, "\x9f", 1, "\0\0\0\0\0", 5);
    bench_stop(&b);
    assert_true(world_damaged(b.world));
    truth = world_ground_truth(b.world);
    assert_true(cJSON_IsTrue(cJSON_GetObjectItem(cJSON_GetObjectItem(truth, "chip"), "damaged")));
    cJSON_Delete(truth);
    bench_close(&b);
}

static void test_tiny(void **state)
{
    struct bench b;

    (void)state;
    bench_open(&b, &chip_tiny_model, tiny_rails, 2, 2);
    SEND(&b, "\x15\x01");
    EXPECT(&b, "\x06");
    spi(&b, "\x80\0", 2, "\x5a", 1);
    spi(&b, "\0\x02\x77\x0a", 4, "", 0); /* SCRATCH, LOAD */
    spi(&b, "\x80\x02", 2, "\x77\x0a\0", 3);
    spi(&b, "\0\0\x11", 3, "", 0); /* ID is read only */
    spi(&b, "\x80\0", 2, "\x5a", 1);
    bench_stop(&b);
    assert_true(world_current(b.world, world_net_find(b.world, "VDD")) > b.idle_a + 50e-6);
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_commands),
        cmocka_unit_test(test_adelia2),
        cmocka_unit_test(test_back_power),
        cmocka_unit_test(test_tiny),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
