/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * replay: recorded wire logs. NAME.log is what the trace layer wrote (drivers/trace.c); NAME.chk says which
 * driver, what it is asked, one request a line, and behind " = " what comes out. Replaying plays the
 * instrument: the driver must send exactly what is in the log, gets what it got, with its pauses, and each
 * outcome must be the one that is written down. Recording runs the requests against the simulated instrument
 * that the file names and writes both. */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/sim_rig.h"
#include "tests/wire/lab/lab.h"

enum { LINE_TEXT_MAX = 2048, FILE_MAX = 1 << 20, OUTCOME_MAX = 1024, ARGUMENTS_MAX = 3 };

/* ---- A log as a peer ---- */
struct entry {
    char way; /* '>' sent by the driver, '<' received, '!' an error of a read */
    int64_t time_ns;
    int code;
    size_t n, at;
    uint8_t bytes[4 * 256];
};

struct peer {
    struct entry *entry;
    size_t count, at;
    int64_t last_ns;   /* of the log */
    char failure[600]; /* the first difference */
};

struct replay {
    struct transport base;
    const struct transport_env *env;
    struct peer *peer;
};

static int differs(struct peer *peer, struct error *err, const char *what, const void *bytes, size_t n)
{
    char sent[200] = "", wanted[200] = "the end";
    const struct entry *e = peer->at < peer->count ? &peer->entry[peer->at] : NULL;
    text_escape(bytes, n, sent, sizeof sent);
    if (e)
        text_escape(e->bytes + e->at, e->n - e->at, wanted, sizeof wanted);
    if (!peer->failure[0])
        snprintf(peer->failure, sizeof peer->failure, "line %zu: the driver %s '%s', the log has %c '%s'",
                 peer->at + 1, what, sent, e ? e->way : ' ', wanted);
    return error_set(err, ERR_INTERNAL, "%s", peer->failure);
}

static int replay_write(struct transport *transport, const void *data, size_t n, int64_t deadline_ns,
                        struct error *err)
{
    struct peer *peer = ((struct replay *)transport)->peer;
    const uint8_t *next = data;
    (void)deadline_ns;
    while (n > 0) {
        struct entry *e = peer->at < peer->count ? &peer->entry[peer->at] : NULL;
        size_t part = e && e->n - e->at < n ? e->n - e->at : n;
        if (!e || e->way != '>' || memcmp(e->bytes + e->at, next, part) != 0)
            return differs(peer, err, "sends", next, n);
        peer->last_ns = e->time_ns;
        e->at += part;
        next += part;
        n -= part;
        peer->at += e->at == e->n;
    }
    return 0;
}

static int replay_read(struct transport *transport, void *data, size_t size, int64_t deadline_ns,
                       size_t *ret_n, struct error *err)
{
    struct replay *r = (struct replay *)transport;
    struct peer *peer = r->peer;
    struct entry *e = peer->at < peer->count ? &peer->entry[peer->at] : NULL;
    if (!e || e->way == '>')
        return differs(peer, err, "waits for an answer", "", 0);
    int64_t due_ns = clock_now(r->env->clock) + e->time_ns - peer->last_ns;
    if (e->way == '!' && e->code == ERR_TIMEOUT)
        due_ns = deadline_ns;
    int code = clock_sleep_until(r->env->actor, due_ns < deadline_ns ? due_ns : deadline_ns, -1);
    if (code)
        return error_set(err, code, "pause of the log");
    peer->last_ns = e->time_ns;
    if (e->way == '!') {
        peer->at++;
        return error_set(err, e->code, "as recorded");
    }
    size_t part = e->n - e->at < size ? e->n - e->at : size;
    memcpy(data, e->bytes + e->at, part);
    e->at += part;
    peer->at += e->at == e->n;
    *ret_n = part;
    return 0;
}

static void replay_flush(struct transport *transport)
{
    (void)transport; /* what the recorded driver threw away is in no log */
}

static void replay_close(struct transport *transport)
{
    free(transport);
}

static int replay_fd(const struct transport *transport)
{
    (void)transport;
    return -1;
}

static const struct transport_ops REPLAY = {
    .prefix = "replay",
    .read = replay_read,
    .write = replay_write,
    .flush = replay_flush,
    .close = replay_close,
    .fd = replay_fd,
};

static int replay_open(void *context, const struct transport_env *env, const char *name, const char *resource,
                       struct transport **ret, struct error *err)
{
    (void)name;
    (void)resource;
    struct replay *r = calloc(1, sizeof *r);
    if (!r)
        return error_set(err, ERR_MEMORY, "replay");
    *r = (struct replay){ .base.ops = &REPLAY, .env = env, .peer = context };
    *ret = &r->base;
    return 0;
}

