/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * plan: walks through the steps of a campaign with the state that they would leave behind. */
#include "sweeps/plan.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/hash.h"
#include "sweeps/axes.h"
#include "sweeps/cost.h"
#include "sweeps/plan_check.h"
#include "sweeps/power.h"
#include "sweeps/rules.h"

enum { CELLS_FIRST = 64 };

/* Room for one more cell; NULL when out of memory or of numbers. */
static struct plan_cell *add_cell(struct plan *plan, int *capacity)
{
    if (plan->cell_count == PLAN_CELLS_MAX)
        return NULL;
    if (plan->cell_count == *capacity) {
        int grown = *capacity == 0 ? CELLS_FIRST : 2 * *capacity;
        struct plan_cell *cell = realloc(plan->cell, (size_t)grown * sizeof *cell);
        if (cell == NULL)
            return NULL;
        plan->cell = cell;
        *capacity = grown;
    }
    struct plan_cell *cell = &plan->cell[plan->cell_count++];
    *cell = (struct plan_cell){ 0 };
    return cell;
}

/* What joins this cell with the same cell of another run: step, axes, repeat and type of chip, not the order
 * and not the die. */
static void identify_cell(const struct plan_inputs *inputs, const struct campaign_step *step,
                          struct plan_cell *cell)
{
    char text[CAMPAIGN_NAME_MAX + PLAN_AXES_TEXT_MAX + PROFILE_NAME_MAX + 32];
    uint8_t digest[SHA256_BYTES];
    int length = snprintf(text, sizeof text, "%s\n%s\n%d\n%s\n", step->name, cell->axes_json, cell->repeat,
                          inputs->profile->type);

    sha256(text, (size_t)length, digest);
    hash_hex(digest, sizeof digest, cell->identity);
}

static int repeats_of(const struct campaign_step *step)
{
    if (step->kind == STEP_ACCURACY || step->kind == STEP_INFER)
        return step->u.accuracy.repeat;
    if (step->kind != STEP_SWEEP)
        return 1;
    for (int i = 0; i < step->u.sweep.do_count; i++) {
        if (step->u.sweep.step[i].kind == STEP_ACCURACY || step->u.sweep.step[i].kind == STEP_INFER)
            return step->u.sweep.step[i].u.accuracy.repeat;
    }
    return 1;
}

static int add_sweep_cells(struct plan *plan, int *capacity, const struct plan_inputs *inputs,
                           const struct campaign_step *step, int index, struct error *err)
{
    const struct step_sweep *sweep = &step->u.sweep;
    int count = axes_count(sweep), repeats = repeats_of(step), rc = 0;
    uint64_t seed = inputs->seed != 0 ? inputs->seed : inputs->campaign->seed;
    int *grid = calloc((size_t)count + 1, sizeof *grid);

    if (grid == NULL)
        return error_set(err, ERR_MEMORY, "no memory for a sweep of %d cells", count);
    axes_order(sweep, seed, grid);
    for (int i = 0; i < count * repeats && rc == 0; i++) {
        struct plan_cell *cell = add_cell(plan, capacity);
        if (cell == NULL) {
            rc = error_set(err, ERR_FULL, "step %d \"%s\": the plan has more than %d points", index,
                           step->name, PLAN_CELLS_MAX);
            break;
        }
        cell->step = index;
        cell->index = i;
        cell->repeat = 1 + i / count;
        axes_values(sweep, grid[i % count], cell->value);
        if (!axes_text(sweep, cell->value, cell->axes_json, sizeof cell->axes_json))
            rc = error_set(err, ERR_FULL, "step %d \"%s\": names and values of its axes are too long", index,
                           step->name);
        int forbidden = axes_forbidden(sweep, cell->value);
        if (forbidden >= 0)
            snprintf(cell->skip, sizeof cell->skip, "%s", sweep->constraint[forbidden].reason);
        identify_cell(inputs, step, cell);
    }
    free(grid);
    return rc;
}

