/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * run: the loop over steps, points and attempts; what is done about errors; and the way out. */
#include "sweeps/run.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sweeps/pause.h"
#include "sweeps/point.h"
#include "sweeps/rules.h"
#include "sweeps/runner.h"
#include "sweeps/strategy.h"
#include "sweeps/takeover.h"

/* Predictions that are kept in memory for comparisons within a run; beyond that only scores are kept. */
#define KEEP_BYTES_MAX (64u << 20)

/* ---- Beginning ---- */

static int begin_record(struct run *run, struct error *err)
{
    const struct run_context *context = run->context;
    const struct assets *assets = context->assets;
    cJSON *plan = plan_json(run->plan);
    char *plan_text_json = plan != NULL ? json_print(plan, false) : NULL;
    struct strbuf snapshot = { 0 };
    int64_t id;

    cJSON_Delete(plan);
    strbuf_add(&snapshot, "{\"campaign\":%s,\"plan\":%s}", run->campaign->json,
               plan_text_json != NULL ? plan_text_json : "null");
    free(plan_text_json);
    if (snapshot.failed) {
        strbuf_free(&snapshot);
        return error_set(err, ERR_MEMORY, "no memory for the snapshot of a plan");
    }
    struct record_run record = {
        .ulid = context->ulid,
        .campaign = run->campaign->name,
        .plan_hash = run->plan->hash,
        .bench = context->bench_file->name,
        .socket = context->bench_file->socket,
        .chip_serial = "",
        .chip_type = run->profile->type,
        .operator_name = context->operator_name != NULL ? context->operator_name : "",
        .backend = context->backend == CAMPAIGN_REFERENCE ? "reference" : "chip",
        .build = context->build != NULL ? context->build : "",
        .network_hash = assets->network_count > 0 ? assets->network[0].network_hash : "",
        .mapping_hash = assets->network_count > 0 ? assets->network[0].mapping_hash : "",
        .dataset_hash = assets->dataset_count > 0 ? assets->dataset[0].hash : "",
        .plan_json = snapshot.text,
        .bench_json = context->bench_json != NULL ? context->bench_json : "",
        .chip_json = context->chip_json != NULL ? context->chip_json : "",
        .tags = context->tags != NULL ? context->tags : "",
        .notes = context->notes,
        .queued_wall_ns = context->queued_wall_ns,
        .validating_wall_ns = context->validating_wall_ns,
        .budget_s = context->budget_s,
        .seed = context->seed,
        .clock_virtual = clock_is_virtual(context->clock),
        .simulated = context->bench_file->simulated || context->backend == CAMPAIGN_REFERENCE,
        .time_ns = run->start_ns,
        .wall_ns = clock_wall_now(),
    };
    int rc = run->sink->run_begin(run->sink->context, &record, &id, err);
    strbuf_free(&snapshot);
    return rc;
}

/* Samples that a step infers at each of its points; 0 where predictions are not kept. */
static int samples_of(const struct campaign_step *step)
{
    if (step->kind == STEP_ACCURACY || step->kind == STEP_INFER)
        return step->u.accuracy.samples;
    return 0;
}

/* Where several steps of a sweep's points measure. */
static int allocate_further(const struct campaign_step *step, struct run_outcome *outcome, struct error *err)
{
    int count = step->kind == STEP_SWEEP && step->u.sweep.several ? step->u.sweep.do_count : 0;

    if (count == 0)
        return 0;
    outcome->further = calloc((size_t)count, sizeof *outcome->further);
    if (outcome->further == NULL)
        return error_set(err, ERR_MEMORY, "no memory for the outcomes of %d steps", count);
    for (int i = 0; i < count; i++)
        judge_clear(&outcome->further[i]);
    return 0;
}

static int allocate_outcomes(struct run *run, struct error *err)
{
    int all = run->plan->cell_count + run->plan->rule_cell_count;
    size_t kept = 0;

    run->outcome = calloc((size_t)all + 1, sizeof *run->outcome);
    if (run->outcome == NULL)
        return error_set(err, ERR_MEMORY, "no memory for %d outcomes", all);
    for (int i = 0; i < all; i++) {
        struct run_outcome *outcome = &run->outcome[i];
        const struct campaign_step *step = run->plan->step[run->plan->cell[i].step].step;
        int samples = samples_of(step);

        judge_clear(&outcome->judged);
        outcome->dataset = -1;
        int rc = allocate_further(step, outcome, err);
        if (rc < 0)
            return rc;
        if (samples == 0 || kept + (size_t)samples * sizeof *outcome->prediction > KEEP_BYTES_MAX)
            continue;
        kept += (size_t)samples * sizeof *outcome->prediction;
        outcome->count = samples;
        outcome->prediction = calloc((size_t)samples, sizeof *outcome->prediction);
        if (outcome->prediction == NULL)
            return error_set(err, ERR_MEMORY, "no memory for the predictions of %d samples", samples);
    }
    return 0;
}

