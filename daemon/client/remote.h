/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * remote: requests to a daemon over its Unix socket or a URL. The only file that knows libcurl. A problem
 * document becomes a struct error again, with pointer and hint in the message.
 */
#ifndef DAEMON_CLIENT_REMOTE_H
#define DAEMON_CLIENT_REMOTE_H

#include <stdio.h>

#include "daemon/base/json.h"
#include "daemon/base/text.h"
#include "daemon/client/sse.h"

struct remote;

/* url NULL: over the Unix socket. Touches nothing yet. */
int remote_open(const char *socket_path, const char *url, struct remote **ret_remote, struct error *err);
void remote_close(struct remote *remote);
/* The answer as text: ret->text, caller frees with strbuf_free. */
int remote_get(struct remote *remote, const char *path, struct strbuf *ret, struct error *err);
int remote_get_json(struct remote *remote, const char *path, cJSON **ret, struct error *err);
/* body "" sends an empty object; key NULL sends none. */
int remote_post(struct remote *remote, const char *path, const char *body, const char *key, cJSON **ret,
                struct error *err);
/* Writes the answer to a file as it comes. */
int remote_download(struct remote *remote, const char *path, FILE *out, struct error *err);

/* Reads the event stream until each or tick returns something else than 0 (that is returned), or the stream
 * breaks (negative error code). tick is called about once a second. */
typedef int remote_tick_fn(void *context);
int remote_events(struct remote *remote, uint64_t last_id, sse_fn *each, remote_tick_fn *tick, void *context,
                  struct error *err);

#endif
