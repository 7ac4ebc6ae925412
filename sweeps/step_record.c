/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * step_record: the chip's analog outputs (positions of its test mux, read by the meter) and digital outputs
 * (pins, status, counters, results and tensors of a few samples). On the reference, only what the reference
 * has: results and tensors. */
#include "sweeps/cost.h"
#include "sweeps/plan_check.h"
#include "sweeps/record_logic.h"
#include "sweeps/record_rails.h"
#include "sweeps/runner.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { RESULTS_MAX = 100, TENSORS_MAX = 20 };
#define SETTLE_S 0.005

static void parse(const struct json_at *at, const struct campaign *campaign, struct campaign_step *step)
{
    struct step_record *record = &step->u.record;
    struct json_at positions = json_member(at, "test_bus", false);
    int count = json_count(&positions);

    if (count > CAMPAIGN_POSITIONS_MAX) {
        json_problem(&positions, "", "more than %d positions", CAMPAIGN_POSITIONS_MAX);
        count = CAMPAIGN_POSITIONS_MAX;
    }
    for (int i = 0; i < count; i++) {
        struct json_at item = json_element(&positions, i);
        if (!cJSON_IsString(item.node) || strlen(item.node->valuestring) >= CAMPAIGN_NAME_MAX)
            json_problem(&item, "\"VREF\"", "not the name of a test mux position");
        else
            snprintf(record->position[record->position_count++], CAMPAIGN_NAME_MAX, "%s",
                     item.node->valuestring);
    }
    struct json_at logic = json_member(at, "logic", false);
    struct json_at rails = json_member(at, "rails", false);
    record_logic_parse(&logic, &record->logic);
    record_rails_parse(&rails, &record->rails);
    record->counters = json_boolean(at, "counters", false, false);
    record->status = json_boolean(at, "status", false, false);
    record->result_samples = (int)json_integer(at, "results", false, 0, RESULTS_MAX, 0);
    record->tensor_samples = (int)json_integer(at, "tensors", false, 0, TENSORS_MAX, 0);
    record->dataset = step_dataset(at, campaign, record->result_samples + record->tensor_samples > 0);
}

static void plan(struct plan_state *state, const struct campaign_step *step, struct plan_cost *cost)
{
    const struct step_record *record = &step->u.record;
    const struct bench_file *bench = state->inputs->bench;
    const struct chip_profile *profile = state->inputs->profile;
    const char *names[PROFILE_MUX_MAX + 1] = { NULL };

    for (int i = 0; i < profile->mux_count; i++)
        names[i] = profile->mux[i].name;
    for (int i = 0; i < record->position_count; i++) {
        if (profile_mux_index(profile, record->position[i]) < 0) {
            char pointer[JSON_POINTER_MAX + 24];
            const char *nearest = json_nearest(record->position[i], names);
            snprintf(pointer, sizeof pointer, "%s/test_bus/%d", step->pointer, i);
            step_problem(state, pointer, nearest != NULL ? nearest : "", "%s has no test mux position \"%s\"",
                         profile->type, record->position[i]);
        }
    }
    if (record->position_count > 0 && bench->meter_channel < 0)
        step_problem(state, step->pointer, "", "%s has no meter on the test bus", bench->name);
    int samples =
        record->result_samples > record->tensor_samples ? record->result_samples : record->tensor_samples;
    if (samples > 0) {
        plan_check_samples(state, step->pointer,
                           record->result_samples > record->tensor_samples ? "/results" : "/tensors",
                           record->dataset, samples);
        if (state->network < 0 && !state->partial)
            step_problem(state, step->pointer, "add a step \"load\" before it",
                         "results need a loaded network");
    }
    record_logic_plan(state, step, cost);
    record_rails_plan(state, step, cost);
    double read_s = bench->meter_channel >= 0 ? bench->channel[bench->meter_channel].measure_s : 0.0;
    cost->seconds += record->position_count * (read_s + SETTLE_S + COST_EXCHANGE_S);
    if (state->network >= 0) {
        const struct asset_network *asset = &state->inputs->assets->network[state->network];
        cost->seconds += (record->result_samples + record->tensor_samples * asset->stages) *
                         cost_inference_s(state, state->network, state->adc.bits);
        cost->seconds += record->tensor_samples * cost_spi_s(state->spi_hz, 60000, 120, 60);
        cost->bytes += (double)record->tensor_samples * COST_TENSORS_BYTES;
    }
    cost->samples += record->result_samples;
    cost->bytes += record->result_samples * COST_SAMPLE_BYTES + record->position_count * COST_READING_BYTES;
}

