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

#include "drivers/driver.h"
#include "drivers/scpi_ask.h"
#include "drivers/scpi_chamber.h"
#include "drivers/scpi_log.h"
#include "instruments/bench.h"

enum { RESYNC_ANSWERS_MAX = 8 };
enum { METER_RANGE_MAX_V = 10000, METER_NPLC_MAX = 1000 };

/* Instruments say 9.91E37 for "not a number" and +-9.9E37 for overflow. */
#define SCPI_NAN_FROM 9.89e37
#define SCPI_NAN_CODE 9.905e37
/* What an instrument is given to take in a message before its connection is closed. */
#define OFF_LINGER_NS (20 * NS_PER_MS)

struct scpi {
    struct driver_config *config;
    struct scpi_talk talk;
    char identity[256];
    uint32_t prepared;    /* bit per channel number */
    bool watchdog_armed;  /* by us, over this connection */
    double range_v, nplc; /* of a meter; NAN: automatic, as found */
    struct scpi_log log[DIALECT_CHANNELS_MAX];
};

/* Settings that must precede the first setting of a channel after a connect (source function, meter
 * function). */
static int prepare(struct scpi *s, int channel, struct error *err)
{
    uint32_t bit = 1u << (channel & 31);
    if (!scpi_talk_has(&s->talk, DIALECT_PREPARE) || (s->prepared & bit))
        return 0;
    int code = scpi_talk_set_value(&s->talk, DIALECT_PREPARE, channel, 0, 0, err);
    if (!code)
        s->prepared |= bit;
    return code;
}

static int set_in_span(struct scpi *s, int command, int channel, const struct dialect_span *span,
                       double value, struct error *err)
{
    if (!(value >= span->min - span->step / 2 && value <= span->max + span->step / 2))
        return error_set(err, ERR_RANGE, "%s: %g is outside %g .. %g of %s channel %d",
                         dialect_command_name(command), value, span->min, span->max, s->talk.dialect->name,
                         channel);
    int code = prepare(s, channel, err);
    return code ? code
                : scpi_talk_set_value(&s->talk, command, channel, dialect_round(span, value), span->decimals,
                                      err);
}

/* Before the first output: from now on the instrument switches off by itself when everybody falls silent. */
static int arm_watchdog(struct scpi *s, struct error *err)
{
    static const int GET[] = { DIALECT_GET_WATCHDOG };
    double found[SCPI_TALK_ANSWERS_MAX];
    if (!scpi_talk_has(&s->talk, DIALECT_ARM_WATCHDOG) || s->watchdog_armed)
        return 0;
    int code = scpi_talk_set_value(&s->talk, DIALECT_ARM_WATCHDOG, 0, s->talk.dialect->watchdog_s, 0, err);
    if (!code)
        code = scpi_talk_ask(&s->talk, GET, 1, 0, s->talk.dialect->timeout_s, found, err);
    if (!code && !(found[0] == 1 && fabs(found[1] - s->talk.dialect->watchdog_s) < 0.5))
        code = error_set(err, ERR_REFUSED, "the watchdog reads back %g, %g s; %g s were set", found[0],
                         found[1], s->talk.dialect->watchdog_s);
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
    if (!scpi_talk_has(&s->talk, DIALECT_ARM_WATCHDOG))
        return;
    for (int i = 0; i < s->talk.dialect->channel_count && !code; i++) {
        double on = 1;
        if (!s->talk.dialect->channel[i].can_source)
            continue;
        code = scpi_talk_ask_one(&s->talk, DIALECT_GET_OUTPUT, s->talk.dialect->channel[i].number, &on,
                                 &ignored);
        if (!code && on != 0)
            return;
    }
    if (!code)
        code = scpi_talk_set_value(&s->talk, DIALECT_DISARM_WATCHDOG, 0, 0, 0, &ignored);
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
        code = scpi_talk_set_value(&s->talk, on ? DIALECT_OUTPUT_ON : DIALECT_OUTPUT_OFF, channel, 0, 0, err);
    if (!code)
        code = scpi_talk_ask_one(&s->talk, DIALECT_GET_OUTPUT, channel, ret_on, err);
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
    int code = scpi_talk_ask_one(&s->talk, command, channel, &value, err);
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
    if (code || (!ocp && !scpi_talk_has(&s->talk, DIALECT_OCP_OFF)))
        return code;
    code = scpi_talk_set_value(&s->talk, ocp ? DIALECT_OCP_ON : DIALECT_OCP_OFF, m->channel, 0, 0, err);
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
    double value[SCPI_TALK_ANSWERS_MAX];
    if (scpi_talk_has(&s->talk, DIALECT_GET_MODE)) {
        mode = n;
        commands[n++] = DIALECT_GET_MODE;
    }
    if (scpi_talk_has(&s->talk, DIALECT_GET_TRIP)) {
        trip = n;
        trips = scpi_talk_answers(s->talk.dialect->command[DIALECT_GET_TRIP]);
        commands[n++] = DIALECT_GET_TRIP; /* last: may bring several answers */
    }
    int code = scpi_talk_ask(&s->talk, commands, n, m->channel, s->talk.dialect->timeout_s, value, err);
    if (!code)
        code = check_status(value + 3, (mode >= 0) + trips, err);
    if (code)
        return code;
    bool on = value[0] != 0;
    m->flags = on ? MESSAGE_ON : 0;
    if (on && mode >= 0 && limiting(s->talk.dialect, value[mode]))
        m->flags |= MESSAGE_LIMITING;
    if (trip >= 0 && tripped(s->talk.dialect, value + trip, trips))
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
        code = scpi_talk_set_value(&s->talk, DIALECT_CLEAR_TRIP, m->channel, 0, 0, err);
    if (!code)
        code = do_state(s, m, err);
    if (!code && (m->flags & MESSAGE_TRIPPED))
        return error_set(err, ERR_TRIPPED, "the protection is still tripped: its cause is still there");
    return code;
}

