/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * latch_file: the latch as it stands on disk, one line "TIME REASON", so that neither the end of a keeper nor
 * a reboot takes the place of a person with a reason. Whoever holds the keeper's lock reads and writes it.
 * What is there and cannot be understood is a latch, too: nobody has cleared it. */
#ifndef DAEMON_KEEPER_LATCH_FILE_H
#define DAEMON_KEEPER_LATCH_FILE_H

#include "daemon/base/error.h"

enum { LATCH_REASON_MAX = 256, LATCH_PATH_MAX = 320 };

struct latch_record {
    int64_t wall_ns; /* when it was latched; 0: the file does not say */
    char reason[LATCH_REASON_MAX];
};

/* NAME.latched in the folder, NAME being that of the socket; beside the socket where folder is NULL. */
int latch_file_path(const char *folder, const char *socket_path, char out[LATCH_PATH_MAX], struct error *err);
/* True when it is latched: also by a file that is damaged or cannot be read; the reason says so then. */
bool latch_file_read(const char *path, struct latch_record *ret);
/* It outlives a power cut when this returns 0. */
int latch_file_write(const char *path, const struct latch_record *record, struct error *err);

#endif
