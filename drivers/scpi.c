/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * scpi: supplies, sources and meters that speak SCPI, as their dialect (drivers/dialect.h) says. Every
 * setting is followed by a look at the error queue, joined to it where the dialect allows; what protects or
 * energises is read back. */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/dialect.h"
#include "drivers/driver.h"
#include "drivers/scpi_link.h"
#include "instruments/bench.h"

enum { ERRORS_MAX = 30, ANSWERS_MAX = 12, RESYNC_ANSWERS_MAX = 8 };
enum { METER_RANGE_MAX_V = 10000, METER_NPLC_MAX = 1000 };
enum { SCPI_DATA_OUT_OF_RANGE = -222, SCPI_ILLEGAL_PARAMETER = -224 };

/* Instruments say 9.91E37 for "not a number" and +-9.9E37 for overflow. */
#define SCPI_NAN_FROM 9.89e37
#define SCPI_NAN_CODE 9.905e37
/* What an instrument is given to take in a message before its connection is closed. */
#define OFF_LINGER_NS (20 * NS_PER_MS)

struct scpi {
    struct driver_config *config;
    struct dialect *dialect;
    struct scpi_link link;
    char identity[256];
    char command[SCPI_MESSAGE_MAX]; /* last sent, for errors */
    uint32_t prepared;              /* bit per channel number */
    bool watchdog_armed;            /* by us, over this connection */
    double range_v, nplc;           /* of a meter; NAN: automatic, as found */
};

static int query(struct scpi *s, const char *text, double timeout_s, struct error *err)
{
    snprintf(s->command, sizeof s->command, "%s", text);
    return scpi_link_query(&s->link, text, timeout_s, err);
}

/* Empties the error queue. The first entry becomes the error; first_text is one that was read already, or
 * NULL. */
static int read_errors(struct scpi *s, const char *first_text, struct error *err)
{
    char message[160] = "";
    int first = 0;
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
        if (!scpi_error_entry(first_text, &entry, &text))
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

/* A setting. An instrument that stops parsing at the mistake never answers the joined question: then it is
 * asked alone. */
static int set(struct scpi *s, const char *text, struct error *err)
{
    const char *ask = s->dialect->command[DIALECT_ERROR];
    double timeout_s = s->dialect->timeout_s;
    snprintf(s->command, sizeof s->command, "%s", text);
    transport_flush(s->link.transport);
    if (!s->dialect->joins) {
        int code = scpi_link_send(&s->link, text, timeout_s, err);
        return code ? code : read_errors(s, NULL, err);
    }
    char joined[SCPI_MESSAGE_MAX];
    snprintf(joined, sizeof joined, "%s;:%s", text, ask);
    int code = scpi_link_query(&s->link, joined, timeout_s, err);
    if (code == 0)
        return read_errors(s, s->link.answer, err);
    if (code != ERR_TIMEOUT)
        return code;
    struct error reason = { 0 };
    int alone = read_errors(s, NULL, &reason);
    if (alone == ERR_REFUSED || alone == ERR_RANGE) {
        if (err)
            *err = reason;
        return alone;
    }
    return code;
}

static bool has(const struct scpi *s, int command)
{
    return s->dialect->command[command][0] != '\0';
}

/* Makes that act on a selected channel: the selection goes in front of every command, in the same message
 * where the dialect joins, so that nobody at the front panel can come between. Else it is a message of its
 * own. prefix: "" or what to put in front. */
static int select_channel(struct scpi *s, int command, int channel, char *prefix, size_t size,
                          struct error *err)
{
    char text[DIALECT_TEXT_MAX * 2];
    prefix[0] = '\0';
    if (!has(s, DIALECT_SELECT) || !dialect_needs_select(s->dialect, command))
        return 0;
    int code = dialect_format(s->dialect, DIALECT_SELECT, channel, 0, 0, text, sizeof text, err);
    if (code)
        return code;
    if (!s->dialect->joins)
        return scpi_link_send(&s->link, text, s->dialect->timeout_s, err);
    snprintf(prefix, size, "%s;:", text);
    return 0;
}

static int set_value(struct scpi *s, int command, int channel, double value, int decimals, struct error *err)
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
    return set(s, line, err);
}

