/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * small_store: a store with one run that has something of everything. For fuzz targets that read it. */
#ifndef TESTS_FUZZ_SMALL_STORE_H
#define TESTS_FUZZ_SMALL_STORE_H

#include <math.h>

#include "db/recorder.h"
#include "tests/fuzz/fuzz.h"

#define SMALL_STORE_ULID "01KG000000000000000000FUZZ"
enum { SMALL_STORE_SAMPLES = 20, SMALL_STORE_TRACE = 600 };

#define MUST(call) FUZZ_CHECK((call) == 0)

static inline void small_store_point(const struct record_sink *sink, int index)
{
    struct record_cell cell = { 0, index, "{\"vdd_v\":0.8}", index ? "id1" : "id0", 0 };
    struct record_attempt begin = { .cell = index, .attempt = 1, .message = "", .time_ns = 10 }, end = begin;
    struct record_reading reading = {
        0,      index,
        1,      "rail.vddd.current",
        "psu1", { 1e-3, 1e-6, NAN, 11, 12, UNIT_AMPERE, READING_SIMULATED, 0 }
    };
    struct record_sample sample[SMALL_STORE_SAMPLES];
    struct record_samples batch = { 0, index, 1, 0, SMALL_STORE_SAMPLES, sample, 13 };

    end.end = true;
    end.verdict = VERDICT_PASS;
    for (int i = 0; i < SMALL_STORE_SAMPLES; i++)
        sample[i] = (struct record_sample){ .sample = i, .label = 1, .prediction = (int16_t)(i % 2) };
    MUST(sink->cell(sink->context, &cell, NULL));
    MUST(sink->attempt(sink->context, &begin, NULL));
    MUST(sink->reading(sink->context, &reading, NULL));
    MUST(sink->samples(sink->context, &batch, NULL));
    MUST(sink->attempt(sink->context, &end, NULL));
}

static inline void small_store_rest(const struct record_sink *sink)
{
    static int64_t time_ns[SMALL_STORE_TRACE];
    static float value[SMALL_STORE_TRACE];
    static const uint8_t bytes[6] = { 1, 2, 3, 4, 5, 6 };
    struct record_tensor tensor = { .layer_name = "conv1",
                                    .attempt = 1,
                                    .kind = TENSOR_CODE,
                                    .shape = { 1, 2, 3 },
                                    .type_bits = 8,
                                    .data = bytes,
                                    .bytes = sizeof bytes };
    struct record_event event = { "note", "a note", "{\"by\":\"eve\"}", 20, 21 };
    struct record_trace trace = { "rail.vddd.current", UNIT_AMPERE, time_ns, value, SMALL_STORE_TRACE };
    double coefficient[2] = { 1, 2 };
    struct record_calibration cal = { "die/0/1", "offset", "smu1", coefficient, 2, "[[0,1]]", 3600, 22 };
    int64_t id;

    for (int i = 0; i < SMALL_STORE_TRACE; i++) {
        time_ns[i] = 1000 + 100 * i;
        value[i] = (float)(i % 50);
    }
    MUST(sink->tensor(sink->context, &tensor, NULL));
    MUST(sink->event(sink->context, &event, NULL));
    MUST(sink->calibration(sink->context, &cal, &id, NULL));
    MUST(sink->trace(sink->context, &trace, NULL));
}

static inline void small_store_make(const char *path)
{
    struct record_run run = { SMALL_STORE_ULID,
                              "vmin",
                              "p1",
                              "sim",
                              "A",
                              "d7",
                              "adelia2",
                              "eve",
                              "chip",
                              "test",
                              "n1",
                              "m1",
                              "s1",
                              "{\"steps\":[]}",
                              "{}",
                              "{}",
                              "night",
                              1,
                              true,
                              true,
                              1,
                              2 };
    struct record_step step = { 0, "sweep", "vmin", false, 0, 5 };
    struct recorder *recorder = NULL;
    int64_t id;

    MUST(recorder_open(path, &recorder, NULL));
    const struct record_sink *sink = recorder_sink(recorder);
    MUST(sink->run_begin(sink->context, &run, &id, NULL));
    MUST(sink->step(sink->context, &step, NULL));
    small_store_point(sink, 0);
    small_store_point(sink, 1);
    small_store_rest(sink);
    step.end = true;
    MUST(sink->step(sink->context, &step, NULL));
    MUST(sink->run_end(sink->context, "done", 0, "", 99, NULL));
    MUST(recorder_close(recorder, NULL));
}

#endif
