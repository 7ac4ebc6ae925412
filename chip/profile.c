/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * profile: checks chip profiles. */
#include "chip/profile.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const ROLES[] = { "core", "io", "bias", "reference", NULL };
static const char *const PIN_KINDS[] = { "supply", "input", "output", "analog", NULL };
static const char *const FRAMINGS[] = { "adl2", "adi16", NULL };
static const char *const SCOPES[] = { "chip", "core", NULL };
static const char *const ACCESSES[] = { "rw", "ro", "w1c", NULL };

/* ---- Readers of small things ---- */

static void read_name(const struct json_at *at, const char *key, bool required, char out[PROFILE_NAME_MAX])
{
    const char *text = json_string(at, key, required, "");

    if (strlen(text) >= PROFILE_NAME_MAX) {
        struct json_at member = json_member(at, key, false);
        json_problem(&member, "", "longer than %d characters", PROFILE_NAME_MAX - 1);
        text = "";
    } else if (required && *text == '\0') {
        struct json_at member = json_member(at, key, false);
        if (member.node && cJSON_IsString(member.node))
            json_problem(&member, "", "empty name");
    }
    snprintf(out, PROFILE_NAME_MAX, "%s", text);
}

/* A number, or text in any base that C knows: register maps are read in hexadecimal. */
static uint32_t read_address(const struct json_at *at, const char *key, bool required)
{
    struct json_at member = json_member(at, key, required);

    if (!member.node)
        return 0;
    if (cJSON_IsString(member.node)) {
        char *end;
        errno = 0;
        unsigned long long value = strtoull(member.node->valuestring, &end, 0);
        if (errno || end == member.node->valuestring || *end || value > UINT32_MAX ||
            strchr(member.node->valuestring, '-')) {
            json_problem(&member, "as \"0x3C\"", "'%s' is no 32-bit number", member.node->valuestring);
            return 0;
        }
        return (uint32_t)value;
    }
    return (uint32_t)json_integer(at, key, required, 0, UINT32_MAX, 0);
}

/* Number of elements of an array, held to `max`. */
static int read_list(const struct json_at *at, const char *key, bool required, int max,
                     struct json_at *ret_list)
{
    *ret_list = json_member(at, key, required);
    if (!ret_list->node)
        return 0;
    if (!cJSON_IsArray(ret_list->node)) {
        json_problem(ret_list, "", "must be an array");
        return 0;
    }
    int count = json_count(ret_list);
    if (count > max) {
        json_problem(ret_list, "", "has %d elements; at most %d are possible", count, max);
        return max;
    }
    return count;
}

/* A name finds the first that has it: another one would never be met. */
static void check_first(const struct json_at *at, const char *what, const char *name, bool is_first)
{
    if (!is_first)
        json_problem(at, "", "%s '%s' is there twice", what, name);
}

static int read_integers(const struct json_at *at, const char *key, int min, int max, int *out)
{
    struct json_at list;
    int count = read_list(at, key, true, PROFILE_ADC_CHOICES_MAX, &list);

    for (int i = 0; i < count; i++) {
        struct json_at item = json_element(&list, i);
        double value = cJSON_IsNumber(item.node) ? item.node->valuedouble : -1e9;
        out[i] = 0;
        if (value < min || value > max || value != (double)(int)value)
            json_problem(&item, "", "must be a whole number from %d to %d", min, max);
        else
            out[i] = (int)value;
    }
    return count;
}

/* ---- Rails and their order ---- */

static void check_rail(const struct json_at *at, const struct profile_rail *rail)
{
    if (rail->min_v > rail->nominal_v || rail->nominal_v > rail->max_v)
        json_problem(at, "min_v <= nominal_v <= max_v", "nominal_v %g lies outside %g..%g", rail->nominal_v,
                     rail->min_v, rail->max_v);
    if (rail->min_v < rail->abs_min_v || rail->max_v > rail->abs_max_v)
        json_problem(at, "", "range %g..%g V exceeds the absolute maximum ratings %g..%g V", rail->min_v,
                     rail->max_v, rail->abs_min_v, rail->abs_max_v);
    /* A rail that only goes negative is guarded by the size of its voltage. */
    double size_max_v = rail->max_v > -rail->min_v ? rail->max_v : -rail->min_v;
    double size_abs_v = rail->abs_max_v > -rail->abs_min_v ? rail->abs_max_v : -rail->abs_min_v;
    if (rail->ovp_v <= size_max_v || rail->ovp_v > size_abs_v)
        json_problem(at, "above the range in use, at most the absolute maximum",
                     "ovp_v %g protects nothing or trips in use", rail->ovp_v);
}

