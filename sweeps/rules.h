/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * rules: what a campaign wants done again and again while its sweeps go on ("every 2 h: calibrate"): between
 * two points, at the conditions that the sweep found. Each execution is one more attempt of the rule's steps.
 * When it is due is arithmetic on the bench clock, so that the same run does the same. */
#ifndef SWEEPS_RULES_H
#define SWEEPS_RULES_H

#include "sweeps/budget.h"

struct run;

enum { RULES_ATTEMPTS_MAX = 1023 }; /* of one point in the store */

/* ---- In advance ---- */
/* When each rule is due next, in planned seconds since the begin. */
struct rules_clock {
    double next_s[CAMPAIGN_RULES_MAX];
    int executions[CAMPAIGN_RULES_MAX];
};
void rules_clock_start(const struct plan *plan, struct rules_clock *clock);
/* Between two points at now_s: the seconds that what is due takes. */
double rules_clock_pass(const struct plan *plan, struct rules_clock *clock, double now_s);
/* How often each rule will be executed. */
void rules_forecast(const struct plan *plan, struct rules_clock *ret_clock);

/* ---- On the way; runner thread ---- */
/* What has become of the steps of one rule's latest execution, as far as it is recorded. */
struct rules_step {
    bool begun, open;
    int64_t begin_ns;
};
/* The step at which an execution has to be gone on with: one that is open, or was begun before its
 * predecessor was begun anew; -1: it is complete, or there was none. */
int rules_unfinished(const struct rules_step *step, int count);
/* Bench time at which a rule is due that was last begun then. A clock that has been set back (another world,
 * a reboot) makes it due now. */
int64_t rules_due_ns(int64_t last_ns, double every_s, int64_t now_ns);

/* At the begin of a run, after takeover. */
void rules_begin(struct run *run);
/* At the begin of a sweep: these are the conditions for what the rules do. Puts in force what they had found
 * before an interruption. */
int rules_enter(struct run *run, struct error *err);
/* Once before each point: does what is due. 1: something was done, ask again whether the point fits. */
int rules_pass(struct run *run, struct error *err);

#endif
