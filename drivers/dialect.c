/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * dialect: reading and checking of dialect files, placing of values in commands, and the uncertainty they
 * state. */
#include "drivers/dialect.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/base/clock.h"
#include "daemon/base/text.h"
#include "drivers/scpi_text.h"
#include "instruments/bench.h"

enum { DIALECT_FIELDS_MAX = 32, DIALECT_BITS = 32 };

#define BIT(class) (1u << (class))
#define SOURCES    (BIT(CLASS_PSU) | BIT(CLASS_SMU))
#define ALL        (SOURCES | BIT(CLASS_DMM))

/* What every command must look like, and which classes cannot do without it (or must list it in "absent"). */
static const struct command_rule {
    const char *name;
    bool query, takes_value, takes_channel;
    unsigned classes; /* that must have it or declare it absent */
    bool vital;       /* may not be declared absent */
} RULES[DIALECT_COMMAND_COUNT] = {
    [DIALECT_IDENTIFY] = { "identify", .query = true, .classes = ALL, .vital = true },
    [DIALECT_ERROR] = { "error", .query = true, .classes = ALL, .vital = true },
    [DIALECT_CLEAR] = { "clear", .classes = ALL },
    [DIALECT_SELECT] = { "select", .takes_channel = true },
    [DIALECT_PREPARE] = { "prepare", .takes_channel = true },
    [DIALECT_SET_VOLTAGE] = { "set_voltage", false, true, true, SOURCES, true },
    [DIALECT_GET_VOLTAGE] = { "get_voltage", true, false, true, SOURCES, true },
    [DIALECT_SET_LIMIT] = { "set_limit", false, true, true, SOURCES, true },
    [DIALECT_GET_LIMIT] = { "get_limit", true, false, true, SOURCES, true },
    [DIALECT_OUTPUT_ON] = { "output_on", false, false, true, SOURCES, true },
    [DIALECT_OUTPUT_OFF] = { "output_off", false, false, true, SOURCES, true },
    [DIALECT_GET_OUTPUT] = { "get_output", true, false, true, SOURCES, true },
    [DIALECT_SET_OVP] = { "set_ovp", false, true, true, SOURCES, false },
    [DIALECT_GET_OVP] = { "get_ovp", true, false, true, SOURCES, false },
    [DIALECT_OCP_ON] = { "ocp_on", false, false, true, SOURCES, false },
    [DIALECT_OCP_OFF] = { "ocp_off", false, false, true, SOURCES, false },
    [DIALECT_GET_OCP] = { "get_ocp", true, false, true, SOURCES, false },
    [DIALECT_CLEAR_TRIP] = { "clear_trip", false, false, true, SOURCES, false },
    [DIALECT_GET_TRIP] = { "get_trip", true, false, true, SOURCES, false },
    [DIALECT_GET_MODE] = { "get_mode", true, false, true, SOURCES, false },
    [DIALECT_MEASURE_VOLTAGE] = { "measure_voltage", true, false, true, ALL, true },
    [DIALECT_MEASURE_CURRENT] = { "measure_current", true, false, true, ALL, false },
    [DIALECT_SET_RANGE] = { "set_range", false, true, true, BIT(CLASS_DMM), false },
    [DIALECT_AUTO_RANGE] = { "auto_range", false, false, true, BIT(CLASS_DMM), false },
    [DIALECT_SET_NPLC] = { "set_nplc", false, true, true, BIT(CLASS_DMM), false },
    [DIALECT_ARM_WATCHDOG] = { "arm_watchdog", .takes_value = true },
    [DIALECT_DISARM_WATCHDOG] = { .name = "disarm_watchdog" },
    [DIALECT_GET_WATCHDOG] = { "get_watchdog", .query = true },
};

static const char *const CLASSES[] = { [CLASS_PSU] = "psu", [CLASS_SMU] = "smu", [CLASS_DMM] = "dmm", NULL };
static const char *const TESTED[] = { "no", "simulated", "hardware", NULL };

const char *dialect_command_name(int command)
{
    return command >= 0 && command < DIALECT_COMMAND_COUNT ? RULES[command].name : "?";
}

