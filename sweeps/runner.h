/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * runner: the state of one run and what steps may do with it: record, wait, load, move the chip's conditions.
 * Owned by the runner thread alone. Internal to sweeps/. */
#ifndef SWEEPS_RUNNER_H
#define SWEEPS_RUNNER_H

#include "chip/backend_chip.h"
#include "chip/reference.h"
#include "sweeps/budget.h"
#include "sweeps/judge.h"
#include "sweeps/power.h"
#include "sweeps/run.h"
#include "sweeps/sampler.h"
#include "sweeps/step.h"
#include "sweeps/thermal.h"

enum { RUNNER_CORES_MAX = PROFILE_CORES_MAX, RUNNER_CONVERTERS_MAX = 64 };

/* Last attempt of one cell of the plan. */
struct run_outcome {
    int verdict, attempts;
    struct judged judged;
    struct judged *further;      /* [do_count] of a sweep's other steps; NULL where only one measures */
    int dataset, count;          /* samples behind predictions */
    int16_t *prediction;         /* [count], NULL where the step infers nothing */
    const struct run_done *open; /* the attempt that an interrupted run left open, or NULL */
    int64_t begin_ns;            /* of the last attempt that an interrupted run had begun */
    int64_t order;               /* in which an interrupted run had begun it; 0: it had not */
};

/* Trims that a calibration has written, so that a power cycle can write them again; and where it is valid. */
struct run_calibration {
    bool valid;
    int64_t id, time_ns;
    double validity_s;
    double rail_v[PROFILE_RAILS_MAX], temperature_c;
    struct adc_config adc;
    int offset[RUNNER_CORES_MAX][RUNNER_CONVERTERS_MAX], gain[RUNNER_CORES_MAX][RUNNER_CONVERTERS_MAX];
};
#define CALIBRATION_SUPPLY_V 0.020 /* outside of this or that, readings are flagged cal_extrapolated */
#define CALIBRATION_SPAN_C   5.0

/* A rule of the campaign under way. */
struct run_rule {
    int64_t last_ns; /* when it was begun last; at first the run */
    int unfinished;  /* step of an interrupted execution, -1 none */
};

struct run {
    const struct run_context *context;
    const struct plan *plan;
    const struct campaign *campaign;
    const struct chip_profile *profile;
    const struct record_sink *sink;

    bool has_bench; /* false with the reference back end */
    struct power power;
    struct sampler *sampler;
    struct spi_bus bus;
    struct chip *chip; /* open while the rails are up */
    struct chip_identity identity;
    struct backend chip_backend, reference_backend; /* open when .context is not NULL */

    int network;                          /* loaded on the chip (and on the reference); -1 none */
    struct adc_config adc, reference_adc; /* in force on the run's back end, and on the reference */
    struct adc_config loaded_adc;     /* of the last load or sweep; a step's own setting leaves it alone */
    struct adc_config home_adc;       /* of the last load: where the chip comes up again, */
    double home_v[PROFILE_RAILS_MAX]; /* with the supplies of the last power step */
    bool chip_loaded;
    int reference_network;
    struct run_calibration calibration;
    struct thermal thermal;  /* of the chamber */
    double temperature_c;    /* die, when last asked; NaN: never */
    double idle_w, u_idle_w; /* last idle power, at idle_rail_v; NaN: none */
    double idle_rail_v[PROFILE_RAILS_MAX];

    struct run_outcome *outcome; /* [plan->cell_count] */
    struct run_result *result;
    struct run_progress progress;
    int64_t start_ns;
    struct budget budget;
    struct run_rule rule[CAMPAIGN_RULES_MAX];
    double rules_base_v[PROFILE_RAILS_MAX]; /* what the sweep under way found */
    struct adc_config rules_base_adc;
    bool out_of_time;      /* something that the rest is built on did not fit any more */
    double planned_done_s; /* planned seconds of what has been done: drives the remaining time */
    int retries, errors_told;
    char row[RUN_ROW_MAX];
};

