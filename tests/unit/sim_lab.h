/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * sim_lab: two supplies, a source and a meter in this process, in virtual time, on a chip of resistors, and
 * plain clients of their sockets. For tests of the instruments' side of the wire; sim_rig.h is for tests of
 * ours. */
#ifndef TESTS_UNIT_SIM_LAB_H
#define TESTS_UNIT_SIM_LAB_H

#include <arpa/inet.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/base/clock.h"
#include "daemon/base/rng.h"
#include "daemon/base/text.h"
#include "drivers/sim/chipmodel.h"
#include "drivers/sim/scpi_parse.h"
#include "drivers/sim/scpi_server.h"
#include "drivers/sim/simbench.h"

static const char bench_text[] =
    "{\"instruments\":["
    "{\"name\":\"psu\",\"simulate\":{\"model\":\"e36312a\"}},"
    "{\"name\":\"smu\",\"simulate\":{\"model\":\"n6705c\"}},"
    "{\"name\":\"src\",\"simulate\":{\"model\":\"2450\"}},"
    "{\"name\":\"dmm\",\"simulate\":{\"model\":\"34461a\"}}],"
    "\"rails\":{\"VDDIO\":{\"instrument\":\"psu\",\"channel\":2},\"VDD\":{\"instrument\":\"psu\",\"channel\":"
    "1},"
    "\"VDDA\":{\"instrument\":\"smu\",\"channel\":1}},"
    "\"leads\":{\"VDD\":{\"ohm\":0.5},\"VDDA\":{\"ohm\":0.5,\"remote_sense\":true}},"
    "\"test_bus\":{\"source\":{\"instrument\":\"src\",\"channel\":1},\"meter\":{\"instrument\":\"dmm\","
    "\"channel\":1},"
    "\"net\":\"ATB0\"},"
    "\"chip\":{\"profile\":\"%s/chip.json\"}}";
static const char chip_text[] = "{\"rails\":[{\"name\":\"VDDIO\",\"role\":\"io\",\"abs_max_v\":2.1},"
                                "{\"name\":\"VDD\",\"role\":\"core\",\"abs_max_v\":1.05},"
                                "{\"name\":\"VDDA\",\"role\":\"core\",\"abs_max_v\":1.05}]}";

/* ---- A chip of resistors: 100 ohm on every rail; when told it drives the test bus, 0.5 V behind 1 kohm ----
 */

struct resistors {
    bool drives;
    int rail_changes;
};

static inline int resistors_open(const struct chip_setup *setup, void **ret_chip, struct error *err)
{
    (void)setup;
    struct resistors *chip = calloc(1, sizeof *chip);
    if (!chip)
        return error_set(err, ERR_MEMORY, "chip");
    *ret_chip = chip;
    return 0;
}

static inline double resistors_current(void *chip, struct world_net *net, const double *rail_v, double temp_c,
                                       int64_t t_ns)
{
    (void)chip;
    (void)temp_c;
    (void)t_ns;
    return strcmp(world_net_name(net), "ATB0") == 0 ? 0 : rail_v[world_net_index(net)] / 100;
}

static inline void resistors_rail_change(void *chip, struct world_net *net, double volt, int64_t t_ns)
{
    (void)net;
    (void)volt;
    (void)t_ns;
    ((struct resistors *)chip)->rail_changes++;
}

static inline bool resistors_atb(void *chip, int64_t t_ns, double *ret_volt, double *ret_ohm)
{
    (void)t_ns;
    *ret_volt = 0.5;
    *ret_ohm = 1000;
    return ((struct resistors *)chip)->drives;
}

static const struct chip_model resistors_model = { .name = "resistors",
                                                   .open = resistors_open,
                                                   .close = free,
                                                   .rail_current = resistors_current,
                                                   .on_rail_change = resistors_rail_change,
                                                   .atb_drive = resistors_atb };

/* ---- A bench in this process, and a client of it ---- */

struct client {
    int fd, link;
};

struct fixture {
    char dir[64];
    struct sim_loop *loop;
    struct world *world;
    struct simbench *bench;
    struct clock *clock;
    struct clock_actor *actor;
    pthread_t thread;
};

static inline void *serve(void *context)
{
    assert_int_equal(sim_loop_run(context, NULL), 0);
    return NULL;
}

static inline void write_text(const char *dir, const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_int_equal(text_write_file(path, text, strlen(text), NULL), 0);
}

