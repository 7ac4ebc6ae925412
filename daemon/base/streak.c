/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * streak: counting. */
#include "daemon/base/streak.h"

bool streak_fails(struct streak *streak, int64_t now_ns, unsigned *ret_untold)
{
    bool first = streak->failures++ == 0;

    if (first)
        streak->begin_ns = now_ns;
    if (!first && now_ns - streak->told_ns < STREAK_AGAIN_NS) {
        streak->untold++;
        return false;
    }
    *ret_untold = streak->untold;
    streak->untold = 0;
    streak->told_ns = now_ns;
    return true;
}

bool streak_ends(struct streak *streak, int64_t now_ns, unsigned *ret_failures, int64_t *ret_ns)
{
    struct streak row = *streak;

    *streak = (struct streak){ 0 };
    if (row.failures == 0)
        return false;
    *ret_failures = row.failures;
    *ret_ns = now_ns - row.begin_ns;
    return true;
}
