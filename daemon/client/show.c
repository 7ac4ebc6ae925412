/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * show: the API's documents as text for people.
 */
#include "daemon/client/show.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/text.h"
#include "daemon/base/units.h"
#include "daemon/client/table.h"

enum {
    CELL_TEXT = 48,
    READING_TEXT = 4 * CELL_TEXT,
    READINGS_SHOWN = 4,
    VALUE_DIGITS = 4,
    COUNT_DIGITS = 15,
    DIGITS_MAX = 7,
    SPANS_MAX = 32
};

const char *show_text(const cJSON *tree, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(tree, name);

    return cJSON_IsString(item) && item->valuestring[0] != '\0' ? item->valuestring : "-";
}

double show_number(const cJSON *tree, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(tree, name);

    if (cJSON_IsNumber(item))
        return item->valuedouble;
    if (!cJSON_IsString(item) || item->valuestring[0] == '\0')
        return NAN;
    char *end; /* integers beyond 2^53 travel as text */
    double value = strtod(item->valuestring, &end);
    return *end == '\0' ? value : NAN;
}

bool show_true(const cJSON *tree, const char *name)
{
    return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(tree, name));
}

static const char *count_text(const cJSON *tree, const char *name, char out[CELL_TEXT])
{
    double value = show_number(tree, name);

    if (isnan(value))
        return "-";
    snprintf(out, CELL_TEXT, "%.0f", value);
    return out;
}

static const char *duration_text(double seconds, char out[CELL_TEXT])
{
    return isnan(seconds) ? "-" : text_duration(seconds, out, CELL_TEXT);
}

void show_status(const cJSON *status, FILE *out)
{
    const cJSON *progress = cJSON_GetObjectItemCaseSensitive(status, "progress");
    char done[CELL_TEXT], total[CELL_TEXT], left[CELL_TEXT];

    fprintf(out, "state     %s\n", show_text(status, "state"));
    fprintf(out, "bench     %s%s, %s time\n", show_text(status, "bench"),
            show_true(status, "simulated") ? " (simulated)" : "", show_text(status, "clock"));
    fprintf(out, "run       %s  %s\n", show_text(status, "run"), show_text(status, "campaign"));
    if (show_true(status, "busy"))
        fprintf(out, "progress  step %s, %s of %s points, %s left\n", show_text(progress, "name"),
                count_text(progress, "points_done", done), count_text(progress, "points_total", total),
                duration_text(show_number(progress, "eta_s"), left));
    if (strcmp(show_text(status, "message"), "-") != 0)
        fprintf(out, "message   %s\n", show_text(status, "message"));
    const cJSON *queue = cJSON_GetObjectItemCaseSensitive(status, "queue");
    if (show_number(queue, "waiting") > 0)
        fprintf(out, "queue     %.0f waiting\n", show_number(queue, "waiting"));
    if (strcmp(show_text(queue, "reason"), "-") != 0)
        fprintf(out, "queue     held: %s\n", show_text(queue, "reason"));
    const cJSON *store = cJSON_GetObjectItemCaseSensitive(status, "store");
    if (store != NULL && strcmp(show_text(store, "condition"), "fine") != 0)
        fprintf(out, "store     %s: %s\n", show_text(store, "condition"), show_text(store, "text"));
    fprintf(out, "build     %s\n", show_text(status, "build"));
}

/* "24 pass, 3 fail" from the counts of a run. */
static void verdict_text(const cJSON *run, char *out, size_t size)
{
    const cJSON *points = cJSON_GetObjectItemCaseSensitive(run, "points"), *item;
    size_t used = 0;

    out[0] = '\0';
    cJSON_ArrayForEach(item, points)
    {
        if (!cJSON_IsNumber(item) || item->valuedouble == 0 || strcmp(item->string, "planned") == 0 ||
            strcmp(item->string, "attempts") == 0 || used >= size)
            continue;
        used += (size_t)snprintf(out + used, size - used, "%s%.0f %s", used > 0 ? ", " : "",
                                 item->valuedouble, item->string);
    }
}

