/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * text: numbers with units for people, growing strings, identifiers, files read whole.
 */
#ifndef DAEMON_BASE_TEXT_H
#define DAEMON_BASE_TEXT_H

#include <stddef.h>

#include "daemon/base/error.h"

enum { ULID_TEXT = 27 };

/* Engineering notation: "3.300 V", "12.5 mA", "180 pJ"; digits significant (1..9). Returns out. NaN prints
 * "-". */
char *text_engineering(double value, const char *unit, int digits, char *out, size_t size);
/* "47 s", "3 min 20 s", "2 h 05 min". */
char *text_duration(double seconds, char *out, size_t size);
/* "812 B", "1.2 MB" (powers of 1000). */
char *text_bytes(double bytes, char *out, size_t size);
/* Printable form of wire bytes: \n, \r, \xHH escapes; truncated with "..." when out is small. */
char *text_escape(const void *data, size_t length, char *out, size_t size);
/* Shortest decimal that reads back as the same double; "null" when not finite. */
char *text_number(double value, char *out, size_t size);
/* 26-character ULID (ulid/spec): 48-bit wall milliseconds + 80 bits from getrandom; sorts by time. */
void text_ulid(char out[ULID_TEXT]);
/* UTC "2026-01-31T18:00:00.123Z" from wall nanoseconds. */
char *text_time(int64_t wall_ns, char *out, size_t size);
/* UTC "2026-01-31", "2026-01-31T18:00", "2026-01-31T18:00:00" or with parts of a second, with or without "Z",
 * to wall nanoseconds. False when it is none of these. */
bool text_parse_time(const char *text, int64_t *ret_wall_ns);
/* Reads a whole file (found by text_find_file), at most max bytes, NUL-terminated; malloc'ed: free(). */
int text_read_file(const char *path, size_t max, char **ret_text, size_t *ret_length, struct error *err);
/* Writes a file whole: temporary file beside it, fsync, rename. */
int text_write_file(const char *path, const void *data, size_t length, struct error *err);
/* As text_write_file, readable by its owner alone: secrets. */
int text_write_private(const char *path, const void *data, size_t length, struct error *err);
/* It stays removed after a power cut when this returns 0; also when it was not there. */
int text_remove_file(const char *path, struct error *err);
/* The path itself where something is there or it is absolute; else below the folder of installed files
 * ($NIGHTBENCH_SHARE, or ../share/nightbench beside the program's folder) when it is there. Returns path or
 * out. */
const char *text_find_file(const char *path, char *out, size_t size);

/* A growing string; `failed` latches when memory runs out, text stays valid. */
struct strbuf {
    char *text;
    size_t length, capacity;
    bool failed;
};
void strbuf_add(struct strbuf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));
void strbuf_bytes(struct strbuf *buf, const void *data, size_t length);
void strbuf_free(struct strbuf *buf);

#endif
