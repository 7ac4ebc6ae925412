/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * backup: the command. It reads the store itself, beside a daemon that goes on recording or without one.
 */
#include <stdio.h>

#include "daemon/base/text.h"
#include "daemon/client/commands.h"
#include "db/backup.h"

int do_backup(const struct args *args)
{
    const char *db = args->db != NULL ? args->db : "nightbench.db", *file = args->positional[0];
    struct backup_result result;
    struct error err = { 0 };
    char bytes[32];

    if (backup_store(db, file, &result, &err) != 0)
        return commands_fail(&err);
    printf("%s: %s; runs %lld, traces %d; read back and whole\nsha256 %s; check any time: sha256sum -c "
           "%s.sha256\n",
           file, text_bytes((double)result.bytes, bytes, sizeof bytes), (long long)result.runs, result.traces,
           result.sha256, file);
    if (result.missing == 0)
        return EXIT_OK;
    fprintf(stderr, "nightbench: %d traces of ended runs are not beside %s\n", result.missing, db);
    return EXIT_VERDICT;
}
