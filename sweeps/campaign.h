/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * campaign: the campaign language as data. A campaign names a bench, chips, networks and datasets and lists
 * steps; reading one collects every mistake with its JSON pointer, reason and nearest valid choice. Nothing
 * here touches hardware, and nothing here knows limits of a bench or a chip: those are held against the
 * campaign by sweeps/plan. docs/campaigns.md describes every key; configs/campaigns/campaign.schema.json is
 * the same as JSON Schema. */
#ifndef SWEEPS_CAMPAIGN_H
#define SWEEPS_CAMPAIGN_H

#include "chip/backend.h"
#include "daemon/base/json.h"

enum {
    CAMPAIGN_NAME_MAX = 64,
    CAMPAIGN_PATH_MAX = 256,
    CAMPAIGN_TEXT_MAX = 512,
    CAMPAIGN_STEPS_MAX = 64,
    CAMPAIGN_DO_MAX = 4,
    CAMPAIGN_PREFIX_MAX = 20, /* with its point and NUL: the longest channel of a rail still fits behind it */
    CAMPAIGN_RULES_MAX = 4,
    CAMPAIGN_CHIPS_MAX = 64,
    CAMPAIGN_NETWORKS_MAX = 8,
    CAMPAIGN_DATASETS_MAX = 8,
    CAMPAIGN_AXES_MAX = 6,
    CAMPAIGN_VALUES_MAX = 256, /* of one axis */
    CAMPAIGN_LIMITS_MAX = 8,
    CAMPAIGN_CONSTRAINTS_MAX = 16,
    CAMPAIGN_CONDITIONS_MAX = 4,
    CAMPAIGN_POSITIONS_MAX = 16,
    CAMPAIGN_PINS_MAX = 16,
    CAMPAIGN_SAMPLES_MAX = 1000000,
    CAMPAIGN_ATTEMPTS_MAX = 10,
    CAMPAIGN_REPEATS_MAX = 100,
    CAMPAIGN_LEVELS_MAX = 9
};

enum step_kind {
    STEP_IDENTIFY,
    STEP_CONTACT,
    STEP_POWER,
    STEP_LOAD,
    STEP_BIST,
    STEP_GOLDEN,
    STEP_ACCURACY,
    STEP_INFER, /* accuracy without a judgement */
    STEP_CALIBRATE,
    STEP_RECORD,
    STEP_SWEEP,
    STEP_MEASURE,
    STEP_WAIT,
    STEP_COMPARE,
    STEP_REPORT,
    STEP_KIND_COUNT
};

/* Which back end a step asks for; CHIP follows the run's own choice. */
enum campaign_backend { CAMPAIGN_CHIP, CAMPAIGN_REFERENCE };

/* Classes that errors fall into, and what a campaign may want done about each. */
enum error_class {
    ERROR_CLASS_LINK, /* a link that broke; as a key of a campaign also what is said of the next three */
    ERROR_CLASS_TIMEOUT,
    ERROR_CLASS_NO_ANSWER,
    ERROR_CLASS_GARBAGE,
    ERROR_CLASS_REFUSED,
    ERROR_CLASS_RANGE,
    ERROR_CLASS_COMPLIANCE,
    ERROR_CLASS_IDENTITY,
    ERROR_CLASS_HANG,
    ERROR_CLASS_MISMATCH,
    ERROR_CLASS_CALIBRATION, /* the one in force does not hold; RECORD: not even looked at, readings are
                                flagged */
    ERROR_CLASS_TRIP,
    ERROR_CLASS_OTHER,
    ERROR_CLASS_COUNT
};
enum policy_action {
    POLICY_RETRY,       /* the same again, as long as attempts and budget last; then record */
    POLICY_RECOVER,     /* power cycle, load again, golden check, then as retry */
    POLICY_RECORD,      /* the point gets its verdict; go on */
    POLICY_STOP,        /* ordered power-down; the run ends as failed */
    POLICY_RECALIBRATE, /* the last calibration again, then as retry */
    POLICY_HOLD         /* outputs off, and wait for a person; then again */
};
struct campaign_policy {
    int attempts;                  /* tries of one point, from 1 */
    int then;                      /* RECORD, STOP or HOLD: when they are used up */
    double backoff_s;              /* before the second try; doubles from try to try */
    int action[ERROR_CLASS_COUNT]; /* enum policy_action */
};

/* A quantity by its name of docs/names.md must lie within min..max; NaN: no bound. */
struct campaign_limit {
    char quantity[CAMPAIGN_NAME_MAX];
    double min, max;
    char pointer[JSON_POINTER_MAX];
};

