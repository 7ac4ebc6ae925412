/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * trips: the protections that instruments have latched themselves (over-voltage, over-current, a watchdog).
 * An output that has tripped stays off, whatever it is told, until its protection is cleared in the
 * instrument: so a person who clears our latch clears those, too. */
#ifndef DAEMON_KEEPER_TRIPS_H
#define DAEMON_KEEPER_TRIPS_H

#include "daemon/keeper/keeper.h"

/* Reads the state of every source; what has tripped is switched off, cleared where its dialect can, and read
 * again. One that can only be cleared at the instrument is logged. I/O thread; takes two steps' times at
 * most. ERR_TRIPPED: err names an output that is still tripped, or that had tripped and does not answer;
 * ERR_CANCELLED: an emergency stop has come meanwhile. */
int trips_clear(struct keeper *keeper, struct error *err);

#endif
