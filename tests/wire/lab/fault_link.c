/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * fault_link: a link between a driver and a good instrument that spoils what comes back. It collects a whole
 * answer (what has come when the line falls quiet), spoils it, and hands it over at its pace, all in bench
 * time and keyed by a seed. The instrument itself always works: what a fault does to it, it does on the wire.
 */
#include <stdlib.h>
#include <string.h>

#include "daemon/base/rng.h"
#include "tests/wire/lab/lab.h"

enum { LINK_BUFFER = 64 * 1024, ONCE_MAX = 4096, TRUNCATED_MAX = 3, FLOOD_MIN = 256 };

#define QUIET_NS       (6 * NS_PER_MS) /* an answer has ended; the simulated gear pauses less inside of one */
#define SLOW_NS        NS_PER_S        /* a byte */
#define LATE_NS        (20 * NS_PER_S)
#define BABBLE_NS      NS_PER_MS
#define FLOOD_QUIET_NS (30 * NS_PER_MS)

struct fault_link {
    struct transport base;
    const struct transport_env *env;
    struct transport *inner;
    struct lab_faults *faults;
    bool asked;   /* written since the last read */
    bool babbled; /* the last byte read was nobody's */
    uint8_t in[LINK_BUFFER], previous[ONCE_MAX];
    size_t have, previous_n;
    int64_t due_ns, byte_ns; /* of the first byte in `in`; between two bytes */
};

const char *lab_fault_name(int fault)
{
    static const char *const NAMES[] = { "none",  "silent",     "slow", "garbage", "truncated",
                                         "wrong", "previous",   "nan",  "reboot",  "other",
                                         "busy",  "disconnect", "echo", "babble" };
    return NAMES[fault];
}

static int kind_of(const struct fault_link *link)
{
    return link->faults->skip > 0 ? LAB_NONE : link->faults->kind;
}

static bool is_broken(const struct fault_link *link)
{
    struct lab_faults *f = link->faults;
    if (kind_of(link) == LAB_DISCONNECT) {
        f->struck++;
        return true;
    }
    if (kind_of(link) != LAB_OTHER || f->broken)
        return false;
    f->broken = true; /* from now on the other unit is there */
    return true;
}

/* Noise that is no answer of the make: letters where answers are lines of numbers, else bytes of which no
 * protocol here has one in first place. An instrument that invents good answers cannot be told from one that
 * measures. */
static void noise(struct fault_link *link, uint8_t *bytes, size_t n)
{
    struct rng rng;
    rng_init(&rng, link->faults->seed, "noise", link->faults->draws++, 0, 0);
    for (size_t i = 0; i < n; i++) {
        bool end = link->faults->speech->is_text && bytes[i] == '\n';
        if (!end)
            bytes[i] = (uint8_t)(link->faults->speech->is_text ? 'G' + rng_below(&rng, 20)
                                                               : 0x80 + rng_below(&rng, 0x80));
    }
}

static void rename_unit(const struct lab_speech *speech, uint8_t *bytes, size_t n)
{
    size_t length = strlen(speech->identity);
    uint8_t *at = memmem(bytes, n, speech->identity, length);
    if (!at)
        return;
    memcpy(at, speech->other, length);
    if (speech->seal)
        speech->seal(bytes, n);
}

static size_t held_back(struct fault_link *link, uint8_t *bytes, size_t n)
{
    uint8_t now[ONCE_MAX];
    size_t before = link->previous_n;
    n = n < ONCE_MAX ? n : ONCE_MAX;
    memcpy(now, bytes, n);
    memcpy(bytes, link->previous, before);
    memcpy(link->previous, now, n);
    link->previous_n = n;
    return before;
}

