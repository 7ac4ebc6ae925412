/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * undo: the list of what must be switched off, and in which order. Pure data: running it is the keeper's
 * business. Higher barriers come first; inside a barrier steps may run side by side. */
#ifndef DAEMON_KEEPER_UNDO_H
#define DAEMON_KEEPER_UNDO_H

#include "instruments/bench.h"

enum { UNDO_STEPS_MAX = BENCH_CHANNELS_MAX + 1, UNDO_BARRIER_MAX = 1000 };

struct undo_step {
    int kind;    /* enum undo_kind */
    int channel; /* index in the bench file; -1 for the bridge */
    int barrier, emergency_barrier;
    int owner; /* process that registered it; 0: found switched on at the keeper's start */
};

struct undo_list {
    int count;
    struct undo_step step[UNDO_STEPS_MAX];
};

/* Adds, or replaces the step of the same target. */
int undo_add(struct undo_list *list, const struct undo_step *step, struct error *err);
/* Index of a target's step, or -1. */
int undo_find(const struct undo_list *list, int kind, int channel);
void undo_remove(struct undo_list *list, int index);
/* Highest barrier below `below`; false when there is none. */
bool undo_next_barrier(const struct undo_list *list, bool emergency, int below, int *ret_barrier);
int undo_barrier(const struct undo_step *step, bool emergency);

#endif
