/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * auth: three small tables of secrets (tokens, sessions, codes), of which the tokens are kept in a file.
 */
#include "web/auth.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/base/clock.h"
#include "daemon/base/hash.h"
#include "daemon/base/text.h"

const char *const AUTH_ROLES[] = { "viewer", "operator", "admin", NULL };

static const char secret_prefix[] =
    "nb_"; /* so that a scanner of sources and logs knows one when it sees it */

/* One secret. until_ns and made_ns are wall time, because a token outlives the host's uptime. */
struct grant {
    bool used;
    uint8_t hash[SHA256_BYTES];
    struct auth_identity who;
    int64_t made_ns, until_ns; /* until_ns 0: no end */
};

struct auth {
    pthread_mutex_t lock; /* guards all below; held while the file is written: an admin's rare act */
    char path[512];       /* "" in memory; never changes */
    _Atomic uint64_t revocations;
    struct grant token[AUTH_TOKENS_MAX];
    struct grant session[AUTH_SESSIONS_MAX];
    struct grant code[AUTH_CODES_MAX];
};

/* ---- Grants ---- */

/* Looks at every byte whatever the first one says, so that the time of a refusal tells nothing. */
static bool same_hash(const uint8_t a[SHA256_BYTES], const uint8_t b[SHA256_BYTES])
{
    volatile unsigned difference = 0;

    for (int i = 0; i < SHA256_BYTES; i++)
        difference |= (unsigned)(a[i] ^ b[i]);
    return difference == 0;
}

static bool valid(const struct grant *grant, int64_t now_ns)
{
    return grant->used && (grant->until_ns == 0 || now_ns < grant->until_ns);
}

/* Always walks the whole table. */
static struct grant *find_secret(struct grant *table, int count, const char *secret)
{
    uint8_t hash[SHA256_BYTES];
    struct grant *found = NULL;
    int64_t now_ns = clock_wall_now();

    sha256(secret, strlen(secret), hash);
    for (int i = 0; i < count; i++) {
        bool same = same_hash(table[i].hash, hash);
        if (same && valid(&table[i], now_ns))
            found = &table[i];
    }
    return found;
}

/* A free place, one that has run out, or the oldest. */
static struct grant *make_room(struct grant *table, int count)
{
    struct grant *oldest = &table[0];

    for (int i = 0; i < count; i++) {
        if (!valid(&table[i], clock_wall_now()))
            return &table[i];
        if (table[i].made_ns < oldest->made_ns)
            oldest = &table[i];
    }
    return oldest;
}

static int make_secret(char out[AUTH_SECRET_TEXT], struct error *err)
{
    uint8_t bytes[SHA256_BYTES];

    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
        return error_set_errno(err, errno, "the kernel gives no random bytes");
    memcpy(out, secret_prefix, sizeof secret_prefix - 1);
    hash_hex(bytes, sizeof bytes, out + sizeof secret_prefix - 1);
    return 0;
}

static void fill(struct grant *grant, const char *secret, const char *name, enum auth_role role,
                 int64_t life_s)
{
    *grant = (struct grant){ .used = true, .who.role = role, .made_ns = clock_wall_now() };
    grant->until_ns = life_s > 0 ? grant->made_ns + life_s * NS_PER_S : 0;
    snprintf(grant->who.name, sizeof grant->who.name, "%s", name);
    sha256(secret, strlen(secret), grant->hash);
}

/* ---- The file ---- */

static cJSON *describe(const struct grant *grant)
{
    cJSON *item = cJSON_CreateObject();
    char text[32];

    cJSON_AddStringToObject(item, "name", grant->who.name);
    cJSON_AddStringToObject(item, "role", AUTH_ROLES[grant->who.role - 1]);
    cJSON_AddStringToObject(item, "created", text_time(grant->made_ns, text, sizeof text));
    if (grant->until_ns != 0)
        cJSON_AddStringToObject(item, "expires", text_time(grant->until_ns, text, sizeof text));
    else
        cJSON_AddNullToObject(item, "expires");
    return item;
}

