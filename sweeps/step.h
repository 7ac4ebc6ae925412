/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * step: the table of step kinds. One kind is one file sweeps/step_*.c with one struct step_type: how it is
 * read from a campaign, what it costs in a plan, how it is executed. A new kind is such a file, a line in
 * step_type_of() and a section in docs/campaigns.md. */
#ifndef SWEEPS_STEP_H
#define SWEEPS_STEP_H

#include "chip/profile.h"
#include "sweeps/plan.h"

struct run;
struct run_point;

enum step_needs {
    STEP_NEEDS_POWER = 1 << 0,   /* rails are up */
    STEP_NEEDS_NETWORK = 1 << 1, /* a network is loaded */
    STEP_NEEDS_DARK = 1 << 2,    /* rails are down */
    STEP_NEEDS_CHIP = 1 << 3     /* means nothing on the reference back end: recorded as skipped there */
};

/* What planning knows while it walks through the steps. */
struct plan_state {
    const struct plan_inputs *inputs;
    struct json_problems *problems;
    struct plan *plan;
    int step;     /* index of the step being planned */
    bool partial; /* the campaign has mistakes: what earlier steps would have done is not known */
    bool powered;
    int network; /* index of the loaded one, -1 none */
    struct adc_config adc;
    double rail_v[PROFILE_RAILS_MAX];
    double spi_hz;
    bool soaks; /* an axis has set the temperature around the chip */
    double temperature_c, soak_s;
    bool idle_known; /* idle power has been measured at idle_v */
    double idle_v[PROFILE_RAILS_MAX];
};
struct plan_cost {
    double seconds, bytes;
    int64_t samples;
};

struct step_type {
    const char *name;
    unsigned needs;          /* enum step_needs */
    bool makes_point;        /* has a cell, attempts and a verdict */
    bool in_sweep;           /* may stand in a sweep's "do" */
    const char *const *keys; /* besides "step", "name" and "on_error"; NULL-terminated */
    void (*parse)(const struct json_at *at, const struct campaign *campaign, struct campaign_step *step);
    /* Checks set-points (problems), moves the state, adds to the cost. Costs of one point; a sweep adds up
     * its own. */
    void (*plan)(struct plan_state *state, const struct campaign_step *step, struct plan_cost *cost);
    int (*execute)(struct run *run, struct run_point *point, struct error *err);
    /* What becomes of a step that an interrupted run had finished. Its points are not measured again; without
     * points it is done again, for it puts something in force. */
    bool once;     /* no: it leaves nothing in force */
    bool verifies; /* measured again, as one more attempt, before the points that are left */
    /* Puts in force what its points had found or left in force; NULL: nothing. */
    int (*restore)(struct run *run, int step, struct error *err);
};

/* Never NULL for a valid kind. */
const struct step_type *step_type_of(int kind);
/* Reads one step; `within` says that it stands in a sweep's "do". */
void step_parse(const struct json_at *at, const struct campaign *campaign, bool within,
                struct campaign_step *ret_step);
/* Reports what the step needs and the plan has not done yet. */
void step_check_needs(const struct plan_state *state, const struct campaign_step *step);

/* ---- Readers that several kinds share ---- */
/* Copies a member's string; too long is a problem. */
void step_text(const struct json_at *at, const char *key, bool required, char *out, size_t size,
               const char *fallback);
/* Index of a network or dataset by the name the campaign gave it; -1 (reported when required) when absent or
 * unknown. */
int step_network(const struct json_at *at, const struct campaign *campaign);
int step_dataset(const struct json_at *at, const struct campaign *campaign, bool required);
/* {"bits":9,"gain":4}; returns whether it was there. Which values exist is the profile's to say: see
 * step_check_adc. */
bool step_adc(const struct json_at *at, const char *key, bool required, struct adc_config *ret_adc);
int step_limits(const struct json_at *at, struct campaign_limit *ret_limit);
/* Error policy at member "on_error", on top of `fallback`. */
void step_policy(const struct json_at *at, const struct campaign_policy *fallback,
                 struct campaign_policy *ret_policy);
/* Planning: is the converter setting one of the profile's? Of a step's member "adc", or of one value. */
void step_check_adc(const struct plan_state *state, const struct campaign_step *step,
                    const struct adc_config *adc);
void step_check_bits(const struct plan_state *state, const char *pointer, int bits);
void step_check_gain(const struct plan_state *state, const char *pointer, int gain);
/* Planning: a problem at a place that was read earlier. */
void step_problem(const struct plan_state *state, const char *pointer, const char *hint, const char *format,
                  ...) __attribute__((format(printf, 4, 5)));

extern const struct step_type step_identify_type, step_contact_type, step_power_type, step_load_type,
    step_bist_type, step_golden_type, step_accuracy_type, step_infer_type, step_calibrate_type,
    step_record_type, step_sweep_type, step_measure_type, step_wait_type, step_compare_type, step_report_type;

#endif
