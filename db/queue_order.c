/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * queue_order: arithmetic of the queue. */
#include "db/queue_order.h"

#include <string.h>

int queue_order_next(const struct queue_item *item, int count, int64_t now_ns, int64_t *ret_look_ns)
{
    int64_t look_ns = 0;

    for (int i = 0; i < count; i++) {
        if (item[i].not_before_ns <= now_ns)
            return i;
        if (look_ns == 0 || item[i].not_before_ns < look_ns)
            look_ns = item[i].not_before_ns;
    }
    *ret_look_ns = look_ns;
    return -1;
}

void queue_order_move(struct queue_item *item, int count, int from, int to)
{
    struct queue_item moved = item[from];

    to = to < 0 ? 0 : to >= count ? count - 1 : to;
    if (to < from)
        memmove(&item[to + 1], &item[to], (size_t)(from - to) * sizeof *item);
    else
        memmove(&item[from], &item[from + 1], (size_t)(to - from) * sizeof *item);
    if (to > 0 && moved.priority > item[to - 1].priority)
        moved.priority = item[to - 1].priority;
    if (to < count - 1 && moved.priority < item[to + 1].priority)
        moved.priority = item[to + 1].priority;
    item[to] = moved;
    for (int i = 0; i < count; i++)
        item[i].place = i + 1;
}

void queue_order_expect(const struct queue_item *item, int count, int64_t free_ns, double pace,
                        int64_t *ret_begin_ns)
{
    bool begun[QUEUE_MAX] = { false };
    int64_t now_ns = free_ns;

    for (int done = 0; done < count; done++) {
        int next = -1, soonest = -1;

        for (int i = 0; i < count && next < 0; i++) {
            if (begun[i])
                continue;
            if (item[i].not_before_ns <= now_ns)
                next = i;
            else if (soonest < 0 || item[i].not_before_ns < item[soonest].not_before_ns)
                soonest = i;
        }
        if (next < 0) {
            next = soonest;
            now_ns = item[next].not_before_ns;
        }
        begun[next] = true;
        ret_begin_ns[next] = now_ns;
        now_ns += (int64_t)(item[next].duration_s * pace * 1e9);
    }
}
