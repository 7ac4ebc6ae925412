/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * axes: lists, ranges, files and zips of values; nested, snake and random order; constraints. */
#include "sweeps/axes.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/rng.h"
#include "sweeps/step.h"

/* What moving an axis costs: higher is slower, and goes outermost. */
static const int set_cost[AXIS_SET_COUNT] = {
    [AXIS_RAIL] = 3,     [AXIS_GROUP] = 3,    [AXIS_SPI_HZ] = 1,
    [AXIS_ADC_BITS] = 2, [AXIS_ADC_GAIN] = 2, [AXIS_TEMPERATURE] = 4,
};

/* One dimension of the grid: an axis, or several zipped ones. */
struct dimension {
    int first, zip, count, cost;
};

static int dimensions(const struct step_sweep *sweep, struct dimension *ret)
{
    int n = 0;

    for (int i = 0; i < sweep->axis_count; i++) {
        const struct campaign_axis *axis = &sweep->axis[i];
        int k;

        for (k = 0; k < n; k++) {
            if (axis->zip > 0 && ret[k].zip == axis->zip)
                break;
        }
        if (k < n) {
            if (set_cost[axis->set] > ret[k].cost)
                ret[k].cost = set_cost[axis->set];
            continue;
        }
        ret[n++] = (struct dimension){ i, axis->zip, axis->count, set_cost[axis->set] };
    }
    /* Stable insertion by cost, the costly outermost: six axes at most. */
    for (int i = 1; i < n; i++) {
        struct dimension moved = ret[i];
        int k = i;
        for (; k > 0 && ret[k - 1].cost < moved.cost; k--)
            ret[k] = ret[k - 1];
        ret[k] = moved;
    }
    return n;
}

int axes_count(const struct step_sweep *sweep)
{
    struct dimension dimension[CAMPAIGN_AXES_MAX];
    int n = dimensions(sweep, dimension);
    long total = n > 0 ? 1 : 0;

    for (int i = 0; i < n; i++) {
        total *= dimension[i].count;
        if (total > PLAN_CELLS_MAX)
            return 0;
    }
    return (int)total;
}

void axes_values(const struct step_sweep *sweep, int grid, double *ret_value)
{
    struct dimension dimension[CAMPAIGN_AXES_MAX];
    int n = dimensions(sweep, dimension);

    for (int d = n - 1; d >= 0; d--) {
        int index = grid % dimension[d].count;

        grid /= dimension[d].count;
        for (int i = 0; i < sweep->axis_count; i++) {
            const struct campaign_axis *axis = &sweep->axis[i];
            if (i == dimension[d].first || (axis->zip > 0 && axis->zip == dimension[d].zip))
                ret_value[i] = axis->value[index];
        }
    }
}

/* Grid index of the i-th step of a snake: every dimension turns round when the ones outside of it have moved
 * by one. */
static int snake(const struct dimension *dimension, int n, int i)
{
    int digit[CAMPAIGN_AXES_MAX] = { 0 }, grid = 0;

    for (int d = n - 1; d >= 0; d--) {
        digit[d] = i % dimension[d].count;
        i /= dimension[d].count;
    }
    /* The parity of the position counted so far in visiting order says which way the next dimension runs. */
    int visited = 0;
    for (int d = 0; d < n; d++) {
        int value = visited % 2 ? dimension[d].count - 1 - digit[d] : digit[d];
        visited = visited * dimension[d].count + digit[d];
        grid = grid * dimension[d].count + value;
    }
    return grid;
}

void axes_order(const struct step_sweep *sweep, uint64_t seed, int *ret_grid)
{
    struct dimension dimension[CAMPAIGN_AXES_MAX];
    int n = dimensions(sweep, dimension), count = axes_count(sweep);

    for (int i = 0; i < count; i++)
        ret_grid[i] = sweep->order == ORDER_SNAKE ? snake(dimension, n, i) : i;
    if (sweep->order != ORDER_RANDOM)
        return;

    struct rng rng;
    rng_init(&rng, sweep->order_seed != 0 ? sweep->order_seed : seed, "sweep_order", 0, 0, 0);
    for (int i = count - 1; i > 0; i--) {
        int k = (int)rng_below(&rng, (uint32_t)i + 1), kept = ret_grid[i];
        ret_grid[i] = ret_grid[k];
        ret_grid[k] = kept;
    }
}

static bool holds(double x, int op, double y)
{
    switch (op) {
    case OP_LT:
        return x < y;
    case OP_LE:
        return x <= y;
    case OP_EQ:
        return x == y;
    case OP_NE:
        return x != y;
    case OP_GE:
        return x >= y;
    default:
        return x > y;
    }
}