/* ---- Points ---- */

static void count_verdict(struct run_result *result, int verdict)
{
    result->points++;
    result->passed += verdict == VERDICT_PASS;
    result->failed += verdict == VERDICT_FAIL;
    result->marginal += verdict == VERDICT_MARGINAL;
    result->skipped += verdict == VERDICT_SKIPPED || verdict == VERDICT_INFERRED;
    result->errors += verdict == VERDICT_ERROR || verdict == VERDICT_HANG || verdict == VERDICT_LINK_ERROR ||
                      verdict == VERDICT_TRIPPED || verdict == VERDICT_SUSPECT;
}

/* A cell that is not measured has one attempt that says why. */
static int record_unmeasured(struct run *run, int step, int index, int verdict, const char *why,
                             struct error *err)
{
    const struct plan_step *planned = &run->plan->step[step];
    struct run_outcome *outcome = &run->outcome[planned->first_cell + index];
    struct run_point point = { .step = step,
                               .what = planned->step,
                               .cell = &run->plan->cell[planned->first_cell + index],
                               /* One that an interrupted run had begun gets its end. */
                               .attempt = outcome->open != NULL ? outcome->attempts : 1,
                               .verdict = verdict,
                               .outcome = outcome };

    int rc = point_record_cell(run, point.cell, err);
    if (rc == 0)
        rc = point_record_attempt(run, &point, false, 0, "", err);
    if (rc == 0)
        rc = point_record_attempt(run, &point, true, 0, why, err);
    if (rc < 0)
        return rc;
    outcome->verdict = verdict;
    outcome->attempts = point.attempt;
    outcome->open = NULL;
    count_verdict(run->result, verdict);
    run->progress.points_done++;
    return 0;
}

static int record_skips(struct run *run, int step, struct error *err)
{
    const struct plan_step *planned = &run->plan->step[step];
    int rc = 0;

    for (int i = 0; i < planned->cell_count && rc == 0; i++) {
        const struct plan_cell *cell = &run->plan->cell[planned->first_cell + i];
        if (cell->skip[0] != '\0' && run->outcome[planned->first_cell + i].verdict == VERDICT_NONE)
            rc = record_unmeasured(run, step, i, VERDICT_SKIPPED, cell->skip, err);
    }
    return rc;
}

/* ---- Time ---- */

/* Does this point still fit? What does not is recorded as skipped; 1: it was, go on with another one. */
static int skip_for_time(struct run *run, int step, int index, struct error *err)
{
    const struct plan_step *planned = &run->plan->step[step];
    double planned_s = budget_cell_s(run->plan, planned->first_cell + index);
    char why[120], needs[40], left[40];

    if (!run->out_of_time && budget_fits(&run->budget, runner_now(run), planned_s))
        return 0;
    double left_s = (double)(run->budget.end_ns - runner_now(run)) / NS_PER_S - run->budget.reserve_s;
    if (run->out_of_time)
        snprintf(why, sizeof why, "time budget: what it is built on did not fit any more");
    else
        snprintf(why, sizeof why, "time budget: needs %s, %s are left",
                 text_engineering(budget_estimate_s(&run->budget, planned_s), "s", 3, needs, sizeof needs),
                 text_engineering(fmax(left_s, 0.0), "s", 3, left, sizeof left));
    run->out_of_time = run->out_of_time || budget_rests_on(planned->step);
    int rc = record_unmeasured(run, step, index, VERDICT_SKIPPED, why, err);
    return rc == 0 ? 1 : rc;
}

/* A step without points that does not fit, or that nothing is left to do for. */
static bool step_is_late(struct run *run, const struct plan_step *planned)
{
    if (run->budget.end_ns == 0 || budget_ends_run(planned->step) || planned->cell_count > 0)
        return false;
    run->out_of_time = run->out_of_time || !budget_fits(&run->budget, runner_now(run), planned->duration_s);
    return run->out_of_time;
}

