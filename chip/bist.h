/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * bist: checks the chip's digital part bit by bit. The converters are replaced by known codes (BIST
 * register), so shift-add, sums between cores, batch norm, activation and the whole program must agree
 * exactly with the reference.
 */
#ifndef CHIP_BIST_H
#define CHIP_BIST_H

#include "chip/reference.h"
#include "chip/runtime.h"

enum { BIST_WINDOWS_PER_STAGE = 3, BIST_TEXT_MAX = 200 };

struct bist_report {
    int windows;               /* stops made */
    int checked;               /* numbers compared */
    int mismatched;            /* of them */
    char first[BIST_TEXT_MAX]; /* where the first difference is, or "" */
};

/* Compares sums and activations at a few windows of every stage, then the outputs. The chip must be loaded
 * with `program`, compiled from what the reference was opened with. Returns 0 when all was compared, whatever
 * the result: look at the report. */
int bist_run(struct chip *chip, const struct chip_program *program, struct reference *reference,
             const struct network *network, const struct mapping *mapping, int seed,
             struct bist_report *ret_report, struct error *err);

#endif
