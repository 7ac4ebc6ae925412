/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * prologix: GPIB behind an adapter that speaks Prologix's "++" commands, over TCP or a serial line:
 * "prologix:tcp:HOST:1234/ADDRESS", "prologix:serial:/dev/ttyUSB0/ADDRESS". The adapter listens to the bus
 * only when told: every message with a question is followed by "++read eoi", and again when the adapter's
 * own time-out has passed before ours. Instruments behind one adapter share it: one port, one connection
 * (adapters take no second one), and each message goes to its address first. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "drivers/driver.h"
#include "drivers/visa.h"

enum {
    ADDRESS_MAX = 30,
    RESOURCE_MAX = 256,
    ANSWER_MAX = 120,
    ADDRESS_ROOM = 16,
    ESCAPE = 0x1b,
    READ_TIMEOUT_MS = 1000
};

#define OPEN_S  2.0
#define SLACK_S 0.3 /* of the way between adapter and us */

static const char READ_COMMAND[] = "++read eoi\n";

/* The adapter, for all instruments of one port. */
struct bus {
    const struct transport_env *env;
    int holders, address;    /* address: that the adapter is set to */
    struct transport *inner; /* NULL once it has been lost */
};

struct prologix {
    struct transport base;
    struct bus *bus;
    int address;
    bool waiting; /* for an answer of which no byte has come */
};

static int64_t after(const struct prologix *t, double seconds)
{
    return clock_now(t->bus->env->clock) + (int64_t)(seconds * 1e9);
}

/* Whoever holds it lets go when he finds out. */
static void lose(struct bus *bus)
{
    transport_close(bus->inner);
    bus->inner = NULL;
    if (bus->env->line && *bus->env->line == bus)
        *bus->env->line = NULL;
}

static int bus_read(struct bus *bus, void *data, size_t size, int64_t deadline_ns, size_t *ret_n,
                    struct error *err)
{
    if (!bus->inner)
        return error_set(err, ERR_LINK, "the adapter was lost");
    int code = transport_read(bus->inner, data, size, deadline_ns, ret_n, err);
    if (code == ERR_LINK)
        lose(bus);
    return code;
}

static int bus_write(struct bus *bus, const void *data, size_t n, int64_t deadline_ns, struct error *err)
{
    if (!bus->inner)
        return error_set(err, ERR_LINK, "the adapter was lost");
    int code = transport_write(bus->inner, data, n, deadline_ns, err);
    if (code == ERR_LINK)
        lose(bus);
    return code;
}

