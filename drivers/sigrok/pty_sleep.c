/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * pty_sleep: where a network or a simulator is behind a pseudo-terminal, it answers later than a cable does:
 * what libsigrok sleeps for an answer is stretched once one has been used. g_usleep() comes before GLib's. */
#include <glib.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "drivers/sigrok/pty_lines.h"

enum { STRETCH = 10 };
static atomic_bool pty_seen; /* of the process, as the functions are */

void pty_lines_asked(void)
{
    atomic_store(&pty_seen, true);
}

void g_usleep(gulong us)
{
    uint64_t all = (uint64_t)us * (atomic_load(&pty_seen) ? STRETCH : 1);
    struct timespec left = { (time_t)(all / G_USEC_PER_SEC), (long)(all % G_USEC_PER_SEC) * 1000 };
    while (nanosleep(&left, &left) < 0)
        ;
}
