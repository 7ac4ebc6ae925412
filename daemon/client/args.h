/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * args: the command line of `nightbench`: a table of options and a table of commands. Pure: parsing touches
 * nothing.
 */
#ifndef DAEMON_CLIENT_ARGS_H
#define DAEMON_CLIENT_ARGS_H

#include <stdio.h>

#include "daemon/base/error.h"

enum { ARGS_POSITIONAL_MAX = 3 };

/* Exit codes: what a script can tell apart. */
enum client_exit {
    EXIT_OK = 0,
    EXIT_VERDICT = 1,     /* --strict: the run ended, some verdicts are not "pass"; compare: the runs differ;
                           * scan: an instrument is missing or another */
    EXIT_USAGE = 2,       /* unknown command, option or argument */
    EXIT_CAMPAIGN = 3,    /* the campaign is not valid */
    EXIT_UNREACHABLE = 4, /* no daemon answers there */
    EXIT_FAILED = 5,      /* the run failed, or was tripped */
    EXIT_ABORTED = 6,     /* the run was stopped, aborted or cut by an e-stop */
    EXIT_REFUSED = 7,     /* understood and refused, or no such thing; the message says why */
    EXIT_SYSTEM = 8       /* this host: files, memory, a program that does not start */
};

/* Options that a command may take. */
enum args_option {
    ARGS_JSON = 1 << 0,
    ARGS_WHERE = 1 << 1, /* --socket, --url */
    ARGS_DB = 1 << 2,
    ARGS_BENCH = 1 << 3,
    ARGS_ONCE = 1 << 4,
    ARGS_START = 1 << 5, /* --seed, --backend, --operator, --tags, --note */
    ARGS_REAL = 1 << 6,
    ARGS_EXPORT = 1 << 7, /* --what, --csv, --records, -o */
    ARGS_STRICT = 1 << 8,
    ARGS_SIM = 1 << 9, /* --die, --chip, --port */
    ARGS_ROLE = 1 << 10,
    ARGS_DAYS = 1 << 11,
    ARGS_QUEUE = 1 << 13, /* --priority, --not-before, --until */
    ARGS_NOW = 1 << 14,
    ARGS_AUDIT = 1 << 12 /* --user, --from, --to, --before, --limit */
};

struct args {
    const struct args_command *command;
    bool json, once, real, csv, records, strict, now;
    const char *socket, *url, *db, *bench, *seed, *backend, *operator_name, *tags, *note, *what, *output,
        *die, *chip, *port, *role, *days, *priority, *not_before, *until, *user, *from, *to, *before, *limit;
    const char *positional[ARGS_POSITIONAL_MAX];
    int positional_count;
};

struct args_command {
    const char *name, *usage; /* "compare", "A B" */
    int min, max;             /* positional arguments */
    unsigned options;         /* enum args_option */
    const char *summary;
    int (*run)(const struct args *args); /* returns enum client_exit */
};

/* commands: terminated by a row without a name. On failure the message says what is wrong and what would be
 * right. */
int args_parse(const struct args_command *commands, int argc, char *const *argv, struct args *ret_args,
               struct error *err);
void args_help(const struct args_command *commands, FILE *out);
/* Exit code of an error that a request ended with. */
int args_exit_of(int code);

#endif
