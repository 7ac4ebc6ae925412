/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * json: the gate before cJSON, and the printer. The gate is a strict recursive-descent scan of RFC 8259 that
 * builds nothing; cJSON alone would accept 01, 1e400, invalid UTF-8 and duplicate keys, and recurses as deep
 * as its input says. The printer is ours because cJSON prints 0.1 + 0.2 as 0.3. */
#include "daemon/base/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/text.h"

enum { NUMBER_TEXT_MAX = 60 }; /* cJSON copies a number into 64 bytes and would cut a longer one */

/* A member name of an object that is still open: its hash, to find duplicates by sorting. */
struct key {
    uint64_t hash;
    size_t offset;
};

struct gate {
    const char *text;
    size_t length, at;
    int depth, nodes;
    struct key *keys; /* a stack: the keys of each open object lie above those of its parent */
    size_t key_count, key_capacity;
    struct error *err;
};

static int value(struct gate *gate);

/* Reports `reason` at an offset as line:column, both from 1, the column in bytes. */
static int reject(const struct gate *gate, size_t offset, const char *reason)
{
    size_t line = 1, start = 0;

    for (size_t i = 0; i < offset && i < gate->length; i++) {
        if (gate->text[i] == '\n') {
            line++;
            start = i + 1;
        }
    }
    return error_set(gate->err, ERR_INVALID, "%zu:%zu: %s", line, offset - start + 1, reason);
}

/* The next byte, or -1 at the end. */
static int peek(const struct gate *gate)
{
    return gate->at < gate->length ? (unsigned char)gate->text[gate->at] : -1;
}

static void skip_space(struct gate *gate)
{
    for (int c = peek(gate); c == ' ' || c == '\t' || c == '\n' || c == '\r'; c = peek(gate))
        gate->at++;
}

static bool is_digit(int c)
{
    return c >= '0' && c <= '9';
}

static void skip_digits(struct gate *gate)
{
    while (is_digit(peek(gate)))
        gate->at++;
}

static int number(struct gate *gate)
{
    size_t start = gate->at, length;
    char copy[NUMBER_TEXT_MAX + 1];

    if (peek(gate) == '-')
        gate->at++;
    if (!is_digit(peek(gate)))
        return reject(gate, gate->at, "a digit must follow '-'");
    if (peek(gate) == '0') {
        gate->at++;
        if (is_digit(peek(gate)))
            return reject(gate, start, "a number must not start with 0");
    }
    skip_digits(gate);
    if (peek(gate) == '.') {
        gate->at++;
        if (!is_digit(peek(gate)))
            return reject(gate, gate->at, "a digit must follow '.'");
        skip_digits(gate);
    }
    if (peek(gate) == 'e' || peek(gate) == 'E') {
        gate->at++;
        if (peek(gate) == '+' || peek(gate) == '-')
            gate->at++;
        if (!is_digit(peek(gate)))
            return reject(gate, gate->at, "an exponent needs a digit");
        skip_digits(gate);
    }
    length = gate->at - start;
    if (length > NUMBER_TEXT_MAX)
        return reject(gate, start, "a number of more than 60 characters");
    memcpy(copy, gate->text + start, length);
    copy[length] = '\0';
    if (!isfinite(strtod(copy, NULL)))
        return reject(gate, start, "a number too large for a double");
    return 0;
}

/* Length of the valid UTF-8 sequence at text[at], or 0 (RFC 3629: no overlong form, no surrogate, <=
 * U+10FFFF). */
static size_t utf8_length(const char *text, size_t left)
{
    const unsigned char *p = (const unsigned char *)text;
    unsigned low = 0x80, high = 0xBF;
    size_t n;

    if (p[0] < 0x80)
        return 1;
    n = p[0] >= 0xF0 ? 4 : p[0] >= 0xE0 ? 3 : 2;
    if (p[0] < 0xC2 || p[0] > 0xF4 || left < n)
        return 0;
    low = p[0] == 0xE0 ? 0xA0 : p[0] == 0xF0 ? 0x90 : low;
    high = p[0] == 0xED ? 0x9F : p[0] == 0xF4 ? 0x8F : high;
    if (p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < n; i++) {
        if ((p[i] & 0xC0) != 0x80)
            return 0;
    }
    return n;
}

