/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * streak: a row of failures as a person wants to hear of it: the first one at once, then one in a while with
 * how many there were in between, and that it is over. Pure; owned by one thread. */
#ifndef DAEMON_BASE_STREAK_H
#define DAEMON_BASE_STREAK_H

#include <stdbool.h>
#include <stdint.h>

#define STREAK_AGAIN_NS (60 * INT64_C(1000000000)) /* between two tellings of the same row */

struct streak {
    unsigned failures; /* of this row; 0: all is well */
    unsigned untold;   /* since the last telling */
    int64_t begin_ns, told_ns;
};

/* One more failure. True when it is to be told; *ret_untold others were not. */
bool streak_fails(struct streak *streak, int64_t now_ns, unsigned *ret_untold);
/* It went well. True when this ends a row, of *ret_failures in *ret_ns. */
bool streak_ends(struct streak *streak, int64_t now_ns, unsigned *ret_failures, int64_t *ret_ns);

#endif
