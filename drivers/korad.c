/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * korad: the KA3005P supply and its relatives (Tenma 72-2540, Velleman LABPS3005D) on their serial line.
 * Nothing has a terminator: the unit ends a command by a pause, so that every command is followed by one, and
 * answers have fixed lengths. Some units send a stray byte behind an answer; it is gone before the next
 * question. There is no error queue: whatever is set is read back. Commands and quirks as libsigrok's
 * korad-kaxxxxp has them. */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/device.h"

enum {
    STATUS_CV = 0x01, /* constant voltage; else constant current */
    STATUS_OCP = 0x20,
    STATUS_OUTPUT = 0x40,
    STATUS_OVP = 0x80
};

enum { NUMBER_LENGTH = 5, IDENTITY_MAX = 48, SET_TRIES = 2 };

#define PAUSE_S        0.07 /* between commands */
#define ANSWER_S       0.5
#define IDENTITY_END_S 0.1 /* silence that ends an identity, whose length nobody knows */
#define SETTLE_S       0.1
#define MEASURE_S      0.15

/* Read back accuracy [K], from memory of the data sheet: 0.5 % + 20 mV, 0.5 % + 3 mA. */
static const struct korad_model {
    const char *prefix; /* of the identity */
    const char *vendor, *model;
    double volt_max_v, limit_max_a;
} MODELS[] = {
    { "KORADKA3005P", "KORAD", "KA3005P", 31.0, 5.1 },
    { "KORADKA3003P", "KORAD", "KA3003P", 31.0, 3.1 },
    { "KORADKD3005P", "KORAD", "KD3005P", 31.0, 5.1 },
    { "TENMA72-2540", "TENMA", "72-2540", 31.0, 5.1 },
    { "TENMA 72-2540", "TENMA", "72-2540", 31.0, 5.1 },
    { "VELLEMANLABPS3005D", "VELLEMAN", "LABPS3005D", 31.0, 5.1 },
};
enum { MODEL_COUNT = sizeof MODELS / sizeof *MODELS };

#define STEP_V      0.01
#define STEP_A      0.001
#define ACCURACY    0.005
#define OFFSET_V    0.02
#define OFFSET_A    0.003
#define DESCRIBED_V 31.0 /* of the largest model: the unit's own limit is enforced when it is known */
#define DESCRIBED_A 5.1

struct korad {
    struct device device; /* first */
    const struct korad_model *model;
    char firmware[16];
    int64_t free_ns; /* when the unit listens again */
};

static int wait_until_free(const struct korad *s, struct error *err)
{
    if (clock_now(s->device.env->clock) >= s->free_ns)
        return 0;
    int code = clock_sleep_until(s->device.env->actor, s->free_ns, s->device.env->cut_fd);
    return code ? error_set(err, code, "pause between commands") : 0;
}

static int tell(struct korad *s, const char *text, struct error *err)
{
    snprintf(s->device.command, sizeof s->device.command, "%s", text);
    int code = wait_until_free(s, err);
    if (code)
        return code;
    transport_flush(s->device.transport); /* the stray byte, and late answers */
    code = transport_write(s->device.transport, text, strlen(text), device_after(&s->device, ANSWER_S), err);
    s->free_ns = device_after(&s->device, PAUSE_S);
    return code;
}

static int ask(struct korad *s, const char *text, void *answer, size_t n, struct error *err)
{
    int code = tell(s, text, err);
    if (!code)
        code = transport_read_all(s->device.transport, answer, n, device_after(&s->device, ANSWER_S), err);
    s->free_ns = device_after(&s->device, PAUSE_S);
    return code;
}

/* "05.00" or "1.000": four digits and a point. */
static int ask_number(struct korad *s, const char *text, double *ret, struct error *err)
{
    char answer[NUMBER_LENGTH + 1] = "", *end;
    int code = ask(s, text, answer, NUMBER_LENGTH, err);
    if (code)
        return code;
    double value = strtod(answer, &end);
    if (strspn(answer, "0123456789.") != NUMBER_LENGTH || *end || !strchr(answer, '.'))
        return error_set(err, ERR_GARBAGE, "%s is not answered by a number of five characters", text);
    *ret = value;
    return 0;
}