/* Number of answers that a command brings: its parts. */
static int answers_of(const char *text)
{
    int n = 1;
    for (; *text; text++)
        n += *text == ';';
    return n;
}

/* Takes apart link->answer, which must be exactly `expected` numbers. */
static int take_numbers(struct scpi *s, int expected, double *ret, struct error *err)
{
    char *parts[ANSWERS_MAX];
    char shown[80];
    snprintf(shown, sizeof shown, "%s", s->link.answer);
    int n = scpi_split(s->link.answer, parts, ANSWERS_MAX);
    if (n != expected)
        return error_set(err, ERR_GARBAGE, "'%s': %d answers where %d were asked for", shown, n, expected);
    for (int i = 0; i < n; i++) {
        if (!scpi_number(parts[i], &ret[i]))
            return error_set(err, ERR_GARBAGE, "'%s' is no number", parts[i]);
    }
    return 0;
}

/* Asks several commands of the dialect, joined where it allows. ret holds the numbers in order, NULL-safe by
 * count. */
static int ask(struct scpi *s, const int *commands, int count, int channel, double timeout_s, double *ret,
               struct error *err)
{
    char joined[SCPI_MESSAGE_MAX] = "", text[DIALECT_TEXT_MAX * 2], prefix[DIALECT_TEXT_MAX * 2 + 2];
    int expected = 0, taken = 0;
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
        expected += answers_of(text);
        if (taken + expected > ANSWERS_MAX)
            return error_set(err, ERR_INTERNAL, "more than %d questions at once", ANSWERS_MAX);
        length += (size_t)snprintf(joined + length, sizeof joined - length, "%s%s%s", length ? ";:" : "",
                                   prefix, text);
        if (length >= sizeof joined)
            return error_set(err, ERR_RANGE, "questions of %zu bytes are too long", length);
        bool last = i == count - 1;
        if (s->dialect->joins && !last)
            continue;
        code = query(s, joined, timeout_s, err);
        if (!code)
            code = take_numbers(s, expected, ret + taken, err);
        if (code)
            return code;
        taken += expected;
        expected = 0;
        length = 0;
    }
    return 0;
}

static int ask_one(struct scpi *s, int command, int channel, double *ret, struct error *err)
{
    double values[ANSWERS_MAX];
    int code = ask(s, &command, 1, channel, s->dialect->timeout_s, values, err);
    if (!code)
        *ret = values[0];
    return code;
}

/* Settings that must precede the first setting of a channel after a connect (source function, meter
 * function). */
static int prepare(struct scpi *s, int channel, struct error *err)
{
    uint32_t bit = 1u << (channel & 31);
    if (!has(s, DIALECT_PREPARE) || (s->prepared & bit))
        return 0;
    int code = set_value(s, DIALECT_PREPARE, channel, 0, 0, err);
    if (!code)
        s->prepared |= bit;
    return code;
}

static int set_in_span(struct scpi *s, int command, int channel, const struct dialect_span *span,
                       double value, struct error *err)
{
    if (!(value >= span->min - span->step / 2 && value <= span->max + span->step / 2))
        return error_set(err, ERR_RANGE, "%s: %g is outside %g .. %g of %s channel %d",
                         dialect_command_name(command), value, span->min, span->max, s->dialect->name,
                         channel);
    int code = prepare(s, channel, err);
    return code ? code : set_value(s, command, channel, dialect_round(span, value), span->decimals, err);
}

/* Before the first output: from now on the instrument switches off by itself when everybody falls silent. */
static int arm_watchdog(struct scpi *s, struct error *err)
{
    static const int GET[] = { DIALECT_GET_WATCHDOG };
    double found[ANSWERS_MAX];
    if (!has(s, DIALECT_ARM_WATCHDOG) || s->watchdog_armed)
        return 0;
    int code = set_value(s, DIALECT_ARM_WATCHDOG, 0, s->dialect->watchdog_s, 0, err);
    if (!code)
        code = ask(s, GET, 1, 0, s->dialect->timeout_s, found, err);
    if (!code && !(found[0] == 1 && fabs(found[1] - s->dialect->watchdog_s) < 0.5))
        code = error_set(err, ERR_REFUSED, "the watchdog reads back %g, %g s; %g s were set", found[0],
                         found[1], s->dialect->watchdog_s);
    s->watchdog_armed = code == 0;
    return code;
}

