/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * ring: bounded byte ring of whole records. */
#include "db/ring.h"

#include <stdlib.h>
#include <string.h>

enum { FILLER = -1, ALIGNMENT = 16 };

static struct ring_entry *entry_at(struct ring *ring, size_t offset)
{
    return (struct ring_entry *)(void *)(ring->data + offset);
}

static size_t after(const struct ring *ring, size_t offset, size_t bytes)
{
    return offset + bytes == ring->capacity ? 0 : offset + bytes;
}

int ring_init(struct ring *ring, size_t capacity, int entries_max, struct error *err)
{
    *ring = (struct ring){ .capacity = capacity / ALIGNMENT * ALIGNMENT, .entries_max = entries_max };
    ring->data = aligned_alloc(ALIGNMENT, ring->capacity);
    if (ring->data == NULL)
        return error_set(err, ERR_MEMORY, "no memory for a queue of %zu bytes", capacity);
    memset(ring->data, 0, ring->capacity); /* its pages are had now, and not one by one through the night */
    return 0;
}

void ring_fini(struct ring *ring)
{
    free(ring->data);
    *ring = (struct ring){ 0 };
}

static void append(struct ring *ring, int kind, size_t bytes)
{
    *entry_at(ring, ring->head) = (struct ring_entry){ (uint32_t)bytes, kind };
    ring->head = after(ring, ring->head, bytes);
    ring->used += bytes;
}

void *ring_put(struct ring *ring, int kind, size_t payload)
{
    size_t bytes = (sizeof(struct ring_entry) + payload + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    size_t to_end = ring->capacity - ring->head;
    size_t filler = bytes > to_end ? to_end : 0;
    struct ring_entry *entry;

    if (payload > ring->capacity / 4 || ring->entries >= ring->entries_max ||
        bytes + filler > ring->capacity - ring->used)
        return NULL;
    if (filler > 0)
        append(ring, FILLER, filler);
    entry = entry_at(ring, ring->head);
    append(ring, kind, bytes);
    ring->entries++;
    return entry + 1;
}

/* Skips filler; it never follows filler, and never stands last. */
static size_t skip_filler(struct ring *ring, size_t offset)
{
    const struct ring_entry *entry = entry_at(ring, offset);

    return entry->kind == FILLER ? after(ring, offset, entry->bytes) : offset;
}

struct ring_entry *ring_oldest(struct ring *ring)
{
    return ring->entries == 0 ? NULL : entry_at(ring, skip_filler(ring, ring->tail));
}

struct ring_entry *ring_next(struct ring *ring, struct ring_entry *entry)
{
    size_t offset = (size_t)((unsigned char *)entry - ring->data);

    return entry_at(ring, skip_filler(ring, after(ring, offset, entry->bytes)));
}

void ring_release(struct ring *ring, int count)
{
    for (; count > 0; count--) {
        size_t start = skip_filler(ring, ring->tail);
        size_t bytes = entry_at(ring, start)->bytes;

        if (start != ring->tail)
            ring->used -= entry_at(ring, ring->tail)->bytes;
        ring->used -= bytes;
        ring->tail = after(ring, start, bytes);
        ring->entries--;
    }
}
