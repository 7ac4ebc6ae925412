/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * axes: reading the axes of a sweep and unrolling them into cells, in the order a sweep asks for. */
#ifndef SWEEPS_AXES_H
#define SWEEPS_AXES_H

#include "sweeps/plan.h"

/* Reads "axes", "order", "constraints" and "strategy" of a sweep. */
void axes_parse(const struct json_at *at, struct step_sweep *ret_sweep);
/* Number of cells of the grid (without repeats); 0 when it passes PLAN_CELLS_MAX. */
int axes_count(const struct step_sweep *sweep);
/* Values of one cell of the grid; grid index 0 .. axes_count() - 1, costly axes change slowest whatever the
 * order of writing. */
void axes_values(const struct step_sweep *sweep, int grid, double *ret_value);
/* The order in which a sweep visits its grid: ret_grid[axes_count()]. */
void axes_order(const struct step_sweep *sweep, uint64_t seed, int *ret_grid);
/* Index of the constraint that forbids these values, or -1. */
int axes_forbidden(const struct step_sweep *sweep, const double *value);
/* Canonical text: keys sorted, shortest numbers. false when it does not fit. */
bool axes_text(const struct step_sweep *sweep, const double *value, char *out, size_t size);

#endif