/* Every header of a joined message must be a query, or none may be: "VOLT 1;:VOLT?" is neither. */
static bool looks_like_query(const char *text, bool *ret_mixed)
{
    int queries = 0, sets = 0;
    for (const char *part = text; *part; part += strcspn(part, ";"), part += *part == ';') {
        size_t header = strcspn(part, " \t;");
        if (header > 0 && part[header - 1] == '?')
            queries++;
        else if (header > 0)
            sets++;
    }
    *ret_mixed = queries > 0 && sets > 0;
    return queries > 0;
}

static void check_placeholders(const struct json_at *at, const struct command_rule *rule, const char *text)
{
    bool has_value = false;
    for (const char *open = strchr(text, '{'); open; open = strchr(open + 1, '{')) {
        if (strncmp(open, "{v}", 3) == 0 && rule->takes_value)
            has_value = true;
        else if (strncmp(open, "{ch}", 4) != 0 || !rule->takes_channel)
            json_problem(at,
                         rule->takes_value     ? "{ch} or {v}"
                         : rule->takes_channel ? "{ch}"
                                               : "none",
                         "placeholder %.8s is not allowed here", open);
    }
    if (rule->takes_value && !has_value)
        json_problem(at, "{v}", "'%s' sets a value but has no {v}", rule->name);
}

static void check_command(const struct json_at *at, const struct command_rule *rule, const char *text)
{
    bool mixed;
    bool query = looks_like_query(text, &mixed);
    size_t n = strlen(text);
    if (n >= DIALECT_TEXT_MAX)
        json_problem(at, "", "command is longer than %d characters", DIALECT_TEXT_MAX - 1);
    for (size_t i = 0; i < n; i++) {
        if (!isprint((unsigned char)text[i])) {
            json_problem(at, "", "command has a character that does not print");
            break;
        }
    }
    if (mixed && rule->query)
        json_problem(at, "", "'%s' is a query but one of its parts has no '?'", rule->name);
    else if (!rule->query && strchr(text, '?'))
        json_problem(at, "", "'%s' sets something but has a '?'", rule->name);
    else if (!query && rule->query)
        json_problem(at, "", "'%s' is a query but has no '?'", rule->name);
    check_placeholders(at, rule, text);
}

static bool declared_absent(const struct json_at *absent, const char *name)
{
    for (int i = 0; i < json_count(absent); i++) {
        const cJSON *item = json_element(absent, i).node;
        if (cJSON_IsString(item) && strcmp(item->valuestring, name) == 0)
            return true;
    }
    return false;
}

static void read_commands(const struct json_at *root, struct dialect *d)
{
    struct json_at commands = json_member(root, "commands", true);
    struct json_at absent = json_member(root, "absent", false);
    const char *known[DIALECT_COMMAND_COUNT + 1] = { NULL };
    for (int i = 0; i < DIALECT_COMMAND_COUNT; i++)
        known[i] = RULES[i].name;
    if (commands.node)
        json_only(&commands, known);
    for (int i = 0; i < json_count(&absent); i++) {
        struct json_at item = json_element(&absent, i);
        const char *name = cJSON_IsString(item.node) ? item.node->valuestring : "";
        bool found = false;
        for (int k = 0; k < DIALECT_COMMAND_COUNT; k++)
            found |= strcmp(name, RULES[k].name) == 0;
        if (!found)
            json_problem(&item, json_nearest(name, known), "'%s' is no command", name);
    }
    for (int i = 0; i < DIALECT_COMMAND_COUNT; i++) {
        const struct command_rule *rule = &RULES[i];
        bool missing = declared_absent(&absent, rule->name);
        const char *text = json_string(&commands, rule->name, false, "");
        struct json_at at = json_member(&commands, rule->name, false);
        if (*text && missing)
            json_problem(&at, "", "'%s' is given and declared absent", rule->name);
        else if (*text)
            check_command(&at, rule, text);
        else if (missing && rule->vital && (rule->classes & BIT(d->class)))
            json_problem(&absent, "", "a %s cannot do without '%s'", CLASSES[d->class], rule->name);
        else if (!missing && (rule->classes & BIT(d->class)))
            json_problem(&commands, "", "'%s' is missing: give it or list it in \"absent\"", rule->name);
        snprintf(d->command[i], sizeof d->command[i], "%s", text);
    }
}

