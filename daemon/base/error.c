/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * error: formatting of error details and the table of stable code names. */
#include "daemon/base/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/base/text.h"

static const char *const NAMES[] = {
    [-ERR_OK] = "ok",
    [-ERR_INVALID] = "invalid",
    [-ERR_RANGE] = "range",
    [-ERR_TIMEOUT] = "timeout",
    [-ERR_NO_ANSWER] = "no_answer",
    [-ERR_GARBAGE] = "garbage",
    [-ERR_REFUSED] = "refused",
    [-ERR_LINK] = "link",
    [-ERR_IDENTITY] = "identity",
    [-ERR_COMPLIANCE] = "compliance",
    [-ERR_HANG] = "hang",
    [-ERR_TRIPPED] = "tripped",
    [-ERR_FENCED] = "fenced",
    [-ERR_CANCELLED] = "cancelled",
    [-ERR_NOT_FOUND] = "not_found",
    [-ERR_CONFLICT] = "conflict",
    [-ERR_IO] = "io",
    [-ERR_FULL] = "full",
    [-ERR_MEMORY] = "memory",
    [-ERR_UNSUPPORTED] = "unsupported",
    [-ERR_MISMATCH] = "mismatch",
    [-ERR_INTERNAL] = "internal",
    [-ERR_CALIBRATION] = "calibration",
};
enum { NAME_COUNT = sizeof NAMES / sizeof NAMES[0] };

static bool code_is_retryable(int code)
{
    return code == ERR_TIMEOUT || code == ERR_NO_ANSWER || code == ERR_GARBAGE || code == ERR_LINK;
}

/* Stores `text` as the message: one line, whatever a peer or a library put into it. */
static void store(struct error *err, int code, const char *text)
{
    *err = (struct error){ .code = code, .retryable = code_is_retryable(code) };
    snprintf(err->message, sizeof err->message, "%s", text);
    for (char *p = err->message; *p != '\0'; p++) {
        if (*p == '\n' || *p == '\r')
            *p = ' ';
    }
}

int error_set(struct error *err, int code, const char *format, ...)
{
    char text[ERROR_TEXT_MAX]; /* formatted aside: an argument may be err's own message */
    va_list args;

    if (err == NULL)
        return code;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    store(err, code, text);
    return code;
}

static int code_of_errno(int errno_value)
{
    switch (errno_value) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return ERR_FULL;
    case ENOMEM:
        return ERR_MEMORY;
    case ENOENT:
        return ERR_NOT_FOUND;
    default:
        return ERR_IO;
    }
}

int error_set_errno(struct error *err, int errno_value, const char *format, ...)
{
    int code = code_of_errno(errno_value);
    char text[ERROR_TEXT_MAX];
    char reason[128];
    va_list args;
    int used;

    if (err == NULL)
        return code;
    va_start(args, format);
    used = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (used >= 0 && (size_t)used < sizeof text)
        snprintf(text + used, sizeof text - (size_t)used, ": %s",
                 strerror_r(errno_value, reason, sizeof reason));
    store(err, code, text);
    return code;
}

int error_prefix(struct error *err, const char *format, ...)
{
    char text[ERROR_TEXT_MAX];
    va_list args;
    size_t used;

    if (err == NULL)
        return ERR_INTERNAL;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    used = strlen(text);
    snprintf(text + used, sizeof text - used, ": %.*s", (int)(sizeof text - used), err->message);
    memcpy(err->message, text, sizeof text);
    return err->code;
}

int error_at(struct error *err, const char *instrument, const char *command, int64_t elapsed_ns)
{
    if (err == NULL)
        return ERR_INTERNAL;
    if (instrument != NULL)
        snprintf(err->instrument, sizeof err->instrument, "%s", instrument);
    if (command != NULL)
        text_escape(command, strlen(command), err->command, sizeof err->command);
    err->elapsed_ns = elapsed_ns;
    return err->code;
}

const char *error_describe(const struct error *err, char *out, size_t size)
{
    char where[ERROR_NAME_MAX + ERROR_COMMAND_MAX + 8] = "", after[40] = "";

    if (err->command[0] != '\0')
        snprintf(where, sizeof where, "%s%s'%s'", err->instrument, err->instrument[0] != '\0' ? " " : "",
                 err->command);
    else
        snprintf(where, sizeof where, "%s", err->instrument);
    if (where[0] != '\0' && err->elapsed_ns > 0)
        snprintf(after, sizeof after, " after %.0f ms", (double)err->elapsed_ns / 1e6);
    snprintf(out, size, "%s%s%s%s", where, after, where[0] != '\0' ? ": " : "", err->message);
    return out;
}

const char *error_name(int code)
{
    if (code > 0 || code <= -(int)NAME_COUNT)
        return "unknown";
    return NAMES[-code];
}

int error_from_name(const char *name)
{
    for (int i = 0; name != NULL && i < NAME_COUNT; i++) {
        if (strcmp(name, NAMES[i]) == 0)
            return -i;
    }
    return ERR_INTERNAL;
}
