/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * modbus: supplies, analog inputs and outputs and temperature controllers that speak Modbus, as their
 * register map (drivers/modbus_map.h) says. Several units of one model on one bus are one instrument: with n
 * channels a unit, unit number i of the resource has the channels i * n + 1 ... Every setting is read back.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/device.h"
#include "drivers/modbus_line.h"
#include "drivers/modbus_map.h"

enum { BLOCK_MAX = 32, ROLES_AT_ONCE = 6 };

struct modbus {
    struct device device; /* first */
    struct modbus_map *map;
    struct modbus_link *link;
    char serial[24], firmware[24];
    /* Analog outputs have no switch: off is 0 V, and this is what on brings back. */
    double wanted_v[BENCH_CHANNELS_MAX];
    bool on[BENCH_CHANNELS_MAX];
};

/* One channel of one unit. */
struct target {
    int unit, channel, index; /* channel: of the unit; index: of the instrument, from 0 */
    const struct dialect_channel *limits;
};

static int find_target(const struct modbus *s, int number, struct target *ret, struct error *err)
{
    int per_unit = s->map->dialect.channel_count;
    int unit = number >= 1 ? modbus_link_unit(s->link, (number - 1) / per_unit) : -1;
    if (unit < 0)
        return error_set(err, ERR_INVALID, "%s has no channel %d", s->device.config->name, number);
    int channel = (number - 1) % per_unit + 1;
    *ret = (struct target){ unit, channel, number - 1, &s->map->dialect.channel[channel - 1] };
    return 0;
}

/* ---- Registers of a target ---- */
static const struct modbus_register *offered(const struct modbus *s, int role, struct error *err)
{
    if (s->map->role[role].present)
        return &s->map->role[role];
    error_set(err, ERR_UNSUPPORTED, "%s has no '%s'", s->map->name, modbus_role_name(role));
    return NULL;
}

static int get_raw(struct modbus *s, const struct target *t, int role, uint16_t *ret_words, struct error *err)
{
    const struct modbus_register *reg = offered(s, role, err);
    if (!reg)
        return ERR_UNSUPPORTED;
    int address = modbus_map_address(reg, t->channel);
    snprintf(s->device.command, sizeof s->device.command, "unit %d: read %s at %d", t->unit,
             modbus_role_name(role), address);
    return modbus_link_read(s->link, t->unit, reg->function, address, modbus_map_words(reg), ret_words, err);
}

static int get(struct modbus *s, const struct target *t, int role, double *ret, struct error *err)
{
    uint16_t words[2];
    int code = get_raw(s, t, role, words, err);
    if (!code)
        *ret = modbus_map_decode(s->map, role, words);
    return code;
}

/* Several roles: in one read where they lie close together and are read alike. What the map does not have is
 * left at 0. */
static int get_many(struct modbus *s, const struct target *t, const int *roles, int count, double *ret,
                    struct error *err)
{
    int first = 0x10000, end = 0, function = 0;
    bool alike = true;
    for (int i = 0; i < count; i++) {
        const struct modbus_register *reg = &s->map->role[roles[i]];
        ret[i] = 0;
        if (!reg->present)
            continue;
        int address = modbus_map_address(reg, t->channel);
        first = address < first ? address : first;
        end = address + modbus_map_words(reg) > end ? address + modbus_map_words(reg) : end;
        alike &= function == 0 || function == reg->function;
        function = reg->function;
    }
    bool block = alike && end - first <= BLOCK_MAX;
    uint16_t words[BLOCK_MAX];
    if (block) {
        snprintf(s->device.command, sizeof s->device.command, "unit %d: read %d .. %d", t->unit, first,
                 end - 1);
        int code = modbus_link_read(s->link, t->unit, function, first, end - first, words, err);
        if (code)
            return code;
    }
    for (int i = 0; i < count; i++) {
        const struct modbus_register *reg = &s->map->role[roles[i]];
        int code = 0;
        if (reg->present && block)
            ret[i] = modbus_map_decode(s->map, roles[i], &words[modbus_map_address(reg, t->channel) - first]);
        else if (reg->present)
            code = get(s, t, roles[i], &ret[i], err);
        if (code)
            return code;
    }
    return 0;
}