static int scpi_resync(void *state, struct error *err);

/* After the last output is off: else it would trip on a bench that rests. What goes wrong here does not make
 * an output less off; the watchdog stays armed then. */
static void disarm_watchdog(struct scpi *s)
{
    struct error ignored;
    int code = 0;
    if (!has(s, DIALECT_ARM_WATCHDOG))
        return;
    for (int i = 0; i < s->dialect->channel_count && !code; i++) {
        double on = 1;
        if (!s->dialect->channel[i].can_source)
            continue;
        code = ask_one(s, DIALECT_GET_OUTPUT, s->dialect->channel[i].number, &on, &ignored);
        if (!code && on != 0)
            return;
    }
    if (!code)
        code = set_value(s, DIALECT_DISARM_WATCHDOG, 0, 0, 0, &ignored);
    s->watchdog_armed = code != 0;
    if (code == ERR_TIMEOUT || code == ERR_GARBAGE || code == ERR_CANCELLED)
        scpi_resync(s, &ignored);
}

static int switch_output(struct scpi *s, int channel, bool on, double *ret_on, struct error *err)
{
    int code = on ? prepare(s, channel, err) : 0;
    if (!code && on)
        code = arm_watchdog(s, err);
    if (!code)
        code = set_value(s, on ? DIALECT_OUTPUT_ON : DIALECT_OUTPUT_OFF, channel, 0, 0, err);
    if (!code)
        code = ask_one(s, DIALECT_GET_OUTPUT, channel, ret_on, err);
    if (!code && !on && *ret_on == 0)
        disarm_watchdog(s);
    return code;
}

static int do_output(struct scpi *s, struct message *m, struct error *err)
{
    bool wanted = m->value[0] != 0;
    double on = 0;
    int code = switch_output(s, m->channel, wanted, &on, err);
    if (code)
        return code;
    if ((on != 0) != wanted)
        return error_set(err, ERR_REFUSED, "output was switched %s, read back says %s", wanted ? "on" : "off",
                         on != 0 ? "on" : "off");
    m->value[0] = on != 0;
    return 0;
}

static int do_safe_off(struct scpi *s, struct message *m, struct error *err)
{
    double on = 1;
    int code = switch_output(s, m->channel, false, &on, err);
    if (!code)
        m->value[0] = on != 0;
    return code;
}

static int read_back(struct scpi *s, int command, int channel, double wanted, double tolerance,
                     struct error *err)
{
    double value = NAN;
    int code = ask_one(s, command, channel, &value, err);
    if (code)
        return code;
    if (!(fabs(value - wanted) <= tolerance))
        return error_set(err, ERR_REFUSED, "%s reads back %g, %g was set", dialect_command_name(command),
                         value, wanted);
    return 0;
}

static int do_protection(struct scpi *s, const struct dialect_channel *ch, struct message *m,
                         struct error *err)
{
    int code = 0;
    bool ocp = m->value[1] != 0;
    if (!isnan(m->value[0])) {
        code = set_in_span(s, DIALECT_SET_OVP, m->channel, &ch->ovp, m->value[0], err);
        if (!code)
            code = read_back(s, DIALECT_GET_OVP, m->channel, dialect_round(&ch->ovp, m->value[0]),
                             ch->ovp.step, err);
    }
    if (code || (!ocp && !has(s, DIALECT_OCP_OFF)))
        return code;
    code = set_value(s, ocp ? DIALECT_OCP_ON : DIALECT_OCP_OFF, m->channel, 0, 0, err);
    return code ? code : read_back(s, DIALECT_GET_OCP, m->channel, ocp, 0, err);
}

