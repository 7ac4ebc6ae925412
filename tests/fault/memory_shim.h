/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * memory_shim: what the preloaded allocator and the test that steers it share: a file that both have mapped.
 * The test writes `mode` last, the program the rest. tests/fault/torture-alloc reads it with the same layout.
 */
#ifndef TESTS_FAULT_MEMORY_SHIM_H
#define TESTS_FAULT_MEMORY_SHIM_H

#include <stdatomic.h>
#include <stdint.h>

enum {
    SHIM_FRAMES = 4, /* of the way to an allocation that tell it from another */
    SHIM_PATHS = 1 << 14
};

enum shim_mode {
    SHIM_OFF,     /* allocations pass */
    SHIM_LEARN,   /* they pass, and each way is entered into the table */
    SHIM_ONCE,    /* the first one on the way `target` fails */
    SHIM_FOR_GOOD /* and so does every other from then on */
};

struct shim_path {
    _Atomic uint64_t hash; /* 0: free */
    _Atomic uint64_t count;
    uint64_t frame[SHIM_FRAMES]; /* module << 48 | offset; module 0 is the program */
};

struct shim_control {
    _Atomic uint32_t mode;   /* enum shim_mode */
    _Atomic uint32_t failed; /* allocations that were refused since mode was set */
    _Atomic uint64_t target;
    _Atomic uint32_t paths, full;
    struct shim_path path[SHIM_PATHS];
};

#endif