/* One whole answer; returns what is left of it. */
static size_t spoil(struct fault_link *link, int kind, uint8_t *bytes, size_t n)
{
    const struct lab_speech *speech = link->faults->speech;
    static const char OTHER_KIND[] = "KEYBOARD LOCKED\n";
    link->faults->struck++;
    switch (kind) {
    case LAB_SILENT:
        return 0;
    case LAB_SLOW:
        link->byte_ns = SLOW_NS;
        return n;
    case LAB_GARBAGE:
        noise(link, bytes, n);
        return n;
    case LAB_TRUNCATED:
        return link->faults->struck <= TRUNCATED_MAX ? n / 2 : n;
    case LAB_WRONG:
        if (!speech->is_text) {
            bytes[0] ^= 0x40;
            return n;
        }
        memcpy(bytes, OTHER_KIND, sizeof OTHER_KIND - 1);
        return sizeof OTHER_KIND - 1;
    case LAB_PREVIOUS:
        return held_back(link, bytes, n);
    case LAB_NAN:
        return speech->nan(bytes, n);
    case LAB_OTHER:
        rename_unit(speech, bytes, n);
        return n;
    case LAB_BUSY:
        if (speech->busy)
            return speech->busy(bytes, n);
        link->due_ns += LATE_NS;
        return n;
    default:
        return n;
    }
}

/* Appends the instrument's next answer, spoiled. */
static int collect(struct fault_link *link, int kind, int64_t deadline_ns, struct error *err)
{
    uint8_t *at = link->in + link->have;
    size_t n = 0, part = 0, room = sizeof link->in - link->have;
    int code = transport_read(link->inner, at, room, deadline_ns, &part, err);
    while (!code && n + part < room) {
        n += part;
        part = 0;
        if (transport_read(link->inner, at + n, room - n, clock_now(link->env->clock) + QUIET_NS, &part,
                           NULL))
            break;
    }
    if (code)
        return code;
    link->due_ns = clock_now(link->env->clock);
    link->byte_ns = 0;
    link->have += spoil(link, kind, at, n);
    return 0;
}

/* Waits, and takes what arrives meanwhile: virtual time does not pass bytes that lie unread. */
static int wait_until(struct fault_link *link, int64_t at_ns)
{
    uint8_t scrap[1024];
    size_t n = 0;
    int code;
    while ((code = transport_read(link->inner, scrap, sizeof scrap, at_ns, &n, NULL)) == 0) {
        n = n < sizeof link->in - link->have ? n : sizeof link->in - link->have;
        memcpy(link->in + link->have, scrap, n);
        link->have += n;
    }
    return code == ERR_TIMEOUT ? 0 : code;
}

/* Bytes that nobody asked for, in between what the instrument says. */
static int babble(struct fault_link *link, uint8_t *data, int64_t deadline_ns, size_t *ret_n,
                  struct error *err)
{
    int64_t next_ns = clock_now(link->env->clock) + BABBLE_NS;
    bool in_time = next_ns <= deadline_ns;
    int code = wait_until(link, in_time ? next_ns : deadline_ns);
    if (code || !in_time)
        return error_set(err, code ? code : ERR_TIMEOUT, "no answer before the deadline");
    link->babbled = !link->babbled;
    *ret_n = 1;
    if (!link->babbled && link->have > 0) {
        data[0] = link->in[0];
        memmove(link->in, link->in + 1, --link->have);
        return 0;
    }
    link->faults->struck++;
    data[0] = 0;
    noise(link, data, 1);
    return 0;
}

static int hand_over(struct fault_link *link, uint8_t *data, size_t size, int64_t deadline_ns, size_t *ret_n,
                     struct error *err)
{
    bool in_time = link->due_ns <= deadline_ns;
    int code = wait_until(link, in_time ? link->due_ns : deadline_ns);
    if (code || !in_time)
        return error_set(err, code ? code : ERR_TIMEOUT, "no answer before the deadline");
    size_t n = link->byte_ns ? 1 : link->have < size ? link->have : size;
    memcpy(data, link->in, n);
    link->have -= n;
    memmove(link->in, link->in + n, link->have);
    link->due_ns += link->byte_ns;
    *ret_n = n;
    return 0;
}