void show_runs(const cJSON *runs, FILE *out)
{
    static const char *const heads[] = { "RUN",     "BEGUN (UTC)", "CAMPAIGN", "CHIP",
                                         "BACKEND", "STATE",       "POINTS" };
    const cJSON *run;
    struct table table;

    table_init(&table, 7, heads);
    cJSON_ArrayForEach(run, cJSON_GetObjectItemCaseSensitive(runs, "runs"))
    {
        char verdicts[160], begin[20];

        verdict_text(run, verdicts, sizeof verdicts);
        snprintf(begin, sizeof begin, "%.16s", show_text(run, "begin"));
        if (strlen(begin) > 10)
            begin[10] = ' '; /* 2026-01-31T18:00 */
        table_row(&table,
                  (const char *const[]){ show_text(run, "ulid"), begin, show_text(run, "campaign"),
                                         show_text(cJSON_GetObjectItemCaseSensitive(run, "chip"), "serial"),
                                         show_text(run, "backend"), show_text(run, "state"), verdicts });
    }
    table_print(&table, out);
    table_free(&table);
}

static void show_steps(const cJSON *steps, FILE *out)
{
    static const char *const heads[] = { ">STEP", "KIND", "NAME", "STATE", "CODE", ">TIME" };
    const cJSON *step;
    struct table table;

    table_init(&table, 6, heads);
    cJSON_ArrayForEach(step, steps)
    {
        char index[CELL_TEXT], time[CELL_TEXT];
        double seconds = (show_number(step, "end_time_ns") - show_number(step, "begin_time_ns")) * 1e-9;

        table_row(&table, (const char *const[]){ count_text(step, "step", index), show_text(step, "kind"),
                                                 show_text(step, "name"), show_text(step, "state"),
                                                 show_text(step, "code"), duration_text(seconds, time) });
    }
    table_print(&table, out);
    table_free(&table);
}

void show_run(const cJSON *run, FILE *out)
{
    const cJSON *chip = cJSON_GetObjectItemCaseSensitive(run, "chip");
    const char *serial = show_text(chip, "serial");
    char verdicts[160], time[CELL_TEXT];

    verdict_text(run, verdicts, sizeof verdicts);
    fprintf(out, "run       %s\n", show_text(run, "ulid"));
    fprintf(out, "campaign  %s\n", show_text(run, "campaign"));
    fprintf(out, "chip      %s %s, bench %s%s, back end %s\n", show_text(chip, "type"),
            strcmp(serial, "-") != 0 ? serial : "(not identified)", show_text(run, "bench"),
            show_true(run, "simulated") ? " (simulated)" : "", show_text(run, "backend"));
    fprintf(out, "begun     %s, bench time %s (%s)\n", show_text(run, "begin"),
            duration_text((show_number(run, "end_time_ns") - show_number(run, "begin_time_ns")) * 1e-9, time),
            show_text(run, "clock"));
    fprintf(out, "state     %s\n", show_text(run, "state"));
    if (strcmp(show_text(run, "message"), "-") != 0)
        fprintf(out, "message   %s\n", show_text(run, "message"));
    fprintf(out, "points    %s\n\n", verdicts[0] != '\0' ? verdicts : "none");
    show_steps(cJSON_GetObjectItemCaseSensitive(run, "steps"), out);
}

/* {"adc_bits":9,"vdd_v":0.8} as "adc_bits=9 vdd_v=0.8". */
static void axes_text(const cJSON *axes, char *out, size_t size)
{
    const cJSON *axis;
    size_t used = 0;

    out[0] = '\0';
    cJSON_ArrayForEach(axis, axes)
    {
        char number[32];

        if (used >= size)
            break;
        used += (size_t)snprintf(
            out + used, size - used, "%s%s=%s", used > 0 ? " " : "", axis->string,
            cJSON_IsString(axis) ? axis->valuestring : text_number(axis->valuedouble, number, sizeof number));
    }
}

