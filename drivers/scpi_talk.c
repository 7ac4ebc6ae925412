/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * scpi_talk: the conversation: which channel is selected, what is joined to what, whose answer is whose, and
 * what the error queue says about it. */
#include "drivers/scpi_talk.h"

#include <stdio.h>
#include <string.h>

#include "drivers/scpi_text.h"

enum { ERRORS_MAX = 30 };
enum { SCPI_DATA_OUT_OF_RANGE = -222, SCPI_ILLEGAL_PARAMETER = -224 };

int scpi_talk_query(struct scpi_talk *s, const char *text, double timeout_s, struct error *err)
{
    snprintf(s->command, sizeof s->command, "%s", text);
    return scpi_link_query(&s->link, text, timeout_s, err);
}

/* Empties the error queue. The first entry becomes the error; first_text is one that was read already, or
 * NULL. */
int scpi_talk_errors(struct scpi_talk *s, const char *first_text, struct error *err)
{
    char message[160] = "";
    int first = 0;
    if (!scpi_talk_has(s, DIALECT_ERROR))
        return 0; /* there is no queue: what is set is read back */
    for (int i = 0; i < ERRORS_MAX; i++) {
        if (i > 0 || !first_text) {
            int code =
                scpi_link_query(&s->link, s->dialect->command[DIALECT_ERROR], s->dialect->timeout_s, err);
            if (code)
                return code;
            first_text = s->link.answer;
        }
        int entry;
        const char *text;
        if (!scpi_text_error(first_text, &entry, &text))
            return error_set(err, ERR_GARBAGE, "'%.60s' is no entry of an error queue", first_text);
        if (entry == 0)
            break;
        if (first == 0) {
            first = entry;
            snprintf(message, sizeof message, "%s", text);
        }
    }
    if (first == 0)
        return 0;
    bool range = first == SCPI_DATA_OUT_OF_RANGE || first == SCPI_ILLEGAL_PARAMETER;
    return error_set(err, range ? ERR_RANGE : ERR_REFUSED, "the instrument reports %d %s", first, message);
}

/* Makes that answer every setting: "OK:TEMP,S85.0", "NA:DATA OUT OF RANGE". */
static int set_acknowledged(struct scpi_talk *s, const char *text, struct error *err)
{
    const struct dialect *d = s->dialect;
    int code = scpi_link_query(&s->link, text, d->timeout_s, err);
    if (code)
        return code;
    if (strncmp(s->link.answer, d->good, strlen(d->good)) == 0)
        return 0;
    bool refused = d->bad[0] && strncmp(s->link.answer, d->bad, strlen(d->bad)) == 0;
    return error_set(err, refused ? ERR_REFUSED : ERR_GARBAGE,
                     refused ? "the instrument answers '%.60s'" : "'%.60s' is no answer to a setting",
                     s->link.answer);
}

/* An instrument that stops parsing at the mistake never answers the joined question: then it is asked alone.
 */
static int set_joined(struct scpi_talk *s, const char *text, struct error *err)
{
    const char *ask = s->dialect->command[DIALECT_ERROR];
    double timeout_s = s->dialect->timeout_s;
    char joined[SCPI_MESSAGE_MAX];
    snprintf(joined, sizeof joined, "%s;:%s", text, ask);
    int code = scpi_link_query(&s->link, joined, timeout_s, err);
    if (code == 0)
        return scpi_talk_errors(s, s->link.answer, err);
    if (code != ERR_TIMEOUT)
        return code;
    struct error reason = { 0 };
    int alone = scpi_talk_errors(s, NULL, &reason);
    if (alone == ERR_REFUSED || alone == ERR_RANGE) {
        if (err)
            *err = reason;
        return alone;
    }
    return code;
}

int scpi_talk_set(struct scpi_talk *s, const char *text, struct error *err)
{
    const struct dialect *d = s->dialect;
    int code;
    snprintf(s->command, sizeof s->command, "%s", text);
    transport_flush(s->link.transport);
    if (d->good[0])
        code = set_acknowledged(s, text, err);
    else if (d->joins && scpi_talk_has(s, DIALECT_ERROR))
        code = set_joined(s, text, err);
    else
        code = scpi_link_send(&s->link, text, d->timeout_s, err);
    scpi_link_rest(&s->link, d->pause_after_set_s);
    return code || d->joins || d->good[0] ? code : scpi_talk_errors(s, NULL, err);
}

bool scpi_talk_has(const struct scpi_talk *s, int command)
{
    return s->dialect->command[command][0] != '\0';
}

/* Makes that act on a selected channel: the selection goes in front of every command, in the same message
 * where the dialect joins, so that nobody at the front panel can come between. Else it is a message of its
 * own. prefix: "" or what to put in front. */
static int select_channel(struct scpi_talk *s, int command, int channel, char *prefix, size_t size,
                          struct error *err)
{
    char text[DIALECT_TEXT_MAX * 2];
    prefix[0] = '\0';
    if (!scpi_talk_has(s, DIALECT_SELECT) || !dialect_needs_select(s->dialect, command))
        return 0;
    int code = dialect_format(s->dialect, DIALECT_SELECT, channel, 0, 0, text, sizeof text, err);
    if (code)
        return code;
    if (!s->dialect->joins)
        return scpi_link_send(&s->link, text, s->dialect->timeout_s, err);
    snprintf(prefix, size, "%s;:", text);
    return 0;
}