static int link_read(struct transport *transport, void *data, size_t size, int64_t deadline_ns, size_t *ret_n,
                     struct error *err)
{
    struct fault_link *link = (struct fault_link *)transport;
    int kind = kind_of(link);
    if (is_broken(link))
        return error_set(err, ERR_LINK, "the instrument closed the connection");
    if (kind == LAB_BABBLE)
        return babble(link, data, deadline_ns, ret_n, err);
    if (kind == LAB_NONE)
        link->byte_ns = 0;
    while (link->have == 0) {
        int code = kind == LAB_NONE ? transport_read(link->inner, data, size, deadline_ns, ret_n, err)
                                    : collect(link, kind, deadline_ns, err);
        if (code || kind == LAB_NONE) {
            link->asked = false;
            return code;
        }
    }
    return hand_over(link, data, size, deadline_ns, ret_n, err);
}

/* What floods a bridge that is out of step is answered byte by byte, and the driver need not look: taken
 * here, or each byte would hold virtual time. */
static void take_flood(struct fault_link *link)
{
    size_t before;
    do {
        before = link->have;
        if (wait_until(link, clock_now(link->env->clock) + FLOOD_QUIET_NS))
            return;
    } while (link->have != before);
}

static int link_write(struct transport *transport, const void *data, size_t n, int64_t deadline_ns,
                      struct error *err)
{
    struct fault_link *link = (struct fault_link *)transport;
    struct lab_faults *f = link->faults;
    if (f->kind && f->skip > 0 && !link->asked)
        f->skip--;
    link->asked = true;
    if (is_broken(link))
        return error_set(err, ERR_LINK, "write: Broken pipe");
    if (kind_of(link) == LAB_REBOOT && !f->rebooted) {
        f->rebooted = true;
        f->struck++;
        f->reboot(f->context);
    }
    if (kind_of(link) == LAB_ECHO && link->have + n <= sizeof link->in) {
        memcpy(link->in + link->have, data, n);
        link->have += n;
        link->due_ns = clock_now(link->env->clock);
        f->struck++;
    }
    /* A dead instrument hears nothing either; a slow one takes what its buffer holds. */
    bool deaf = kind_of(link) == LAB_SILENT || (kind_of(link) == LAB_SLOW && link->have > ONCE_MAX);
    f->struck += deaf;
    int code = deaf ? 0 : transport_write(link->inner, data, n, deadline_ns, err);
    if (!code && !deaf && n >= FLOOD_MIN)
        take_flood(link);
    return code;
}

static void link_flush(struct transport *transport)
{
    struct fault_link *link = (struct fault_link *)transport;
    if (link->due_ns <= clock_now(link->env->clock))
        link->have = 0;
    transport_flush(link->inner);
}

static void link_close(struct transport *transport)
{
    transport_close(((struct fault_link *)transport)->inner);
    free(transport);
}

static int link_fd(const struct transport *transport)
{
    const struct transport *inner = ((const struct fault_link *)transport)->inner;
    return inner->ops->fd(inner);
}

static const struct transport_ops FAULT_LINK = {
    .prefix = "fault",
    .read = link_read,
    .write = link_write,
    .flush = link_flush,
    .close = link_close,
    .fd = link_fd,
};

int lab_fault_open(void *context, const struct transport_env *env, const char *name, const char *resource,
                   struct transport **ret, struct error *err)
{
    struct lab_faults *faults = context;
    if (faults->kind == LAB_DISCONNECT && faults->skip == 0) {
        faults->struck++;
        return error_set(err, ERR_NO_ANSWER, "%s: Connection refused", resource);
    }
    struct fault_link *link = calloc(1, sizeof *link);
    if (!link)
        return error_set(err, ERR_MEMORY, "fault link");
    *link = (struct fault_link){ .base.ops = &FAULT_LINK, .env = env, .faults = faults };
    int code = lab_open_real(env, name, resource, &link->inner, err);
    if (code) {
        free(link);
        return code;
    }
    *ret = &link->base;
    return 0;
}
