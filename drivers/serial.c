/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * serial: serial ports through libserialport, raw 8N1; pseudo-terminals (majors 136..143: socat, ser2net, the
 * simulator), which libserialport refuses because they have no modem lines, through termios. The path is
 * resolved first, so that links such as /dev/serial/by-id/... work. Bytes and waits go through the
 * descriptor in both cases, so that the cut and the deadlines hold. */
#include <errno.h>
#include <fcntl.h>
#include <libserialport.h>
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

struct serial {
    struct transport_stream stream; /* first */
    struct sp_port *port;           /* NULL: a pseudo-terminal, opened by ourselves */
};

static int parse(const char *address, char path[PATH_MAX], struct baud *ret_baud, struct error *err)
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
            *ret_baud = BAUDS[i];
            return 0;
        }
    }
    return error_set(err, ERR_INVALID, "resource 'serial:%s': %ld is no standard baud rate", address, rate);
}

/* Text of libserialport's last failure. */
static int port_failure(const char *what, const char *path, struct error *err)
{
    char *text = sp_last_error_message();
    int code = error_set(err, ERR_NO_ANSWER, "serial:%s: %s: %s", path, what, text ? text : "refused");
    sp_free_error_message(text);
    return code;
}

static int open_port(struct serial *s, const char *path, const struct baud *baud, struct error *err)
{
    struct sp_port_config *config = NULL;
    if (sp_open(s->port, SP_MODE_READ_WRITE) != SP_OK)
        return port_failure("open", path, err);
    bool good =
        sp_new_config(&config) == SP_OK && sp_set_config_baudrate(config, (int)baud->rate) == SP_OK &&
        sp_set_config_bits(config, 8) == SP_OK && sp_set_config_parity(config, SP_PARITY_NONE) == SP_OK &&
        sp_set_config_stopbits(config, 1) == SP_OK &&
        sp_set_config_flowcontrol(config, SP_FLOWCONTROL_NONE) == SP_OK &&
        sp_set_config(s->port, config) == SP_OK && sp_get_port_handle(s->port, &s->stream.fd) == SP_OK;
    int code = good ? 0 : port_failure("settings", path, err);
    sp_free_config(config);
    if (code) {
        sp_close(s->port);
        return code;
    }
    ioctl(s->stream.fd, TIOCEXCL);
    sp_flush(s->port, SP_BUF_BOTH);
    return 0;
}

static int open_pty(struct serial *s, const char *path, const struct baud *baud, struct error *err)
{
    s->stream.fd = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (s->stream.fd < 0)
        return error_set(err, ERR_NO_ANSWER, "serial:%s: %s", path, strerror(errno));
    struct termios line;
    int code =
        tcgetattr(s->stream.fd, &line) < 0 ? error_set_errno(err, errno, "serial:%s: no terminal", path) : 0;
    if (!code) {
        cfmakeraw(&line);
        line.c_cflag |= CLOCAL | CREAD;
        line.c_cc[VMIN] = 1;
        line.c_cc[VTIME] = 0;
        cfsetispeed(&line, baud->code);
        cfsetospeed(&line, baud->code);
        if (tcsetattr(s->stream.fd, TCSANOW, &line) < 0)
            code = error_set_errno(err, errno, "serial:%s: terminal settings", path);
    }
    if (code)
        close(s->stream.fd);
    return code;
}

static int serial_open(const struct transport_env *env, const char *name, const char *address,
                       struct transport **ret, struct error *err)
{
    (void)name;
    char path[PATH_MAX], resolved[PATH_MAX];
    struct baud baud = { 0 };
    struct stat info;
    int code = parse(address, path, &baud, err);
    if (code)
        return code;
    if (!realpath(path, resolved) || stat(resolved, &info) < 0)
        return error_set(err, ERR_NO_ANSWER, "serial:%s: %s", path, strerror(errno));
    struct serial *s = calloc(1, sizeof *s);
    if (!s)
        return error_set(err, ERR_MEMORY, "transport");
    s->stream = (struct transport_stream){ .base.ops = &transport_serial, .env = env, .fd = -1, .link = -1 };
    bool is_pty = S_ISCHR(info.st_mode) && major(info.st_rdev) >= PTY_MAJOR_FIRST &&
                  major(info.st_rdev) <= PTY_MAJOR_LAST;
    if (sp_get_port_by_name(resolved, &s->port) != SP_OK)
        s->port = NULL;
    if (s->port)
        code = open_port(s, resolved, &baud, err);
    else if (is_pty)
        code = open_pty(s, resolved, &baud, err);
    else
        code = error_set(err, ERR_IO, "serial:%s is no serial port", resolved);
    if (code) {
        sp_free_port(s->port);
        free(s);
        return code;
    }
    if (is_pty)
        s->stream.link = clock_link_open(env->actor, minor(info.st_rdev) | PTY_KEY);
    *ret = &s->stream.base;
    return 0;
}

static void serial_close(struct transport *transport)
{
    struct serial *s = (struct serial *)transport;
    clock_link_close(s->stream.env->clock, s->stream.link);
    if (s->port)
        sp_close(s->port);
    else
        close(s->stream.fd);
    sp_free_port(s->port);
    free(s);
}

const struct transport_ops transport_serial = {
    .prefix = "serial",
    .open = serial_open,
    .read = transport_stream_read,
    .write = transport_stream_write,
    .flush = transport_stream_flush,
    .close = serial_close,
    .fd = transport_stream_fd,
};