/* Four hex digits, or -1. */
static int hex4(const struct gate *gate, size_t at)
{
    int code = 0;

    if (gate->length - at < 4)
        return -1;
    for (size_t i = at; i < at + 4; i++) {
        char c = gate->text[i];
        int digit = is_digit(c)            ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;

        if (digit < 0)
            return -1;
        code = code << 4 | digit;
    }
    return code;
}

static uint64_t hash_byte(uint64_t hash, unsigned byte)
{
    return (hash ^ byte) * 0x100000001b3u; /* FNV-1a */
}

/* Adds a code point as its UTF-8 bytes, so that "\u0061" and "a" are one key. */
static uint64_t hash_code_point(uint64_t hash, uint32_t code)
{
    if (code < 0x80)
        return hash_byte(hash, code);
    if (code < 0x800)
        return hash_byte(hash_byte(hash, 0xC0 | code >> 6), 0x80 | (code & 63));
    if (code < 0x10000) {
        hash = hash_byte(hash, 0xE0 | code >> 12);
    } else {
        hash = hash_byte(hash, 0xF0 | code >> 18);
        hash = hash_byte(hash, 0x80 | (code >> 12 & 63));
    }
    return hash_byte(hash_byte(hash, 0x80 | (code >> 6 & 63)), 0x80 | (code & 63));
}

/* The part of an escape after its backslash. */
static int escape(struct gate *gate, uint64_t *hash)
{
    static const char NAMES[] = "\"\\/bfnrt", MEANING[] = "\"\\/\b\f\n\r\t";
    size_t start = gate->at - 1;
    int c = peek(gate);
    const char *name = c > 0 ? strchr(NAMES, c) : NULL;
    int code, low;

    gate->at++;
    if (name != NULL) {
        *hash = hash_byte(*hash, (unsigned char)MEANING[name - NAMES]);
        return 0;
    }
    if (c != 'u')
        return reject(gate, start, "an unknown escape in a string");
    code = hex4(gate, gate->at);
    if (code < 0)
        return reject(gate, start, "\\u needs four hex digits");
    if (code == 0)
        return reject(gate, start, "\\u0000 in a string");
    gate->at += 4;
    if (code >= 0xD800 && code <= 0xDFFF) {
        bool pair =
            code < 0xDC00 && gate->length - gate->at >= 6 && memcmp(gate->text + gate->at, "\\u", 2) == 0;

        low = pair ? hex4(gate, gate->at + 2) : -1;
        if (low < 0xDC00 || low > 0xDFFF)
            return reject(gate, start, "half a surrogate pair in a string");
        gate->at += 6;
        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    }
    *hash = hash_code_point(*hash, (uint32_t)code);
    return 0;
}

/* A string at its opening quote; *ret_hash is the hash of its decoded bytes. */
static int string(struct gate *gate, uint64_t *ret_hash)
{
    size_t start = gate->at++;
    uint64_t hash = 0xcbf29ce484222325u;
    int code = 0;

    while (gate->at < gate->length && gate->text[gate->at] != '"') {
        size_t n = utf8_length(gate->text + gate->at, gate->length - gate->at);

        if (n == 0)
            return reject(gate, gate->at, "invalid UTF-8");
        if ((unsigned char)gate->text[gate->at] < ' ')
            return reject(gate, gate->at, "a control character in a string");
        if (gate->text[gate->at] == '\\') {
            gate->at++;
            code = escape(gate, &hash);
            if (code != 0)
                return code;
            continue;
        }
        for (size_t i = 0; i < n; i++)
            hash = hash_byte(hash, (unsigned char)gate->text[gate->at++]);
    }
    if (gate->at >= gate->length)
        return reject(gate, start, "a string without its closing quote");
    gate->at++;
    *ret_hash = hash;
    return 0;
}

static int push_key(struct gate *gate, uint64_t hash, size_t offset)
{
    if (gate->key_count == gate->key_capacity) {
        size_t grown = gate->key_capacity == 0 ? 64 : 2 * gate->key_capacity;
        struct key *bigger = realloc(gate->keys, grown * sizeof *bigger);

        if (bigger == NULL)
            return error_set(gate->err, ERR_MEMORY, "no memory for JSON");
        gate->keys = bigger;
        gate->key_capacity = grown;
    }
    gate->keys[gate->key_count++] = (struct key){ hash, offset };
    return 0;
}

static int compare_keys(const void *left, const void *right)
{
    const struct key *a = left, *b = right;

    if (a->hash != b->hash)
        return a->hash < b->hash ? -1 : 1;
    return a->offset < b->offset ? -1 : a->offset > b->offset;
}

