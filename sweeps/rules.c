/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * rules: due times, and executions as attempts. */
#include "sweeps/rules.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "sweeps/point.h"
#include "sweeps/runner.h"

/* ---- In advance ---- */

void rules_clock_start(const struct plan *plan, struct rules_clock *clock)
{
    *clock = (struct rules_clock){ .executions = { 0 } };
    for (int i = 0; i < plan->rule_count; i++)
        clock->next_s[i] = plan->rule[i].rule->every_s;
}

double rules_clock_pass(const struct plan *plan, struct rules_clock *clock, double now_s)
{
    double spent_s = 0.0;

    for (int i = 0; i < plan->rule_count; i++) {
        if (now_s + spent_s < clock->next_s[i])
            continue;
        clock->executions[i]++;
        clock->next_s[i] = now_s + spent_s + plan->rule[i].rule->every_s;
        spent_s += plan->rule[i].duration_s;
    }
    return spent_s;
}

void rules_forecast(const struct plan *plan, struct rules_clock *ret_clock)
{
    double now_s = 0.0;

    rules_clock_start(plan, ret_clock);
    for (int i = 0; i < plan->step_count; i++) {
        const struct plan_step *step = &plan->step[i];
        if (step->step->kind != STEP_SWEEP) {
            now_s += step->duration_s;
            continue;
        }
        for (int k = step->first_cell; k < step->first_cell + step->cell_count; k++) {
            if (plan->cell[k].skip[0] != '\0')
                continue;
            now_s += rules_clock_pass(plan, ret_clock, now_s);
            now_s += budget_cell_s(plan, k);
        }
    }
}

/* ---- On the way ---- */

int rules_unfinished(const struct rules_step *step, int count)
{
    if (!step[0].begun)
        return -1;
    for (int i = 0; i < count; i++) {
        if (!step[i].begun || step[i].open || (i > 0 && step[i].begin_ns < step[i - 1].begin_ns))
            return i;
    }
    return -1;
}

int64_t rules_due_ns(int64_t last_ns, double every_s, int64_t now_ns)
{
    return last_ns > now_ns ? now_ns : last_ns + (int64_t)llround(every_s * NS_PER_S);
}

static struct run_outcome *outcome_of(struct run *run, const struct plan_rule *rule, int step)
{
    return &run->outcome[run->plan->step[rule->first_step + step].first_cell];
}

static void take_over(struct run *run, int index)
{
    const struct plan_rule *rule = &run->plan->rule[index];
    struct run_rule *state = &run->rule[index];
    struct rules_step step[CAMPAIGN_DO_MAX] = { { .begun = false } };

    for (int i = 0; i < rule->step_count; i++) {
        const struct run_outcome *outcome = outcome_of(run, rule, i);
        step[i] = (struct rules_step){ .begun = outcome->attempts > 0,
                                       .open = outcome->open != NULL,
                                       .begin_ns = outcome->begin_ns };
    }
    state->unfinished = rules_unfinished(step, rule->step_count);
    state->last_ns = step[0].begun ? step[0].begin_ns : run->context->history->begin_ns;
}

void rules_begin(struct run *run)
{
    for (int i = 0; i < run->plan->rule_count; i++) {
        run->rule[i] = (struct run_rule){ .last_ns = run->start_ns, .unfinished = -1 };
        if (run->context->history != NULL)
            take_over(run, i);
    }
}

/* What was found before an interruption; what it was found with comes last, so that the newest counts. */
static int restore_found(struct run *run, struct error *err)
{
    int rc = 0;

    for (int i = 0; i < run->plan->rule_count && run->context->history != NULL; i++) {
        const struct plan_rule *rule = &run->plan->rule[i];
        for (int k = 0; k < rule->step_count && rc == 0; k++) {
            int step = rule->first_step + k;
            const struct step_type *type = step_type_of(run->plan->step[step].step->kind);
            if (type->restore != NULL && outcome_of(run, rule, k)->verdict != VERDICT_NONE)
                rc = type->restore(run, step, err);
        }
    }
    return rc;
}

int rules_enter(struct run *run, struct error *err)
{
    if (run->plan->rule_count == 0)
        return 0;
    memcpy(run->rules_base_v, run->power.set_v, sizeof run->rules_base_v);
    run->rules_base_adc = run->loaded_adc;
    return restore_found(run, err);
}

static int go_to_base(struct run *run, struct error *err)
{
    int rc = run->has_bench ? power_move(&run->power, run->rules_base_v, err) : 0;

    if (rc == 0 && run->network >= 0)
        rc = runner_load(run, run->context->backend, run->network, &run->rules_base_adc, err);
    if (rc == 0)
        run->loaded_adc = run->rules_base_adc;
    return rc;
}

