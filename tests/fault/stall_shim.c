/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * stall_shim: a daemon whose main thread hangs. Preloaded, it lets poll() of the main thread of nightbenchd
 * never return once the file named by NB_STALL_FILE exists: the process lives, its other threads work, its
 * sockets stay open. For tests/fault/torture-death. */
#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
    static int (*real)(struct pollfd *, nfds_t, int);
    const char *path = getenv("NB_STALL_FILE");
    if (!real) {
        void *symbol = dlsym(RTLD_NEXT, "poll");
        memcpy(&real, &symbol, sizeof real);
    }
    if (path && gettid() == getpid() && strcmp(program_invocation_short_name, "nightbenchd") == 0) {
        while (access(path, F_OK) == 0)
            usleep(10000);
    }
    return real(fds, count, timeout_ms);
}
