/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * backend_recording: answers inferences with what was recorded earlier, so that a plan can be run again on
 * stored results.
 */
#ifndef CHIP_BACKEND_RECORDING_H
#define CHIP_BACKEND_RECORDING_H

#include "chip/backend.h"

/* Delivers the recorded inference for this input (size bytes), or ERR_NOT_FOUND. */
typedef int (*backend_recording_fn)(void *context, const uint8_t *input, size_t size,
                                    const struct adc_config *adc, struct inference *ret, struct error *err);

int backend_recording_open(backend_recording_fn lookup, void *lookup_context, struct backend *ret_backend,
                           struct error *err);

#endif
