/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * modbus_map: reading and checking of register maps, and the way from a value to registers and back. */
#include "drivers/modbus_map.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "instruments/bench.h"

enum { PSU = 1 << CLASS_PSU, SMU = 1 << CLASS_SMU, DMM = 1 << CLASS_DMM, CHAMBER = 1 << CLASS_CHAMBER };

/* needed: classes that cannot do without. allowed: classes where it means something. */
static const struct {
    const char *name;
    unsigned needed, allowed;
    bool whole; /* a code, not a quantity: no scale */
} ROLES[MODBUS_ROLE_COUNT] = {
    [MODBUS_SET_VOLTAGE] = { "set_voltage", PSU | SMU, PSU | SMU, false },
    [MODBUS_SET_LIMIT] = { "set_limit", PSU, PSU, false },
    [MODBUS_SET_OVP] = { "set_ovp", 0, PSU, false },
    [MODBUS_SET_OCP] = { "set_ocp", 0, PSU, false },
    [MODBUS_OUTPUT] = { "output", PSU, PSU, true },
    [MODBUS_TRIP] = { "trip", PSU, PSU, true },
    [MODBUS_MODE] = { "mode", PSU, PSU, true },
    [MODBUS_MEASURE_VOLTAGE] = { "measure_voltage", PSU, PSU | DMM, false },
    [MODBUS_MEASURE_CURRENT] = { "measure_current", PSU, PSU | DMM, false },
    [MODBUS_SET_TEMPERATURE] = { "set_temperature", CHAMBER, CHAMBER, false },
    [MODBUS_MEASURE_TEMPERATURE] = { "measure_temperature", CHAMBER, CHAMBER, false },
    [MODBUS_STATUS] = { "status", 0, CHAMBER, true },
    [MODBUS_SETUP] = { "setup", 0, PSU | SMU | DMM | CHAMBER, true },
};

static const char *const CLASSES[] = { "psu", "smu", "dmm", "chamber", NULL };
static const int CLASS_OF[] = { CLASS_PSU, CLASS_SMU, CLASS_DMM, CLASS_CHAMBER };
static const char *const TESTED[] = { "no", "simulated", "peer", "hardware", NULL };

const char *modbus_role_name(int role)
{
    return role >= 0 && role < MODBUS_ROLE_COUNT ? ROLES[role].name : "?";
}

/* ---- Registers ---- */
static void read_register(const struct json_at *at, int role, struct modbus_register *reg)
{
    static const char *const KNOWN[] = { "address", "stride", "function", "type", "scale",
                                         "offset",  "expect", "bad",      NULL };
    static const char *const TYPES[] = { "u16", "i16", "f32", NULL };
    json_only(at, KNOWN);
    *reg = (struct modbus_register){
        .present = true,
        .address = (int)json_integer(at, "address", true, 0, 0xffff, 0),
        .stride = (int)json_integer(at, "stride", false, 0, 0x1000, 0),
        .function = (int)json_integer(at, "function", false, 3, 4, 3),
        .type = json_choice(at, "type", false, TYPES, MODBUS_U16),
        .scale = json_double(at, "scale", !ROLES[role].whole, 1e-9, 1e6, 1),
        .offset = json_double(at, "offset", false, -1e6, 1e6, 0),
        .expect = (int)json_integer(at, "expect", role == MODBUS_SETUP, 0, 0xffff, 0),
    };
    reg->bad_count = json_doubles(at, "bad", false, reg->bad, MODBUS_BAD_MAX);
    if (ROLES[role].whole &&
        (reg->scale != 1 || reg->offset != 0 || reg->type != MODBUS_U16 || reg->bad_count))
        json_problem(at, "", "'%s' is a code: it has neither scale nor offset, type, bad values",
                     ROLES[role].name);
}

static void read_registers(const struct json_at *root, struct modbus_map *map)
{
    const char *known[MODBUS_ROLE_COUNT + 1] = { NULL };
    struct json_at list = json_member(root, "registers", true);
    unsigned class = 1u << map->class;
    for (int i = 0; i < MODBUS_ROLE_COUNT; i++)
        known[i] = ROLES[i].name;
    if (list.node)
        json_only(&list, known);
    for (int i = 0; i < MODBUS_ROLE_COUNT; i++) {
        struct json_at at = json_member(&list, ROLES[i].name, (ROLES[i].needed & class) != 0);
        if (!at.node)
            continue;
        if (!(ROLES[i].allowed & class))
            json_problem(&at, "", "'%s' has no meaning for this class", ROLES[i].name);
        read_register(&at, i, &map->role[i]);
    }
    const struct modbus_register *role = map->role;
    if (map->class == CLASS_DMM && !role[MODBUS_MEASURE_VOLTAGE].present &&
        !role[MODBUS_MEASURE_CURRENT].present)
        json_problem(&list, "measure_voltage", "a meter measures something");
    if (map->class == CLASS_PSU && role[MODBUS_SET_OVP].present != role[MODBUS_SET_OCP].present)
        json_problem(&list, "", "'set_ovp' and 'set_ocp' come together");
}

