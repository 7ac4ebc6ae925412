/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * resume: finds the run that a dead daemon left behind, makes it ready to run again, and answers the run's
 * questions about what it had recorded. One owner at a time. */
#ifndef DAEMON_RESUME_H
#define DAEMON_RESUME_H

#include "daemon/job.h"
#include "db/queue_order.h"
#include "db/resume.h"
#include "sweeps/run.h"

/* A run that has been resumed this often without recording anything in between is left alone: something in it
 * kills the daemon, and each time costs the chip a power cycle. */
enum { RESUME_FRUITLESS_MAX = 5 };

/* Reasons of the state 'stopping': how a run is to end that was not stopped after its point. */
#define RUN_WORD_ABORT "abort"
#define RUN_WORD_ESTOP "estop"

struct resume {
    struct query *query;
    struct resume_run run;
    struct resume_point *point;
    struct run_done *done;
    int count;
    char details[96];
    struct run_history history;
};

/* ERR_NOT_FOUND: there is nothing to resume. Any other failure says why the newest run, which was
 * interrupted, cannot be: its files have changed, or it has been tried too often. */
int resume_open(const char *db_path, struct resume **ret_resume, struct error *err);
/* The same campaign, back end and seed give the same plan; a plan that has become another one is refused. */
int resume_job(const struct resume *resume, const struct job_request *bench, struct job *ret_job,
               struct error *err);
/* What the queue would say of it. */
void resume_item(const struct resume *resume, const struct job *job, struct queue_item *ret_item);
/* ULID of the newest run when it was interrupted, and whether it waited for a person then; else
 * ERR_NOT_FOUND. */
int resume_pending(const char *db_path, char ret_ulid[ULID_TEXT], bool *ret_waited, struct error *err);
/* The words that the run had been given when its daemon ended: RUN_GO, or how it was to end; RUN_PAUSE_GO, or
 * how it waited or was to wait (with the outputs off: the keeper has seen to that). */
void resume_words(const struct resume_run *run, int *ret_command, int *ret_pause);
void resume_close(struct resume *resume);

#endif