static void read_answer(const struct json_at *at, int index, struct dialect *d)
{
    static const char *const KNOWN[] = { "field", "bit", NULL };
    struct dialect_answer *answer = &d->answer[index];
    json_only(at, KNOWN);
    answer->field = (int)json_integer(at, "field", false, 0, DIALECT_FIELDS_MAX - 1, -1);
    double bit[DIALECT_CHANNELS_MAX];
    answer->bit_count = json_doubles(at, "bit", false, bit, DIALECT_CHANNELS_MAX);
    for (int i = 0; i < answer->bit_count; i++) {
        if (!(bit[i] >= 0 && bit[i] < DIALECT_BITS) || bit[i] != floor(bit[i]))
            json_problem(at, "0..31", "%g is no number of a bit", bit[i]);
        else
            answer->bit[i] = (int)bit[i];
    }
    if (!RULES[index].query || index == DIALECT_IDENTIFY || index == DIALECT_ERROR)
        json_problem(at, "", "'%s' brings no number", RULES[index].name);
    else if (!d->command[index][0])
        json_problem(at, "", "there is no '%s'", RULES[index].name);
    else if (strchr(d->command[index], ';'))
        json_problem(at, "", "'%s' brings several answers: which one is meant?", RULES[index].name);
    if ((answer->field >= 0) == (answer->bit_count > 0))
        json_problem(at, "", "one of \"field\" and \"bit\" says where the number is");
}

static void read_answers(const struct json_at *root, struct dialect *d)
{
    struct json_at answers = json_member(root, "answers", false);
    const char *known[DIALECT_COMMAND_COUNT + 1] = { NULL };
    for (int i = 0; i < DIALECT_COMMAND_COUNT; i++) {
        known[i] = RULES[i].name;
        d->answer[i].field = -1;
    }
    if (!answers.node)
        return;
    json_only(&answers, known);
    for (int i = 0; i < DIALECT_COMMAND_COUNT; i++) {
        struct json_at at = json_member(&answers, RULES[i].name, false);
        if (at.node)
            read_answer(&at, i, d);
    }
}

static void read_span(const struct json_at *parent, const char *key, bool required, struct dialect_span *span)
{
    static const char *const KNOWN[] = { "min", "max", "step", "decimals", NULL };
    struct json_at at = json_member(parent, key, required);
    *span = (struct dialect_span){ .min = NAN, .max = NAN, .step = NAN };
    if (!at.node)
        return;
    json_only(&at, KNOWN);
    span->min = json_double(&at, "min", true, -1e6, 1e6, 0);
    span->max = json_double(&at, "max", true, -1e6, 1e6, 0);
    span->step = json_double(&at, "step", true, 1e-12, 1e3, 1e-3);
    span->decimals = (int)json_integer(&at, "decimals", true, 0, 12, 6);
    if (span->min > span->max)
        json_problem(&at, "", "min %g is above max %g", span->min, span->max);
    if (span->step < 0.5 * pow(10, -span->decimals))
        json_problem(&at, "", "%d decimals cannot express a step of %g", span->decimals, span->step);
}

static void read_rows(const struct json_at *accuracy, const char *key, bool required,
                      struct dialect_row *rows, int *ret_count)
{
    static const char *const KNOWN[] = { "range", "percent", "offset", "resolution", "source", NULL };
    struct json_at list = json_member(accuracy, key, required);
    int count = json_count(&list);
    if (count > DIALECT_ROWS_MAX)
        json_problem(&list, "", "more than %d accuracy rows", DIALECT_ROWS_MAX);
    if (required && list.node && count == 0)
        json_problem(&list, "", "a measured quantity needs an accuracy row");
    *ret_count = count < DIALECT_ROWS_MAX ? count : DIALECT_ROWS_MAX;
    for (int i = 0; i < *ret_count; i++) {
        struct json_at at = json_element(&list, i);
        json_only(&at, KNOWN);
        json_string(&at, "source", true, "");
        rows[i] = (struct dialect_row){
            .range = json_double(&at, "range", true, 1e-12, 1e6, 1),
            .percent = json_double(&at, "percent", true, 0, 100, 0),
            .offset = json_double(&at, "offset", true, 0, 1e3, 0),
            .resolution = json_double(&at, "resolution", true, 0, 1e3, 0),
        };
        if (i > 0 && rows[i].range <= rows[i - 1].range)
            json_problem(&at, "", "ranges must ascend");
    }
}

