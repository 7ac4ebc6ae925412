/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * json_read: the readers of json.h that collect every mistake with its JSON pointer, and the nearest-name
 * search behind their hints. */
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/json.h"
#include "daemon/base/text.h"

enum { WORD_MAX = 48 }; /* longer names are not compared: nobody mistypes those into one another */

struct json_at json_root(const cJSON *root, struct json_problems *problems)
{
    return (struct json_at){ .node = root, .problems = problems };
}

static struct json_problem *new_problem(const struct json_at *at, const char *hint)
{
    struct json_problem *item;

    if (at->problems == NULL || at->problems->count++ >= JSON_PROBLEMS_MAX)
        return NULL;
    item = &at->problems->item[at->problems->count - 1];
    snprintf(item->pointer, sizeof item->pointer, "%s", at->pointer);
    snprintf(item->hint, sizeof item->hint, "%s", hint == NULL ? "" : hint);
    item->reason[0] = '\0';
    return item;
}

void json_problem(const struct json_at *at, const char *hint, const char *format, ...)
{
    struct json_problem *item = new_problem(at, hint);
    va_list args;

    if (item == NULL)
        return;
    va_start(args, format);
    vsnprintf(item->reason, sizeof item->reason, format, args);
    va_end(args);
}

/* The place below `at`; RFC 6901 writes ~ as ~0 and / as ~1. A pointer that gets too long is cut. */
static struct json_at below(const struct json_at *at, const char *key, const cJSON *node)
{
    struct json_at place = { .node = node, .problems = at->problems };
    size_t used = strnlen(at->pointer, sizeof place.pointer - 2);

    memcpy(place.pointer, at->pointer, used);
    place.pointer[used++] = '/';
    for (; *key != '\0' && used + 2 < sizeof place.pointer; key++) {
        if (*key == '~' || *key == '/') {
            place.pointer[used++] = '~';
            place.pointer[used++] = *key == '~' ? '0' : '1';
        } else {
            place.pointer[used++] = *key;
        }
    }
    place.pointer[used] = '\0';
    return place;
}

static const char *type_name(const cJSON *node)
{
    if (cJSON_IsObject(node))
        return "an object";
    if (cJSON_IsArray(node))
        return "an array";
    if (cJSON_IsString(node))
        return "a string";
    if (cJSON_IsNumber(node))
        return "a number";
    if (cJSON_IsBool(node))
        return "a boolean";
    return "null";
}

/* Whether the newest problem is about this very place: said once, not once per member that is then missing.
 */
static bool just_reported(const struct json_at *at)
{
    int count = at->problems == NULL ? 0 : at->problems->count;

    return count > 0 && count <= JSON_PROBLEMS_MAX &&
           strcmp(at->problems->item[count - 1].pointer, at->pointer) == 0;
}

struct json_at json_member(const struct json_at *at, const char *key, bool required)
{
    const cJSON *node = cJSON_IsObject(at->node) ? cJSON_GetObjectItemCaseSensitive(at->node, key) : NULL;
    struct json_at place = below(at, key, node);

    if (node != NULL || !required)
        return place;
    if (at->node != NULL && !cJSON_IsObject(at->node) && !just_reported(at))
        json_problem(at, "", "must be an object, is %s", type_name(at->node));
    else if (cJSON_IsObject(at->node))
        json_problem(&place, "", "is required");
    return place; /* an absent parent was reported where it is missing */
}

struct json_at json_element(const struct json_at *at, int index)
{
    char digits[16];

    snprintf(digits, sizeof digits, "%d", index);
    return below(at, digits, cJSON_IsArray(at->node) ? cJSON_GetArrayItem(at->node, index) : NULL);
}

int json_count(const struct json_at *at)
{
    return cJSON_IsArray(at->node) || cJSON_IsObject(at->node) ? cJSON_GetArraySize(at->node) : 0;
}

static bool contains(const char *const *choices, const char *word)
{
    for (; *choices != NULL; choices++) {
        if (strcmp(*choices, word) == 0)
            return true;
    }
    return false;
}

static void near_hint(const char *word, const char *const *choices, char *out, size_t size)
{
    const char *nearest = json_nearest(word, choices);
    struct strbuf all = { 0 };

    if (nearest != NULL) {
        snprintf(out, size, "did you mean \"%s\"?", nearest);
        return;
    }
    for (int i = 0; choices[i] != NULL; i++)
        strbuf_add(&all, "%s%s", i == 0 ? "" : ", ", choices[i]);
    snprintf(out, size, "one of: %s", all.text == NULL ? "" : all.text);
    strbuf_free(&all);
}

