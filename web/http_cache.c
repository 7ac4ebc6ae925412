/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * http_cache: one response of the library, with its own count of references.
 */
#include "web/http_cache.h"

#include "daemon/base/clock.h"
#include "web/http_reply.h"

void http_cache_init(struct http_cache *cache)
{
    *cache = (struct http_cache){ .response = NULL };
    pthread_mutex_init(&cache->lock, NULL);
}

void http_cache_free(struct http_cache *cache)
{
    if (cache->response != NULL)
        MHD_destroy_response(cache->response);
    pthread_mutex_destroy(&cache->lock);
}

bool http_cache_send(struct http_cache *cache, struct MHD_Connection *connection,
                     const struct web_route *route, uint64_t generation, enum MHD_Result *ret_result)
{
    pthread_mutex_lock(&cache->lock);
    bool fresh = cache->response != NULL && cache->route == route && cache->generation == generation &&
                 clock_host_now() - cache->made_ns < HTTP_CACHE_MS * NS_PER_MS;
    if (fresh)
        *ret_result = MHD_queue_response(connection, MHD_HTTP_OK, cache->response);
    pthread_mutex_unlock(&cache->lock);
    return fresh;
}

enum MHD_Result http_cache_make(struct http_cache *cache, struct MHD_Connection *connection,
                                const struct web_route *route, uint64_t generation, struct web_reply *reply)
{
    struct MHD_Response *response = http_make_response(reply);

    if (response == NULL)
        return MHD_NO; /* closes the connection */
    enum MHD_Result result = MHD_queue_response(connection, MHD_HTTP_OK, response);
    pthread_mutex_lock(&cache->lock);
    if (cache->response != NULL)
        MHD_destroy_response(cache->response);
    cache->response = response;
    cache->route = route;
    cache->generation = generation;
    cache->made_ns = clock_host_now();
    pthread_mutex_unlock(&cache->lock);
    return result;
}
