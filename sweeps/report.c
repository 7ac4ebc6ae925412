/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * report: tables for people. */
#include "sweeps/report.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "sweeps/stats.h"
#include "sweeps/step.h"

static void read_row(const struct json_at *at, struct report_row *row)
{
    static const char *const known[] = { "axes", "accuracy", "verdict", NULL };
    struct json_at axes = json_member(at, "axes", true);

    json_only(at, known);
    row->value = json_double(at, "accuracy", true, 0.0, 1.0, NAN);
    step_text(at, "verdict", false, row->verdict, sizeof row->verdict, "");
    for (const cJSON *child = axes.node != NULL ? axes.node->child : NULL; child != NULL;
         child = child->next) {
        if (row->axis_count == CAMPAIGN_CONDITIONS_MAX) {
            json_problem(&axes, "", "more than %d axes", CAMPAIGN_CONDITIONS_MAX);
            return;
        }
        snprintf(row->axis[row->axis_count], CAMPAIGN_NAME_MAX, "%s", child->string);
        row->at[row->axis_count++] = json_double(&axes, child->string, true, -1e12, 1e12, 0.0);
    }
}

int report_published_load(const char *path, struct report_published *ret_published,
                          struct json_problems *problems, struct error *err)
{
    static const char *const known[] = { "format", "version", "title", "source", "rows", NULL };
    static const char *const formats[] = { "nightbench-published", NULL };
    int before = problems->count;
    cJSON *root = NULL;
    int rc = json_load(path, &root, err);

    if (rc < 0)
        return rc;
    struct json_at at = json_root(root, problems);
    struct json_at rows = json_member(&at, "rows", true);
    *ret_published = (struct report_published){ 0 };
    json_only(&at, known);
    json_choice(&at, "format", true, formats, 0);
    json_integer(&at, "version", true, 1, 1, 1);
    step_text(&at, "title", true, ret_published->title, sizeof ret_published->title, "");
    step_text(&at, "source", true, ret_published->source, sizeof ret_published->source, "");
    for (int i = 0; i < json_count(&rows) && i < REPORT_ROWS_MAX; i++) {
        struct json_at item = json_element(&rows, i);
        read_row(&item, &ret_published->row[ret_published->row_count++]);
    }
    if (json_count(&rows) > REPORT_ROWS_MAX)
        json_problem(&rows, "", "more than %d rows", REPORT_ROWS_MAX);
    cJSON_Delete(root);
    return problems->count > before ? json_problems_error(problems, path, err) : 0;
}

static int axis_named(const struct step_sweep *sweep, const char *name)
{
    for (int i = 0; i < sweep->axis_count; i++) {
        if (strcmp(sweep->axis[i].name, name) == 0)
            return i;
    }
    return -1;
}

/* Are the values of a cell those that are asked for? Names that the sweep does not have match nothing. */
static bool at_values(const struct step_sweep *sweep, const struct plan_cell *cell,
                      const char (*name)[CAMPAIGN_NAME_MAX], const double *value, int count)
{
    for (int i = 0; i < count; i++) {
        int axis = axis_named(sweep, name[i]);
        if (axis < 0 || fabs(cell->value[axis] - value[i]) > 1e-9)
            return false;
    }
    return true;
}

/* "8 bit  4x  " for the two axes that tables of converters always have, "name=value" for others. */
static void print_axis(const char *name, double value, struct strbuf *out)
{
    if (strcmp(name, "adc_bits") == 0)
        strbuf_add(out, "%2.0f bit  ", value);
    else if (strcmp(name, "adc_gain") == 0)
        strbuf_add(out, "%.0fx  ", value);
    else if (strlen(name) > 2 && strcmp(name + strlen(name) - 2, "_v") == 0)
        strbuf_add(out, "%.*s %.3f V  ", (int)strlen(name) - 2, name, value);
    else
        strbuf_add(out, "%s %.6g  ", name, value);
}

static void print_share(const struct judged *judged, struct strbuf *out)
{
    struct stats_interval interval = stats_wilson(judged->successes, judged->n);

    strbuf_add(out, "%5.1f %%  [%4.1f, %4.1f]  n %d", 100.0 * judged->successes / judged->n,
               100.0 * interval.low, 100.0 * interval.high, judged->n);
}