static int ask_status(struct korad *s, unsigned *ret, struct error *err)
{
    uint8_t byte = 0;
    int code = ask(s, "STATUS?", &byte, 1, err);
    if (!code)
        *ret = byte;
    return code;
}

/* A command that came too early is lost without a word, so a setting that reads back wrong is sent once more.
 */
static int set_and_check(struct korad *s, const char *set, const char *query, double value, double step,
                         struct error *err)
{
    double back = NAN;
    for (int i = 0; i < SET_TRIES; i++) {
        int code = tell(s, set, err);
        if (!code)
            code = ask_number(s, query, &back, err);
        if (code)
            return code;
        if (fabs(back - value) < step / 2)
            return 0;
    }
    return error_set(err, ERR_REFUSED, "%s reads back %g", set, back);
}

static int set_voltage(struct korad *s, double volt, struct error *err)
{
    char text[24];
    if (!(volt >= -STEP_V / 2 && volt <= s->model->volt_max_v + STEP_V / 2))
        return error_set(err, ERR_RANGE, "%g V is outside 0 .. %g V of %s", volt, s->model->volt_max_v,
                         s->model->model);
    double rounded = fabs(round(volt / STEP_V) * STEP_V);
    snprintf(text, sizeof text, "VSET1:%05.2f", rounded);
    return set_and_check(s, text, "VSET1?", rounded, STEP_V, err);
}

static int set_limit(struct korad *s, double ampere, struct error *err)
{
    char text[24];
    if (!(ampere >= -STEP_A / 2 && ampere <= s->model->limit_max_a + STEP_A / 2))
        return error_set(err, ERR_RANGE, "%g A is outside 0 .. %g A of %s", ampere, s->model->limit_max_a,
                         s->model->model);
    double rounded = fabs(round(ampere / STEP_A) * STEP_A);
    snprintf(text, sizeof text, "ISET1:%05.3f", rounded);
    return set_and_check(s, text, "ISET1?", rounded, STEP_A, err);
}

/* Sends a switch and looks at its bit. */
static int switch_bit(struct korad *s, const char *text, unsigned bit, bool on, bool *ret_on,
                      struct error *err)
{
    unsigned status = 0;
    for (int i = 0; i < SET_TRIES; i++) {
        int code = tell(s, text, err);
        if (!code)
            code = ask_status(s, &status, err);
        if (code)
            return code;
        if (((status & bit) != 0) == on)
            break;
    }
    *ret_on = (status & bit) != 0;
    return 0;
}

static int do_output(struct korad *s, struct message *m, struct error *err)
{
    bool wanted = m->value[0] != 0, on;
    int code = switch_bit(s, wanted ? "OUT1" : "OUT0", STATUS_OUTPUT, wanted, &on, err);
    if (code)
        return code;
    if (on != wanted)
        return error_set(err, ERR_REFUSED, "output was switched %s, read back says %s", wanted ? "on" : "off",
                         on ? "on" : "off");
    m->value[0] = on;
    return 0;
}

static int do_safe_off(struct korad *s, struct message *m, struct error *err)
{
    bool on;
    int code = switch_bit(s, "OUT0", STATUS_OUTPUT, false, &on, err);
    if (!code)
        m->value[0] = on;
    return code;
}

/* Its over-voltage protection is a switch that acts at the set voltage; a level of its own it has not. */
static int do_protection(struct korad *s, const struct message *m, struct error *err)
{
    bool wanted = m->value[1] != 0, on;
    if (!isnan(m->value[0]))
        return error_set(err, ERR_UNSUPPORTED, "%s has no over-voltage level", s->model->model);
    int code = switch_bit(s, wanted ? "OCP1" : "OCP0", STATUS_OCP, wanted, &on, err);
    if (!code && on != wanted)
        return error_set(err, ERR_REFUSED, "OCP was switched %s, read back says %s", wanted ? "on" : "off",
                         on ? "on" : "off");
    return code;
}

