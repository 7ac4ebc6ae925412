/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * lab: `lab replay LOG...`, `lab record CHK...`, `lab models`, `lab matrix [SEED [MODEL.FAULT.PHASE]]`, and
 * `lab-careless matrix must-break`: each model must have cells that break. LAB_TRACE=DIR writes what passes
 * the wire of each cell. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/log.h"
#include "tests/wire/lab/lab.h"

int __real_transport_open(const struct transport_env *env, const char *name, const char *resource,
                          struct transport **ret, struct error *err);
int __wrap_transport_open(const struct transport_env *env, const char *name, const char *resource,
                          struct transport **ret, struct error *err);

static struct {
    lab_open_fn fn;
    void *context;
} seam; /* the one place where a driver's way to its transport can be changed is process-wide */

void lab_on_open(lab_open_fn fn, void *context)
{
    seam.fn = fn;
    seam.context = context;
}

int lab_open_real(const struct transport_env *env, const char *name, const char *resource,
                  struct transport **ret, struct error *err)
{
    return __real_transport_open(env, name, resource, ret, err);
}

int __wrap_transport_open(const struct transport_env *env, const char *name, const char *resource,
                          struct transport **ret, struct error *err)
{
    return seam.fn ? seam.fn(seam.context, env, name, resource, ret, err)
                   : lab_open_real(env, name, resource, ret, err);
}

int main(int argc, char **argv)
{
    const char *command = argc > 1 ? argv[1] : "";
    int failures = 0;
    log_init("lab", LOG_ERR); /* ports tell of every fault that they meet */
    if (strcmp(command, "models") == 0) {
        lab_models();
        return 0;
    }
    if (strcmp(command, "matrix") == 0) {
        bool must_break = argc > 2 && strcmp(argv[2], "must-break") == 0;
        uint64_t seed = argc > 2 && !must_break ? strtoull(argv[2], NULL, 10) : 1;
        return lab_matrix(seed, argc > 3 ? argv[3] : NULL, must_break) != 0;
    }
    bool replays = strcmp(command, "replay") == 0;
    if ((!replays && strcmp(command, "record") != 0) || argc < 3) {
        fprintf(stderr, "usage: lab replay LOG... | lab record CHK... | "
                        "lab matrix [SEED [MODEL.FAULT.PHASE]]\n");
        return 2;
    }
    for (int i = 2; i < argc; i++)
        failures += replays ? lab_replay(argv[i]) : lab_record(argv[i]);
    return failures != 0;
}
