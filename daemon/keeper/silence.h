/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * silence: whether somebody whose heartbeat is missing hangs, or only waits for a processor. Death needs no
 * judge: the kernel tells it by the end of a connection, or to the parent. Two judges ask here: the keeper
 * about its daemon, and the keeper's parent about the keeper. In both the beating thread is the process's
 * first one.
 *
 * Three rules. The judge's own pauses are no proof against others: between two looks no more is counted than
 * two planned periods. A thread that could run (R; or D: the kernel has it), and has hardly run since it
 * beat, waits for the machine: it is given more time, up to a bound. Whoever sleeps, is stopped, or has used
 * the processor without beating hangs, and is given none. */
#ifndef DAEMON_KEEPER_SILENCE_H
#define DAEMON_KEEPER_SILENCE_H

#include <stdbool.h>
#include <stdint.h>

/* Host milliseconds; NB_TIME_SCALE multiplies the first. RAN: a beat takes a thousandth of that. */
enum { SILENCE_STARVED_LIMIT_MS = 10000, SILENCE_RAN_MS = 50 };

/* What the kernel says about a thread: one letter of proc_pid_stat(5), 0 when it says nothing, and the
 * processor time that it has had. */
struct silence_sample {
    char state;
    int64_t ran_ns;
};

/* Of one who should beat; all 0 before the first look. */
struct silence {
    int64_t beat_ns, looked_ns;
    int64_t counted_ns; /* of silence */
    bool told;          /* that it starves, since the last beat */
    struct silence_sample at_beat;
};

enum silence_verdict { SILENCE_NONE, SILENCE_STARVED, SILENCE_HANGS };

/* Reads /proc. Allocates nothing. */
struct silence_sample silence_sample(int pid);
/* Whether any thread of the process could run, or is held by the kernel: then it computes, or is starved. */
bool silence_runs(int pid);
/* One look: beat_ns is when the last beat was, period_ns how often the judge means to look. */
void silence_look(struct silence *silence, int pid, int64_t beat_ns, int64_t now_ns, int64_t period_ns);
/* Whoever has nothing to lose is not judged: what was counted so far does not count. */
void silence_excuse(struct silence *silence, int64_t now_ns);
/* The judgement alone; pure. */
enum silence_verdict silence_verdict(int64_t counted_ns, int64_t limit_ns, int64_t starved_limit_ns,
                                     const struct silence_sample *at_beat, const struct silence_sample *now);
/* The judgement of a process, with the kernel's evidence as it is now. *ret_news: it starves, and that was
 * not told since its last beat. */
enum silence_verdict silence_judge(struct silence *silence, int pid, int64_t limit_ns, bool *ret_news);

#endif