static void read_channel(const struct json_at *at, struct dialect *d, struct dialect_channel *ch)
{
    static const char *const KNOWN[] = { "numbers",  "voltage",   "limit",    "ovp",
                                         "settle_s", "measure_s", "accuracy", NULL };
    json_only(at, KNOWN);
    ch->can_source = d->class != CLASS_DMM;
    if (ch->can_source) {
        read_span(at, "voltage", true, &ch->voltage);
        read_span(at, "limit", true, &ch->limit);
        read_span(at, "ovp", d->command[DIALECT_SET_OVP][0] != '\0', &ch->ovp);
    }
    ch->settle_s = json_double(at, "settle_s", ch->can_source, 0, 600, 0);
    ch->measure_s = json_double(at, "measure_s", true, 0, 600, 0.1);
    struct json_at accuracy = json_member(at, "accuracy", true);
    read_rows(&accuracy, "voltage", d->command[DIALECT_MEASURE_VOLTAGE][0] != '\0', ch->row[0],
              &ch->row_count[0]);
    read_rows(&accuracy, "current", d->command[DIALECT_MEASURE_CURRENT][0] != '\0', ch->row[1],
              &ch->row_count[1]);
}

/* One entry may speak for several equal channels: "numbers": [2, 3]. */
static void read_channels(const struct json_at *root, struct dialect *d)
{
    struct json_at list = json_member(root, "channels", true);
    if (list.node && json_count(&list) == 0)
        json_problem(&list, "", "no channel");
    for (int i = 0; i < json_count(&list); i++) {
        struct json_at at = json_element(&list, i);
        struct dialect_channel ch = { 0 };
        read_channel(&at, d, &ch);
        double number[DIALECT_CHANNELS_MAX];
        int count = json_doubles(&at, "numbers", true, number, DIALECT_CHANNELS_MAX);
        for (int k = 0; k < count; k++) {
            if (number[k] < 1 || number[k] > 999 || number[k] != floor(number[k]))
                json_problem(&at, "1..999", "channel number %g", number[k]);
            else if (dialect_channel(d, (int)number[k]))
                json_problem(&at, "", "channel %g is described twice", number[k]);
            else if (d->channel_count == DIALECT_CHANNELS_MAX)
                json_problem(&at, "", "more than %d channels", DIALECT_CHANNELS_MAX);
            else {
                ch.number = (int)number[k];
                d->channel[d->channel_count++] = ch;
            }
        }
    }
}

/* The first nanosecond after the due date, UTC; false when the text is no date. */
static bool due_ns(const char *text, int64_t *ret_ns)
{
    struct tm tm = { 0 };
    char tail;
    if (sscanf(text, "%4d-%2d-%2d%c", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tail) != 3 || strlen(text) != 10)
        return false;
    if (tm.tm_mon < 1 || tm.tm_mon > 12 || tm.tm_mday < 1 || tm.tm_mday > 31 || tm.tm_year < 1970)
        return false;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    *ret_ns = ((int64_t)timegm(&tm) + 86400) * NS_PER_S;
    return true;
}

static void read_header(const struct json_at *root, struct dialect *d)
{
    static const char *const KNOWN[] = { "format",
                                         "version",
                                         "name",
                                         "vendor",
                                         "class",
                                         "tested",
                                         "calibration_due",
                                         "joins",
                                         "mode_with_reading",
                                         "mode",
                                         "trip_mask",
                                         "timeout_s",
                                         "resync_quiet_s",
                                         "line_hz",
                                         "watchdog_s",
                                         "commands",
                                         "absent",
                                         "answers",
                                         "channels",
                                         "notes",
                                         NULL };
    static const char *const FORMAT[] = { "nightbench-dialect", NULL };
    static const char *const MODE_KNOWN[] = { "mask", "limiting", NULL };
    json_only(root, KNOWN);
    json_choice(root, "format", true, FORMAT, 0);
    json_integer(root, "version", true, 1, 1, 1);
    snprintf(d->name, sizeof d->name, "%s", json_string(root, "name", true, ""));
    snprintf(d->vendor, sizeof d->vendor, "%s", json_string(root, "vendor", true, ""));
    snprintf(d->tested, sizeof d->tested, "%s", TESTED[json_choice(root, "tested", true, TESTED, 0)]);
    const char *due = json_string(root, "calibration_due", false, "");
    int64_t ignored;
    if (*due && !due_ns(due, &ignored)) {
        struct json_at at = json_member(root, "calibration_due", false);
        json_problem(&at, "YYYY-MM-DD", "'%s' is no date", due);
    }
    snprintf(d->calibration_due, sizeof d->calibration_due, "%s", due);
    d->class = json_choice(root, "class", true, CLASSES, CLASS_PSU);
    d->joins = json_boolean(root, "joins", true, false);
    d->mode_with_reading = json_boolean(root, "mode_with_reading", false, false);
    d->timeout_s = json_double(root, "timeout_s", true, 0.01, 600, 1);
    d->resync_quiet_s = json_double(root, "resync_quiet_s", true, 0.001, 10, 0.05);
    d->nplc_s = 1 / json_double(root, "line_hz", false, 45, 440, 50);
    d->watchdog_s = json_double(root, "watchdog_s", false, DIALECT_WATCHDOG_MIN_S, 3600, NAN);
    d->trip_mask = (unsigned)json_integer(root, "trip_mask", false, 0, 0xffff, 0);
    struct json_at mode = json_member(root, "mode", false);
    if (mode.node) {
        json_only(&mode, MODE_KNOWN);
        d->mode_mask = (unsigned)json_integer(&mode, "mask", true, 1, 0xffff, 1);
        d->mode_limiting = (unsigned)json_integer(&mode, "limiting", true, 0, 0xffff, 1);
    }
}

