/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * keeper_process: the daemon finds the keeper that is there, or starts one, and says that it lives. Main
 * thread. */
#ifndef DAEMON_KEEPER_PROCESS_H
#define DAEMON_KEEPER_PROCESS_H

#include "daemon/daemon.h"

/* A module of the daemon's table; without a bench file it does nothing. */
int keeper_process_init(struct daemon *d, struct error *err);
void keeper_process_fini(struct daemon *d);

#endif
