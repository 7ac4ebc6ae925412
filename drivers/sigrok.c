/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * sigrok: logic analyzers and serial meters that libsigrok knows, through a child process
 * (drivers/sigrok_child.h, drivers/sigrok/). Resource: "sigrok:DRIVER[:KEY=VALUE]...", as sigrok-cli -d
 * takes it; a KEY is a scan option (conn, serialcomm ...) or a setting of the device, GROUP/KEY one of a
 * channel group. A child that is late, dead or wrong costs the request that met it: the next one meets a new
 * child. Samples of the last capture stay here until the next capture. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/driver.h"
#include "drivers/sigrok_child.h"
#include "instruments/la.h"

enum { METER_CHANNELS = 1 };
#define METER_S 0.5  /* of a reading, as meters go */
#define OPEN_S  10.0 /* firmware is loaded, serial lines are listened to */

struct sigrok {
    struct driver_config *config;
    const struct transport_env *env;
    struct sigrok_child child;
    char identity[4 * SIGROK_TEXT_MAX]; /* four texts with their NULs */
    size_t identity_n;
    uint32_t number; /* of the capture below; 0: none */
    size_t bytes;
    uint8_t bits[LA_BYTES_MAX];
};

/* One question, one answer. */
static int ask(struct sigrok *s, struct message *m, const void *payload, size_t n, double limit_s,
               struct error *err)
{
    int64_t deadline_ns = sigrok_child_deadline(limit_s);
    uint32_t seq = m->seq;
    int op = m->op;
    int code = sigrok_child_send(&s->child, m, payload, n, deadline_ns, err);
    if (!code)
        code = sigrok_child_receive(&s->child, s->env, op, deadline_ns, m, err);
    m->seq = seq;
    return code;
}

static int wrong(struct sigrok *s, struct error *err, const char *what)
{
    sigrok_child_kill(&s->child);
    return error_set(err, ERR_GARBAGE, "nightbench-sigrok answers with %s; it was ended", what);
}

/* "conn=sim" is the instrument's own pseudo-terminal of the simulated bench. */
static int device_text(const struct sigrok *s, char text[SIGROK_TEXT_MAX], struct error *err)
{
    static const char SIM[] = "conn=sim";
    const char *whole = s->config->resource + strlen("sigrok:"), *at = strstr(whole, SIM);
    const char *rest = at ? at + strlen(SIM) : "";
    char found[SIGROK_TEXT_MAX];
    snprintf(text, SIGROK_TEXT_MAX, "%s", whole);
    if (!at || (*rest != ':' && *rest != '\0'))
        return 0;
    int code = transport_sim_resource(s->env, s->config->name, found, sizeof found, err);
    if (code)
        return code;
    const char *path = strncmp(found, "serial:", 7) == 0 ? found + 7 : found;
    int n = snprintf(text, SIGROK_TEXT_MAX, "%.*sconn=%s%s", (int)(at - whole), whole, path, rest);
    return n < SIGROK_TEXT_MAX ? 0 : error_set(err, ERR_FULL, "%s: the resource is too long", path);
}

static int open_device(struct sigrok *s, struct error *err)
{
    char text[SIGROK_TEXT_MAX];
    struct message m = { .op = SIGROK_OPEN, .value = { s->config->class } };
    int code = device_text(s, text, err);
    if (!code)
        code = sigrok_child_start(&s->child, s->config->name, err);
    if (!code)
        code = ask(s, &m, text, strlen(text), OPEN_S, err);
    if (code == ERR_LINK)
        error_set(err, code,
                  "nightbench-sigrok ended while it opened the device; is it installed beside this program?");
    if (code) {
        sigrok_child_kill(&s->child);
        return code;
    }
    const uint8_t *said = sigrok_child_payload(&s->child);
    int ends = 0;
    for (uint32_t i = 0; i < m.payload_length; i++)
        ends += said[i] == '\0';
    if (m.payload_length > sizeof s->identity || ends != 4 || said[m.payload_length - 1] != '\0')
        return wrong(s, err, "no identity");
    memcpy(s->identity, said, m.payload_length);
    s->identity_n = m.payload_length;
    return 0;
}

