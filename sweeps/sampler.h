/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * sampler: logs volts and amperes of all rails at a stated period from a thread and actor of its own, hands
 * them to the sink as traces, and keeps the last passes so that the runner can ask for the mean power of a
 * window. A pass that takes longer than the period is followed at once by the next: the ports serve the
 * runner's requests in between, so it is never starved. */
#ifndef SWEEPS_SAMPLER_H
#define SWEEPS_SAMPLER_H

#include "chip/profile.h"
#include "daemon/base/record.h"
#include "instruments/bench.h"

enum { SAMPLER_PASSES_MAX = 4096, SAMPLER_FLUSH = 64 };

struct sampler;
struct sampler_options {
    struct bench *bench;
    struct clock *clock;
    const struct bench_file *bench_file;
    const struct chip_profile *profile;
    const struct record_sink *sink;
    double period_s;
};

/* Starts the thread. */
int sampler_open(const struct sampler_options *options, struct sampler **ret_sampler, struct error *err);
/* Ends it and writes what is left. Called by the runner: `actor` is the runner's, which waits on the bench's
 * clock. Returns the error that ended the sampler early, if one did. */
int sampler_close(struct sampler *sampler, struct clock_actor *actor, struct error *err);

/* Mean over the passes whose apertures lie wholly within [t0_ns, t1_ns]. */
struct sampler_window {
    int passes;
    double seconds;
    double volt_v[PROFILE_RAILS_MAX], current_a[PROFILE_RAILS_MAX], power_w[PROFILE_RAILS_MAX];
    double u_volt_v[PROFILE_RAILS_MAX], u_current_a[PROFILE_RAILS_MAX],
        u_power_w[PROFILE_RAILS_MAX]; /* standard */
    double total_w, u_total_w;
    uint32_t flags; /* of all readings, or-ed */
};
/* False when no pass fits; *ret_window is untouched then. Any thread. */
bool sampler_window(struct sampler *sampler, int64_t t0_ns, int64_t t1_ns, struct sampler_window *ret_window);

#endif
