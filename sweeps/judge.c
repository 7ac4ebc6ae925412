/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * judge: the table of quantities, limits against intervals, errors against classes. */
#include "sweeps/judge.h"

#include <math.h>
#include <string.h>

#include "sweeps/stats.h"

static const struct quantity_info table[QUANTITY_POINT_COUNT] = {
    [QUANTITY_ACCURACY] = { "accuracy", UNIT_NONE },
    [QUANTITY_ACCURACY_LOW] = { "accuracy.low", UNIT_NONE },
    [QUANTITY_ACCURACY_HIGH] = { "accuracy.high", UNIT_NONE },
    [QUANTITY_RECALL] = { "recall", UNIT_NONE },
    [QUANTITY_FALSE_ALARM] = { "false_alarm", UNIT_NONE },
    [QUANTITY_POWER] = { "power.total", UNIT_WATT },
    [QUANTITY_POWER_IDLE] = { "power.idle", UNIT_WATT },
    [QUANTITY_ENERGY] = { "energy_per_inference", UNIT_JOULE },
    [QUANTITY_ENERGY_NET] = { "energy_per_inference.idle_subtracted", UNIT_JOULE },
    [QUANTITY_ENERGY_COMPUTE] = { "energy_per_inference.compute", UNIT_JOULE },
    [QUANTITY_EFFICIENCY] = { "efficiency", UNIT_OPS_PER_JOULE },
    [QUANTITY_EFFICIENCY_COMPUTE] = { "efficiency.compute", UNIT_OPS_PER_JOULE },
    [QUANTITY_TIME] = { "time_per_inference", UNIT_SECOND },
    [QUANTITY_CYCLES] = { "cycles_per_inference", UNIT_NONE },
    [QUANTITY_AGREEMENT] = { "agreement", UNIT_NONE },
    [QUANTITY_RESIDUAL_OFFSET] = { "residual_offset", UNIT_LSB },
    [QUANTITY_CONVERTERS_FAILED] = { "converters_failed", UNIT_NONE },
    [QUANTITY_DIE_TEMPERATURE] = { "temperature.die", UNIT_CELSIUS },
};

/* The same names as a list that json_choice and json_nearest understand. */
static const char *const names[] = {
    "accuracy",
    "accuracy.low",
    "accuracy.high",
    "recall",
    "false_alarm",
    "power.total",
    "power.idle",
    "energy_per_inference",
    "energy_per_inference.idle_subtracted",
    "energy_per_inference.compute",
    "efficiency",
    "efficiency.compute",
    "time_per_inference",
    "cycles_per_inference",
    "agreement",
    "residual_offset",
    "converters_failed",
    "temperature.die",
    NULL,
};
_Static_assert(sizeof names / sizeof *names == QUANTITY_POINT_COUNT + 1, "one name per quantity");

const struct quantity_info *quantity_info(int quantity)
{
    static const struct quantity_info unknown = { "unknown", UNIT_NONE };

    return quantity >= 0 && quantity < QUANTITY_POINT_COUNT ? &table[quantity] : &unknown;
}

int quantity_from_name(const char *name)
{
    for (int i = 0; i < QUANTITY_POINT_COUNT; i++) {
        if (strcmp(table[i].name, name) == 0)
            return i;
    }
    return -1;
}

const char *const *quantity_names(void)
{
    return names;
}

void judge_clear(struct judged *judged)
{
    *judged = (struct judged){ 0 };
    for (int i = 0; i < QUANTITY_POINT_COUNT; i++) {
        judged->value[i] = NAN;
        judged->uncertainty[i] = NAN;
    }
}

/* Computed from counts alone: exact for the samples that were taken. */
static bool counted(int quantity)
{
    return quantity == QUANTITY_ACCURACY_LOW || quantity == QUANTITY_ACCURACY_HIGH ||
           quantity == QUANTITY_CYCLES || quantity == QUANTITY_CONVERTERS_FAILED;
}

