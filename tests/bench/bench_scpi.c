/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * bench_scpi: SCPI queries per second through the SCPI driver (transport, deadlines, cut, reply parser)
 * against a bare C request/response loop, both with the same answering server (tests/bench/meter.h), in turns
 * in one run. Aim: at least 0.9 of the bare loop.
 */
#include <stdio.h>
#include <sys/eventfd.h>

#include "drivers/driver.h"
#include "tests/bench/meter.h"

enum { ROUNDS = 200, QUERIES = 200 };

struct both {
    int bare_fd;
    const struct driver *driver;
    void *state;
};

static double bare_round(void *context)
{
    const struct both *both = context;
    char reply[128];
    int64_t start_ns = clock_host_now();
    for (int i = 0; i < QUERIES; i++) {
        if (send(both->bare_fd, "READ?\n", 6, MSG_NOSIGNAL) != 6 ||
            recv(both->bare_fd, reply, sizeof reply, 0) <= 0)
            return 0;
    }
    return (double)(clock_host_now() - start_ns) * 1e-9;
}

static double driver_round(void *context)
{
    const struct both *both = context;
    static uint8_t payload[MESSAGE_TEXT_MAX];
    int64_t start_ns = clock_host_now();
    for (int i = 0; i < QUERIES; i++) {
        struct message message = {
            .magic = MESSAGE_MAGIC, .op = MESSAGE_QUERY, .channel = 1, .payload_length = 5
        };
        memcpy(payload, "READ?", 5);
        if (both->driver->request(both->state, &message, payload, sizeof payload, NULL))
            return 0;
    }
    return (double)(clock_host_now() - start_ns) * 1e-9;
}

int main(void)
{
    struct meter meter = { .apart = true };
    struct error err = { 0 };
    struct transport_env env = { .cut_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) }; /* as a port has it */
    struct driver_config config = { .name = "dmm1",
                                    .class = CLASS_DMM,
                                    .dialect_path = "configs/instruments/keysight-34461a.json" };
    struct both both = { .driver = driver_find("scpi") };
    double bare_s = 0, driver_s = 0;

    meter_pin(0);
    int code = meter_start(&meter);
    snprintf(config.resource, sizeof config.resource, "tcp:127.0.0.1:%d", meter.port);
    both.bare_fd = meter_connect(&meter);
    if (!code)
        code = clock_open(NULL, &env.clock, &err);
    if (!code)
        code = clock_actor_open(env.clock, "bench", CLOCK_RANK_RUNNER, &env.actor, &err);
    if (!code)
        code = both.driver->open(&config, &env, &both.state, &err);
    if (!code)
        code = meter_compare(ROUNDS, bare_round, driver_round, &both, &bare_s, &driver_s);
    if (both.state)
        both.driver->close(both.state);
    clock_actor_close(env.actor);
    clock_close(env.clock);
    close(both.bare_fd);
    close(env.cut_fd);
    if (code) {
        fprintf(stderr, "bench_scpi: no figure: %s\n", err.message);
        return 1;
    }
    printf(
        "SCPI queries over TCP: %.0f/s through the driver, %.0f/s bare C loop (fastest tenth of %d rounds), "
        "ratio %.2f (aim >= 0.90)%s\n",
        QUERIES / driver_s, QUERIES / bare_s, ROUNDS, bare_s / driver_s,
        bare_s / driver_s < 0.9 ? ": missed" : "");
    return 0;
}