static int do_state(struct korad *s, struct message *m, struct error *err)
{
    unsigned status = 0;
    double volt, ampere;
    int code = ask_status(s, &status, err);
    if (!code)
        code = ask_number(s, "VSET1?", &volt, err);
    if (!code)
        code = ask_number(s, "ISET1?", &ampere, err);
    if (code)
        return code;
    bool on = status & STATUS_OUTPUT;
    m->flags = on ? MESSAGE_ON : 0;
    if (on && !(status & STATUS_CV))
        m->flags |= MESSAGE_LIMITING;
    m->value[0] = volt;
    m->value[1] = ampere;
    return 0;
}

static int do_measure(struct korad *s, struct message *m, struct error *err)
{
    bool is_volt = m->value[0] == QUANTITY_VOLTAGE;
    unsigned status = 0;
    double value;
    if (!is_volt && m->value[0] != QUANTITY_CURRENT)
        return error_set(err, ERR_UNSUPPORTED, "%s measures volts and amperes", s->model->model);
    int code = ask_number(s, is_volt ? "VOUT1?" : "IOUT1?", &value, err);
    if (!code)
        code = ask_status(s, &status, err);
    if (code)
        return code;
    double offset = is_volt ? OFFSET_V : OFFSET_A, step = is_volt ? STEP_V : STEP_A;
    m->flags = (status & STATUS_OUTPUT) && !(status & STATUS_CV) ? READING_LIMITING : 0;
    m->value[0] = value;
    m->value[1] = hypot((ACCURACY * value + offset) / sqrt(3), step / sqrt(12));
    m->value[2] = is_volt ? s->model->volt_max_v : s->model->limit_max_a;
    return 0;
}

static int do_identify(const struct korad *s, struct message *m, uint8_t *payload, size_t room,
                       struct error *err)
{
    int n = snprintf((char *)payload, room, "%s%c%s%c%c%s", s->model->vendor, '\0', s->model->model, '\0',
                     '\0', s->firmware);
    if (n < 0 || (size_t)n >= room)
        return error_set(err, ERR_INTERNAL, "no room for an identity");
    m->payload_length = (uint32_t)n + 1;
    return 0;
}

/* A raw question: its answer is what comes until the line is quiet. */
static int do_query(struct korad *s, struct message *m, uint8_t *payload, size_t room, struct error *err)
{
    char text[sizeof s->device.command];
    if (m->payload_length >= sizeof text)
        return error_set(err, ERR_RANGE, "command is longer than %zu bytes", sizeof text - 1);
    memcpy(text, payload, m->payload_length);
    text[m->payload_length] = '\0';
    int code = tell(s, text, err);
    size_t have = 0, n;
    bool question = strchr(text, '?') != NULL;
    double wait_s = ANSWER_S;
    while (!code && question && have < room && have < IDENTITY_MAX) {
        struct error quiet = { 0 };
        code = transport_read(s->device.transport, payload + have, room - have,
                              device_after(&s->device, wait_s), &n, &quiet);
        if (!code)
            have += n;
        else if (err && !(code == ERR_TIMEOUT && have > 0))
            *err = quiet;
        wait_s = IDENTITY_END_S;
    }
    if (code == ERR_TIMEOUT && have > 0)
        code = 0; /* the end of the answer */
    s->free_ns = device_after(&s->device, PAUSE_S);
    if (!code)
        m->payload_length = (uint32_t)have;
    return code;
}