static int add_cells(struct plan *plan, int *capacity, const struct plan_inputs *inputs,
                     const struct campaign_step *step, int index, struct error *err)
{
    const struct step_type *type = step_type_of(step->kind);
    bool reference_skips = inputs->backend == CAMPAIGN_REFERENCE && (type->needs & STEP_NEEDS_CHIP);

    if (step->kind == STEP_SWEEP)
        return add_sweep_cells(plan, capacity, inputs, step, index, err);
    for (int i = 0; type->makes_point && i < repeats_of(step); i++) {
        struct plan_cell *cell = add_cell(plan, capacity);
        if (cell == NULL)
            return error_set(err, ERR_FULL, "the plan has more than %d points", PLAN_CELLS_MAX);
        cell->step = index;
        cell->index = i;
        cell->repeat = i + 1;
        snprintf(cell->axes_json, sizeof cell->axes_json, "{}");
        if (reference_skips)
            snprintf(cell->skip, sizeof cell->skip, "needs a chip; this run is on the reference");
        identify_cell(inputs, step, cell);
    }
    return 0;
}

/* The hash covers what decides the run: campaign, seed, back end, chip profile, bench, networks, mappings,
 * data sets. */
static void hash_plan(struct plan *plan, const struct plan_inputs *inputs)
{
    struct sha256_ctx ctx;
    uint8_t digest[SHA256_BYTES];
    char text[64];
    const struct assets *assets = inputs->assets;

    sha256_init(&ctx);
    sha256_update(&ctx, plan->campaign->json, strlen(plan->campaign->json));
    int length = snprintf(text, sizeof text, "\n%llu\n%d\n",
                          (unsigned long long)(inputs->seed != 0 ? inputs->seed : inputs->campaign->seed),
                          inputs->backend);
    sha256_update(&ctx, text, (size_t)length);
    sha256_update(&ctx, inputs->profile->hash, strlen(inputs->profile->hash));
    if (inputs->bench->json != NULL)
        sha256_update(&ctx, inputs->bench->json, strlen(inputs->bench->json));
    for (int i = 0; i < assets->network_count; i++) {
        sha256_update(&ctx, assets->network[i].network_hash, SHA256_HEX - 1);
        sha256_update(&ctx, assets->network[i].mapping_hash, SHA256_HEX - 1);
    }
    for (int i = 0; i < assets->dataset_count; i++)
        sha256_update(&ctx, assets->dataset[i].hash, SHA256_HEX - 1);
    sha256_final(&ctx, digest);
    hash_hex(digest, sizeof digest, plan->hash);
}

/* Costs and set-points of one step; the state moves on. */
static void walk_step(struct plan_state *state, const struct campaign_step *step, struct plan_step *ret_step)
{
    const struct step_type *type = step_type_of(step->kind);
    bool skipped = state->inputs->backend == CAMPAIGN_REFERENCE && (type->needs & STEP_NEEDS_CHIP);
    struct plan_cost cost = { .bytes = COST_STEP_BYTES };
    int repeats = step->kind == STEP_SWEEP ? 1 : repeats_of(step);

    step_check_needs(state, step);
    if (!skipped)
        type->plan(state, step, &cost);
    for (int i = 1; i < repeats; i++)
        type->plan(state, step, &cost);
    if (type->makes_point && step->kind != STEP_SWEEP)
        cost.bytes += COST_POINT_BYTES * repeats;
    ret_step->duration_s = state->inputs->backend == CAMPAIGN_REFERENCE ? 0.0 : cost.seconds;
    ret_step->bytes =
        cost.bytes + (state->powered ? cost_trace_bytes(state->inputs, ret_step->duration_s) : 0.0);
    state->plan->sample_count += cost.samples;
    state->plan->duration_s += ret_step->duration_s;
    state->plan->bytes += ret_step->bytes;
}

/* Was something in this step not understood? Then its defaults are not worth checking. */
static bool misread(const struct json_problems *problems, int count, const struct campaign_step *step)
{
    size_t length = strlen(step->pointer);

    for (int i = 0; i < count && i < JSON_PROBLEMS_MAX; i++) {
        const char *pointer = problems->item[i].pointer;
        if (strncmp(pointer, step->pointer, length) == 0 &&
            (pointer[length] == '\0' || pointer[length] == '/'))
            return true;
    }
    return false;
}

