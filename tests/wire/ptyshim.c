/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * ptyshim: for LD_PRELOAD. Lets programs that insist on real serial ports (libserialport, and with it
 * libsigrok) use a pseudo-terminal: modem lines are remembered instead of refused, and /sys/class/tty/pts/N
 * exists. Nothing else is touched. With PTYSHIM_LOG=FILE a line of it says that modem lines were asked for.
 */
#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum { PTY_MAJOR_FIRST = 136, PTY_MAJOR_LAST = 143 };

static const char SYS[] = "/sys/class/tty/pts/";
static int lines = TIOCM_DTR | TIOCM_RTS | TIOCM_CTS | TIOCM_DSR | TIOCM_CAR;

int __lxstat(int version, const char *path, struct stat *info);
int __lxstat64(int version, const char *path, struct stat64 *info);

static void *next(const char *name)
{
    return dlsym(RTLD_NEXT, name);
}

static int is_pty(int fd)
{
    struct stat info;
    return fstat(fd, &info) == 0 && S_ISCHR(info.st_mode) && major(info.st_rdev) >= PTY_MAJOR_FIRST &&
           major(info.st_rdev) <= PTY_MAJOR_LAST;
}

int ioctl(int fd, unsigned long request, ...)
{
    va_list args;
    va_start(args, request);
    void *argument = va_arg(args, void *);
    va_end(args);
    int (*real)(int, unsigned long, ...) = (int (*)(int, unsigned long, ...))next("ioctl");
    if ((request == TIOCMGET || request == TIOCMSET || request == TIOCMBIS || request == TIOCMBIC) &&
        is_pty(fd)) {
        int *value = argument;
        const char *path = getenv("PTYSHIM_LOG");
        FILE *log = path ? fopen(path, "ae") : NULL;
        if (log) {
            fputs("modem lines\n", log);
            fclose(log);
        }
        if (request == TIOCMGET)
            *value = lines;
        else
            lines = request == TIOCMSET ? *value : request == TIOCMBIS ? lines | *value : lines & ~*value;
        return 0;
    }
    return real(fd, request, argument);
}

static int is_sys(const char *path)
{
    return strncmp(path, SYS, sizeof SYS - 1) == 0;
}

int lstat(const char *path, struct stat *info)
{
    if (is_sys(path)) {
        memset(info, 0, sizeof *info);
        info->st_mode = S_IFLNK | 0777;
        return 0;
    }
    int (*real)(const char *, struct stat *) = (int (*)(const char *, struct stat *))next("lstat");
    return real(path, info);
}

/* What programs call that were built against an older C library's headers. */
int __lxstat(int version, const char *path, struct stat *info)
{
    (void)version;
    return lstat(path, info);
}

int __lxstat64(int version, const char *path, struct stat64 *info)
{
    (void)version;
    return lstat(path, (struct stat *)info);
}

ssize_t readlink(const char *path, char *target, size_t size)
{
    if (is_sys(path)) {
        int n = snprintf(target, size, "../../devices/virtual/tty/pts%s", path + sizeof SYS - 1);
        return n < (int)size ? n : (int)size;
    }
    ssize_t (*real)(const char *, char *, size_t) =
        (ssize_t(*)(const char *, char *, size_t))next("readlink");
    return real(path, target, size);
}