static int save(const struct auth *auth, struct error *err)
{
    if (auth->path[0] == '\0')
        return 0;
    cJSON *root = cJSON_CreateObject();
    cJSON *list = cJSON_AddArrayToObject(root, "tokens");
    for (int i = 0; i < AUTH_TOKENS_MAX; i++) {
        const struct grant *grant = &auth->token[i];
        char hash[SHA256_HEX];
        if (!grant->used)
            continue;
        cJSON *item = describe(grant);
        hash_hex(grant->hash, SHA256_BYTES, hash);
        cJSON_AddStringToObject(item, "sha256", hash);
        json_add_int64(item, "created_ns", grant->made_ns);
        json_add_int64(item, "expires_ns", grant->until_ns);
        cJSON_AddItemToArray(list, item);
    }
    char *text = root != NULL ? json_print(root, true) : NULL;
    cJSON_Delete(root);
    if (text == NULL)
        return error_set(err, ERR_MEMORY, "no memory to write %s", auth->path);
    int rc = text_write_private(auth->path, text, strlen(text), err);
    cJSON_free(text);
    return rc;
}

static bool read_hash(const char *hex, uint8_t out[SHA256_BYTES])
{
    char again[SHA256_HEX];

    if (strlen(hex) != SHA256_HEX - 1 || strspn(hex, "0123456789abcdef") != SHA256_HEX - 1)
        return false;
    for (int i = 0; i < SHA256_BYTES; i++) {
        unsigned byte = 0;
        sscanf(hex + 2 * i, "%2x", &byte);
        out[i] = (uint8_t)byte;
    }
    hash_hex(out, SHA256_BYTES, again);
    return strcmp(again, hex) == 0;
}

/* Nanoseconds beyond 2^53 travel as text. */
static int64_t read_ns(const struct json_at *at, const char *key)
{
    struct json_at member = json_member(at, key, true);
    int64_t value = 0;

    if (cJSON_IsString(member.node))
        value = strtoll(member.node->valuestring, NULL, 10);
    else if (cJSON_IsNumber(member.node))
        value = (int64_t)member.node->valuedouble;
    if (value < 0)
        json_problem(&member, "", "is before 1970");
    return value;
}

static void read_token(const struct json_at *at, struct grant *ret)
{
    static const char *const known[] = { "name",   "role",       "created",    "expires",
                                         "sha256", "created_ns", "expires_ns", NULL };
    struct grant grant = { .used = true };

    json_only(at, known);
    snprintf(grant.who.name, sizeof grant.who.name, "%s", json_string(at, "name", true, ""));
    grant.who.role = (enum auth_role)(1 + json_choice(at, "role", true, AUTH_ROLES, 0));
    grant.made_ns = read_ns(at, "created_ns");
    grant.until_ns = read_ns(at, "expires_ns");
    if (!read_hash(json_string(at, "sha256", true, ""), grant.hash)) {
        struct json_at hash = json_member(at, "sha256", true);
        json_problem(&hash, "", "is no SHA-256 in lower-case hex");
    }
    *ret = grant;
}

static int load(struct auth *auth, struct error *err)
{
    static const char *const known[] = { "tokens", NULL };
    struct stat info;
    cJSON *root;

    if (lstat(auth->path, &info) != 0)
        return errno == ENOENT ? 0 : error_set_errno(err, errno, "cannot look at %s", auth->path);
    if (!S_ISREG(info.st_mode) || (info.st_mode & 077) != 0 || info.st_uid != geteuid())
        return error_set(err, ERR_REFUSED,
                         "%s must be a file of this user that nobody else may read: chmod 600", auth->path);
    int rc = json_load(auth->path, &root, err);
    if (rc != 0)
        return rc;
    struct json_problems *problems = calloc(1, sizeof *problems);
    if (problems == NULL) {
        cJSON_Delete(root);
        return error_set(err, ERR_MEMORY, "no memory to read %s", auth->path);
    }
    struct json_at at = json_root(root, problems);
    json_only(&at, known);
    struct json_at list = json_member(&at, "tokens", true);
    int count = json_count(&list);
    if (count > AUTH_TOKENS_MAX)
        json_problem(&list, "", "has more than %d tokens", AUTH_TOKENS_MAX);
    for (int i = 0; i < count && i < AUTH_TOKENS_MAX; i++) {
        struct json_at item = json_element(&list, i);
        read_token(&item, &auth->token[i]);
    }
    rc = json_problems_error(problems, auth->path, err);
    free(problems);
    cJSON_Delete(root);
    return rc;
}

