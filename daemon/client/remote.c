/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * remote: requests to a daemon.
 */
#include "daemon/client/remote.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/clock.h"

enum { REMOTE_ANSWER_MAX = 256 << 20, REMOTE_CONNECT_MS = 3000, REMOTE_TIMEOUT_S = 120 };

struct remote {
    CURL *curl;
    char base[256];    /* "http://localhost" */
    char socket[256];  /* "" with a URL */
    const char *token; /* of the environment, for a URL; NULL none */
    const char
        *trust; /* the same: a file with the certificate that an https:// daemon shows, NULL the host's */
};

int remote_open(const char *socket_path, const char *url, struct remote **ret_remote, struct error *err)
{
    struct remote *remote = calloc(1, sizeof *remote);

    if (remote == NULL)
        return error_set(err, ERR_MEMORY, "no memory for the connection");
    remote->curl = curl_easy_init();
    if (remote->curl == NULL) {
        free(remote);
        return error_set(err, ERR_MEMORY, "no memory for the connection");
    }
    snprintf(remote->base, sizeof remote->base, "%s", url != NULL ? url : "http://localhost");
    size_t length = strlen(remote->base);
    if (length > 0 && remote->base[length - 1] == '/')
        remote->base[length - 1] = '\0';
    /* Not an option: every user of the host can read the command line of a program. */
    remote->token = url != NULL ? getenv("NIGHTBENCH_TOKEN") : NULL;
    remote->trust = url != NULL ? getenv("NIGHTBENCH_CA") : NULL;
    if (url == NULL)
        snprintf(remote->socket, sizeof remote->socket, "%s", socket_path);
    *ret_remote = remote;
    return 0;
}

void remote_close(struct remote *remote)
{
    if (remote == NULL)
        return;
    curl_easy_cleanup(remote->curl);
    free(remote);
}

/* Where the body goes: into text, except that a good answer goes to the file or to the events where there is
 * one. */
struct sink {
    CURL *curl;
    struct strbuf *text;
    FILE *file;
    struct sse *sse;
    sse_fn *each;
    remote_tick_fn *tick;
    void *context;
    int ended; /* what each or tick returned */
    int64_t ticked_ns;
};

static size_t on_body(char *data, size_t size, size_t count, void *context)
{
    struct sink *sink = context;
    size_t bytes = size * count;
    long status = 0;

    curl_easy_getinfo(sink->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status == 200 && sink->file != NULL)
        return fwrite(data, 1, bytes, sink->file);
    if (status == 200 && sink->sse != NULL) {
        sink->ended = sse_feed(sink->sse, data, bytes, sink->each, sink->context);
        return sink->ended == 0 ? bytes : 0;
    }
    if (sink->text->length + bytes > REMOTE_ANSWER_MAX)
        return 0;
    strbuf_bytes(sink->text, data, bytes);
    return sink->text->failed ? 0 : bytes;
}

static int on_progress(void *context, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    struct sink *sink = context;
    int64_t now_ns = clock_host_now();

    (void)a, (void)b, (void)c, (void)d;
    if (sink->tick == NULL || now_ns - sink->ticked_ns < NS_PER_S)
        return 0;
    sink->ticked_ns = now_ns;
    sink->ended = sink->tick(sink->context);
    return sink->ended != 0;
}

static const char *member_text(const cJSON *tree, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(tree, name);

    return cJSON_IsString(item) ? item->valuestring : "";
}

/* Turns a problem document into an error. */
static int problem_error(const struct strbuf *text, long status, struct error *err)
{
    cJSON *tree = NULL;

    if (text->text == NULL || json_parse(text->text, text->length, &tree, NULL) != 0)
        return error_set(err, ERR_GARBAGE, "the daemon answered with HTTP status %ld and no explanation",
                         status);
    const char *detail = member_text(tree, "detail"), *hint = member_text(tree, "hint");
    const char *pointer = member_text(tree, "pointer");
    int code = error_set(err, error_from_name(member_text(tree, "code")), "%s%s%s%s%s", pointer,
                         pointer[0] != '\0' ? ": " : "", detail, hint[0] != '\0' ? " - " : "", hint);
    cJSON_Delete(tree);
    return code;
}

static int transfer_error(const struct remote *remote, CURLcode code, struct error *err)
{
    bool nobody = code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST;

    if (nobody && remote->socket[0] != '\0')
        return error_set(err, ERR_NO_ANSWER,
                         "no daemon answers on %s; start one with 'nightbenchd --bench FILE', name its "
                         "socket with --socket, "
                         "or use 'nightbench run CAMPAIGN'",
                         remote->socket);
    if (nobody)
        return error_set(err, ERR_NO_ANSWER, "no daemon answers on %s; is the port right?", remote->base);
    if (code == CURLE_OPERATION_TIMEDOUT)
        return error_set(err, ERR_TIMEOUT, "the daemon did not answer in %d s", REMOTE_TIMEOUT_S);
    if (code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE)
        return error_set(err, ERR_REFUSED,
                         "the certificate of %s is not trusted (%s); NIGHTBENCH_CA=FILE names one that is",
                         remote->base, curl_easy_strerror(code));
    if (code == CURLE_WRITE_ERROR)
        return error_set(err, ERR_IO,
                         "cannot write what the daemon sends: disk full, or an answer beyond %d MiB",
                         REMOTE_ANSWER_MAX >> 20);
    return error_set(err, ERR_LINK, "the connection to the daemon broke: %s", curl_easy_strerror(code));
}

