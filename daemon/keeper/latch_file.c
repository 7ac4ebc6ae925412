/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * latch_file: the line, and what is wrong with one that is none. */
#include "daemon/keeper/latch_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/base/text.h"

enum { TIME_MAX = 40, LINE_MAX = TIME_MAX + LATCH_REASON_MAX };

int latch_file_path(const char *folder, const char *socket_path, char out[LATCH_PATH_MAX], struct error *err)
{
    const char *slash = strrchr(socket_path, '/');
    const char *name = slash && folder ? slash + 1 : socket_path;
    int n = snprintf(out, LATCH_PATH_MAX, "%s%s%s.latched", folder ? folder : "", folder ? "/" : "", name);
    if (n < 0 || n >= LATCH_PATH_MAX)
        return error_set(err, ERR_RANGE, "the path of the latch is longer than %d bytes: %s",
                         LATCH_PATH_MAX - 1, out);
    return 0;
}

/* What is wrong with the text, or NULL: then *ret is filled. */
static const char *parse(char *text, size_t length, struct latch_record *ret)
{
    if (length == 0)
        return "is empty";
    if (strlen(text) != length)
        return "is not text";
    if (text[length - 1] != '\n')
        return "is cut off";
    text[length - 1] = '\0';
    char *space = strchr(text, ' ');
    if (!space || space[1] == '\0')
        return "gives no reason";
    *space = '\0';
    if (!text_parse_time(text, &ret->wall_ns))
        return "does not begin with a time";
    snprintf(ret->reason, sizeof ret->reason, "%s", space + 1);
    return NULL;
}

bool latch_file_read(const char *path, struct latch_record *ret)
{
    struct stat st;
    struct error err = { 0 };
    char *text = NULL;
    size_t length;
    *ret = (struct latch_record){ 0 };
    if (lstat(path, &st) < 0 && errno == ENOENT)
        return false;
    const char *wrong =
        text_read_file(path, LINE_MAX, &text, &length, &err) ? err.message : parse(text, length, ret);
    if (wrong)
        snprintf(ret->reason, sizeof ret->reason,
                 "it was latched, and why is lost: the file of the latch is damaged (%.120s%s%.80s)",
                 text ? path : "", text ? " " : "", wrong);
    free(text);
    return true;
}

int latch_file_write(const char *path, const struct latch_record *record, struct error *err)
{
    char when[TIME_MAX], line[LINE_MAX];
    int n =
        snprintf(line, sizeof line, "%s %s\n", text_time(record->wall_ns, when, sizeof when), record->reason);
    return text_write_private(path, line, (size_t)n, err);
}