static void parse_rail(const struct json_at *at, struct profile_rail *rail)
{
    static const char *const known[] = { "name",         "role",      "group",     "nominal_v", "min_v",
                                         "max_v",        "abs_min_v", "abs_max_v", "limit_a",   "ovp_v",
                                         "ramp_v_per_s", "settle_s",  NULL };

    json_only(at, known);
    read_name(at, "name", true, rail->name);
    read_name(at, "group", false, rail->group);
    rail->role = (enum profile_role)json_choice(at, "role", true, ROLES, PROFILE_ROLE_CORE);
    rail->nominal_v = json_double(at, "nominal_v", true, -100, 100, 0);
    rail->min_v = json_double(at, "min_v", true, -100, 100, rail->nominal_v);
    rail->max_v = json_double(at, "max_v", true, -100, 100, rail->nominal_v);
    rail->abs_min_v = json_double(at, "abs_min_v", false, -100, 0, 0);
    rail->abs_max_v = json_double(at, "abs_max_v", true, 0, 100, 100);
    rail->limit_a = json_double(at, "limit_a", true, 1e-9, 100, 1e-3);
    rail->ovp_v = json_double(at, "ovp_v", true, 1e-3, 100, 100);
    rail->ramp_v_per_s = json_double(at, "ramp_v_per_s", true, 1e-3, 1e6, 1);
    rail->settle_s = json_double(at, "settle_s", true, 0, 60, 0);
    check_rail(at, rail);
}

static void parse_rails(const struct json_at *at, struct chip_profile *p)
{
    struct json_at list;

    p->rail_count = read_list(at, "rails", true, PROFILE_RAILS_MAX, &list);
    if (list.node && p->rail_count == 0)
        json_problem(&list, "", "a chip has at least one rail");
    for (int i = 0; i < p->rail_count; i++) {
        struct json_at item = json_element(&list, i);
        parse_rail(&item, &p->rail[i]);
        check_first(&item, "rail", p->rail[i].name, profile_rail_index(p, p->rail[i].name) == i);
    }
}

static int item_of(const struct chip_profile *p, const char *name, int *ret_item)
{
    if (strcmp(name, "spi") == 0) {
        *ret_item = PROFILE_ITEM_SPI;
        return 0;
    }
    if (strcmp(name, "test_source") == 0) {
        *ret_item = PROFILE_ITEM_TEST_SOURCE;
        return 0;
    }
    *ret_item = profile_rail_index(p, name);
    return *ret_item < 0 ? -1 : 0;
}

static void parse_barrier(const struct json_at *list, const struct chip_profile *p,
                          struct profile_barrier *barrier, int seen[PROFILE_RAILS_MAX + 2])
{
    int count = json_count(list);

    if (!cJSON_IsArray(list->node)) {
        json_problem(list, "", "a barrier is an array of names");
        return;
    }
    for (int i = 0; i < count; i++) {
        struct json_at at = json_element(list, i);
        const char *name = cJSON_IsString(at.node) ? at.node->valuestring : "";
        int item;
        if (item_of(p, name, &item)) {
            json_problem(&at, "a rail, \"spi\" or \"test_source\"", "'%s' is no rail of this chip", name);
            continue;
        }
        if (seen[item + 2]++) {
            json_problem(&at, "", "'%s' is there twice", name);
            continue;
        }
        barrier->item[barrier->count++] = item;
    }
}

/* Every rail must be in every order: one that is forgotten stays on. */
static void parse_sequence(const struct json_at *at, const char *key, const struct chip_profile *p,
                           struct profile_sequence *sequence)
{
    struct json_at list;
    int seen[PROFILE_RAILS_MAX + 2] = { 0 };

    sequence->count = read_list(at, key, true, PROFILE_BARRIERS_MAX, &list);
    for (int i = 0; i < sequence->count; i++) {
        struct json_at barrier = json_element(&list, i);
        parse_barrier(&barrier, p, &sequence->barrier[i], seen);
    }
    for (int i = 0; list.node && i < p->rail_count; i++) {
        if (!seen[i + 2])
            json_problem(&list, "", "rail '%s' is missing", p->rail[i].name);
    }
}