/* Writes and reads back: a register that keeps something else has refused. */
static int set(struct modbus *s, const struct target *t, int role, double value, struct error *err)
{
    const struct modbus_register *reg = offered(s, role, err);
    uint16_t words[2] = { 0 }, back[2] = { 0 };
    if (!reg)
        return ERR_UNSUPPORTED;
    int count = modbus_map_words(reg), address = modbus_map_address(reg, t->channel);
    int code = modbus_map_encode(s->map, role, value, words, err);
    snprintf(s->device.command, sizeof s->device.command, "unit %d: %s at %d = %g", t->unit,
             modbus_role_name(role), address, value);
    if (!code)
        code = modbus_link_write(s->link, t->unit, address, words, count, err);
    if (!code)
        code = modbus_link_read(s->link, t->unit, reg->function, address, count, back, err);
    if (code)
        return code;
    if (memcmp(words, back, sizeof *words * (size_t)count) != 0)
        return error_set(err, ERR_REFUSED, "%s reads back %g, %g was set", modbus_role_name(role),
                         modbus_map_decode(s->map, role, back), value);
    return 0;
}

static int set_in_span(struct modbus *s, const struct target *t, int role, const struct dialect_span *span,
                       double value, struct error *err)
{
    if (!offered(s, role, err))
        return ERR_UNSUPPORTED;
    if (!(value >= span->min - span->step / 2 && value <= span->max + span->step / 2))
        return error_set(err, ERR_RANGE, "%s: %g is outside %g .. %g of %s", modbus_role_name(role), value,
                         span->min, span->max, s->map->name);
    return set(s, t, role, value, err);
}

/* ---- Supplies ---- */
static bool has_switch(const struct modbus *s)
{
    return s->map->role[MODBUS_OUTPUT].present;
}

static int do_set_voltage(struct modbus *s, const struct target *t, double volt_v, struct error *err)
{
    if (has_switch(s) || s->on[t->index]) {
        int code = set_in_span(s, t, MODBUS_SET_VOLTAGE, &t->limits->voltage, volt_v, err);
        if (!code)
            s->wanted_v[t->index] = volt_v; /* switching on what is on changes nothing */
        return code;
    }
    if (!(volt_v >= t->limits->voltage.min && volt_v <= t->limits->voltage.max))
        return error_set(err, ERR_RANGE, "%g V is outside %g .. %g V", volt_v, t->limits->voltage.min,
                         t->limits->voltage.max);
    s->wanted_v[t->index] = volt_v;
    return 0;
}

/* OCP is a threshold of its own: "at the current limit" means that it follows the limit. */
static int do_set_limit(struct modbus *s, const struct target *t, double limit_a, struct error *err)
{
    double limit = 0, ocp = 0;
    bool follows = false;
    int code = 0;
    if (s->map->role[MODBUS_SET_OCP].present) {
        code = get(s, t, MODBUS_SET_LIMIT, &limit, err);
        if (!code)
            code = get(s, t, MODBUS_SET_OCP, &ocp, err);
        follows = fabs(ocp - limit) < s->map->role[MODBUS_SET_OCP].scale / 2;
    }
    if (!code)
        code = set_in_span(s, t, MODBUS_SET_LIMIT, &t->limits->limit, limit_a, err);
    if (!code && follows)
        code = set(s, t, MODBUS_SET_OCP, limit_a, err);
    return code;
}

static int do_protection(struct modbus *s, const struct target *t, double ovp_v, bool ocp, struct error *err)
{
    int code = isnan(ovp_v) ? 0 : set_in_span(s, t, MODBUS_SET_OVP, &t->limits->ovp, ovp_v, err);
    double threshold_a = t->limits->limit.max;
    if (!code && ocp)
        code = get(s, t, MODBUS_SET_LIMIT, &threshold_a, err);
    return code ? code : set(s, t, MODBUS_SET_OCP, threshold_a, err);
}

/* The register of a switch may answer 0 at once after a trip: that is a refusal and set() says so. */
static int do_output(struct modbus *s, const struct target *t, bool on, struct error *err)
{
    if (has_switch(s))
        return set(s, t, MODBUS_OUTPUT, on, err);
    if (!on && s->on[t->index]) {
        int code = get(s, t, MODBUS_SET_VOLTAGE, &s->wanted_v[t->index], err);
        if (code)
            return code;
    }
    int code = set(s, t, MODBUS_SET_VOLTAGE, on ? s->wanted_v[t->index] : 0, err);
    if (!code)
        s->on[t->index] = on;
    return code;
}

