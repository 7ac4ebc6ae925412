/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * json: the one gate to cJSON. Text passes size, depth, UTF-8, number, duplicate-key and trailing-text checks
 * before cJSON sees it; readers collect every mistake with its JSON pointer; numbers print so that they
 * read back equal (shortest of %.15g..%.17g).
 */
#ifndef DAEMON_BASE_JSON_H
#define DAEMON_BASE_JSON_H

#include <cjson/cJSON.h> /* the node type only; nobody else includes cJSON.h */
#include <stddef.h>

#include "daemon/base/error.h"

enum { JSON_DEPTH_MAX = 32, JSON_TEXT_MAX = 4 << 20, JSON_NODES_MAX = 200000 };

/* Parses text (need not be NUL-terminated). On success *ret_root is owned by the caller: cJSON_Delete(). */
int json_parse(const char *text, size_t length, cJSON **ret_root, struct error *err);
/* Reads and parses a file; the message of a failure starts with the path and has line:column. */
int json_load(const char *path, cJSON **ret_root, struct error *err);
/* Compact (pretty = false) or indented text, malloc'ed: free(). NULL only when out of memory: now, or on this
 * thread since its last json_print(), while the tree was built (it then lacks members, and must not pass for
 * whole). */
char *json_print(const cJSON *node, bool pretty);

/* Writers. Non-finite doubles become null. int64 beyond 2^53 become strings. Return the item or NULL. */
cJSON *json_add_number(cJSON *object, const char *key, double value);
cJSON *json_add_int64(cJSON *object, const char *key, int64_t value);
cJSON *json_number(double value);

/* ---- Checked reading: every mistake is collected, so that `check` shows all of them at once. ---- */
enum { JSON_PROBLEMS_MAX = 100, JSON_POINTER_MAX = 160 };

struct json_problem {
    char pointer[JSON_POINTER_MAX]; /* JSON pointer: "/steps/3/axes/0/values" */
    char reason[240];               /* what is wrong */
    char hint[160];                 /* nearest valid choice or range, or "" */
};

struct json_problems {
    int count; /* may exceed JSON_PROBLEMS_MAX: the rest is counted only */
    struct json_problem item[JSON_PROBLEMS_MAX];
};

/* A place in a document that knows its pointer. Plain value, copied freely; node may be NULL (absent). */
struct json_at {
    const cJSON *node;
    struct json_problems *problems;
    char pointer[JSON_POINTER_MAX];
};

struct json_at json_root(const cJSON *root, struct json_problems *problems);
/* Adds a problem at this place. */
void json_problem(const struct json_at *at, const char *hint, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Member `key`; required: reports absence. The result's node is NULL when absent or when at is no object. */
struct json_at json_member(const struct json_at *at, const char *key, bool required);
/* Element i of an array. */
struct json_at json_element(const struct json_at *at, int index);
/* Number of elements of an array or members of an object; 0 otherwise. */
int json_count(const struct json_at *at);
/* Reports every member of the object that is not in `known` (NULL-terminated) with the nearest known name. */
void json_only(const struct json_at *at, const char *const *known);
/* Typed readers: report a wrong type or range at the member, return fallback then. Absent optional: fallback.
 */
const char *json_string(const struct json_at *at, const char *key, bool required, const char *fallback);
double json_double(const struct json_at *at, const char *key, bool required, double min, double max,
                   double fallback);
int64_t json_integer(const struct json_at *at, const char *key, bool required, int64_t min, int64_t max,
                     int64_t fallback);
bool json_boolean(const struct json_at *at, const char *key, bool required, bool fallback);
/* Index of the member's string in `choices` (NULL-terminated), reporting the nearest one; fallback if absent.
 */
int json_choice(const struct json_at *at, const char *key, bool required, const char *const *choices,
                int fallback);
/* Array of numbers into out[max]; returns the count, reports more than max or wrong types. */
int json_doubles(const struct json_at *at, const char *key, bool required, double *out, int max);
/* Nearest of `choices` (NULL-terminated) by edit distance, or NULL when nothing is near. */
const char *json_nearest(const char *word, const char *const *choices);
/* Reads a file into `into`: read() takes its root and leaves what is wrong with it as problems. ERR_INVALID
 * when there are any; they are also added to `problems`, which may be NULL. What `into` holds after a failure
 * is nothing to use. */
int json_read_file(const char *path, void (*read)(const struct json_at *root, void *into), void *into,
                   struct json_problems *problems, struct error *err);
/* Adds what was collected elsewhere (another file's problems); `to` may be NULL: then nothing is kept. */
void json_problems_append(struct json_problems *to, const struct json_problems *from);
/* Turns collected problems into one error (the first, and how many more). Returns 0 when there are none. */
int json_problems_error(const struct json_problems *problems, const char *path, struct error *err);

#endif
