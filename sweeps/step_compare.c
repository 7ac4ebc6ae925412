/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * step_compare: two earlier steps of this run over the same samples, paired: who is right where the other is
 * wrong. */
#include "sweeps/compare.h"
#include "sweeps/runner.h"

#include <stdlib.h>
#include <string.h>

static void parse(const struct json_at *at, const struct campaign *campaign, struct campaign_step *step)
{
    (void)campaign;
    step_text(at, "a", true, step->u.compare.a, sizeof step->u.compare.a, "");
    step_text(at, "b", true, step->u.compare.b, sizeof step->u.compare.b, "");
}

static void check_name(struct plan_state *state, const struct campaign_step *step, const char *name)
{
    const char *names[CAMPAIGN_STEPS_MAX + 1] = { NULL };
    int count = 0;

    for (int i = 0; i < state->step; i++) {
        const struct campaign_step *earlier = state->plan->step[i].step;
        if (earlier->kind != STEP_ACCURACY && earlier->kind != STEP_INFER)
            continue;
        if (strcmp(earlier->name, name) == 0)
            return;
        names[count++] = earlier->name;
    }
    if (state->partial)
        return; /* it may be one that was not understood */
    const char *nearest = json_nearest(name, names);
    step_problem(state, step->pointer, nearest != NULL ? nearest : "",
                 "no earlier step with inferences is called \"%s\"", name);
}

static void plan(struct plan_state *state, const struct campaign_step *step, struct plan_cost *cost)
{
    (void)cost;
    check_name(state, step, step->u.compare.a);
    check_name(state, step, step->u.compare.b);
}

static int execute(struct run *run, struct run_point *point, struct error *err)
{
    const struct step_compare *compare = &point->what->u.compare;
    const struct run_outcome *a = runner_outcome(run, compare->a), *b = runner_outcome(run, compare->b);
    struct compare_cell cell;

    if (a == NULL || b == NULL || a->prediction == NULL || b->prediction == NULL || a->dataset != b->dataset)
        return runner_event(run, "compare", NULL, err, "%s and %s: nothing in common to compare", compare->a,
                            compare->b);

    int count = a->count < b->count ? a->count : b->count;
    const struct dataset *dataset = run->context->assets->dataset[a->dataset].dataset;
    int16_t *label = calloc((size_t)count + 1, sizeof *label);
    if (label == NULL)
        return error_set(err, ERR_MEMORY, "no memory to compare %d samples", count);
    for (int i = 0; i < count; i++)
        label[i] = (int16_t)dataset_label(dataset, i);
    compare_predictions(a->prediction, b->prediction, label, count, &cell);
    free(label);

    return runner_event(
        run, "compare", NULL, err,
        "%s %.1f %%, %s %.1f %% over the same %d samples: %+.1f points; %d against %d discordant, McNemar "
        "exact p = %.3g (mid-p %.3g); %d predictions differ, the first at sample %d",
        compare->a, 100.0 * cell.accuracy_a, compare->b, 100.0 * cell.accuracy_b, cell.joined,
        100.0 * (cell.accuracy_b - cell.accuracy_a), cell.a_right, cell.b_right, cell.p, cell.mid_p,
        cell.predictions_differ, cell.first_sample);
}

static const char *const keys[] = { "a", "b", NULL };
const struct step_type step_compare_type = {
    .name = "compare",
    .once = true,
    .keys = keys,
    .parse = parse,
    .plan = plan,
    .execute = execute,
};