struct exchange_request {
    const char *path, *body, *key;
    uint64_t last_id;
    bool stream;
};

static struct curl_slist *make_headers(const struct remote *remote, const struct exchange_request *request)
{
    struct curl_slist *list = NULL;
    char line[128];

    if (request->body != NULL)
        list = curl_slist_append(list, "Content-Type: application/json");
    if (request->key != NULL) {
        snprintf(line, sizeof line, "Idempotency-Key: %s", request->key);
        list = curl_slist_append(list, line);
    }
    if (remote->token != NULL) {
        snprintf(line, sizeof line, "Authorization: Bearer %s", remote->token);
        list = curl_slist_append(list, line);
    }
    if (request->last_id != 0) {
        snprintf(line, sizeof line, "Last-Event-ID: %llu", (unsigned long long)request->last_id);
        list = curl_slist_append(list, line);
    }
    return curl_slist_append(list, "Expect:"); /* no pause before a body */
}

static int exchange(struct remote *remote, const struct exchange_request *request, struct sink *sink,
                    struct error *err)
{
    CURL *curl = remote->curl;
    struct curl_slist *headers = make_headers(remote, request);
    char url[2048];
    long status = 0;

    snprintf(url, sizeof url, "%s%s", remote->base, request->path);
    sink->curl = curl;
    curl_easy_reset(curl);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)REMOTE_CONNECT_MS);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, sink);
    if (remote->socket[0] != '\0')
        curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, remote->socket);
    if (remote->trust != NULL)
        curl_easy_setopt(curl, CURLOPT_CAINFO, remote->trust);
    if (request->body != NULL)
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request->body);
    if (request->stream) {
        curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
        curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
        curl_easy_setopt(curl, CURLOPT_XFERINFODATA, sink);
    } else {
        curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)REMOTE_TIMEOUT_S);
    }
    CURLcode code = curl_easy_perform(curl);
    curl_slist_free_all(headers);
    if (sink->ended != 0)
        return sink->ended;
    if (code != CURLE_OK)
        return transfer_error(remote, code, err);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    if (status < 200 || status > 299)
        return problem_error(sink->text, status, err);
    return 0;
}

int remote_get(struct remote *remote, const char *path, struct strbuf *ret, struct error *err)
{
    struct exchange_request request = { .path = path };
    struct sink sink = { .text = ret };

    int rc = exchange(remote, &request, &sink, err);
    if (rc != 0)
        strbuf_free(ret);
    return rc;
}

static int parse_answer(const struct strbuf *text, cJSON **ret, struct error *err)
{
    int rc = json_parse(text->text != NULL ? text->text : "", text->length, ret, err);

    if (rc != 0)
        error_prefix(err, "answer of the daemon");
    return rc;
}

int remote_get_json(struct remote *remote, const char *path, cJSON **ret, struct error *err)
{
    struct strbuf text = { 0 };

    int rc = remote_get(remote, path, &text, err);
    if (rc == 0)
        rc = parse_answer(&text, ret, err);
    strbuf_free(&text);
    return rc;
}

int remote_post(struct remote *remote, const char *path, const char *body, const char *key, cJSON **ret,
                struct error *err)
{
    struct exchange_request request = { .path = path, .body = body[0] != '\0' ? body : "{}", .key = key };
    struct strbuf text = { 0 };
    struct sink sink = { .text = &text };

    int rc = exchange(remote, &request, &sink, err);
    if (rc == 0)
        rc = parse_answer(&text, ret, err);
    strbuf_free(&text);
    return rc;
}

int remote_download(struct remote *remote, const char *path, FILE *out, struct error *err)
{
    struct exchange_request request = { .path = path };
    struct strbuf text = { 0 };
    struct sink sink = { .text = &text, .file = out };

    int rc = exchange(remote, &request, &sink, err);
    strbuf_free(&text);
    return rc;
}

int remote_events(struct remote *remote, uint64_t last_id, sse_fn *each, remote_tick_fn *tick, void *context,
                  struct error *err)
{
    struct exchange_request request = { .path = "/api/v1/events", .last_id = last_id, .stream = true };
    struct strbuf text = { 0 };
    struct sse *sse = calloc(1, sizeof *sse);
    struct sink sink = { .text = &text, .sse = sse, .each = each, .tick = tick, .context = context };

    if (sse == NULL)
        return error_set(err, ERR_MEMORY, "no memory for the event stream");
    int rc = exchange(remote, &request, &sink, err);
    if (rc == 0)
        rc = error_set(err, ERR_LINK, "the daemon ended the event stream");
    strbuf_free(&text);
    free(sse);
    return rc;
}
