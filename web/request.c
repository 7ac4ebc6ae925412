/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * request: header lookup, percent decoding, and replies. The table of error codes is the only place that
 * knows which HTTP status an error of ours becomes.
 */
#include "web/request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

static const struct error_status {
    int code, status;
    const char *hint; /* when the caller has none that is better */
} error_table[] = {
    { ERR_INVALID, 422,
      "correct what the detail names; POST /api/v1/campaigns/check lists every mistake of a campaign" },
    { ERR_RANGE, 422, "choose a value inside the stated range" },
    { ERR_TIMEOUT, 504, "an instrument did not answer in time; look at GET /api/v1/instruments" },
    { ERR_NO_ANSWER, 502, "nobody answers there; check power and cable of the instrument" },
    { ERR_GARBAGE, 502, "an answer made no sense; the wire trace of the instrument shows it" },
    { ERR_REFUSED, 409, "the bench refuses this now; the detail says which rule" },
    { ERR_LINK, 502, "the link broke; the port reconnects by itself" },
    { ERR_IDENTITY, 409, "the bench file names another instrument or chip than the one that answered" },
    { ERR_COMPLIANCE, 409, "a source is limiting or tripped; look for a short before trying again" },
    { ERR_HANG, 504, "the chip stays busy; power it down and up" },
    { ERR_TRIPPED, 409, "an interlock is latched; clear it with a reason first" },
    { ERR_FENCED, 503, "the safe state is in force; restart the run when the bench is ready" },
    { ERR_CANCELLED, 503, "the daemon is stopping or the run was cut; try again" },
    { ERR_NOT_FOUND, 404, "GET /api/v1/runs and GET /api/v1/campaigns list what there is" },
    { ERR_CONFLICT, 409, "look at GET /api/v1/status; the present state does not allow this" },
    { ERR_IO, 500, "the daemon's log has the operating system's reason" },
    { ERR_FULL, 507, "free some disk space, or ask for less at once" },
    { ERR_MEMORY, 503, "the host is out of memory; ask for less at once" },
    { ERR_UNSUPPORTED, 501, "this bench, chip or build does not offer it" },
    { ERR_MISMATCH, 409, "the measured result differs from the golden one" },
    { ERR_INTERNAL, 500, "this is a fault of the daemon: please report it with its log" },
};

static const struct error_status *find_error(int code)
{
    const size_t count = sizeof error_table / sizeof error_table[0];

    for (size_t i = 0; i < count; i++)
        if (error_table[i].code == code)
            return &error_table[i];
    return &error_table[count - 1];
}

const char *request_header(const struct web_request *request, const char *name)
{
    for (int i = 0; i < request->header_count; i++)
        if (strcasecmp(request->header[i].name, name) == 0)
            return request->header[i].value;
    return NULL;
}

