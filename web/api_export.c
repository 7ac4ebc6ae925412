/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * api_export: a table of a run as a file. It is written to an unlinked temporary file first, so that a table
 * of any size costs no memory, a slow reader costs no query thread, and an error is still an error and not
 * half a file.
 */
#include "web/router.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "db/export.h"

static const char *const formats[] = { "csv", "records", NULL };

struct spool {
    int fd;
    struct error *err;
};

static int open_spool(struct error *err)
{
    const char *folder = getenv("TMPDIR");
    int fd = open(folder != NULL ? folder : "/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

    if (fd < 0)
        return error_set_errno(err, errno, "cannot make a temporary file for the export in %s",
                               folder != NULL ? folder : "/tmp");
    return fd;
}

static int spool_write(void *context, const char *text, size_t length)
{
    struct spool *spool = context;

    while (length > 0) {
        ssize_t count = write(spool->fd, text, length);

        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return error_set_errno(spool->err, errno, "cannot write the temporary file of the export");
        text += count;
        length -= (size_t)count;
    }
    return 0;
}

static bool listed(const char *word, const char *const *list)
{
    for (int i = 0; list[i] != NULL; i++)
        if (strcmp(list[i], word) == 0)
            return true;
    return false;
}

static int check_choice(const char *name, const char *word, const char *const *list, struct error *err)
{
    struct strbuf all = { 0 };

    if (listed(word, list))
        return 0;
    for (int i = 0; list[i] != NULL; i++)
        strbuf_add(&all, "%s%s", i > 0 ? ", " : "", list[i]);
    int rc = error_set(err, ERR_INVALID, "query parameter '%s' is '%.40s'; it is one of: %s", name, word,
                       all.text);
    strbuf_free(&all);
    return rc;
}

int api_run_export(struct web_call *call, struct error *err)
{
    char what[WEB_VALUE_MAX] = "points", format[WEB_VALUE_MAX] = "csv", ulid[ULID_TEXT];
    struct spool spool = { .err = err };
    struct query *query;

    call_parameter(call, "what", what);
    call_parameter(call, "format", format);
    int rc = call_store(call, &query, err);
    if (rc == 0)
        rc = check_choice("what", what, EXPORT_TABLES, err);
    if (rc == 0)
        rc = check_choice("format", format, formats, err);
    if (rc == 0)
        rc = query_resolve(query, call->id, ulid, err);
    if (rc != 0)
        return rc;
    spool.fd = open_spool(err);
    if (spool.fd < 0)
        return spool.fd;
    bool csv = strcmp(format, "csv") == 0;
    if (csv)
        rc = export_csv(query, ulid, what, spool_write, &spool, err);
    else
        rc = export_records(query, ulid, spool_write, &spool, err);
    if (rc != 0) {
        close(spool.fd);
        return rc;
    }
    call->reply->status = 200;
    call->reply->content_type = csv ? "text/csv; charset=utf-8" : "text/plain; charset=utf-8";
    call->reply->fd = spool.fd;
    snprintf(call->reply->disposition, sizeof call->reply->disposition,
             "attachment; filename=\"%s-%.32s.%s\"", ulid, csv ? what : "records", csv ? "csv" : "txt");
    return 0;
}
