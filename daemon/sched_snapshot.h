/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * sched_snapshot: what everybody may see of a run, and how it is told: as an event of the stream and as the
 * status document. Plain values, copied whole under the scheduler's lock; nothing here locks. */
#ifndef DAEMON_SCHED_SNAPSHOT_H
#define DAEMON_SCHED_SNAPSHOT_H

#include "daemon/job.h"
#include "daemon/sched.h"

enum { SCHED_EVENT_MAX = 1024 };

struct sched_snapshot {
    char state[RUN_STATE_MAX]; /* "idle", "starting", then those of struct run_progress and run_result */
    char ulid[ULID_TEXT], campaign[CAMPAIGN_NAME_MAX], chip_serial[CAMPAIGN_NAME_MAX];
    char step_kind[32], step_name[CAMPAIGN_NAME_MAX], backend[16];
    int step, step_count, point, point_count, points_done, points_total, retries;
    int64_t samples_done, samples_total;
    double elapsed_s, eta_s;
    int64_t host_begin_ns, host_told_ns; /* of the last thing that the runner told */
    char message[ERROR_LINE_MAX];
    int code;
    bool safe;
};

/* What is known of a run once its plan is. */
void sched_snapshot_plan(struct sched_snapshot *snapshot, const struct job *job);
/* Takes what the runner tells; true when the state is another one. */
bool sched_snapshot_take(struct sched_snapshot *snapshot, const struct run_progress *progress);
/* The same as one JSON object, for the streams. */
void sched_snapshot_event(const struct sched_snapshot *snapshot, const struct run_progress *progress,
                          char *out, size_t size);
/* The status document. */
int sched_snapshot_status(const struct sched_snapshot *snapshot, const struct sched_setup *setup,
                          const struct sched_queue *queue, cJSON **ret, struct error *err);

#endif