/* A status register is a whole number of 16 bits; 9.91E37 or -1 says nothing about a limit or a trip. */
static int check_status(const double *answers, int count, struct error *err)
{
    for (int i = 0; i < count; i++) {
        if (!(answers[i] >= 0 && answers[i] <= 0xffff) || answers[i] != floor(answers[i]))
            return error_set(err, ERR_GARBAGE, "%g is no status register", answers[i]);
    }
    return 0;
}

static bool limiting(const struct dialect *d, double mode)
{
    return ((unsigned)mode & d->mode_mask) == d->mode_limiting;
}

static bool tripped(const struct dialect *d, const double *answers, int count)
{
    bool found = false;
    for (int i = 0; i < count; i++)
        found |= d->trip_mask ? ((unsigned)answers[i] & d->trip_mask) != 0 : answers[i] != 0;
    return found;
}

static int do_state(struct scpi *s, struct message *m, struct error *err)
{
    int commands[5] = { DIALECT_GET_OUTPUT, DIALECT_GET_VOLTAGE, DIALECT_GET_LIMIT };
    int n = 3, mode = -1, trip = -1, trips = 0;
    double value[ANSWERS_MAX];
    if (has(s, DIALECT_GET_MODE)) {
        mode = n;
        commands[n++] = DIALECT_GET_MODE;
    }
    if (has(s, DIALECT_GET_TRIP)) {
        trip = n;
        trips = answers_of(s->dialect->command[DIALECT_GET_TRIP]);
        commands[n++] = DIALECT_GET_TRIP; /* last: may bring several answers */
    }
    int code = ask(s, commands, n, m->channel, s->dialect->timeout_s, value, err);
    if (!code)
        code = check_status(value + 3, (mode >= 0) + trips, err);
    if (code)
        return code;
    bool on = value[0] != 0;
    m->flags = on ? MESSAGE_ON : 0;
    if (on && mode >= 0 && limiting(s->dialect, value[mode]))
        m->flags |= MESSAGE_LIMITING;
    if (trip >= 0 && tripped(s->dialect, value + trip, trips))
        m->flags |= MESSAGE_TRIPPED;
    m->value[0] = value[1];
    m->value[1] = value[2];
    return 0;
}

/* Clearing a protection restores the output on some makes: it is switched off first. */
static int do_clear_trip(struct scpi *s, struct message *m, struct error *err)
{
    double on = 1;
    int code = switch_output(s, m->channel, false, &on, err);
    if (!code)
        code = set_value(s, DIALECT_CLEAR_TRIP, m->channel, 0, 0, err);
    if (!code)
        code = do_state(s, m, err);
    if (!code && (m->flags & MESSAGE_TRIPPED))
        return error_set(err, ERR_TRIPPED, "the protection is still tripped: its cause is still there");
    return code;
}

static double measure_timeout_s(const struct scpi *s, const struct dialect_channel *ch)
{
    double aperture_s = isnan(s->nplc) ? ch->measure_s : s->nplc * s->dialect->nplc_s;
    return s->dialect->timeout_s + 4 * aperture_s + ch->measure_s;
}

