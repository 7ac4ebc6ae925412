/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * serial: serial ports and pseudo-terminals through termios, raw 8N1. The path is resolved first, so that
 * links such as /dev/serial/by-id/... work; pseudo-terminals (majors 136..143: socat, ser2net, the simulator)
 * take no modem lines. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <termios.h>
#include <unistd.h>

#include "drivers/transport.h"

enum { PTY_MAJOR_FIRST = 136, PTY_MAJOR_LAST = 143, BAUD_DEFAULT = 115200 };
#define PTY_KEY 0x80000000u

static const struct baud {
    long rate;
    speed_t code;
} BAUDS[] = {
    { 1200, B1200 },       { 2400, B2400 },       { 4800, B4800 },       { 9600, B9600 },
    { 19200, B19200 },     { 38400, B38400 },     { 57600, B57600 },     { 115200, B115200 },
    { 230400, B230400 },   { 460800, B460800 },   { 921600, B921600 },   { 1000000, B1000000 },
    { 2000000, B2000000 }, { 3000000, B3000000 }, { 4000000, B4000000 },
};

static int parse(const char *address, char path[PATH_MAX], speed_t *ret_speed, struct error *err)
{
    const char *query = strchr(address, '?');
    size_t n = query ? (size_t)(query - address) : strlen(address);
    if (n == 0 || n >= PATH_MAX)
        return error_set(err, ERR_INVALID, "resource 'serial:%s': write serial:PATH?baud=N", address);
    memcpy(path, address, n);
    path[n] = '\0';
    long rate = BAUD_DEFAULT;
    if (query) {
        char *end = NULL;
        if (strncmp(query, "?baud=", 6) == 0)
            rate = strtol(query + 6, &end, 10);
        if (!end || end == query + 6 || *end)
            return error_set(err, ERR_INVALID, "resource 'serial:%s': after '?' only baud=N is known",
                             address);
    }
    for (size_t i = 0; i < sizeof BAUDS / sizeof *BAUDS; i++) {
        if (BAUDS[i].rate == rate) {
            *ret_speed = BAUDS[i].code;
            return 0;
        }
    }
    return error_set(err, ERR_INVALID, "resource 'serial:%s': %ld is no standard baud rate", address, rate);
}

static int set_line(int fd, bool is_pty, speed_t speed, struct error *err)
{
    struct termios line;
    if (tcgetattr(fd, &line) < 0)
        return error_set_errno(err, errno, "no terminal");
    cfmakeraw(&line);
    line.c_cflag |= CLOCAL | CREAD;
    line.c_cc[VMIN] = 1;
    line.c_cc[VTIME] = 0;
    cfsetispeed(&line, speed);
    cfsetospeed(&line, speed);
    if (tcsetattr(fd, TCSANOW, &line) < 0)
        return error_set_errno(err, errno, "terminal settings");
    if (!is_pty) {
        ioctl(fd, TIOCEXCL);
        tcflush(fd, TCIOFLUSH);
    }
    return 0;
}

static int serial_open(const struct transport_env *env, const char *name, const char *address,
                       struct transport **ret, struct error *err)
{
    (void)name;
    char path[PATH_MAX], resolved[PATH_MAX];
    speed_t speed = B115200;
    int code = parse(address, path, &speed, err);
    if (code)
        return code;
    if (!realpath(path, resolved))
        return error_set(err, ERR_NO_ANSWER, "serial:%s: %s", path, strerror(errno));
    int fd = open(resolved, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return error_set(err, ERR_NO_ANSWER, "serial:%s: %s", resolved, strerror(errno));
    struct stat info;
    bool is_pty = fstat(fd, &info) == 0 && S_ISCHR(info.st_mode) && major(info.st_rdev) >= PTY_MAJOR_FIRST &&
                  major(info.st_rdev) <= PTY_MAJOR_LAST;
    code = set_line(fd, is_pty, speed, err);
    struct transport_stream *s = code ? NULL : calloc(1, sizeof *s);
    if (!s) {
        close(fd);
        return code ? error_prefix(err, "serial:%s", resolved) : error_set(err, ERR_MEMORY, "transport");
    }
    *s = (struct transport_stream){ .base.ops = &transport_serial, .env = env, .fd = fd, .link = -1 };
    if (is_pty)
        s->link = clock_link_open(env->actor, minor(info.st_rdev) | PTY_KEY);
    *ret = &s->base;
    return 0;
}

const struct transport_ops transport_serial = {
    .prefix = "serial",
    .open = serial_open,
    .read = transport_stream_read,
    .write = transport_stream_write,
    .flush = transport_stream_flush,
    .close = transport_stream_close,
    .fd = transport_stream_fd,
};