/* Is this a channel of that name, be it of one step among several at its point ("second.accuracy")? */
static bool is_channel(const char *channel, const char *name)
{
    size_t length = strlen(channel), own = strlen(name);

    return length >= own && strcmp(channel + length - own, name) == 0 &&
           (length == own || channel[length - own - 1] == '.');
}

/* Shares of a whole, which people read in percent; every other reading without a unit is a number. */
static bool is_share(const char *channel)
{
    static const char *const shares[] = { "accuracy", "recall", "false_alarm", "agreement" };

    for (size_t i = 0; i < sizeof shares / sizeof shares[0]; i++)
        if (is_channel(channel, shares[i]))
            return true;
    return false;
}

/* Significant digits of a value whose uncertainty is printed with two: both end at the same decimal. */
static int digits_to_show(double value, double uncertainty)
{
    if (!(uncertainty > 0) || !isfinite(uncertainty) || !isfinite(value) || value == 0)
        return VALUE_DIGITS;
    double digits = floor(log10(fabs(value))) - floor(log10(uncertainty)) + 2;
    return digits < 1 ? 1 : digits > DIGITS_MAX ? DIGITS_MAX : (int)digits;
}

/* "600.531 mV +- 18 uV", "80.1 % +- 1.3 %"; a count stays a plain number. */
static void reading_text(const cJSON *reading, char out[READING_TEXT])
{
    const char *channel = show_text(reading, "channel"), *unit = show_text(reading, "unit");
    double value = show_number(reading, "value"), uncertainty = show_number(reading, "uncertainty");
    bool known = isfinite(uncertainty) && uncertainty > 0;
    int digits = digits_to_show(value, uncertainty);
    char text[CELL_TEXT], spread[CELL_TEXT];

    if (is_share(channel)) {
        snprintf(text, sizeof text, "%.1f %%", 100 * value);
        snprintf(spread, sizeof spread, "%.1f %%", 100 * uncertainty);
    } else if (strcmp(unit, "-") == 0) {
        bool count = value == floor(value) && fabs(value) < 1e15;
        snprintf(text, sizeof text, "%.*g", count ? COUNT_DIGITS : digits, value);
        snprintf(spread, sizeof spread, "%.2g", uncertainty);
    } else {
        text_engineering(value, unit, digits, text, sizeof text);
        text_engineering(uncertainty, unit, 2, spread, sizeof spread);
    }
    snprintf(out, READING_TEXT, "%.90s %s%s%s", channel, text, known ? " +- " : "", known ? spread : "");
}

/* What a person looks for first. */
static bool is_headline(const char *channel)
{
    return is_channel(channel, "accuracy") || is_channel(channel, "energy_per_inference") ||
           is_channel(channel, "agreement");
}

/* Headlines first, then the others; rails and the ends of an interval are left to export. */
static void readings_text(const cJSON *readings, char *out, size_t size)
{
    size_t used = 0;
    int shown = 0;

    out[0] = '\0';
    for (int headline = 1; headline >= 0; headline--) {
        const cJSON *reading;

        cJSON_ArrayForEach(reading, readings)
        {
            const char *channel = show_text(reading, "channel");
            const char *end = strrchr(channel, '.');
            bool part = end != NULL && (strcmp(end, ".low") == 0 || strcmp(end, ".high") == 0);
            bool rail = strncmp(channel, "rail.", 5) == 0 || strstr(channel, ".rail.") != NULL;
            char text[READING_TEXT];

            if (is_headline(channel) != headline || part || rail || shown == READINGS_SHOWN || used >= size)
                continue;
            reading_text(reading, text);
            used += (size_t)snprintf(out + used, size - used, "%s%s", shown > 0 ? ", " : "", text);
            shown++;
        }
    }
}