/* One attempt of one point; cell is NULL for steps that make no point. */
struct run_point {
    int step; /* index in the plan */
    const struct campaign_step *what;
    const struct plan_cell *cell;
    int cell_index; /* in plan.cell; -1 */
    int attempt;
    int first_sample;   /* position of its first sample: the steps of a sweep's cell share one attempt, */
    const char *prefix; /* and say by this whose a reading is; NULL: "" */
    int tries;          /* since it was begun in this process, or since a person has looked */
    int verdict;        /* set by the step; PASS when it does not */
    struct run_outcome *outcome;
    bool calibrated;             /* the policy wants a calibration that holds */
    const struct run_done *open; /* this attempt began in an interrupted run, or NULL */
};

int64_t runner_now(const struct run *run);
/* ERR_CANCELLED after an abort. */
int runner_check(const struct run *run, struct error *err);
/* Also when the time of the run is up but for its end: what is under way is cut short. */
int runner_go_on(const struct run *run, struct error *err);
bool runner_out_of_time(const struct run *run);
/* A stop was asked for: no new point. */
bool runner_stopping(const struct run *run);
int runner_wait(struct run *run, double seconds, struct error *err);
void runner_progress(struct run *run, int64_t samples_done);

/* ---- Recording ---- */
int runner_reading(struct run *run, const struct run_point *point, const char *channel,
                   const char *instrument, const struct reading *reading, struct error *err);
/* A value that we computed: flagged derived, and simulated or extrapolated as conditions say; also kept in
 * the outcome. */
int runner_quantity(struct run *run, struct run_point *point, int quantity, double value, double uncertainty,
                    struct error *err);
int runner_value(struct run *run, const struct run_point *point, const char *channel, int unit, double value,
                 double uncertainty, uint32_t flags, struct error *err);
int runner_event(struct run *run, const char *kind, const char *json, struct error *err, const char *format,
                 ...) __attribute__((format(printf, 5, 6)));
/* Whether the calibration in force holds here and now; without one, yes. What makes ERR_CALIBRATION. */
int runner_check_calibration(const struct run *run, struct error *err);
/* Flags that hold for whatever is measured on the chip now. */
uint32_t runner_flags(const struct run *run);
/* Asks the chip for its temperature, where it has a sensor; recorded with the point. */
int runner_temperature(struct run *run, struct run_point *point, struct error *err);
/* Means of all rails over a window, as readings "rail.<name>.voltage|current|power" and the quantity
 * power.total. A rail that was not where it was set makes ERR_COMPLIANCE, once that is recorded. */
int runner_rails(struct run *run, struct run_point *point, const struct sampler_window *window,
                 struct error *err);

/* ---- The chip's conditions ---- */
/* Rails up, SPI on, chip opened, sampler started; and back. */
int runner_power_up(struct run *run, const double *target_v, struct error *err);
int runner_power_down(struct run *run, bool emergency, struct error *err);
int runner_identify_chip(struct run *run, struct error *err);
/* Loads a network on the back end, or only another converter setting of the loaded one. */
int runner_load(struct run *run, int backend, int network, const struct adc_config *adc, struct error *err);
/* Brings back, on the run's back end, what the last load or sweep had put in force. */
int runner_load_again(struct run *run, struct error *err);
struct backend *runner_backend(struct run *run, int backend);
void runner_close_backends(struct run *run);
/* Outputs off, and everything as it was again, with a person's time in between. What was in force goes into
 * *state. */
struct run_dark {
    bool was_up;
    double target_v[PROFILE_RAILS_MAX];
    struct adc_config adc, loaded_adc;
    int network;
    double clock_hz; /* of the SPI bus */
};
int runner_go_dark(struct run *run, struct run_dark *state, struct error *err);
int runner_relight(struct run *run, const struct run_dark *state, struct error *err);
/* Its two halves. A chip comes up, gets its network, and can be trusted at the supplies of the power step,
 * which a sweep may have left because the chip fails elsewhere. */
int runner_come_home(struct run *run, const struct run_dark *state, struct error *err);
int runner_go_back(struct run *run, const struct run_dark *state, struct error *err);
/* Writes the trims of the calibration in force. */
int runner_write_trims(struct run *run, struct error *err);
/* Puts the axis values of a cell in force. */
int runner_apply(struct run *run, const struct step_sweep *sweep, const struct plan_cell *cell,
                 struct error *err);
/* Outcome of the first cell of a named step (repeat 1), or NULL. */
const struct run_outcome *runner_outcome(const struct run *run, const char *step_name);

#endif
