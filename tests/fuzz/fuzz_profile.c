/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * fuzz_profile: files that describe a chip. An accepted one keeps every promise its users rely on without
 * looking: indices, limits and the power sequences.
 *
 * sources: daemon/base/error.c daemon/base/text.c daemon/base/json.c daemon/base/json_read.c
 * sources: daemon/base/hash.c chip/profile.c chip/profile_file.c chip/profile_lookup.c
 * aims: chip/profile*.c
 * seeds: configs/chips/adelia2.json
 * options: -max_len=20000
 * edges: 280 */
#include "chip/profile.h"

#include <math.h>

#include "tests/fuzz/json_mutator.h"

/* Every rail is switched in a sequence, once. */
static void check_sequence(const struct chip_profile *profile, const struct profile_sequence *sequence)
{
    int seen[PROFILE_RAILS_MAX] = { 0 };

    FUZZ_CHECK(sequence->count >= 0 && sequence->count <= PROFILE_BARRIERS_MAX);
    for (int b = 0; b < sequence->count; b++) {
        FUZZ_CHECK(sequence->barrier[b].count <= PROFILE_RAILS_MAX + 2);
        for (int i = 0; i < sequence->barrier[b].count; i++) {
            int item = sequence->barrier[b].item[i];

            FUZZ_CHECK(item >= PROFILE_ITEM_TEST_SOURCE && item < profile->rail_count);
            if (item >= 0)
                seen[item]++;
        }
    }
    for (int i = 0; i < profile->rail_count; i++)
        FUZZ_CHECK(seen[i] == 1);
}

static void check_rails(const struct chip_profile *profile)
{
    for (int i = 0; i < profile->rail_count; i++) {
        const struct profile_rail *rail = &profile->rail[i];

        FUZZ_CHECK(profile_rail_index(profile, rail->name) == i);
        FUZZ_CHECK(rail->abs_min_v <= rail->min_v && rail->min_v <= rail->nominal_v);
        FUZZ_CHECK(rail->nominal_v <= rail->max_v && rail->max_v <= rail->abs_max_v);
        FUZZ_CHECK(rail->limit_a > 0 && rail->ramp_v_per_s > 0 && isfinite(rail->settle_s));
        FUZZ_CHECK(rail->up_barrier >= 0 && rail->up_barrier < profile->power_up.count);
    }
}

static void check_registers(const struct chip_profile *profile)
{
    FUZZ_CHECK(profile->identity_register >= -1 && profile->identity_register < profile->register_count);
    FUZZ_CHECK(profile->revision_register < profile->register_count);
    for (int i = 0; i < profile->register_count; i++) {
        const struct profile_register *reg = &profile->reg[i];

        FUZZ_CHECK(profile_register_index(profile, reg->scope, reg->name) == i);
        for (int f = 0; f < reg->field_count; f++) {
            FUZZ_CHECK(reg->field[f].bit >= 0 && reg->field[f].width >= 1);
            FUZZ_CHECK(reg->field[f].bit + reg->field[f].width <= 32);
        }
    }
    for (int i = 0; i < profile->trim_count; i++) {
        FUZZ_CHECK(profile->trim[i].memory >= 0 && profile->trim[i].memory < profile->memory_count);
        FUZZ_CHECK(profile_trim_index(profile, profile->trim[i].name) == i);
    }
    for (int i = 0; i < profile->mux_count; i++)
        FUZZ_CHECK(profile_mux_index(profile, profile->mux[i].name) == i);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct chip_profile *profile = NULL;
    struct error err = { 0 };
    int code = profile_load(fuzz_file(0, data, size), &profile, &err);

    if (code != 0) {
        fuzz_check_refusal(code, &err, profile);
        return 0;
    }
    check_rails(profile);
    check_sequence(profile, &profile->power_up);
    check_sequence(profile, &profile->power_down);
    check_sequence(profile, &profile->emergency);
    check_registers(profile);
    FUZZ_CHECK(profile->cores.count >= 0 && profile->cores.count <= PROFILE_CORES_MAX);
    FUZZ_CHECK((int64_t)profile->cores.rows * profile->cores.columns <= PROFILE_CELLS_MAX);
    profile_free(profile);
    return 0;
}
