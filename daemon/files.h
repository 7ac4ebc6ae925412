/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * files: the bench file and its chip file, as a daemon needs them: read, and found right by everybody who
 * will have to do with them, before anything is started.
 */
#ifndef DAEMON_FILES_H
#define DAEMON_FILES_H

#include "chip/profile.h"
#include "instruments/bench.h"

/* Logs every mistake. On failure *ret_bench may be there all the same: the caller frees both in any case. */
int files_load(const char *bench_path, struct bench_file **ret_bench, struct chip_profile **ret_profile,
               struct error *err);

#endif