static void check_whole(const struct json_at *root, const struct dialect *d)
{
    if (d->command[DIALECT_GET_MODE][0] && d->mode_mask == 0)
        json_problem(root, "", "'get_mode' needs \"mode\": {mask, limiting} to be understood");
    bool arms = d->command[DIALECT_ARM_WATCHDOG][0];
    if (arms != !isnan(d->watchdog_s) || arms != (d->command[DIALECT_DISARM_WATCHDOG][0] != '\0') ||
        arms != (d->command[DIALECT_GET_WATCHDOG][0] != '\0'))
        json_problem(root, "",
                     "a watchdog needs 'arm_watchdog', 'disarm_watchdog', 'get_watchdog' and "
                     "\"watchdog_s\"");
    if (d->mode_with_reading && !d->command[DIALECT_GET_MODE][0])
        json_problem(root, "", "\"mode_with_reading\" needs 'get_mode'");
    for (int i = 0; i < DIALECT_COMMAND_COUNT; i++) {
        if (d->answer[i].bit_count > 0 && d->answer[i].bit_count != d->channel_count)
            json_problem(root, "", "'%s' has %d bits in \"answers\", one for each of %d channels is needed",
                         RULES[i].name, d->answer[i].bit_count, d->channel_count);
        if (d->channel_count > 1 && i != DIALECT_PREPARE && !d->command[DIALECT_SELECT][0] &&
            dialect_needs_select(d, i))
            json_problem(root, "", "'%s' names no channel of several: use {ch}, or give 'select'",
                         RULES[i].name);
    }
    if (d->command[DIALECT_SELECT][0] && !strstr(d->command[DIALECT_SELECT], "{ch}"))
        json_problem(root, "", "'select' has no {ch}");
    static const int PAIRS[][2] = { { DIALECT_SET_OVP, DIALECT_GET_OVP },
                                    { DIALECT_OCP_ON, DIALECT_OCP_OFF },
                                    { DIALECT_OCP_ON, DIALECT_GET_OCP },
                                    { DIALECT_CLEAR_TRIP, DIALECT_GET_TRIP },
                                    { DIALECT_SET_RANGE, DIALECT_AUTO_RANGE } };
    for (size_t i = 0; i < sizeof PAIRS / sizeof *PAIRS; i++) {
        if (!d->command[PAIRS[i][0]][0] != !d->command[PAIRS[i][1]][0])
            json_problem(root, "", "'%s' and '%s' come together: what is set is read back",
                         RULES[PAIRS[i][0]].name, RULES[PAIRS[i][1]].name);
    }
}

int dialect_load(const char *path, struct dialect **ret, struct json_problems *problems, struct error *err)
{
    cJSON *root = NULL;
    int code = json_load(path, &root, err);
    if (code)
        return code;
    struct dialect *d = calloc(1, sizeof *d);
    struct json_problems *own = calloc(1, sizeof *own);
    if (!d || !own) {
        code = error_set(err, ERR_MEMORY, "dialect %s", path);
        goto done;
    }
    struct json_at at = json_root(root, own);
    read_header(&at, d);
    read_commands(&at, d);
    read_answers(&at, d);
    read_channels(&at, d);
    check_whole(&at, d);
    code = json_problems_error(own, path, err);
    json_problems_append(problems, own);
done:
    cJSON_Delete(root);
    free(own);
    if (code) {
        free(d);
        return code;
    }
    *ret = d;
    return 0;
}

