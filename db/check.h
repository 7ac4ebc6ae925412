/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * check: reads a whole store and says whether it is sound. Takes as long as reading the file takes, and can
 * be told to stop. */
#ifndef DB_CHECK_H
#define DB_CHECK_H

#include <stdatomic.h>

#include "daemon/base/error.h"

/* 0: sound; ERR_INVALID with the first damage found; ERR_CANCELLED when *stop became true. */
int check_store(const char *db_path, const _Atomic bool *stop, struct error *err);

#endif
