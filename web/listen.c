/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * listen: the sockets of the HTTP server.
 */
#include "web/listen.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { LISTEN_BACKLOG = 64, LISTEN_BACKLOG_TCP = 256 };

/* True when a process accepts connections there. */
static bool answers(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return false;
    bool yes = connect(fd, (const struct sockaddr *)address, sizeof *address) == 0;
    close(fd);
    return yes;
}

int listen_unix(const char *path, int *ret_fd, struct error *err)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    struct stat info;
    int rc;

    if (strlen(path) >= sizeof address.sun_path)
        return error_set(err, ERR_INVALID,
                         "%s: the path of a Unix socket has at most %zu bytes; choose a shorter --run-dir",
                         path, sizeof address.sun_path - 1);
    memcpy(address.sun_path, path, strlen(path) + 1);
    if (lstat(path, &info) == 0) {
        if (!S_ISSOCK(info.st_mode))
            return error_set(err, ERR_CONFLICT,
                             "%s exists and is no socket; remove it or choose another --run-dir", path);
        if (answers(&address))
            return error_set(err, ERR_CONFLICT,
                             "%s is served by another daemon; stop it or choose another --run-dir", path);
        if (unlink(path) != 0)
            return error_set_errno(err, errno, "cannot remove the stale socket %s", path);
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return error_set_errno(err, errno, "cannot make a Unix socket");
    /* Before bind: the file takes its mode from the socket, so there is no moment at which others may
     * connect. */
    if (fchmod(fd, S_IRUSR | S_IWUSR) != 0 ||
        bind(fd, (const struct sockaddr *)&address, sizeof address) != 0 || listen(fd, LISTEN_BACKLOG) != 0) {
        rc = error_set_errno(err, errno, "cannot listen on %s", path);
        close(fd);
        return rc;
    }
    *ret_fd = fd;
    return 0;
}

void listen_raise_limit(unsigned files)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= files)
        return;
    limit.rlim_cur = limit.rlim_max < files ? limit.rlim_max : files;
    setrlimit(RLIMIT_NOFILE, &limit); /* fewer connections then: the listeners say so themselves */
}

int listen_tcp(int port, int *ret_fd, int *ret_port, struct error *err)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_port = htons((uint16_t)port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t length = sizeof address;
    const int on = 1;
    int rc;

    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return error_set_errno(err, errno, "cannot make a TCP socket");
    /* A restart within a minute must not fail on connections of the last life. */
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        bind(fd, (const struct sockaddr *)&address, sizeof address) != 0 ||
        listen(fd, LISTEN_BACKLOG_TCP) != 0 || getsockname(fd, (struct sockaddr *)&address, &length) != 0) {
        if (errno == EADDRINUSE)
            rc = error_set(err, ERR_CONFLICT,
                           "port %d of 127.0.0.1 is taken; choose another with --port, or 0 for any", port);
        else
            rc = error_set_errno(err, errno, "cannot listen on port %d of 127.0.0.1", port);
        close(fd);
        return rc;
    }
    *ret_fd = fd;
    *ret_port = ntohs(address.sin_port);
    return 0;
}
