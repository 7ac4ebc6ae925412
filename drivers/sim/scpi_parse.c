/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * scpi_parse: units, headers, patterns, channel lists and numbers. */
#include "drivers/sim/scpi_parse.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/sim/scpi_server.h"

static char upper(char c)
{
    return (char)toupper((unsigned char)c);
}

static bool blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static void trim_end(char *text)
{
    size_t n = strlen(text);
    while (n && blank(text[n - 1]))
        text[--n] = '\0';
}

bool scpi_parse_unit(const char **rest, char *unit, size_t size)
{
    const char *p = *rest;
    size_t n = 0;
    char quote = '\0';
    int depth = 0;
    if (!*p)
        return false;
    for (; *p; p++) {
        if (quote) {
            quote = *p == quote ? '\0' : quote;
        } else if (*p == '"' || *p == '\'') {
            quote = *p;
        } else if (*p == '(' || *p == ')') {
            depth += *p == '(' ? 1 : -1;
        } else if (*p == ';' && depth <= 0) {
            p++;
            break;
        }
        if ((n || !blank(*p)) && n < size - 1)
            unit[n++] = *p;
    }
    unit[n] = '\0';
    trim_end(unit);
    *rest = p;
    return true;
}

char *scpi_parse_header(char *unit, bool *ret_query)
{
    char *p = unit;
    for (; *p && !blank(*p); p++)
        *p = upper(*p);
    char *arguments = p;
    while (blank(*arguments))
        arguments++;
    *ret_query = p > unit && p[-1] == '?';
    if (*ret_query)
        p--;
    *p = '\0';
    return arguments;
}

void scpi_parse_full_header(const char *path, const char *header, char *full, size_t size)
{
    if (*header == ':')
        snprintf(full, size, "%s", header + 1);
    else if (*header == '*' || !*path)
        snprintf(full, size, "%s", header);
    else
        snprintf(full, size, "%s:%s", path, header);
}

void scpi_parse_keep_path(const char *full, char *path, size_t size)
{
    snprintf(path, size, "%s", full);
    char *last = strrchr(path, ':');
    if (last)
        *last = '\0';
    else
        *path = '\0';
}

/* Length of the word when it starts with the keyword's short or long form and ends there; -1 else. keyword_n
 * bounds it. */
static bool is_form(const char *keyword, size_t keyword_n, const char *word, size_t word_n)
{
    size_t short_n = 0;
    while (short_n < keyword_n && !islower((unsigned char)keyword[short_n]))
        short_n++;
    if (word_n != short_n && word_n != keyword_n)
        return false;
    for (size_t i = 0; i < word_n; i++)
        if (upper(keyword[i]) != upper(word[i]))
            return false;
    return true;
}

bool scpi_parse_is_keyword(const char *keyword, const char *word)
{
    return is_form(keyword, strlen(keyword), word, strlen(word));
}

/* One node of a pattern ("CHANnel#") against one node of a header ("CHAN2"). */
static bool node_fits(const char *pattern, size_t pattern_n, const char *word, size_t word_n, int *ret_suffix)
{
    bool numbered = pattern_n && pattern[pattern_n - 1] == '#';
    if (!numbered)
        return is_form(pattern, pattern_n, word, word_n);
    size_t letters = word_n;
    while (letters && isdigit((unsigned char)word[letters - 1]))
        letters--;
    if (!is_form(pattern, pattern_n - 1, word, letters))
        return false;
    if (letters < word_n)
        *ret_suffix = atoi(word + letters);
    return true;
}

bool scpi_parse_match(const char *pattern, const char *header, int *ret_suffix)
{
    while (*pattern == ':')
        pattern++;
    if (!*pattern)
        return !*header;
    bool optional = *pattern == '[';
    const char *node = optional ? pattern + 1 : pattern;
    if (*node == ':')
        node++;
    size_t node_n = strcspn(node, optional ? "]" : ":[");
    const char *after = node + node_n + (optional ? 1 : 0);
    size_t word_n = strcspn(header, ":");
    if (word_n && node_fits(node, node_n, header, word_n, ret_suffix)) {
        const char *next = header[word_n] == ':' ? header + word_n + 1 : header + word_n;
        if (scpi_parse_match(after, next, ret_suffix))
            return true;
    }
    return optional && scpi_parse_match(after, header, ret_suffix);
}

