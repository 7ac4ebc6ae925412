/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * point: attempts, and the error policy between them. */
#include "sweeps/point.h"

#include <math.h>
#include <stdlib.h>

#include "sweeps/pause.h"

#define BACKOFF_MAX_S 60.0
enum { ERRORS_IN_FULL = 50 }; /* of a run: a night of failures must not fill the store with how they came */

int point_record_attempt(struct run *run, const struct run_point *point, bool end, int code,
                         const char *message, struct error *err)
{
    struct record_attempt record = { .step = point->step,
                                     .cell = point->cell->index,
                                     .attempt = point->attempt,
                                     .end = end,
                                     .verdict = point->verdict,
                                     .code = code,
                                     .message = message,
                                     .time_ns = runner_now(run),
                                     .host_ns = clock_host_now() };

    return run->sink->attempt(run->sink->context, &record, err);
}

int point_record_cell(struct run *run, const struct plan_cell *cell, struct error *err)
{
    struct record_cell record = { .step = cell->step,
                                  .index = cell->index,
                                  .axes_json = cell->axes_json,
                                  .identity = cell->identity,
                                  .repeat = cell->repeat };

    return run->sink->cell(run->sink->context, &record, err);
}

/* An error and what led to it, while it is fresh: the policy's own requests would push it out. */
static int record_error(struct run *run, const struct run_point *point, const struct error *failure,
                        struct error *err)
{
    struct strbuf transactions = { 0 };
    char text[ERROR_LINE_MAX];
    cJSON *details = cJSON_CreateObject();

    cJSON_AddStringToObject(details, "code", error_name(failure->code));
    cJSON_AddStringToObject(details, "instrument", failure->instrument);
    cJSON_AddStringToObject(details, "command", failure->command);
    json_add_number(details, "elapsed_ms", (double)failure->elapsed_ns / 1e6);
    json_add_number(details, "step", point->step);
    json_add_number(details, "cell", point->cell != NULL ? point->cell->index : -1);
    json_add_number(details, "attempt", point->attempt);
    if (run->context->client != NULL && run->errors_told++ < ERRORS_IN_FULL) {
        bench_client_history(run->context->client, &transactions);
        if (!transactions.failed)
            cJSON_AddItemToObject(details, "transactions", cJSON_CreateRaw(transactions.text));
    }
    strbuf_free(&transactions);
    char *json = json_print(details, false);
    cJSON_Delete(details);
    error_describe(failure, text, sizeof text);
    int rc = runner_event(run, "error", json, err, "%s: %s", point->what->name, text);
    free(json);
    return rc;
}

/* One try. Returns the step's own code; a store that fails turns into that failure. */
static int try_once(struct run *run, struct run_point *point, struct error *err)
{
    struct error step_err = { 0 };
    char text[ERROR_LINE_MAX];

    if (point->outcome != NULL)
        judge_clear(&point->outcome->judged);
    point->verdict = VERDICT_PASS;
    int rc = point->cell != NULL ? point_record_attempt(run, point, false, 0, "", err) : 0;
    if (rc < 0)
        return rc;
    int code = step_type_of(point->what->kind)->execute(run, point, &step_err);
    bool cut = code == ERR_CANCELLED && point->cell != NULL && runner_check(run, NULL) == 0 &&
               runner_out_of_time(run);
    if (cut) { /* the run's time is up: no result, and no error */
        point->verdict = VERDICT_SKIPPED;
        code = 0;
    } else if (code < 0) {
        point->verdict = judge_error_verdict(code);
    }
    if (code < 0 && code != ERR_CANCELLED && (rc = record_error(run, point, &step_err, err)) < 0)
        return rc;
    /* What a dying or halted daemon cuts, or one that is no longer served, is no result of the point: the
     * attempt stays open for its resumption. */
    bool halted = code == ERR_FENCED || (code == ERR_CANCELLED && run->context->command != NULL &&
                                         atomic_load(run->context->command) == RUN_HALT);
    if (point->cell != NULL && !halted) {
        rc = point_record_attempt(run, point, true, code,
                                  code < 0 || cut ? error_describe(&step_err, text, sizeof text) : "", err);
        if (rc == 0)
            rc = run->sink->ack(run->sink->context, err);
        if (rc < 0)
            return rc;
        point->outcome->verdict = point->verdict;
        point->outcome->attempts = point->attempt;
    }
    if (code < 0 && err != NULL)
        *err = step_err;
    return code;
}

/* No retry helps against these: the run ends. */
static bool is_final(int code)
{
    return code == ERR_CANCELLED || code == ERR_FENCED || code == ERR_TRIPPED || code == ERR_FULL ||
           code == ERR_IO || code == ERR_MEMORY || code == ERR_INTERNAL;
}

/* The last step of a kind before this one that has been measured, or -1. */
static int last_measured(const struct run *run, int before, int kind)
{
    for (int i = before - 1; i >= 0; i--) {
        const struct plan_step *step = &run->plan->step[i];
        if (step->step->kind == kind && step->cell_count > 0 && run->outcome[step->first_cell].attempts > 0)
            return i;
    }
    return -1;
}

