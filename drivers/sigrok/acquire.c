/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * acquire: a session is made, run in the process's own main context until it has what was asked for or time
 * is up, and thrown away. The process ends at once when its driver's end of the socket closes. */
#include "drivers/sigrok/acquire.h"

#include <glib-unix.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "drivers/sigrok_wire.h"
#include "instruments/keeper_client.h"

enum {
    ENOUGH_MS = 300, /* most devices end by themselves when they have sent what was asked for */
    FRESH = 2,       /* the reading of a session that counts */
    FDS_MAX = 64
};

struct session {
    struct device *device;
    struct sr_session *session;
    GSource *enough; /* stops the session; NULL as long as something is missing */
    bool late;
    struct error failure; /* of the feed, code 0: none */
    /* logic */
    uint32_t wanted, have, trigger_sample;
    size_t unit_bytes;
    uint8_t *bits;
    /* meter */
    const struct sr_channel *channel;
    uint32_t readings;
    bool read;
    float value;
    int mq, unit;
    uint32_t mqflags;
};

static gboolean on_enough(gpointer context)
{
    struct session *s = context;
    if (sr_session_is_running(s->session))
        sr_session_stop(s->session);
    return G_SOURCE_REMOVE;
}

/* Not from inside of the feed: a driver that is just about to end by itself would end twice. */
static void stop_in(struct session *s, guint ms)
{
    if (s->enough)
        return;
    s->enough = g_timeout_source_new(ms);
    g_source_set_callback(s->enough, on_enough, s, NULL);
    g_source_attach(s->enough, s->device->loop);
}

static void fail(struct session *s, int code, const char *why)
{
    error_set(&s->failure, code, "%s", why);
    stop_in(s, 0);
}

static void take_logic(struct session *s, const struct sr_datafeed_logic *logic)
{
    if (s->wanted == 0 || s->have == s->wanted || s->failure.code || logic->unitsize == 0)
        return;
    if (!s->bits) {
        s->unit_bytes = logic->unitsize;
        if (s->unit_bytes > sizeof(uint64_t) || s->unit_bytes * s->wanted > LA_BYTES_MAX) {
            fail(s, ERR_RANGE, "so many samples of this analyzer are more than 4 MiB");
            return;
        }
        s->bits = g_malloc(s->unit_bytes * s->wanted);
    }
    if (logic->unitsize != s->unit_bytes) {
        fail(s, ERR_GARBAGE, "samples change their size");
        return;
    }
    uint64_t n = logic->length / logic->unitsize;
    if (n > s->wanted - s->have)
        n = s->wanted - s->have;
    memcpy(s->bits + s->have * s->unit_bytes, logic->data, n * s->unit_bytes);
    s->have += (uint32_t)n;
    if (s->have == s->wanted)
        stop_in(s, ENOUGH_MS);
}

static void take_analog(struct session *s, const struct sr_datafeed_analog *analog)
{
    guint channels = g_slist_length(analog->meaning->channels);
    gint place = s->channel ? g_slist_index(analog->meaning->channels, s->channel) : -1;
    if (place < 0 || analog->num_samples == 0 || analog->num_samples > G_MAXUINT16)
        return;
    s->readings += analog->num_samples;
    float *values = g_new(float, (size_t)channels * analog->num_samples);
    if (sr_analog_to_float(analog, values) == SR_OK) {
        s->value = values[(size_t)(analog->num_samples - 1) * channels + (guint)place];
        s->mq = (int)analog->meaning->mq;
        s->unit = (int)analog->meaning->unit;
        s->mqflags = (uint32_t)analog->meaning->mqflags;
        s->read = s->readings >= FRESH; /* the first may have lain in a buffer since the last session */
        if (s->read)
            stop_in(s, 0);
    }
    g_free(values);
}

static void on_packet(const struct sr_dev_inst *instance, const struct sr_datafeed_packet *packet,
                      void *context)
{
    struct session *s = context;
    (void)instance;
    if (packet->type == SR_DF_LOGIC)
        take_logic(s, packet->payload);
    else if (packet->type == SR_DF_ANALOG)
        take_analog(s, packet->payload);
    else if (packet->type == SR_DF_TRIGGER && s->trigger_sample == UINT32_MAX)
        s->trigger_sample = s->have;
}

static gboolean on_late(gpointer context)
{
    struct session *s = context;
    s->late = true;
    sr_session_stop(s->session);
    return G_SOURCE_REMOVE;
}

