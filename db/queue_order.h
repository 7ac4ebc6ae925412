/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * queue_order: what comes before what in the queue, and when. Pure: lists in, answers out. A list is in the
 * order of the queue: the higher priority first, among equals the lower place. */
#ifndef DB_QUEUE_ORDER_H
#define DB_QUEUE_ORDER_H

#include "daemon/base/error.h"
#include "daemon/base/text.h"

enum {
    QUEUE_MAX = 100,           /* entries */
    QUEUE_PRIORITY_MAX = 1000, /* and its negative */
    QUEUE_NAME_MAX = 64,
    QUEUE_WORDS_MAX = 512 /* operator, tags, note */
};

/* One entry but for its campaign. Times are wall time. */
struct queue_item {
    char ulid[ULID_TEXT]; /* of the run that it becomes */
    char campaign[QUEUE_NAME_MAX], backend[16];
    char operator_name[QUEUE_WORDS_MAX], tags[QUEUE_WORDS_MAX], note[QUEUE_WORDS_MAX];
    uint64_t seed; /* 0: the campaign's */
    int priority;
    int64_t place, added_ns;
    int64_t not_before_ns; /* 0: at once */
    int64_t until_ns;      /* 0: as long as it takes */
    double duration_s;     /* planned */
};

/* Index of the entry to begin now, or -1; then *ret_look_ns says when one will be ready (0: none waits for a
 * time). */
int queue_order_next(const struct queue_item *item, int count, int64_t now_ns, int64_t *ret_look_ns);
/* Moves entry `from` to index `to` (clamped). Among neighbours of another priority it takes the nearest that
 * fits between theirs. Places are numbered anew. */
void queue_order_move(struct queue_item *item, int count, int from, int to);
/* When each is likely to begin, as things are: the bench is free at free_ns; durations as planned, times
 * `pace` (0 in virtual time, where they take no time to speak of). */
void queue_order_expect(const struct queue_item *item, int count, int64_t free_ns, double pace,
                        int64_t *ret_begin_ns);

#endif
