/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * safe_report: what the keeper did while no daemon lived, taken into the store. The keeper needs no database
 * to switch a bench off; its report of the last safe state, with the read back of every output, waits in its
 * memory and in a file until a daemon is back. */
#ifndef DAEMON_SAFE_REPORT_H
#define DAEMON_SAFE_REPORT_H

#include "daemon/base/clock.h"
#include "daemon/base/record.h"

/* Asks the keeper for its last report and writes it as an event of kind "safe", once per store: the time of
 * the one that was written stands in MARK_PATH. Nothing to write is no failure. */
int safe_report_record(const char *keeper_path, const char *mark_path, const char *db_path,
                       const struct record_sink *sink, struct clock *clock, struct error *err);

#endif