int auth_open(const char *path, struct auth **ret_auth, struct error *err)
{
    struct auth *auth = calloc(1, sizeof *auth);

    if (auth == NULL)
        return error_set(err, ERR_MEMORY, "no memory for the tokens");
    pthread_mutex_init(&auth->lock, NULL);
    int rc = 0;
    if (path != NULL && snprintf(auth->path, sizeof auth->path, "%s", path) >= (int)sizeof auth->path)
        rc = error_set(err, ERR_INVALID, "the path of the token file is too long");
    if (rc == 0 && path != NULL)
        rc = load(auth, err);
    if (rc != 0) {
        auth_close(auth);
        return rc;
    }
    *ret_auth = auth;
    return 0;
}

void auth_close(struct auth *auth)
{
    if (auth == NULL)
        return;
    pthread_mutex_destroy(&auth->lock);
    explicit_bzero(auth, sizeof *auth);
    free(auth);
}

/* ---- Checking ---- */

void auth_cookie_name(int port, char *out, size_t size)
{
    snprintf(out, size, "nightbench_%d", port);
}

/* Value of our cookie among "a=1; b=2"; false when absent. Twice the same name: the second is an imposter's.
 */
static bool find_cookie(const struct web_request *request, char out[AUTH_SECRET_TEXT], bool *ret_twice)
{
    const char *at = request_header(request, "Cookie");
    char name[32];
    int found = 0;

    auth_cookie_name(request->port, name, sizeof name);
    while (at != NULL && *at != '\0') {
        at += strspn(at, " ;");
        size_t whole = strcspn(at, ";"), length = strcspn(at, "=;");
        if (length == strlen(name) && strncmp(at, name, length) == 0 && at[length] == '=') {
            snprintf(out, AUTH_SECRET_TEXT, "%.*s", (int)(whole - length - 1), at + length + 1);
            found++;
        }
        at += whole;
    }
    *ret_twice = found > 1 || request_header_count(request, "Cookie") > 1;
    return found > 0;
}

bool auth_check(struct auth *auth, const struct web_request *request, struct auth_identity *ret_who)
{
    static const char scheme[] = "Bearer ";
    const char *header = request_header(request, "Authorization");
    char cookie[AUTH_SECRET_TEXT];
    const struct grant *grant = NULL;
    bool twice = false;

    *ret_who = (struct auth_identity){ .role = ROLE_PUBLIC };
    if (request->local) {
        *ret_who = (struct auth_identity){ .role = ROLE_ADMIN, .name = "local" };
        return true;
    }
    bool has_cookie = find_cookie(request, cookie, &twice);
    if (header == NULL && !has_cookie)
        return true;
    if (auth == NULL || twice || request_header_count(request, "Authorization") > 1)
        return false;
    pthread_mutex_lock(&auth->lock);
    if (header != NULL && strncasecmp(header, scheme, sizeof scheme - 1) == 0)
        grant = find_secret(auth->token, AUTH_TOKENS_MAX, header + sizeof scheme - 1);
    else if (header == NULL)
        grant = find_secret(auth->session, AUTH_SESSIONS_MAX, cookie);
    if (grant != NULL)
        *ret_who = grant->who;
    pthread_mutex_unlock(&auth->lock);
    return grant != NULL;
}

/* ---- Tokens ---- */

/* Names are stored, logged and shown: a small alphabet. */
static int check_name(const char *name, struct error *err)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._@";
    size_t length = strlen(name);

    if (length == 0 || length >= AUTH_NAME_MAX || strspn(name, allowed) != length)
        return error_set(err, ERR_INVALID, "/name: is not 1 to %d characters of A-Z a-z 0-9 - . _ @",
                         AUTH_NAME_MAX - 1);
    if (strcmp(name, "local") == 0)
        return error_set(err, ERR_INVALID, "/name: 'local' is whoever comes over the Unix socket");
    return 0;
}

static struct grant *find_name(struct auth *auth, const char *name)
{
    for (int i = 0; i < AUTH_TOKENS_MAX; i++)
        if (auth->token[i].used && strcmp(auth->token[i].who.name, name) == 0)
            return &auth->token[i];
    return NULL;
}