/* Undoes text_escape. */
static size_t unescape(const char *text, uint8_t *out, size_t size)
{
    size_t n = 0;
    while (*text && n < size) {
        unsigned byte = (uint8_t)*text++;
        if (byte == '\\') {
            char c = *text++;
            byte = c == 'n' ? '\n' : c == 'r' ? '\r' : c == 't' ? '\t' : (uint8_t)c;
            if (c == 'x' && sscanf(text, "%2x", &byte) == 1)
                text += 2;
        }
        out[n++] = (uint8_t)byte;
    }
    return n;
}

static int read_log(const char *path, struct peer *peer)
{
    char *text = NULL, *save = NULL;
    struct error err = { 0 };
    if (text_read_file(path, FILE_MAX, &text, NULL, &err)) {
        fprintf(stderr, "%s\n", err.message);
        return -1;
    }
    size_t lines = 1;
    for (const char *p = text; *p; p++)
        lines += *p == '\n';
    peer->entry = calloc(lines, sizeof *peer->entry);
    int code = peer->entry ? 0 : -1;
    for (char *line = strtok_r(text, "\n", &save); line && !code; line = strtok_r(NULL, "\n", &save)) {
        struct entry *e = &peer->entry[peer->count++];
        long long s, ns;
        int end = 0;
        if (sscanf(line, "%lld.%9lld %c%n", &s, &ns, &e->way, &end) != 3 || line[end] != ' ' ||
            !strchr("<>!", e->way)) {
            fprintf(stderr, "%s:%zu: no line of a trace\n", path, peer->count);
            code = -1;
        } else {
            e->n = unescape(line + end + 1, e->bytes, sizeof e->bytes);
        }
        e->time_ns = s * NS_PER_S + ns;
        e->code = e->way == '!' && !code ? error_from_name(line + end + 1) : 0;
    }
    peer->last_ns = peer->count ? peer->entry[0].time_ns : 0;
    free(text);
    return code;
}

/* ---- Requests and outcomes as text ---- */
enum shape { PLAIN, VALUES, IDENTITY, READING, TEXT, BYTES };
static const struct request {
    const char *word;
    int op;
    bool takes_channel;
    int shape;
} REQUESTS[] = {
    { "identify", MESSAGE_IDENTIFY, false, IDENTITY },
    { "voltage", MESSAGE_SET_VOLTAGE, true, PLAIN },
    { "limit", MESSAGE_SET_LIMIT, true, PLAIN },
    { "protection", MESSAGE_SET_PROTECTION, true, PLAIN },
    { "output", MESSAGE_OUTPUT, true, VALUES },
    { "state", MESSAGE_STATE, true, VALUES },
    { "clear", MESSAGE_CLEAR_TRIP, true, VALUES },
    { "measure", MESSAGE_MEASURE, true, READING },
    { "configure", MESSAGE_CONFIGURE, true, PLAIN },
    { "temperature", MESSAGE_SET_TEMPERATURE, true, VALUES },
    { "query", MESSAGE_QUERY, false, TEXT },
    { "clock", MESSAGE_SPI_CLOCK, false, VALUES },
    { "drive", MESSAGE_SPI_DRIVE, false, PLAIN },
    { "batch", MESSAGE_SPI_BATCH, false, BYTES },
    { "off", MESSAGE_SAFE_OFF, true, VALUES },
};

/* "9f:3 05:1": bytes to send, and how many to read. */
static int make_batch(struct message *m, uint8_t *payload, const char *words)
{
    struct message_spi item[16] = { 0 };
    uint8_t tx[256];
    size_t tx_n = 0;
    for (const char *p = words; *p && m->count < 16; m->count++) {
        struct message_spi *it = &item[m->count];
        unsigned byte;
        int used = 0;
        while (tx_n < sizeof tx && sscanf(p, " %2x%n", &byte, &used) == 1) {
            tx[tx_n++] = (uint8_t)byte;
            it->tx_len++;
            p += used;
        }
        if (sscanf(p, ":%hu%n", &it->rx_len, &used) != 1)
            return -1;
        p += used;
        while (*p == ' ')
            p++;
    }
    memcpy(payload, item, m->count * sizeof *item);
    memcpy(payload + m->count * sizeof *item, tx, tx_n);
    m->payload_length = (uint32_t)(m->count * sizeof *item + tx_n);
    return 0;
}

