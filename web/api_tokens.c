/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * api_tokens: tokens of programs and one-time addresses for browsers. An admin makes and ends them.
 */
#include "web/router.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TOKEN_DAYS_MAX = 3650 };

/* Where a browser goes when it is signed in. */
static const char landing[] = "/api/v1/status";

/* What a body may say; a member that its resource does not know was refused before. */
struct token_body {
    char name[AUTH_NAME_MAX];
    enum auth_role role;
    int days;
};

/* Fills *ret; false with a problem in the reply, or with err. */
static bool read_body(struct web_call *call, const char *const *known, const char *name, enum auth_role role,
                      struct token_body *ret, struct error *err)
{
    struct json_problems *problems = calloc(1, sizeof *problems);
    cJSON *body = NULL;
    bool ok = false;

    if (problems == NULL) {
        error_set(err, ERR_MEMORY, "no memory to read the request body");
        return false;
    }
    if (call_body(call, &body, err) == 0) {
        struct json_at root = json_root(body, problems);

        json_only(&root, known);
        const char *text = json_string(&root, "name", name == NULL, name != NULL ? name : "");
        struct json_at member = json_member(&root, "name", false);
        if (strlen(text) >= sizeof ret->name)
            json_problem(&member, "", "is longer than %zu characters", sizeof ret->name - 1);
        snprintf(ret->name, sizeof ret->name, "%s", text);
        ret->role = (enum auth_role)(1 + json_choice(&root, "role", false, AUTH_ROLES, (int)role - 1));
        ret->days = (int)json_integer(&root, "days", false, 0, TOKEN_DAYS_MAX, 0);
        ok = problems->count == 0;
        if (!ok)
            reply_problem(call->reply, 422, "invalid", problems->item[0].reason, problems->item[0].pointer,
                          problems->item[0].hint);
    }
    cJSON_Delete(body);
    free(problems);
    return ok;
}

int api_tokens(struct web_call *call, struct error *err)
{
    struct auth *auth;

    int rc = call_auth(call, &auth, err);
    if (rc == 0)
        call_reply_list(call, "tokens", auth_list(auth));
    return rc;
}

int api_token_add(struct web_call *call, struct error *err)
{
    static const char *const known[] = { "name", "role", "days", NULL };
    char token[AUTH_SECRET_TEXT];
    struct token_body body;
    struct auth *auth;

    int rc = call_auth(call, &auth, err);
    if (rc != 0)
        return rc;
    if (!read_body(call, known, NULL, ROLE_VIEWER, &body, err))
        return err->code; /* 0: the reply has the problem */
    call_tell(call, body.name, AUTH_ROLES[body.role - 1]);
    rc = auth_add(auth, body.name, body.role, body.days, token, err);
    if (rc != 0)
        return rc;
    cJSON *tree = cJSON_CreateObject();
    cJSON_AddStringToObject(tree, "name", body.name);
    cJSON_AddStringToObject(tree, "role", AUTH_ROLES[body.role - 1]);
    cJSON_AddStringToObject(tree, "token", token);
    reply_json(call->reply, 201, tree);
    return 0;
}

int api_token_revoke(struct web_call *call, struct error *err)
{
    static const char *const known[] = { "name", NULL };
    struct token_body body;
    struct auth *auth;

    int rc = call_auth(call, &auth, err);
    if (rc != 0)
        return rc;
    if (!read_body(call, known, NULL, ROLE_VIEWER, &body, err))
        return err->code;
    call_tell(call, body.name, "");
    rc = auth_revoke(auth, body.name, err);
    if (rc != 0)
        return rc;
    cJSON *tree = cJSON_CreateObject();
    cJSON_AddStringToObject(tree, "revoked", body.name);
    reply_json(call->reply, 200, tree);
    return 0;
}

int api_login_make(struct web_call *call, struct error *err)
{
    static const char *const known[] = { "name", "role", NULL };
    char code[AUTH_SECRET_TEXT], url[192];
    struct token_body body;
    struct auth *auth;

    int rc = call_auth(call, &auth, err);
    if (rc == 0 && call->site == NULL)
        rc = error_set(err, ERR_UNSUPPORTED, "this daemon does not listen on TCP");
    if (rc != 0)
        return rc;
    if (!read_body(call, known, "browser", ROLE_OPERATOR, &body, err))
        return err->code;
    call_tell(call, body.name, AUTH_ROLES[body.role - 1]);
    rc = auth_make_code(auth, body.name, body.role, code, err);
    if (rc != 0)
        return rc;
    snprintf(url, sizeof url, "%s/login?code=%s", call->site, code);
    cJSON *tree = cJSON_CreateObject();
    cJSON_AddStringToObject(tree, "url", url);
    cJSON_AddStringToObject(tree, "role", AUTH_ROLES[body.role - 1]);
    json_add_int64(tree, "valid_s", AUTH_CODE_S);
    reply_json(call->reply, 201, tree);
    return 0;
}

int api_login_use(struct web_call *call, struct error *err)
{
    char code[WEB_VALUE_MAX], cookie[AUTH_SECRET_TEXT], name[32];
    struct auth *auth;

    int rc = call_auth(call, &auth, err);
    if (rc != 0)
        return rc;
    /* HEAD uses nothing up: a program that looks at links first must not spend the code. */
    if (strcmp(call->request->method, "GET") != 0 || !call_parameter(call, "code", code) ||
        !auth_redeem(auth, code, cookie, &call->who)) {
        reply_problem(call->reply, 401, "unauthorized",
                      "this code is unknown, used, or older than 10 minutes", "?code",
                      "'nightbench login' makes a fresh one");
        return 0;
    }
    auth_cookie_name(call->request->port, name, sizeof name);
    reply_text(call->reply, 303, "text/plain; charset=utf-8", strdup("signed in\n"));
    snprintf(call->reply->location, sizeof call->reply->location, "%s", landing);
    snprintf(call->reply->cookie, sizeof call->reply->cookie,
             "%s=%s; Path=/; HttpOnly; SameSite=Strict; Max-Age=%d%s", name, cookie, AUTH_SESSION_S,
             call->request->tls ? "; Secure" : "");
    return 0;
}