int axes_forbidden(const struct step_sweep *sweep, const double *value)
{
    for (int i = 0; i < sweep->constraint_count; i++) {
        const struct campaign_constraint *constraint = &sweep->constraint[i];
        bool all = true;
        for (int k = 0; k < constraint->condition_count; k++)
            all = all && holds(value[constraint->condition[k].axis], constraint->condition[k].op,
                               constraint->condition[k].value);
        if (all)
            return i;
    }
    return -1;
}

bool axes_text(const struct step_sweep *sweep, const double *value, char *out, size_t size)
{
    int order[CAMPAIGN_AXES_MAX];
    cJSON *object;
    char *text;
    bool fits;

    for (int i = 0; i < sweep->axis_count; i++) {
        int k = i;
        for (; k > 0 && strcmp(sweep->axis[order[k - 1]].name, sweep->axis[i].name) > 0; k--)
            order[k] = order[k - 1];
        order[k] = i;
    }
    object = cJSON_CreateObject(); /* a name may need quoting */
    for (int i = 0; i < sweep->axis_count; i++)
        json_add_number(object, sweep->axis[order[i]].name, value[order[i]]);
    text = json_print(object, false);
    cJSON_Delete(object);
    fits = text != NULL && strlen(text) < size;
    if (fits)
        memcpy(out, text, strlen(text) + 1);
    free(text);
    return fits;
}

/* ---- Reading ---- */

/* "adc_bits", "adc_gain", "spi_hz", "temperature", "rail.VDDD", "group.core". */
static bool read_target(const struct json_at *at, struct campaign_axis *axis)
{
    static const char *const plain[] = { "spi_hz", "adc_bits", "adc_gain", "temperature", NULL };
    static const int plain_set[] = { AXIS_SPI_HZ, AXIS_ADC_BITS, AXIS_ADC_GAIN, AXIS_TEMPERATURE };
    struct json_at member = json_member(at, "set", false);
    const char *set = json_string(at, member.node != NULL ? "set" : "name", true, "");

    if (set == NULL)
        return false;
    for (int i = 0; plain[i] != NULL; i++) {
        if (strcmp(set, plain[i]) == 0) {
            axis->set = plain_set[i];
            return true;
        }
    }
    if (strncmp(set, "rail.", 5) == 0 || strncmp(set, "group.", 6) == 0) {
        axis->set = set[0] == 'r' ? AXIS_RAIL : AXIS_GROUP;
        snprintf(axis->target, sizeof axis->target, "%s", strchr(set, '.') + 1);
        return true;
    }
    const char *nearest = json_nearest(set, plain);
    json_problem(
        member.node != NULL ? &member : at, nearest != NULL ? nearest : "\"set\":\"group.core\"",
        "\"%s\" is nothing an axis can set (adc_bits, adc_gain, spi_hz, temperature, rail.NAME, group.NAME)",
        set);
    return false;
}

/* {"from":a,"to":b,"count":n}, evenly or by even ratios. */
static void read_range(const struct json_at *at, const char *key, struct campaign_axis *axis)
{
    static const char *const known[] = { "from", "to", "count", NULL };
    bool logarithmic = strcmp(key, "log") == 0;
    struct json_at range = json_member(at, key, true);

    json_only(&range, known);
    double from = json_double(&range, "from", true, -1e12, 1e12, 0.0);
    double to = json_double(&range, "to", true, -1e12, 1e12, 0.0);
    int count = (int)json_integer(&range, "count", true, 1, CAMPAIGN_VALUES_MAX, 1);
    if (logarithmic && !(from > 0.0 && to > 0.0)) {
        json_problem(&range, "", "a logarithmic range needs positive ends");
        return;
    }
    axis->count = count;
    for (int i = 0; i < count; i++) {
        double share = count > 1 ? (double)i / (count - 1) : 0.0;
        double value = logarithmic ? from * pow(to / from, share) : from + (to - from) * share;
        /* Twelve digits: 0.72 + 0.08 shall be written 0.8, in names of cells too. */
        char text[40];
        snprintf(text, sizeof text, "%.12g", value);
        axis->value[i] = strtod(text, NULL);
    }
}

