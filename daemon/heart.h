/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * heart: the heartbeat that the main thread keeps to the keeper while it waits, for signals, and at the end
 * for the run's power-down, and the signal that is an e-stop. Main thread only.
 */
#ifndef DAEMON_HEART_H
#define DAEMON_HEART_H

#include "daemon/daemon.h"

/* The main thread goes before the others from now on: what it does is little, and must not wait for them. A
 * daemon that may not ask for this is given time by the keeper (daemon/keeper/silence.h). */
void heart_rise(void);
/* One beat; says so when the one before was long ago. ERR_FENCED when the keeper has dropped this process. */
int heart_beat(struct daemon *daemon, struct error *err);
/* Takes one signal, if one has come. An e-stop (SIGUSR1) is obeyed at once; another one is returned. Else 0.
 */
unsigned heart_signal(struct daemon *daemon);
/* Ends the run and waits for its power-down, however long the supplies take for it, within a bound. */
void heart_halt(struct daemon *daemon);

#endif
