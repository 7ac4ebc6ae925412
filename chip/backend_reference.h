/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * backend_reference: the bit-exact reference behind the back-end interface.
 */
#ifndef CHIP_BACKEND_REFERENCE_H
#define CHIP_BACKEND_REFERENCE_H

#include "chip/backend.h"
#include "chip/profile.h"

/* profile is borrowed until close. ret_backend->close(ret_backend->context) frees. */
int backend_reference_open(const struct chip_profile *profile, struct backend *ret_backend,
                           struct error *err);

#endif