int judge_limit(const struct judged *judged, const struct campaign_limit *limit)
{
    int quantity = quantity_from_name(limit->quantity);
    double min = isnan(limit->min) ? -INFINITY : limit->min;
    double max = isnan(limit->max) ? INFINITY : limit->max;
    double low, high;
    bool known = true;

    if (quantity < 0 || isnan(judged->value[quantity]))
        return VERDICT_SUSPECT;

    if (quantity == QUANTITY_ACCURACY && judged->n > 0) {
        struct stats_interval interval = stats_wilson(judged->successes, judged->n);
        low = interval.low;
        high = interval.high;
    } else {
        double u = judged->uncertainty[quantity];
        known = !isnan(u) || counted(quantity);
        double half = isnan(u) ? 0.0 : 2.0 * u;
        low = judged->value[quantity] - half;
        high = judged->value[quantity] + half;
    }
    if (low >= min && high <= max)
        return known ? VERDICT_PASS : VERDICT_MARGINAL;
    if (high < min || low > max)
        return VERDICT_FAIL;
    return VERDICT_MARGINAL;
}

/* The worse of two verdicts of limits. */
static int worse(int a, int b)
{
    static const int rank[VERDICT_COUNT] = {
        [VERDICT_PASS] = 1,
        [VERDICT_MARGINAL] = 2,
        [VERDICT_SUSPECT] = 3,
        [VERDICT_FAIL] = 4,
    };

    return rank[a] >= rank[b] ? a : b;
}

int judge_limits(const struct judged *judged, const struct campaign_limit *limit, int count)
{
    int verdict = VERDICT_PASS;

    for (int i = 0; i < count; i++)
        verdict = worse(verdict, judge_limit(judged, &limit[i]));
    return verdict;
}

/* What each code is to a campaign. Codes that are not listed are ERROR_CLASS_OTHER and VERDICT_ERROR. */
static const struct {
    int code, error_class, verdict;
} classes[] = {
    { ERR_TIMEOUT, ERROR_CLASS_TIMEOUT, VERDICT_LINK_ERROR },
    { ERR_NO_ANSWER, ERROR_CLASS_NO_ANSWER, VERDICT_LINK_ERROR },
    { ERR_GARBAGE, ERROR_CLASS_GARBAGE, VERDICT_LINK_ERROR },
    { ERR_LINK, ERROR_CLASS_LINK, VERDICT_LINK_ERROR },
    { ERR_HANG, ERROR_CLASS_HANG, VERDICT_HANG },
    { ERR_MISMATCH, ERROR_CLASS_MISMATCH, VERDICT_FAIL },
    { ERR_REFUSED, ERROR_CLASS_REFUSED, VERDICT_ERROR },
    { ERR_RANGE, ERROR_CLASS_RANGE, VERDICT_ERROR },
    { ERR_IDENTITY, ERROR_CLASS_IDENTITY, VERDICT_ERROR },
    { ERR_COMPLIANCE, ERROR_CLASS_COMPLIANCE, VERDICT_TRIPPED },
    { ERR_CALIBRATION, ERROR_CLASS_CALIBRATION, VERDICT_ERROR },
    { ERR_TRIPPED, ERROR_CLASS_TRIP, VERDICT_TRIPPED },
    { ERR_FENCED, ERROR_CLASS_TRIP, VERDICT_TRIPPED },
};

int judge_error_class(int code)
{
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++) {
        if (classes[i].code == code)
            return classes[i].error_class;
    }
    return ERROR_CLASS_OTHER;
}

int judge_error_verdict(int code)
{
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++) {
        if (classes[i].code == code)
            return classes[i].verdict;
    }
    return VERDICT_ERROR;
}

const char *const *judge_error_class_names(void)
{
    static const char *const class_names[ERROR_CLASS_COUNT + 1] = {
        [ERROR_CLASS_LINK] = "link",
        [ERROR_CLASS_TIMEOUT] = "timeout",
        [ERROR_CLASS_NO_ANSWER] = "no_answer",
        [ERROR_CLASS_GARBAGE] = "garbage",
        [ERROR_CLASS_REFUSED] = "refused",
        [ERROR_CLASS_RANGE] = "range",
        [ERROR_CLASS_COMPLIANCE] = "compliance",
        [ERROR_CLASS_IDENTITY] = "identity",
        [ERROR_CLASS_HANG] = "hang",
        [ERROR_CLASS_MISMATCH] = "mismatch",
        [ERROR_CLASS_CALIBRATION] = "calibration",
        [ERROR_CLASS_TRIP] = "trip",
        [ERROR_CLASS_OTHER] = "other",
    };

    return class_names;
}