static double measure_timeout_s(const struct scpi *s, const struct dialect_channel *ch)
{
    double aperture_s = isnan(s->nplc) ? ch->measure_s : s->nplc * s->talk.dialect->nplc_s;
    return s->talk.dialect->timeout_s + 4 * aperture_s + ch->measure_s;
}

static int do_measure(struct scpi *s, const struct dialect_channel *ch, struct message *m, struct error *err)
{
    int quantity = m->value[0] == QUANTITY_CURRENT ? QUANTITY_CURRENT : QUANTITY_VOLTAGE;
    int commands[2] = { quantity == QUANTITY_CURRENT ? DIALECT_MEASURE_CURRENT : DIALECT_MEASURE_VOLTAGE,
                        DIALECT_GET_MODE };
    bool with_mode = s->talk.dialect->mode_with_reading;
    double value[SCPI_TALK_ANSWERS_MAX];
    int code = ch->can_source ? 0 : prepare(s, m->channel, err);
    if (!code)
        code = scpi_talk_ask(&s->talk, commands, with_mode && s->talk.dialect->joins ? 2 : 1, m->channel,
                             measure_timeout_s(s, ch), value, err);
    if (!code && isalpha((unsigned char)s->talk.link.answer[0]))
        code =
            error_set(err, ERR_GARBAGE, "'%.20s' is no reading", s->talk.link.answer); /* but a state: "ON" */
    if (!code && with_mode && !s->talk.dialect->joins)
        code = scpi_talk_ask_one(&s->talk, DIALECT_GET_MODE, m->channel, &value[1], err);
    if (!code && with_mode)
        code = check_status(value + 1, 1, err);
    if (code)
        return code;
    m->flags = with_mode && limiting(s->talk.dialect, value[1]) ? READING_LIMITING : 0;
    if (fabs(value[0]) >= SCPI_NAN_FROM) {
        m->flags |= READING_NOT_A_NUMBER | (fabs(value[0]) < SCPI_NAN_CODE ? READING_OVERRANGE : 0);
        value[0] = NAN;
    }
    if (dialect_overdue(s->talk.dialect, clock_wall_now()))
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
        code = scpi_talk_set_value(&s->talk, DIALECT_AUTO_RANGE, m->channel, 0, 0, err);
    else if (!code)
        code = scpi_talk_set_value(&s->talk, DIALECT_SET_RANGE, m->channel, range_v, 6, err);
    if (!code && !isnan(nplc))
        code = scpi_talk_set_value(&s->talk, DIALECT_SET_NPLC, m->channel, nplc, 3, err);
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

static int do_log(struct scpi *s, const struct dialect_channel *ch, struct message *m, uint8_t *payload,
                  size_t room, struct error *err)
{
    struct scpi_log *log = &s->log[ch - s->talk.dialect->channel];
    if (!scpi_talk_has(&s->talk, DIALECT_LOG_FETCH))
        return error_set(err, ERR_UNSUPPORTED, "%s has no logger", s->talk.dialect->name);
    if (m->op == MESSAGE_LOG_READ)
        return scpi_log_read(&s->talk, log, m, payload, room, err);
    if (m->op == MESSAGE_LOG_STOP)
        return scpi_log_stop(&s->talk, log, m, err);
    int code = prepare(s, m->channel, err);
    return code ? code : scpi_log_start(&s->talk, log, m, err);
}

/* Nobody knows what a raw setting has changed. */
static int do_query(struct scpi *s, struct message *m, uint8_t *payload, size_t room, struct error *err)
{
    bool changed = false;
    int code = scpi_ask_query(&s->talk, m, payload, room, &changed, err);
    if (changed) {
        s->prepared = 0;
        s->range_v = s->nplc = NAN;
    }
    return code;
}

/* Chambers that cannot be switched have nothing to switch off: their set point is all they have. */
static int serve_chamber(struct scpi *s, const struct dialect_channel *ch, struct message *m,
                         struct error *err)
{
    bool switches = scpi_talk_has(&s->talk, DIALECT_OUTPUT_OFF);
    int code;
    switch (m->op) {
    case MESSAGE_SET_TEMPERATURE:
        code = prepare(s, m->channel, err);
        return code ? code : scpi_chamber_set(&s->talk, ch, m, err);
    case MESSAGE_CHAMBER_SETUP:
        code = prepare(s, m->channel, err);
        return code ? code : scpi_chamber_setup(&s->talk, m, err);
    case MESSAGE_STATE:
        return scpi_chamber_state(&s->talk, ch, m, err);
    case MESSAGE_MEASURE:
        if (m->value[0] == QUANTITY_TEMPERATURE)
            return scpi_chamber_measure(&s->talk, ch, m, err);
        return error_set(err, ERR_UNSUPPORTED, "a chamber measures temperature only");
    case MESSAGE_CLEAR_TRIP:
        return scpi_talk_set_value(&s->talk, DIALECT_CLEAR_TRIP, m->channel, 0, 0, err);
    case MESSAGE_OUTPUT:
        return do_output(s, m, err);
    case MESSAGE_SAFE_OFF:
        if (switches)
            return do_safe_off(s, m, err);
        return error_set(err, ERR_UNSUPPORTED, "%s has no switch", s->talk.dialect->name);
    default:
        return error_set(err, ERR_UNSUPPORTED, "a chamber does not serve operation %u", m->op);
    }
}

static int serve(struct scpi *s, struct message *m, uint8_t *payload, size_t room, struct error *err)
{
    if (m->op == MESSAGE_IDENTIFY)
        return scpi_ask_identity(s->talk.dialect, s->identity, m, payload, room, err);
    if (m->op == MESSAGE_QUERY)
        return do_query(s, m, payload, room, err);
    const struct dialect_channel *ch = dialect_channel(s->talk.dialect, m->channel);
    if (!ch)
        return error_set(err, ERR_INVALID, "%s has no channel %d", s->talk.dialect->name, m->channel);
    if (s->talk.dialect->class == CLASS_CHAMBER)
        return serve_chamber(s, ch, m, err);
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
    case MESSAGE_LOG_START:
    case MESSAGE_LOG_READ:
    case MESSAGE_LOG_STOP:
        return do_log(s, ch, m, payload, room, err);
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
    int64_t start_ns = clock_now(s->talk.link.env->clock);
    s->talk.command[0] = '\0';
    int code = serve(s, &work, payload, room, err);
    if (code) {
        error_at(err, s->config->name, s->talk.command, clock_now(s->talk.link.env->clock) - start_ns);
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
    double timeout_s = s->talk.dialect->timeout_s;
    const char *clear = s->talk.dialect->command[DIALECT_CLEAR];
    const char *identify = s->talk.dialect->command[DIALECT_IDENTIFY];
    int64_t start_ns = clock_now(s->talk.link.env->clock);
    int code = scpi_link_send(&s->talk.link, clear, timeout_s, err);
    if (!code)
        code = scpi_link_send(&s->talk.link, clear, timeout_s, err);
    if (!code)
        code = transport_drain(s->talk.link.transport, s->talk.link.env,
                               (int64_t)(s->talk.dialect->resync_quiet_s * 1e9), err);
    if (!code)
        code = scpi_link_send(&s->talk.link, identify, timeout_s, err);
    for (int i = 0; i < RESYNC_ANSWERS_MAX && !code; i++) {
        code = scpi_link_receive(&s->talk.link, timeout_s, err);
        if (!code && strcmp(s->talk.link.answer, s->identity) == 0)
            return 0;
    }
    if (!code)
        code = error_set(err, ERR_GARBAGE, "no identity within %d answers", RESYNC_ANSWERS_MAX);
    error_at(err, s->config->name, identify, clock_now(s->talk.link.env->clock) - start_ns);
    return code;
}

static void scpi_close(void *state)
{
    struct scpi *s = state;
    if (!s)
        return;
    if (s->talk.link.transport)
        scpi_link_close(&s->talk.link);
    dialect_free(s->talk.dialect);
    free(s);
}

static int open_link(struct scpi_link *link, const struct driver_config *config,
                     const struct transport_env *env, const struct dialect *dialect, struct error *err)
{
    int code = scpi_link_open(link, env, config->name, config->resource, err);
    if (!code) {
        link->crlf = dialect->crlf;
        link->pause_s = dialect->pause_s;
        scpi_link_rest(link, link->pause_s); /* somebody else may have spoken just now: a daemon that died */
    }
    return code;
}

static int scpi_open(struct driver_config *config, const struct transport_env *env, void **ret_state,
                     struct error *err)
{
    struct scpi *s = calloc(1, sizeof *s);
    if (!s)
        return error_set(err, ERR_MEMORY, "driver state of %s", config->name);
    s->config = config;
    s->range_v = s->nplc = NAN;
    int64_t start_ns = clock_now(env->clock);
    int code = dialect_load(config->dialect_path, &s->talk.dialect, NULL, err);
    if (!code)
        code = open_link(&s->talk.link, config, env, s->talk.dialect, err);
    if (!code)
        code = scpi_talk_query(&s->talk, s->talk.dialect->command[DIALECT_IDENTIFY],
                               s->talk.dialect->timeout_s, err);
    if (!code) {
        snprintf(s->identity, sizeof s->identity, "%s", s->talk.link.answer);
        struct error
            old; /* errors that were there before us are nobody's: reading them only empties the queue */
        code = scpi_talk_errors(&s->talk, NULL, &old);
        if (code == ERR_REFUSED || code == ERR_RANGE)
            code = 0;
        else if (code && err)
            *err = old;
    }
    if (code) {
        error_at(err, config->name, s->talk.command, clock_now(env->clock) - start_ns);
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
        return send_off(&s->talk.link, s->talk.dialect, channel, err);
    int code = dialect_load(config->dialect_path, &dialect, NULL, err);
    if (code)
        return code;
    code = open_link(&link, config, env, dialect, err);
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
    *ret = (struct driver_description){ .channel_count = d->channel_count,
                                        .energises = d->class == CLASS_PSU || d->class == CLASS_SMU };
    snprintf(ret->vendor, sizeof ret->vendor, "%s", d->vendor);
    for (int i = 0; i < d->channel_count; i++) {
        const struct dialect_channel *ch = &d->channel[i];
        ret->channel[i] = (struct bench_channel){
            .number = ch->number,
            .can_source = ch->can_source,
            .temp_min_c = ch->temperature.min,
            .temp_max_c = ch->temperature.max,
            .log_min_s = d->log.period_min_s,
            .log_max_s = d->log.period_max_s,
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
    .classes = 1u << CLASS_PSU | 1u << CLASS_SMU | 1u << CLASS_DMM | 1u << CLASS_CHAMBER,
    .takes_dialect = true,
    .describe = scpi_describe,
    .line = transport_line,
    .open = scpi_open,
    .close = scpi_close,
    .request = scpi_request,
    .resync = scpi_resync,
    .off_unheard = scpi_off_unheard,
};