/* ---- Channels ---- */
static void read_span(const struct json_at *parent, const char *key, bool required, struct dialect_span *span)
{
    static const char *const KNOWN[] = { "min", "max", "step", NULL };
    struct json_at at = json_member(parent, key, required);
    *span = (struct dialect_span){ .min = NAN, .max = NAN, .step = NAN };
    if (!at.node)
        return;
    json_only(&at, KNOWN);
    span->min = json_double(&at, "min", true, -1e6, 1e6, 0);
    span->max = json_double(&at, "max", true, -1e6, 1e6, 0);
    span->step = json_double(&at, "step", true, 1e-9, 1e3, 1e-3);
    if (span->min > span->max)
        json_problem(&at, "", "min %g is above max %g", span->min, span->max);
}

/* A range beyond the register is a slip of the pen: found here, not at night. */
static void check_reach(const struct json_at *at, const struct modbus_map *map, int role,
                        const struct dialect_span *span)
{
    uint16_t words[2];
    struct error err = { 0 };
    if (!map->role[role].present || isnan(span->min))
        return;
    if (modbus_map_encode(map, role, span->min, words, &err) ||
        modbus_map_encode(map, role, span->max, words, &err))
        json_problem(at, "", "%.200s", err.message);
}

static void read_row(const struct json_at *accuracy, const char *key, bool required,
                     struct dialect_channel *ch, int quantity)
{
    static const char *const KNOWN[] = { "range", "percent", "offset", "resolution", "source", NULL };
    struct json_at at = json_member(accuracy, key, required);
    if (!at.node)
        return;
    json_only(&at, KNOWN);
    json_string(&at, "source", true, "");
    ch->row_count[quantity] = 1;
    ch->row[quantity][0] = (struct dialect_row){
        .range = json_double(&at, "range", true, 1e-12, 1e6, 1),
        .percent = json_double(&at, "percent", true, 0, 100, 0),
        .offset = json_double(&at, "offset", true, 0, 1e3, 0),
        .resolution = json_double(&at, "resolution", true, 0, 1e3, 0),
    };
}

static void read_channels(const struct json_at *root, struct modbus_map *map)
{
    static const char *const KNOWN[] = { "count",    "voltage",   "limit",    "ovp", "temperature",
                                         "settle_s", "measure_s", "accuracy", NULL };
    struct json_at at = json_member(root, "channels", true);
    struct dialect_channel ch = { .can_source = map->class == CLASS_PSU || map->class == CLASS_SMU };
    if (!at.node)
        return;
    json_only(&at, KNOWN);
    int count = (int)json_integer(&at, "count", true, 1, DIALECT_CHANNELS_MAX, 1);
    read_span(&at, "voltage", ch.can_source, &ch.voltage);
    read_span(&at, "limit", map->class == CLASS_PSU, &ch.limit);
    read_span(&at, "ovp", map->role[MODBUS_SET_OVP].present, &ch.ovp);
    read_span(&at, "temperature", map->class == CLASS_CHAMBER, &map->temperature);
    check_reach(&at, map, MODBUS_SET_VOLTAGE, &ch.voltage);
    check_reach(&at, map, MODBUS_SET_LIMIT, &ch.limit);
    check_reach(&at, map, MODBUS_SET_OVP, &ch.ovp);
    check_reach(&at, map, MODBUS_SET_TEMPERATURE, &map->temperature);
    ch.settle_s = json_double(&at, "settle_s", ch.can_source, 0, 600, 0);
    ch.measure_s = json_double(&at, "measure_s", true, 0, 600, 0.1);
    bool measures = map->class != CLASS_SMU;
    struct json_at accuracy = json_member(&at, "accuracy", measures);
    read_row(&accuracy, "voltage", map->role[MODBUS_MEASURE_VOLTAGE].present, &ch, QUANTITY_VOLTAGE);
    read_row(&accuracy, "current", map->role[MODBUS_MEASURE_CURRENT].present, &ch, QUANTITY_CURRENT);
    /* a chamber has one quantity: its row stands in the first place */
    read_row(&accuracy, "temperature", map->class == CLASS_CHAMBER, &ch, 0);
    for (int i = 0; i < count; i++) {
        ch.number = i + 1;
        map->dialect.channel[map->dialect.channel_count++] = ch;
    }
}

