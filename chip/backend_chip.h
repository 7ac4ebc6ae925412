/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * backend_chip: a chip over the wire behind the back-end interface: compiles, loads with readback, infers in
 * batches, and takes tensors by stopping the chip after each stage.
 */
#ifndef CHIP_BACKEND_CHIP_H
#define CHIP_BACKEND_CHIP_H

#include "chip/backend.h"
#include "chip/runtime.h"

/* chip is borrowed until close. ret_backend->close(ret_backend->context) frees the back end, not the chip. */
int backend_chip_open(struct chip *chip, struct backend *ret_backend, struct error *err);
/* The program in force, or NULL before load: counts of operations and conversions for efficiency figures. */
const struct chip_program *backend_chip_program(const struct backend *backend);

#endif
