/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * http_stream: an event stream as a response of the library. It ends when a token is revoked, whoever's it
 * was: browsers and clients take it up again with Last-Event-ID, if they still may.
 */
#ifndef WEB_HTTP_STREAM_H
#define WEB_HTTP_STREAM_H

#include <microhttpd.h>

#include "web/auth.h"
#include "web/hub.h"

/* Queues the stream. auth: NULL over the Unix socket, or when nobody can revoke anything; revocations: its
 * count when the token was looked at. A failure has queued nothing; *ret_result is the library's otherwise.
 */
int http_stream_start(struct MHD_Connection *connection, struct hub *hub, uint64_t last_id,
                      const struct auth *auth, uint64_t revocations, enum MHD_Result *ret_result,
                      struct error *err);

#endif