static int prologix_read(struct transport *transport, void *data, size_t size, int64_t deadline_ns,
                         size_t *ret_n, struct error *err)
{
    struct prologix *t = (struct prologix *)transport;
    for (;;) {
        int64_t slice_ns = after(t, READ_TIMEOUT_MS * 1e-3 + SLACK_S);
        bool last = !t->waiting || slice_ns >= deadline_ns;
        int code = bus_read(t->bus, data, size, last ? deadline_ns : slice_ns, ret_n, err);
        if (code == 0)
            t->waiting = false;
        if (code != ERR_TIMEOUT || last)
            return code;
        code = bus_write(t->bus, READ_COMMAND, sizeof READ_COMMAND - 1, deadline_ns, err);
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
    char *line = malloc(ADDRESS_ROOM + 2 * n + 1 + sizeof READ_COMMAND);
    if (!line)
        return error_set(err, ERR_MEMORY, "message");
    size_t length = 0;
    if (t->bus->address != t->address)
        length = (size_t)snprintf(line, ADDRESS_ROOM, "++addr %d\n", t->address);
    t->bus->address = t->address;
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
    int code = bus_write(t->bus, line, length, deadline_ns, err);
    free(line);
    t->waiting = !code && question;
    return code;
}

static void prologix_flush(struct transport *transport)
{
    const struct bus *bus = ((struct prologix *)transport)->bus;
    if (bus->inner)
        transport_flush(bus->inner);
}

static void leave(struct bus *bus)
{
    if (!bus || --bus->holders > 0)
        return;
    lose(bus);
    free(bus);
}

static void prologix_close(struct transport *transport)
{
    leave(((struct prologix *)transport)->bus);
    free(transport);
}

static int prologix_fd(const struct transport *transport)
{
    const struct transport *inner = ((const struct prologix *)transport)->bus->inner;
    return inner ? inner->ops->fd(inner) : -1;
}

/* Sets the adapter up and makes sure that it is one: it must say its version. */
static int set_up(struct bus *bus, struct error *err)
{
    char text[200], answer[ANSWER_MAX];
    size_t have = 0;
    int n = snprintf(text, sizeof text,
                     "++savecfg 0\n++mode 1\n++auto 0\n++eoi 1\n++eos 2\n++eot_enable 0\n"
                     "++read_tmo_ms %d\n++addr %d\n++ver\n",
                     READ_TIMEOUT_MS, bus->address);
    int64_t end_ns = clock_now(bus->env->clock) + (int64_t)(OPEN_S * 1e9);
    transport_flush(bus->inner);
    int code = transport_write(bus->inner, text, (size_t)n, end_ns, err);
    while (!code && (have == 0 || answer[have - 1] != '\n')) {
        if (have == sizeof answer)
            return error_set(err, ERR_GARBAGE, "the version of the adapter has no end");
        code = transport_read_all(bus->inner, answer + have, 1, end_ns, err);
        have += !code;
    }
    return code == ERR_TIMEOUT ? error_set(err, ERR_NO_ANSWER, "the adapter does not say its version") : code;
}

/* "CARRIER/ADDRESS" */
static int split(const char *text, char carrier[RESOURCE_MAX], int *ret_address, struct error *err)
{
    const char *slash = strrchr(text, '/');
    char *end = NULL;
    long number = slash ? strtol(slash + 1, &end, 10) : -1;
    size_t n = slash ? (size_t)(slash - text) : RESOURCE_MAX;
    if (!end || end == slash + 1 || *end || number < 0 || number > ADDRESS_MAX || n >= RESOURCE_MAX)
        return error_set(err, ERR_INVALID,
                         "resource 'prologix:%s': write prologix:tcp:HOST:1234/ADDRESS, 0 <= ADDRESS <= %d",
                         text, ADDRESS_MAX);
    memcpy(carrier, text, n);
    carrier[n] = '\0';
    if (strncmp(carrier, "prologix:", 9) == 0)
        return error_set(err, ERR_INVALID, "resource 'prologix:%s': an adapter behind an adapter", text);
    *ret_address = (int)number;
    return 0;
}

int transport_line(const char *resource, struct driver_line *ret, struct error *err)
{
    char alias[RESOURCE_MAX], carrier[RESOURCE_MAX];
    if (strncasecmp(resource, "PRLGX-", 6) == 0 &&
        visa_resource(resource, "/sys", alias, sizeof alias, err) == 0)
        resource = alias;
    if (strncmp(resource, "prologix:", 9) != 0)
        return error_set(err, ERR_UNSUPPORTED, "'%s' is a link of its own", resource);
    *ret = (struct driver_line){ .address_count = 1 };
    int code = split(resource + 9, carrier, &ret->address[0], err);
    if (code)
        return code;
    int n = (int)strcspn(carrier, "?");
    snprintf(ret->name, sizeof ret->name, "prologix:%.*s", n < 240 ? n : 240, carrier);
    snprintf(ret->settings, sizeof ret->settings, "%.30s", carrier + n);
    return 0;
}

static int open_bus(const struct transport_env *env, const char *name, const char *carrier, int address,
                    struct bus **ret, struct error *err)
{
    struct bus *bus = calloc(1, sizeof *bus);
    if (!bus)
        return error_set(err, ERR_MEMORY, "adapter of %s", name);
    *bus = (struct bus){ .env = env, .holders = 1, .address = address };
    int code = transport_open_plain(env, name, carrier, &bus->inner, err);
    if (!code)
        code = set_up(bus, err);
    if (code) {
        leave(bus);
        return code;
    }
    if (env->line)
        *env->line = bus;
    *ret = bus;
    return 0;
}

static int prologix_open(const struct transport_env *env, const char *name, const char *address,
                         struct transport **ret, struct error *err)
{
    char carrier[RESOURCE_MAX];
    int number = 0, code = split(address, carrier, &number, err);
    if (code)
        return code;
    struct prologix *t = calloc(1, sizeof *t);
    if (!t)
        return error_set(err, ERR_MEMORY, "transport");
    t->base.ops = &transport_prologix;
    t->address = number;
    t->bus = env->line ? *env->line : NULL;
    if (t->bus)
        t->bus->holders++;
    else
        code = open_bus(env, name, carrier, number, &t->bus, err);
    if (code) {
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
