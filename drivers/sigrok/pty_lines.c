/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * pty_lines: the functions of the C library's names.
 */
#include "drivers/sigrok/pty_lines.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum { PTY_MAJOR_FIRST = 136, PTY_MAJOR_LAST = 143 };
static const char SYS[] = "/sys/class/tty/pts/";

int __lxstat(int version, const char *path, struct stat *info);

static void *next(const char *name)
{
    return dlsym(RTLD_NEXT, name);
}

static bool is_pty(int fd)
{
    struct stat info;
    return fstat(fd, &info) == 0 && S_ISCHR(info.st_mode) && major(info.st_rdev) >= PTY_MAJOR_FIRST &&
           major(info.st_rdev) <= PTY_MAJOR_LAST;
}

/* All lines are up, whatever is set. */
int ioctl(int fd, unsigned long request, ...)
{
    va_list args;
    va_start(args, request);
    void *argument = va_arg(args, void *);
    va_end(args);
    if ((request == TIOCMGET || request == TIOCMSET || request == TIOCMBIS || request == TIOCMBIC) &&
        is_pty(fd)) {
        pty_lines_asked();
        if (request == TIOCMGET)
            *(int *)argument = TIOCM_DTR | TIOCM_RTS | TIOCM_CTS | TIOCM_DSR | TIOCM_CAR;
        return 0;
    }
    int (*real)(int, unsigned long, ...) = (int (*)(int, unsigned long, ...))next("ioctl");
    return real(fd, request, argument);
}

static bool is_sys(const char *path)
{
    return strncmp(path, SYS, sizeof SYS - 1) == 0;
}

int lstat(const char *path, struct stat *info)
{
    if (is_sys(path)) {
        *info = (struct stat){ .st_mode = S_IFLNK | 0777 };
        return 0;
    }
    int (*real)(const char *, struct stat *) = (int (*)(const char *, struct stat *))next("lstat");
    return real(path, info);
}

/* What libraries call that were built against an older C library's headers. */
int __lxstat(int version, const char *path, struct stat *info)
{
    (void)version;
    return lstat(path, info);
}

ssize_t readlink(const char *path, char *target, size_t size)
{
    if (is_sys(path)) {
        int n = snprintf(target, size, "../../devices/virtual/tty/pts/%s", path + sizeof SYS - 1);
        return n < (int)size ? n : (int)size;
    }
    ssize_t (*real)(const char *, char *, size_t) =
        (ssize_t(*)(const char *, char *, size_t))next("readlink");
    return real(path, target, size);
}