struct step_identify {
    bool chip; /* else: the instruments */
};
struct step_contact {
    bool all_must_pass; /* else findings are recorded only */
};
struct step_power {
    bool up;
    bool has_core;
    double core_v; /* voltage of the profile's group "core" instead of nominal, when has_core */
};
struct step_load {
    int network; /* index in campaign */
    struct adc_config adc;
};
struct step_golden {
    int dataset, samples; /* up to GOLDEN_SAMPLES_MAX of chip/golden.h */
    int agree_min;        /* predictions that must agree with the reference's */
    double sigma_lsb;     /* standard deviation of one converter code against the ideal one */
    double k;             /* a sum outside k sigma is an outlier */
    double outlier_share; /* of sums, allowed */
    double gain_share;    /* part of the spread that is in proportion to the code */
};
struct step_bist {
    int seed;
};
struct step_accuracy {
    int dataset, samples, batch; /* batch: samples per acknowledgement */
    int repeat;                  /* how often the whole measurement is made */
    int backend;                 /* enum campaign_backend */
    bool has_adc;
    struct adc_config adc;  /* else: as loaded, or as the sweep's axes say */
    double energy_window_s; /* least time of activity behind a power figure; 0: no energy */
    double idle_window_s;   /* least time of idling behind the idle power; 0: not subtracted */
    int compute_repeat;     /* > 0: separate compute energy with the chip's REPEAT register */
    int limit_count;
    struct campaign_limit limit[CAMPAIGN_LIMITS_MAX];
};
struct step_calibrate {
    int level_count;
    double level[CAMPAIGN_LEVELS_MAX]; /* of converter full scale, -1..1: mid-scale and the two ends */
    struct adc_config adc;
    int average;         /* conversions per point and converter */
    int rounds;          /* at most so many trim-and-verify rounds */
    double residual_lsb; /* allowed residual offset, LSB at adc.bits and gain 1 */
    double validity_s;   /* how long the result holds */
};
struct record_logic {
    int pin_count; /* 0: no capture */
    char pin[CAMPAIGN_PINS_MAX][CAMPAIGN_NAME_MAX];
    double rate_hz, timeout_s;
    int samples;
    int trigger, trigger_pin; /* enum la_trigger; index of a pin */
};
/* Rails that are logged by the instruments that feed them. */
struct record_rails {
    int count; /* 0: none */
    char name[CAMPAIGN_PINS_MAX][CAMPAIGN_NAME_MAX];
    int quantity; /* enum bench_quantity: volts or amperes */
    double period_s, seconds;
};
struct step_record {
    int position_count; /* of the test mux */
    char position[CAMPAIGN_POSITIONS_MAX][CAMPAIGN_NAME_MAX];
    bool counters, status;
    int dataset, result_samples, tensor_samples; /* dataset -1: none */
    struct record_logic logic;
    struct record_rails rails;
};
struct step_measure {
    double window_s; /* rail averages over this time */
    int limit_count;
    struct campaign_limit limit[CAMPAIGN_LIMITS_MAX];
};
struct step_wait {
    double seconds;
};
struct step_compare {
    char a[CAMPAIGN_NAME_MAX], b[CAMPAIGN_NAME_MAX]; /* names of earlier steps with inferences */
};
struct step_report {
    char published[CAMPAIGN_PATH_MAX]; /* report data file, or "" */
    char sweep[CAMPAIGN_NAME_MAX];     /* step whose cells the table shows */
    int where_count;                   /* rows of the published table are looked up at these axis values */
    struct {
        char axis[CAMPAIGN_NAME_MAX];
        double value;
    } where[CAMPAIGN_CONDITIONS_MAX];
};

/* What an axis moves. */
enum axis_set {
    AXIS_RAIL,
    AXIS_GROUP,
    AXIS_SPI_HZ,
    AXIS_ADC_BITS,
    AXIS_ADC_GAIN,
    AXIS_TEMPERATURE,
    AXIS_SET_COUNT
};
struct campaign_axis {
    char name[CAMPAIGN_NAME_MAX];   /* key in a cell's axes: "vdd_v" */
    char target[CAMPAIGN_NAME_MAX]; /* rail or group, else "" */
    int set;                        /* enum axis_set */
    int zip;                        /* axes with one number > 0 move together; 0: alone */
    int count;
    double value[CAMPAIGN_VALUES_MAX];
    char pointer[JSON_POINTER_MAX]; /* of the axis; values are at /list/i where is_list */
    bool is_list;
    double window_k, soak_s, limit_s; /* of a temperature: within this window for so long, or an error */
};
enum condition_op { OP_LT, OP_LE, OP_EQ, OP_NE, OP_GE, OP_GT };
/* A cell that meets every condition is not measured: it is recorded as skipped, with this reason. */
struct campaign_constraint {
    int condition_count;
    struct {
        int axis, op;
        double value;
    } condition[CAMPAIGN_CONDITIONS_MAX];
    char reason[CAMPAIGN_NAME_MAX * 2];
};
enum sweep_order { ORDER_NESTED, ORDER_SNAKE, ORDER_RANDOM };
enum sweep_strategy { STRATEGY_GRID, STRATEGY_BISECT };
struct step_sweep {
    int axis_count, constraint_count, do_count;
    struct campaign_axis axis[CAMPAIGN_AXES_MAX];
    struct campaign_constraint constraint[CAMPAIGN_CONSTRAINTS_MAX];
    int order; /* enum sweep_order */
    uint64_t order_seed;
    int strategy;               /* enum sweep_strategy */
    int bisect_axis;            /* index of the axis that is bisected */
    bool bisect_low_passes;     /* false: passes above a threshold (Vmin) */
    struct campaign_step *step; /* do_count steps done at each cell, in order */
    bool several;               /* of them measure: what is not main_step's is told apart by its prefix */
    int main_step;              /* index of the first that measures: its results stand for the point */
};