void json_only(const struct json_at *at, const char *const *known)
{
    char hint[160];

    if (!cJSON_IsObject(at->node))
        return;
    for (const cJSON *child = at->node->child; child != NULL; child = child->next) {
        struct json_at place = below(at, child->string, child);

        if (contains(known, child->string))
            continue;
        near_hint(child->string, known, hint, sizeof hint);
        json_problem(&place, hint, "is not a known name here");
    }
}

const char *json_string(const struct json_at *at, const char *key, bool required, const char *fallback)
{
    struct json_at place = json_member(at, key, required);

    if (place.node == NULL)
        return fallback;
    if (cJSON_IsString(place.node))
        return place.node->valuestring;
    json_problem(&place, "", "must be a string, is %s", type_name(place.node));
    return fallback;
}

static void range_hint(double min, double max, char *out, size_t size)
{
    char low[40], high[40];

    if (isfinite(min) && isfinite(max))
        snprintf(out, size, "%s to %s", text_number(min, low, sizeof low),
                 text_number(max, high, sizeof high));
    else if (isfinite(min))
        snprintf(out, size, "at least %s", text_number(min, low, sizeof low));
    else if (isfinite(max))
        snprintf(out, size, "at most %s", text_number(max, high, sizeof high));
    else
        out[0] = '\0';
}

double json_double(const struct json_at *at, const char *key, bool required, double min, double max,
                   double fallback)
{
    struct json_at place = json_member(at, key, required);
    char hint[96], text[40];

    if (place.node == NULL)
        return fallback;
    range_hint(min, max, hint, sizeof hint);
    if (!cJSON_IsNumber(place.node)) {
        json_problem(&place, hint, "must be a number, is %s", type_name(place.node));
        return fallback;
    }
    if (!(place.node->valuedouble >= min && place.node->valuedouble <= max)) {
        json_problem(&place, hint, "%s is out of range",
                     text_number(place.node->valuedouble, text, sizeof text));
        return fallback;
    }
    return place.node->valuedouble;
}

/* An integer is a number that a double holds exactly, or, as json_add_int64 writes the others, its digits in
 * quotes. */
static bool read_integer(const cJSON *node, int64_t *ret_integer)
{
    if (cJSON_IsNumber(node)) {
        double number = node->valuedouble;

        if (!(fabs(number) <= 0x1p53) || number != floor(number))
            return false;
        *ret_integer = (int64_t)number;
        return true;
    }
    if (cJSON_IsString(node)) {
        const char *text = node->valuestring;
        const char *digits = text[0] == '-' ? text + 1 : text;
        long long parsed;

        if (digits[0] == '\0' || strspn(digits, "0123456789") != strlen(digits))
            return false;
        errno = 0;
        parsed = strtoll(text, NULL, 10);
        if (errno != 0)
            return false;
        *ret_integer = parsed;
        return true;
    }
    return false;
}

int64_t json_integer(const struct json_at *at, const char *key, bool required, int64_t min, int64_t max,
                     int64_t fallback)
{
    struct json_at place = json_member(at, key, required);
    char hint[64];
    int64_t integer;

    if (place.node == NULL)
        return fallback;
    snprintf(hint, sizeof hint, "%lld to %lld", (long long)min, (long long)max);
    if (!read_integer(place.node, &integer)) {
        json_problem(&place, hint, "must be an integer%s",
                     cJSON_IsNumber(place.node) ? " (above 2^53: its digits in quotes)" : "");
        return fallback;
    }
    if (integer < min || integer > max) {
        json_problem(&place, hint, "%lld is out of range", (long long)integer);
        return fallback;
    }
    return integer;
}

bool json_boolean(const struct json_at *at, const char *key, bool required, bool fallback)
{
    struct json_at place = json_member(at, key, required);

    if (place.node == NULL)
        return fallback;
    if (cJSON_IsBool(place.node))
        return cJSON_IsTrue(place.node);
    json_problem(&place, "true or false", "must be a boolean, is %s", type_name(place.node));
    return fallback;
}

int json_choice(const struct json_at *at, const char *key, bool required, const char *const *choices,
                int fallback)
{
    struct json_at place = json_member(at, key, required);
    const char *text = json_string(at, key, false, NULL); /* absence was reported by json_member */
    char hint[160];

    if (text == NULL)
        return fallback;
    for (int i = 0; choices[i] != NULL; i++) {
        if (strcmp(choices[i], text) == 0)
            return i;
    }
    near_hint(text, choices, hint, sizeof hint);
    json_problem(&place, hint, "\"%.80s\" is not a valid choice", text);
    return fallback;
}