static int do_identify(const struct sigrok *s, struct message *m, uint8_t *payload, size_t room,
                       struct error *err)
{
    if (s->identity_n > room)
        return error_set(err, ERR_INTERNAL, "no room for an identity");
    memcpy(payload, s->identity, s->identity_n);
    m->payload_length = (uint32_t)s->identity_n;
    return 0;
}

static int take_samples(struct sigrok *s, size_t bytes, int64_t deadline_ns, struct error *err)
{
    for (size_t have = 0; have < bytes;) {
        struct message m;
        int code = sigrok_child_receive(&s->child, s->env, SIGROK_DATA, deadline_ns, &m, err);
        if (code)
            return code;
        if (m.count != have || m.payload_length == 0 || m.payload_length > bytes - have)
            return wrong(s, err, "samples of another place");
        memcpy(s->bits + have, sigrok_child_payload(&s->child), m.payload_length);
        have += m.payload_length;
    }
    s->bytes = bytes;
    return 0;
}

/* In virtual time a capture takes the time that its samples say, and a reading its own: the child's host time
 * does not count. */
static int pass_time(const struct sigrok *s, double seconds, struct error *err)
{
    if (!clock_is_virtual(s->env->clock))
        return 0;
    int code =
        clock_sleep_until(s->env->actor, clock_now(s->env->clock) + (int64_t)(seconds * 1e9), s->env->cut_fd);
    return code ? error_set(err, code, "cut by a safe request") : 0;
}

static int do_capture(struct sigrok *s, struct message *m, const uint8_t *payload, struct error *err)
{
    struct message_la wish;
    if (s->config->class != CLASS_LA || m->payload_length != sizeof wish)
        return error_set(err, ERR_UNSUPPORTED, "%s captures no logic", s->config->name);
    memcpy(&wish, payload, sizeof wish);
    struct la_request request = { .rate_hz = wish.rate_hz,
                                  .channels = wish.channels,
                                  .samples = wish.samples,
                                  .trigger = wish.trigger,
                                  .trigger_channel = wish.trigger_channel,
                                  .before_percent = (int)wish.before_percent,
                                  .timeout_s = wish.timeout_s };
    int code = la_check(&request, err);
    if (code)
        return code;
    double limit_s = sigrok_capture_s(&wish) + 2 * SIGROK_GRACE_S;
    int64_t deadline_ns = sigrok_child_deadline(limit_s);
    s->number++; /* what was here is gone, also when this one fails */
    s->bytes = 0;
    code = ask(s, m, &wish, sizeof wish, limit_s, err);
    if (code)
        return code;
    double samples = m->value[1], unit = m->value[2];
    if (!(m->value[0] > 0) || !(samples >= 1 && samples <= wish.samples) || samples != floor(samples) ||
        !(unit >= 1 && unit <= 8) || unit != floor(unit) || samples * unit > LA_BYTES_MAX)
        return wrong(s, err, "a capture that was not asked for");
    code = take_samples(s, (size_t)(samples * unit), deadline_ns, err);
    if (!code)
        code = pass_time(s, samples / m->value[0], err);
    m->value[3] = s->number;
    m->payload_length = 0;
    return code;
}

static int do_fetch(const struct sigrok *s, struct message *m, uint8_t *payload, size_t room,
                    struct error *err)
{
    if (m->value[0] != s->number || s->bytes == 0)
        return error_set(err, ERR_CONFLICT, "capture %g is not there any more", m->value[0]);
    if (!(m->value[1] >= 0 && m->value[1] < (double)s->bytes))
        return error_set(err, ERR_RANGE, "offset %g is outside the capture of %zu bytes", m->value[1],
                         s->bytes);
    size_t offset = (size_t)m->value[1], n = s->bytes - offset;
    if (n > room)
        n = room;
    memcpy(payload, s->bits + offset, n);
    m->payload_length = (uint32_t)n;
    return 0;
}

/* The flags say what is to be thought of a value; a value that is no number has one that says so. */
static int do_measure(struct sigrok *s, struct message *m, struct error *err)
{
    int code = ask(s, m, NULL, 0, SIGROK_MEASURE_S + 2 * SIGROK_GRACE_S, err);
    if (code)
        return code;
    const uint32_t known = READING_OVERRANGE | READING_UNSETTLED | READING_STALE | READING_NOT_A_NUMBER;
    bool number = isfinite(m->value[0]);
    if (m->flags & ~known || number == ((m->flags & READING_NOT_A_NUMBER) != 0))
        return wrong(s, err, "flags that do not fit their value");
    if (!number)
        m->value[0] = NAN;
    m->payload_length = 0;
    return pass_time(s, METER_S, err);
}

