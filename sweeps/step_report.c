/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * step_report: what the run found so far as text, in the sink as events of kind "report": points, the cells
 * of a sweep, and published figures beside them. */
#include "sweeps/report.h"
#include "sweeps/runner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void parse(const struct json_at *at, const struct campaign *campaign, struct campaign_step *step)
{
    struct step_report *report = &step->u.report;
    struct json_at where = json_member(at, "where", false);

    (void)campaign;
    step_text(at, "published", false, report->published, sizeof report->published, "");
    step_text(at, "sweep", false, report->sweep, sizeof report->sweep, "");
    for (const cJSON *child = where.node != NULL ? where.node->child : NULL; child != NULL;
         child = child->next) {
        if (report->where_count == CAMPAIGN_CONDITIONS_MAX) {
            json_problem(&where, "", "more than %d conditions", CAMPAIGN_CONDITIONS_MAX);
            break;
        }
        snprintf(report->where[report->where_count].axis, CAMPAIGN_NAME_MAX, "%s", child->string);
        report->where[report->where_count++].value =
            json_double(&where, child->string, true, -1e12, 1e12, 0.0);
    }
    if (report->published[0] != '\0' && report->sweep[0] == '\0') {
        struct json_at member = json_member(at, "published", false);
        json_problem(&member, "add \"sweep\"", "published figures are set beside the cells of a sweep");
    }
}

/* The planned sweep of that name, or NULL. */
static const struct plan_step *sweep_named(const struct plan *plan, int before, const char *name)
{
    for (int i = 0; i < before; i++) {
        if (plan->step[i].step->kind == STEP_SWEEP && strcmp(plan->step[i].step->name, name) == 0)
            return &plan->step[i];
    }
    return NULL;
}

static void plan(struct plan_state *state, const struct campaign_step *step, struct plan_cost *cost)
{
    const struct step_report *report = &step->u.report;
    struct json_problems *problems = calloc(1, sizeof *problems);
    struct report_published *published = calloc(1, sizeof *published);
    struct error err = { 0 };

    cost->bytes += 4000.0;
    if (report->sweep[0] != '\0' && !state->partial &&
        sweep_named(state->plan, state->step, report->sweep) == NULL)
        step_problem(state, step->pointer, "", "no earlier sweep is called \"%s\"", report->sweep);
    if (report->published[0] != '\0' && problems != NULL && published != NULL &&
        report_published_load(report->published, published, problems, &err) < 0)
        step_problem(state, step->pointer, "", "%.200s", err.message);
    free(published);
    free(problems);
}

static void points_table(const struct run *run, struct strbuf *out)
{
    for (int i = 0; i < run->plan->step_count; i++) {
        const struct plan_step *planned = &run->plan->step[i];
        if (planned->step->kind == STEP_SWEEP)
            continue;
        for (int k = 0; k < planned->cell_count; k++) {
            const struct run_outcome *outcome = &run->outcome[planned->first_cell + k];
            if (outcome->verdict == VERDICT_NONE)
                continue;
            strbuf_add(out, "%-10s %-28s %s", campaign_step_kind_name(planned->step->kind),
                       planned->step->name, verdict_name(outcome->verdict));
            if (outcome->judged.n > 0)
                strbuf_add(out, "  %.1f %% of %d", 100.0 * outcome->judged.successes / outcome->judged.n,
                           outcome->judged.n);
            strbuf_add(out, "\n");
        }
    }
}

static int emit(struct run *run, struct strbuf *text, struct error *err)
{
    if (text->failed || text->text == NULL)
        return error_set(err, ERR_MEMORY, "no memory for a report");
    struct record_event event = {
        .kind = "report", .text = text->text, .time_ns = runner_now(run), .wall_ns = clock_wall_now()
    };
    return run->sink->event(run->sink->context, &event, err);
}

static int sweep_tables(struct run *run, const struct step_report *report, const struct plan_step *planned,
                        struct error *err)
{
    struct report_cell *cells = calloc((size_t)planned->cell_count + 1, sizeof *cells);
    struct report_published *published = calloc(1, sizeof *published);
    struct json_problems *problems = calloc(1, sizeof *problems);
    struct strbuf text = { 0 };
    int rc = 0;

    if (cells == NULL || published == NULL || problems == NULL) {
        rc = error_set(err, ERR_MEMORY, "no memory for a report");
        goto out;
    }
    for (int i = 0; i < planned->cell_count; i++) {
        const struct run_outcome *outcome = &run->outcome[planned->first_cell + i];
        cells[i] = (struct report_cell){ .cell = &run->plan->cell[planned->first_cell + i],
                                         .verdict = outcome->verdict,
                                         .judged = outcome->judged.n > 0 ? &outcome->judged : NULL,
                                         .further = outcome->further };
    }
    report_sweep(&planned->step->u.sweep, cells, planned->cell_count, &text);
    rc = emit(run, &text, err);
    strbuf_free(&text);
    if (rc < 0 || report->published[0] == '\0')
        goto out;

    rc = report_published_load(report->published, published, problems, err);
    if (rc < 0)
        goto out;
    text = (struct strbuf){ 0 };
    report_beside(published, report, &planned->step->u.sweep, cells, planned->cell_count, &text);
    rc = emit(run, &text, err);
    strbuf_free(&text);
out:
    free(problems);
    free(published);
    free(cells);
    return rc;
}

static int execute(struct run *run, struct run_point *point, struct error *err)
{
    const struct step_report *report = &point->what->u.report;
    struct strbuf text = { 0 };

    strbuf_add(&text, "%s, chip %s, back end %s, seed %llu; 1 MAC = %d OP\n", run->campaign->name,
               run->identity.serial[0] != '\0' ? run->identity.serial : "(not identified)",
               run->has_bench ? "chip" : "reference", (unsigned long long)run->context->seed,
               run->profile->operations_per_mac);
    points_table(run, &text);
    int rc = emit(run, &text, err);
    strbuf_free(&text);
    if (rc < 0 || report->sweep[0] == '\0')
        return rc;

    const struct plan_step *planned = sweep_named(run->plan, point->step, report->sweep);
    return planned != NULL ? sweep_tables(run, report, planned, err) : 0;
}

static const char *const keys[] = { "published", "sweep", "where", NULL };
const struct step_type step_report_type = {
    .name = "report",
    .once = true,
    .keys = keys,
    .parse = parse,
    .plan = plan,
    .execute = execute,
};
