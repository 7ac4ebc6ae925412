/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * busy_shim: a simulated bench that gets nowhere for a while, as on a machine that gives it no processor.
 * Preloaded, it lets nightbench-sim compute for NB_BUSY_MS when it has read a command to switch an output off
 * and the file named by NB_BUSY_FILE exists; the file goes with it. For tests/fault/043-clock-server-starves.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

ssize_t read(int fd, void *bytes, size_t size)
{
    static ssize_t (*real)(int, void *, size_t);
    const char *path = getenv("NB_BUSY_FILE"), *ms = getenv("NB_BUSY_MS");
    if (!real) {
        void *symbol = dlsym(RTLD_NEXT, "read");
        memcpy(&real, &symbol, sizeof real);
    }
    ssize_t n = real(fd, bytes, size);
    if (n > 0 && path && ms && strcmp(program_invocation_short_name, "nightbench-sim") == 0 &&
        memmem(bytes, (size_t)n, "OUTP OFF", 8) && unlink(path) == 0) {
        int64_t until_ms = now_ms() + atoll(ms);
        while (now_ms() < until_ms)
            ;
    }
    return n;
}
