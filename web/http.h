/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * http: the server. One epoll thread of the HTTP library for TCP on loopback and one for the Unix socket, so
 * that nothing that happens on TCP keeps the command line out; two query threads; one thread for the event
 * streams; one for connection deadlines. No thread of this layer ever waits for an instrument.
 */
#ifndef WEB_HTTP_H
#define WEB_HTTP_H

#include "daemon/command.h"
#include "web/auth.h"

enum {
    WEB_CONNECTIONS_MAX = 1920, /* per listener */
    WEB_CONNECTIONS_PER_ADDRESS = 1900,
    WEB_UNFINISHED_MAX = 300, /* connections in the middle of a request, or idle: beyond, the oldest is cut */
    WEB_REQUEST_DEADLINE_S = 10 /* from the first byte of a request to its last; idle connections too */
};

struct web;

struct web_options {
    int port;                                 /* TCP port on 127.0.0.1; 0: any free one; negative: no TCP */
    const char *socket_path;                  /* Unix socket, made 0600; NULL: none */
    const struct command *command;            /* borrowed until web_close */
    const char *db_path;                      /* for queries; opened when first needed */
    double request_deadline_s;                /* 0: WEB_REQUEST_DEADLINE_S */
    struct auth *auth;                        /* borrowed; NULL: over TCP only what is public */
    const char *tls_cert_path, *tls_key_path; /* PEM; both NULL: no TLS. The Unix socket never has it */
};

/* Serves from the moment it returns. A stale socket file is replaced, one that answers is not (ERR_CONFLICT).
 */
int web_open(const struct web_options *options, struct web **ret_web, struct error *err);
/* Ends the streams, answers what is under way, closes. Power down first: this may take a second. NULL is a
 * no-op. */
void web_close(struct web *web);
/* TCP port in use, 0 without TCP. */
int web_port(const struct web *web);
/* "http://127.0.0.1:8080", or NULL without TCP. */
const char *web_site(const struct web *web);

#endif
