/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * compare: two recorded runs, read from the store and joined by cell and sample (sweeps/compare does the
 * arithmetic).
 */
#ifndef DAEMON_COMPARE_H
#define DAEMON_COMPARE_H

#include "daemon/base/json.h"

/* {"a","b","cells":[{axes, samples, correct in each, difference, McNemar}],"first_difference":{..}|null}.
 * Opens the store read-only for the call. Any thread. */
int compare_document(const char *db_path, const char *run_a, const char *run_b, cJSON **ret,
                     struct error *err);

#endif
