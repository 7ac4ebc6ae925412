/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * vadset: labelled examples for voice-activity detection, mixed from a pool of clips by a manifest's recipe.
 *
 * "speech" is a speech window plus a noise window at a signal-to-noise ratio drawn from the manifest's range
 * (power over the active 10 ms frames of each); "noise" is a noise window alone. Both get a white floor and a
 * random level, are rounded to 16 bits and go through the same front end. A speech window is used a second
 * time only after all were used once. Example 2p and 2p+1 are one of each class in random order, so that any
 * prefix is balanced.
 *
 * Random draws are keyed by (seed, clip, example): an example does not depend on how the others were made.
 */
#ifndef CHIP_FRONTEND_VADSET_H
#define CHIP_FRONTEND_VADSET_H

#include "chip/frontend/pool.h"
#include "daemon/base/error.h"
#include "daemon/base/hash.h"

/* Told now and then with the number of examples made. */
typedef void vadset_progress(void *context, int made, int wanted);

/* Builds the examples and writes them to `path` as a dataset (chip/dataset.h). */
int vadset_build(const struct pool *pool, const char *path, vadset_progress *progress, void *context,
                 char ret_hash[SHA256_HEX], struct error *err);

/* out = speech + gain * noise with 10 log10(speech_power / (gain^2 noise_power)) = snr_db; returns the gain.
 * A silent noise window is left out (gain 0). `out` may be `speech`. Public for tests. */
double vadset_mix(const double *speech, double speech_power, const double *noise, double noise_power,
                  double snr_db, double *out);

#endif
