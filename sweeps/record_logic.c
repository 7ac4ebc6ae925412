/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * record_logic: reading, planning and recording of captures. */
#include "sweeps/record_logic.h"

#include <stdio.h>
#include <string.h>

#include "instruments/la.h"

enum { BATCH = 1024 }; /* values of a trace that go to the sink at once */

static const char *const keys[] = { "pins", "rate_hz", "samples", "trigger", "timeout_s", NULL };

static int pin_index(const struct record_logic *logic, const char *pin)
{
    for (int i = 0; i < logic->pin_count; i++) {
        if (strcmp(logic->pin[i], pin) == 0)
            return i;
    }
    return -1;
}

static void parse_trigger(const struct json_at *at, struct record_logic *logic)
{
    static const char *const trigger_keys[] = { "pin", "on", NULL };
    if (!at->node)
        return;
    json_only(at, trigger_keys);
    const char *pin = json_string(at, "pin", true, "");
    logic->trigger = LA_LOW + json_choice(at, "on", true, LA_TRIGGERS + LA_LOW, LA_RISING - LA_LOW);
    logic->trigger_pin = pin_index(logic, pin);
    if (logic->trigger_pin < 0)
        json_problem(at, "", "the trigger's pin \"%s\" is not captured", pin);
}

void record_logic_parse(const struct json_at *at, struct record_logic *ret)
{
    if (!at->node)
        return;
    json_only(at, keys);
    struct json_at pins = json_member(at, "pins", true), trigger = json_member(at, "trigger", false);
    int count = json_count(&pins);
    if (count < 1 || count > CAMPAIGN_PINS_MAX) {
        json_problem(&pins, "[\"IRQ\"]", "%d pins; 1 to %d can be captured", count, CAMPAIGN_PINS_MAX);
        count = count < 1 ? 0 : CAMPAIGN_PINS_MAX;
    }
    for (int i = 0; i < count; i++) {
        struct json_at item = json_element(&pins, i);
        if (!cJSON_IsString(item.node) || strlen(item.node->valuestring) >= CAMPAIGN_NAME_MAX)
            json_problem(&item, "\"IRQ\"", "not the name of a pin");
        else if (pin_index(ret, item.node->valuestring) >= 0)
            json_problem(&item, "", "%s is there twice", item.node->valuestring);
        else
            snprintf(ret->pin[ret->pin_count++], CAMPAIGN_NAME_MAX, "%s", item.node->valuestring);
    }
    ret->rate_hz = json_double(at, "rate_hz", false, 1, LA_RATE_MAX_HZ, 1e6);
    ret->samples = (int)json_integer(at, "samples", false, 1, LA_SAMPLES_MAX, 1000);
    ret->timeout_s = json_double(at, "timeout_s", false, 0, LA_TIMEOUT_MAX_S, 5);
    parse_trigger(&trigger, ret);
}

/* Pins without a wire are left out: planning has refused them. */
static struct la_request request_of(const struct record_logic *logic, const struct bench_file *bench)
{
    struct la_request request = { .rate_hz = logic->rate_hz,
                                  .samples = (uint32_t)logic->samples,
                                  .trigger = logic->trigger,
                                  .timeout_s = logic->trigger == LA_AT_ONCE ? 0 : logic->timeout_s };
    for (int i = 0; i < logic->pin_count; i++) {
        int input = bench_file_input(bench, logic->pin[i]);
        if (input >= 0)
            request.channels |= 1ull << input;
    }
    if (logic->trigger != LA_AT_ONCE)
        request.trigger_channel = bench_file_input(bench, logic->pin[logic->trigger_pin]);
    return request;
}

void record_logic_plan(const struct plan_state *state, const struct campaign_step *step,
                       struct plan_cost *cost)
{
    const struct record_logic *logic = &step->u.record.logic;
    const struct bench_file *bench = state->inputs->bench;
    char pointer[JSON_POINTER_MAX + 24];
    bool wired = bench->logic_instrument >= 0;