void show_points(const cJSON *points, FILE *out)
{
    static const char *const heads[] = { ">STEP", ">CELL", "AXES", "VERDICT", ">TRIES", "READINGS" };
    const cJSON *point;
    struct table table;

    table_init(&table, 6, heads);
    cJSON_ArrayForEach(point, cJSON_GetObjectItemCaseSensitive(points, "points"))
    {
        char step[CELL_TEXT], cell[CELL_TEXT], tries[CELL_TEXT], axes[200], readings[320];

        axes_text(cJSON_GetObjectItemCaseSensitive(point, "axes"), axes, sizeof axes);
        readings_text(cJSON_GetObjectItemCaseSensitive(point, "readings"), readings, sizeof readings);
        if (readings[0] == '\0' && strcmp(show_text(point, "message"), "-") != 0)
            snprintf(readings, sizeof readings, "(%.*s)", (int)sizeof readings - 3,
                     show_text(point, "message"));
        table_row(&table, (const char *const[]){
                              count_text(point, "step", step), count_text(point, "cell", cell), axes,
                              show_text(point, "verdict"), count_text(point, "attempts", tries), readings });
    }
    table_print(&table, out);
    table_free(&table);
}

void show_reports(const cJSON *events, FILE *out)
{
    const cJSON *event;

    cJSON_ArrayForEach(event, cJSON_GetObjectItemCaseSensitive(events, "events"))
    {
        const char *text = show_text(event, "text");

        if (strcmp(show_text(event, "kind"), "report") == 0)
            fprintf(out, "%s%s", text, text[strlen(text) - 1] == '\n' ? "" : "\n");
    }
}

void show_problems(const cJSON *answer, FILE *out)
{
    const cJSON *problem;

    cJSON_ArrayForEach(problem, cJSON_GetObjectItemCaseSensitive(answer, "problems"))
    {
        const char *pointer = show_text(problem, "pointer"), *hint = show_text(problem, "hint");

        fprintf(out, "%s: %s\n", strcmp(pointer, "-") == 0 ? "(whole file)" : pointer,
                show_text(problem, "reason"));
        if (strcmp(hint, "-") != 0)
            fprintf(out, "    %s\n", hint);
    }
}

/* What a step sets one rail to, over all its points. */
struct span {
    const cJSON *first;
    double low_v, high_v;
};

static void add_span_row(const struct span *span, struct table *table)
{
    char step[CELL_TEXT], low[CELL_TEXT], high[CELL_TEXT], min[CELL_TEXT], max[CELL_TEXT], limit[CELL_TEXT];
    char values[2 * CELL_TEXT + 8], allowed[2 * CELL_TEXT + 8];

    text_engineering(span->low_v, "V", VALUE_DIGITS, low, sizeof low);
    text_engineering(span->high_v, "V", VALUE_DIGITS, high, sizeof high);
    text_engineering(show_number(span->first, "min_v"), "V", VALUE_DIGITS, min, sizeof min);
    text_engineering(show_number(span->first, "max_v"), "V", VALUE_DIGITS, max, sizeof max);
    text_engineering(show_number(span->first, "limit_a"), "A", VALUE_DIGITS, limit, sizeof limit);
    bool one = span->low_v == span->high_v;
    snprintf(values, sizeof values, "%s%s%s", low, one ? "" : " .. ", one ? "" : high);
    snprintf(allowed, sizeof allowed, "%s .. %s", min, max);
    table_row(table, (const char *const[]){ count_text(span->first, "step", step),
                                            show_text(span->first, "rail"), values, allowed, limit });
}