int scpi_talk_set_value(struct scpi_talk *s, int command, int channel, double value, int decimals,
                        struct error *err)
{
    char text[DIALECT_TEXT_MAX * 2], line[SCPI_MESSAGE_MAX / 2], prefix[DIALECT_TEXT_MAX * 2 + 2];
    int code = dialect_format(s->dialect, command, channel, value, decimals, text, sizeof text, err);
    if (!code)
        code = select_channel(s, command, channel, prefix, sizeof prefix, err);
    if (code)
        return code;
    int n = snprintf(line, sizeof line, "%s%s", prefix, text);
    if ((size_t)n >= sizeof line)
        return error_set(err, ERR_RANGE, "command of %d bytes is too long", n);
    return scpi_talk_set(s, line, err);
}

/* Number of answers that a command brings: its parts. */
int scpi_talk_answers(const char *text)
{
    int n = 1;
    for (; *text; text++)
        n += *text == ';';
    return n;
}

/* One answer as the number that the dialect finds in it. */
static int take_number(const struct scpi_talk *s, int command, int channel, char *text, double *ret,
                       struct error *err)
{
    char shown[80];
    snprintf(shown, sizeof shown, "%.79s", text);
    const char *bad = s->dialect->bad;
    if (bad[0] && strncmp(text, bad, strlen(bad)) == 0)
        return error_set(err, ERR_REFUSED, "the instrument answers '%s' to %s", shown,
                         dialect_command_name(command));
    if (dialect_take(s->dialect, command, channel, text, ret))
        return 0;
    return error_set(err, ERR_GARBAGE, "'%s' is no answer to %s", shown, dialect_command_name(command));
}

/* Takes apart link->answer, which must be exactly `expected` numbers, each to the command that asked. */
static int take_numbers(struct scpi_talk *s, const int *commands, int expected, int channel, double *ret,
                        struct error *err)
{
    char *parts[SCPI_TALK_ANSWERS_MAX];
    char shown[80];
    snprintf(shown, sizeof shown, "%.79s", s->link.answer);
    int n = scpi_text_split(s->link.answer, parts, SCPI_TALK_ANSWERS_MAX);
    if (n != expected)
        return error_set(err, ERR_GARBAGE, "'%s': %d answers where %d were asked for", shown, n, expected);
    for (int i = 0; i < n; i++) {
        int code = take_number(s, commands[i], channel, parts[i], &ret[i], err);
        if (code)
            return code;
    }
    return 0;
}

/* Asks several commands of the dialect, joined where it allows. ret holds the numbers in order, NULL-safe by
 * count. */
int scpi_talk_ask(struct scpi_talk *s, const int *commands, int count, int channel, double timeout_s,
                  double *ret, struct error *err)
{
    char joined[SCPI_MESSAGE_MAX] = "", text[DIALECT_TEXT_MAX * 2], prefix[DIALECT_TEXT_MAX * 2 + 2];
    int expected = 0, taken = 0, asked[SCPI_TALK_ANSWERS_MAX];
    size_t length = 0;
    bool selected = false;
    for (int i = 0; i < count; i++) {
        int code = dialect_format(s->dialect, commands[i], channel, 0, 0, text, sizeof text, err);
        if (!code)
            code = select_channel(s, commands[i], channel, prefix, sizeof prefix, err);
        if (code)
            return code;
        if (selected)
            prefix[0] = '\0'; /* by an earlier one of this message */
        selected |= prefix[0] != '\0';
        int more = scpi_talk_answers(text);
        if (taken + expected + more > SCPI_TALK_ANSWERS_MAX)
            return error_set(err, ERR_INTERNAL, "more than %d questions at once", SCPI_TALK_ANSWERS_MAX);
        for (int k = 0; k < more; k++)
            asked[expected++] = commands[i];
        length += (size_t)snprintf(joined + length, sizeof joined - length, "%s%s%s", length ? ";:" : "",
                                   prefix, text);
        if (length >= sizeof joined)
            return error_set(err, ERR_RANGE, "questions of %zu bytes are too long", length);
        bool last = i == count - 1;
        if (s->dialect->joins && !last)
            continue;
        code = scpi_talk_query(s, joined, timeout_s, err);
        if (!code)
            code = take_numbers(s, asked, expected, channel, ret + taken, err);
        if (code)
            return code;
        taken += expected;
        expected = 0;
        length = 0;
    }
    return 0;
}

int scpi_talk_ask_one(struct scpi_talk *s, int command, int channel, double *ret, struct error *err)
{
    double values[SCPI_TALK_ANSWERS_MAX];
    int code = scpi_talk_ask(s, &command, 1, channel, s->dialect->timeout_s, values, err);
    if (!code)
        *ret = values[0];
    return code;
}
