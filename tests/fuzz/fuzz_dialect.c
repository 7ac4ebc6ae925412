/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * fuzz_dialect: files that describe an instrument. Every command of an accepted one can be put on the wire as
 * one printable line, and its limits and uncertainties are numbers.
 *
 * sources: daemon/base/error.c daemon/base/text.c daemon/base/json.c daemon/base/json_read.c
 * sources: drivers/dialect.c drivers/dialect_file.c drivers/dialect_check.c drivers/scpi_text.c
 * aims: drivers/dialect*.c
 * seeds: configs/instruments
 * options: -max_len=16384
 * edges: 370 */
#include "drivers/dialect.h"

#include <ctype.h>
#include <math.h>

#include "tests/fuzz/json_mutator.h"

static void check_commands(const struct dialect *dialect, const struct dialect_channel *channel)
{
    char line[512];
    struct error err = { 0 };

    for (int i = 0; i < DIALECT_COMMAND_COUNT; i++) {
        int code = dialect_format(dialect, i, channel->number, 1.25, 6, line, sizeof line, &err);

        FUZZ_CHECK((code == 0) == (dialect->command[i][0] != '\0'));
        if (code != 0)
            continue;
        for (const char *p = line; *p != '\0'; p++)
            FUZZ_CHECK(isprint((unsigned char)*p) && *p != '{' && *p != '}');
        code = dialect_format(dialect, i, channel->number, -1e6, 12, line, 16, &err);
        if (code != 0)
            fuzz_check_refusal(code, &err, NULL);
        else
            FUZZ_CHECK(strlen(line) < 16);
    }
}

/* Answers as lists, as status words and as nonsense: a number that is found is finite, a bit is 0 or 1. */
static void check_answers(const struct dialect *dialect, const struct dialect_channel *channel)
{
    static const char *const ANSWERS[] = { "1.5", "+1E0,-2.5,3", "0x32", "ON", ",,,", "", "9.91E37" };

    for (int i = 0; i < DIALECT_COMMAND_COUNT; i++) {
        for (size_t k = 0; k < sizeof ANSWERS / sizeof ANSWERS[0]; k++) {
            char text[32];
            double value = NAN;

            strcpy(text, ANSWERS[k]);
            if (!dialect_take(dialect, i, channel->number, text, &value))
                FUZZ_CHECK(isnan(value));
            else
                FUZZ_CHECK(isfinite(value) &&
                           (dialect->answer[i].bit_count == 0 || value == 0 || value == 1));
        }
    }
}

static void check_span(const struct dialect_span *span)
{
    if (isnan(span->min))
        return;
    FUZZ_CHECK(span->min <= span->max && span->step > 0);
    double rounded = dialect_round(span, span->min + (span->max - span->min) / 3);
    FUZZ_CHECK(fabs(rounded - (span->min + (span->max - span->min) / 3)) <= span->step * 0.5000001 + 1e-9);
}

static void check_channel(const struct dialect *dialect, const struct dialect_channel *channel)
{
    double range;

    FUZZ_CHECK(dialect_channel(dialect, channel->number) == channel);
    check_commands(dialect, channel);
    check_answers(dialect, channel);
    if (channel->can_source) {
        check_span(&channel->voltage);
        check_span(&channel->limit);
    }
    for (int quantity = 0; quantity < 2; quantity++) {
        double u = dialect_uncertainty(channel, quantity, 1.0, NAN, &range);

        FUZZ_CHECK(channel->row_count[quantity] == 0 ? isnan(u) && isnan(range) : u >= 0 && range > 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct json_problems problems;
    struct dialect *dialect = NULL;
    struct error err = { 0 };

    problems.count = 0;
    int code = dialect_load(fuzz_file(0, data, size), &dialect, &problems, &err);
    fuzz_check_problems(&problems);
    if (code != 0) {
        fuzz_check_refusal(code, &err, dialect);
        return 0;
    }
    FUZZ_CHECK(problems.count == 0);
    FUZZ_CHECK(dialect->channel_count <= DIALECT_CHANNELS_MAX);
    for (int i = 0; i < dialect->channel_count; i++)
        check_channel(dialect, &dialect->channel[i]);
    dialect_overdue(dialect, (int64_t)1 << 60);
    dialect_free(dialect);
    return 0;
}