static int do_psu_state(struct modbus *s, const struct target *t, struct message *m, struct error *err)
{
    static const int ROLES[] = { MODBUS_SET_VOLTAGE, MODBUS_SET_LIMIT, MODBUS_OUTPUT, MODBUS_TRIP,
                                 MODBUS_MODE };
    double value[ROLES_AT_ONCE];
    int code = get_many(s, t, ROLES, 5, value, err);
    if (code)
        return code;
    bool on = has_switch(s) ? value[2] != 0 : s->on[t->index];
    m->flags = on ? MESSAGE_ON : 0;
    if (on && value[4] != 0)
        m->flags |= MESSAGE_LIMITING;
    if (value[3] != 0)
        m->flags |= MESSAGE_TRIPPED;
    m->value[0] = on || has_switch(s) ? value[0] : s->wanted_v[t->index];
    m->value[1] = s->map->role[MODBUS_SET_LIMIT].present ? value[1] : NAN;
    return 0;
}

/* These units forget a trip when their switch is written. */
static int do_clear_trip(struct modbus *s, const struct target *t, struct message *m, struct error *err)
{
    int code = do_output(s, t, false, err);
    if (!code)
        code = do_psu_state(s, t, m, err);
    if (!code && (m->flags & MESSAGE_TRIPPED))
        return error_set(err, ERR_TRIPPED, "the protection is still tripped: its cause is still there");
    return code;
}

static int do_safe_off(struct modbus *s, const struct target *t, struct message *m, struct error *err)
{
    int code = do_output(s, t, false, err);
    if (code == ERR_REFUSED) {
        m->value[0] = 1; /* written, and the read back says otherwise */
        return 0;
    }
    if (!code)
        m->value[0] = 0;
    return code;
}

/* ---- Chambers ---- */
static int do_chamber_state(struct modbus *s, const struct target *t, struct message *m, struct error *err)
{
    static const int ROLES[] = { MODBUS_SET_TEMPERATURE, MODBUS_MEASURE_TEMPERATURE, MODBUS_STATUS };
    double value[ROLES_AT_ONCE];
    int code = get_many(s, t, ROLES, 3, value, err);
    if (code)
        return code;
    bool fault = ((unsigned)value[2] & s->map->trip_mask) != 0 || isnan(value[1]);
    m->flags = fault ? MESSAGE_TRIPPED : 0;
    m->value[0] = value[0];
    m->value[1] = value[1];
    return 0;
}

static int do_set_temperature(struct modbus *s, const struct target *t, struct message *m, struct error *err)
{
    int code = set_in_span(s, t, MODBUS_SET_TEMPERATURE, &s->map->temperature, m->value[0], err);
    return code ? code : get(s, t, MODBUS_SET_TEMPERATURE, &m->value[0], err);
}

/* ---- Measuring ---- */
static int do_measure(struct modbus *s, const struct target *t, struct message *m, struct error *err)
{
    static const int MEASURES[] = { [QUANTITY_VOLTAGE] = MODBUS_MEASURE_VOLTAGE,
                                    [QUANTITY_CURRENT] = MODBUS_MEASURE_CURRENT,
                                    [QUANTITY_TEMPERATURE] = MODBUS_MEASURE_TEMPERATURE };
    if (!(m->value[0] >= QUANTITY_VOLTAGE && m->value[0] <= QUANTITY_TEMPERATURE))
        return error_set(err, ERR_INVALID, "no quantity %g", m->value[0]);
    int quantity = (int)m->value[0];
    if (!offered(s, MEASURES[quantity], err))
        return ERR_UNSUPPORTED;
    const int roles[] = { MEASURES[quantity], MODBUS_MODE, MODBUS_TRIP, MODBUS_OUTPUT, MODBUS_STATUS };
    double value[ROLES_AT_ONCE];
    int code = get_many(s, t, roles, 5, value, err);
    if (code)
        return code;
    int row = quantity == QUANTITY_TEMPERATURE ? 0 : quantity;
    m->flags = value[1] != 0 && value[3] != 0 ? READING_LIMITING : 0;
    if (value[2] != 0 || ((unsigned)value[4] & s->map->trip_mask))
        m->flags |= READING_TRIPPED;
    m->value[0] = value[0];
    m->value[1] = dialect_uncertainty(t->limits, row, value[0], NAN, &m->value[2]);
    if (isnan(value[0]))
        m->flags |= READING_NOT_A_NUMBER;
    else if (s->map->class == CLASS_DMM && fabs(value[0]) >= t->limits->row[row][0].range)
        m->flags |= READING_OVERRANGE; /* converters stop at their last code */
    if (dialect_overdue(&s->map->dialect, clock_wall_now()))
        m->flags |= READING_CAL_OVERDUE;
    return 0;
}