/* What a run that is continued had skipped is still missing. */
static void take_over_time(struct run *run, const struct plan_step *planned)
{
    for (int i = 0; i < planned->cell_count && budget_rests_on(planned->step); i++)
        run->out_of_time =
            run->out_of_time || (run->plan->cell[planned->first_cell + i].skip[0] == '\0' &&
                                 run->outcome[planned->first_cell + i].verdict == VERDICT_SKIPPED);
}

static void gather_verdicts(const struct run *run, const struct plan_step *planned, int *verdict)
{
    for (int i = 0; i < planned->cell_count; i++)
        verdict[i] = run->outcome[planned->first_cell + i].verdict;
}

static void report_point(struct run *run, const struct plan_step *planned, int index, int verdict)
{
    run->progress.point = index + 1;
    run->progress.points_done++;
    run->progress.cell = index;
    run->progress.verdict = verdict;
    run->planned_done_s += planned->cell_count > 0 ? planned->duration_s / planned->cell_count : 0.0;
    run->progress.eta_s = fmax(0.0, run->plan->duration_s - run->planned_done_s);
    if (run->budget.end_ns != 0)
        run->progress.eta_s =
            fmin(run->progress.eta_s, fmax(0.0, (double)(run->budget.end_ns - runner_now(run)) / NS_PER_S));
    runner_progress(run, 0);
    run->progress.cell = -1;
}

/* Once before each point: a rule that takes longer than its period would leave no time for any. 1: something
 * was done. */
static int ask_rules(struct run *run, bool *asked, struct error *err)
{
    int rc = *asked ? 0 : rules_pass(run, err);

    *asked = rc > 0;
    return rc;
}

static int run_cells(struct run *run, int step, struct error *err)
{
    const struct plan_step *planned = &run->plan->step[step];
    int *verdict = calloc((size_t)planned->cell_count + 1, sizeof *verdict);
    int rc =
        verdict != NULL ? record_skips(run, step, err) : error_set(err, ERR_MEMORY, "no memory for a sweep");

    bool has_rules = planned->step->kind == STEP_SWEEP && run->plan->rule_count > 0;
    bool rules_asked = false;
    if (rc == 0 && has_rules)
        rc = rules_enter(run, err);
    if (rc == 0)
        rc = takeover_restore(run, step, err);
    take_over_time(run, planned);
    budget_begin_step(&run->budget);
    while (rc == 0 && !runner_stopping(run)) {
        rc = pause_here(run, err);
        if (rc < 0 || runner_stopping(run))
            break;
        gather_verdicts(run, planned, verdict);
        int index = strategy_next(run->plan, planned, verdict);
        if (index == STRATEGY_DONE)
            break;
        if ((rc = skip_for_time(run, step, index, err)) != 0 ||
            (has_rules && (rc = ask_rules(run, &rules_asked, err)) != 0)) {
            rc = rc > 0 ? 0 : rc;
            continue;
        }
        int cell_index = planned->first_cell + index;
        int64_t begin_ns = runner_now(run);
        struct run_point point = { .step = step,
                                   .what = planned->step,
                                   .cell = &run->plan->cell[cell_index],
                                   .cell_index = cell_index,
                                   .attempt = run->outcome[cell_index].attempts,
                                   .outcome = &run->outcome[cell_index],
                                   .open = run->outcome[cell_index].open };
        if (point.open != NULL)
            point.attempt--; /* goes on in the attempt that was interrupted */
        run->outcome[cell_index].open = NULL;
        rc = point_record_cell(run, point.cell, err);
        if (rc == 0)
            rc = point_run(run, &point, err);
        if (rc == ERR_CANCELLED && runner_check(run, NULL) == 0 && runner_out_of_time(run))
            rc = 0; /* while it was held: the error that led there is its result */
        budget_measured(&run->budget, budget_cell_s(run->plan, cell_index),
                        (double)(runner_now(run) - begin_ns) / NS_PER_S);
        count_verdict(run->result, point.verdict);
        report_point(run, planned, index, point.verdict);
    }
    for (int i = 0; i < planned->cell_count && rc == 0 && !runner_stopping(run); i++) {
        gather_verdicts(run, planned, verdict);
        if (strategy_inferred(run->plan, planned, verdict, i) == VERDICT_INFERRED)
            rc = record_unmeasured(run, step, i, VERDICT_INFERRED, "the boundary lies elsewhere", err);
    }
    free(verdict);
    return rc;
}

/* ---- Steps ---- */

static int record_step(struct run *run, int index, bool end, bool skipped, int code, struct error *err)
{
    const struct campaign_step *step = run->plan->step[index].step;
    struct record_step record = { .index = index,
                                  .kind = campaign_step_kind_name(step->kind),
                                  .name = step->name,
                                  .end = end,
                                  .skipped = skipped,
                                  .code = code,
                                  .time_ns = runner_now(run) };

    return run->sink->step(run->sink->context, &record, err);
}

