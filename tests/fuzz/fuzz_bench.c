/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * fuzz_bench: bench files, with the dialects of configs/. What others index by is in range in an accepted
 * one, every rail is fed once, and its snapshot is JSON.
 *
 * sources: daemon/base drivers instruments
 * aims: instruments/bench_file.c
 * seeds: configs/benches
 * options: -max_len=8192
 * edges: 430 */
#include "instruments/bench.h"

#include "tests/fuzz/json_mutator.h"

static void check_channels(const struct bench_file *file)
{
    for (int i = 0; i < file->channel_count; i++) {
        const struct bench_channel *ch = &file->channel[i];

        FUZZ_CHECK(ch->index == i && ch->instrument >= 0 && ch->instrument < file->instrument_count);
        FUZZ_CHECK(ch->name[0] != '\0');
        if (ch->rail[0] != '\0')
            FUZZ_CHECK(ch->can_source && bench_file_rail(file, ch->rail) == ch);
        if (ch->can_source)
            FUZZ_CHECK(ch->volt_min_v <= ch->volt_max_v && ch->limit_min_a <= ch->limit_max_a);
        if (ch->can_source)
            FUZZ_CHECK(file->instrument[ch->instrument].energises);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct json_problems problems;
    struct bench_file *file = NULL;
    struct error err = { 0 };

    problems.count = 0;
    int code = bench_file_load(fuzz_file(0, data, size), &file, &problems, &err);
    fuzz_check_problems(&problems);
    if (code != 0) {
        fuzz_check_refusal(code, &err, file);
        return 0;
    }
    FUZZ_CHECK(problems.count == 0);
    FUZZ_CHECK(file->instrument_count <= BENCH_INSTRUMENTS_MAX && file->channel_count <= BENCH_CHANNELS_MAX);
    check_channels(file);
    FUZZ_CHECK(file->spi_instrument >= -1 && file->spi_instrument < file->instrument_count);
    FUZZ_CHECK(file->spi_instrument < 0 || file->instrument[file->spi_instrument].class == CLASS_SPI);
    FUZZ_CHECK(file->source_channel >= -1 && file->source_channel < file->channel_count);
    FUZZ_CHECK(file->source_channel < 0 || file->channel[file->source_channel].can_source);
    FUZZ_CHECK(file->meter_channel >= -1 && file->meter_channel < file->channel_count);
    fuzz_check_json(file->json);
    bench_file_free(file);
    return 0;
}