/* ---- Identity ---- */
static int do_identify(const struct modbus *s, struct message *m, uint8_t *payload, size_t room,
                       struct error *err)
{
    char text[200];
    int n = snprintf(text, sizeof text, "%s%c%s%c%s%c%s", s->map->vendor, 0, s->map->model, 0, s->serial, 0,
                     s->firmware);
    if ((size_t)n + 1 > room)
        return error_set(err, ERR_INTERNAL, "no room for an identity");
    memcpy(payload, text, (size_t)n + 1);
    m->payload_length = (uint32_t)n + 1;
    return 0;
}

static int check_model(struct modbus *s, int unit, struct error *err)
{
    const struct modbus_map *map = s->map;
    uint16_t id = 0;
    if (map->id_address < 0)
        return 0;
    snprintf(s->device.command, sizeof s->device.command, "unit %d: read model at %d", unit, map->id_address);
    int code = modbus_link_read(s->link, unit, map->id_function, map->id_address, 1, &id, err);
    if (code)
        return code;
    for (int i = 0; i < map->id_count; i++) {
        if (id >= map->id[i][0] && id <= map->id[i][1])
            return 0;
    }
    return error_set(err, ERR_IDENTITY,
                     "unit %d says model id %u, which is no %s: other models count in other steps", unit, id,
                     map->model);
}

/* Vendor and model are what the map is for, once its id is right; serial and firmware are of the first unit.
 */
static int identify(struct modbus *s, struct error *err)
{
    const struct modbus_map *map = s->map;
    uint16_t words[2];
    int code = 0;
    for (int i = 0; modbus_link_unit(s->link, i) >= 0 && !code; i++)
        code = check_model(s, modbus_link_unit(s->link, i), err);
    int unit = modbus_link_unit(s->link, 0);
    if (!code && map->serial_address >= 0) {
        code = modbus_link_read(s->link, unit, map->id_function, map->serial_address, 2, words, err);
        if (!code)
            snprintf(s->serial, sizeof s->serial, "%08lu", (unsigned long)words[0] << 16 | words[1]);
    }
    if (!code && map->firmware_address >= 0) {
        code = modbus_link_read(s->link, unit, map->id_function, map->firmware_address, 1, words, err);
        if (!code)
            snprintf(s->firmware, sizeof s->firmware, "%.2f", words[0] / 100.0);
    }
    return code;
}

/* Every unit must answer, and be set up as the scales of the map take it. */
static int check_units(struct modbus *s, struct error *err)
{
    static const int PROBES[] = { MODBUS_SETUP, MODBUS_MEASURE_TEMPERATURE, MODBUS_MEASURE_VOLTAGE,
                                  MODBUS_MEASURE_CURRENT, MODBUS_SET_VOLTAGE };
    int probe = 0;
    while (!s->map->role[PROBES[probe]].present)
        probe++;
    for (int number = 1;; number++) {
        struct target t;
        uint16_t words[2];
        if (find_target(s, number, &t, NULL))
            return 0;
        int code = get_raw(s, &t, PROBES[probe], words, err);
        if (code)
            return code;
        if (PROBES[probe] == MODBUS_SETUP && words[0] != s->map->role[MODBUS_SETUP].expect)
            return error_set(err, ERR_IDENTITY,
                             "unit %d channel %d is set up as code %u, %s is for code %d: set the module or "
                             "take the right file",
                             t.unit, t.channel, words[0], s->map->name, s->map->role[MODBUS_SETUP].expect);
    }
}