/* "(@1,3:4)" */
static int channel_list(const char *text, struct scpi_call *call, int channels)
{
    const char *p = text + 2;
    while (*p != ')') {
        char *end;
        long first = strtol(p, &end, 10), last = first;
        if (end == p)
            return -104;
        if (*end == ':') {
            p = end + 1;
            last = strtol(p, &end, 10);
            if (end == p)
                return -104;
        }
        if (first < 1 || last > channels || last < first)
            return -222;
        for (long c = first; c <= last; c++) {
            if (call->channel_n == SCPI_CHANNELS_MAX)
                return -222;
            call->channel[call->channel_n++] = (int)c;
        }
        p = end;
        while (*p == ',' || blank(*p))
            p++;
        if (!*p)
            return -104;
    }
    return 0;
}

int scpi_parse_arguments(char *text, struct scpi_call *call, int channels)
{
    char *p = text;
    while (*p) {
        while (blank(*p))
            p++;
        char *start = p, quote = '\0';
        int depth = 0;
        for (; *p; p++) {
            if (quote)
                quote = *p == quote ? '\0' : quote;
            else if (*p == '"' || *p == '\'')
                quote = *p;
            else if (*p == '(' || *p == ')')
                depth += *p == '(' ? 1 : -1;
            else if (*p == ',' && depth <= 0)
                break;
            else
                *p = upper(*p);
        }
        bool more = *p == ',';
        if (more)
            *p++ = '\0';
        trim_end(start);
        if (start[0] == '(' && start[1] == '@') {
            int code = channel_list(start, call, channels);
            if (code)
                return code;
        } else if (!*start) {
            return -109;
        } else if (call->arg_n == SCPI_ARGS_MAX) {
            return -108;
        } else {
            call->arg[call->arg_n++] = start;
        }
        if (more && !*p)
            return -109;
    }
    return 0;
}

/* ---- Parameters ---- */

/* Factor of a unit suffix ("MV", "UA", "S"); 0 when it is none. M before V, A, S, OHM is milli. */
static double unit_factor(const char *suffix)
{
    static const char *const units[] = { "V", "A", "S", "OHM", "HZ", "W" };
    static const struct {
        char prefix;
        double factor;
    } prefixes[] = { { 'N', 1e-9 }, { 'U', 1e-6 }, { 'M', 1e-3 }, { 'K', 1e3 } };
    if (!*suffix)
        return 1;
    for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
        if (strcmp(suffix, units[u]) == 0)
            return 1;
        for (size_t p = 0; p < sizeof prefixes / sizeof *prefixes; p++)
            if (*suffix == prefixes[p].prefix && strcmp(suffix + 1, units[u]) == 0)
                return prefixes[p].factor;
    }
    return 0;
}

bool scpi_server_number(struct scpi_call *call, int i, double min, double max, double def, double *ret_value)
{
    if (i >= call->arg_n) {
        scpi_server_error(call, -109);
        return false;
    }
    const char *text = call->arg[i];
    if (scpi_parse_is_keyword("MINimum", text)) {
        *ret_value = min;
        return true;
    }
    if (scpi_parse_is_keyword("MAXimum", text)) {
        *ret_value = max;
        return true;
    }
    if (scpi_parse_is_keyword("DEFault", text)) {
        *ret_value = def;
        return true;
    }
    char *end;
    double value = strtod(text, &end);
    if (end == text || !isfinite(value)) {
        scpi_server_error(call, -104);
        return false;
    }
    while (blank(*end))
        end++;
    double factor = unit_factor(end);
    if (factor == 0) {
        scpi_server_error(call, -131);
        return false;
    }
    value *= factor;
    if (value < min || value > max) {
        scpi_server_error(call, -222);
        return false;
    }
    *ret_value = value;
    return true;
}

bool scpi_server_boolean(struct scpi_call *call, int i, bool *ret_value)
{
    if (i >= call->arg_n) {
        scpi_server_error(call, -109);
        return false;
    }
    const char *text = call->arg[i];
    bool on = strcmp(text, "ON") == 0 || strcmp(text, "1") == 0;
    if (!on && strcmp(text, "OFF") != 0 && strcmp(text, "0") != 0) {
        scpi_server_error(call, -224);
        return false;
    }
    *ret_value = on;
    return true;
}

bool scpi_server_keyword(const struct scpi_call *call, int i, const char *keyword)
{
    return i < call->arg_n && scpi_parse_is_keyword(keyword, call->arg[i]);
}

bool scpi_server_bound_asked(struct scpi_call *call, int i, double min, double max)
{
    bool low = scpi_server_keyword(call, i, "MINimum"), high = scpi_server_keyword(call, i, "MAXimum");
    if (low || high)
        scpi_server_answer_number(call, low ? min : max);
    return low || high;
}