static inline void setup(struct fixture *f, uint64_t seed)
{
    struct error err;
    char path[128], bench[2048];
    strcpy(f->dir, "/tmp/nightbench-sim-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(bench, sizeof bench, bench_text, f->dir);
    write_text(f->dir, "bench.json", bench);
    write_text(f->dir, "chip.json", chip_text);
    assert_int_equal(sim_loop_open(f->dir, true, seed, &f->loop, &err), 0);
    snprintf(path, sizeof path, "%s/world.log", f->dir);
    assert_int_equal(world_open(f->loop, path, seed, &f->world, &err), 0);
    snprintf(path, sizeof path, "%s/bench.json", f->dir);
    struct simbench_options options = { .bench_path = path, .dir = f->dir, .seed = seed, .die = -1 };
    if (simbench_open(&options, f->loop, f->world, &f->bench, &err))
        fail_msg("%s", err.message);
    struct chip_setup chip = { .profile_path = "", .seed = seed, .loop = f->loop, .world = f->world };
    assert_int_equal(world_chip_open(f->world, &resistors_model, &chip, &err), 0);
    assert_int_equal(pthread_create(&f->thread, NULL, serve, f->loop), 0);
    snprintf(path, sizeof path, "%s/clock.sock", f->dir);
    assert_int_equal(clock_open(path, &f->clock, &err), 0);
    assert_int_equal(clock_actor_open(f->clock, "test", CLOCK_RANK_PORT, &f->actor, &err), 0);
}

/* Stops the loop, so that the world may be looked at from this thread. */
static inline void halt(struct fixture *f)
{
    sim_loop_stop(f->loop);
    pthread_join(f->thread, NULL);
}

static inline void teardown(struct fixture *f)
{
    clock_actor_close(f->actor);
    clock_close(f->clock);
    simbench_close(f->bench);
    world_close(f->world);
    sim_loop_close(f->loop);
    static const char *const files[] = { "bench.json", "chip.json", "links.json", "world.log" };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s/%s", f->dir, files[i]);
        unlink(path);
    }
    rmdir(f->dir);
}

static inline int try_connect(struct fixture *f, const char *name, struct client *client)
{
    struct sim_link *link = sim_link_find(f->loop, name);
    assert_non_null(link);
    struct sockaddr_in address = { .sin_family = AF_INET }, own;
    socklen_t length = sizeof own;
    address.sin_port = htons((uint16_t)atoi(strrchr(sim_link_resource(link), ':') + 1));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    *client = (struct client){ .fd = socket(AF_INET, SOCK_STREAM, 0), .link = -1 };
    if (connect(client->fd, (struct sockaddr *)&address, sizeof address))
        return -1;
    assert_int_equal(getsockname(client->fd, (struct sockaddr *)&own, &length), 0);
    client->link = clock_link_open(f->actor, ntohs(own.sin_port));
    return 0;
}

static inline void hang_up(struct fixture *f, struct client *client)
{
    close(client->fd);
    clock_link_close(f->clock, client->link);
}

static inline void tell(struct fixture *f, struct client *client, const char *text)
{
    char line[512];
    int n = snprintf(line, sizeof line, "%s\n", text);
    assert_int_equal(send(client->fd, line, (size_t)n, MSG_NOSIGNAL), n);
    clock_link_sent(f->clock, client->link, (size_t)n);
}

/* One line within timeout_s; returns its length, 0 at a time-out or end of file. */
static inline int hear(struct fixture *f, struct client *client, double timeout_s, char *line, int size)
{
    int64_t end_ns = clock_now(f->clock) + (int64_t)(timeout_s * 1e9);
    for (int n = 0; n < size - 1;) {
        struct pollfd in = { .fd = client->fd, .events = POLLIN };
        if (clock_poll(f->actor, &in, 1, end_ns, 0) <= 0)
            return 0;
        ssize_t count = recv(client->fd, line + n, (size_t)(size - 1 - n), 0);
        if (count <= 0)
            return 0;
        clock_link_received(f->clock, client->link, (size_t)count);
        n += (int)count;
        line[n] = '\0';
        if (line[n - 1] == '\n') {
            line[--n] = '\0';
            return n;
        }
    }
    return 0;
}

static const char *ask(struct fixture *f, struct client *client, const char *text)
{
    static char line[1024];
    tell(f, client, text);
    if (!hear(f, client, 60, line, sizeof line))
        fail_msg("no answer to %s", text);
    return line;
}

static inline double ask_number(struct fixture *f, struct client *client, const char *text)
{
    return atof(ask(f, client, text));
}

static inline void pass_time(struct fixture *f, double seconds)
{
    assert_int_equal(clock_sleep_until(f->actor, clock_now(f->clock) + (int64_t)(seconds * 1e9), -1), 0);
}

static inline void assert_near(double value, double expected, double tolerance)
{
    if (!(fabs(value - expected) <= tolerance))
        fail_msg("%.9g is not within %.3g of %.9g", value, tolerance, expected);
}

#endif
