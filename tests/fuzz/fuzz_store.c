/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * fuzz_store: a store and its trace file, damaged anywhere, as a bad disk or a foreign hand leaves them. A
 * small store is made once; the input is a list of changes to its bytes. Every query answers with JSON or
 * says what is wrong; the writer opens it or says so.
 *
 * sources: daemon/base db
 * options: -max_len=512 */
#include <math.h>

#include "daemon/base/text.h"
#include "db/export.h"
#include "db/query.h"
#include "db/recorder.h"
#include "db/store.h"
#include "tests/fuzz/fuzz.h"

#define ULID "01KG000000000000000000FUZZ"
enum { FILE_MAX = 4 << 20, CHANGES_MAX = 64, SAMPLES = 20, TRACE = 600 };

static char folder[] = "/tmp/nightbench-fuzz-XXXXXX";
static struct part {
    char path[128];
    char *whole; /* as it was written */
    size_t size;
} store_file, trace_file;

#define MUST(call) FUZZ_CHECK((call) == 0)

static void record_point(const struct record_sink *sink, int index)
{
    struct record_cell cell = { 0, index, "{\"vdd_v\":0.8}", index ? "id1" : "id0", 0 };
    struct record_attempt begin = { .cell = index, .attempt = 1, .message = "", .time_ns = 10 }, end = begin;
    struct record_reading reading = {
        0,      index,
        1,      "rail.vddd.current",
        "psu1", { 1e-3, 1e-6, NAN, 11, 12, UNIT_AMPERE, READING_SIMULATED, 0 }
    };
    struct record_sample sample[SAMPLES];
    struct record_samples batch = { 0, index, 1, 0, SAMPLES, sample, 13 };

    end.end = true;
    end.verdict = VERDICT_PASS;
    for (int i = 0; i < SAMPLES; i++)
        sample[i] = (struct record_sample){ .sample = i, .label = 1, .prediction = (int16_t)(i % 2) };
    MUST(sink->cell(sink->context, &cell, NULL));
    MUST(sink->attempt(sink->context, &begin, NULL));
    MUST(sink->reading(sink->context, &reading, NULL));
    MUST(sink->samples(sink->context, &batch, NULL));
    MUST(sink->attempt(sink->context, &end, NULL));
}

static void record_rest(const struct record_sink *sink)
{
    static int64_t time_ns[TRACE];
    static float value[TRACE];
    static const uint8_t bytes[6] = { 1, 2, 3, 4, 5, 6 };
    struct record_tensor tensor = { .layer_name = "conv1",
                                    .attempt = 1,
                                    .kind = TENSOR_CODE,
                                    .shape = { 1, 2, 3 },
                                    .type_bits = 8,
                                    .data = bytes,
                                    .bytes = sizeof bytes };
    struct record_event event = { "note", "a note", "{\"by\":\"eve\"}", 20, 21 };
    struct record_trace trace = { "rail.vddd.current", UNIT_AMPERE, time_ns, value, TRACE };
    double coefficient[2] = { 1, 2 };
    struct record_calibration cal = { "die/0/1", "offset", "smu1", coefficient, 2, "[[0,1]]", 3600, 22 };
    int64_t id;

    for (int i = 0; i < TRACE; i++) {
        time_ns[i] = 1000 + 100 * i;
        value[i] = (float)(i % 50);
    }
    MUST(sink->tensor(sink->context, &tensor, NULL));
    MUST(sink->event(sink->context, &event, NULL));
    MUST(sink->calibration(sink->context, &cal, &id, NULL));
    MUST(sink->trace(sink->context, &trace, NULL));
}

static void record_run(void)
{
    struct record_run run = { ULID,  "vmin", "p1",    "sim", "A",  "d7", "adelia2",
                              "eve", "chip", "test",  "n1",  "m1", "s1", "{\"steps\":[]}",
                              "{}",  "{}",   "night", 1,     true, true, 1,
                              2 };
    struct record_step step = { 0, "sweep", "vmin", false, 0, 5 };
    struct recorder *recorder = NULL;
    int64_t id;

    MUST(recorder_open(store_file.path, &recorder, NULL));
    const struct record_sink *sink = recorder_sink(recorder);
    MUST(sink->run_begin(sink->context, &run, &id, NULL));
    MUST(sink->step(sink->context, &step, NULL));
    record_point(sink, 0);
    record_point(sink, 1);
    record_rest(sink);
    step.end = true;
    MUST(sink->step(sink->context, &step, NULL));
    MUST(sink->run_end(sink->context, "done", 0, "", 99, NULL));
    MUST(recorder_close(recorder, NULL));
}

static void remove_folder(void)
{
    char command[64];

    snprintf(command, sizeof command, "rm -rf %s", folder);
    FUZZ_CHECK(system(command) == 0);
}

static void make_store(void)
{
    FUZZ_CHECK(mkdtemp(folder) != NULL);
    atexit(remove_folder);
    snprintf(store_file.path, sizeof store_file.path, "%s/t.db", folder);
    store_trace_path(store_file.path, ULID, trace_file.path, sizeof trace_file.path);
    record_run();
    MUST(text_read_file(store_file.path, FILE_MAX, &store_file.whole, &store_file.size, NULL));
    MUST(text_read_file(trace_file.path, FILE_MAX, &trace_file.whole, &trace_file.size, NULL));
}