struct campaign_step {
    int kind;                         /* enum step_kind */
    char name[CAMPAIGN_NAME_MAX];     /* unique in the campaign; in a sweep's "do" among its steps */
    char prefix[CAMPAIGN_PREFIX_MAX]; /* before the names of its readings: "", or "NAME." in a sweep's "do" */
    char pointer[JSON_POINTER_MAX];
    struct campaign_policy policy;
    union {
        struct step_identify identify;
        struct step_contact contact;
        struct step_power power;
        struct step_load load;
        struct step_bist bist;
        struct step_golden golden;
        struct step_accuracy accuracy; /* also STEP_INFER */
        struct step_calibrate calibrate;
        struct step_record record;
        struct step_sweep sweep;
        struct step_measure measure;
        struct step_wait wait;
        struct step_compare compare;
        struct step_report report;
    } u;
};

/* Done again and again between points of sweeps. */
struct campaign_rule {
    char name[CAMPAIGN_NAME_MAX]; /* "every 2h: calibrate" */
    double every_s;
    int step_count;
    struct campaign_step step[CAMPAIGN_DO_MAX];
    char pointer[JSON_POINTER_MAX];
};

struct campaign_network {
    char name[CAMPAIGN_NAME_MAX], path[CAMPAIGN_PATH_MAX], pointer[JSON_POINTER_MAX];
};
struct campaign_dataset {
    char name[CAMPAIGN_NAME_MAX], path[CAMPAIGN_PATH_MAX], pointer[JSON_POINTER_MAX];
    uint64_t shuffle_labels; /* seed of a label permutation; 0: labels as they are */
};

/* Immutable after reading; freed by campaign_free. */
struct campaign {
    char name[CAMPAIGN_NAME_MAX], title[CAMPAIGN_TEXT_MAX], bench[CAMPAIGN_PATH_MAX];
    uint64_t seed;
    int backend;                   /* enum campaign_backend */
    double log_period_s;           /* continuous logging of all rails; 0: none */
    int retry_budget;              /* retries of the whole run */
    double time_budget_s;          /* bench time that a run may take; 0: any */
    char until[CAMPAIGN_NAME_MAX]; /* wall time by which it must have ended, as written; "": any */
    int chip_count, network_count, dataset_count, step_count;
    char chip[CAMPAIGN_CHIPS_MAX][CAMPAIGN_NAME_MAX]; /* accepted dies; none: any */
    struct campaign_network network[CAMPAIGN_NETWORKS_MAX];
    struct campaign_dataset dataset[CAMPAIGN_DATASETS_MAX];
    struct campaign_policy policy;
    struct campaign_step step[CAMPAIGN_STEPS_MAX];
    int rule_count;
    struct campaign_rule rule[CAMPAIGN_RULES_MAX];
    char *json; /* canonical text: identity and snapshot */
};

/* Reads a campaign from a parsed tree or a file. Mistakes go into problems; *ret_campaign is set only when
 * there are none, else the return is ERR_INVALID and err speaks of the first. */
int campaign_read(const cJSON *root, const char *label, struct campaign **ret_campaign,
                  struct json_problems *problems, struct error *err);
int campaign_load(const char *path, struct campaign **ret_campaign, struct json_problems *problems,
                  struct error *err);
/* The same, but *ret_campaign is set with mistakes too: what could be read, for finding the rest of them;
 * never to be run. Fails for want of memory only. */
int campaign_read_partly(const cJSON *root, const char *label, struct campaign **ret_campaign,
                         struct json_problems *problems, struct error *err);
void campaign_free(struct campaign *campaign);
const char *campaign_step_kind_name(int kind);
/* Canonical text of a tree: keys sorted, no space, shortest numbers; malloc'ed. NULL when out of memory. */
char *campaign_canonical(const cJSON *node);

#endif