/* Two names with one 64-bit hash are called duplicates: for text that was not made to collide that is exact,
 * and for one that was, a refusal harms nobody. */
static int check_duplicates(struct gate *gate, size_t first)
{
    size_t count = gate->key_count - first;
    struct key *keys;

    if (count < 2)
        return 0;
    keys = gate->keys + first;
    qsort(keys, count, sizeof *keys, compare_keys);
    for (size_t i = 1; i < count; i++) {
        if (keys[i].hash == keys[i - 1].hash)
            return reject(gate, keys[i].offset, "a member name that stands twice in one object");
    }
    return 0;
}

/* Between members or elements: 1 when another one follows, 0 at the closing bracket. */
static int separator(struct gate *gate, char closing)
{
    int c;

    skip_space(gate);
    c = peek(gate);
    if (c == closing) {
        gate->at++;
        return 0;
    }
    if (c != ',')
        return reject(gate, gate->at, closing == '}' ? "expected ',' or '}'" : "expected ',' or ']'");
    gate->at++;
    skip_space(gate);
    if (peek(gate) == closing)
        return reject(gate, gate->at, "a comma with nothing after it");
    return 1;
}

static int member(struct gate *gate)
{
    size_t offset = gate->at;
    uint64_t hash;
    int code;

    if (peek(gate) != '"')
        return reject(gate, gate->at, "expected a member name in quotes");
    code = string(gate, &hash);
    if (code == 0)
        code = push_key(gate, hash, offset);
    if (code != 0)
        return code;
    skip_space(gate);
    if (peek(gate) != ':')
        return reject(gate, gate->at, "expected ':' after a member name");
    gate->at++;
    return value(gate);
}

/* An object or array at its opening bracket. */
static int container(struct gate *gate, char closing)
{
    size_t first = gate->key_count;
    int code;

    if (++gate->depth > JSON_DEPTH_MAX)
        return reject(gate, gate->at, "nested deeper than 32 levels");
    gate->at++;
    skip_space(gate);
    if (peek(gate) == closing) {
        gate->at++;
        code = 0;
    } else {
        do {
            code = closing == '}' ? member(gate) : value(gate);
            if (code == 0)
                code = separator(gate, closing);
        } while (code > 0);
    }
    if (code == 0)
        code = check_duplicates(gate, first);
    gate->key_count = first;
    gate->depth--;
    return code;
}

static int word(struct gate *gate)
{
    static const char *const WORDS[] = { "true", "false", "null" };

    for (int i = 0; i < 3; i++) {
        size_t n = strlen(WORDS[i]);

        if (gate->length - gate->at >= n && memcmp(gate->text + gate->at, WORDS[i], n) == 0) {
            gate->at += n;
            return 0;
        }
    }
    return reject(gate, gate->at, gate->at < gate->length ? "expected a value" : "the text ends too early");
}

static int value(struct gate *gate)
{
    uint64_t unused;
    int c;

    if (++gate->nodes > JSON_NODES_MAX)
        return reject(gate, gate->at, "more than 200000 values");
    skip_space(gate);
    c = peek(gate);
    if (c == '{')
        return container(gate, '}');
    if (c == '[')
        return container(gate, ']');
    if (c == '"')
        return string(gate, &unused);
    if (c == '-' || is_digit(c))
        return number(gate);
    return word(gate);
}

int json_parse(const char *text, size_t length, cJSON **ret_root, struct error *err)
{
    struct gate gate = { .text = text, .length = length, .err = err };
    cJSON *root;
    int code;

    if (length > JSON_TEXT_MAX)
        return error_set(err, ERR_RANGE, "JSON text of %zu bytes is longer than %d", length, JSON_TEXT_MAX);
    code = value(&gate);
    free(gate.keys);
    if (code != 0)
        return code;
    skip_space(&gate);
    if (gate.at != length)
        return reject(&gate, gate.at, "text after the end of the JSON value");
    root = cJSON_ParseWithLength(text, length);
    if (root == NULL)
        return error_set(err, ERR_MEMORY, "no memory for JSON of %zu bytes", length);
    *ret_root = root;
    return 0;
}

int json_load(const char *path, cJSON **ret_root, struct error *err)
{
    char *text;
    size_t length;
    int code = text_read_file(path, JSON_TEXT_MAX, &text, &length, err);

    if (code != 0)
        return code;
    code = json_parse(text, length, ret_root, err);
    free(text);
    if (code != 0)
        error_prefix(err, "%s", path);
    return code;
}

