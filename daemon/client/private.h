/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * private: a daemon of one's own for one run on a simulated bench: started in a folder of its own, ended with
 * an ordered power-down. Real hardware is never driven this way: its daemon has to outlive a terminal.
 */
#ifndef DAEMON_CLIENT_PRIVATE_H
#define DAEMON_CLIENT_PRIVATE_H

#include "daemon/client/args.h"

enum { PRIVATE_PATH_MAX = 256 };

struct private_daemon {
    int pid;
    char folder[PRIVATE_PATH_MAX]; /* removed at the end unless something failed */
    char socket[PRIVATE_PATH_MAX]; /* HTTP */
    char log_path[PRIVATE_PATH_MAX];
    char address[64]; /* "127.0.0.1:40123" */
    char login[192];  /* address that signs a browser in, once; "" none */
};

/* ERR_REFUSED when the bench file does not say "simulated": true. */
int private_start(const struct args *args, const char *bench_path, struct private_daemon *ret,
                  struct error *err);
/* SIGTERM, then waits. keep: leaves the folder with its logs. Returns an error when the daemon ended badly.
 */
int private_stop(struct private_daemon *daemon, bool keep, struct error *err);

#endif
