/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * space: statvfs, two marks and a ballast file. */
#include "db/space.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

static int64_t mark(int64_t total_bytes, int percent, int64_t most, bool leaving)
{
    int64_t bytes = total_bytes / 100 * percent;

    bytes = bytes < most ? bytes : most;
    return leaving ? bytes + bytes / 100 * SPACE_LEAVE_PERCENT : bytes;
}

enum space_level space_judge(int64_t free_bytes, int64_t total_bytes, enum space_level before)
{
    if (free_bytes < mark(total_bytes, SPACE_OUT_PERCENT, SPACE_OUT_BYTES, before == SPACE_OUT))
        return SPACE_OUT;
    if (free_bytes < mark(total_bytes, SPACE_LOW_PERCENT, SPACE_LOW_BYTES, before != SPACE_OK))
        return SPACE_LOW;
    return SPACE_OK;
}

static void measure(struct space *space)
{
    struct statvfs fs;

    if (statvfs(space->folder, &fs) != 0)
        return; /* the last figures stay; a disk that is gone shows itself when it is written to */
    space->free_bytes = (int64_t)fs.f_bavail * (int64_t)fs.f_frsize;
    space->total_bytes = (int64_t)fs.f_blocks * (int64_t)fs.f_frsize;
    space->level = space_judge(space->free_bytes, space->total_bytes, space->level);
}

static void lay_ballast(struct space *space)
{
    int fd = space->no_ballast ? -1 : open(space->ballast, O_RDWR | O_CREAT | O_CLOEXEC, 0644);

    if (fd < 0)
        return;
    /* Not posix_fallocate(): where the file system cannot do it, that would write every block. */
    space->has_ballast = fallocate(fd, 0, 0, SPACE_BALLAST_BYTES) == 0;
    space->no_ballast = !space->has_ballast && errno != ENOSPC;
    close(fd);
    if (!space->has_ballast)
        unlink(space->ballast);
}

void space_open(struct space *space, const char *db_path)
{
    const char *slash = strrchr(db_path, '/');

    *space = (struct space){ .level = SPACE_OK };
    snprintf(space->ballast, sizeof space->ballast, "%s.ballast", db_path);
    if (slash == NULL)
        snprintf(space->folder, sizeof space->folder, ".");
    else
        snprintf(space->folder, sizeof space->folder, "%.*s", (int)(slash - db_path) + 1, db_path);
    measure(space);
    if (space->level == SPACE_OK)
        lay_ballast(space);
}

enum space_level space_look(struct space *space, int64_t now_ns)
{
    if (now_ns - space->looked_ns < SPACE_LOOK_NS)
        return space->level;
    space->looked_ns = now_ns;
    measure(space);
    if (space->level == SPACE_OK && !space->has_ballast && !space->spent)
        lay_ballast(space);
    return space->level;
}

bool space_release(struct space *space)
{
    bool had = space->has_ballast;

    if (had)
        unlink(space->ballast);
    space->has_ballast = false;
    space->spent = space->spent || had;
    space->looked_ns = 0;
    return had;
}

void space_close(struct space *space)
{
    space_release(space);
}