int auth_add(struct auth *auth, const char *name, enum auth_role role, int days,
             char ret_token[AUTH_SECRET_TEXT], struct error *err)
{
    char token[AUTH_SECRET_TEXT];
    struct grant *place = NULL;

    int rc = check_name(name, err);
    if (rc == 0)
        rc = make_secret(token, err);
    if (rc != 0)
        return rc;
    pthread_mutex_lock(&auth->lock);
    for (int i = 0; i < AUTH_TOKENS_MAX && place == NULL; i++)
        if (!auth->token[i].used)
            place = &auth->token[i];
    if (find_name(auth, name) != NULL) {
        rc = error_set(err, ERR_CONFLICT, "there is a token '%s'; revoke it first, or choose another name",
                       name);
    } else if (place == NULL) {
        rc = error_set(err, ERR_FULL, "all %d tokens are in use; revoke one", AUTH_TOKENS_MAX);
    } else {
        fill(place, token, name, role, (int64_t)days * 86400);
        rc = save(auth, err);
        if (rc != 0)
            *place = (struct grant){ .used = false }; /* what is not on disk does not count */
    }
    pthread_mutex_unlock(&auth->lock);
    if (rc == 0)
        memcpy(ret_token, token, sizeof token);
    return rc;
}

int auth_revoke(struct auth *auth, const char *name, struct error *err)
{
    int ended = 0, rc = 0;

    pthread_mutex_lock(&auth->lock);
    for (int i = 0; i < AUTH_SESSIONS_MAX; i++) {
        if (auth->session[i].used && strcmp(auth->session[i].who.name, name) == 0) {
            auth->session[i] = (struct grant){ .used = false };
            ended++;
        }
    }
    struct grant *grant = find_name(auth, name);
    if (grant != NULL) {
        *grant =
            (struct grant){ .used = false }; /* at once, even when the disk then refuses to remember it */
        ended++;
        rc = save(auth, err);
    }
    pthread_mutex_unlock(&auth->lock);
    atomic_fetch_add(&auth->revocations, 1);
    if (ended == 0)
        return error_set(err, ERR_NOT_FOUND, "there is no token and no session '%s'", name);
    return rc;
}

uint64_t auth_revocations(const struct auth *auth)
{
    return atomic_load(&auth->revocations);
}

static void add_grants(cJSON *list, const struct grant *table, int count, const char *kind)
{
    int64_t now_ns = clock_wall_now();

    for (int i = 0; i < count; i++) {
        if (!table[i].used)
            continue;
        cJSON *item = describe(&table[i]);
        cJSON_AddStringToObject(item, "kind", kind);
        cJSON_AddBoolToObject(item, "valid", valid(&table[i], now_ns));
        cJSON_AddItemToArray(list, item);
    }
}

cJSON *auth_list(struct auth *auth)
{
    cJSON *list = cJSON_CreateArray();

    pthread_mutex_lock(&auth->lock);
    add_grants(list, auth->token, AUTH_TOKENS_MAX, "token");
    add_grants(list, auth->session, AUTH_SESSIONS_MAX, "session");
    pthread_mutex_unlock(&auth->lock);
    return list;
}

/* ---- Browsers ---- */

int auth_make_code(struct auth *auth, const char *name, enum auth_role role, char ret_code[AUTH_SECRET_TEXT],
                   struct error *err)
{
    char code[AUTH_SECRET_TEXT];

    int rc = check_name(name, err);
    if (rc == 0)
        rc = make_secret(code, err);
    if (rc != 0)
        return rc;
    pthread_mutex_lock(&auth->lock);
    fill(make_room(auth->code, AUTH_CODES_MAX), code, name, role, AUTH_CODE_S);
    pthread_mutex_unlock(&auth->lock);
    memcpy(ret_code, code, sizeof code);
    return 0;
}

bool auth_redeem(struct auth *auth, const char *code, char ret_cookie[AUTH_SECRET_TEXT],
                 struct auth_identity *ret_who)
{
    char cookie[AUTH_SECRET_TEXT];

    if (make_secret(cookie, NULL) != 0)
        return false;
    pthread_mutex_lock(&auth->lock);
    struct grant *grant = find_secret(auth->code, AUTH_CODES_MAX, code);
    if (grant != NULL) {
        *ret_who = grant->who;
        *grant = (struct grant){ .used = false };
        fill(make_room(auth->session, AUTH_SESSIONS_MAX), cookie, ret_who->name, ret_who->role,
             AUTH_SESSION_S);
        memcpy(ret_cookie, cookie, sizeof cookie);
    }
    pthread_mutex_unlock(&auth->lock);
    return grant != NULL;
}