/* Texts of instruments, file names and cut messages may hold any bytes: what is no UTF-8 is printed as the
 * replacement character, byte by byte, because one such byte would make the whole document unreadable. */
static void print_string(struct strbuf *out, const char *text)
{
    const char *plain = text, *end = text + strlen(text);

    strbuf_bytes(out, "\"", 1);
    while (text < end) {
        unsigned char c = (unsigned char)*text;
        size_t n = utf8_length(text, (size_t)(end - text));

        if (n > 0 && c >= ' ' && c != '"' && c != '\\') {
            text += n;
            continue;
        }
        strbuf_bytes(out, plain, (size_t)(text - plain));
        plain = ++text;
        if (n == 0)
            strbuf_bytes(out, "\xEF\xBF\xBD", 3);
        else if (c == '"' || c == '\\')
            strbuf_add(out, "\\%c", c);
        else if (c == '\n')
            strbuf_bytes(out, "\\n", 2);
        else
            strbuf_add(out, "\\u%04x", c);
    }
    strbuf_bytes(out, plain, (size_t)(text - plain));
    strbuf_bytes(out, "\"", 1);
}

static void print_break(struct strbuf *out, int indent)
{
    if (indent >= 0)
        strbuf_add(out, "\n%*s", 2 * indent, "");
}

/* indent < 0: compact. */
static void print_node(struct strbuf *out, const cJSON *node, int indent)
{
    bool object = cJSON_IsObject(node);
    int inner = indent < 0 ? indent : indent + 1;
    char number_text[40];

    if (cJSON_IsNumber(node)) {
        strbuf_add(out, "%s", text_number(node->valuedouble, number_text, sizeof number_text));
    } else if (cJSON_IsString(node)) {
        print_string(out, node->valuestring);
    } else if (cJSON_IsBool(node)) {
        strbuf_add(out, "%s", cJSON_IsTrue(node) ? "true" : "false");
    } else if (cJSON_IsRaw(node)) {
        strbuf_add(out, "%s", node->valuestring);
    } else if (object || cJSON_IsArray(node)) {
        strbuf_bytes(out, object ? "{" : "[", 1);
        for (const cJSON *child = node->child; child != NULL; child = child->next) {
            print_break(out, inner);
            if (object) {
                print_string(out, child->string);
                strbuf_add(out, indent < 0 ? ":" : ": ");
            }
            print_node(out, child, inner);
            if (child->next != NULL)
                strbuf_bytes(out, ",", 1);
        }
        if (node->child != NULL)
            print_break(out, indent);
        strbuf_bytes(out, object ? "}" : "]", 1);
    } else {
        strbuf_add(out, "null");
    }
}

/* cJSON leaves out what it has no memory for, and says so by a NULL that nobody could look at after each of a
 * hundred members. So its allocator remembers; the flag is of the thread that builds the tree. */
static _Thread_local bool lost_a_part;

static void *watched_malloc(size_t bytes)
{
    void *memory = malloc(bytes);

    lost_a_part |= memory == NULL;
    return memory;
}

__attribute__((constructor)) static void watch_allocations(void)
{
    cJSON_Hooks hooks = { .malloc_fn = watched_malloc, .free_fn = free };

    cJSON_InitHooks(&hooks);
}

char *json_print(const cJSON *node, bool pretty)
{
    struct strbuf out = { 0 };
    bool lost = lost_a_part;

    lost_a_part = false;
    if (!lost)
        print_node(&out, node, pretty ? 0 : -1);
    if (out.failed)
        strbuf_free(&out);
    return out.text;
}

cJSON *json_number(double number_value)
{
    return isfinite(number_value) ? cJSON_CreateNumber(number_value) : cJSON_CreateNull();
}

static cJSON *add(cJSON *object, const char *key, cJSON *item)
{
    if (item == NULL || cJSON_AddItemToObject(object, key, item))
        return item;
    cJSON_Delete(item);
    return NULL;
}

cJSON *json_add_number(cJSON *object, const char *key, double number_value)
{
    return add(object, key, json_number(number_value));
}

cJSON *json_add_int64(cJSON *object, const char *key, int64_t integer)
{
    char digits[24];

    if (integer <= 1LL << 53 && integer >= -(1LL << 53))
        return add(object, key, cJSON_CreateNumber((double)integer));
    snprintf(digits, sizeof digits, "%lld", (long long)integer);
    return add(object, key, cJSON_CreateString(digits));
}
