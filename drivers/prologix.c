/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * prologix: GPIB behind an adapter that speaks Prologix's "++" commands, over TCP or a serial line:
 * "prologix:tcp:HOST:1234/ADDRESS", "prologix:serial:/dev/ttyUSB0/ADDRESS". The adapter listens to the bus
 * only when told: every message with a question is followed by "++read eoi", and again when the adapter's
 * own time-out has passed before ours. One instrument per adapter: the address is set once. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/transport.h"

enum { ADDRESS_MAX = 30, RESOURCE_MAX = 256, ANSWER_MAX = 120, ESCAPE = 0x1b, READ_TIMEOUT_MS = 1000 };

#define OPEN_S  2.0
#define SLACK_S 0.3 /* of the way between adapter and us */

static const char READ_COMMAND[] = "++read eoi\n";

struct prologix {
    struct transport base;
    const struct transport_env *env;
    struct transport *inner;
    bool waiting; /* for an answer of which no byte has come */
};

static int64_t after(const struct prologix *t, double seconds)
{
    return clock_now(t->env->clock) + (int64_t)(seconds * 1e9);
}

static int prologix_read(struct transport *transport, void *data, size_t size, int64_t deadline_ns,
                         size_t *ret_n, struct error *err)
{
    struct prologix *t = (struct prologix *)transport;
    for (;;) {
        int64_t slice_ns = after(t, READ_TIMEOUT_MS * 1e-3 + SLACK_S);
        bool last = !t->waiting || slice_ns >= deadline_ns;
        int code = transport_read(t->inner, data, size, last ? deadline_ns : slice_ns, ret_n, err);
        if (code == 0)
            t->waiting = false;
        if (code != ERR_TIMEOUT || last)
            return code;
        code = transport_write(t->inner, READ_COMMAND, sizeof READ_COMMAND - 1, deadline_ns, err);
        if (code)
            return code;
    }
}

static bool is_special(char byte)
{
    return byte == ESCAPE || byte == '\r' || byte == '\n' || byte == '+';
}

/* The line feed that ends a message ends it for the adapter, too, which puts its own onto the bus. */
static int prologix_write(struct transport *transport, const void *data, size_t n, int64_t deadline_ns,
                          struct error *err)
{
    struct prologix *t = (struct prologix *)transport;
    const char *text = data;
    if (n > 0 && text[n - 1] == '\n')
        n--;
    if (n == 0)
        return 0; /* an empty line is nothing to an adapter */
    char *line = malloc(2 * n + 1 + sizeof READ_COMMAND);
    if (!line)
        return error_set(err, ERR_MEMORY, "message");
    size_t length = 0;
    for (size_t i = 0; i < n; i++) {
        if (is_special(text[i]))
            line[length++] = ESCAPE;
        line[length++] = text[i];
    }
    line[length++] = '\n';
    bool question = memchr(text, '?', n) != NULL;
    if (question) {
        memcpy(line + length, READ_COMMAND, sizeof READ_COMMAND - 1);
        length += sizeof READ_COMMAND - 1;
    }
    int code = transport_write(t->inner, line, length, deadline_ns, err);
    free(line);
    t->waiting = !code && question;
    return code;
}

static void prologix_flush(struct transport *transport)
{
    transport_flush(((struct prologix *)transport)->inner);
}

static void prologix_close(struct transport *transport)
{
    struct prologix *t = (struct prologix *)transport;
    transport_close(t->inner);
    free(t);
}

static int prologix_fd(const struct transport *transport)
{
    const struct transport *inner = ((const struct prologix *)transport)->inner;
    return inner->ops->fd(inner);
}

/* Sets the adapter up and makes sure that it is one: it must say its version. */
static int set_up(struct prologix *t, long address, struct error *err)
{
    char text[200], answer[ANSWER_MAX];
    size_t have = 0;
    int n = snprintf(text, sizeof text,
                     "++savecfg 0\n++mode 1\n++auto 0\n++eoi 1\n++eos 2\n++eot_enable 0\n"
                     "++read_tmo_ms %d\n++addr %ld\n++ver\n",
                     READ_TIMEOUT_MS, address);
    int64_t end_ns = after(t, OPEN_S);
    transport_flush(t->inner);
    int code = transport_write(t->inner, text, (size_t)n, end_ns, err);
    while (!code && (have == 0 || answer[have - 1] != '\n')) {
        if (have == sizeof answer)
            return error_set(err, ERR_GARBAGE, "the version of the adapter has no end");
        code = transport_read_all(t->inner, answer + have, 1, end_ns, err);
        have += !code;
    }
    return code == ERR_TIMEOUT ? error_set(err, ERR_NO_ANSWER, "the adapter does not say its version") : code;
}

static int prologix_open(const struct transport_env *env, const char *name, const char *address,
                         struct transport **ret, struct error *err)
{
    char inner[RESOURCE_MAX];
    const char *slash = strrchr(address, '/');
    char *end = NULL;
    long number = slash ? strtol(slash + 1, &end, 10) : -1;
    size_t n = slash ? (size_t)(slash - address) : sizeof inner;
    if (!end || end == slash + 1 || *end || number < 0 || number > ADDRESS_MAX || n >= sizeof inner)
        return error_set(err, ERR_INVALID,
                         "resource 'prologix:%s': write prologix:tcp:HOST:1234/ADDRESS, 0 <= ADDRESS <= %d",
                         address, ADDRESS_MAX);
    memcpy(inner, address, n);
    inner[n] = '\0';
    if (strncmp(inner, "prologix:", 9) == 0)
        return error_set(err, ERR_INVALID, "resource 'prologix:%s': an adapter behind an adapter", address);
    struct prologix *t = calloc(1, sizeof *t);
    if (!t)
        return error_set(err, ERR_MEMORY, "transport");
    *t = (struct prologix){ .base.ops = &transport_prologix, .env = env };
    int code = transport_open_plain(env, name, inner, &t->inner, err);
    if (!code)
        code = set_up(t, number, err);
    if (code) {
        transport_close(t->inner);
        free(t);
        error_prefix(err, "prologix:%s", address);
        return code;
    }
    *ret = &t->base;
    return 0;
}

const struct transport_ops transport_prologix = {
    .prefix = "prologix",
    .open = prologix_open,
    .read = prologix_read,
    .write = prologix_write,
    .flush = prologix_flush,
    .close = prologix_close,
    .fd = prologix_fd,
};
