/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * request: one HTTP request as the gate, the router and the resources see it, and the reply they fill. Plain
 * structs: no library of ours or of others hides behind them, so that every rule can be tested without a
 * socket.
 */
#ifndef WEB_REQUEST_H
#define WEB_REQUEST_H

#include <stddef.h>

#include "daemon/base/json.h"

enum {
    WEB_TARGET_MAX = 2048,   /* raw request target with its query */
    WEB_HEADERS_MAX = 64,    /* header lines */
    WEB_BODY_MAX = 1 << 20,  /* bytes of a request body */
    WEB_SEGMENT_MAX = 128,   /* one decoded path segment */
    WEB_PARAMETERS_MAX = 16, /* query parameters */
    WEB_VALUE_MAX = 256,     /* one decoded query parameter value */
    WEB_LOCATION_MAX = 96,
    WEB_WHY_MAX = 160,
    WEB_ABOUT_MAX = 128,
    WEB_COOKIE_MAX = 224,
    WEB_KEY_MAX = 64 /* Idempotency-Key */
};

struct web_header {
    const char *name, *value;
};

/* Everything is borrowed: it lives until the reply has been queued. */
struct web_request {
    const char *method;
    const char *target; /* raw, percent-encoded, with the query: "/api/v1/runs?limit=20" */
    const struct web_header *header;
    int header_count;
    const char *body; /* NUL-terminated, "" when there is none */
    size_t body_length;
    bool local; /* came over the Unix socket */
    bool tls;   /* came over the TCP listener with TLS */
    int port;   /* of the TCP listener it came over */
};

/* What goes back. body is malloc'ed and owned by the reply; or fd >= 0 names an open file that is sent from
 * its start. */
struct web_reply {
    int status;
    const char *content_type; /* static text */
    char *body;
    size_t length;
    int fd;
    bool close;                      /* the connection is not to be trusted any more */
    const char *allow;               /* of a 405: static text */
    char location[WEB_LOCATION_MAX]; /* of a 201 */
    char why[WEB_WHY_MAX];           /* of a problem, shortened; for the audit log */
    char disposition[WEB_LOCATION_MAX];
    char cookie[WEB_COOKIE_MAX]; /* of a login: a whole Set-Cookie line */
};

/* Value of a header (name ignoring case); NULL when absent. */
const char *request_header(const struct web_request *request, const char *name);
/* How many header lines have this name. */
int request_header_count(const struct web_request *request, const char *name);
/* Decodes %XX of text[0..length) into out; false when it is malformed, does not fit or contains a NUL. */
bool request_decode(const char *text, size_t length, char *out, size_t size);

void reply_init(struct web_reply *reply);
void reply_free(struct web_reply *reply);
/* Takes the malloc'ed body; NULL becomes a 503. content_type is static text. */
void reply_text(struct web_reply *reply, int status, const char *content_type, char *body);
/* Takes the tree. */
void reply_json(struct web_reply *reply, int status, cJSON *tree);
/* A problem document (RFC 9457). pointer and hint may be NULL. */
void reply_problem(struct web_reply *reply, int status, const char *code, const char *detail,
                   const char *pointer, const char *hint);
/* A 422 that lists every problem with its pointer; the members of the first stand where the only one would.
 */
void reply_problems(struct web_reply *reply, const struct json_problems *problems);
/* A problem document from an error: status, title and hint by the table of error codes. */
void reply_error(struct web_reply *reply, const struct error *err);
/* HTTP status of an error code. */
int reply_status_of(int code);

#endif
