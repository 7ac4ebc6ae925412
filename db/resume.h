/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * resume: what the store knows of a run that was interrupted, for whoever continues it. Read only. */
#ifndef DB_RESUME_H
#define DB_RESUME_H

#include "daemon/base/record.h"
#include "db/query.h"

enum { RESUME_REASON_MAX = 32 };

/* The run itself. Texts are malloc'ed: resume_run_free. */
struct resume_run {
    int64_t id;
    char ulid[27];
    char *campaign_json, *plan_hash, *backend, *operator_name, *tags, *chip_serial;
    char *network_hash, *dataset_hash;
    uint64_t seed;
    double budget_s; /* that it had when it began; NaN: any */
    int64_t begin_time_ns, begin_wall_ns;
    char state[16], reason[RESUME_REASON_MAX]; /* in which it was when its daemon ended */
};

/* One point that has an attempt; all are of its last one. */
struct resume_point {
    int step, cell, attempts, verdict;
    bool open;   /* that attempt began and did not end */
    int samples; /* recorded in it: the first that is missing */
    int64_t attempt_id, begin_time_ns;
    int64_t order; /* grows from point to point as they were begun */
};

/* The newest run of the store, when it is one that was interrupted; else ERR_NOT_FOUND. */
int resume_find(struct query *query, struct resume_run *ret_run, struct error *err);
void resume_run_free(struct resume_run *run);
/* Its points in the order of planning; *ret_point is malloc'ed. */
int resume_points(struct query *query, const struct resume_run *run, struct resume_point **ret_point,
                  int *ret_count, struct error *err);
/* Bit n of *ret_steps: step n has ended without an error (n < 64). */
int resume_steps(struct query *query, const struct resume_run *run, uint64_t *ret_steps, struct error *err);

typedef void resume_value_fn(void *context, const char *channel, double value, double uncertainty);
/* Scalars of an attempt, in the order in which they were recorded. */
int resume_values(struct query *query, int64_t attempt_id, resume_value_fn *each, void *context,
                  struct error *err);
/* Up to max samples of an attempt from position `first` on, in order; *ret_count of them. Outputs are not
 * read. */
int resume_samples(struct query *query, int64_t attempt_id, int first, struct record_sample *ret_sample,
                   int max, int *ret_count, struct error *err);

/* Of the row: key, coefficients, validity and time. */
typedef void resume_calibration_fn(void *context, int64_t id, const struct record_calibration *calibration);
enum { RESUME_COEFFICIENTS_MAX = 16 };
/* Calibrations of one kind that the run recorded, oldest first. */
int resume_calibrations(struct query *query, const struct resume_run *run, const char *kind,
                        resume_calibration_fn *each, void *context, struct error *err);
/* The details (JSON, malloc'ed) of the first event of that kind; ERR_NOT_FOUND: there is none. */
int resume_event(struct query *query, const struct resume_run *run, const char *kind, char **ret_details,
                 struct error *err);
/* How many of the last times that the run was resumed it was where it is now: `details` says where, as the
 * event of that does. */
int resume_fruitless(struct query *query, const struct resume_run *run, const char *details, int *ret_count,
                     struct error *err);

#endif