int request_header_count(const struct web_request *request, const char *name)
{
    int count = 0;

    for (int i = 0; i < request->header_count; i++)
        count += strcasecmp(request->header[i].name, name) == 0;
    return count;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool request_decode(const char *text, size_t length, char *out, size_t size)
{
    size_t used = 0;

    for (size_t i = 0; i < length; i++) {
        int byte = (unsigned char)text[i];

        if (byte == '%') {
            if (length - i < 3)
                return false;
            int high = hex_digit(text[i + 1]), low = hex_digit(text[i + 2]);
            if (high < 0 || low < 0)
                return false;
            byte = high * 16 + low;
            i += 2;
        }
        if (byte == 0 || used + 1 >= size)
            return false;
        out[used++] = (char)byte;
    }
    out[used] = '\0';
    return true;
}

void reply_init(struct web_reply *reply)
{
    memset(reply, 0, sizeof *reply);
    reply->fd = -1;
}

void reply_free(struct web_reply *reply)
{
    free(reply->body);
    if (reply->fd >= 0)
        close(reply->fd);
    reply_init(reply);
}

void reply_text(struct web_reply *reply, int status, const char *content_type, char *body)
{
    static const char no_memory[] = "{\"status\":503,\"code\":\"memory\"}";

    reply_free(reply);
    reply->status = status;
    reply->content_type = content_type;
    if (body == NULL) {
        reply->status = 503;
        reply->content_type = "application/problem+json";
        body = strdup(no_memory);
    }
    reply->body = body;
    reply->length = body != NULL ? strlen(body) : 0;
}

void reply_json(struct web_reply *reply, int status, cJSON *tree)
{
    char *body = tree != NULL ? json_print(tree, false) : NULL;

    cJSON_Delete(tree);
    reply_text(reply, status, "application/json", body);
}

static const char *title_of(int status)
{
    switch (status) {
    case 400:
        return "Bad request";
    case 401:
        return "Not signed in";
    case 403:
        return "Forbidden";
    case 404:
        return "Not found";
    case 405:
        return "Method not allowed";
    case 409:
        return "Conflict with the present state";
    case 411:
        return "Length required";
    case 413:
        return "Body too large";
    case 415:
        return "Unsupported media type";
    case 421:
        return "Misdirected request";
    case 422:
        return "Understood, but not valid";
    case 428:
        return "Precondition required";
    case 431:
        return "Request header too large";
    case 503:
        return "Not available now";
    case 507:
        return "Insufficient storage";
    default:
        return status >= 500 ? "Server side failure" : "Request failed";
    }
}

static cJSON *problem_of(int status, const char *code, const char *detail, const char *pointer,
                         const char *hint)
{
    cJSON *tree = cJSON_CreateObject();
    char type[80];

    snprintf(type, sizeof type, "urn:nightbench:error:%s", code);
    cJSON_AddStringToObject(tree, "type", type);
    cJSON_AddStringToObject(tree, "title", title_of(status));
    json_add_int64(tree, "status", status);
    cJSON_AddStringToObject(tree, "code", code);
    cJSON_AddStringToObject(tree, "detail", detail);
    if (pointer != NULL && pointer[0] != '\0')
        cJSON_AddStringToObject(tree, "pointer", pointer);
    if (hint != NULL && hint[0] != '\0')
        cJSON_AddStringToObject(tree, "hint", hint);
    return tree;
}

static void reply_tree(struct web_reply *reply, int status, const char *detail, const char *pointer,
                       cJSON *tree)
{
    char *body = tree != NULL ? json_print(tree, false) : NULL;

    cJSON_Delete(tree);
    reply_text(reply, status, "application/problem+json", body);
    if (pointer != NULL && pointer[0] != '\0')
        snprintf(reply->why, sizeof reply->why, "%.60s: %.*s", pointer, WEB_WHY_MAX - 64, detail);
    else
        snprintf(reply->why, sizeof reply->why, "%.*s", WEB_WHY_MAX - 1, detail);
}

void reply_problem(struct web_reply *reply, int status, const char *code, const char *detail,
                   const char *pointer, const char *hint)
{
    reply_tree(reply, status, detail, pointer, problem_of(status, code, detail, pointer, hint));
}

void reply_problems(struct web_reply *reply, const struct json_problems *problems)
{
    int kept = problems->count < JSON_PROBLEMS_MAX ? problems->count : JSON_PROBLEMS_MAX;
    const struct json_problem *first = &problems->item[0];
    char detail[sizeof first->reason + 40];

    int length = snprintf(detail, sizeof detail, "%s", first->reason);
    if (problems->count > 1)
        snprintf(detail + length, sizeof detail - (size_t)length, " (and %d more)", problems->count - 1);
    cJSON *tree = problem_of(422, "invalid", detail, first->pointer, first->hint);
    cJSON *list = cJSON_AddArrayToObject(tree, "problems");
    for (int i = 0; i < kept; i++) {
        cJSON *item = cJSON_CreateObject();
        cJSON_AddStringToObject(item, "pointer", problems->item[i].pointer);
        cJSON_AddStringToObject(item, "reason", problems->item[i].reason);
        cJSON_AddStringToObject(item, "hint", problems->item[i].hint);
        cJSON_AddItemToArray(list, item);
    }
    json_add_number(tree, "problem_count", problems->count);
    reply_tree(reply, 422, detail, first->pointer, tree);
}

int reply_status_of(int code)
{
    return find_error(code)->status;
}

void reply_error(struct web_reply *reply, const struct error *err)
{
    const struct error_status *row = find_error(err->code);

    reply_problem(reply, row->status, error_name(err->code), err->message, NULL, row->hint);
}