static int run_step(struct run *run, int index, struct error *err)
{
    const struct plan_step *planned = &run->plan->step[index];
    const struct step_type *type = step_type_of(planned->step->kind);
    bool skipped = !run->has_bench && (type->needs & STEP_NEEDS_CHIP);
    struct error end_err = { 0 };

    if (takeover_skips(run, index))
        return 0;
    run->progress.step = index;
    run->progress.step_kind = type->name;
    run->progress.step_name = planned->step->name;
    run->progress.point = 0;
    run->progress.point_count = planned->cell_count;
    runner_progress(run, 0);

    int rc = pause_here(run, err);
    if (rc == 0)
        rc = record_step(run, index, false, false, 0, err);
    if (rc < 0 || runner_stopping(run))
        return rc;
    if (type->makes_point) {
        rc = run_cells(run, index, err);
    } else if (skipped) {
        rc = runner_event(run, "skipped", NULL, err, "%s: needs a chip; this run is on the reference",
                          planned->step->name);
    } else if (step_is_late(run, planned)) {
        skipped = true;
        rc = runner_event(run, "skipped", NULL, err, "%s: time budget", planned->step->name);
    } else {
        struct run_point point = { .step = index, .what = planned->step, .cell_index = -1 };
        rc = point_run(run, &point, err);
        if (rc == ERR_CANCELLED && runner_check(run, NULL) == 0 && runner_out_of_time(run)) {
            run->out_of_time = true; /* a long wait: the rest is skipped */
            rc = 0;
        }
    }
    if (!type->makes_point)
        run->planned_done_s += planned->duration_s;
    int ended = record_step(run, index, true, skipped, rc, &end_err);
    if (rc == 0 && ended < 0) {
        rc = ended;
        if (err != NULL)
            *err = end_err;
    }
    return rc;
}

/* ---- The way out ---- */

static const char *state_of(const struct run *run, int code, const struct error *err)
{
    int command = run->context->command != NULL ? atomic_load(run->context->command) : RUN_GO;

    /* Cut without a word of ours: somebody has asked the keeper for the safe state. */
    if (code == ERR_CANCELLED && command < RUN_HALT)
        return "estop";
    /* The keeper's latch says so, whoever pulled it. */
    if (code == ERR_TRIPPED && err != NULL && strstr(err->message, "emergency stop") != NULL)
        return "estop";
    /* Keeper or clock died, or took us for dead: nothing is wrong with the chip, and the run may go on. */
    if (code == ERR_FENCED)
        return "interrupted";
    if (code == ERR_TRIPPED || code == ERR_COMPLIANCE)
        return "tripped";
    /* What an abort has cut short is no failure: a call of the bench, or the wait for room on a full disk. */
    bool cut = code == ERR_CANCELLED || (code == ERR_FULL && command >= RUN_HALT);
    if (code < 0 && !cut)
        return "failed";
    static const char *const ends[] = { [RUN_GO] = "done",
                                        [RUN_STOP] = "stopped",
                                        [RUN_ABORT] = "aborted",
                                        [RUN_ESTOP] = "estop",
                                        [RUN_HALT] = "interrupted" };
    return ends[command];
}

/* Outputs first, whatever came before; an abort's cut must not cut the power-down. */
static int make_safe(struct run *run, int code, struct error *err)
{
    struct error safe_err = { 0 };

    if (!run->has_bench) {
        run->result->safe = true;
        return code;
    }
    run->progress.state = "powering_down";
    runner_progress(run, 0);
    bench_client_cancel(run->context->client, false);
    int rc = runner_power_down(run, false, &safe_err);
    struct error thermal_err = { 0 };
    int left = thermal_leave(run, &thermal_err); /* whatever became of the outputs */
    if (rc == 0 && left < 0) {
        rc = left;
        safe_err = thermal_err;
    }
    if (code == 0 && rc < 0) {
        code = rc;
        if (err != NULL)
            *err = safe_err;
    }
    return code;
}

/* Who finds an output off knows that it is, and the keeper why. */
static void tell_cause(const struct run *run, int code, struct error *err)
{
    const struct run_context *context = run->context;
    char found[sizeof err->message], why[160];

    if (code != ERR_TRIPPED || err == NULL || context->latched == NULL ||
        !context->latched(context->latched_context, why, sizeof why) || strstr(err->message, why) != NULL)
        return;
    snprintf(found, sizeof found, "%s", err->message);
    snprintf(err->message, sizeof err->message, "%.*s (%s)", (int)(sizeof found - sizeof why - 4), found,
             why);
}