static int do_measure(struct scpi *s, const struct dialect_channel *ch, struct message *m, struct error *err)
{
    int quantity = m->value[0] == QUANTITY_CURRENT ? QUANTITY_CURRENT : QUANTITY_VOLTAGE;
    int commands[2] = { quantity == QUANTITY_CURRENT ? DIALECT_MEASURE_CURRENT : DIALECT_MEASURE_VOLTAGE,
                        DIALECT_GET_MODE };
    bool with_mode = s->dialect->mode_with_reading;
    double value[ANSWERS_MAX];
    int code = ch->can_source ? 0 : prepare(s, m->channel, err);
    if (!code)
        code = ask(s, commands, with_mode && s->dialect->joins ? 2 : 1, m->channel, measure_timeout_s(s, ch),
                   value, err);
    if (!code && isalpha((unsigned char)s->link.answer[0]))
        code = error_set(err, ERR_GARBAGE, "'%.20s' is no reading", s->link.answer); /* but a state: "ON" */
    if (!code && with_mode && !s->dialect->joins)
        code = ask_one(s, DIALECT_GET_MODE, m->channel, &value[1], err);
    if (!code && with_mode)
        code = check_status(value + 1, 1, err);
    if (code)
        return code;
    m->flags = with_mode && limiting(s->dialect, value[1]) ? READING_LIMITING : 0;
    if (fabs(value[0]) >= SCPI_NAN_FROM) {
        m->flags |= READING_NOT_A_NUMBER | (fabs(value[0]) < SCPI_NAN_CODE ? READING_OVERRANGE : 0);
        value[0] = NAN;
    }
    if (dialect_overdue(s->dialect, clock_wall_now()))
        m->flags |= READING_CAL_OVERDUE;
    double range = quantity == QUANTITY_VOLTAGE ? s->range_v : NAN;
    m->value[0] = value[0];
    m->value[1] = dialect_uncertainty(ch, quantity, value[0], range, &m->value[2]);
    return 0;
}

static int do_configure(struct scpi *s, const struct dialect_channel *ch, struct message *m,
                        struct error *err)
{
    double range_v = m->value[0], nplc = m->value[1];
    if (range_v <= 0 || range_v > METER_RANGE_MAX_V || nplc <= 0 || nplc > METER_NPLC_MAX)
        return error_set(err, ERR_RANGE,
                         "meter range %g V, %g power line cycles: allowed are up to %d V and %d", range_v,
                         nplc, METER_RANGE_MAX_V, METER_NPLC_MAX);
    int code = prepare(s, m->channel, err);
    if (!code && isnan(range_v))
        code = set_value(s, DIALECT_AUTO_RANGE, m->channel, 0, 0, err);
    else if (!code)
        code = set_value(s, DIALECT_SET_RANGE, m->channel, range_v, 6, err);
    if (!code && !isnan(nplc))
        code = set_value(s, DIALECT_SET_NPLC, m->channel, nplc, 3, err);
    if (code)
        return code;
    s->range_v = range_v;
    for (int i = 0; i < ch->row_count[0] && !isnan(range_v); i++) {
        if (ch->row[0][i].range >=
            range_v * (1 - 1e-9)) { /* the instrument takes the next range that holds it */
            s->range_v = ch->row[0][i].range;
            break;
        }
    }
    s->nplc = nplc;
    return 0;
}

/* "vendor,model,serial,firmware[,more]" to four texts, each with its NUL. */
static int do_identify(const struct scpi *s, struct message *m, uint8_t *payload, size_t room,
                       struct error *err)
{
    size_t n = strlen(s->identity) + 1;
    if (n + 4 > room)
        return error_set(err, ERR_INTERNAL, "no room for an identity");
    memset(payload, 0, n + 4);
    int field = 0;
    size_t out = 0;
    bool started = false;
    for (size_t i = 0; i + 1 < n; i++) {
        char c = s->identity[i];
        if (c == ',' && field < 3) {
            payload[out++] = '\0';
            field++;
            started = false;
        } else if (started || c != ' ') {
            payload[out++] = (uint8_t)c;
            started = true;
        }
    }
    for (; field < 4; field++)
        payload[out++] = '\0';
    m->payload_length = (uint32_t)out;
    return 0;
}

static int do_query(struct scpi *s, struct message *m, uint8_t *payload, size_t room, struct error *err)
{
    char text[SCPI_MESSAGE_MAX];
    if (m->payload_length >= sizeof text)
        return error_set(err, ERR_RANGE, "command is longer than %zu bytes", sizeof text - 1);
    memcpy(text, payload, m->payload_length);
    text[m->payload_length] = '\0';
    if (strpbrk(text, "\r\n"))
        return error_set(err, ERR_INVALID, "a raw command is one line");
    if (!strchr(text, '?')) {
        int code = set(s, text, err);
        s->prepared = 0; /* nobody knows what it has changed */
        s->range_v = s->nplc = NAN;
        if (!code)
            m->payload_length = 0;
        return code;
    }
    int code = query(s, text, s->dialect->timeout_s, err);
    if (code)
        return code;
    if (s->link.answer_length > room)
        return error_set(err, ERR_FULL, "answer of %zu bytes is longer than %zu", s->link.answer_length,
                         room);
    memcpy(payload, s->link.answer, s->link.answer_length);
    m->payload_length = (uint32_t)s->link.answer_length;
    return 0;
}