static int record_position(struct run *run, struct run_point *point, const char *position, struct error *err)
{
    const struct bench_file *file = run->context->bench_file;
    const struct bench_channel *meter = &file->channel[file->meter_channel];
    struct bench_read read = { .channel = meter, .quantity = QUANTITY_VOLTAGE };
    char channel[RECORD_NAME_MAX];

    record_channel(channel, "test_bus.%s", position);
    int rc = chip_testmux(run->chip, position, "off", false, err);
    if (rc == 0)
        rc = runner_wait(run, SETTLE_S, err);
    if (rc == 0)
        rc = bench_read_many(run->context->client, &read, 1, err);
    return rc == 0 ? runner_reading(run, point, channel, meter->name, &read.reading, err) : rc;
}

static int record_analog(struct run *run, struct run_point *point, struct error *err)
{
    const struct step_record *record = &point->what->u.record;
    const struct bench_file *file = run->context->bench_file;
    struct error ignored;

    if (record->position_count == 0)
        return 0;
    int rc = dmm_configure(run->context->client, &file->channel[file->meter_channel], NAN, 10.0, err);
    for (int i = 0; i < record->position_count && rc == 0; i++)
        rc = record_position(run, point, record->position[i], err);
    int released = chip_testmux(run->chip, "off", "off", false, rc == 0 ? err : &ignored);
    return rc == 0 ? released : rc;
}

static int record_status(struct run *run, struct run_point *point, struct error *err)
{
    static const char *const names[] = { "STATUS", "ERR", "INFCNT", "CYC_LO" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char channel[RECORD_NAME_MAX];
        uint32_t value;
        if (profile_register_index(run->profile, PROFILE_SCOPE_CHIP, names[i]) < 0)
            continue;
        int rc = chip_read(run->chip, CHIP_GLOBAL, names[i], &value, err);
        snprintf(channel, sizeof channel, "register.%s", names[i]);
        if (rc == 0)
            rc = runner_value(run, point, channel, UNIT_NONE, value, 0.0, 0, err);
        if (rc < 0)
            return rc;
    }
    return runner_temperature(run, point, err);
}

static int record_counters(struct run *run, struct run_point *point, struct error *err)
{
    for (int core = 0; core < run->profile->cores.count; core++) {
        struct chip_counters counters;
        int rc = chip_counters(run->chip, core, &counters, err);
        if (rc < 0)
            return rc;
        const struct {
            const char *name;
            uint32_t value;
        } rows[] = { { "mvms", counters.mvms },
                     { "conversions", counters.conversions },
                     { "clipped", counters.clipped },
                     { "memory_bytes", counters.memory_bytes } };
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            char channel[RECORD_NAME_MAX];
            snprintf(channel, sizeof channel, "counter.%d.%s", core, rows[i].name);
            rc = runner_value(run, point, channel, UNIT_NONE, rows[i].value, 0.0, 0, err);
            if (rc < 0)
                return rc;
        }
    }
    return 0;
}