/* Set-points come step by step; those of one step and rail are one row. */
static void show_setpoints(const cJSON *setpoints, FILE *out)
{
    static const char *const heads[] = { ">STEP", "RAIL", "SET TO", "ALLOWED", ">LIMIT" };
    struct span span[SPANS_MAX];
    struct table table;
    const cJSON *setpoint;
    int count = 0;

    table_init(&table, 5, heads);
    cJSON_ArrayForEach(setpoint, setpoints)
    {
        double volt_v = show_number(setpoint, "volt_v");
        int i = 0;

        if (count == SPANS_MAX ||
            (count > 0 && show_number(span[0].first, "step") != show_number(setpoint, "step"))) {
            for (int k = 0; k < count; k++)
                add_span_row(&span[k], &table);
            count = 0;
        }
        while (i < count && strcmp(show_text(span[i].first, "rail"), show_text(setpoint, "rail")) != 0)
            i++;
        if (i == count)
            span[count++] = (struct span){ setpoint, volt_v, volt_v };
        span[i].low_v = fmin(span[i].low_v, volt_v);
        span[i].high_v = fmax(span[i].high_v, volt_v);
    }
    for (int k = 0; k < count; k++)
        add_span_row(&span[k], &table);
    if (table.rows > 1) { /* more than its heads */
        fputc('\n', out);
        table_print(&table, out);
    }
    table_free(&table);
}

void show_budget(const cJSON *tree, FILE *out)
{
    const cJSON *budget = cJSON_GetObjectItemCaseSensitive(tree, "budget"), *cell;
    char fits[CELL_TEXT], cut[CELL_TEXT], limit[CELL_TEXT], used[CELL_TEXT], lasts[CELL_TEXT];

    if (!cJSON_IsObject(budget))
        return;
    fprintf(out, "time budget %s%s%s: %s points fit (about %s), %s do not\n",
            duration_text(show_number(budget, "budget_s"), limit),
            strcmp(show_text(budget, "until"), "-") != 0 ? ", until " : "",
            strcmp(show_text(budget, "until"), "-") != 0 ? show_text(budget, "until") : "",
            count_text(budget, "fits", fits), duration_text(show_number(budget, "used_s"), used),
            count_text(budget, "cut", cut));
    cJSON_ArrayForEach(cell, cJSON_GetObjectItemCaseSensitive(budget, "cells"))
    {
        char *axes = json_print(cJSON_GetObjectItemCaseSensitive(cell, "axes"), false);
        fprintf(out, "  will be skipped: %s %s, about %s\n", show_text(cell, "name"),
                axes != NULL ? axes : "", duration_text(show_number(cell, "duration_s"), lasts));
        cJSON_free(axes);
    }
}

void show_plan(const cJSON *plan, FILE *out)
{
    static const char *const heads[] = { ">STEP", "KIND", "NAME", ">POINTS", ">SKIPPED", ">TIME", ">BYTES" };
    const cJSON *step;
    struct table table;
    char points[CELL_TEXT], samples[CELL_TEXT], time[CELL_TEXT], bytes[CELL_TEXT];

    table_init(&table, 7, heads);
    cJSON_ArrayForEach(step, cJSON_GetObjectItemCaseSensitive(plan, "steps"))
    {
        char index[CELL_TEXT], count[CELL_TEXT], skipped[CELL_TEXT], seconds[CELL_TEXT], size[CELL_TEXT];

        table_row(&table, (const char *const[]){ count_text(step, "index", index), show_text(step, "kind"),
                                                 show_text(step, "name"), count_text(step, "points", count),
                                                 count_text(step, "skipped", skipped),
                                                 duration_text(show_number(step, "duration_s"), seconds),
                                                 text_bytes(show_number(step, "bytes"), size, sizeof size) });
    }
    table_print(&table, out);
    table_free(&table);
    cJSON_ArrayForEach(step, cJSON_GetObjectItemCaseSensitive(plan, "steps"))
    {
        if (cJSON_HasObjectItem(step, "note"))
            fprintf(out, "note: step %s: %s\n", count_text(step, "index", points), show_text(step, "note"));
    }
    cJSON_ArrayForEach(step, cJSON_GetObjectItemCaseSensitive(plan, "rules"))
        fprintf(out, "rule %s: %s times, about %s each\n", show_text(step, "name"),
                count_text(step, "executions", points), duration_text(show_number(step, "duration_s"), time));
    show_setpoints(cJSON_GetObjectItemCaseSensitive(plan, "setpoints"), out);
    show_networks(plan, out);
    fprintf(out, "\n%s points, %s samples, about %s of bench time, about %s\n",
            count_text(plan, "points", points), count_text(plan, "samples", samples),
            duration_text(show_number(plan, "duration_s"), time),
            text_bytes(show_number(plan, "bytes"), bytes, sizeof bytes));
    show_budget(plan, out);
}

