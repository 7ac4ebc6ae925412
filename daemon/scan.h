/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * scan: who answers at the addresses of a bench file. Works on the links themselves, without a keeper and
 * without a bench: for the person who is setting one up.
 */
#ifndef DAEMON_SCAN_H
#define DAEMON_SCAN_H

#include "instruments/bench.h"

/* One instrument of a scan: {"name","resource","answers","matches","expected":{..},"found":{..}|null,
 * "error"}. found: NULL when nobody has said who it is; why: NULL when nothing went wrong. */
cJSON *scan_row(const struct bench_instrument *instrument, const struct bench_identity *found,
                const struct error *why);
/* Asks every address of the file, all at once, each for as long as its driver waits; changes no output and no
 * set point. links_path: of the simulator, or NULL. Answers with a list of rows in the file's order. */
int scan_addresses(const struct bench_file *file, const char *links_path, cJSON **ret, struct error *err);

#endif