static int record_results(struct run *run, struct run_point *point, struct backend *backend,
                          const struct dataset *dataset, struct error *err)
{
    const int count = point->what->u.record.result_samples;
    const uint8_t *input[RESULTS_MAX];
    struct inference result[RESULTS_MAX];
    struct record_sample sample[RESULTS_MAX];

    for (int i = 0; i < count; i++)
        input[i] = dataset_sample(dataset, i);
    if (point->open != NULL && point->open->samples >= count) {
        runner_progress(run, count);
        return 0; /* recorded before the run was interrupted */
    }
    int rc = count > 0 ? backend->infer(backend->context, input, count, result, err) : 0;
    if (rc < 0 || count == 0)
        return rc;
    for (int i = 0; i < count; i++) {
        sample[i] = (struct record_sample){ .sample = i,
                                            .label = (int16_t)dataset_label(dataset, i),
                                            .prediction = (int16_t)result[i].prediction,
                                            .cycles = result[i].cycles,
                                            .status = (uint16_t)result[i].err_bits,
                                            .source = (int16_t)dataset_source(dataset, i),
                                            .clip = (int32_t)dataset_clip(dataset, i) };
        memcpy(sample[i].output, result[i].output, sizeof sample[i].output);
    }
    struct record_samples batch = { .step = point->step,
                                    .cell = point->cell->index,
                                    .attempt = point->attempt,
                                    .count = count,
                                    .sample = sample,
                                    .time_ns = runner_now(run) };
    rc = run->sink->samples(run->sink->context, &batch, err);
    if (rc == 0)
        rc = run->sink->ack(run->sink->context, err); /* what is told as done is on the disk */
    if (rc == 0)
        runner_progress(run, count);
    return rc;
}

struct tensor_sink {
    struct run *run;
    const struct run_point *point;
    int sample;
};

static int record_tensor(void *context, const struct backend_tensor *tensor, struct error *err)
{
    const struct tensor_sink *sink = context;
    struct record_tensor record = { .step = sink->point->step,
                                    .cell = sink->point->cell->index,
                                    .attempt = sink->point->attempt,
                                    .sample = sink->sample,
                                    .layer = tensor->layer,
                                    .kind = tensor->kind,
                                    .core = tensor->core,
                                    .layer_name = tensor->layer_name,
                                    .shape = { tensor->shape[0], tensor->shape[1], tensor->shape[2] },
                                    .type_bits = tensor->type_bits,
                                    .data = tensor->data,
                                    .bytes = tensor->bytes };

    return sink->run->sink->tensor(sink->run->sink->context, &record, err);
}

static int record_tensors(struct run *run, struct run_point *point, struct backend *backend,
                          const struct dataset *dataset, struct error *err)
{
    for (int i = 0; i < point->what->u.record.tensor_samples; i++) {
        struct tensor_sink sink = { run, point, i };
        int rc = runner_go_on(run, err);
        if (rc == 0)
            rc = backend->tensors(backend->context, dataset_sample(dataset, i), record_tensor, &sink, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* Counters and status come before the tensors, whose partial runs would overwrite them. */
static int execute(struct run *run, struct run_point *point, struct error *err)
{
    const struct step_record *record = &point->what->u.record;
    const struct dataset *dataset =
        record->dataset >= 0 ? run->context->assets->dataset[record->dataset].dataset : NULL;
    struct backend *backend = runner_backend(run, run->context->backend);
    int rc = 0;

    if (run->has_bench)
        rc = record_analog(run, point, err);
    if (rc == 0 && dataset != NULL)
        rc = runner_load_again(run, err);
    if (rc == 0 && dataset != NULL)
        rc = record_results(run, point, backend, dataset, err);
    if (rc == 0 && run->has_bench)
        rc = record_logic_execute(run, point, err);
    if (rc == 0 && run->has_bench)
        rc = record_rails_execute(run, point, err);
    if (rc == 0 && run->has_bench && record->status)
        rc = record_status(run, point, err);
    if (rc == 0 && run->has_bench && record->counters)
        rc = record_counters(run, point, err);
    if (rc == 0 && dataset != NULL)
        rc = record_tensors(run, point, backend, dataset, err);
    return rc;
}

static const char *const keys[] = { "test_bus", "logic",   "rails",   "counters", "status",
                                    "dataset",  "results", "tensors", NULL };
const struct step_type step_record_type = {
    .name = "record",
    .needs = STEP_NEEDS_POWER,
    .makes_point = true,
    .keys = keys,
    .parse = parse,
    .plan = plan,
    .execute = execute,
};