/* Measures the first cell of an earlier step once more, as one more attempt of it. */
static int measure_again(struct run *run, int step, int *ret_verdict, struct error *err)
{
    const struct plan_step *planned = &run->plan->step[step];
    struct run_outcome *outcome = &run->outcome[planned->first_cell];
    struct run_point point = { .step = step,
                               .what = planned->step,
                               .cell = &run->plan->cell[planned->first_cell],
                               .cell_index = planned->first_cell,
                               .attempt = outcome->attempts + 1,
                               .outcome = outcome };

    int rc = try_once(run, &point, err);
    *ret_verdict = point.verdict;
    return rc;
}

/* Power cycle, the golden check passed again where the campaign has one, and everything put back. */
static int rescue(struct run *run, const struct run_point *point, struct error *err)
{
    int golden = last_measured(run, point->step, STEP_GOLDEN), verdict = VERDICT_PASS;
    struct run_dark state;

    int rc = runner_event(run, "recover", NULL, err, "power cycle");
    if (rc == 0)
        rc = runner_go_dark(run, &state, err);
    if (rc == 0)
        rc = runner_come_home(run, &state, err);
    if (rc == 0 && run->has_bench && golden >= 0)
        rc = measure_again(run, golden, &verdict, err);
    if (rc == 0 && verdict == VERDICT_FAIL)
        rc = error_set(err, ERR_MISMATCH, "the chip fails its golden check after a power cycle");
    return rc == 0 ? runner_go_back(run, &state, err) : rc;
}

/* Without an earlier calibration there is nothing to repeat: a plain retry. */
static int recalibrate(struct run *run, const struct run_point *point, struct error *err)
{
    int step = last_measured(run, point->step, STEP_CALIBRATE), verdict;

    return step >= 0 ? measure_again(run, step, &verdict, err) : 0;
}

static int back_off(struct run *run, const struct run_point *point, struct error *err)
{
    double wait_s = point->what->policy.backoff_s * ldexp(1.0, point->tries - 1);

    return wait_s > 0.0 ? runner_wait(run, fmin(wait_s, BACKOFF_MAX_S), err) : 0;
}

static int try_to_mend(struct run *run, const struct run_point *point, int action, struct error *err)
{
    switch (action) {
    case POLICY_RECOVER:
        return rescue(run, point, err);
    case POLICY_RECALIBRATE:
        return recalibrate(run, point, err);
    default:
        return back_off(run, point, err);
    }
}

/* Waits for a person; the count of tries begins anew, for he will have done something. */
static int hold(struct run *run, struct run_point *point, const char *why, struct error *err)
{
    point->tries = 0;
    int rc = pause_hold(run, why, err);
    return rc == 0 ? runner_go_on(run, err) : rc;
}

/* Attempts or budget are used up: 0 try again, 1 go on, negative: the run ends with *code. */
static int give_up(struct run *run, struct run_point *point, int code, const char *text, struct error *err)
{
    if (point->what->policy.then == POLICY_HOLD && run->context->pause != NULL)
        return hold(run, point, text, err);
    if (point->what->policy.then == POLICY_STOP || point->cell == NULL)
        return code; /* later steps rest on a step without points */
    return 1;
}

/* What to do after a failed try: 0 try again, 1 go on with what was recorded, negative: the run ends. */
static int after_failure(struct run *run, struct run_point *point, int code, struct error *err)
{
    const struct campaign_policy *policy = &point->what->policy;
    int action = policy->action[judge_error_class(code)];
    struct error own = { 0 };
    char text[ERROR_LINE_MAX];

    if (is_final(code) || action == POLICY_STOP || runner_check(run, NULL) < 0)
        return code;
    error_describe(err, text, sizeof text);
    if (action == POLICY_HOLD && run->context->pause != NULL)
        return hold(run, point, text, err);
    if (action == POLICY_RECORD)
        return point->cell != NULL ? 1 : code;
    if (point->tries >= policy->attempts || run->retries >= run->campaign->retry_budget)
        return give_up(run, point, code, text, err);
    run->retries++;
    int rc = runner_event(run, "retry", NULL, &own, "%s, try %d of %d: %s", point->what->name, point->tries,
                          policy->attempts, text);
    if (rc == 0)
        rc = try_to_mend(run, point, action, &own);
    if (rc < 0)
        *err = own;
    /* What was done about it has failed as well: a person may still help. */
    if (rc < 0 && !is_final(rc) && policy->then == POLICY_HOLD && run->context->pause != NULL)
        rc = hold(run, point, error_describe(&own, text, sizeof text), err);
    return rc;
}

int point_run(struct run *run, struct run_point *point, struct error *err)
{
    point->tries = 0;
    point->calibrated = point->what->policy.action[ERROR_CLASS_CALIBRATION] != POLICY_RECORD;
    for (;;) {
        struct error detail = { 0 };

        point->attempt++;
        point->tries++;
        int code = try_once(run, point, &detail);
        point->open = NULL;
        if (code == 0)
            return point->tries > 1 ? runner_event(run, "recovered", NULL, err, "%s: went well at try %d",
                                                   point->what->name, point->tries)
                                    : 0;
        int next = after_failure(run, point, code, &detail);
        if (next > 0)
            return 0;
        if (next < 0) {
            if (err != NULL)
                *err = detail;
            return next;
        }
        if (runner_stopping(run))
            return 0; /* stopped while it was held */
    }
}