static void read_file(const struct json_at *at, struct campaign_axis *axis)
{
    struct json_at file = json_member(at, "file", true);
    const char *path = json_string(at, "file", true, NULL);
    struct error err = { 0 };
    cJSON *root = NULL;

    if (path == NULL)
        return;
    if (json_load(path, &root, &err) < 0) {
        json_problem(&file, "", "%.200s", err.message);
        return;
    }
    int count = cJSON_GetArraySize(root);
    if (!cJSON_IsArray(root) || count < 1 || count > CAMPAIGN_VALUES_MAX) {
        json_problem(&file, "", "must hold a list of 1 to %d numbers", CAMPAIGN_VALUES_MAX);
        count = 0;
    }
    for (int i = 0; i < count; i++) {
        const cJSON *item = cJSON_GetArrayItem(root, i);
        if (!cJSON_IsNumber(item))
            json_problem(&file, "", "item %d of the list is not a number", i);
        else
            axis->value[axis->count++] = item->valuedouble;
    }
    cJSON_Delete(root);
}

/* How long a temperature is waited for; on no other axis. */
static void read_soak(const struct json_at *at, struct campaign_axis *axis)
{
    static const char *const keys[] = { "soak_s", "window_k", "limit_s", NULL };

    for (int i = 0; keys[i] != NULL && axis->set != AXIS_TEMPERATURE; i++) {
        struct json_at member = json_member(at, keys[i], false);
        if (member.node != NULL)
            json_problem(&member, "", "only an axis that sets the temperature soaks");
    }
    axis->soak_s = json_double(at, "soak_s", false, 0.0, 86400.0, 60.0);
    axis->window_k = json_double(at, "window_k", false, 0.1, 9.9, 1.0);
    axis->limit_s = json_double(at, "limit_s", false, 1.0, 86400.0, 3600.0);
    if (axis->limit_s <= axis->soak_s)
        json_problem(at, "", "a soak of %g s cannot end within %g s", axis->soak_s, axis->limit_s);
}

static void read_axis(const struct json_at *at, int zip, struct step_sweep *sweep)
{
    static const char *const known[] = { "name", "set",    "list",     "linear",  "log",
                                         "file", "soak_s", "window_k", "limit_s", NULL };
    static const char *const sources[] = { "list", "linear", "log", "file", NULL };
    int given = 0, source = 0;

    if (sweep->axis_count == CAMPAIGN_AXES_MAX) {
        json_problem(at, "", "more than %d axes", CAMPAIGN_AXES_MAX);
        return;
    }
    struct campaign_axis *axis = &sweep->axis[sweep->axis_count];
    json_only(at, known);
    snprintf(axis->pointer, sizeof axis->pointer, "%s", at->pointer);
    step_text(at, "name", true, axis->name, sizeof axis->name, "");
    axis->zip = zip;
    if (!read_target(at, axis))
        return;
    read_soak(at, axis);
    for (int i = 0; sources[i] != NULL; i++) {
        if (json_member(at, sources[i], false).node != NULL) {
            given++;
            source = i;
        }
    }
    if (given != 1) {
        json_problem(at, "list, linear, log or file",
                     "an axis needs exactly one source of values, here are %d", given);
        return;
    }
    switch (source) {
    case 0:
        axis->is_list = true;
        axis->count = json_doubles(at, "list", true, axis->value, CAMPAIGN_VALUES_MAX);
        break;
    case 3:
        read_file(at, axis);
        break;
    default:
        read_range(at, sources[source], axis);
        break;
    }
    if (axis->count == 0)
        json_problem(at, "", "an axis without values gives no points");
    for (int i = 0; i < sweep->axis_count; i++) {
        if (strcmp(sweep->axis[i].name, axis->name) == 0)
            json_problem(at, "", "\"%s\" is already the name of axis %d", axis->name, i);
    }
    sweep->axis_count++;
}

static void read_axes(const struct json_at *at, struct step_sweep *sweep)
{
    static const char *const zip_keys[] = { "zip", NULL };
    struct json_at axes = json_member(at, "axes", true);
    int zips = 0;

    for (int i = 0; i < json_count(&axes); i++) {
        struct json_at item = json_element(&axes, i);
        struct json_at zip = json_member(&item, "zip", false);
        int first = sweep->axis_count;

        if (zip.node == NULL) {
            read_axis(&item, 0, sweep);
            continue;
        }
        json_only(&item, zip_keys);
        zips++;
        for (int k = 0; k < json_count(&zip); k++) {
            struct json_at inner = json_element(&zip, k);
            read_axis(&inner, zips, sweep);
        }
        for (int k = first + 1; k < sweep->axis_count; k++) {
            if (sweep->axis[k].count != sweep->axis[first].count)
                json_problem(&zip, "", "zipped axes need as many values: \"%s\" has %d and \"%s\" has %d",
                             sweep->axis[first].name, sweep->axis[first].count, sweep->axis[k].name,
                             sweep->axis[k].count);
        }
    }
    if (axes.node != NULL && json_count(&axes) == 0)
        json_problem(&axes, "", "a sweep needs at least one axis");
}

