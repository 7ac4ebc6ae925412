/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * judge: from quantities and errors to verdicts. Names and units of everything that a point can report are
 * one table here, and docs/names.md explains them; a test holds the two together. */
#ifndef SWEEPS_JUDGE_H
#define SWEEPS_JUDGE_H

#include "daemon/base/record.h"
#include "sweeps/campaign.h"

/* What one point can report and a limit can name. */
enum quantity {
    QUANTITY_ACCURACY,
    QUANTITY_ACCURACY_LOW,
    QUANTITY_ACCURACY_HIGH,
    QUANTITY_RECALL,
    QUANTITY_FALSE_ALARM,
    QUANTITY_POWER,
    QUANTITY_POWER_IDLE,
    QUANTITY_ENERGY,
    QUANTITY_ENERGY_NET,
    QUANTITY_ENERGY_COMPUTE,
    QUANTITY_EFFICIENCY,
    QUANTITY_EFFICIENCY_COMPUTE,
    QUANTITY_TIME,
    QUANTITY_CYCLES,
    QUANTITY_AGREEMENT,
    QUANTITY_RESIDUAL_OFFSET,
    QUANTITY_CONVERTERS_FAILED,
    QUANTITY_DIE_TEMPERATURE,
    QUANTITY_POINT_COUNT
};

struct quantity_info {
    const char *name;
    int unit; /* enum unit */
};
const struct quantity_info *quantity_info(int quantity);
/* Index of a name, or -1. quantity_names(): NULL-terminated, for "nearest valid". */
int quantity_from_name(const char *name);
const char *const *quantity_names(void);

/* What a point knows of its quantities: NaN until measured. For a proportion, successes of n decide through
 * Wilson. */
struct judged {
    double value[QUANTITY_POINT_COUNT];
    double uncertainty[QUANTITY_POINT_COUNT]; /* standard; NaN when nothing states it */
    int successes, n;                         /* behind QUANTITY_ACCURACY; n = 0: none */
};
void judge_clear(struct judged *judged);

/* One limit. Accuracy: PASS when the 95 % interval lies inside the bounds, FAIL when it lies outside of them,
 * else MARGINAL. Others: the same with value +- 2 uncertainties. Where nothing states an uncertainty, a
 * value within the bounds is MARGINAL and never PASS; one outside of them is FAIL, as it has nothing in its
 * favour. What is counted is exact. A quantity that was not measured is SUSPECT: it proves nothing. */
int judge_limit(const struct judged *judged, const struct campaign_limit *limit);
/* Worst of all limits; PASS when there are none. */
int judge_limits(const struct judged *judged, const struct campaign_limit *limit, int count);

/* Class and verdict of an error code. */
int judge_error_class(int code);
int judge_error_verdict(int code);
/* By enum error_class: "link", "timeout" ...; NULL-terminated list for parsing. */
const char *const *judge_error_class_names(void);

#endif
