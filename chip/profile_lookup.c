/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * profile_lookup: finds things in a profile by name.
 */
#include <string.h>

#include "chip/profile.h"

int profile_rail_index(const struct chip_profile *profile, const char *name)
{
    for (int i = 0; i < profile->rail_count; i++) {
        if (strcmp(profile->rail[i].name, name) == 0)
            return i;
    }
    return -1;
}

int profile_register_index(const struct chip_profile *profile, enum profile_scope scope, const char *name)
{
    for (int i = 0; i < profile->register_count; i++) {
        if (profile->reg[i].scope == scope && strcmp(profile->reg[i].name, name) == 0)
            return i;
    }
    return -1;
}

int profile_memory_index(const struct chip_profile *profile, const char *name)
{
    for (int i = 0; i < profile->memory_count; i++) {
        if (strcmp(profile->memory[i].name, name) == 0)
            return i;
    }
    return -1;
}

int profile_trim_index(const struct chip_profile *profile, const char *name)
{
    for (int i = 0; i < profile->trim_count; i++) {
        if (strcmp(profile->trim[i].name, name) == 0)
            return i;
    }
    return -1;
}

int profile_mux_index(const struct chip_profile *profile, const char *name)
{
    for (int i = 0; i < profile->mux_count; i++) {
        if (strcmp(profile->mux[i].name, name) == 0)
            return i;
    }
    return -1;
}

const struct profile_field *profile_field(const struct profile_register *reg, const char *name)
{
    for (int i = 0; i < reg->field_count; i++) {
        if (strcmp(reg->field[i].name, name) == 0)
            return &reg->field[i];
    }
    return NULL;
}

uint32_t profile_address(const struct chip_profile *profile, enum profile_scope scope, int core,
                         uint32_t offset)
{
    if (scope == PROFILE_SCOPE_CHIP)
        return offset;
    return profile->cores.address + (uint32_t)core * profile->cores.stride + offset;
}

int profile_gain_code(const struct chip_profile *profile, int gain)
{
    for (int i = 0; i < profile->adc.gain_count; i++) {
        if (profile->adc.gain[i] == gain)
            return i;
    }
    return -1;
}

bool profile_has_bits(const struct chip_profile *profile, int bits)
{
    for (int i = 0; i < profile->adc.bits_count; i++) {
        if (profile->adc.bits[i] == bits)
            return true;
    }
    return false;
}

uint32_t profile_memory_bytes(const struct chip_profile *profile, const char *name)
{
    int index = profile_memory_index(profile, name);

    return index < 0 ? 0 : profile->memory[index].bytes;
}