static int record_step(struct run *run, int index, bool end, int code, struct error *err)
{
    const struct campaign_step *step = run->plan->step[index].step;
    struct record_step record = { .index = index,
                                  .kind = campaign_step_kind_name(step->kind),
                                  .name = step->name,
                                  .end = end,
                                  .code = code,
                                  .time_ns = runner_now(run) };

    return run->sink->step(run->sink->context, &record, err);
}

/* One step of an execution: one more attempt of its only point, or the one that was interrupted. */
static int do_step(struct run *run, int index, struct error *err)
{
    const struct plan_step *planned = &run->plan->step[index];
    struct run_outcome *outcome = &run->outcome[planned->first_cell];
    struct run_point point = { .step = index,
                               .what = planned->step,
                               .cell = &run->plan->cell[planned->first_cell],
                               .cell_index = planned->first_cell,
                               .attempt = outcome->attempts - (outcome->open != NULL),
                               .outcome = outcome,
                               .open = outcome->open };
    struct error end_err = { 0 };

    outcome->open = NULL;
    int rc = record_step(run, index, false, 0, err);
    if (rc == 0 && outcome->attempts == 0)
        rc = point_record_cell(run, point.cell, err);
    if (rc == 0)
        rc = point_run(run, &point, err);
    int ended = record_step(run, index, true, rc, &end_err);
    if (rc == 0 && ended < 0) {
        rc = ended;
        if (err != NULL)
            *err = end_err;
    }
    return rc;
}

/* On the reference, what needs a chip is not done. */
static bool can_do(const struct run *run, int step)
{
    return run->plan->cell[run->plan->step[step].first_cell].skip[0] == '\0';
}

static bool can_do_any(const struct run *run, const struct plan_rule *rule)
{
    for (int i = 0; i < rule->step_count; i++) {
        if (can_do(run, rule->first_step + i))
            return true;
    }
    return false;
}

static int execute(struct run *run, int index, struct error *err)
{
    const struct plan_rule *rule = &run->plan->rule[index];
    struct run_rule *state = &run->rule[index];
    const char *kind = run->progress.step_kind, *name = run->progress.step_name;
    bool again = state->unfinished >= 0;
    int first = again ? state->unfinished : 0;

    if (!again)
        state->last_ns = runner_now(run);
    state->unfinished = -1;
    int rc = runner_event(run, "rule", NULL, err, "%s: %s", rule->rule->name,
                          again ? "goes on where it was interrupted" : "is due");
    if (rc == 0)
        rc = go_to_base(run, err);
    for (int i = first; i < rule->step_count && rc == 0 && !runner_stopping(run); i++) {
        if (!can_do(run, rule->first_step + i))
            continue;
        run->progress.step_kind = campaign_step_kind_name(rule->rule->step[i].kind);
        run->progress.step_name = rule->rule->step[i].name;
        runner_progress(run, 0);
        rc = do_step(run, rule->first_step + i, err);
    }
    run->progress.step_kind = kind;
    run->progress.step_name = name;
    runner_progress(run, 0);
    return rc;
}

static bool is_due(const struct run *run, int index)
{
    const struct run_rule *state = &run->rule[index];
    int64_t now_ns = runner_now(run);

    return state->unfinished >= 0 ||
           now_ns >= rules_due_ns(state->last_ns, run->plan->rule[index].rule->every_s, now_ns);
}

/* Attempts are numbered up to a limit: the last ones are left for what a person may still want. */
static bool has_attempts_left(struct run *run, const struct plan_rule *rule)
{
    for (int i = 0; i < rule->step_count; i++) {
        if (outcome_of(run, rule, i)->attempts > RULES_ATTEMPTS_MAX - CAMPAIGN_ATTEMPTS_MAX)
            return false;
    }
    return true;
}

int rules_pass(struct run *run, struct error *err)
{
    int done = 0, rc = 0;

    for (int i = 0; i < run->plan->rule_count && rc == 0 && !runner_stopping(run) && !run->out_of_time; i++) {
        const struct plan_rule *rule = &run->plan->rule[i];
        if (!is_due(run, i) || !has_attempts_left(run, rule) || !can_do_any(run, rule))
            continue;
        done = 1;
        if (budget_fits(&run->budget, runner_now(run), rule->duration_s)) {
            rc = execute(run, i, err);
        } else {
            run->out_of_time = true; /* what comes after it would be measured without it */
            rc = runner_event(run, "skipped", NULL, err, "%s: time budget", rule->rule->name);
        }
    }
    return rc < 0 ? rc : done;
}