    if (logic->pin_count == 0)
        return;
    snprintf(pointer, sizeof pointer, "%s/logic", step->pointer);
    if (!wired)
        step_problem(state, pointer, "\"logic\" with instrument and inputs in the bench file",
                     "%s has no logic analyzer", bench->name);
    for (int i = 0; i < logic->pin_count && wired; i++) {
        const char *names[BENCH_INPUTS_MAX + 1] = { NULL };
        for (int n = 0; n < bench->logic_count; n++)
            names[n] = bench->logic[n].pin;
        if (bench_file_input(bench, logic->pin[i]) >= 0)
            continue;
        const char *nearest = json_nearest(logic->pin[i], names);
        step_problem(state, pointer, nearest != NULL ? nearest : "",
                     "no input of the logic analyzer is wired to \"%s\"", logic->pin[i]);
        wired = false;
    }
    struct la_request request = request_of(logic, bench);
    struct error err = { 0 };
    if (wired && la_check(&request, &err) != 0)
        step_problem(state, pointer, "", "%s", err.message);
    cost->seconds += logic->samples / logic->rate_hz + COST_EXCHANGE_S;
    cost->bytes += logic->pin_count * 2 * COST_READING_BYTES;
}

/* ---- Recording ---- */
struct pin_trace {
    struct run *run;
    char channel[RECORD_NAME_MAX];
    int count, edges;
    int64_t time_ns[BATCH];
    float value[BATCH];
};

static int flush(struct pin_trace *trace, struct error *err)
{
    const struct record_sink *sink = trace->run->sink;
    struct record_trace record = { .channel = trace->channel,
                                   .unit = UNIT_NONE,
                                   .time_ns = trace->time_ns,
                                   .value = trace->value,
                                   .count = trace->count };
    int rc = trace->count > 0 ? sink->trace(sink->context, &record, err) : 0;
    trace->count = 0;
    return rc;
}

static int add(struct pin_trace *trace, int64_t time_ns, bool level, struct error *err)
{
    int rc = trace->count == BATCH ? flush(trace, err) : 0;
    trace->time_ns[trace->count] = time_ns;
    trace->value[trace->count++] = level;
    return rc;
}

static int trace_pin(struct pin_trace *trace, const struct la_capture *capture, int input, struct error *err)
{
    double step_ns = 1e9 / capture->rate_hz;
    int64_t begin_ns = capture->time_ns - (int64_t)(capture->samples * step_ns);
    uint32_t last = capture->samples - 1, said = UINT32_MAX;
    bool before = la_level(capture, 0, input);
    int rc = 0;

    for (uint32_t i = 0; i <= last && rc == 0; i++) {
        bool level = la_level(capture, i, input), edge = level != before;
        if (edge && said != i - 1)
            rc = add(trace, begin_ns + (int64_t)((i - 1) * step_ns), before, err);
        if (rc == 0 && (edge || i == 0 || i == last)) {
            rc = add(trace, begin_ns + (int64_t)(i * step_ns), level, err);
            said = i;
        }
        trace->edges += edge;
        before = level;
    }
    return rc == 0 ? flush(trace, err) : rc;
}

static int record_pin(struct run *run, const struct run_point *point, const char *pin,
                      const struct la_capture *capture, struct error *err)
{
    struct pin_trace trace = { .run = run };
    char channel[RECORD_NAME_MAX];
    int input = bench_file_input(run->context->bench_file, pin);

    record_channel(trace.channel, "logic.%s", pin);
    int rc = trace_pin(&trace, capture, input, err);
    record_channel(channel, "logic.%s.level", pin);
    if (rc == 0)
        rc = runner_value(run, point, channel, UNIT_NONE, la_level(capture, capture->samples - 1, input), 0.0,
                          0, err);
    record_channel(channel, "logic.%s.edges", pin);
    if (rc == 0)
        rc = runner_value(run, point, channel, UNIT_NONE, trace.edges, 0.0, 0, err);
    return rc;
}

int record_logic_execute(struct run *run, const struct run_point *point, struct error *err)
{
    const struct record_logic *logic = &point->what->u.record.logic;
    const struct bench_file *bench = run->context->bench_file;
    struct la_request request = request_of(logic, bench);
    struct la_capture capture;

    if (logic->pin_count == 0)
        return 0;
    int rc = la_capture(run->context->client, bench->logic_instrument, &request, &capture, err);
    if (rc < 0)
        return rc;
    for (int i = 0; i < logic->pin_count && rc == 0; i++)
        rc = record_pin(run, point, logic->pin[i], &capture, err);
    la_capture_free(&capture);
    return rc;
}
