/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * port_hang: preloaded, it lets one instrument's link hang in a system call that knows no deadline, as a
 * library or a kernel driver may: in the program NB_HANG_PROGRAM, once the file NB_HANG_FILE exists, a send()
 * of the text NB_HANG_TEXT does not return as long as the file is there. For tests/fault/035-hung-port and
 * torture-death. */
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void hang(const void *data, size_t length)
{
    const char *program = getenv("NB_HANG_PROGRAM"), *file = getenv("NB_HANG_FILE"),
               *text = getenv("NB_HANG_TEXT");

    if (program == NULL || file == NULL || text == NULL ||
        strcmp(program_invocation_short_name, program) != 0 ||
        memmem(data, length, text, strlen(text)) == NULL)
        return;
    while (access(file, F_OK) == 0)
        usleep(10000);
}

ssize_t send(int fd, const void *data, size_t length, int flags)
{
    static ssize_t (*real)(int, const void *, size_t, int);

    if (real == NULL) {
        void *symbol = dlsym(RTLD_NEXT, "send");
        memcpy(&real, &symbol, sizeof real);
    }
    hang(data, length);
    return real(fd, data, length, flags);
}

ssize_t write(int fd, const void *data, size_t length)
{
    static ssize_t (*real)(int, const void *, size_t);

    if (real == NULL) {
        void *symbol = dlsym(RTLD_NEXT, "write");
        memcpy(&real, &symbol, sizeof real);
    }
    hang(data, length);
    return real(fd, data, length);
}