static void parse_power(const struct json_at *at, struct chip_profile *p)
{
    parse_sequence(at, "power_up", p, &p->power_up);
    parse_sequence(at, "emergency", p, &p->emergency);
    if (json_member(at, "power_down", false).node) {
        parse_sequence(at, "power_down", p, &p->power_down);
    } else {
        p->power_down.count = p->power_up.count;
        for (int i = 0; i < p->power_up.count; i++)
            p->power_down.barrier[i] = p->power_up.barrier[p->power_up.count - 1 - i];
    }
    for (int b = 0; b < p->power_up.count; b++) {
        for (int i = 0; i < p->power_up.barrier[b].count; i++) {
            int item = p->power_up.barrier[b].item[i];
            if (item >= 0)
                p->rail[item].up_barrier = b;
        }
    }
}

/* ---- Interface ---- */

static void parse_contact(const struct json_at *at, struct chip_profile *p)
{
    static const char *const known[] = { "force_v", "limit_a", NULL };
    struct json_at contact = json_member(at, "contact_check", false);

    p->has_contact_check = contact.node != NULL;
    if (!contact.node)
        return;
    json_only(&contact, known);
    p->contact_check.force_v = json_double(&contact, "force_v", true, 0.001, PROFILE_CONTACT_MAX_V, 0);
    p->contact_check.limit_a = json_double(&contact, "limit_a", true, 1e-9, PROFILE_CONTACT_MAX_A, 1e-6);
}

static void parse_pins(const struct json_at *at, struct chip_profile *p)
{
    static const char *const known[] = { "name", "kind", NULL };
    struct json_at list;

    p->pin_count = read_list(at, "pins", false, PROFILE_PINS_MAX, &list);
    for (int i = 0; i < p->pin_count; i++) {
        struct json_at item = json_element(&list, i);
        json_only(&item, known);
        read_name(&item, "name", true, p->pin[i].name);
        p->pin[i].kind =
            (enum profile_pin_kind)json_choice(&item, "kind", true, PIN_KINDS, PROFILE_PIN_INPUT);
    }
}

static void parse_spi(const struct json_at *at, struct chip_profile *p)
{
    static const char *const known[] = { "framing",     "mode", "clock_max_hz", "word_bits", "address_bits",
                                         "burst_words", NULL };
    struct json_at spi = json_member(at, "spi", true);

    if (!spi.node)
        return;
    json_only(&spi, known);
    p->spi.kind =
        (enum profile_framing_kind)json_choice(&spi, "framing", true, FRAMINGS, PROFILE_FRAMING_ADL2);
    p->spi.mode = (int)json_integer(&spi, "mode", true, 0, 3, 0);
    p->spi.clock_max_hz = json_double(&spi, "clock_max_hz", true, 1, 1e9, 1e6);
    p->spi.word_bits = (int)json_integer(&spi, "word_bits", true, 8, 32, 32);
    p->spi.address_bits = (int)json_integer(&spi, "address_bits", true, 7, 32, 24);
    p->spi.burst_words = (int)json_integer(&spi, "burst_words", true, 1, 256, 1);
    int word = p->spi.kind == PROFILE_FRAMING_ADL2 ? 32 : 8;
    int address = p->spi.kind == PROFILE_FRAMING_ADL2 ? 24 : 15;
    if (p->spi.word_bits != word || p->spi.address_bits != address)
        json_problem(&spi, "", "framing %s has %d-bit words and %d-bit addresses", FRAMINGS[p->spi.kind],
                     word, address);
}

static void parse_fields(const struct json_at *at, struct profile_register *reg, int word_bits)
{
    static const char *const known[] = { "name", "bit", "width", NULL };
    struct json_at list;

    reg->field_count = read_list(at, "fields", false, PROFILE_FIELDS_MAX, &list);
    for (int i = 0; i < reg->field_count; i++) {
        struct json_at item = json_element(&list, i);
        struct profile_field *field = &reg->field[i];
        json_only(&item, known);
        read_name(&item, "name", true, field->name);
        field->bit = (int)json_integer(&item, "bit", true, 0, word_bits - 1, 0);
        field->width = (int)json_integer(&item, "width", false, 1, word_bits, 1);
        check_first(&item, "field", field->name, profile_field(reg, field->name) == field);
        if (field->bit + field->width > word_bits)
            json_problem(&item, "", "field '%s' leaves the %d-bit register", field->name, word_bits);
    }
}

