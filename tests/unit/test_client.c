/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_client: the command line, the event reader, tables and the progress line of `nightbench`.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/client/args.h"
#include "daemon/client/show.h"
#include "daemon/client/sse.h"
#include "daemon/client/table.h"
#include "daemon/client/watch.h"

static int nothing(const struct args *args)
{
    (void)args;
    return 0;
}

static const struct args_command commands[] = {
    { "run", "CAMPAIGN", 1, 1, ARGS_JSON | ARGS_START | ARGS_SIM, "", nothing },
    { "compare", "A B", 2, 2, ARGS_JSON, "", nothing },
    { "help", "", 0, 0, 0, "", nothing },
    { .name = NULL },
};

enum { WORDS = 8 };

static void test_args(void **state)
{
    static const struct {
        const char *word[WORDS];
        const char *says; /* NULL: accepted */
    } rows[] = {
        { { "run", "c.json" }, NULL },
        { { "run", "c.json", "--seed", "7", "--backend", "reference", "--json" }, NULL },
        { { "run", "--", "-c.json" }, NULL },
        { { "--help" }, NULL },
        { { "compare", "a", "b" }, NULL },
        { { NULL }, "which command" },
        { { "rnu", "c.json" }, "did you mean 'run'" },
        { { "run" }, "an argument is missing: nightbench run CAMPAIGN" },
        { { "run", "a", "b" }, "'b' is one argument too many" },
        { { "run", "c.json", "--sed", "7" }, "did you mean '--seed'" },
        { { "run", "c.json", "--seed" }, "--seed needs a value: --seed N" },
        { { "run", "c.json", "--seed", "-7" }, "takes a whole number" },
        { { "run", "c.json", "--backend", "fpga" }, "chip or reference" },
        { { "compare", "a", "b", "--seed", "7" }, "has no option '--seed'" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char name[] = "nightbench", *argv[WORDS + 1] = { name };
        struct error err = { 0 };
        struct args args;
        int argc = 1;

        for (int w = 0; w < WORDS && rows[i].word[w] != NULL; w++)
            argv[argc++] = strdup(rows[i].word[w]);
        int rc = args_parse(commands, argc, argv, &args, &err);
        if ((rc == 0) != (rows[i].says == NULL) || (rc != 0 && strstr(err.message, rows[i].says) == NULL))
            fail_msg("row %zu: %d '%s'", i, rc, err.message);
        if (i == 1) {
            assert_string_equal(args.seed, "7");
            assert_string_equal(args.backend, "reference");
            assert_true(args.json);
            assert_string_equal(args.positional[0], "c.json");
        }
        for (int w = 1; w < argc; w++)
            free(argv[w]);
    }
}

struct seen {
    int count, stop_after;
    struct sse_event event[4];
};

static int on_event(void *context, const struct sse_event *event)
{
    struct seen *seen = context;

    assert_true(seen->count < 4);
    seen->event[seen->count++] = *event;
    return seen->count == seen->stop_after ? 42 : 0;
}

static const char stream[] =
    "retry: 2000\n: hello\n\nid: 5\nevent: point\ndata: {\"a\":1}\n\n:\n\nid: 6\r\ndata:x\r\n\r\n"
    "event: nothing\n\nid: 9\nevent: state\ndata: {\"end\":true}\n\n";

/* Cut anywhere, the same events come out. */
static void test_sse_pieces(void **state)
{
    (void)state;
    for (size_t piece = 1; piece <= sizeof stream; piece++) {
        struct sse *sse = calloc(1, sizeof *sse);
        struct seen seen = { .stop_after = -1 };

        assert_non_null(sse);
        for (size_t at = 0; at < sizeof stream - 1; at += piece) {
            size_t count = sizeof stream - 1 - at < piece ? sizeof stream - 1 - at : piece;

            assert_int_equal(sse_feed(sse, stream + at, count, on_event, &seen), 0);
        }
        assert_int_equal(seen.count, 3);
        assert_int_equal(seen.event[0].id, 5);
        assert_string_equal(seen.event[0].kind, "point");
        assert_string_equal(seen.event[0].data, "{\"a\":1}");
        assert_int_equal(seen.event[1].id, 6);
        assert_string_equal(seen.event[1].kind, "");
        assert_string_equal(seen.event[1].data, "x");
        assert_string_equal(seen.event[2].data, "{\"end\":true}");
        free(sse);
    }
}

static void test_sse_stop_and_long_line(void **state)
{
    struct sse *sse = calloc(1, sizeof *sse);
    struct seen seen = { .stop_after = 1 };
    char *text = malloc(2 * SSE_LINE_MAX);

    (void)state;
    assert_non_null(sse);
    assert_non_null(text);
    assert_int_equal(sse_feed(sse, stream, sizeof stream - 1, on_event, &seen), 42);
    memset(sse, 0, sizeof *sse);
    memset(text, 'x', 2 * SSE_LINE_MAX);
    memcpy(text, "data: ", 6);
    seen = (struct seen){ .stop_after = -1 };
    assert_int_equal(sse_feed(sse, text, 2 * SSE_LINE_MAX, on_event, &seen), 0);
    assert_int_equal(sse_feed(sse, "\n\ndata: y\n\n", 11, on_event, &seen), 0);
    assert_int_equal(seen.count, 1); /* the long one is dropped whole, not cut */
    assert_string_equal(seen.event[0].data, "y");
    free(text);
    free(sse);
}

static void test_table(void **state)
{
    static const char *const heads[] = { "NAME", ">N", "TEXT" };
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    struct table table;

    (void)state;
    table_init(&table, 3, heads);
    table_row(&table, (const char *const[]){ "longer name", "7", "end" });
    table_row(&table, (const char *const[]){ "x", "1234", NULL });
    table_print(&table, out);
    table_free(&table);
    fclose(out);
    assert_string_equal(text, "NAME            N  TEXT\n"
                              "longer name     7  end\n"
                              "x            1234\n");
    free(text);
}

static void test_progress_line(void **state)
{
    static const char text[] =
        "{\"step\":4,\"steps\":13,\"name\":\"accuracy\",\"points_done\":11,\"points_total\":27,"
        "\"samples_done\":500,\"samples_total\":1000,\"elapsed_s\":100,\"eta_s\":300}";
    char line[WATCH_LINE_MAX];
    cJSON *progress;

    (void)state;
    assert_int_equal(json_parse(text, sizeof text - 1, &progress, NULL), 0);
    watch_line(progress, 0, line);
    assert_string_equal(
        line, "[######------------------]  25 %  step 5 of 13 accuracy  points 11 of 27  left 5 min 00 s");
    watch_line(progress, 30, line);
    assert_int_equal(strlen(line), 30);
    cJSON_DeleteItemFromObjectCaseSensitive(progress, "eta_s");
    watch_line(progress, 0, line);
    assert_non_null(strstr(line, " 50 %")); /* by samples then */
    cJSON_Delete(progress);
}

static void test_exit_codes(void **state)
{
    (void)state;
    assert_int_equal(watch_exit_of("completed"), EXIT_OK);
    assert_int_equal(watch_exit_of("done"), EXIT_OK);
    assert_int_equal(watch_exit_of("aborted"), EXIT_ABORTED);
    assert_int_equal(watch_exit_of("stopped"), EXIT_ABORTED);
    assert_int_equal(watch_exit_of("tripped"), EXIT_FAILED);
    assert_int_equal(watch_exit_of("a state of a later daemon"), EXIT_FAILED);
    assert_int_equal(args_exit_of(ERR_NO_ANSWER), EXIT_UNREACHABLE);
    assert_int_equal(args_exit_of(ERR_CONFLICT), EXIT_REFUSED);
    assert_int_equal(args_exit_of(ERR_FULL), EXIT_SYSTEM);
}

/* What a person reads of a point: shares in percent, digits that end where the uncertainty does. */
static void test_show_points(void **state)
{
    static const char document[] =
        "{\"points\":[{\"step\":7,\"cell\":0,\"axes\":{\"vdd_v\":0.72},\"verdict\":\"pass\",\"attempts\":1,"
        "\"readings\":[{\"channel\":\"test_bus.vref\",\"value\":0.60054321,\"uncertainty\":1.8e-5,\"unit\":"
        "\"V\"},"
        "{\"channel\":\"counter.0.mvms\",\"value\":1234567,\"uncertainty\":0},"
        "{\"channel\":\"energy_per_inference\",\"value\":2.655e-7,\"uncertainty\":1.1e-7,\"unit\":\"J\"},"
        "{\"channel\":\"accuracy\",\"value\":0.801,\"uncertainty\":0.01263}]},"
        "{\"step\":7,\"cell\":1,\"axes\":{},\"verdict\":\"pass\",\"attempts\":1,"
        "\"readings\":[{\"channel\":\"again.rail.vddd.power\",\"value\":1},"
        "{\"channel\":\"again.cycles_per_inference\",\"value\":7},"
        "{\"channel\":\"again.accuracy\",\"value\":0.75}]},"
        "{\"step\":8,\"cell\":0,\"axes\":{},\"verdict\":\"skipped\",\"attempts\":1,\"message\":\"no "
        "chip\"}]}";
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    cJSON *tree;

    (void)state;
    assert_int_equal(json_parse(document, strlen(document), &tree, NULL), 0);
    show_points(tree, out);
    cJSON_Delete(tree);
    fclose(out);
    assert_non_null(strstr(text, "energy_per_inference 270 nJ +- 110 nJ, accuracy 80.1 % +- 1.3 %, "
                                 "test_bus.vref 600.543 mV +- 18 uV, counter.0.mvms 1234567\n"));
    assert_non_null(strstr(text, "  again.accuracy 75.0 %, again.cycles_per_inference 7\n"));
    assert_non_null(strstr(text, "(no chip)\n"));
    free(text);
}

/* Documents with missing or strange members print, and never crash. */
static void test_show_strange(void **state)
{
    static const char *const texts[] = {
        "{}",
        "[]",
        "null",
        "{\"points\":[{}],\"runs\":[{}],\"events\":[{\"kind\":\"report\"}],\"steps\":[{}],\"cells\":[{}]}",
        "{\"problems\":[{}],\"first_difference\":7}",
        "{\"points\":{\"pass\":\"x\"},\"runs\":7,\"steps\":{\"a\":{}}}",
    };
    static void (*const shows[])(const cJSON *, FILE *) = { show_status, show_runs,    show_run,
                                                            show_points, show_reports, show_problems,
                                                            show_plan,   show_compare };

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        for (size_t k = 0; k < sizeof shows / sizeof shows[0]; k++) {
            char *text = NULL;
            size_t size;
            FILE *out = open_memstream(&text, &size);
            cJSON *tree;

            assert_int_equal(json_parse(texts[i], strlen(texts[i]), &tree, NULL), 0);
            shows[k](tree, out);
            cJSON_Delete(tree);
            fclose(out);
            free(text);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_args),
        cmocka_unit_test(test_sse_pieces),
        cmocka_unit_test(test_sse_stop_and_long_line),
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_progress_line),
        cmocka_unit_test(test_exit_codes),
        cmocka_unit_test(test_show_points),
        cmocka_unit_test(test_show_strange),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