/* ---- The rest ---- */
static void read_identity(const struct json_at *root, struct modbus_map *map)
{
    static const char *const KNOWN[] = { "address", "function", "ids", "serial", "firmware", NULL };
    struct json_at at = json_member(root, "identity", false);
    map->id_address = map->serial_address = map->firmware_address = -1;
    if (!at.node)
        return;
    json_only(&at, KNOWN);
    map->id_address = (int)json_integer(&at, "address", false, 0, 0xffff, -1);
    map->id_function = (int)json_integer(&at, "function", false, 3, 4, 3);
    map->serial_address = (int)json_integer(&at, "serial", false, 0, 0xfffe, -1);
    map->firmware_address = (int)json_integer(&at, "firmware", false, 0, 0xffff, -1);
    struct json_at ids = json_member(&at, "ids", map->id_address >= 0);
    if (json_count(&ids) > MODBUS_IDS_MAX)
        json_problem(&ids, "", "more than %d ranges of ids", MODBUS_IDS_MAX);
    for (int i = 0; i < json_count(&ids) && i < MODBUS_IDS_MAX; i++) {
        struct json_at item = json_element(&ids, i);
        int first = (int)json_integer(&item, "first", true, 0, 0xffff, 0);
        int last = (int)json_integer(&item, "last", true, 0, 0xffff, 0);
        if (first > last)
            json_problem(&item, "", "first %d is above last %d", first, last);
        map->id[map->id_count][0] = first;
        map->id[map->id_count++][1] = last;
    }
    if (map->id_address >= 0 && map->id_count == 0)
        json_problem(&at, "ids", "a model id without the ids that are right");
}

static void read_header(const struct json_at *root, struct modbus_map *map)
{
    static const char *const KNOWN[] = { "format",   "version",         "name",      "vendor",    "model",
                                         "class",    "tested",          "notes",     "timeout_s", "gap_s",
                                         "retries",  "word_order",      "trip_mask", "identity",  "registers",
                                         "channels", "calibration_due", NULL };
    static const char *const FORMAT[] = { "nightbench-modbus", NULL };
    static const char *const ORDERS[] = { "ABCD", "CDAB", "BADC", "DCBA", NULL };
    json_only(root, KNOWN);
    json_choice(root, "format", true, FORMAT, 0);
    json_integer(root, "version", true, 1, 1, 1);
    snprintf(map->name, sizeof map->name, "%s", json_string(root, "name", true, ""));
    snprintf(map->vendor, sizeof map->vendor, "%s", json_string(root, "vendor", true, ""));
    snprintf(map->model, sizeof map->model, "%s", json_string(root, "model", true, ""));
    snprintf(map->tested, sizeof map->tested, "%s", TESTED[json_choice(root, "tested", true, TESTED, 0)]);
    map->class = CLASS_OF[json_choice(root, "class", true, CLASSES, 0)];
    map->pace.timeout_s = json_double(root, "timeout_s", true, 0.01, 10, 0.5);
    map->pace.gap_s = json_double(root, "gap_s", true, 0, 1, 0.005);
    map->pace.retries = (int)json_integer(root, "retries", true, 0, 5, 2);
    map->order = json_choice(root, "word_order", false, ORDERS, MODBUS_LINK_ABCD);
    map->trip_mask = (unsigned)json_integer(root, "trip_mask", false, 0, 0xffff, 0);
    snprintf(map->dialect.calibration_due, sizeof map->dialect.calibration_due, "%s",
             json_string(root, "calibration_due", false, ""));
}

static void read_map(const struct json_at *root, void *into)
{
    struct modbus_map *map = into;
    read_header(root, map);
    read_identity(root, map);
    read_registers(root, map);
    read_channels(root, map);
}

int modbus_map_load(const char *path, struct modbus_map **ret, struct json_problems *problems,
                    struct error *err)
{
    struct modbus_map *map = calloc(1, sizeof *map);
    if (!map)
        return error_set(err, ERR_MEMORY, "register map %s", path);
    int code = json_read_file(path, read_map, map, problems, err);
    if (code) {
        free(map);
        return code;
    }
    *ret = map;
    return 0;
}

/* ---- Values ---- */
int modbus_map_words(const struct modbus_register *reg)
{
    return reg->type == MODBUS_F32 ? 2 : 1;
}

int modbus_map_address(const struct modbus_register *reg, int channel)
{
    return reg->address + (channel - 1) * reg->stride;
}

int modbus_map_encode(const struct modbus_map *map, int role, double value, uint16_t *ret_words,
                      struct error *err)
{
    const struct modbus_register *reg = &map->role[role];
    double raw = (value - reg->offset) / reg->scale;
    double min = reg->type == MODBUS_I16 ? INT16_MIN : 0,
           max = reg->type == MODBUS_I16 ? INT16_MAX : UINT16_MAX;
    if (reg->type == MODBUS_F32 && isfinite(value)) {
        modbus_link_pack(raw, map->order, ret_words);
        return 0;
    }
    if (!(raw > min - 0.5 && raw < max + 0.5))
        return error_set(err, ERR_RANGE, "%s: %g does not fit into a register of %s in steps of %g",
                         ROLES[role].name, value, map->name, reg->scale);
    ret_words[0] = (uint16_t)lround(raw); /* rounded: truncation makes 4.35 V into 4.34 V */
    return 0;
}

double modbus_map_decode(const struct modbus_map *map, int role, const uint16_t *words)
{
    const struct modbus_register *reg = &map->role[role];
    double raw = reg->type == MODBUS_F32   ? modbus_link_unpack(words, map->order)
                 : reg->type == MODBUS_I16 ? (int16_t)words[0]
                                           : words[0];
    for (int i = 0; i < reg->bad_count; i++) {
        if (raw == reg->bad[i])
            return NAN;
    }
    return isfinite(raw) ? raw * reg->scale + reg->offset : NAN;
}