/* Steps of the rules, as they would be done in the first sweep; and how often. */
static int add_rules(struct plan *plan, int *capacity, const struct plan_inputs *inputs,
                     const struct plan_state *in_sweep, int before, struct error *err)
{
    const struct campaign *campaign = inputs->campaign;
    struct plan_cost cost[CAMPAIGN_RULES_MAX] = { { 0 } };
    struct rules_clock clock;
    int main_steps = plan->step_count, main_cells = plan->cell_count, rc = 0;

    for (int i = 0; i < campaign->rule_count; i++) {
        const struct campaign_rule *rule = &campaign->rule[i];
        struct plan_rule *planned = &plan->rule[plan->rule_count++];
        *planned = (struct plan_rule){ .rule = rule, .first_step = plan->step_count };
        if (in_sweep->plan == NULL)
            step_problem(&(struct plan_state){ .problems = in_sweep->problems }, rule->pointer, "",
                         "there is no sweep, and so no points between which it could be done");
        for (int k = 0; k < rule->step_count && in_sweep->plan != NULL && rc == 0; k++) {
            struct plan_state state = *in_sweep;
            struct plan_cost one = { .bytes = COST_STEP_BYTES + COST_POINT_BYTES };
            struct plan_step *step = &plan->step[plan->step_count];
            *step = (struct plan_step){ .step = &rule->step[k], .first_cell = plan->cell_count };
            state.step = plan->step_count++;
            if (misread(in_sweep->problems, before, &rule->step[k]))
                continue;
            rc = add_cells(plan, capacity, inputs, &rule->step[k], state.step, err);
            step->cell_count = plan->cell_count - step->first_cell;
            step_check_needs(&state, &rule->step[k]);
            step_type_of(rule->step[k].kind)->plan(&state, &rule->step[k], &one);
            step->duration_s = inputs->backend == CAMPAIGN_REFERENCE ? 0.0 : one.seconds;
            planned->duration_s += step->duration_s;
            cost[i].bytes += one.bytes;
            cost[i].samples += one.samples;
        }
        planned->step_count = plan->step_count - planned->first_step;
    }
    plan->rule_cell_count = plan->cell_count - main_cells;
    plan->step_count = main_steps;
    plan->cell_count = main_cells;
    if (rc < 0 || in_sweep->problems->count > 0)
        return rc;
    rules_forecast(plan, &clock);
    for (int i = 0; i < plan->rule_count; i++) {
        plan->rule[i].executions = clock.executions[i];
        plan->duration_s += clock.executions[i] * plan->rule[i].duration_s;
        plan->bytes += clock.executions[i] * cost[i].bytes;
        plan->sample_count += clock.executions[i] * cost[i].samples;
        if (clock.executions[i] > RULES_ATTEMPTS_MAX / 2)
            step_problem(in_sweep, plan->rule[i].rule->pointer, "a longer time",
                         "would be done %d times in this plan; %d are enough for anybody",
                         clock.executions[i], RULES_ATTEMPTS_MAX / 2);
    }
    return 0;
}

static int build(struct plan *plan, const struct plan_inputs *inputs, struct json_problems *problems,
                 struct error *err)
{
    struct plan_state state = { .inputs = inputs, .problems = problems, .plan = plan, .network = -1 };
    struct plan_state in_sweep = { .problems = problems };
    int capacity = 0, before = problems->count;

    state.partial = before > 0;
    state.spi_hz =
        fmin(inputs->profile->spi.clock_max_hz, inputs->bench->spi_hz > 0.0 ? inputs->bench->spi_hz : 1e6);
    plan_check_bench(&state);
    plan->bytes = COST_RUN_BYTES;
    for (int i = 0; i < inputs->campaign->step_count; i++) {
        const struct campaign_step *step = &inputs->campaign->step[i];
        struct plan_step *planned = &plan->step[plan->step_count++];

        planned->step = step;
        planned->first_cell = plan->cell_count;
        if (misread(problems, before, step))
            continue;
        int rc = add_cells(plan, &capacity, inputs, step, i, err);
        if (rc < 0)
            return rc;
        planned->cell_count = plan->cell_count - planned->first_cell;
        state.step = i;
        if (step->kind == STEP_SWEEP && in_sweep.plan == NULL)
            in_sweep = state;
        walk_step(&state, step, planned);
    }
    /* Whatever is still up at the end is taken down in order. */
    if (inputs->backend == CAMPAIGN_CHIP)
        plan->down_s = cost_power_down_s(inputs);
    if (state.powered)
        plan->duration_s += plan->down_s;
    int rc = add_rules(plan, &capacity, inputs, &in_sweep, before, err);
    hash_plan(plan, inputs);
    return rc;
}