void dialect_free(struct dialect *dialect)
{
    free(dialect);
}

const struct dialect_channel *dialect_channel(const struct dialect *dialect, int number)
{
    for (int i = 0; i < dialect->channel_count; i++) {
        if (dialect->channel[i].number == number)
            return &dialect->channel[i];
    }
    return NULL;
}

/* The field with this index, in place; NULL when the list is shorter. */
static char *field_of(char *text, int field)
{
    for (; field > 0; field--) {
        text = strchr(text, ',');
        if (!text)
            return NULL;
        text++;
    }
    text[strcspn(text, ",")] = '\0';
    return text;
}

/* "0x32", "32". */
static bool take_bit(const char *text, int bit, double *ret)
{
    char *end;
    text += strspn(text, " ");
    if (!isxdigit((unsigned char)*text)) /* no sign */
        return false;
    unsigned long word = strtoul(text, &end, 16);
    end += strspn(end, " \r");
    if (*end || word > UINT32_MAX)
        return false;
    *ret = (double)(word >> bit & 1);
    return true;
}

bool dialect_take(const struct dialect *dialect, int command, int channel, char *text, double *ret)
{
    const struct dialect_answer *answer = &dialect->answer[command];
    if (answer->bit_count > 0) {
        for (int i = 0; i < dialect->channel_count; i++) {
            if (dialect->channel[i].number == channel)
                return take_bit(text, answer->bit[i], ret);
        }
        return false;
    }
    if (answer->field >= 0) {
        text = field_of(text, answer->field);
        if (!text || isalpha((unsigned char)text[strspn(text, " ")])) /* a state is no number of a list */
            return false;
    }
    return scpi_text_number(text, ret);
}

double dialect_round(const struct dialect_span *span, double value)
{
    double rounded = round(value / span->step) * span->step;
    return rounded == 0 ? 0 : rounded; /* no "-0.000" on the wire */
}

bool dialect_needs_select(const struct dialect *dialect, int command)
{
    const char *text = dialect->command[command];
    return RULES[command].takes_channel && command != DIALECT_SELECT && *text && !strstr(text, "{ch}") &&
           dialect->answer[command].bit_count == 0;
}

int dialect_format(const struct dialect *dialect, int command, int channel, double value, int decimals,
                   char *out, size_t size, struct error *err)
{
    const char *text = dialect->command[command];
    if (!*text)
        return error_set(err, ERR_UNSUPPORTED, "%s has no '%s'", dialect->name, RULES[command].name);
    size_t n = 0;
    while (*text && n < size) {
        int added = 1;
        if (strncmp(text, "{ch}", 4) == 0) {
            added = snprintf(out + n, size - n, "%d", channel);
            text += 4;
        } else if (strncmp(text, "{v}", 3) == 0) {
            added = snprintf(out + n, size - n, "%.*f", decimals, value);
            text += 3;
        } else {
            out[n] = *text++;
        }
        n += (size_t)added;
    }
    if (n >= size)
        return error_set(err, ERR_INTERNAL, "command '%s' of %s does not fit", RULES[command].name,
                         dialect->name);
    out[n] = '\0';
    return 0;
}

double dialect_uncertainty(const struct dialect_channel *channel, int quantity, double value, double range,
                           double *ret_range)
{
    int count = channel->row_count[quantity];
    const struct dialect_row *row = NULL;
    double reach = isnan(range) ? fabs(value) : range;
    for (int i = 0; i < count && !row; i++) {
        if (reach <= channel->row[quantity][i].range * (1 + 1e-9))
            row = &channel->row[quantity][i];
    }
    if (!row && count > 0)
        row = &channel->row[quantity][count - 1];
    if (!row || isnan(value)) {
        *ret_range = NAN;
        return NAN;
    }
    *ret_range = row->range;
    double accuracy = (row->percent / 100 * fabs(value) + row->offset) / sqrt(3);
    double resolution = row->resolution / sqrt(12);
    return hypot(accuracy, resolution);
}

bool dialect_overdue(const struct dialect *dialect, int64_t wall_ns)
{
    int64_t end_ns;
    return dialect->calibration_due[0] && due_ns(dialect->calibration_due, &end_ns) && wall_ns >= end_ns;
}