static gboolean on_gone(gint fd, GIOCondition condition, gpointer context)
{
    (void)fd;
    (void)condition;
    (void)context;
    _exit(0);
}

/* Until the feed has what was asked for, ends by itself, or limit_s have passed. trigger may be NULL. */
static int run(struct session *s, struct sr_trigger *trigger, double limit_s, struct error *err)
{
    struct device *device = s->device;
    GSource *late = g_timeout_source_new((guint)(limit_s * keeper_client_time_scale() * 1000));
    GSource *gone = g_unix_fd_source_new(SIGROK_FD, G_IO_HUP | G_IO_ERR);
    g_source_set_callback(late, on_late, s, NULL);
    g_source_set_callback(gone, G_SOURCE_FUNC(on_gone), NULL, NULL);
    device->log[0] = '\0';
    int failure = sr_session_new(device->context, &s->session);
    if (!failure)
        failure = sr_session_dev_add(s->session, device->instance);
    if (!failure && trigger)
        failure = sr_session_trigger_set(s->session, trigger);
    if (!failure)
        failure = sr_session_datafeed_callback_add(s->session, on_packet, s);
    if (!failure)
        failure = sr_session_start(s->session);
    if (!failure) {
        g_source_attach(late, device->loop);
        g_source_attach(gone, device->loop);
        failure = sr_session_run(s->session);
    }
    g_source_destroy(late);
    g_source_destroy(gone);
    g_source_unref(late);
    g_source_unref(gone);
    if (s->enough) {
        g_source_destroy(s->enough);
        g_source_unref(s->enough);
    }
    if (s->session)
        sr_session_destroy(s->session);
    if (failure)
        return device_error(device, err, ERR_IO, failure, "the acquisition does not run");
    if (s->failure.code && err)
        *err = s->failure;
    return s->failure.code;
}

/* ---- Logic ---- */
/* Enables whole groups of eight, up to the highest input of the mask: there are drivers that take as many as
 * are enabled for the lowest ones, or lose those of a broken group. ret_trigger: the channel of that input.
 */
static int choose_inputs(const struct device *device, uint64_t mask, int trigger_input,
                         struct sr_channel **ret_trigger, struct error *err)
{
    uint64_t missing = mask;
    for (GSList *l = sr_dev_inst_channels_get(device->instance); l; l = l->next) {
        struct sr_channel *channel = l->data;
        bool logic = channel->type == SR_CHANNEL_LOGIC && channel->index < LA_INPUTS_MAX;
        bool wanted = logic && mask >> channel->index & 1;
        int failure = sr_dev_channel_enable(channel, logic && mask >> (channel->index & ~7) != 0);
        if (failure)
            return device_error(device, err, ERR_REFUSED, failure, channel->name);
        if (wanted)
            missing &= ~(1ull << channel->index);
        if (wanted && channel->index == trigger_input)
            *ret_trigger = channel;
    }
    for (int i = 0; missing; i++, missing >>= 1) {
        if (missing & 1)
            return error_set(err, ERR_INVALID, "the analyzer has no input %d", i);
    }
    return 0;
}

static int set_u64(const struct device *device, uint32_t key, uint64_t value)
{
    return sr_config_set(device->instance, NULL, key, g_variant_new_uint64(value));
}

/* What is seen on inputs that nobody has asked for is nobody's business. */
static void hide_others(struct session *s, uint64_t mask)
{
    uint8_t keep[sizeof mask];
    for (size_t i = 0; i < sizeof keep; i++)
        keep[i] = mask >> 8 * i & 0xff;
    for (size_t i = 0; i < s->have * s->unit_bytes; i++)
        s->bits[i] &= keep[i % s->unit_bytes];
}

/* Not every driver refuses a rate that its device has not. Rates are listed, or given as least, most and
 * step. */