int plan_build(const struct plan_inputs *inputs, struct plan **ret_plan, struct json_problems *problems,
               struct error *err)
{
    struct plan *plan = calloc(1, sizeof *plan);

    if (plan == NULL)
        return error_set(err, ERR_MEMORY, "no memory for a plan");
    plan->campaign = inputs->campaign;
    int rc = build(plan, inputs, problems, err);
    if (rc == 0 && problems->count > 0)
        rc = json_problems_error(problems, inputs->campaign->name, err);
    if (rc < 0) {
        plan_free(plan);
        return rc;
    }
    *ret_plan = plan;
    return 0;
}

void plan_free(struct plan *plan)
{
    if (plan == NULL)
        return;
    free(plan->cell);
    free(plan);
}

static int skipped_cells(const struct plan *plan, const struct plan_step *step)
{
    int skipped = 0;

    for (int i = 0; i < step->cell_count; i++)
        skipped += plan->cell[step->first_cell + i].skip[0] != '\0';
    return skipped;
}

static void add_steps(const struct plan *plan, cJSON *root)
{
    cJSON *steps = cJSON_AddArrayToObject(root, "steps");

    for (int i = 0; i < plan->step_count; i++) {
        const struct plan_step *step = &plan->step[i];
        cJSON *item = cJSON_CreateObject();
        json_add_number(item, "index", i);
        cJSON_AddStringToObject(item, "kind", campaign_step_kind_name(step->step->kind));
        cJSON_AddStringToObject(item, "name", step->step->name);
        json_add_number(item, "points", step->cell_count);
        json_add_number(item, "skipped", skipped_cells(plan, step));
        json_add_number(item, "duration_s", step->duration_s);
        json_add_number(item, "bytes", round(step->bytes));
        if (step->note[0] != '\0')
            cJSON_AddStringToObject(item, "note", step->note);
        cJSON_AddItemToArray(steps, item);
    }
}

static void add_rule_rows(const struct plan *plan, cJSON *root)
{
    cJSON *rules = plan->rule_count > 0 ? cJSON_AddArrayToObject(root, "rules") : NULL;

    for (int i = 0; i < plan->rule_count; i++) {
        const struct plan_rule *rule = &plan->rule[i];
        cJSON *item = cJSON_CreateObject();
        cJSON_AddStringToObject(item, "name", rule->rule->name);
        json_add_number(item, "every_s", rule->rule->every_s);
        json_add_number(item, "executions", rule->executions);
        json_add_number(item, "duration_s", rule->duration_s);
        cJSON_AddItemToArray(rules, item);
    }
}

cJSON *plan_json(const struct plan *plan)
{
    cJSON *root = cJSON_CreateObject();

    if (root == NULL)
        return NULL;
    cJSON_AddStringToObject(root, "campaign", plan->campaign->name);
    cJSON_AddStringToObject(root, "hash", plan->hash);
    add_steps(plan, root);
    add_rule_rows(plan, root);
    json_add_number(root, "points", plan->cell_count);
    json_add_int64(root, "samples", plan->sample_count);
    json_add_number(root, "duration_s", plan->duration_s);
    json_add_number(root, "bytes", round(plan->bytes));
    cJSON *setpoints = cJSON_AddArrayToObject(root, "setpoints");
    for (int i = 0; i < plan->setpoint_count; i++) {
        const struct plan_setpoint *setpoint = &plan->setpoint[i];
        cJSON *item = cJSON_CreateObject();
        json_add_number(item, "step", setpoint->step);
        cJSON_AddStringToObject(item, "rail", setpoint->rail);
        json_add_number(item, "volt_v", setpoint->volt_v);
        json_add_number(item, "min_v", setpoint->min_v);
        json_add_number(item, "max_v", setpoint->max_v);
        json_add_number(item, "limit_a", setpoint->limit_a);
        cJSON_AddItemToArray(setpoints, item);
    }
    return root;
}
