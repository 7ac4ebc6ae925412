/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * fake_transport: the transports of drivers/ with a peer that says what it was given, whatever is asked, and
 * a clock that goes one millisecond further at every look. For fuzz targets, which must not wait. */
#ifndef TESTS_FUZZ_FAKE_TRANSPORT_H
#define TESTS_FUZZ_FAKE_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The bytes are borrowed; each read gives at most `piece` of them, with `lines` none beyond a line feed, as
 * an instrument answers that is asked one thing after the other. The end is a closed link. */
void fake_transport_feed(const uint8_t *data, size_t size, size_t piece, bool lines);
/* Bytes written to the peer since then, and the first of them, at most FAKE_SENT_MAX. */
enum { FAKE_SENT_MAX = 4096 };
size_t fake_transport_sent(const uint8_t **ret_bytes);

#endif