static int serve(void *state, struct message *m, uint8_t *payload, size_t room, struct error *err)
{
    struct korad *s = state;
    if (m->op == MESSAGE_IDENTIFY)
        return do_identify(s, m, payload, room, err);
    if (m->op == MESSAGE_QUERY)
        return do_query(s, m, payload, room, err);
    if (m->channel != 1)
        return error_set(err, ERR_INVALID, "%s has no channel %d", s->model->model, m->channel);
    switch (m->op) {
    case MESSAGE_SET_VOLTAGE:
        return set_voltage(s, m->value[0], err);
    case MESSAGE_SET_LIMIT:
        return set_limit(s, m->value[0], err);
    case MESSAGE_SET_PROTECTION:
        return do_protection(s, m, err);
    case MESSAGE_OUTPUT:
        return do_output(s, m, err);
    case MESSAGE_STATE:
        return do_state(s, m, err);
    case MESSAGE_MEASURE:
        return do_measure(s, m, err);
    case MESSAGE_SAFE_OFF:
        return do_safe_off(s, m, err);
    default:
        return error_set(err, ERR_UNSUPPORTED, "the korad driver does not serve operation %u", m->op);
    }
}

static int korad_request(void *state, struct message *message, uint8_t *payload, size_t room,
                         struct error *err)
{
    return device_request(state, serve, message, payload, room, err);
}

/* Reads the identity; what is behind it (01 or bc on some units) is no text. */
static int identify(struct korad *s, struct error *err)
{
    struct message m = { .payload_length = 5 };
    uint8_t text[IDENTITY_MAX + 1] = "*IDN?";
    int code = do_query(s, &m, text, IDENTITY_MAX, err);
    if (code)
        return code;
    size_t n = 0;
    while (n < m.payload_length && isprint(text[n]))
        n++;
    text[n] = '\0';
    for (int i = 0; i < MODEL_COUNT; i++) {
        size_t prefix = strlen(MODELS[i].prefix);
        if (strncmp((const char *)text, MODELS[i].prefix, prefix) != 0)
            continue;
        s->model = &MODELS[i];
        snprintf(s->firmware, sizeof s->firmware, "%.15s", (const char *)text + prefix);
        return 0;
    }
    return error_set(err, ERR_IDENTITY, "'%s' is no supply that this driver knows", (const char *)text);
}

/* A half-sent command ends by the pause; an answer that is late is let go by; the identity proves the line.
 */
static int korad_resync(void *state, struct error *err)
{
    struct korad *s = state;
    const struct korad_model *was = s->model;
    s->free_ns = device_after(&s->device, PAUSE_S);
    int code = transport_drain(s->device.transport, s->device.env, (int64_t)(IDENTITY_END_S * 1e9), err);
    if (!code)
        code = identify(s, err);
    if (!code && was && s->model != was)
        return error_set(err, ERR_IDENTITY, "a %s answers where a %s was", s->model->model, was->model);
    return code;
}

static int korad_open(struct driver_config *config, const struct transport_env *env, void **ret_state,
                      struct error *err)
{
    return device_open(sizeof(struct korad), config, env, korad_resync, ret_state, err);
}

static int korad_describe(const struct driver_config *config, struct driver_description *ret,
                          struct json_problems *problems, struct error *err)
{
    (void)config;
    (void)problems;
    (void)err;
    *ret = (struct driver_description){ .channel_count = 1,
                                        .channel = { { .number = 1,
                                                       .can_source = true,
                                                       .volt_min_v = 0,
                                                       .volt_max_v = DESCRIBED_V,
                                                       .volt_step_v = STEP_V,
                                                       .limit_min_a = 0,
                                                       .limit_max_a = DESCRIBED_A,
                                                       .settle_s = SETTLE_S,
                                                       .measure_s = MEASURE_S } },
                                        .vendor = "KORAD",
                                        .energises = true };
    return 0;
}

const struct driver driver_korad = {
    .name = "korad",
    .link = DRIVER_BYTES,
    .classes = 1u << CLASS_PSU,
    .describe = korad_describe,
    .open = korad_open,
    .close = device_close,
    .request = korad_request,
    .resync = korad_resync,
};
