/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * error: the one error enum and the caller-owned error detail that every fallible function fills.
 *
 * Convention: a function that can fail returns 0 or one negative code of enum error_code, and takes a
 * `struct error *` as its LAST argument (may be NULL when the caller wants the code alone). Outputs are
 * named ret_x and are untouched on failure. Whoever handles an error logs it once; nobody else logs it.
 */
#ifndef DAEMON_BASE_ERROR_H
#define DAEMON_BASE_ERROR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Codes are written to the store and to the API as the names below: append only, never renumber. */
enum error_code {
    ERR_OK = 0,
    ERR_INVALID = -1,      /* input breaks a rule: config, campaign, argument */
    ERR_RANGE = -2,        /* value outside a stated limit */
    ERR_TIMEOUT = -3,      /* no complete answer before the deadline */
    ERR_NO_ANSWER = -4,    /* connection refused, absent device, nobody there */
    ERR_GARBAGE = -5,      /* an answer that cannot be what was asked for */
    ERR_REFUSED = -6,      /* the peer understood and said no (error queue, NAK, keeper's rule) */
    ERR_LINK = -7,         /* the link broke: reset, closed, checksum */
    ERR_IDENTITY = -8,     /* another instrument or chip than the file says */
    ERR_COMPLIANCE = -9,   /* a source is limiting, or OVP/OCP tripped */
    ERR_HANG = -10,        /* the chip stays busy past its deadline */
    ERR_TRIPPED = -11,     /* an interlock is latched */
    ERR_FENCED = -12,      /* the keeper or the virtual clock dropped this process: safe state is in force */
    ERR_CANCELLED = -13,   /* cut by a safe request, abort or shutdown */
    ERR_NOT_FOUND = -14,   /* no such file, row, name */
    ERR_CONFLICT = -15,    /* state does not allow it now */
    ERR_IO = -16,          /* operating system I/O error, errno is in the message */
    ERR_FULL = -17,        /* disk full or a named limit reached */
    ERR_MEMORY = -18,      /* allocation failed */
    ERR_UNSUPPORTED = -19, /* this instrument, chip or build does not offer it */
    ERR_MISMATCH = -20,    /* measured result differs from the golden one */
    ERR_INTERNAL = -21,    /* a bug of ours, reported instead of aborting */
    ERR_CALIBRATION = -22  /* the calibration in force does not hold here, or not any more */
};

enum { ERROR_TEXT_MAX = 480, ERROR_NAME_MAX = 48, ERROR_COMMAND_MAX = 96 };
enum { ERROR_LINE_MAX = 720 }; /* all of it in one line, with room for the time it took */

struct error {
    int code;                        /* enum error_code; 0 when nothing was reported */
    bool retryable;                  /* the same request may succeed if sent again */
    int64_t elapsed_ns;              /* from request to failure; 0 where it has no meaning */
    char instrument[ERROR_NAME_MAX]; /* bench name of the instrument, or "" */
    char command[ERROR_COMMAND_MAX]; /* what was sent, escaped, or "" */
    char message[ERROR_TEXT_MAX];    /* what, where and what to do; no newline */
};

/* Fills err (NULL allowed) and returns code, so that `return error_set(err, ERR_RANGE, "...")` reads well.
 * Resets instrument, command, elapsed; sets retryable for TIMEOUT, NO_ANSWER, GARBAGE, LINK. */
int error_set(struct error *err, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* As error_set with ": <strerror(errno_value)>" appended; code ERR_IO unless errno says
 * FULL/MEMORY/NOT_FOUND. */
int error_set_errno(struct error *err, int errno_value, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Puts "prefix: " before the message that is there (used to add a path while unwinding). Returns err->code.
 */
int error_prefix(struct error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Names the instrument and command of an error. Returns err->code, or ERR_INTERNAL if err is NULL. */
int error_at(struct error *err, const char *instrument, const char *command, int64_t elapsed_ns);
/* "psu1 'VOLT 0.8,(@1)' after 1500 ms: no answer before the deadline": everything there is to say, in one
 * line. Returns out. */
const char *error_describe(const struct error *err, char *out, size_t size);
/* Stable lower-case name of a code: "timeout", "no_answer"; "unknown" for others. Never NULL. */
const char *error_name(int code);
/* Code of a stable name; ERR_INTERNAL when the name is unknown. */
int error_from_name(const char *name);

#endif
