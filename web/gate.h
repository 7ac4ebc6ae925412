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

/* The head of a request where the HTTP library has parsed it, in place: all texts point into one buffer. */
struct gate_head {
    const char *method, *target, *version; /* the request line */
    size_t target_length;                  /* the library goes on to decode the target where it stands */
    const struct web_header *header;
    int header_count;
    size_t length; /* from the method to the end of the empty line */
};

/* The same, for what is between the texts: one space, or exactly one CR LF. The library also takes a line
 * feed or a carriage return alone for the end of a line, joins lines that go on in the next one, and cuts at
 * a NUL. */
bool gate_check_head(const struct gate_head *head, struct web_reply *reply);

#endif
