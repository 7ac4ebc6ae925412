/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * source: where a reading command gets its documents: from a daemon, or with --db from a store. Both speak
 * the same paths, because the store is asked through the resources of web/ in this process.
 */
#ifndef DAEMON_CLIENT_SOURCE_H
#define DAEMON_CLIENT_SOURCE_H

#include "daemon/client/args.h"
#include "daemon/client/remote.h"

struct query;

struct source {
    struct remote *remote; /* or: */
    struct query *query;
    const char *db_path;
};

/* Opens what args ask for. The default daemon is the one of the default run directory. */
int source_open(const struct args *args, struct source *ret_source, struct error *err);
/* A connection to the daemon that args name. */
int source_remote(const struct args *args, struct remote **ret_remote, struct error *err);
void source_close(struct source *source);
/* The document as text: caller frees with strbuf_free. */
int source_text(struct source *source, const char *path, struct strbuf *ret, struct error *err);
int source_json(struct source *source, const char *path, cJSON **ret, struct error *err);
/* The document into a file. */
int source_download(struct source *source, const char *path, FILE *out, struct error *err);

#endif
