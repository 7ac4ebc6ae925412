/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * recorded_run: three points of a sweep, a tensor, a calibration, a trace and a report, in a store.
 */
#include <stdio.h>

#include "daemon/base/clock.h"
#include "db/recorder.h"
#include "tests/api/fake.h"

enum { SAMPLES = 8 };

static int record_point(const struct record_sink *sink, int cell, struct error *err)
{
    struct record_sample samples[SAMPLES];
    char axes[64], identity[32];
    double bits = 8 + cell;
    int rc;

    snprintf(axes, sizeof axes, "{\"adc_bits\":%g}", bits);
    snprintf(identity, sizeof identity, "cell%d", cell);
    struct record_cell row = {
        .step = 0, .index = cell, .axes_json = axes, .identity = identity, .repeat = 1
    };
    struct record_attempt attempt = {
        .step = 0, .cell = cell, .attempt = 1, .message = "", .time_ns = 1000 * cell
    };
    for (int i = 0; i < SAMPLES; i++)
        samples[i] = (struct record_sample){ .sample = i,
                                             .label = (int16_t)(i % 2),
                                             .prediction = (int16_t)(i % 3 == 0),
                                             .output = { i, -i, 0, 0 },
                                             .cycles = 100 };
    struct record_samples batch = { .cell = cell, .attempt = 1, .count = SAMPLES, .sample = samples };
    struct record_reading reading = { .cell = cell,
                                      .attempt = 1,
                                      .channel = "accuracy",
                                      .instrument = "",
                                      .reading = {
                                          .value = 0.5 + 0.1 * cell, .uncertainty = 0.01, .range = 1.0 } };
    if ((rc = sink->cell(sink->context, &row, err)) != 0 ||
        (rc = sink->attempt(sink->context, &attempt, err)) != 0 ||
        (rc = sink->samples(sink->context, &batch, err)) != 0 ||
        (rc = sink->reading(sink->context, &reading, err)) != 0)
        return rc;
    attempt.end = true;
    attempt.verdict = cell == 0 ? VERDICT_FAIL : VERDICT_PASS;
    return sink->attempt(sink->context, &attempt, err);
}

static int record_details(const struct record_sink *sink, struct error *err)
{
    static const int8_t codes[6] = { 1, -2, 3, -4, 5, -6 };
    const double coefficients[2] = { 0.5, 1.01 };
    int64_t times[16], id;
    float values[16];
    int rc;

    for (int i = 0; i < 16; i++) {
        times[i] = 1000 * i;
        values[i] = 0.8F + 0.001F * (float)i;
    }
    struct record_tensor tensor = { .attempt = 1,
                                    .sample = 0,
                                    .layer = 0,
                                    .kind = TENSOR_CODE,
                                    .layer_name = "conv1",
                                    .shape = { 6, 1, 1 },
                                    .type_bits = 8,
                                    .data = codes,
                                    .bytes = sizeof codes };
    struct record_calibration calibration = { .key = "die/0/adc/0",
                                              .kind = "adc",
                                              .instrument_chain = "src1,dmm1",
                                              .coefficient = coefficients,
                                              .coefficient_count = 2,
                                              .raw_json = "[]",
                                              .validity_s = 3600,
                                              .time_ns = 500 };
    struct record_trace trace = {
        .channel = "rail.vddd.voltage", .unit = UNIT_VOLT, .time_ns = times, .value = values, .count = 16
    };
    struct record_event event = { .kind = "report",
                                  .text = "ADC   gain  accuracy\n8 bit 4x    0.5",
                                  .time_ns = 9000 };
    if ((rc = sink->tensor(sink->context, &tensor, err)) != 0 ||
        (rc = sink->calibration(sink->context, &calibration, &id, err)) != 0 ||
        (rc = sink->trace(sink->context, &trace, err)) != 0)
        return rc;
    return sink->event(sink->context, &event, err);
}

int recorded_run(const char *db_path, struct error *err)
{
    struct record_step step = { .kind = "sweep", .name = "counting" };
    struct recorder *recorder;
    char ulid[ULID_TEXT];
    int64_t id;

    int rc = recorder_open(db_path, &recorder, err);
    if (rc != 0)
        return rc;
    const struct record_sink *sink = recorder_sink(recorder);
    text_ulid(ulid);
    struct record_run run = { .ulid = ulid,
                              .campaign = "fake",
                              .plan_hash = "ab",
                              .bench = "fake-bench",
                              .socket = "S1",
                              .chip_serial = "W1-0-0",
                              .chip_type = "fake",
                              .operator_name = "",
                              .backend = "chip",
                              .build = "test",
                              .network_hash = "",
                              .mapping_hash = "",
                              .dataset_hash = "",
                              .plan_json = "{}",
                              .bench_json = "{}",
                              .chip_json = "{}",
                              .tags = "",
                              .seed = 7,
                              .simulated = true,
                              .wall_ns = clock_wall_now() };
    rc = sink->run_begin(sink->context, &run, &id, err);
    if (rc == 0)
        rc = sink->step(sink->context, &step, err);
    for (int cell = 0; rc == 0 && cell < 3; cell++)
        rc = record_point(sink, cell, err);
    if (rc == 0)
        rc = record_details(sink, err);
    step.end = true;
    if (rc == 0)
        rc = sink->step(sink->context, &step, err);
    if (rc == 0)
        rc = sink->run_end(sink->context, "done", 0, "", 10000, err);
    int closed = recorder_close(recorder, rc == 0 ? err : NULL);
    return rc != 0 ? rc : closed;
}
