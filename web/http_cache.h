/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * http_cache: the last answer of the cached route (the status), shared by every connection. An answer is
 * never older than HTTP_CACHE_MS, and never of another generation than the asker's. Any thread.
 */
#ifndef WEB_HTTP_CACHE_H
#define WEB_HTTP_CACHE_H

#include <microhttpd.h>
#include <pthread.h>

#include "web/router.h"

enum { HTTP_CACHE_MS = 50 };

struct http_cache {
    pthread_mutex_t lock;          /* guards what follows */
    struct MHD_Response *response; /* NULL: none */
    const struct web_route *route;
    uint64_t generation;
    int64_t made_ns;
};

void http_cache_init(struct http_cache *cache);
void http_cache_free(struct http_cache *cache);
/* Queues the answer that is kept; false when there is none for this route and generation. */
bool http_cache_send(struct http_cache *cache, struct MHD_Connection *connection,
                     const struct web_route *route, uint64_t generation, enum MHD_Result *ret_result);
/* Queues a reply of status 200 and keeps it. */
enum MHD_Result http_cache_make(struct http_cache *cache, struct MHD_Connection *connection,
                                const struct web_route *route, uint64_t generation, struct web_reply *reply);

#endif