/* "read UNIT FUNCTION ADDRESS COUNT": raw registers, for people. Nothing can be written this way. */
static int do_query(struct modbus *s, struct message *m, uint8_t *payload, size_t room, struct error *err)
{
    char text[80], out[MODBUS_LINK_READ_MAX * 6 + 1] = "";
    uint16_t words[MODBUS_LINK_READ_MAX];
    int unit, function, address, count;
    char tail;
    snprintf(text, sizeof text, "%.*s", (int)(m->payload_length < 79 ? m->payload_length : 79),
             (const char *)payload);
    if (sscanf(text, "read %d %d %d %d%c", &unit, &function, &address, &count, &tail) != 4 || unit < 1 ||
        unit > 247 || (function != 3 && function != 4) || count < 1 || count > MODBUS_LINK_READ_MAX)
        return error_set(err, ERR_INVALID, "write: read UNIT FUNCTION ADDRESS COUNT, function 3 or 4");
    snprintf(s->device.command, sizeof s->device.command, "%s", text);
    int code = modbus_link_read(s->link, unit, function, address, count, words, err);
    size_t n = 0;
    for (int i = 0; i < count && !code; i++)
        n += (size_t)snprintf(out + n, sizeof out - n, i ? " %u" : "%u", words[i]);
    if (!code && n > room)
        return error_set(err, ERR_FULL, "answer of %zu bytes is longer than %zu", n, room);
    if (!code) {
        memcpy(payload, out, n);
        m->payload_length = (uint32_t)n;
    }
    return code;
}

/* ---- The driver ---- */
static int serve(void *state, struct message *m, uint8_t *payload, size_t room, struct error *err)
{
    struct modbus *s = state;
    struct target t;
    if (m->op == MESSAGE_IDENTIFY)
        return do_identify(s, m, payload, room, err);
    if (m->op == MESSAGE_QUERY)
        return do_query(s, m, payload, room, err);
    int code = find_target(s, m->channel, &t, err);
    if (code)
        return code;
    bool chamber = s->map->class == CLASS_CHAMBER;
    switch (m->op) {
    case MESSAGE_SET_VOLTAGE:
        return do_set_voltage(s, &t, m->value[0], err);
    case MESSAGE_SET_LIMIT:
        return do_set_limit(s, &t, m->value[0], err);
    case MESSAGE_SET_PROTECTION:
        return do_protection(s, &t, m->value[0], m->value[1] != 0, err);
    case MESSAGE_OUTPUT:
        return do_output(s, &t, m->value[0] != 0, err);
    case MESSAGE_STATE:
        return chamber ? do_chamber_state(s, &t, m, err) : do_psu_state(s, &t, m, err);
    case MESSAGE_CLEAR_TRIP:
        return do_clear_trip(s, &t, m, err);
    case MESSAGE_MEASURE:
        return do_measure(s, &t, m, err);
    case MESSAGE_SET_TEMPERATURE:
        return do_set_temperature(s, &t, m, err);
    case MESSAGE_SAFE_OFF:
        return do_safe_off(s, &t, m, err);
    default:
        return error_set(err, ERR_UNSUPPORTED, "the modbus driver does not serve operation %u", m->op);
    }
}

static int modbus_request(void *state, struct message *message, uint8_t *payload, size_t room,
                          struct error *err)
{
    return device_request(state, serve, message, payload, room, err);
}

static int modbus_resync(void *state, struct error *err)
{
    return modbus_link_settle(((struct modbus *)state)->link, err);
}

static void modbus_close_state(void *state)
{
    struct modbus *s = state;
    if (!s)
        return;
    modbus_link_close(s->link);
    free(s->map);
    device_close(s);
}

/* An output without a switch is on when it is not at its lowest code. */
static int adopt_outputs(struct modbus *s, struct error *err)
{
    for (int number = 1; s->map->class == CLASS_SMU && !has_switch(s); number++) {
        struct target t;
        double volt_v = 0;
        if (number > BENCH_CHANNELS_MAX || find_target(s, number, &t, NULL))
            return 0;
        int code = get(s, &t, MODBUS_SET_VOLTAGE, &volt_v, err);
        if (code)
            return code;
        s->wanted_v[t.index] = volt_v;
        s->on[t.index] = fabs(volt_v) >= s->map->role[MODBUS_SET_VOLTAGE].scale / 2;
    }
    return 0;
}

