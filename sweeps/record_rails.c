/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * record_rails: reading, planning and recording of logs. */
#include "sweeps/record_rails.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "instruments/logger.h"

#define FETCH_S 0.1 /* well before any logger is full */
enum { VALUES_MAX = 1000000 };

static const char *const quantities[] = { "voltage", "current", NULL };
static const int units[] = { UNIT_VOLT, UNIT_AMPERE };

void record_rails_parse(const struct json_at *at, struct record_rails *ret)
{
    static const char *const keys[] = { "names", "quantity", "period_s", "seconds", NULL };
    if (!at->node)
        return;
    json_only(at, keys);
    struct json_at names = json_member(at, "names", true);
    int count = json_count(&names);
    if (count < 1 || count > CAMPAIGN_PINS_MAX) {
        json_problem(&names, "[\"VDDD\"]", "%d rails; 1 to %d can be logged", count, CAMPAIGN_PINS_MAX);
        count = count < 1 ? 0 : CAMPAIGN_PINS_MAX;
    }
    for (int i = 0; i < count; i++) {
        struct json_at item = json_element(&names, i);
        if (!cJSON_IsString(item.node) || strlen(item.node->valuestring) >= CAMPAIGN_NAME_MAX)
            json_problem(&item, "\"VDDD\"", "not the name of a rail");
        else
            snprintf(ret->name[ret->count++], CAMPAIGN_NAME_MAX, "%s", item.node->valuestring);
    }
    ret->quantity = json_choice(at, "quantity", false, quantities, QUANTITY_CURRENT);
    ret->period_s = json_double(at, "period_s", false, 1e-6, 3600, 1e-3);
    ret->seconds = json_double(at, "seconds", false, 1e-3, 86400, 1);
    if (ret->seconds / ret->period_s > VALUES_MAX)
        json_problem(at, "", "%g values a rail; at most %d", ret->seconds / ret->period_s, VALUES_MAX);
}

static void check_rail(const struct plan_state *state, const struct record_rails *rails, int i,
                       const char *pointer)
{
    const struct bench_file *bench = state->inputs->bench;
    const struct bench_channel *ch = bench_file_rail(bench, rails->name[i]);
    if (!ch)
        step_problem(state, pointer, "", "nothing on %s feeds a rail \"%s\"", bench->name, rails->name[i]);
    else if (ch->log_min_s == 0.0)
        step_problem(state, pointer, "", "%s, which feeds %s, has no logger", ch->name, rails->name[i]);
    else if (!(rails->period_s >= ch->log_min_s && rails->period_s <= ch->log_max_s))
        step_problem(state, pointer, "", "%s takes a value every %g .. %g s, not every %g s", ch->name,
                     ch->log_min_s, ch->log_max_s, rails->period_s);
}

void record_rails_plan(const struct plan_state *state, const struct campaign_step *step,
                       struct plan_cost *cost)
{
    const struct record_rails *rails = &step->u.record.rails;
    if (rails->count == 0)
        return;
    for (int i = 0; i < rails->count; i++) {
        char pointer[JSON_POINTER_MAX + 32];
        snprintf(pointer, sizeof pointer, "%s/rails/names/%d", step->pointer, i);
        check_rail(state, rails, i, pointer);
    }
    cost->seconds += rails->seconds + 2 * FETCH_S;
    cost->bytes +=
        rails->count * (3.0 * COST_READING_BYTES + rails->seconds / rails->period_s * sizeof(float));
}

/* ---- Recording ---- */
struct rail_log {
    const struct bench_channel *channel;
    char trace[RECORD_NAME_MAX];
    int64_t begin_ns;
    long count;
    double sum, least, greatest;
    uint32_t flags;
};

static int take(struct run *run, const struct record_rails *rails, struct rail_log *log,
                const struct logger_values *values, struct error *err)
{
    int64_t time_ns[LOGGER_READ_MAX];
    float value[LOGGER_READ_MAX];

    for (int i = 0; i < values->count; i++) {
        time_ns[i] = log->begin_ns + (int64_t)(values->at_s[i] * NS_PER_S);
        value[i] = (float)values->value[i];
        if (isnan(values->value[i]))
            continue;
        log->least = log->count == 0 ? values->value[i] : fmin(log->least, values->value[i]);
        log->greatest = log->count == 0 ? values->value[i] : fmax(log->greatest, values->value[i]);
        log->sum += values->value[i];
        log->count++;
    }
    log->flags |= values->flags;
    struct record_trace record = { .channel = log->trace,
                                   .unit = units[rails->quantity],
                                   .time_ns = time_ns,
                                   .value = value,
                                   .count = values->count };
    return values->count > 0 ? run->sink->trace(run->sink->context, &record, err) : 0;
}

static int fetch(struct run *run, const struct record_rails *rails, struct rail_log *log, struct error *err)
{
    struct logger_values values;
    int rc;

    do {
        rc = logger_read(run->context->client, log->channel, &values, err);
        if (rc == 0)
            rc = take(run, rails, log, &values, err);
    } while (rc == 0 && values.count == LOGGER_READ_MAX);
    return rc;
}

static int start(struct run *run, const struct record_rails *rails, struct rail_log *logs, struct error *err)
{
    int rc = 0;

    for (int i = 0; i < rails->count && rc == 0; i++) {
        struct rail_log *log = &logs[i];
        *log = (struct rail_log){ .channel = bench_file_rail(run->context->bench_file, rails->name[i]) };
        record_channel(log->trace, "log.%s.%s", rails->name[i], quantities[rails->quantity]);
        rc = logger_start(run->context->client, log->channel, rails->quantity, rails->period_s,
                          &log->begin_ns, err);
    }
    return rc;
}

static int record_figures(struct run *run, const struct run_point *point, const struct record_rails *rails,
                          const struct rail_log *log, struct error *err)
{
    const struct {
        const char *name;
        double value;
    } rows[] = { { "mean", log->sum / (double)log->count }, { "min", log->least }, { "max", log->greatest } };

    if (log->count == 0)
        return error_set(err, ERR_NO_ANSWER, "the logger of %s gave no value", log->channel->name);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char channel[RECORD_NAME_MAX];
        record_channel(channel, "%s.%s", log->trace, rows[i].name);
        int rc = runner_value(run, point, channel, units[rails->quantity], rows[i].value, NAN,
                              READING_DERIVED | log->flags, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

int record_rails_execute(struct run *run, const struct run_point *point, struct error *err)
{
    const struct record_rails *rails = &point->what->u.record.rails;
    struct rail_log logs[CAMPAIGN_PINS_MAX];
    int64_t end_ns = runner_now(run) + (int64_t)(rails->seconds * NS_PER_S);
    struct error ignored;

    if (rails->count == 0)
        return 0;
    int rc = start(run, rails, logs, err);
    while (rc == 0 && runner_now(run) < end_ns) {
        double left_s = (double)(end_ns - runner_now(run)) / NS_PER_S;
        rc = runner_wait(run, fmin(left_s, FETCH_S), err);
        for (int i = 0; i < rails->count && rc == 0; i++)
            rc = fetch(run, rails, &logs[i], err);
    }
    for (int i = 0; i < rails->count; i++) {
        const struct bench_channel *ch = bench_file_rail(run->context->bench_file, rails->name[i]);
        int stopped = logger_stop(run->context->client, ch, rc == 0 ? err : &ignored);
        rc = rc == 0 ? stopped : rc;
    }
    for (int i = 0; i < rails->count && rc == 0; i++)
        rc = record_figures(run, point, rails, &logs[i], err);
    return rc;
}