/* Its dial and its pace are the meter's own: asking for the automatic range is all that can be granted. */
static int do_configure(const struct message *m, struct error *err)
{
    if (isnan(m->value[0]))
        return 0;
    return error_set(err, ERR_UNSUPPORTED, "the range of a serial meter is set by its dial");
}

static int serve(struct sigrok *s, struct message *m, uint8_t *payload, size_t room, struct error *err)
{
    switch (m->op) {
    case MESSAGE_IDENTIFY:
        return do_identify(s, m, payload, room, err);
    case MESSAGE_LA_CAPTURE:
        return do_capture(s, m, payload, err);
    case MESSAGE_LA_FETCH:
        return do_fetch(s, m, payload, room, err);
    case MESSAGE_MEASURE:
        return do_measure(s, m, err);
    case MESSAGE_CONFIGURE:
        return do_configure(m, err);
    default:
        return error_set(err, ERR_UNSUPPORTED, "the sigrok driver does not serve operation %u", m->op);
    }
}

static int sigrok_resync(void *state, struct error *err)
{
    struct sigrok *s = state;
    return sigrok_child_lives(&s->child) ? 0 : open_device(s, err);
}

static int sigrok_request(void *state, struct message *message, uint8_t *payload, size_t room,
                          struct error *err)
{
    struct sigrok *s = state;
    struct message work = *message;
    int64_t start_ns = clock_host_now();
    int code = sigrok_resync(s, err);
    if (!code)
        code = serve(s, &work, payload, room, err);
    if (code) {
        error_at(err, s->config->name, "", clock_host_now() - start_ns);
        return code;
    }
    *message = work;
    return 0;
}

static void sigrok_close(void *state)
{
    struct sigrok *s = state;
    if (!s)
        return;
    sigrok_child_kill(&s->child);
    free(s);
}

static int sigrok_open(struct driver_config *config, const struct transport_env *env, void **ret_state,
                       struct error *err)
{
    struct sigrok *s = calloc(1, sizeof *s);
    if (!s)
        return error_set(err, ERR_MEMORY, "driver state of %s", config->name);
    s->config = config;
    s->env = env;
    s->child.fd = -1;
    int code = open_device(s, err);
    if (code) {
        error_at(err, config->name, "", 0);
        sigrok_close(s);
        return code;
    }
    *ret_state = s;
    return 0;
}

/* As far as it can be said without libsigrok: which drivers and keys there are, the child knows. */
static int check_resource(const char *resource, struct error *err)
{
    const char *text = resource + strlen("sigrok:");
    if (strncmp(resource, "sigrok:", 7) != 0 || strcspn(text, ":") == 0 || strlen(text) >= SIGROK_TEXT_MAX)
        return error_set(err, ERR_INVALID, "resource '%s': write sigrok:DRIVER[:KEY=VALUE]...", resource);
    for (text += strcspn(text, ":"); *text; text += strcspn(text, ":")) {
        size_t n = strcspn(++text, ":"), name = strcspn(text, "=");
        if (name == 0 || name >= n)
            return error_set(err, ERR_INVALID, "resource '%s': '%.*s' is no KEY=VALUE", resource, (int)n,
                             text);
    }
    return 0;
}

static int sigrok_describe(const struct driver_config *config, struct driver_description *ret,
                           struct json_problems *problems, struct error *err)
{
    (void)problems;
    int code = check_resource(config->resource, err);
    if (code)
        return code;
    *ret = (struct driver_description){ .vendor = "sigrok" };
    if (config->class != CLASS_DMM)
        return 0;
    ret->channel_count = METER_CHANNELS;
    ret->channel[0] = (struct bench_channel){ .number = 1, .measure_s = METER_S };
    return 0;
}

const struct driver driver_sigrok = {
    .name = "sigrok",
    .classes = 1u << CLASS_LA | 1u << CLASS_DMM,
    .link = DRIVER_OWN,
    .describe = sigrok_describe,
    .open = sigrok_open,
    .close = sigrok_close,
    .request = sigrok_request,
    .resync = sigrok_resync,
};