static int check_rate(const struct device *device, uint64_t rate, struct error *err)
{
    GVariant *all = NULL, *part;
    gsize n = 0;
    uint64_t nearest = rate;
    if (sr_config_list(device->driver, device->instance, NULL, SR_CONF_SAMPLERATE, &all) != SR_OK)
        return 0; /* one rate, or told nowhere */
    if ((part = g_variant_lookup_value(all, "samplerate-steps", G_VARIANT_TYPE("at")))) {
        const uint64_t *span = g_variant_get_fixed_array(part, &n, sizeof *span);
        if (n >= 2)
            nearest = rate < span[0] ? span[0] : rate > span[1] ? span[1] : rate;
        g_variant_unref(part);
    } else if ((part = g_variant_lookup_value(all, "samplerates", G_VARIANT_TYPE("at")))) {
        const uint64_t *list = g_variant_get_fixed_array(part, &n, sizeof *list);
        for (gsize i = 0; i < n; i++) {
            if (i == 0 || fabs((double)list[i] - (double)rate) < fabs((double)nearest - (double)rate))
                nearest = list[i];
        }
        g_variant_unref(part);
    }
    g_variant_unref(all);
    if (nearest == rate)
        return 0;
    return error_set(err, ERR_RANGE, "the analyzer does not sample at %g Hz; the nearest is %g Hz",
                     (double)rate, (double)nearest);
}

static double rate_in_force(const struct device *device)
{
    GVariant *value = NULL;
    if (sr_config_get(device->driver, device->instance, NULL, SR_CONF_SAMPLERATE, &value) != SR_OK)
        return 0;
    double rate = (double)g_variant_get_uint64(value);
    g_variant_unref(value);
    return rate;
}

/* Drivers without triggers take one and ignore it: the list of what they know is asked first. */
static bool knows_match(const struct device *device, int32_t match)
{
    GVariant *list = NULL;
    gsize n = 0;
    bool found = false;
    if (sr_config_list(device->driver, device->instance, NULL, SR_CONF_TRIGGER_MATCH, &list) != SR_OK)
        return false;
    const int32_t *known = g_variant_get_fixed_array(list, &n, sizeof *known);
    for (gsize i = 0; i < n; i++)
        found |= known[i] == match;
    g_variant_unref(list);
    return found;
}

static int make_trigger(const struct device *device, const struct message_la *wish,
                        struct sr_channel *channel, struct sr_trigger **ret, struct error *err)
{
    static const int32_t MATCH[] = { [LA_LOW] = SR_TRIGGER_ZERO,
                                     [LA_HIGH] = SR_TRIGGER_ONE,
                                     [LA_RISING] = SR_TRIGGER_RISING,
                                     [LA_FALLING] = SR_TRIGGER_FALLING,
                                     [LA_EITHER] = SR_TRIGGER_EDGE };
    if (!knows_match(device, MATCH[wish->trigger]))
        return error_set(err, ERR_UNSUPPORTED, "the analyzer has no trigger of that kind");
    /* Not every analyzer can choose; what it keeps is said by where the trigger lies. */
    sr_config_set(device->instance, NULL, SR_CONF_CAPTURE_RATIO, g_variant_new_uint64(wish->before_percent));
    struct sr_trigger *trigger = sr_trigger_new("nightbench");
    int failure = sr_trigger_match_add(sr_trigger_stage_add(trigger), channel, MATCH[wish->trigger], 0);
    if (failure) {
        sr_trigger_free(trigger);
        return device_error(device, err, ERR_REFUSED, failure, "trigger");
    }
    *ret = trigger;
    return 0;
}

int acquire_capture(struct device *device, const struct message_la *wish, struct capture *ret,
                    struct error *err)
{
    struct session s = { .device = device, .wanted = wish->samples, .trigger_sample = UINT32_MAX };
    struct sr_channel *channel = NULL;
    struct sr_trigger *trigger = NULL;
    int code = choose_inputs(device, wish->channels, wish->trigger_channel, &channel, err);
    if (code)
        return code;
    uint64_t rate = (uint64_t)llround(wish->rate_hz);
    code = check_rate(device, rate, err);
    if (code)
        return code;
    int failure = set_u64(device, SR_CONF_SAMPLERATE, rate);
    if (failure)
        return device_error(device, err, ERR_RANGE, failure, "sample rate");
    failure = set_u64(device, SR_CONF_LIMIT_SAMPLES, wish->samples);
    if (failure)
        return device_error(device, err, ERR_RANGE, failure, "number of samples");
    if (wish->trigger != LA_AT_ONCE)
        code = make_trigger(device, wish, channel, &trigger, err);
    if (!code)
        code = run(&s, trigger, sigrok_capture_s(wish) + SIGROK_GRACE_S, err);
    if (trigger)
        sr_trigger_free(trigger);
    if (!code && s.late && s.have == 0)
        code = error_set(err, ERR_TIMEOUT,
                         wish->trigger != LA_AT_ONCE ? "the trigger did not come"
                                                     : "the analyzer sends nothing");
    else if (!code && s.have < s.wanted && (s.late || s.trigger_sample == UINT32_MAX))
        code = error_set(err, ERR_TIMEOUT, "the capture ended after %u of %u samples", s.have, s.wanted);
    ret->rate_hz = rate_in_force(device);
    if (!code && !(ret->rate_hz > 0))
        code = error_set(err, ERR_GARBAGE, "the analyzer does not say its sample rate");
    if (code) {
        g_free(s.bits);
        return code;
    }
    hide_others(&s, wish->channels);
    ret->trigger_sample = s.trigger_sample;
    ret->samples = s.have; /* some count what has passed before the trigger */
    ret->unit_bytes = s.unit_bytes;
    ret->bits = s.bits;
    return 0;
}