static int serve(struct scpi *s, struct message *m, uint8_t *payload, size_t room, struct error *err)
{
    if (m->op == MESSAGE_IDENTIFY)
        return do_identify(s, m, payload, room, err);
    if (m->op == MESSAGE_QUERY)
        return do_query(s, m, payload, room, err);
    const struct dialect_channel *ch = dialect_channel(s->dialect, m->channel);
    if (!ch)
        return error_set(err, ERR_INVALID, "%s has no channel %d", s->dialect->name, m->channel);
    switch (m->op) {
    case MESSAGE_SET_VOLTAGE:
        return set_in_span(s, DIALECT_SET_VOLTAGE, m->channel, &ch->voltage, m->value[0], err);
    case MESSAGE_SET_LIMIT:
        return set_in_span(s, DIALECT_SET_LIMIT, m->channel, &ch->limit, m->value[0], err);
    case MESSAGE_SET_PROTECTION:
        return do_protection(s, ch, m, err);
    case MESSAGE_OUTPUT:
        return do_output(s, m, err);
    case MESSAGE_STATE:
        return do_state(s, m, err);
    case MESSAGE_CLEAR_TRIP:
        return do_clear_trip(s, m, err);
    case MESSAGE_MEASURE:
        return do_measure(s, ch, m, err);
    case MESSAGE_CONFIGURE:
        return do_configure(s, ch, m, err);
    case MESSAGE_SAFE_OFF:
        return do_safe_off(s, m, err);
    default:
        return error_set(err, ERR_UNSUPPORTED, "the scpi driver does not serve operation %u", m->op);
    }
}

static int scpi_request(void *state, struct message *message, uint8_t *payload, size_t room,
                        struct error *err)
{
    struct scpi *s = state;
    struct message work = *message;
    int64_t start_ns = clock_now(s->link.env->clock);
    s->command[0] = '\0';
    int code = serve(s, &work, payload, room, err);
    if (code) {
        error_at(err, s->config->name, s->command, clock_now(s->link.env->clock) - start_ns);
        return code;
    }
    *message = work;
    return 0;
}

/* A line feed ends what a cut left half sent; then old answers are let go by, until the identity comes: only
 * then is it sure that the next answer belongs to the next question. */
static int scpi_resync(void *state, struct error *err)
{
    struct scpi *s = state;
    double timeout_s = s->dialect->timeout_s;
    const char *clear = s->dialect->command[DIALECT_CLEAR];
    int code = scpi_link_send(&s->link, clear, timeout_s, err);
    if (!code)
        code = scpi_link_send(&s->link, clear, timeout_s, err);
    if (!code)
        code =
            transport_drain(s->link.transport, s->link.env, (int64_t)(s->dialect->resync_quiet_s * 1e9), err);
    if (!code)
        code = scpi_link_send(&s->link, s->dialect->command[DIALECT_IDENTIFY], timeout_s, err);
    for (int i = 0; i < RESYNC_ANSWERS_MAX && !code; i++) {
        code = scpi_link_receive(&s->link, timeout_s, err);
        if (!code && strcmp(s->link.answer, s->identity) == 0)
            return 0;
    }
    return code ? code : error_set(err, ERR_GARBAGE, "no identity within %d answers", RESYNC_ANSWERS_MAX);
}

static void scpi_close(void *state)
{
    struct scpi *s = state;
    if (!s)
        return;
    if (s->link.transport)
        scpi_link_close(&s->link);
    dialect_free(s->dialect);
    free(s);
}

