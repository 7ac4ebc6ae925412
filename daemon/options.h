/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * options: the command line of nightbenchd. Plain data, read once, never changed.
 */
#ifndef DAEMON_OPTIONS_H
#define DAEMON_OPTIONS_H

#include <stddef.h>

#include "daemon/base/error.h"

enum { OPTIONS_PATH_MAX = 256, OPTIONS_URL_MAX = 1024 };

struct daemon_options {
    char bench_path[OPTIONS_PATH_MAX]; /* "" with --no-bench */
    char run_dir[OPTIONS_PATH_MAX];    /* sockets, logs, the simulator's folder; 0700 */
    char db_path[OPTIONS_PATH_MAX];
    bool simulate; /* spawn, or reconnect to, nightbench-sim */
    bool is_virtual;
    bool no_bench; /* serve documents and the store only */
    bool exit_with_parent;
    bool check_only; /* --check: explain the configuration and end, nothing touched */
    bool show_help, show_version;
    char resume[8]; /* "auto", "ask" or "never": what becomes of a run that a dead daemon left behind */
    char tokens_path[OPTIONS_PATH_MAX];                         /* "": in the run directory */
    char tls_cert[OPTIONS_PATH_MAX], tls_key[OPTIONS_PATH_MAX]; /* PEM; "": no TLS */
    char webhook[OPTIONS_URL_MAX];                              /* "": none */
    int port_limit_s; /* a port that is at one request for longer than this hangs */
    int port;         /* HTTP on loopback; 0: any free one */
    uint64_t seed;
    int die;                   /* of the simulated chip */
    char chip_overrides[1024]; /* JSON object merged over the simulated chip's options, "" none */
};

/* Fills *ret from argv, with defaults; the message of a failure names the option and what it takes. */
int options_parse(int argc, char **argv, struct daemon_options *ret, struct error *err);
/* Text of --help. */
const char *options_help(void);
/* $NIGHTBENCH_RUN_DIR, $XDG_RUNTIME_DIR/nightbench or /tmp/nightbench-UID. */
void options_default_run_dir(char *out, size_t size);
/* Creates the run directory 0700, or checks that it is ours and private. */
int options_make_run_dir(const char *path, struct error *err);

#endif