static void parse_registers(const struct json_at *at, struct chip_profile *p)
{
    static const char *const known[] = { "name", "address", "scope", "access", "fields", NULL };
    struct json_at list;

    p->register_count = read_list(at, "registers", true, PROFILE_REGISTERS_MAX, &list);
    for (int i = 0; i < p->register_count; i++) {
        struct json_at item = json_element(&list, i);
        struct profile_register *reg = &p->reg[i];
        json_only(&item, known);
        read_name(&item, "name", true, reg->name);
        reg->address = read_address(&item, "address", true);
        reg->scope = (enum profile_scope)json_choice(&item, "scope", false, SCOPES, PROFILE_SCOPE_CHIP);
        reg->access = (enum profile_access)json_choice(&item, "access", false, ACCESSES, PROFILE_ACCESS_RW);
        parse_fields(&item, reg, p->spi.word_bits ? p->spi.word_bits : 32);
        if (p->spi.word_bits && reg->address % (uint32_t)(p->spi.word_bits / 8))
            json_problem(&item, "", "address is no multiple of a word");
        for (int j = 0; j < i; j++) {
            if (p->reg[j].scope != reg->scope)
                continue;
            if (strcmp(p->reg[j].name, reg->name) == 0 || p->reg[j].address == reg->address)
                json_problem(&item, "", "register '%s' repeats the name or address of '%s'", reg->name,
                             p->reg[j].name);
        }
    }
}

static void parse_memories(const struct json_at *at, struct chip_profile *p)
{
    static const char *const known[] = { "name", "address", "bytes", "scope", "access", NULL };
    struct json_at list;

    p->memory_count = read_list(at, "memories", false, PROFILE_MEMORIES_MAX, &list);
    for (int i = 0; i < p->memory_count; i++) {
        struct json_at item = json_element(&list, i);
        struct profile_memory *memory = &p->memory[i];
        json_only(&item, known);
        read_name(&item, "name", true, memory->name);
        check_first(&item, "memory", memory->name, profile_memory_index(p, memory->name) == i);
        memory->address = read_address(&item, "address", true);
        memory->bytes = read_address(&item, "bytes", true);
        memory->scope = (enum profile_scope)json_choice(&item, "scope", false, SCOPES, PROFILE_SCOPE_CHIP);
        memory->access =
            (enum profile_access)json_choice(&item, "access", false, ACCESSES, PROFILE_ACCESS_RW);
        if (p->spi.word_bits && memory->bytes % (uint32_t)(p->spi.word_bits / 8))
            json_problem(&item, "", "size is no multiple of a word");
        if (memory->scope == PROFILE_SCOPE_CORE && !json_member(at, "cores", false).node)
            json_problem(&item, "", "memory '%s' belongs to cores, and the chip has none", memory->name);
    }
}

static void parse_identity(const struct json_at *at, struct chip_profile *p)
{
    static const char *const known[] = { "register", "value", "revision_register", "die_registers", NULL };
    struct json_at identity = json_member(at, "identity", true);
    const char *name[4] = { "", "", "", "" };
    int index[4];

    p->identity_register = p->revision_register = p->die_register[0] = p->die_register[1] = -1;
    if (!identity.node)
        return;
    json_only(&identity, known);
    p->identity_value = read_address(&identity, "value", true);
    name[0] = json_string(&identity, "register", true, "");
    name[1] = json_string(&identity, "revision_register", false, "");
    struct json_at die;
    int dies = read_list(&identity, "die_registers", false, 2, &die);
    for (int i = 0; i < dies; i++) {
        struct json_at item = json_element(&die, i);
        name[2 + i] = cJSON_IsString(item.node) ? item.node->valuestring : "?";
    }
    for (int i = 0; i < 4; i++) {
        index[i] = *name[i] ? profile_register_index(p, PROFILE_SCOPE_CHIP, name[i]) : -1;
        if (*name[i] && index[i] < 0)
            json_problem(&identity, "", "'%s' is no register of the chip", name[i]);
    }
    p->identity_register = index[0];
    p->revision_register = index[1];
    p->die_register[0] = index[2];
    p->die_register[1] = index[3];
}

/* ---- Arrays ---- */