static int scpi_open(struct driver_config *config, const struct transport_env *env, void **ret_state,
                     struct error *err)
{
    struct scpi *s = calloc(1, sizeof *s);
    if (!s)
        return error_set(err, ERR_MEMORY, "driver state of %s", config->name);
    s->config = config;
    s->range_v = s->nplc = NAN;
    int code = dialect_load(config->dialect_path, &s->dialect, NULL, err);
    if (!code)
        code = scpi_link_open(&s->link, env, config->name, config->resource, err);
    if (!code)
        code = query(s, s->dialect->command[DIALECT_IDENTIFY], s->dialect->timeout_s, err);
    if (!code) {
        snprintf(s->identity, sizeof s->identity, "%s", s->link.answer);
        struct error
            old; /* errors that were there before us are nobody's: reading them only empties the queue */
        code = read_errors(s, NULL, &old);
        if (code == ERR_REFUSED || code == ERR_RANGE)
            code = 0;
        else if (code && err)
            *err = old;
    }
    if (code) {
        error_at(err, config->name, s->command, 0);
        scpi_close(s);
        return code;
    }
    *ret_state = s;
    return 0;
}

/* A line feed ends what a cut left half sent. */
static int send_off(struct scpi_link *link, const struct dialect *dialect, int channel, struct error *err)
{
    char text[DIALECT_TEXT_MAX * 2];
    int code = dialect_format(dialect, DIALECT_OUTPUT_OFF, channel, 0, 0, text, sizeof text, err);
    if (!code)
        code = scpi_link_send(link, "", dialect->timeout_s, err);
    return code ? code : scpi_link_send(link, text, dialect->timeout_s, err);
}

static int scpi_off_unheard(struct driver_config *config, const struct transport_env *env, void *state,
                            int channel, struct error *err)
{
    struct scpi *s = state;
    struct dialect *dialect = NULL;
    struct scpi_link link = { 0 };
    if (s)
        return send_off(&s->link, s->dialect, channel, err);
    int code = dialect_load(config->dialect_path, &dialect, NULL, err);
    if (code)
        return code;
    code = scpi_link_open(&link, env, config->name, config->resource, err);
    if (!code) {
        code = send_off(&link, dialect, channel, err);
        if (!code) /* some forget what a host leaves behind */
            code = transport_drain(link.transport, env, OFF_LINGER_NS, err);
        scpi_link_close(&link);
    }
    dialect_free(dialect);
    return code;
}

static int scpi_describe(const struct driver_config *config, struct driver_description *ret,
                         struct json_problems *problems, struct error *err)
{
    struct dialect *d = NULL;
    int code = dialect_load(config->dialect_path, &d, problems, err);
    if (code)
        return code;
    if (d->class != config->class) {
        dialect_free(d);
        return error_set(err, ERR_INVALID, "dialect %s is of another class than the bench file says",
                         config->dialect_path);
    }
    *ret =
        (struct driver_description){ .channel_count = d->channel_count, .energises = d->class != CLASS_DMM };
    snprintf(ret->vendor, sizeof ret->vendor, "%s", d->vendor);
    for (int i = 0; i < d->channel_count; i++) {
        const struct dialect_channel *ch = &d->channel[i];
        ret->channel[i] = (struct bench_channel){
            .number = ch->number,
            .can_source = ch->can_source,
            .volt_min_v = ch->can_source ? ch->voltage.min : NAN,
            .volt_max_v = ch->can_source ? ch->voltage.max : NAN,
            .volt_step_v = ch->can_source ? ch->voltage.step : NAN,
            .limit_min_a = ch->can_source ? ch->limit.min : NAN,
            .limit_max_a = ch->can_source ? ch->limit.max : NAN,
            .settle_s = ch->settle_s,
            .measure_s = ch->measure_s,
        };
    }
    dialect_free(d);
    return 0;
}

const struct driver driver_scpi = {
    .name = "scpi",
    .classes = 1u << CLASS_PSU | 1u << CLASS_SMU | 1u << CLASS_DMM,
    .takes_dialect = true,
    .describe = scpi_describe,
    .open = scpi_open,
    .close = scpi_close,
    .request = scpi_request,
    .resync = scpi_resync,
    .off_unheard = scpi_off_unheard,
};