static void describe_outcome(const struct request *r, const struct message *m, const uint8_t *payload,
                             char *out)
{
    size_t n = (size_t)snprintf(out, OUTCOME_MAX, "ok");
    switch (r->shape) {
    case VALUES:
        snprintf(out + n, OUTCOME_MAX - n, " %.9g %.9g flags %x", m->value[0], m->value[1], m->flags);
        break;
    case READING:
        snprintf(out + n, OUTCOME_MAX - n, " %.9g +- %.3g of %g flags %x", m->value[0], m->value[1],
                 m->value[2], m->flags);
        break;
    case BYTES:
        for (uint32_t i = 0; i < m->payload_length && n + 4 < OUTCOME_MAX; i++)
            n += (size_t)snprintf(out + n, OUTCOME_MAX - n, " %02x", payload[i]);
        break;
    case IDENTITY:
    case TEXT:
        out[n++] = ' ';
        for (uint32_t i = 0; i < m->payload_length && n + 1 < OUTCOME_MAX; i++)
            out[n++] = payload[i] ? (char)payload[i] : '|';
        out[n] = '\0';
        break;
    default:
        break;
    }
}

/* Performs one line, such as "voltage 1 0.8". False: no such request. */
static bool perform(struct sim_rig *rig, const char *line, char *out)
{
    char word[32] = "";
    int used = 0;
    double value[ARGUMENTS_MAX + 1] = { 0 };
    if (sscanf(line, "%31s %n", word, &used) != 1)
        return false;
    int count = sscanf(line + used, "%lf %lf %lf", &value[0], &value[1], &value[2]);
    if (strcmp(word, "wait") == 0 && count == 1) {
        snprintf(out, OUTCOME_MAX, "%s", sim_rig_wait(rig, value[0]) ? "failed" : "ok");
        return true;
    }
    if (strcmp(word, "resync") == 0) {
        int code = rig->driver->resync(rig->state, NULL);
        snprintf(out, OUTCOME_MAX, "%s", code ? error_name(code) : "ok");
        return true;
    }
    for (size_t i = 0; i < sizeof REQUESTS / sizeof *REQUESTS; i++) {
        const struct request *r = &REQUESTS[i];
        if (strcmp(r->word, word) != 0)
            continue;
        const double *from = r->takes_channel ? value + 1 : value;
        struct message m = { .magic = MESSAGE_MAGIC, .op = (uint16_t)r->op, .value = { from[0], from[1] } };
        m.channel = r->takes_channel ? (int16_t)value[0] : 0;
        if (r->shape == BYTES && make_batch(&m, rig->payload, line + used))
            return false;
        if (r->shape == TEXT) {
            m.payload_length = (uint32_t)strlen(line + used);
            memcpy(rig->payload, line + used, m.payload_length);
        }
        int code = sim_rig_request(rig, &m, NULL);
        if (code)
            snprintf(out, OUTCOME_MAX, "%s", error_name(code));
        else
            describe_outcome(r, &m, rig->payload, out);
        return true;
    }
    return false;
}

/* ---- A .chk file ---- */
struct script {
    char path[300], *text;
    const char *steps; /* behind the blank line */
    char driver[48], dialect[96], class[16], resource[200], bench[600];
    double spi_hz;
};

static int read_script(const char *path, struct script *s)
{
    static const char *const CLASSES[] = { "psu", "smu", "dmm", "spi", "chamber" };
    struct error err = { 0 };
    snprintf(s->path, sizeof s->path, "%s", path);
    if (text_read_file(path, FILE_MAX, &s->text, NULL, &err)) {
        fprintf(stderr, "%s\n", err.message);
        return -1;
    }
    const char *end = strstr(s->text, "\n\n");
    s->steps = end ? end + 2 : "";
    for (const char *line = s->text; end && line < end; line = strchr(line, '\n') + 1) {
        sscanf(line, "driver %47s", s->driver);
        sscanf(line, "dialect %95s", s->dialect);
        sscanf(line, "class %15s", s->class);
        sscanf(line, "resource %199s", s->resource);
        sscanf(line, "spi_hz %lf", &s->spi_hz);
        sscanf(line, "bench %599[^\n]", s->bench);
    }
    for (size_t i = 0; i < sizeof CLASSES / sizeof *CLASSES; i++) {
        if (strcmp(CLASSES[i], s->class) == 0 && driver_find(s->driver))
            return (int)i;
    }
    fprintf(stderr, "%s: needs lines `driver NAME` and `class psu|smu|dmm|spi|chamber`, then a blank line\n",
            path);
    return -1;
}

static void configure(struct sim_rig *rig, const struct script *s, int class)
{
    rig->driver = driver_find(s->driver);
    rig->config = (struct driver_config){ .name = "dut", .class = class, .spi_hz = s->spi_hz };
    snprintf(rig->config.resource, sizeof rig->config.resource, "%s", s->resource);
    if (s->dialect[0])
        snprintf(rig->config.dialect_path, sizeof rig->config.dialect_path, "configs/instruments/%s.json",
                 s->dialect);
}

