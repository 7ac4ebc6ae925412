/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * plan: campaign x bench file x chip profile x what is known of the files -> steps and cells. Pure and
 * deterministic: the same inputs give the same plan and the same hash, and no hardware is touched. Every
 * set-point is held against the limits of chip and bench here, before anything is switched on; durations and
 * bytes are estimated from what the dialects, the bridge and the mapping state, so that the estimate is the
 * physics and not a guess. */
#ifndef SWEEPS_PLAN_H
#define SWEEPS_PLAN_H

#include "daemon/base/text.h"
#include "instruments/bench.h"
#include "sweeps/assets.h"

enum {
    PLAN_CELLS_MAX = 20000,
    PLAN_STEPS_MAX = CAMPAIGN_STEPS_MAX + CAMPAIGN_RULES_MAX * CAMPAIGN_DO_MAX,
    PLAN_AXES_TEXT_MAX = 320,
    PLAN_SETPOINTS_MAX = 512,
    PLAN_NOTE_MAX = 200
};

struct plan_cell {
    int step, index;                 /* index within its step, in the order of planning */
    int repeat;                      /* from 1 */
    double value[CAMPAIGN_AXES_MAX]; /* by axis of the step's sweep */
    double duration_s;               /* planned, in a sweep; 0 elsewhere: see budget_cell_s */
    char axes_json[PLAN_AXES_TEXT_MAX];
    char identity[SHA256_HEX];        /* hash of step name, axes, repeat and chip type: what joins runs in a
                                         comparison */
    char skip[CAMPAIGN_NAME_MAX * 2]; /* reason why it is not measured, or "" */
};

struct plan_step {
    const struct campaign_step *step;
    int first_cell, cell_count; /* in plan.cell */
    double duration_s;
    double bytes;             /* into the store */
    char note[PLAN_NOTE_MAX]; /* what may come out otherwise than hoped for, or "" */
};

/* A rule's steps stand behind the others in plan.step, its cells behind the others in plan.cell: indices are
 * theirs alone, and who walks through the campaign does not meet them. */
struct plan_rule {
    const struct campaign_rule *rule;
    int first_step, step_count;
    int executions;    /* that are likely */
    double duration_s; /* of one */
};

/* One value that the plan will ask an output for, and the limit that it was held against. */
struct plan_setpoint {
    int step;
    char rail[BENCH_NAME_MAX];
    double volt_v, min_v, max_v; /* tighter of chip profile and instrument */
    double limit_a;
};

struct plan {
    const struct campaign *campaign;
    int step_count, cell_count, setpoint_count;
    int rule_count, rule_cell_count; /* cells behind cell_count */
    struct plan_rule rule[CAMPAIGN_RULES_MAX];
    struct plan_step step[PLAN_STEPS_MAX];
    struct plan_cell *cell;
    struct plan_setpoint setpoint[PLAN_SETPOINTS_MAX];
    int64_t sample_count; /* inferences that will be recorded */
    double duration_s, bytes;
    double down_s; /* of the power-down at the end, wherever it stands */
    char hash[SHA256_HEX];
};

/* With those of the rules. */
static inline int plan_all_steps(const struct plan *plan)
{
    int last = plan->rule_count - 1;

    return last >= 0 ? plan->rule[last].first_step + plan->rule[last].step_count : plan->step_count;
}

struct plan_inputs {
    const struct campaign *campaign;
    const struct bench_file *bench;
    const struct chip_profile *profile;
    const struct assets *assets;
    int backend;   /* enum campaign_backend */
    uint64_t seed; /* 0: the campaign's */
};

/* Mistakes that need bench, chip or files to be seen go into problems (pointer into the campaign). When there
 * are some in it already the rest of them is looked for; *ret_plan is set only when there are none at all. */
int plan_build(const struct plan_inputs *inputs, struct plan **ret_plan, struct json_problems *problems,
               struct error *err);
void plan_free(struct plan *plan);
/* {"hash","steps":[{index,kind,name,points,skipped,duration_s,bytes,note?}],"points","samples","duration_s","bytes","setpoints":[..]}.
 * The caller's: cJSON_Delete(). NULL when out of memory. */
cJSON *plan_json(const struct plan *plan);

#endif