static void percent_text(double share, char out[CELL_TEXT])
{
    if (isnan(share))
        snprintf(out, CELL_TEXT, "-");
    else
        snprintf(out, CELL_TEXT, "%.1f %%", 100 * share);
}

/* "conv1, sample 0, core 1, element 0: A -2, B -3; 33 elements differ". */
static void show_first_difference(const cJSON *first, FILE *out)
{
    char sample[CELL_TEXT], core[CELL_TEXT], element[CELL_TEXT], a[CELL_TEXT], b[CELL_TEXT], all[CELL_TEXT];

    fprintf(out, "%s, sample %s, core %s, element %s: A %s, B %s; %s elements of the layer differ\n",
            show_text(first, "layer"), count_text(first, "sample", sample), count_text(first, "core", core),
            count_text(first, "element", element), count_text(first, "a", a), count_text(first, "b", b),
            count_text(first, "elements_that_differ", all));
}

static void add_compare_row(const cJSON *cell, struct table *table)
{
    char axes[200], samples[CELL_TEXT], a[CELL_TEXT], b[CELL_TEXT], difference[CELL_TEXT], p[CELL_TEXT];
    double delta = show_number(cell, "difference"), value = show_number(cell, "mcnemar_p");
    char flipped[CELL_TEXT];
    int part = (int)show_number(cell, "part");

    axes_text(cJSON_GetObjectItemCaseSensitive(cell, "axes"), axes, sizeof axes);
    if (part > 0) /* a later one of the point's steps */
        snprintf(axes + strlen(axes), sizeof axes - strlen(axes), " #%d", part + 1);
    percent_text(show_number(cell, "accuracy_a"), a);
    percent_text(show_number(cell, "accuracy_b"), b);
    snprintf(difference, sizeof difference, "%+.1f points", 100 * delta);
    snprintf(p, sizeof p, "%.3g", value);
    table_row(table, (const char *const[]){ axes[0] != '\0' ? axes : "(no axes)",
                                            count_text(cell, "samples", samples), a, b, difference,
                                            count_text(cell, "predictions_that_differ", flipped), p });
}

void show_compare(const cJSON *compare, FILE *out)
{
    static const char *const heads[] = {
        "AXES", ">SAMPLES", ">A", ">B", ">A - B", ">FLIPPED", ">P (MCNEMAR)"
    };
    const cJSON *cell, *first = cJSON_GetObjectItemCaseSensitive(compare, "first_difference");
    struct table table;

    fprintf(out, "A %s\nB %s\n\n", show_text(compare, "a"), show_text(compare, "b"));
    table_init(&table, 7, heads);
    cJSON_ArrayForEach(cell, cJSON_GetObjectItemCaseSensitive(compare, "cells"))
        add_compare_row(cell, &table);
    table_print(&table, out);
    table_free(&table);
    char samples[CELL_TEXT], differ[CELL_TEXT], flipped[CELL_TEXT];
    fprintf(out, "\n%s samples in both: %s with other outputs, %s with another prediction\n",
            count_text(compare, "samples", samples), count_text(compare, "samples_that_differ", differ),
            count_text(compare, "predictions_that_differ", flipped));
    fputs("first layer that differs: ", out);
    if (cJSON_IsObject(first))
        show_first_difference(first, out);
    else if (show_number(compare, "samples_that_differ") > 0 && !(show_number(compare, "tensors") > 0))
        fputs("unknown: no tensors in both\n", out);
    else
        fputs("none\n", out);
}