/* Runs all steps. out: the file as it is now; NULL: compares instead. Returns the differences. */
static int run_steps(struct sim_rig *rig, const struct script *s, const struct peer *peer, FILE *out)
{
    int failures = 0, number = 0;
    char line[LINE_TEXT_MAX], outcome[OUTCOME_MAX];
    for (const char *p = s->steps; *p && !failures; p += strcspn(p, "\n"), p += *p == '\n') {
        snprintf(line, sizeof line, "%.*s", (int)strcspn(p, "\n"), p);
        char *wanted = strstr(line, " = ");
        if (wanted)
            *wanted = '\0';
        number++;
        if (line[0] == '#' || line[0] == '\0') {
            if (out)
                fprintf(out, "%s\n", line);
            continue;
        }
        if (!perform(rig, line, outcome)) {
            fprintf(stderr, "%s: step %d: no request '%s'\n", s->path, number, line);
            return 1;
        }
        if (out) {
            fprintf(out, "%s = %s\n", line, outcome);
        } else if (!wanted || strcmp(wanted + 3, outcome) != 0) {
            fprintf(stderr, "%s: step %d, %s: expected '%s', found '%s' %s\n", s->path, number, line,
                    wanted ? wanted + 3 : "", outcome, peer ? peer->failure : "");
            failures++;
        }
    }
    return failures;
}

int lab_record(const char *chk_path)
{
    struct sim_rig *rig = calloc(1, sizeof *rig);
    struct script s = { 0 };
    struct error err = { 0 };
    char path[320], trace[64], *log = NULL;
    size_t n = 0;
    int failures = 1, class = rig ? read_script(chk_path, &s) : -1;
    if (class >= 0 && sim_rig_start(rig, s.bench) == 0) {
        configure(rig, &s, class);
        const char *options = strchr(s.resource, '?'); /* units of a bus */
        snprintf(rig->config.resource, sizeof rig->config.resource, "sim:%s", options ? options : "");
        rig->env.trace_dir = rig->dir;
        lab_on_open(NULL, NULL);
        int code = rig->driver->open(&rig->config, &rig->env, &rig->state, &err);
        FILE *out = code ? NULL : fopen(chk_path, "w");
        if (out) {
            fprintf(out, "%.*s", (int)(s.steps - s.text), s.text);
            failures = run_steps(rig, &s, NULL, out);
            fclose(out);
        } else {
            fprintf(stderr, "%s: %s\n", chk_path, code ? err.message : "cannot be written");
        }
        if (rig->state)
            rig->driver->close(rig->state);
        rig->state = NULL;
        snprintf(trace, sizeof trace, "%s/dut.wire", rig->dir);
        snprintf(path, sizeof path, "%.*s.log", (int)strlen(chk_path) - 4, chk_path);
        if (!failures &&
            (text_read_file(trace, FILE_MAX, &log, &n, &err) || text_write_file(path, log, n, &err))) {
            fprintf(stderr, "%s\n", err.message);
            failures = 1;
        }
        free(log);
        sim_rig_stop(rig);
    }
    free(s.text);
    free(rig);
    return failures;
}

/* Plays a log on a clock of its own. */
static int play(const struct script *s, int class, struct peer *peer)
{
    struct sim_rig *rig = calloc(1, sizeof *rig);
    struct error err = { 0 };
    int failures = 1;
    if (!rig || sim_rig_start(rig, "{\"instruments\":[],\"rails\":{}}")) {
        free(rig);
        return 1;
    }
    configure(rig, s, class);
    lab_on_open(replay_open, peer);
    int code = rig->driver->open(&rig->config, &rig->env, &rig->state, &err);
    if (code)
        fprintf(stderr, "%s: open: %s\n", s->path, err.message);
    else
        failures = run_steps(rig, s, peer, NULL);
    sim_rig_stop(rig);
    free(rig);
    lab_on_open(NULL, NULL);
    if (!failures && peer->at < peer->count) {
        fprintf(stderr, "%s: %zu lines of the log are left over\n", s->path, peer->count - peer->at);
        failures++;
    }
    return failures;
}

int lab_replay(const char *log_path)
{
    struct script s = { 0 };
    struct peer peer = { 0 };
    char path[320];
    snprintf(path, sizeof path, "%.*s.chk", (int)strlen(log_path) - 4, log_path);
    int class = read_script(path, &s);
    int failures = class < 0 || read_log(log_path, &peer) ? 1 : play(&s, class, &peer);
    if (!failures)
        printf("%s: %zu lines\n", log_path, peer.count);
    free(peer.entry);
    free(s.text);
    return failures;
}