static int modbus_open(struct driver_config *config, const struct transport_env *env, void **ret_state,
                       struct error *err)
{
    struct modbus *s = calloc(1, sizeof *s);
    if (!s)
        return error_set(err, ERR_MEMORY, "driver state of %s", config->name);
    s->device.config = config;
    s->device.env = env;
    int code = modbus_map_load(config->dialect_path, &s->map, NULL, err);
    if (!code)
        code = modbus_link_open(env, config->name, config->resource, &s->map->pace, &s->link, err);
    if (!code)
        code = identify(s, err);
    if (!code)
        code = check_units(s, err);
    if (!code)
        code = adopt_outputs(s, err);
    if (code) {
        error_at(err, config->name, s->device.command, 0);
        modbus_close_state(s);
        return code;
    }
    *ret_state = s;
    return 0;
}

static int describe_channels(const struct modbus_map *map, int units, struct driver_description *ret,
                             struct error *err)
{
    int per_unit = map->dialect.channel_count;
    int max = (int)(sizeof ret->channel / sizeof *ret->channel);
    if (units * per_unit > max)
        return error_set(err, ERR_RANGE, "%d units of %d channels are more than %d channels", units, per_unit,
                         max);
    *ret = (struct driver_description){ .channel_count = units * per_unit,
                                        .energises = map->class == CLASS_PSU || map->class == CLASS_SMU };
    snprintf(ret->vendor, sizeof ret->vendor, "%s", map->vendor);
    for (int i = 0; i < ret->channel_count; i++) {
        const struct dialect_channel *ch = &map->dialect.channel[i % per_unit];
        ret->channel[i] = (struct bench_channel){
            .number = i + 1,
            .can_source = ch->can_source,
            .volt_min_v = ch->voltage.min,
            .volt_max_v = ch->voltage.max,
            .volt_step_v = ch->voltage.step,
            .limit_min_a = ch->limit.min,
            .limit_max_a = ch->limit.max,
            .temp_min_c = map->temperature.min,
            .temp_max_c = map->temperature.max,
            .settle_s = ch->settle_s,
            .measure_s = ch->measure_s,
        };
    }
    return 0;
}

/* Bench files are read before anything is opened: the moment to set low descriptors aside. */
static int modbus_describe(const struct driver_config *config, struct driver_description *ret,
                           struct json_problems *problems, struct error *err)
{
    struct modbus_map *map = NULL;
    struct modbus_link_address address = { .unit_count = 1 };
    modbus_line_reserve();
    int code = modbus_map_load(config->dialect_path, &map, problems, err);
    if (!code && config->resource[0])
        code = modbus_link_parse(config->resource, &address, err);
    if (!code && map->class != config->class)
        code = error_set(err, ERR_INVALID, "register map %s is of another class than the bench file says",
                         config->dialect_path);
    if (!code)
        code = describe_channels(map, address.unit_count, ret, err);
    free(map);
    return code;
}

static int modbus_line_of(const char *resource, struct driver_line *ret, struct error *err)
{
    struct modbus_link_address address;
    int code = modbus_link_parse(resource, &address, err);
    if (code)
        return code;
    if (strcmp(address.carrier, "sim:") == 0)
        return error_set(err, ERR_UNSUPPORTED, "a simulated link of its own");
    int n = (int)strcspn(address.carrier, "?");
    snprintf(ret->name, sizeof ret->name, "%.*s", n, address.carrier);
    snprintf(ret->settings, sizeof ret->settings, "%.20s parity=%c", address.carrier + n, address.parity);
    ret->address_count = address.unit_count;
    memcpy(ret->address, address.unit, sizeof address.unit);
    return 0;
}

const struct driver driver_modbus = {
    .name = "modbus",
    .link = DRIVER_BYTES,
    .classes = 1u << CLASS_PSU | 1u << CLASS_SMU | 1u << CLASS_DMM | 1u << CLASS_CHAMBER,
    .takes_dialect = true,
    .describe = modbus_describe,
    .line = modbus_line_of,
    .open = modbus_open,
    .close = modbus_close_state,
    .request = modbus_request,
    .resync = modbus_resync,
};