int json_doubles(const struct json_at *at, const char *key, bool required, double *out, int max)
{
    struct json_at place = json_member(at, key, required);
    int count = 0;

    if (place.node == NULL)
        return 0;
    if (!cJSON_IsArray(place.node)) {
        json_problem(&place, "", "must be an array of numbers, is %s", type_name(place.node));
        return 0;
    }
    for (const cJSON *child = place.node->child; child != NULL; child = child->next, count++) {
        if (count == max) {
            json_problem(&place, "", "has more than %d elements", max);
            break;
        }
        out[count] = child->valuedouble;
        if (!cJSON_IsNumber(child)) {
            struct json_at element = json_element(&place, count);

            json_problem(&element, "", "must be a number, is %s", type_name(child));
            out[count] = 0.0;
        }
    }
    return count;
}

static int min3(int a, int b, int c)
{
    int least = a < b ? a : b;

    return least < c ? least : c;
}

/* Edit distance with swaps of neighbours (optimal string alignment), case ignored. */
static int distance(const char *a, int a_length, const char *b, int b_length)
{
    int row[3][WORD_MAX + 1]; /* the rows i - 2, i - 1 and i of the table, by i mod 3 */

    for (int j = 0; j <= b_length; j++)
        row[0][j] = j;
    for (int i = 1; i <= a_length; i++) {
        int *now = row[i % 3];
        const int *last = row[(i + 2) % 3], *before = row[(i + 1) % 3];

        now[0] = i;
        for (int j = 1; j <= b_length; j++) {
            int ca = tolower((unsigned char)a[i - 1]), cb = tolower((unsigned char)b[j - 1]);

            now[j] = min3(last[j] + 1, now[j - 1] + 1, last[j - 1] + (ca != cb));
            if (i > 1 && j > 1 && ca == tolower((unsigned char)b[j - 2]) &&
                cb == tolower((unsigned char)a[i - 2]) && before[j - 2] + 1 < now[j])
                now[j] = before[j - 2] + 1;
        }
    }
    return row[a_length % 3][b_length];
}

const char *json_nearest(const char *word, const char *const *choices)
{
    int length = (int)strnlen(word, WORD_MAX + 1);
    int best = length <= 3 ? 2 : length / 3 + 2; /* one above the greatest distance that counts as near */
    const char *nearest = NULL;

    if (length == 0 || length > WORD_MAX)
        return NULL;
    for (; *choices != NULL; choices++) {
        int other = (int)strnlen(*choices, WORD_MAX + 1);
        int edits;

        if (other > WORD_MAX || abs(other - length) >= best)
            continue;
        edits = distance(word, length, *choices, other);
        if (edits < best && edits < length) {
            best = edits;
            nearest = *choices;
        }
    }
    return nearest;
}

void json_problems_append(struct json_problems *to, const struct json_problems *from)
{
    for (int i = 0; to != NULL && i < from->count; i++, to->count++) {
        if (i < JSON_PROBLEMS_MAX && to->count < JSON_PROBLEMS_MAX)
            to->item[to->count] = from->item[i];
    }
}

int json_problems_error(const struct json_problems *problems, const char *path, struct error *err)
{
    const struct json_problem *first = &problems->item[0];
    char hint[170] = "", more[40] = "";

    if (problems->count == 0)
        return 0;
    if (first->hint[0] != '\0')
        snprintf(hint, sizeof hint, " (%s)", first->hint);
    if (problems->count > 1)
        snprintf(more, sizeof more, "; and %d more", problems->count - 1);
    return error_set(err, ERR_INVALID, "%s: %s: %s%s%s", path,
                     first->pointer[0] == '\0' ? "/" : first->pointer, first->reason, hint, more);
}

int json_read_file(const char *path, void (*read)(const struct json_at *root, void *into), void *into,
                   struct json_problems *problems, struct error *err)
{
    cJSON *root = NULL;
    int code = json_load(path, &root, err);
    if (code)
        return code;
    struct json_problems *own = calloc(1, sizeof *own); /* large: not for a thread's stack */
    if (own) {
        struct json_at at = json_root(root, own);
        read(&at, into);
        code = json_problems_error(own, path, err);
        json_problems_append(problems, own);
    } else {
        code = error_set(err, ERR_MEMORY, "reading %s", path);
    }
    cJSON_Delete(root);
    free(own);
    return code;
}
