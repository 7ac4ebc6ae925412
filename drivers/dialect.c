/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * dialect: placing of values in commands, finding of numbers in answers, and the uncertainty that a dialect
 * states. */
#include "drivers/dialect.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "daemon/base/clock.h"
#include "daemon/base/text.h"
#include "drivers/scpi_text.h"
#include "instruments/bench.h"

/* The first nanosecond after the due date, UTC; false when the text is no date. */
bool dialect_due_ns(const char *text, int64_t *ret_ns)
{
    struct tm tm = { 0 };
    char tail;
    if (sscanf(text, "%4d-%2d-%2d%c", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tail) != 3 || strlen(text) != 10)
        return false;
    if (tm.tm_mon < 1 || tm.tm_mon > 12 || tm.tm_mday < 1 || tm.tm_mday > 31 || tm.tm_year < 1970)
        return false;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    *ret_ns = ((int64_t)timegm(&tm) + 86400) * NS_PER_S;
    return true;
}

void dialect_free(struct dialect *dialect)
{
    free(dialect);
}

const struct dialect_channel *dialect_channel(const struct dialect *dialect, int number)
{
    for (int i = 0; i < dialect->channel_count; i++) {
        if (dialect->channel[i].number == number)
            return &dialect->channel[i];
    }
    return NULL;
}

/* The field with this index, in place; NULL when the list is shorter. */
static char *field_of(char *text, int field)
{
    for (; field > 0; field--) {
        text = strchr(text, ',');
        if (!text)
            return NULL;
        text++;
    }
    text[strcspn(text, ",")] = '\0';
    return text;
}

/* "0x32", "32". */
static bool take_bit(const char *text, int bit, double *ret)
{
    char *end;
    text += strspn(text, " ");
    if (!isxdigit((unsigned char)*text)) /* no sign */
        return false;
    unsigned long word = strtoul(text, &end, 16);
    end += strspn(end, " \r");
    if (*end || word > UINT32_MAX)
        return false;
    *ret = (double)(word >> bit & 1);
    return true;
}

/* "CONSTANT" as the file says; nothing else is a state of this instrument. */
static bool take_word(const struct dialect_answer *answer, const char *text, double *ret)
{
    text += strspn(text, " ");
    size_t n = strlen(text);
    while (n > 0 && isspace((unsigned char)text[n - 1]))
        n--;
    for (int i = 0; i < answer->word_count; i++) {
        if (strlen(answer->word[i].text) == n && strncasecmp(text, answer->word[i].text, n) == 0) {
            *ret = answer->word[i].value;
            return true;
        }
    }
    return false;
}

/* A status register is a whole number; 9.91E37 has every bit and none. */
static bool take_mask(unsigned mask, const char *text, double *ret)
{
    double value;
    if (!scpi_text_number(text, &value) || !(value >= 0 && value <= 0xffff) || value != floor(value))
        return false;
    *ret = ((unsigned)value & mask) != 0;
    return true;
}

bool dialect_take(const struct dialect *dialect, int command, int channel, char *text, double *ret)
{
    const struct dialect_answer *answer = &dialect->answer[command];
    if (answer->bit_count > 0) {
        for (int i = 0; i < dialect->channel_count; i++) {
            if (dialect->channel[i].number == channel)
                return take_bit(text, answer->bit[i], ret);
        }
        return false;
    }
    if (answer->field >= 0) {
        text = field_of(text, answer->field);
        if (!text)
            return false;
    }
    if (answer->word_count > 0)
        return take_word(answer, text, ret);
    if (answer->field >= 0 && isalpha((unsigned char)text[strspn(text, " ")]))
        return false; /* a state is no number of a list */
    return answer->mask ? take_mask(answer->mask, text, ret) : scpi_text_number(text, ret);
}

double dialect_round(const struct dialect_span *span, double value)
{
    double rounded = round(value / span->step) * span->step;
    return rounded == 0 ? 0 : rounded; /* no "-0.000" on the wire */
}

/* One placeholder at the start of text: its length, 0 when there is none. */
static size_t placeholder(const char *text, int *ret_kind)
{
    static const char *const NAMES[] = { "{ch}", "{v}", "{n}", "{a}", "{b}" };
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++) {
        size_t n = strlen(NAMES[i]);
        if (strncmp(text, NAMES[i], n) == 0) {
            *ret_kind = (int)i;
            return n;
        }
    }
    return 0;
}

int dialect_format_span(const struct dialect *dialect, int command, int channel, double value, double last,
                        int decimals, char *out, size_t size, struct error *err)
{
    enum { CHANNEL, VALUE, COUNT, FIRST, LAST };
    const char *text = dialect->command[command];
    if (!*text)
        return error_set(err, ERR_UNSUPPORTED, "%s has no '%s'", dialect->name,
                         dialect_command_name(command));
    size_t n = 0;
    while (*text && n < size) {
        int kind, added = 1;
        size_t length = *text == '{' ? placeholder(text, &kind) : 0;
        if (length == 0)
            out[n] = *text++;
        else if (kind == CHANNEL)
            added = snprintf(out + n, size - n, "%d", channel);
        else
            added = snprintf(out + n, size - n, "%.*f", decimals, kind == LAST ? last : value);
        text += length;
        n += (size_t)added;
    }
    if (n >= size)
        return error_set(err, ERR_INTERNAL, "command '%s' of %s does not fit", dialect_command_name(command),
                         dialect->name);
    out[n] = '\0';
    return 0;
}

int dialect_format(const struct dialect *dialect, int command, int channel, double value, int decimals,
                   char *out, size_t size, struct error *err)
{
    return dialect_format_span(dialect, command, channel, value, value, decimals, out, size, err);
}

const char *dialect_slot(const struct dialect *dialect, double celsius)
{
    for (int i = 0; i < dialect->slot_count; i++) {
        if (celsius < dialect->slot[i].below)
            return dialect->slot[i].command;
    }
    return "";
}

double dialect_uncertainty(const struct dialect_channel *channel, int quantity, double value, double range,
                           double *ret_range)
{
    int count = channel->row_count[quantity];
    const struct dialect_row *row = NULL;
    double reach = isnan(range) ? fabs(value) : range;
    for (int i = 0; i < count && !row; i++) {
        if (reach <= channel->row[quantity][i].range * (1 + 1e-9))
            row = &channel->row[quantity][i];
    }
    if (!row && count > 0)
        row = &channel->row[quantity][count - 1];
    if (!row || isnan(value)) {
        *ret_range = NAN;
        return NAN;
    }
    *ret_range = row->range;
    double accuracy = (row->percent / 100 * fabs(value) + row->offset) / sqrt(3);
    double resolution = row->resolution / sqrt(12);
    return hypot(accuracy, resolution);
}

bool dialect_overdue(const struct dialect *dialect, int64_t wall_ns)
{
    int64_t end_ns;
    return dialect->calibration_due[0] && dialect_due_ns(dialect->calibration_due, &end_ns) &&
           wall_ns >= end_ns;
}
