/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * nightbench: the command-line client. docs/api.md lists its commands and exit codes.
 */
#include <signal.h>
#include <stdio.h>

#include "daemon/base/log.h"
#include "daemon/client/commands.h"

int main(int argc, char **argv)
{
    struct error err = { 0 };
    struct args args;

    log_init("nightbench", LOG_WARNING);
    signal(SIGPIPE, SIG_IGN);
    if (args_parse(client_commands, argc, argv, &args, &err) != 0) {
        fprintf(stderr, "nightbench: %s\n", err.message);
        return EXIT_USAGE;
    }
    return args.command->run(&args);
}
