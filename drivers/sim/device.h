/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * device: what a model of the virtual bench is: an instrument or a bridge behind one link. A model is one
 * const struct (drivers/sim/models.c lists them); an instance is opaque and belongs to nightbench-sim. */
#ifndef DRIVERS_SIM_DEVICE_H
#define DRIVERS_SIM_DEVICE_H

#include "daemon/base/json.h"
#include "drivers/sim/loop.h"
#include "drivers/sim/world.h"

/* How the fixture wires one channel of a device (from "rails" and "test_bus" of the bench file). */
struct sim_wire {
    int channel; /* from 1 */
    struct world_net *net;
    double lead_ohm;
    bool remote_sense; /* sense leads reach the socket */
};

enum { SIM_WIRES_MAX = 16, SIM_PINS_MAX = 64 };

struct sim_device_setup {
    const char *name;     /* bench name */
    const cJSON *options; /* the instrument's "simulate" object, never NULL */
    uint64_t seed;        /* of the bench: key draws by (seed, name, ...) */
    struct sim_loop *loop;
    struct world *world;
    struct sim_wire wire[SIM_WIRES_MAX];
    int wire_count;
    const char *pin[SIM_PINS_MAX]; /* of the chip, by input of an analyzer ("logic"); NULL: open */
};

struct sim_device_model {
    const char *name;        /* "simulate": {"model": name} */
    int default_link;        /* enum sim_link_kind; "simulate": {"link": "tcp"|"pty"} overrides */
    int clients_max;         /* of the real one */
    struct sim_link_ops ops; /* context is the instance */
    /* Creates the instance. The strings and `options` of the setup outlive it. */
    int (*open)(const struct sim_device_setup *setup, void **ret_device, struct error *err);
    /* The link is there: keep it to answer. Its context is another device where both are units of one line:
     * then that one passes on what is for this one. */
    void (*attach)(void *device, struct sim_link *link);
    void (*close)(void *device);
};

/* By name; NULL when unknown. */
const struct sim_device_model *sim_model_find(const char *name);
/* NULL-terminated names, for messages. */
const char *const *sim_model_names(void);

#endif
