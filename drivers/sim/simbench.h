/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * simbench: builds a virtual bench from a bench file: nets with the chip's ratings, devices behind links, the
 * chip. */
#ifndef DRIVERS_SIM_SIMBENCH_H
#define DRIVERS_SIM_SIMBENCH_H

#include "drivers/sim/loop.h"
#include "drivers/sim/world.h"

struct simbench;

struct simbench_options {
    const char *bench_path;
    const char *dir;          /* for links.json */
    const char *chip_overlay; /* JSON object laid over the bench file's chip.simulate, or NULL */
    uint64_t seed;
    int die;    /* negative: the bench file's */
    bool whole; /* answers in one piece */
};

/* Opens everything and writes DIR/links.json. */
int simbench_open(const struct simbench_options *options, struct sim_loop *loop, struct world *world,
                  struct simbench **ret_bench, struct error *err);
/* Before the loop and the world are closed. */
void simbench_close(struct simbench *bench);

#endif
