/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * journal: is it there, and one datagram to it. */
#include "daemon/base/journal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

bool journal_is(int fd)
{
    const char *stream = getenv("JOURNAL_STREAM");
    unsigned long long device, inode;
    struct stat info;
    int end = 0;

    return stream != NULL && sscanf(stream, "%llu:%llu%n", &device, &inode, &end) == 2 &&
           stream[end] == '\0' && fstat(fd, &info) == 0 && info.st_dev == device && info.st_ino == inode;
}

bool journal_send(int socket_fd, const char *socket_path, const char *entry, size_t length)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };

    if (strlen(socket_path) >= sizeof address.sun_path)
        return false;
    memcpy(address.sun_path, socket_path, strlen(socket_path));
    return sendto(socket_fd, entry, length, MSG_NOSIGNAL | MSG_DONTWAIT, (const struct sockaddr *)&address,
                  sizeof address) == (ssize_t)length;
}
