/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * scpi_text: reading of answers, strictly: what strtod alone would take is not always a number. */
#include "drivers/scpi_text.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

bool scpi_text_number(const char *text, double *ret_value)
{
    static const struct {
        const char *word;
        double value;
    } WORDS[] = {
        { "ON", 1 }, { "OFF", 0 }, { "YES", 1 }, { "NO", 0 }, { "CC", 1 }, { "CV", 0 }, { "UR", 3 }
    };
    while (*text == ' ')
        text++;
    size_t n = strlen(text);
    while (n > 0 && isspace((unsigned char)text[n - 1]))
        n--;
    for (size_t i = 0; i < sizeof WORDS / sizeof *WORDS; i++) {
        if (n == strlen(WORDS[i].word) && strncasecmp(text, WORDS[i].word, n) == 0) {
            *ret_value = WORDS[i].value;
            return true;
        }
    }
    if (n == 0 || strspn(text, "0123456789+-.eE") < n)
        return false; /* strtod alone would take "inf", "nan" and "0x1F" for numbers of 488.2 */
    char *end;
    double value = strtod(text, &end);
    if ((size_t)(end - text) != n || !isfinite(value))
        return false;
    *ret_value = value;
    return true;
}

int scpi_text_split(char *text, char **ret_parts, int max)
{
    int count = 0;
    bool quoted = false;
    char *start = text;
    for (char *p = text;; p++) {
        if (*p == '"')
            quoted = !quoted;
        bool end = *p == '\0';
        if (!end && (quoted || *p != ';'))
            continue;
        *p = '\0';
        if (count < max)
            ret_parts[count] = start;
        count++;
        start = p + 1;
        if (end)
            return count < max ? count : max;
    }
}

bool scpi_text_error(const char *text, int *ret_code, const char **ret_text)
{
    char *end;
    long code = strtol(text, &end, 10);
    if (end == text || (*end != ',' && *end != ' ' && *end != '\0') || code < -100000 || code > 100000)
        return false;
    while (*end == ',' || *end == ' ')
        end++;
    *ret_code = (int)code;
    *ret_text = end;
    return true;
}
