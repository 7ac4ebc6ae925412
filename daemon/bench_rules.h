/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * bench_rules: rules that a bench file gives to every campaign with a sweep that is run there. They join the
 * campaign's document before it is read, so that plan, hash, record and resumption know one kind of rule. */
#ifndef DAEMON_BENCH_RULES_H
#define DAEMON_BENCH_RULES_H

#include "daemon/base/json.h"
#include "instruments/bench.h"

/* Which of the campaign's rules came from the bench. */
struct bench_rules {
    int first, count;            /* in the campaign's "rules" */
    int origin[BENCH_RULES_MAX]; /* in the bench file's */
};

/* Adds those that the campaign does not replace by one of the same name; none where it has no sweep. */
int bench_rules_join(const struct bench_file *bench, cJSON *campaign, struct bench_rules *ret,
                     struct error *err);
/* Mistakes in them are told where they were made: below /bench. */
void bench_rules_point(const struct bench_rules *rules, struct json_problems *problems);

#endif
