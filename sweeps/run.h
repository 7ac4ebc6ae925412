/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * run: executes a plan on a bench and hands everything it learns to a sink. Runs in the runner thread, which
 * is an actor of the bench's clock. On any way out (end, error, stop, abort, a bug of ours) the outputs go
 * down in order and that is verified by read back and recorded. */
#ifndef SWEEPS_RUN_H
#define SWEEPS_RUN_H

#include <stdatomic.h>

#include "daemon/base/record.h"
#include "sweeps/plan.h"

enum { RUN_ROW_MAX = 160, RUN_STATE_MAX = 24 };

/* Word that other threads write: the runner looks at it between batches of samples and between points. For
 * ABORT and ESTOP also call bench_client_cancel(client, true), which cuts what is under way. */
enum run_command {
    RUN_GO,
    RUN_STOP,
    RUN_HALT /* as ABORT, but the run is to be resumed later */,
    RUN_ABORT,
    RUN_ESTOP
}; /* A later one outweighs an earlier one. */
/* A second word: the runner looks at it between points. DARK: with the rails down, and up again afterwards.
 * The run itself writes HELD when its error policy wants a person; GO on it means that the person has looked.
 * A run that is continued may find DARK or HELD there from the begin. */
enum run_pause { RUN_PAUSE_GO, RUN_PAUSE_LIT, RUN_PAUSE_DARK, RUN_PAUSE_HELD };

/* Passed to the progress callback, in the runner's thread; borrowed for the call. */
struct run_progress {
    const char *state; /* "running", "stopping", "aborting", "powering_down", then an end state */
    int step, step_count;
    const char *step_kind, *step_name;
    int point, point_count;        /* within the step; 0 of 0 where it has none */
    int points_done, points_total; /* of the run */
    int64_t samples_done, samples_total;
    int retries;
    double elapsed_s, eta_s; /* bench time */
    const char *row;         /* last line of the live table, or "" */
    int cell, verdict;       /* of the point that has just ended; cell -1 when this is no end of a point */
};
typedef void (*run_progress_fn)(void *context, const struct run_progress *progress);

/* What an interrupted run has recorded of one point; all but attempts is of its last attempt. */
struct run_done {
    int step, cell, attempts, verdict;
    bool open;        /* that attempt began and did not end: the point goes on in it */
    int samples;      /* acknowledged in it: they are not measured again */
    int64_t begin_ns; /* bench clock */
    int64_t order;    /* grows from point to point as they were begun */
    int64_t key;      /* for the history's own use */
};
struct judged;
typedef void (*run_calibration_fn)(void *context, int64_t id, const struct record_calibration *calibration);

/* A chamber as a run has found it. */
struct run_chamber {
    bool known, was_on;
    double set_c;
};

/* The record of an interrupted run, which the run takes over and continues. */
struct run_history {
    void *context;
    int64_t begin_ns; /* of the run; bench clock */
    const struct run_done *done;
    int done_count;
    uint64_t steps_ended;    /* bit n: step n has ended without an error */
    const char *chip_serial; /* the die that it was about, "" unknown */
    const char *details;     /* JSON for the event that says so */
    struct run_chamber chamber;
    /* What its readings say, of those whose names begin with prefix. */
    int (*values)(void *context, const struct run_done *done, const char *prefix, struct judged *values,
                  struct error *err);
    /* Up to max samples of a point, from position `first` on; outputs are not filled. */
    int (*samples)(void *context, const struct run_done *done, int first, struct record_sample *ret_sample,
                   int max, int *ret_count, struct error *err);
    /* What its calibrations stored, oldest first. */
    int (*calibrations)(void *context, const char *kind, run_calibration_fn each, void *each_context,
                        struct error *err);
};

struct run_context {
    const struct plan *plan;
    const struct bench_file *bench_file;
    const struct chip_profile *profile;
    const struct assets *assets;
    int backend; /* enum campaign_backend; REFERENCE needs no bench and no client */
    uint64_t seed;

    struct clock *clock;
    struct clock_actor *actor;   /* the runner's own */
    struct bench *bench;         /* NULL with the reference */
    struct bench_client *client; /* the runner's own; NULL with the reference */
    const struct record_sink *sink;
    /* Why nothing may be switched on, if so: what has switched off is asked when the run finds it. NULL:
     * nobody knows. */
    bool (*latched)(void *context, char *out, size_t size);
    void *latched_context;
    _Atomic int *command; /* enum run_command */
    _Atomic int *pause;   /* enum run_pause; NULL: never paused, and never held */
    run_progress_fn progress;
    void *progress_context;

    const char *ulid, *operator_name, *tags, *build, *bench_json,
        *chip_json;      /* for the record; "" where none */
    int64_t deadline_ns; /* bench clock: everything is off and reported by then; 0: none */
    double budget_s;     /* what it had when it began, for the record; 0: any */
    const char *notes;   /* NULL: "" */
    int64_t queued_wall_ns, validating_wall_ns; /* since when it was; 0: never */
    const struct run_history *history;          /* of an interrupted run, or NULL */
};

/* How it ended. state: "done", "failed", "stopped", "aborted", "tripped", "estop", "interrupted". */
struct run_result {
    char state[RUN_STATE_MAX];
    char chip_serial[CAMPAIGN_NAME_MAX]; /* die as it identified itself, or "" */
    int code;                            /* enum error_code */
    int points, passed, failed, marginal, errors, skipped;
    int64_t samples;
    double duration_s; /* bench time */
    bool safe;         /* every output was read back as off */
};

/* Returns 0 when the plan ran to its end, else the error that ended it; *ret_result is always filled. */
int run_execute(const struct run_context *context, struct run_result *ret_result, struct error *err);
/* A run that cannot even start leaves a record with its reason: client and bench may be NULL. */
int run_record_failure(const struct run_context *context, const struct error *why, struct error *err);

#endif
