/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * source: documents from a daemon or from a store.
 */
#include "daemon/client/source.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/options.h"
#include "db/query.h"
#include "web/router.h"

int source_remote(const struct args *args, struct remote **ret_remote, struct error *err)
{
    char folder[OPTIONS_PATH_MAX], path[OPTIONS_PATH_MAX + 32];

    options_default_run_dir(folder, sizeof folder);
    snprintf(path, sizeof path, "%s/nightbench.sock", folder);
    return remote_open(args->socket != NULL ? args->socket : path, args->url, ret_remote, err);
}

int source_open(const struct args *args, struct source *ret_source, struct error *err)
{
    struct source source = { .db_path = args->db };

    int rc = args->db != NULL ? query_open(args->db, &source.query, err)
                              : source_remote(args, &source.remote, err);
    if (rc == 0)
        *ret_source = source;
    return rc;
}

void source_close(struct source *source)
{
    remote_close(source->remote);
    query_close(source->query);
    *source = (struct source){ 0 };
}

static int copy_file(int fd, struct strbuf *ret, struct error *err)
{
    char block[16384];
    ssize_t count;

    if (lseek(fd, 0, SEEK_SET) < 0)
        return error_set_errno(err, errno, "cannot read the temporary file of the export");
    while ((count = read(fd, block, sizeof block)) > 0)
        strbuf_bytes(ret, block, (size_t)count);
    return count == 0 ? 0 : error_set_errno(err, errno, "cannot read the temporary file of the export");
}

/* The resource's own code, with a store and without a daemon. */
static int ask_store(struct source *source, const char *path, struct web_reply *reply, struct error *err)
{
    struct web_request request = { .method = "GET", .target = path, .body = "", .local = true };
    struct web_call call = { .request = &request, .query = source->query, .reply = reply };

    reply_init(reply);
    if (!router_find(&call))
        return error_set(err, ERR_INTERNAL, "%s: %s", path,
                         reply->body != NULL ? reply->body : "no such resource");
    if (call.route->handler == NULL)
        return error_set(err, ERR_UNSUPPORTED, "%s needs a running daemon", path);
    int rc = call.route->handler(&call, err);
    if (rc == 0 && reply->status != 200)
        rc = error_set(err, ERR_INTERNAL, "%s: HTTP status %d", path, reply->status);
    return rc;
}

int source_text(struct source *source, const char *path, struct strbuf *ret, struct error *err)
{
    struct web_reply reply;

    if (source->remote != NULL)
        return remote_get(source->remote, path, ret, err);
    int rc = ask_store(source, path, &reply, err);
    if (rc == 0 && reply.fd >= 0)
        rc = copy_file(reply.fd, ret, err);
    else if (rc == 0)
        strbuf_bytes(ret, reply.body, reply.length);
    reply_free(&reply);
    if (rc == 0 && ret->failed)
        rc = error_set(err, ERR_MEMORY, "no memory for the document");
    return rc;
}

int source_json(struct source *source, const char *path, cJSON **ret, struct error *err)
{
    struct strbuf text = { 0 };

    int rc = source_text(source, path, &text, err);
    if (rc == 0)
        rc = json_parse(text.text, text.length, ret, err);
    strbuf_free(&text);
    return rc;
}

int source_download(struct source *source, const char *path, FILE *out, struct error *err)
{
    struct strbuf text = { 0 };

    if (source->remote != NULL)
        return remote_download(source->remote, path, out, err);
    int rc = source_text(source, path, &text, err);
    if (rc == 0 && fwrite(text.text != NULL ? text.text : "", 1, text.length, out) != text.length)
        rc = error_set_errno(err, errno, "cannot write the file");
    strbuf_free(&text);
    return rc;
}
