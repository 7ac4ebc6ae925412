/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * sync_fails: preloaded into a daemon, makes every sync fail with EIO while the file that NB_SYNC_FAILS names
 * is there. */
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static int failing(void)
{
    const char *trigger = getenv("NB_SYNC_FAILS");

    return trigger != NULL && access(trigger, F_OK) == 0;
}

int fsync(int fd)
{
    static int (*real)(int);

    if (failing()) {
        errno = EIO;
        return -1;
    }
    if (real == NULL)
        *(void **)&real = dlsym(RTLD_NEXT, "fsync");
    return real(fd);
}

int fdatasync(int fd)
{
    static int (*real)(int);

    if (failing()) {
        errno = EIO;
        return -1;
    }
    if (real == NULL)
        *(void **)&real = dlsym(RTLD_NEXT, "fdatasync");
    return real(fd);
}