/* NULL-terminated names of the axes, for messages about a wrong one. */
static void axis_names(const struct step_sweep *sweep, const char **names)
{
    for (int i = 0; i < sweep->axis_count; i++)
        names[i] = sweep->axis[i].name;
    names[sweep->axis_count] = NULL;
}

static void read_constraints(const struct json_at *at, struct step_sweep *sweep)
{
    static const char *const known[] = { "skip", "reason", NULL };
    static const char *const condition_keys[] = { "axis", "is", "value", NULL };
    static const char *const ops[] = { "<", "<=", "==", "!=", ">=", ">", NULL };
    const char *names[CAMPAIGN_AXES_MAX + 1];
    struct json_at constraints = json_member(at, "constraints", false);

    axis_names(sweep, names);
    for (int i = 0; i < json_count(&constraints) && i < CAMPAIGN_CONSTRAINTS_MAX; i++) {
        struct campaign_constraint *constraint = &sweep->constraint[sweep->constraint_count++];
        struct json_at item = json_element(&constraints, i);
        struct json_at skip = json_member(&item, "skip", true);

        json_only(&item, known);
        step_text(&item, "reason", true, constraint->reason, sizeof constraint->reason, "");
        for (int k = 0; k < json_count(&skip) && k < CAMPAIGN_CONDITIONS_MAX; k++) {
            struct json_at condition = json_element(&skip, k);
            int n = constraint->condition_count++;
            json_only(&condition, condition_keys);
            int axis = json_choice(&condition, "axis", true, names, 0);
            constraint->condition[n].axis = axis;
            constraint->condition[n].op = json_choice(&condition, "is", true, ops, OP_EQ);
            constraint->condition[n].value = json_double(&condition, "value", true, -1e12, 1e12, 0.0);
        }
        if (json_count(&skip) == 0 || json_count(&skip) > CAMPAIGN_CONDITIONS_MAX)
            json_problem(&skip, "", "needs 1 to %d conditions", CAMPAIGN_CONDITIONS_MAX);
    }
    if (json_count(&constraints) > CAMPAIGN_CONSTRAINTS_MAX)
        json_problem(&constraints, "", "more than %d constraints", CAMPAIGN_CONSTRAINTS_MAX);
}

static void read_strategy(const struct json_at *at, struct step_sweep *sweep)
{
    static const char *const known[] = { "kind", "axis", "passes", NULL };
    static const char *const kinds[] = { "grid", "bisect", NULL };
    static const char *const sides[] = { "high", "low", NULL };
    const char *names[CAMPAIGN_AXES_MAX + 1];
    struct json_at strategy = json_member(at, "strategy", false);

    sweep->bisect_axis = -1;
    if (strategy.node == NULL)
        return;
    axis_names(sweep, names);
    json_only(&strategy, known);
    sweep->strategy = json_choice(&strategy, "kind", true, kinds, STRATEGY_GRID);
    if (sweep->strategy == STRATEGY_GRID)
        return;
    sweep->bisect_axis = json_choice(&strategy, "axis", true, names, -1);
    sweep->bisect_low_passes = json_choice(&strategy, "passes", false, sides, 0) == 1;
    if (sweep->bisect_axis >= 0 && sweep->axis[sweep->bisect_axis].zip > 0)
        json_problem(&strategy, "", "a zipped axis cannot be bisected");
    if (sweep->order != ORDER_NESTED)
        json_problem(&strategy, "\"order\":\"nested\"", "bisection chooses its own order along the axis");
}

static void read_order(const struct json_at *at, struct step_sweep *sweep)
{
    static const char *const known[] = { "kind", "seed", NULL };
    static const char *const kinds[] = { "nested", "snake", "random", NULL };
    struct json_at order = json_member(at, "order", false);

    if (order.node == NULL)
        return;
    if (cJSON_IsString(order.node)) {
        sweep->order = json_choice(at, "order", false, kinds, ORDER_NESTED);
        return;
    }
    json_only(&order, known);
    sweep->order = json_choice(&order, "kind", true, kinds, ORDER_NESTED);
    sweep->order_seed = (uint64_t)json_integer(&order, "seed", false, 0, INT32_MAX, 0);
}

void axes_parse(const struct json_at *at, struct step_sweep *ret_sweep)
{
    read_axes(at, ret_sweep);
    read_order(at, ret_sweep);
    read_constraints(at, ret_sweep);
    read_strategy(at, ret_sweep);
    if (ret_sweep->axis_count > 0 && axes_count(ret_sweep) == 0) {
        struct json_at axes = json_member(at, "axes", true);
        json_problem(&axes, "", "more than %d points", PLAN_CELLS_MAX);
    }
}