/* Changes: which file and how, where, with what. */
static void damage(struct fuzz_input *in, struct part *part, char *bytes, size_t *size)
{
    unsigned how = fuzz_take(in, 1);
    size_t at = fuzz_take(in, 3) % part->size;

    switch (how % 4) {
    case 0:
        bytes[at] = (char)fuzz_take(in, 1);
        return;
    case 1:
        bytes[at] ^= (char)(1 << how / 4 % 8);
        return;
    case 2:
        for (unsigned n = fuzz_take(in, 1); n > 0 && at < part->size; n--)
            bytes[at++] = (char)(how & 4 ? 0xFF : 0);
        return;
    default:
        if (how >= 250)
            *size = at; /* a truncated file */
        else
            bytes[at] = (char)(bytes[at] + (how & 4 ? 1 : -1));
    }
}

static void write_damaged(struct fuzz_input *in)
{
    char path[160];
    size_t size[2] = { store_file.size, trace_file.size };
    struct part *parts[2] = { &store_file, &trace_file };
    char *bytes[2];

    for (int i = 0; i < 2; i++) {
        bytes[i] = malloc(size[i]);
        FUZZ_CHECK(bytes[i] != NULL);
        memcpy(bytes[i], parts[i]->whole, size[i]);
    }
    for (int i = 0; i < CHANGES_MAX && in->size > 0; i++) {
        int which = fuzz_take(in, 1) % 4 == 3;
        damage(in, parts[which], bytes[which], &size[which]);
    }
    for (int i = 0; i < 2; i++) {
        FILE *file = fopen(parts[i]->path, "wb");
        FUZZ_CHECK(file != NULL && fwrite(bytes[i], 1, size[i], file) == size[i] && fclose(file) == 0);
        free(bytes[i]);
    }
    snprintf(path, sizeof path, "%s-wal", store_file.path);
    unlink(path);
    snprintf(path, sizeof path, "%s-shm", store_file.path);
    unlink(path);
}

/* A query's answer is JSON, or its refusal says why. */
static void check(int code, cJSON *json, const struct error *err)
{
    if (code != 0) {
        fuzz_check_refusal(code, err, json);
        return;
    }
    char *text = json_print(json, false);
    fuzz_check_json(text);
    free(text);
    cJSON_Delete(json);
}

#define ASK(call)                                                                                            \
    do {                                                                                                     \
        cJSON *json = NULL;                                                                                  \
        struct error err = { 0 };                                                                            \
        int code = (call);                                                                                   \
        check(code, json, &err);                                                                             \
    } while (0)

static int count_row(void *context, const struct query_compare_row *row)
{
    FUZZ_CHECK(row->identity != NULL && row->axes_json != NULL);
    return ++*(int *)context > 100000;
}

static int count_tensor(void *context, const struct query_tensor_row *row)
{
    volatile uint8_t sum = 0;

    for (size_t i = 0; i < row->bytes; i++)
        sum = (uint8_t)(sum + ((const uint8_t *)row->data)[i]);
    FUZZ_CHECK(row->layer_name != NULL);
    return ++*(int *)context > 100000;
}

static void ask_everything(struct query *query)
{
    struct error err = { 0 };
    int rows = 0;

    ASK(query_runs(query, 10, NULL, &json, &err));
    ASK(query_run(query, "latest", &json, &err));
    ASK(query_points(query, ULID, -1, &json, &err));
    ASK(query_samples(query, ULID, 0, 0, 0, 100, &json, &err));
    ASK(query_channels(query, ULID, &json, &err));
    ASK(query_trace(query, ULID, "rail.vddd.current", 0, 0, 50, &json, &err));
    ASK(query_trace(query, ULID, "rail.vddd.current", 2000, 40000, 4000, &json, &err));
    ASK(query_events(query, NULL, 0, 100, &json, &err));
    ASK(query_calibrations(query, NULL, &json, &err));
    ASK(query_tensors(query, ULID, -1, &json, &err));
    int code = query_compare_rows(query, ULID, count_row, &rows, &err);
    if (code < 0)
        fuzz_check_refusal(code, &err, NULL);
    err = (struct error){ 0 };
    code = query_tensor_each(query, ULID, count_tensor, &rows, &err);
    if (code < 0)
        fuzz_check_refusal(code, &err, NULL);
}

static void open_writer(void)
{
    struct store *store = NULL;
    struct error err = { 0 };
    int code = store_open_writer(store_file.path, &store, &err);

    if (code != 0)
        fuzz_check_refusal(code, &err, store);
    else
        store_close(store);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = { data, size };
    struct query *query = NULL;
    struct error err = { 0 };

    if (store_file.whole == NULL)
        make_store();
    unsigned mode = fuzz_take(&in, 1);
    write_damaged(&in);
    int code = query_open(store_file.path, &query, &err);
    if (code != 0)
        fuzz_check_refusal(code, &err, query);
    else
        ask_everything(query);
    query_close(query);
    if (size == 0)
        FUZZ_CHECK(code == 0); /* the undamaged one */
    if (mode % 8 == 7)
        open_writer();
    return 0;
}
