/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * sim_rig: a simulated bench in this process, in virtual time, and one driver that is connected to one of its
 * instruments. For tests of drivers against the physics that they switch. */
#ifndef TESTS_UNIT_SIM_RIG_H
#define TESTS_UNIT_SIM_RIG_H

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/base/clock.h"
#include "daemon/base/text.h"
#include "drivers/driver.h"
#include "drivers/sim/ground.h"
#include "drivers/sim/simbench.h"

struct sim_rig {
    char dir[40], links[64];
    struct sim_loop *loop;
    struct world *world;
    struct simbench *bench;
    struct ground *ground; /* dir/control.sock */
    pthread_t thread;
    struct transport_env env;
    const struct driver *driver;
    struct driver_config config;
    void *state;
    uint8_t payload[MESSAGE_PAYLOAD_MAX];
};

static inline void *sim_rig_main(void *loop)
{
    sim_loop_run(loop, NULL);
    return NULL;
}

/* Starts the bench; sim_rig_connect opens the driver. */
static inline int sim_rig_start(struct sim_rig *rig, const char *bench_json)
{
    struct error err = { 0 };
    char path[64], control[64];
    strcpy(rig->dir, "/tmp/nb-rig.XXXXXX");
    if (!mkdtemp(rig->dir))
        return -1;
    snprintf(path, sizeof path, "%s/bench.json", rig->dir);
    snprintf(rig->links, sizeof rig->links, "%s/links.json", rig->dir);
    snprintf(control, sizeof control, "%s/control.sock", rig->dir);
    struct simbench_options options = { .bench_path = path, .dir = rig->dir, .seed = 5, .die = -1 };
    if (text_write_file(path, bench_json, strlen(bench_json), &err) ||
        sim_loop_open(rig->dir, true, 5, &rig->loop, &err) ||
        world_open(rig->loop, NULL, 5, &rig->world, &err) ||
        simbench_open(&options, rig->loop, rig->world, &rig->bench, &err) ||
        ground_open(rig->loop, rig->world, control, &rig->ground, &err) ||
        pthread_create(&rig->thread, NULL, sim_rig_main, rig->loop)) {
        fprintf(stderr, "%s\n", err.message);
        return -1;
    }
    snprintf(path, sizeof path, "%s/clock.sock", rig->dir);
    rig->env = (struct transport_env){ .cut_fd = -1, .links_path = rig->links };
    return clock_open(path, &rig->env.clock, &err) ||
           clock_actor_open(rig->env.clock, "test", CLOCK_RANK_PORT, &rig->env.actor, &err);
}

static inline int sim_rig_connect(struct sim_rig *rig, const char *driver, const char *instrument,
                                  struct error *err)
{
    rig->driver = driver_find(driver);
    snprintf(rig->config.name, sizeof rig->config.name, "%s", instrument);
    snprintf(rig->config.resource, sizeof rig->config.resource, "sim:");
    return rig->driver->open(&rig->config, &rig->env, &rig->state, err);
}

static inline int sim_rig_request(struct sim_rig *rig, struct message *message, struct error *err)
{
    return rig->driver->request(rig->state, message, rig->payload, sizeof rig->payload, err);
}

/* Asks the simulator on its control socket, as any other process would: its loop has a thread of its own.
 * kind: "silence", "truncate" ... 0 when it said ok. */
static inline int sim_rig_fault(struct sim_rig *rig, const char *link, const char *kind, int count,
                                double value)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    char text[256];
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    snprintf(address.sun_path, sizeof address.sun_path, "%s/control.sock", rig->dir);
    int length = snprintf(text, sizeof text,
                          "{\"op\":\"fault\",\"link\":\"%s\",\"kind\":\"%s\",\"count\":%d,\"value\":%.17g}\n",
                          link, kind, count, value);
    bool ok = fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0 &&
              write(fd, text, (size_t)length) == length;
    ssize_t got = ok ? read(fd, text, sizeof text - 1) : 0;
    if (fd >= 0)
        close(fd);
    text[got > 0 ? got : 0] = '\0';
    return strstr(text, "\"ok\":true") != NULL ? 0 : -1;
}

/* Waits in bench time. */
static inline int sim_rig_wait(struct sim_rig *rig, double seconds)
{
    return clock_sleep_until(rig->env.actor, clock_now(rig->env.clock) + (int64_t)(seconds * 1e9), -1);
}

static inline int sim_rig_stop(struct sim_rig *rig)
{
    char command[64];
    if (rig->state)
        rig->driver->close(rig->state);
    clock_actor_close(rig->env.actor);
    clock_close(rig->env.clock);
    sim_loop_stop(rig->loop);
    pthread_join(rig->thread, NULL);
    ground_close(rig->ground);
    simbench_close(rig->bench);
    world_close(rig->world);
    sim_loop_close(rig->loop);
    snprintf(command, sizeof command, "rm -rf %s", rig->dir);
    return system(command);
}

#endif