static void parse_cores(const struct json_at *at, struct chip_profile *p)
{
    static const char *const known[] = { "count",  "rows",       "columns",          "converters", "address",
                                         "stride", "digit_bits", "accumulator_bits", NULL };
    struct json_at cores = json_member(at, "cores", false);

    if (!cores.node)
        return;
    json_only(&cores, known);
    p->cores.count = (int)json_integer(&cores, "count", true, 1, PROFILE_CORES_MAX, 1);
    p->cores.rows = (int)json_integer(&cores, "rows", true, 1, 4096, 1);
    p->cores.columns = (int)json_integer(&cores, "columns", true, 2, 4096, 2);
    p->cores.converters = (int)json_integer(&cores, "converters", true, 1, 4096, 1);
    p->cores.address = read_address(&cores, "address", true);
    p->cores.stride = read_address(&cores, "stride", true);
    p->cores.digit_bits = (int)json_integer(&cores, "digit_bits", true, 3, 3, 3);
    p->cores.accumulator_bits = (int)json_integer(&cores, "accumulator_bits", true, 16, 32, 30);
    if (p->cores.columns % 2 || p->cores.rows * p->cores.columns > PROFILE_CELLS_MAX)
        json_problem(&cores, "", "columns must be even and an array has at most %d cells", PROFILE_CELLS_MAX);
}

static void parse_adc(const struct json_at *at, struct chip_profile *p)
{
    static const char *const known[] = { "bits", "gains", "full_scale", "input_max", NULL };
    struct json_at adc = json_member(at, "adc", p->cores.count > 0);

    if (!adc.node)
        return;
    json_only(&adc, known);
    p->adc.bits_count = read_integers(&adc, "bits", 1, 16, p->adc.bits);
    p->adc.gain_count = read_integers(&adc, "gains", 1, 64, p->adc.gain);
    p->adc.full_scale = (int)json_integer(&adc, "full_scale", true, 1, 100000, 1);
    p->adc.input_max = (int)json_integer(&adc, "input_max", true, 1, 255, 255);
}

static void parse_trims(const struct json_at *at, struct chip_profile *p)
{
    static const char *const known[] = { "name",   "memory",  "bit",  "width", "stride",
                                         "signed", "neutral", "step", "unit",  NULL };
    struct json_at list;

    p->trim_count = read_list(at, "trims", false, PROFILE_TRIMS_MAX, &list);
    for (int i = 0; i < p->trim_count; i++) {
        struct json_at item = json_element(&list, i);
        struct profile_trim *trim = &p->trim[i];
        json_only(&item, known);
        read_name(&item, "name", true, trim->name);
        check_first(&item, "trim", trim->name, profile_trim_index(p, trim->name) == i);
        trim->bit = (int)json_integer(&item, "bit", true, 0, 31, 0);
        trim->width = (int)json_integer(&item, "width", true, 1, 16, 1);
        trim->stride = read_address(&item, "stride", true);
        trim->is_signed = json_boolean(&item, "signed", true, false);
        trim->neutral = (int)json_integer(&item, "neutral", true, -32768, 65535, 0);
        trim->step = json_double(&item, "step", true, 1e-9, 1e9, 1);
        read_name(&item, "unit", true, trim->unit);
        const char *memory = json_string(&item, "memory", true, "");
        trim->memory = profile_memory_index(p, memory);
        if (trim->memory < 0)
            json_problem(&item, "", "'%s' is no memory of the chip", memory);
        if (trim->bit + trim->width > 32)
            json_problem(&item, "", "trim '%s' leaves its word", trim->name);
    }
}

static void parse_mux(const struct json_at *at, struct chip_profile *p)
{
    static const char *const known[] = { "name", "value", NULL };
    struct json_at list;

    p->mux_count = read_list(at, "test_mux", false, PROFILE_MUX_MAX, &list);
    for (int i = 0; i < p->mux_count; i++) {
        struct json_at item = json_element(&list, i);
        json_only(&item, known);
        read_name(&item, "name", true, p->mux[i].name);
        check_first(&item, "test_mux entry", p->mux[i].name, profile_mux_index(p, p->mux[i].name) == i);
        p->mux[i].value = read_address(&item, "value", true);
    }
}

