/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * ring: a bounded byte ring of records. An entry lies in one piece, so that its pointers into itself stay
 * valid until it is released. No locks: the owner serialises put, peek and release; entries already peeked
 * may be read without. */
#ifndef DB_RING_H
#define DB_RING_H

#include <stddef.h>

#include "daemon/base/error.h"

struct ring_entry {
    uint32_t bytes; /* of the whole entry; the payload follows this header */
    int32_t kind;   /* the owner's; negative: filler up to the end of the buffer */
};

struct ring {
    unsigned char *data;
    size_t capacity, head,
        tail; /* head: next write; tail: oldest entry; equal: empty or full, `entries` tells */
    size_t used;
    int entries, entries_max;
};

int ring_init(struct ring *ring, size_t capacity, int entries_max, struct error *err);
void ring_fini(struct ring *ring);
/* Room for a payload, or NULL while the ring is too full. A payload above a quarter of the capacity never
 * fits. */
void *ring_put(struct ring *ring, int kind, size_t payload);
/* Oldest entry, or NULL. */
struct ring_entry *ring_oldest(struct ring *ring);
/* The entry after one that is in the ring; the caller knows how many there are. */
struct ring_entry *ring_next(struct ring *ring, struct ring_entry *entry);
/* Releases the oldest `count` entries. */
void ring_release(struct ring *ring, int count);

#endif
