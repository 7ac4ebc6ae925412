/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * auth: who asks. Over the Unix socket (0600) it is the daemon's user, trusted as admin. Over TCP it is
 * whoever presents a token, or the cookie of a browser that has used a one-time code. Of tokens, codes and
 * cookies only SHA-256 is kept: they are 256 random bits, so that nothing slower is needed. Any thread.
 */
#ifndef WEB_AUTH_H
#define WEB_AUTH_H

#include "web/request.h"

/* Each may do what those before it may. */
enum auth_role { ROLE_PUBLIC, ROLE_VIEWER, ROLE_OPERATOR, ROLE_ADMIN };

enum {
    AUTH_TOKENS_MAX = 64,
    AUTH_SESSIONS_MAX = 32, /* browsers; the one that began first makes room */
    AUTH_CODES_MAX = 8,     /* unused one-time codes; likewise */
    AUTH_NAME_MAX = 48,
    AUTH_SECRET_TEXT = 68, /* "nb_" + 64 hex digits */
    AUTH_CODE_S = 600,
    AUTH_SESSION_S = 12 * 3600
};

struct auth;

struct auth_identity {
    enum auth_role role; /* ROLE_PUBLIC: nobody in particular */
    char name[AUTH_NAME_MAX];
};

/* "viewer", "operator", "admin"; NULL-terminated, index + 1 is the role. */
extern const char *const AUTH_ROLES[];

/* path: the file of tokens, 0600, made by the first auth_add; refused when others may read it. NULL: kept in
 * memory. */
int auth_open(const char *path, struct auth **ret_auth, struct error *err);
void auth_close(struct auth *auth);

/* Who asks. False when something was presented that is not valid (any more), or more than one thing. */
bool auth_check(struct auth *auth, const struct web_request *request, struct auth_identity *ret_who);

/* days 0: until it is revoked. The token is told here and never again. ERR_CONFLICT: the name is taken. */
int auth_add(struct auth *auth, const char *name, enum auth_role role, int days,
             char ret_token[AUTH_SECRET_TEXT], struct error *err);
/* Ends the token, and every browser session of that name. ERR_NOT_FOUND when there is neither. */
int auth_revoke(struct auth *auth, const char *name, struct error *err);
/* Grows with every revocation: who was let in before had better ask again. */
uint64_t auth_revocations(const struct auth *auth);
/* [{"name","role","created","expires" (or null),"kind","valid"}], never a secret. NULL: out of memory. */
cJSON *auth_list(struct auth *auth);

/* A code for one use within AUTH_CODE_S, after which the browser that used it is `name`. */
int auth_make_code(struct auth *auth, const char *name, enum auth_role role, char ret_code[AUTH_SECRET_TEXT],
                   struct error *err);
/* Uses the code up; the cookie's value comes back. False: unknown, used or too old. */
bool auth_redeem(struct auth *auth, const char *code, char ret_cookie[AUTH_SECRET_TEXT],
                 struct auth_identity *ret_who);
/* Name of the cookie: cookies do not know ports, so that two daemons on one host need two names. */
void auth_cookie_name(int port, char *out, size_t size);

#endif
