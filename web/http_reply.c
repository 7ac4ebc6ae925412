/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * http_reply: a reply of ours as a response of the HTTP library, with the headers that every answer has.
 */
#include "web/http_reply.h"

#include <sys/stat.h>

static const char *const security_headers[][2] = {
    { "X-Content-Type-Options", "nosniff" },
    { "Cache-Control", "no-store" },
    { "Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'" },
    { "Referrer-Policy", "no-referrer" },
    { "Cross-Origin-Resource-Policy", "same-origin" },
};

void http_add_security_headers(struct MHD_Response *response)
{
    for (size_t i = 0; i < sizeof security_headers / sizeof security_headers[0]; i++)
        MHD_add_response_header(response, security_headers[i][0], security_headers[i][1]);
}

struct MHD_Response *http_make_response(struct web_reply *reply)
{
    struct MHD_Response *response;
    struct stat info;

    if (reply->fd >= 0) {
        if (fstat(reply->fd, &info) != 0)
            return NULL;
        response = MHD_create_response_from_fd64((uint64_t)info.st_size, reply->fd);
        if (response != NULL)
            reply->fd = -1;
    } else {
        response = MHD_create_response_from_buffer(reply->length, reply->body, MHD_RESPMEM_MUST_FREE);
        if (response != NULL)
            reply->body = NULL;
    }
    if (response == NULL)
        return NULL;
    http_add_security_headers(response);
    MHD_add_response_header(response, "Content-Type", reply->content_type);
    if (reply->close)
        MHD_add_response_header(response, "Connection", "close");
    if (reply->allow != NULL)
        MHD_add_response_header(response, "Allow", reply->allow);
    if (reply->cookie[0] != '\0')
        MHD_add_response_header(response, "Set-Cookie", reply->cookie);
    if (reply->status == 401)
        MHD_add_response_header(response, "WWW-Authenticate", "Bearer realm=\"nightbench\"");
    if (reply->location[0] != '\0')
        MHD_add_response_header(response, "Location", reply->location);
    if (reply->disposition[0] != '\0')
        MHD_add_response_header(response, "Content-Disposition", reply->disposition);
    if (reply->status == 503)
        MHD_add_response_header(response, "Retry-After", "1");
    return response;
}