static int finish(struct run *run, int code, struct error *err)
{
    struct run_result *result = run->result;
    struct error end_err = { 0 };
    char text[ERROR_LINE_MAX];

    code = make_safe(run, code, err);
    tell_cause(run, code, err);
    snprintf(result->state, sizeof result->state, "%s", state_of(run, code, err));
    result->code = code;
    result->samples = run->progress.samples_done;
    result->duration_s = (double)(runner_now(run) - run->start_ns) / NS_PER_S;
    int rc = run->sink->run_end(run->sink->context, result->state, code,
                                code < 0 && err != NULL ? error_describe(err, text, sizeof text) : "",
                                runner_now(run), &end_err);
    if (rc == 0)
        rc = run->sink->ack(run->sink->context, &end_err);
    if (code == 0 && rc < 0) { /* what is not on disk is not done */
        result->code = code = rc;
        snprintf(result->state, sizeof result->state, "%s", state_of(run, code, &end_err));
        if (err != NULL)
            *err = end_err;
    }
    run->progress.state = result->state;
    run->progress.eta_s = 0.0;
    runner_progress(run, 0);
    return code;
}

static void release(struct run *run)
{
    runner_close_backends(run);
    for (int i = 0; run->outcome != NULL && i < run->plan->cell_count + run->plan->rule_cell_count; i++) {
        free(run->outcome[i].prediction);
        free(run->outcome[i].further);
    }
    free(run->outcome);
    free(run);
}

static struct run *create(const struct run_context *context, struct run_result *result)
{
    struct run *run = calloc(1, sizeof *run);

    if (run == NULL)
        return NULL;
    run->context = context;
    run->plan = context->plan;
    run->campaign = context->plan->campaign;
    run->profile = context->profile;
    run->sink = context->sink;
    run->has_bench = context->backend == CAMPAIGN_CHIP;
    run->network = run->reference_network = -1;
    run->idle_w = run->u_idle_w = run->temperature_c = NAN;
    run->result = result;
    run->start_ns = clock_now(context->clock);
    run->budget.end_ns = context->deadline_ns;
    run->budget.reserve_s = budget_reserve_s(context->plan);
    run->progress = (struct run_progress){ .state = "running",
                                           .step_count = run->plan->step_count,
                                           .step_kind = "",
                                           .step_name = "",
                                           .points_total = run->plan->cell_count,
                                           .samples_total = run->plan->sample_count,
                                           .eta_s = run->plan->duration_s,
                                           .row = "",
                                           .cell = -1 };
    return run;
}

int run_execute(const struct run_context *context, struct run_result *ret_result, struct error *err)
{
    struct error detail = { 0 };

    *ret_result = (struct run_result){ .state = "failed" };
    struct run *run = create(context, ret_result);
    if (run == NULL)
        return ret_result->code = error_set(err, ERR_MEMORY, "no memory for a run");

    int rc = begin_record(run, &detail);
    if (rc < 0) { /* nothing was energised and nothing can be recorded */
        ret_result->code = rc;
        release(run);
        if (err != NULL)
            *err = detail;
        return rc;
    }
    rc = allocate_outcomes(run, &detail);
    if (run->has_bench && rc == 0)
        rc = power_init(&run->power, run->profile, context->bench_file, context->client, &detail);
    run->has_bench = run->has_bench && rc == 0;
    if (rc == 0)
        rc = takeover_begin(run, &detail);
    rules_begin(run);
    for (int i = 0; i < run->plan->step_count && rc == 0 && !runner_stopping(run); i++)
        rc = run_step(run, i, &detail);
    if (rc == 0)
        rc = runner_check(run, &detail);
    rc = finish(run, rc, &detail);
    release(run);
    if (rc < 0 && err != NULL)
        *err = detail;
    return rc;
}

int run_record_failure(const struct run_context *context, const struct error *why, struct error *err)
{
    struct run_result result = { .state = "failed" };
    struct run *run = create(context, &result);

    if (run == NULL)
        return error_set(err, ERR_MEMORY, "no memory for a run");
    int rc = begin_record(run, err);
    if (rc == 0)
        rc = run->sink->run_end(run->sink->context, result.state, why->code, why->message, runner_now(run),
                                err);
    if (rc == 0)
        rc = run->sink->ack(run->sink->context, err);
    release(run);
    return rc;
}
