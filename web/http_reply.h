/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * http_reply: a reply of ours as a response of the HTTP library, with the headers that every answer has.
 */
#ifndef WEB_HTTP_REPLY_H
#define WEB_HTTP_REPLY_H

#include <microhttpd.h>

#include "web/request.h"

/* Takes body or descriptor out of the reply. NULL when out of memory. */
struct MHD_Response *http_make_response(struct web_reply *reply);
/* What a browser must know of any answer. */
void http_add_security_headers(struct MHD_Response *response);

#endif
