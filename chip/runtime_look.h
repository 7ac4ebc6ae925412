/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * runtime_look: looks into a run of a network on a chip: stops it after a window of a stage and reads sums,
 * codes and activations.
 */
#ifndef CHIP_RUNTIME_LOOK_H
#define CHIP_RUNTIME_LOOK_H

#include "chip/runtime.h"

/* Runs the input that is loaded, up to and including batch norm of that window, and leaves the chip so.
 * Clears the traces first. The break stays set: chip_break(chip, -1, 0, err) ends it. */
int runtime_look_stop(struct chip *chip, const struct chip_program *program, int stage, int window,
                      struct error *err);
/* After a stop: complete sums of the stage. ret_psum[stage channels]. */
int runtime_look_psums(struct chip *chip, const struct mapping *mapping, int stage, int32_t *ret_psum,
                       struct error *err);
/* After a stop: codes of one core in that window, in the order of its blocks. UNSUPPORTED when the chip's
 * trace no longer holds them. */
int runtime_look_codes(struct chip *chip, const struct network *network, const struct mapping *mapping,
                       int stage, int window, int core, int16_t *ret_codes, int count, struct error *err);
/* After a stop: the stage's results of windows first .. first + count - 1 as numbers. ret_values[count *
 * stage channels]. */
int runtime_look_results(struct chip *chip, const struct network *network, const struct mapping *mapping,
                         int stage, int first, int count, int16_t *ret_values, struct error *err);
/* After a stop: the stage's own input as its owner sees it. ret_input[layer input size]. */
int runtime_look_input(struct chip *chip, const struct network *network, const struct mapping *mapping,
                       int stage, uint8_t *ret_input, struct error *err);

#endif
