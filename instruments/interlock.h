/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * interlock: rules over readings that no run may break, from the "interlocks" array of a bench file and of a
 * chip file, and their evaluation. Pure: the caller brings every answer of a port and the time; no I/O, no
 * lock, no allocation. The keeper owns the state (daemon/keeper/observer.c).
 *
 *   { "rule": "current", "rail": "VDDD", "max_a": 0.12 }                   magnitude of the rail's current
 *   { "rule": "power", "max_w": 0.45 }                                     sum over all rails that are on
 *   { "rule": "voltage", "rail": "VDDD", "max_v": 0.1, "settle_s": 0.2 }   |set - measured|
 *   { "rule": "temperature", "instrument": "oven", "min_c": -45, "max_c": 130 }
 *   { "rule": "age", "max_s": 10, "rail"?: "VDDD" }                        no reading of a rail that is on
 *   { "rule": "age", "max_s": 10, "instrument": "oven" }                   of a chamber, while a rail is on
 *
 * A rule may have a "name" and "notes". */
#ifndef INSTRUMENTS_INTERLOCK_H
#define INSTRUMENTS_INTERLOCK_H

#include "instruments/bench.h"
#include "instruments/message.h"

enum interlock_kind {
    INTERLOCK_CURRENT,
    INTERLOCK_POWER,
    INTERLOCK_VOLTAGE,
    INTERLOCK_TEMPERATURE,
    INTERLOCK_AGE
};
enum { INTERLOCK_RULES_MAX = 64, INTERLOCK_TEXT_MAX = 200, INTERLOCK_QUANTITIES = 3 };

/* A channel that is on and that no client reads is read by the keeper this often. */
#define INTERLOCK_POLL_NS NS_PER_S

struct interlock_rule {
    int kind;
    int channel; /* index in the bench file; -1: all rails */
    double min, max;
    int64_t settle_ns; /* of VOLTAGE */
    char name[BENCH_NAME_MAX];
};

struct interlock_channel {
    bool on;
    int64_t on_ns, set_ns; /* when it was switched on (a chamber: asked first), last given a voltage */
    double set_v;          /* NAN: not known */
    double value[INTERLOCK_QUANTITIES];     /* newest reading, by enum bench_quantity */
    int64_t time_ns[INTERLOCK_QUANTITIES];  /* when it ended; INT64_MIN: none */
    int64_t asked_ns[INTERLOCK_QUANTITIES]; /* when it was polled last */
    int64_t state_ns;                       /* last STATE, asked or answered */
};

struct interlocks {
    const struct bench_file *file;
    int count;
    struct interlock_rule rule[INTERLOCK_RULES_MAX];
    struct interlock_channel channel[BENCH_CHANNELS_MAX];
};

/* Forgets everything. file is borrowed. */
void interlocks_init(struct interlocks *locks, const struct bench_file *file);
/* Adds the rules of an "interlocks" array (node NULL: none). Every mistake goes to the array's problems. */
void interlocks_read(struct interlocks *locks, const struct json_at *list);
/* The same for a chip file by its path: its member "interlocks" alone is looked at. */
int interlocks_load_chip(struct interlocks *locks, const char *path, struct error *err);
/* The same, and every mistake by its place. problems: empty. */
int interlocks_read_chip(struct interlocks *locks, const char *path, struct json_problems *problems,
                         struct error *err);
/* What the keeper would say at its start to the interlocks of a bench file's chip file, before any port is
 * opened. problems: empty. */
int interlocks_check_chip(const struct bench_file *file, struct json_problems *problems, struct error *err);
/* Chambers that a rule watches have their port in the keeper, too. For bench_file_load. */
bool interlocks_watch_instrument(const struct interlocks *locks, int instrument);

/* One answer of a port. asked: value[0] of the request (a measured quantity, or a set point). False when a
 * rule is broken: text says which, and how. */
bool interlocks_take(struct interlocks *locks, const struct bench_channel *ch, const struct message *answer,
                     double asked, char *text, size_t size);
/* Readings that are too old. */
bool interlocks_check_age(const struct interlocks *locks, int64_t now_ns, char *text, size_t size);

/* What the keeper has to read by itself, since nobody else did. */
struct interlock_poll {
    int channel, op, quantity; /* op: MESSAGE_STATE or MESSAGE_MEASURE */
};
/* The next poll that is due, marked as asked; false: none is. */
bool interlocks_poll(struct interlocks *locks, int64_t now_ns, struct interlock_poll *ret);
/* Time at which the next poll or a check of age is due; CLOCK_NEVER when nothing is on. */
int64_t interlocks_due_ns(const struct interlocks *locks);

#endif
