/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * space: room on the disk that holds a store. Below a mark it warns, below a second one recording pauses
 * until there is room again. A ballast file stands by for the moment at which somebody else fills the disk
 * between two looks: given back, it lets the group in hand be written. Used by the recorder's writer thread
 * alone. */
#ifndef DB_SPACE_H
#define DB_SPACE_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

/* Marks are parts of the disk, and at most so much of a large one. Leaving a state takes a little more than
 * entering it. The ballast holds more than a full queue makes of the store. */
enum { SPACE_LOW_PERCENT = 10, SPACE_OUT_PERCENT = 5, SPACE_LEAVE_PERCENT = 20 };
#define SPACE_LOW_BYTES     (4LL << 30)
#define SPACE_OUT_BYTES     (1LL << 30)
#define SPACE_BALLAST_BYTES (16LL << 20)
#define SPACE_LOOK_NS       250000000LL

enum space_level { SPACE_OK, SPACE_LOW, SPACE_OUT };

struct space {
    char ballast[PATH_MAX], folder[PATH_MAX];
    bool spent; /* the ballast was given back: its owner clears this when the disk takes writes again */
    bool has_ballast, no_ballast; /* no_ballast: this file system cannot reserve */
    enum space_level level;
    int64_t free_bytes, total_bytes, looked_ns;
};

/* Lays down the ballast where there is room for it. Cannot fail: without one, the disk is watched all the
 * same. */
void space_open(struct space *space, const char *db_path);
/* Looks again when the last look is SPACE_LOOK_NS old. The ballast comes back as soon as there is room. */
enum space_level space_look(struct space *space, int64_t now_ns);
/* The disk is full: gives the ballast back. False when there was none. */
bool space_release(struct space *space);
void space_close(struct space *space);

/* The rule itself. */
enum space_level space_judge(int64_t free_bytes, int64_t total_bytes, enum space_level before);

#endif