static void print_energy(const struct judged *judged, struct strbuf *out)
{
    char energy[32], power[32];

    if (!isnan(judged->value[QUANTITY_ENERGY]))
        strbuf_add(out, "  %s per inference, %s",
                   text_engineering(judged->value[QUANTITY_ENERGY], "J", 3, energy, sizeof energy),
                   text_engineering(judged->value[QUANTITY_POWER], "W", 3, power, sizeof power));
    if (!isnan(judged->value[QUANTITY_EFFICIENCY_COMPUTE]))
        strbuf_add(out, ", %.3g TOPS/W compute", judged->value[QUANTITY_EFFICIENCY_COMPUTE] / 1e12);
}

static void print_measured(const struct report_cell *cell, struct strbuf *out)
{
    const struct judged *judged = cell->judged;

    if (judged == NULL || judged->n == 0) {
        strbuf_add(out, "     -                       %s", verdict_name(cell->verdict));
        return;
    }
    print_share(judged, out);
    strbuf_add(out, "  %-*s", isnan(judged->value[QUANTITY_ENERGY]) ? 0 : 8, verdict_name(cell->verdict));
    print_energy(judged, out);
}

/* What the other steps of a point have found; the verdict above is of all of them. */
static void print_further(const struct step_sweep *sweep, const struct report_cell *cell, struct strbuf *out)
{
    for (int i = 0; i < sweep->do_count && cell->further != NULL; i++) {
        const struct judged *judged = &cell->further[i];
        bool has_power = !isnan(judged->value[QUANTITY_POWER]);
        char power[32];

        if (i == sweep->main_step || (judged->n == 0 && !has_power))
            continue;
        strbuf_add(out, "    %s: ", sweep->step[i].name);
        if (judged->n > 0) {
            print_share(judged, out);
            print_energy(judged, out);
        } else {
            strbuf_add(out, "%s",
                       text_engineering(judged->value[QUANTITY_POWER], "W", 3, power, sizeof power));
        }
        strbuf_add(out, "\n");
    }
}

void report_sweep(const struct step_sweep *sweep, const struct report_cell *cell, int count,
                  struct strbuf *out)
{
    for (int i = 0; i < count; i++) {
        for (int axis = 0; axis < sweep->axis_count; axis++)
            print_axis(sweep->axis[axis].name, cell[i].cell->value[axis], out);
        if (sweep->step[sweep->main_step].prefix[0] != '\0')
            strbuf_add(out, "%s: ", sweep->step[sweep->main_step].name);
        print_measured(&cell[i], out);
        if (cell[i].cell->skip[0] != '\0')
            strbuf_add(out, "  (%s)", cell[i].cell->skip);
        strbuf_add(out, "\n");
        print_further(sweep, &cell[i], out);
    }
}

static const struct report_cell *find_cell(const struct report_row *row, const struct step_report *where,
                                           const struct step_sweep *sweep, const struct report_cell *cell,
                                           int count)
{
    for (int i = 0; i < count; i++) {
        bool found = cell[i].cell->repeat == 1 &&
                     at_values(sweep, cell[i].cell, (const char(*)[CAMPAIGN_NAME_MAX])row->axis, row->at,
                               row->axis_count);
        for (int k = 0; k < where->where_count && found; k++) {
            int axis = axis_named(sweep, where->where[k].axis);
            found = axis >= 0 && fabs(cell[i].cell->value[axis] - where->where[k].value) < 1e-9;
        }
        if (found)
            return &cell[i];
    }
    return NULL;
}

void report_beside(const struct report_published *published, const struct step_report *where,
                   const struct step_sweep *sweep, const struct report_cell *cell, int count,
                   struct strbuf *out)
{
    strbuf_add(out, "%s\nsource: %s\n", published->title, published->source);
    for (int i = 0; i < published->row_count; i++) {
        const struct report_row *row = &published->row[i];
        const struct report_cell *found = find_cell(row, where, sweep, cell, count);

        for (int k = 0; k < row->axis_count; k++)
            print_axis(row->axis[k], row->at[k], out);
        strbuf_add(out, "published %.0f %% %-4s  measured ", 100.0 * row->value, row->verdict);
        if (found == NULL) {
            strbuf_add(out, "- (no such point in this run)\n");
            continue;
        }
        print_measured(found, out);
        if (found->judged != NULL && found->judged->n > 0) {
            double p = (double)found->judged->successes / found->judged->n;
            struct stats_interval interval = stats_wilson(found->judged->successes, found->judged->n);
            bool inside = row->value >= interval.low && row->value <= interval.high;
            strbuf_add(out, "  difference %+.1f points, published figure %s the interval",
                       100.0 * (p - row->value), inside ? "inside" : "outside");
        }
        strbuf_add(out, "\n");
    }
}
