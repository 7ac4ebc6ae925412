/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * fuzz_store: a store and its trace file, damaged anywhere, as a bad disk or a foreign hand leaves them. A
 * small store is made once; the input is a list of changes to its bytes. Every query answers with JSON or
 * says what is wrong; the writer opens it or says so.
 *
 * sources: daemon/base db
 * aims: db/store.c db/query*.c db/trace*.c db/writer*.c
 * options: -max_len=512
 * edges: 400 */
#include "daemon/base/text.h"
#include "db/query.h"
#include "db/store.h"
#include "tests/fuzz/small_store.h"

enum { FILE_MAX = 4 << 20, CHANGES_MAX = 64 };

static char folder[64];
static struct part {
    char path[128];
    char *whole; /* as it was written */
    size_t size;
} store_file, trace_file;

static void remove_folder(void)
{
    char command[80];

    snprintf(command, sizeof command, "rm -rf %s", folder);
    FUZZ_CHECK(system(command) == 0);
}

static void make_store(void)
{
    fuzz_folder(folder, sizeof folder);
    atexit(remove_folder);
    snprintf(store_file.path, sizeof store_file.path, "%s/t.db", folder);
    store_trace_path(store_file.path, SMALL_STORE_ULID, trace_file.path, sizeof trace_file.path);
    small_store_make(store_file.path);
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
    ASK(query_points(query, SMALL_STORE_ULID, -1, &json, &err));
    ASK(query_samples(query, SMALL_STORE_ULID, 0, 0, 0, 100, &json, &err));
    ASK(query_channels(query, SMALL_STORE_ULID, &json, &err));
    ASK(query_trace(query, SMALL_STORE_ULID, "rail.vddd.current", 0, 0, 50, &json, &err));
    ASK(query_trace(query, SMALL_STORE_ULID, "rail.vddd.current", 2000, 40000, 4000, &json, &err));
    ASK(query_events(query, NULL, 0, 100, &json, &err));
    ASK(query_calibrations(query, NULL, &json, &err));
    ASK(query_tensors(query, SMALL_STORE_ULID, -1, &json, &err));
    int code = query_compare_rows(query, SMALL_STORE_ULID, count_row, &rows, &err);
    if (code < 0)
        fuzz_check_refusal(code, &err, NULL);
    err = (struct error){ 0 };
    code = query_tensor_each(query, SMALL_STORE_ULID, count_tensor, &rows, &err);
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
