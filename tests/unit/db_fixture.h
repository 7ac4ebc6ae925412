/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * db_fixture: a store in a folder of its own, and a small run to put into it. For the tests of db/. */
#ifndef TESTS_UNIT_DB_FIXTURE_H
#define TESTS_UNIT_DB_FIXTURE_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/base/text.h"
#include "db/query.h"
#include "db/recorder.h"

/* For calls that fill the caller's `err`. */
#define assert_ok(call)                                                                                      \
    do {                                                                                                     \
        if ((call) != 0)                                                                                     \
            fail_msg("%s", err.message);                                                                     \
    } while (0)

struct fixture {
    char folder[64], db[96];
};

static inline int fixture_setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    snprintf(f->folder, sizeof f->folder, "/tmp/nightbench-test.XXXXXX");
    if (mkdtemp(f->folder) == NULL)
        return -1;
    snprintf(f->db, sizeof f->db, "%s/t.db", f->folder);
    *state = f;
    return 0;
}

static inline int fixture_teardown(void **state)
{
    struct fixture *f = *state;
    char command[128];

    snprintf(command, sizeof command, "rm -rf %s", f->folder);
    free(f);
    return system(command);
}

static inline struct record_run fixture_run(const char *ulid)
{
    return (struct record_run){
        .ulid = ulid,
        .campaign = "vmin",
        .plan_hash = "p1a2",
        .bench = "sim",
        .socket = "A",
        .chip_serial = "d7",
        .chip_type = "adelia2",
        .operator_name = "eve",
        .backend = "chip",
        .build = "test",
        .network_hash = "n1",
        .mapping_hash = "m1",
        .dataset_hash = "s1",
        .plan_json = "{\"steps\":[]}",
        .bench_json = "{}",
        .chip_json = "{\"identity\":{\"revision\":\"B0\",\"lot\":\"007\",\"wafer\":3,\"x\":4,\"y\":5}}",
        .tags = "night",
        .seed = 18446744073709551615u,
        .clock_virtual = true,
        .simulated = true,
        .time_ns = 1000,
        .wall_ns = 1769882400123456789,
    };
}

static inline struct record_reading fixture_reading(int cell, int attempt, const char *channel, double value,
                                                    int64_t time_ns)
{
    return (struct record_reading){
        0,       cell,  attempt,
        channel, "dmm", { value, 1e-4, NAN, time_ns, time_ns + 7, UNIT_VOLT, READING_SIMULATED, 0 }
    };
}

/* Cell `index` with axis vdd_v = 0.6 + index / 100; its attempt ends with `verdict` and `readings` readings.
 */
static inline void fixture_point(const struct record_sink *sink, int index, int attempt, int verdict,
                                 int readings)
{
    char axes[64], identity[32], channel[32];
    struct record_cell cell = { 0, index, axes, identity, 0 };
    struct record_attempt begin = { 0, index, attempt, false, VERDICT_NONE, 0, "", 2000 + index, 0 };
    struct record_attempt end = { 0, index, attempt, true, verdict, 0, "", 3000 + index, 42 };
    struct error err;

    snprintf(axes, sizeof axes, "{\"mode\":\"fast\",\"vdd_v\":%.2f}", 0.6 + index / 100.0);
    snprintf(identity, sizeof identity, "id%04d", index);
    if (attempt == 1)
        assert_ok(sink->cell(sink->context, &cell, &err));
    assert_ok(sink->attempt(sink->context, &begin, &err));
    for (int i = 0; i < readings; i++) {
        struct record_reading reading = fixture_reading(index, attempt, channel, index + i / 10.0, 2500 + i);

        /* The first one is named as a run names it: the queries of docs/database.md ask for it. */
        snprintf(channel, sizeof channel, "rail.vdd%c.voltage", i == 0 ? 'd' : '0' + i);
        assert_ok(sink->reading(sink->context, &reading, &err));
    }
    assert_ok(sink->attempt(sink->context, &end, &err));
}

static inline void fixture_samples(const struct record_sink *sink, int cell, int attempt, int first,
                                   int count)
{
    struct record_sample sample[100];
    struct record_samples batch = { 0, cell, attempt, first, count, sample, 2600 };
    struct error err;

    for (int i = 0; i < count; i++)
        sample[i] = (struct record_sample){ .sample = 1000 + first + i,
                                            .label = (int16_t)(i % 2),
                                            .prediction = 1,
                                            .output = { i, -i, 0, 0 },
                                            .cycles = 4000000000u,
                                            .status = 3,
                                            .source = 2,
                                            .clip = 9 };
    assert_ok(sink->samples(sink->context, &batch, &err));
}

static inline double number_at(const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);

    assert_true(cJSON_IsNumber(item));
    return item->valuedouble;
}

static inline const char *text_at(const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);

    assert_true(cJSON_IsString(item));
    return item->valuestring;
}

#endif
