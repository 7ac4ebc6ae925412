/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * report: text tables from the outcomes of a run. Published figures that a table is set beside live in report
 * data files only (configs/campaigns/reports/), never in code: tests/lint/published-figures.sh watches over
 * that. */
#ifndef SWEEPS_REPORT_H
#define SWEEPS_REPORT_H

#include "daemon/base/text.h"
#include "sweeps/judge.h"
#include "sweeps/plan.h"

enum { REPORT_ROWS_MAX = 64 };

/* One published result at some axis values. */
struct report_row {
    int axis_count;
    char axis[CAMPAIGN_CONDITIONS_MAX][CAMPAIGN_NAME_MAX];
    double at[CAMPAIGN_CONDITIONS_MAX];
    double value; /* of accuracy, 0..1 */
    char verdict[16];
};
struct report_published {
    char title[CAMPAIGN_TEXT_MAX], source[CAMPAIGN_TEXT_MAX];
    int row_count;
    struct report_row row[REPORT_ROWS_MAX];
};
/* Reads a report data file; every mistake goes into problems. */
int report_published_load(const char *path, struct report_published *ret_published,
                          struct json_problems *problems, struct error *err);

/* What a table needs of one cell. */
struct report_cell {
    const struct plan_cell *cell;
    int verdict;
    const struct judged *judged;  /* NULL when not measured */
    const struct judged *further; /* by step of the sweep; NULL where only one measures */
};
/* Every cell of a sweep, one line each; below it, where several of its steps measure, one for each other. */
void report_sweep(const struct step_sweep *sweep, const struct report_cell *cell, int count,
                  struct strbuf *out);
/* Published rows beside what was measured at the same values and at `where`, with the difference and whether
 * the published figure lies inside the interval of the measurement. */
void report_beside(const struct report_published *published, const struct step_report *where,
                   const struct step_sweep *sweep, const struct report_cell *cell, int count,
                   struct strbuf *out);

#endif
