/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * ask: what a person may ask the instruments of the daemon's bench while no run is active. Each call borrows
 * the bench from the scheduler for its time (ERR_CONFLICT while there is a run) and waits for the
 * instruments: not for the thread of a listener. Any thread.
 */
#ifndef DAEMON_ASK_H
#define DAEMON_ASK_H

#include "daemon/daemon.h"

/* A list of rows as daemon/scan.h: who answers at the ports of the bench. */
int ask_scan(struct daemon *daemon, cJSON **ret, struct error *err);
/* {"instrument","command","answer"}: a raw command. One that energises takes questions only: the keeper sees
 * to that. */
int ask_query(struct daemon *daemon, const char *name, const char *text, cJSON **ret, struct error *err);
/* Identity, and per channel its state and readings. Sets nothing. */
int ask_report(struct daemon *daemon, const char *name, cJSON **ret, struct error *err);

#endif
