/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * observer: the keeper's eyes: every answer of its ports passes here, on the port's own thread, and is held
 * against the interlocks and the instruments' own protections. What nobody reads is read by polls. The I/O
 * thread takes the verdict and acts on it. */
#ifndef DAEMON_KEEPER_OBSERVER_H
#define DAEMON_KEEPER_OBSERVER_H

#include "instruments/interlock.h"
#include "instruments/port.h"

struct observer;
struct observer_options {
    const struct bench_file *file; /* borrowed, as the rest */
    struct clock *clock;
    struct clock_actor *actor; /* of the I/O thread */
    struct port *const *port;  /* BENCH_INSTRUMENTS_MAX; NULL: not here */
};

/* Reads the rules of the bench file and of its chip file. */
int observer_open(const struct observer_options *options, struct observer **ret, struct error *err);
/* After the ports: their last answers end here. */
void observer_close(struct observer *observer);
/* Readable when there may be a verdict, or a poll is due earlier than before. */
int observer_fd(const struct observer *observer);

/* An answer, on the port's thread. asked: value[0] of the request. */
void observer_take(struct observer *observer, const struct message *answer, double asked);

/* ---- The I/O thread ---- */
/* Posts what is due. */
void observer_run(struct observer *observer);
int64_t observer_due_ns(struct observer *observer);
/* True once per trip: text says what happened. */
bool observer_tripped(struct observer *observer, char *text, size_t size);
/* What the last state of that channel said that could be read. */
bool observer_has_tripped(struct observer *observer, int channel);
int observer_rule_count(const struct observer *observer);

#endif
