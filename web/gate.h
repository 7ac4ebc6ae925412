/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * gate: what a request must look like before anything of ours looks at its meaning. The HTTP library parses
 * leniently (two Host headers, Content-Length with Transfer-Encoding, "%00", ".." pass it), so the strict
 * reading is here; so are the rules against pages of other sites and against names that point at this host by
 * DNS.
 */
#ifndef WEB_GATE_H
#define WEB_GATE_H

#include "web/request.h"

/* True when the request may go on. Otherwise the reply holds the problem and the connection is to be closed.
 */
bool gate_check(const struct web_request *request, struct web_reply *reply);

#endif