static void parse_operating(const struct json_at *at, struct chip_profile *p)
{
    static const char *const known[] = { "supply_min_v",       "supply_max_v",
                                         "clock_min_hz",       "clock_max_hz",
                                         "temperature_min_c",  "temperature_max_c",
                                         "temperature_step_c", NULL };
    static const char *const accounting_known[] = { "operations_per_mac", NULL };
    struct json_at operating = json_member(at, "operating", true);
    struct json_at accounting = json_member(at, "accounting", false);

    p->operations_per_mac = 2;
    if (accounting.node) {
        json_only(&accounting, accounting_known);
        p->operations_per_mac = (int)json_integer(&accounting, "operations_per_mac", true, 1, 2, 2);
    }
    if (!operating.node)
        return;
    json_only(&operating, known);
    struct profile_operating *o = &p->operating;
    o->supply_min_v = json_double(&operating, "supply_min_v", true, 0, 100, 0);
    o->supply_max_v = json_double(&operating, "supply_max_v", true, 0, 100, 0);
    o->clock_min_hz = json_double(&operating, "clock_min_hz", true, 0, 1e11, 0);
    o->clock_max_hz = json_double(&operating, "clock_max_hz", true, 1, 1e11, 1);
    o->temperature_min_c = json_double(&operating, "temperature_min_c", true, -273.15, 500, 25);
    o->temperature_max_c = json_double(&operating, "temperature_max_c", true, -273.15, 500, 25);
    o->temperature_step_c = json_double(&operating, "temperature_step_c", false, 0, 10, 0);
    if (o->temperature_step_c > 0 && profile_register_index(p, PROFILE_SCOPE_CHIP, "TEMP") < 0)
        json_problem(&operating, "", "temperature_step_c is of a sensor, but there is no register TEMP");
    if (o->supply_min_v > o->supply_max_v || o->clock_min_hz > o->clock_max_hz ||
        o->temperature_min_c > o->temperature_max_c)
        json_problem(&operating, "", "a minimum is above its maximum");
}

static void parse_cycles(const struct json_at *at, struct chip_profile *p)
{
    static const char *const known[] = {
        "instruction", "gather_bytes",     "mvm", "mvm_per_bit", "bn_per_channel",
        "mov_bytes",   "padd_per_channel", "ldw", "extin",       NULL
    };
    struct json_at cycles = json_member(at, "cycles", p->cores.count > 0);

    if (!cycles.node)
        return;
    json_only(&cycles, known);
    p->cycles.instruction = (int)json_integer(&cycles, "instruction", true, 1, 1000, 1);
    p->cycles.gather_bytes = (int)json_integer(&cycles, "gather_bytes", true, 1, 1000, 1);
    p->cycles.mvm = (int)json_integer(&cycles, "mvm", true, 0, 100000, 0);
    p->cycles.mvm_per_bit = (int)json_integer(&cycles, "mvm_per_bit", true, 0, 100000, 0);
    p->cycles.bn_per_channel = (int)json_integer(&cycles, "bn_per_channel", true, 0, 1000, 0);
    p->cycles.mov_bytes = (int)json_integer(&cycles, "mov_bytes", true, 1, 1000, 1);
    p->cycles.padd_per_channel = (int)json_integer(&cycles, "padd_per_channel", true, 0, 1000, 0);
    p->cycles.ldw = (int)json_integer(&cycles, "ldw", true, 0, 1000000, 0);
    p->cycles.extin = (int)json_integer(&cycles, "extin", true, 0, 1000000, 0);
}

/* ---- Whole files ---- */

int profile_parse(const struct json_at *root, struct chip_profile *ret_profile)
{
    static const char *const known[] = { "$schema",    "format",   "version",    "type",      "revision",
                                         "rails",      "power_up", "power_down", "emergency", "contact_check",
                                         "pins",       "spi",      "identity",   "registers", "memories",
                                         "cores",      "adc",      "trims",      "test_mux",  "operating",
                                         "accounting", "cycles",   "interlocks", NULL };
    static const char *const formats[] = { "nightbench-chip", NULL };
    struct chip_profile *p = ret_profile;
    int before = root->problems->count;

    memset(p, 0, sizeof *p);
    json_only(root, known);
    json_choice(root, "format", true, formats, 0);
    json_integer(root, "version", true, 1, 1, 1);
    read_name(root, "type", true, p->type);
    p->revision = (int)json_integer(root, "revision", true, 0, 1000000, 0);
    parse_rails(root, p);
    parse_power(root, p);
    parse_contact(root, p);
    parse_pins(root, p);
    parse_spi(root, p);
    parse_registers(root, p);
    parse_identity(root, p);
    parse_cores(root, p);
    parse_memories(root, p);
    parse_adc(root, p);
    parse_trims(root, p);
    parse_mux(root, p);
    parse_operating(root, p);
    parse_cycles(root, p);
    return root->problems->count > before ? ERR_INVALID : 0;
}