/* ---- Meters ---- */
static const struct sr_channel *choose_analog(const struct device *device, int number)
{
    const struct sr_channel *found = NULL;
    int n = 0;
    for (GSList *l = sr_dev_inst_channels_get(device->instance); l; l = l->next) {
        struct sr_channel *channel = l->data;
        bool wanted = channel->type == SR_CHANNEL_ANALOG && ++n == number;
        sr_dev_channel_enable(channel, wanted);
        if (wanted)
            found = channel;
    }
    return found;
}

/* A meter that sends by itself has filled its line's buffer since somebody looked last. */
static void forget_input(void)
{
    for (int fd = SIGROK_FD + 1; fd < FDS_MAX; fd++) {
        if (isatty(fd))
            tcflush(fd, TCIFLUSH);
    }
}

/* A display of something else is no value of what was asked for. */
static int check_meaning(const struct session *s, int quantity, struct error *err)
{
    static const struct {
        int mq, unit;
        const char *name;
    } WANTED[] = { [QUANTITY_VOLTAGE] = { SR_MQ_VOLTAGE, SR_UNIT_VOLT, "volts" },
                   [QUANTITY_CURRENT] = { SR_MQ_CURRENT, SR_UNIT_AMPERE, "amperes" },
                   [QUANTITY_TEMPERATURE] = { SR_MQ_TEMPERATURE, SR_UNIT_CELSIUS, "degrees Celsius" } };
    const uint32_t other = SR_MQFLAG_AC | SR_MQFLAG_DIODE | SR_MQFLAG_RELATIVE;
    if (s->mq != WANTED[quantity].mq || s->unit != WANTED[quantity].unit)
        return error_set(err, ERR_CONFLICT, "the meter does not show %s: turn its dial",
                         WANTED[quantity].name);
    if (s->mqflags & other)
        return error_set(err, ERR_CONFLICT, "the meter shows %s: set it back to plain d.c.",
                         s->mqflags & SR_MQFLAG_AC      ? "alternating current"
                         : s->mqflags & SR_MQFLAG_DIODE ? "a diode's drop"
                                                        : "a difference (relative mode)");
    return 0;
}

/* The decimal number that became this float: 1.234, not 1.23399997. libsigrok's own count of digits cannot be
 * used: some of its drivers forget the prefix of the unit. */
static double displayed(float value)
{
    char text[32];
    snprintf(text, sizeof text, "%.7g", (double)value);
    return strtod(text, NULL);
}

int acquire_reading(struct device *device, int channel, int quantity, double *ret_value, uint32_t *ret_flags,
                    struct error *err)
{
    const uint32_t old = SR_MQFLAG_HOLD | SR_MQFLAG_MAX | SR_MQFLAG_MIN | SR_MQFLAG_REFERENCE;
    struct session s = { .device = device, .trigger_sample = UINT32_MAX };
    s.channel = choose_analog(device, channel);
    if (!s.channel)
        return error_set(err, ERR_INVALID, "the meter has no channel %d", channel);
    set_u64(device, SR_CONF_LIMIT_SAMPLES, FRESH); /* those that cannot are stopped */
    forget_input();
    int code = run(&s, NULL, SIGROK_MEASURE_S, err);
    if (!code && !s.read)
        code = error_set(err, ERR_TIMEOUT, "the meter sends no reading");
    if (!code)
        code = check_meaning(&s, quantity, err);
    if (code)
        return code;
    double value = displayed(s.value);
    *ret_value = value;
    *ret_flags = (isfinite(value) ? 0 : READING_NOT_A_NUMBER) | (isinf(value) ? READING_OVERRANGE : 0) |
                 (s.mqflags & old ? READING_STALE : 0) |
                 (s.mqflags & SR_MQFLAG_UNSTABLE ? READING_UNSETTLED : 0);
    return 0;
}
