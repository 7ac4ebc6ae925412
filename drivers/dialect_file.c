/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * dialect_file: reading and checking of dialect files; every mistake of a file is found in one go. */
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
#define CHAMBERS   BIT(CLASS_CHAMBER)
#define METERS     (SOURCES | BIT(CLASS_DMM))
#define ALL        (METERS | CHAMBERS)

/* What every command must look like, and which classes cannot do without it (or must list it in "absent"). */
static const struct command_rule {
    const char *name;
    bool query, takes_value, takes_channel;
    unsigned classes; /* that must have it or declare it absent */
    unsigned vital;   /* classes of these that cannot do without */
    bool takes_count; /* {n}, or {a} and {b} */
} RULES[DIALECT_COMMAND_COUNT] = {
    [DIALECT_IDENTIFY] = { "identify", .query = true, .classes = ALL, .vital = ALL },
    [DIALECT_ERROR] = { "error", .query = true, .classes = ALL, .vital = METERS },
    [DIALECT_CLEAR] = { "clear", .classes = ALL },
    [DIALECT_SELECT] = { "select", .takes_channel = true },
    [DIALECT_PREPARE] = { "prepare", .takes_channel = true },
    [DIALECT_SET_VOLTAGE] = { "set_voltage", false, true, true, SOURCES, SOURCES },
    [DIALECT_GET_VOLTAGE] = { "get_voltage", true, false, true, SOURCES, SOURCES },
    [DIALECT_SET_LIMIT] = { "set_limit", false, true, true, SOURCES, SOURCES },
    [DIALECT_GET_LIMIT] = { "get_limit", true, false, true, SOURCES, SOURCES },
    [DIALECT_OUTPUT_ON] = { "output_on", false, false, true, SOURCES | CHAMBERS, SOURCES },
    [DIALECT_OUTPUT_OFF] = { "output_off", false, false, true, SOURCES | CHAMBERS, SOURCES },
    [DIALECT_GET_OUTPUT] = { "get_output", true, false, true, SOURCES | CHAMBERS, SOURCES },
    [DIALECT_SET_OVP] = { "set_ovp", false, true, true, SOURCES, 0 },
    [DIALECT_GET_OVP] = { "get_ovp", true, false, true, SOURCES, 0 },
    [DIALECT_OCP_ON] = { "ocp_on", false, false, true, SOURCES, 0 },
    [DIALECT_OCP_OFF] = { "ocp_off", false, false, true, SOURCES, 0 },
    [DIALECT_GET_OCP] = { "get_ocp", true, false, true, SOURCES, 0 },
    [DIALECT_CLEAR_TRIP] = { "clear_trip", false, false, true, SOURCES | CHAMBERS, 0 },
    [DIALECT_GET_TRIP] = { "get_trip", true, false, true, SOURCES | CHAMBERS, 0 },
    [DIALECT_GET_MODE] = { "get_mode", true, false, true, SOURCES, 0 },
    [DIALECT_MEASURE_VOLTAGE] = { "measure_voltage", true, false, true, METERS, METERS },
    [DIALECT_MEASURE_CURRENT] = { "measure_current", true, false, true, METERS, 0 },
    [DIALECT_SET_RANGE] = { "set_range", false, true, true, BIT(CLASS_DMM), 0 },
    [DIALECT_AUTO_RANGE] = { "auto_range", false, false, true, BIT(CLASS_DMM), 0 },
    [DIALECT_SET_NPLC] = { "set_nplc", false, true, true, BIT(CLASS_DMM), 0 },
    [DIALECT_ARM_WATCHDOG] = { "arm_watchdog", .takes_value = true },
    [DIALECT_DISARM_WATCHDOG] = { .name = "disarm_watchdog" },
    [DIALECT_GET_WATCHDOG] = { "get_watchdog", .query = true },
    [DIALECT_SET_TEMPERATURE] = { "set_temperature", false, true, true, CHAMBERS, CHAMBERS },
    [DIALECT_GET_TEMPERATURE] = { "get_temperature", true, false, true, CHAMBERS, CHAMBERS },
    [DIALECT_MEASURE_TEMPERATURE] = { "measure_temperature", true, false, true, CHAMBERS, CHAMBERS },
    [DIALECT_GET_LOW_LIMIT] = { "get_low_limit", true, false, true, CHAMBERS, 0 },
    [DIALECT_GET_HIGH_LIMIT] = { "get_high_limit", true, false, true, CHAMBERS, 0 },
    [DIALECT_SET_RAMP] = { "set_ramp", false, true, true, CHAMBERS, 0 },
    [DIALECT_GET_RAMP] = { "get_ramp", true, false, true, CHAMBERS, 0 },
    [DIALECT_SET_SOAK] = { "set_soak", false, true, true, CHAMBERS, 0 },
    [DIALECT_GET_SOAK] = { "get_soak", true, false, true, CHAMBERS, 0 },
    [DIALECT_SET_WINDOW] = { "set_window", false, true, true, CHAMBERS, 0 },
    [DIALECT_GET_WINDOW] = { "get_window", true, false, true, CHAMBERS, 0 },
    [DIALECT_GET_SETTLED] = { "get_settled", true, false, true, CHAMBERS, 0 },
    [DIALECT_LOG_VOLTAGE] = { "log_voltage", .takes_value = true, .takes_channel = true },
    [DIALECT_LOG_CURRENT] = { "log_current", .takes_value = true, .takes_channel = true },
    [DIALECT_LOG_START] = { "log_start", .takes_channel = true },
    [DIALECT_LOG_COUNT] = { "log_count", .query = true, .takes_channel = true },
    [DIALECT_LOG_FETCH] = { "log_fetch", true, false, true, METERS, 0, true },
    [DIALECT_LOG_STOP] = { "log_stop", .takes_channel = true },
};

static const char *const CLASSES[] = { "psu", "smu", "dmm", "chamber", NULL };
static const int CLASS_OF[] = { CLASS_PSU, CLASS_SMU, CLASS_DMM, CLASS_CHAMBER };
static const char *const TESTED[] = { "no", "simulated", "hardware", NULL };

static const char *class_name(int class)
{
    int i = 0;
    while (CLASS_OF[i] != class)
        i++;
    return CLASSES[i];
}

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
    bool has_value = false, has_count = strstr(text, "{n}") || (strstr(text, "{a}") && strstr(text, "{b}"));
    for (const char *open = strchr(text, '{'); open; open = strchr(open + 1, '{')) {
        bool counts =
            strncmp(open, "{n}", 3) == 0 || strncmp(open, "{a}", 3) == 0 || strncmp(open, "{b}", 3) == 0;
        if (strncmp(open, "{v}", 3) == 0 && rule->takes_value)
            has_value = true;
        else if ((strncmp(open, "{ch}", 4) != 0 || !rule->takes_channel) && !(counts && rule->takes_count))
            json_problem(at,
                         rule->takes_count     ? "{ch}, {n}, or {a} and {b}"
                         : rule->takes_value   ? "{ch} or {v}"
                         : rule->takes_channel ? "{ch}"
                                               : "none",
                         "placeholder %.*s is not allowed here",
                         (int)strcspn(open, "} ,") + (open[strcspn(open, "} ,")] == '}'), open);
    }
    bool open = false;
    for (const char *p = text; *p; p++) {
        if (*p == '}' && !open)
            json_problem(at, "", "a '}' closes nothing");
        open = *p == '{' || (open && *p != '}');
    }
    if (rule->takes_value && !has_value)
        json_problem(at, "{v}", "'%s' sets a value but has no {v}", rule->name);
    if (rule->takes_count && !has_count)
        json_problem(at, "{n}, or {a} and {b}", "'%s' does not say how many values are asked for",
                     rule->name);
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
        else if (missing && (rule->vital & BIT(d->class)))
            json_problem(&absent, "", "a %s cannot do without '%s'", class_name(d->class), rule->name);
        else if (!missing && (rule->vital & BIT(d->class)))
            json_problem(&commands, "", "'%s' is missing: a %s cannot do without it", rule->name,
                         class_name(d->class));
        else if (!missing && (rule->classes & BIT(d->class)))
            json_problem(&commands, "", "'%s' is missing: give it or list it in \"absent\"", rule->name);
        snprintf(d->command[i], sizeof d->command[i], "%s", text);
    }
}

static void read_bits(const struct json_at *at, struct dialect_answer *answer)
{
    double bit[DIALECT_CHANNELS_MAX];
    answer->bit_count = json_doubles(at, "bit", false, bit, DIALECT_CHANNELS_MAX);
    for (int i = 0; i < answer->bit_count; i++) {
        if (!(bit[i] >= 0 && bit[i] < DIALECT_BITS) || bit[i] != floor(bit[i]))
            json_problem(at, "0..31", "%g is no number of a bit", bit[i]);
        else
            answer->bit[i] = (int)bit[i];
    }
}

/* {"OFF": 0, "CONSTANT": 1} */
static void read_words(const struct json_at *at, struct dialect_answer *answer)
{
    struct json_at words = json_member(at, "words", false);
    int count = json_count(&words);
    if (count > DIALECT_WORDS_MAX)
        json_problem(&words, "", "more than %d words", DIALECT_WORDS_MAX);
    for (int i = 0; i < count && i < DIALECT_WORDS_MAX; i++) {
        const char *text = cJSON_GetArrayItem(words.node, i)->string;
        struct dialect_word *word = &answer->word[answer->word_count++];
        if (!text || !*text || strlen(text) >= sizeof word->text) {
            json_problem(&words, "", "a word has 1 to %zu characters", sizeof word->text - 1);
            continue;
        }
        snprintf(word->text, sizeof word->text, "%s", text);
        word->value = json_double(&words, text, true, 0, 0xffff, 0);
    }
}

static void read_answer(const struct json_at *at, int index, struct dialect *d)
{
    static const char *const KNOWN[] = { "field", "bit", "mask", "words", NULL };
    struct dialect_answer *answer = &d->answer[index];
    json_only(at, KNOWN);
    answer->field = (int)json_integer(at, "field", false, 0, DIALECT_FIELDS_MAX - 1, -1);
    answer->mask = (unsigned)json_integer(at, "mask", false, 1, 0xffff, 0);
    read_bits(at, answer);
    read_words(at, answer);
    if (!RULES[index].query || index == DIALECT_IDENTIFY || index == DIALECT_ERROR)
        json_problem(at, "", "'%s' brings no number", RULES[index].name);
    else if (!d->command[index][0])
        json_problem(at, "", "there is no '%s'", RULES[index].name);
    else if (strchr(d->command[index], ';'))
        json_problem(at, "", "'%s' brings several answers: which one is meant?", RULES[index].name);
    int ways = (answer->bit_count > 0) + (answer->mask > 0) + (answer->word_count > 0);
    if (ways > 1 || (ways == 0) == (answer->field < 0) || (answer->field >= 0 && answer->bit_count > 0))
        json_problem(
            at, "",
            "one of \"field\", \"bit\", \"mask\" and \"words\" says where the number is; \"field\" may go "
            "with \"mask\" or \"words\"");
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
    static const char *const KNOWN[] = { "numbers",   "voltage",     "limit",    "ovp",       "settle_s",
                                         "measure_s", "temperature", "accuracy", "bad_above", NULL };
    bool chamber = d->class == CLASS_CHAMBER;
    json_only(at, KNOWN);
    ch->can_source = !chamber && d->class != CLASS_DMM;
    if (ch->can_source) {
        read_span(at, "voltage", true, &ch->voltage);
        read_span(at, "limit", true, &ch->limit);
        read_span(at, "ovp", d->command[DIALECT_SET_OVP][0] != '\0', &ch->ovp);
    }
    read_span(at, "temperature", chamber, &ch->temperature);
    ch->bad_above = json_double(at, "bad_above", false, -273.15, 1e6, NAN);
    ch->settle_s = json_double(at, "settle_s", ch->can_source, 0, 600, 0);
    ch->measure_s = json_double(at, "measure_s", true, 0, 600, 0.1);
    struct json_at accuracy = json_member(at, "accuracy", true);
    if (chamber) {
        read_rows(&accuracy, "temperature", true, ch->row[0], &ch->row_count[0]);
        return;
    }
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

static void copy_text(const struct json_at *at, const char *key, bool required, char *out, size_t size)
{
    const char *text = json_string(at, key, required, "");
    struct json_at member = json_member(at, key, false);
    if (strlen(text) >= size)
        json_problem(&member, "", "longer than %zu characters", size - 1);
    snprintf(out, size, "%s", text);
}

/* "mode" and "settled": {mask, NAME} */
static void read_mask(const struct json_at *root, const char *key, const char *is, unsigned *ret_mask,
                      unsigned *ret_is)
{
    const char *const KNOWN[] = { "mask", is, NULL };
    struct json_at at = json_member(root, key, false);
    if (!at.node)
        return;
    json_only(&at, KNOWN);
    *ret_mask = (unsigned)json_integer(&at, "mask", true, 1, 0xffff, 1);
    *ret_is = (unsigned)json_integer(&at, is, true, 0, 0xffff, 1);
    if (*ret_is & ~*ret_mask)
        json_problem(&at, "", "\"%s\" %u has bits that the mask %u takes away: it is never met", is, *ret_is,
                     *ret_mask);
}

static void read_slots(const struct json_at *root, struct dialect *d)
{
    static const char *const KNOWN[] = { "below", "command", NULL };
    struct json_at list = json_member(root, "slots", false);
    int count = json_count(&list);
    if (count > DIALECT_SLOTS_MAX)
        json_problem(&list, "", "more than %d slots", DIALECT_SLOTS_MAX);
    for (int i = 0; i < count && i < DIALECT_SLOTS_MAX; i++) {
        struct json_at at = json_element(&list, i);
        struct dialect_slot *slot = &d->slot[d->slot_count++];
        json_only(&at, KNOWN);
        slot->below = json_double(&at, "below", true, -300, 1e4, 0);
        copy_text(&at, "command", true, slot->command, sizeof slot->command);
        if (strchr(slot->command, '?'))
            json_problem(&at, "", "'%s' chooses a slot but has a '?'", slot->command);
        if (i > 0 && slot->below <= d->slot[i - 1].below)
            json_problem(&at, "", "slots must ascend");
    }
}

static void read_log(const struct json_at *root, struct dialect *d)
{
    static const char *const KNOWN[] = { "format", "period_min_s", "period_max_s", "values_max",
                                         "fields", "value",        "time",         NULL };
    static const char *const FORMATS[] = { "text", "float32", NULL };
    struct json_at at = json_member(root, "log", false);
    if (!at.node)
        return;
    json_only(&at, KNOWN);
    d->log.binary = json_choice(&at, "format", true, FORMATS, 0) == 1;
    d->log.period_min_s = json_double(&at, "period_min_s", true, 1e-7, 3600, 1e-3);
    d->log.period_max_s = json_double(&at, "period_max_s", true, 1e-7, 1e6, 1);
    d->log.values_max = (int)json_integer(&at, "values_max", true, 1, 100000, 1);
    d->log.fields = (int)json_integer(&at, "fields", false, 1, DIALECT_FIELDS_MAX, 1);
    d->log.value = (int)json_integer(&at, "value", false, 0, DIALECT_FIELDS_MAX - 1, 0);
    d->log.time = (int)json_integer(&at, "time", false, 0, DIALECT_FIELDS_MAX - 1, -1);
    if (d->log.value >= d->log.fields || d->log.time >= d->log.fields || d->log.value == d->log.time)
        json_problem(&at, "", "of %d fields, %d cannot be the value and %d the time", d->log.fields,
                     d->log.value, d->log.time);
    if (d->log.period_min_s > d->log.period_max_s)
        json_problem(&at, "", "period_min_s %g is above period_max_s %g", d->log.period_min_s,
                     d->log.period_max_s);
}

static void read_talk(const struct json_at *root, struct dialect *d)
{
    static const char *const ENDS[] = { "lf", "crlf", NULL }, *const IDENTITIES[] = { "fields", "model",
                                                                                      NULL };
    static const char *const REPLY_KNOWN[] = { "good", "bad", NULL };
    d->joins = json_boolean(root, "joins", true, false);
    d->timeout_s = json_double(root, "timeout_s", true, 0.01, 600, 1);
    d->resync_quiet_s = json_double(root, "resync_quiet_s", true, 0.001, 10, 0.05);
    d->pause_s = json_double(root, "pause_s", false, 0, 10, 0);
    d->pause_after_set_s = json_double(root, "pause_after_set_s", false, 0, 10, 0);
    d->crlf = json_choice(root, "terminator", false, ENDS, 0) == 1;
    d->identity_is_model = json_choice(root, "identity", false, IDENTITIES, 0) == 1;
    struct json_at reply = json_member(root, "acknowledge", false);
    if (!reply.node)
        return;
    json_only(&reply, REPLY_KNOWN);
    copy_text(&reply, "good", true, d->good, sizeof d->good);
    copy_text(&reply, "bad", true, d->bad, sizeof d->bad);
    if (d->joins)
        json_problem(&reply, "", "settings that are answered one by one cannot be joined");
}

static void read_header(const struct json_at *root, struct dialect *d)
{
    static const char *const KNOWN[] = { "format",
                                         "version",
                                         "name",
                                         "vendor",
                                         "class",
                                         "tested",
                                         "source",
                                         "calibration_due",
                                         "joins",
                                         "mode_with_reading",
                                         "mode",
                                         "trip_mask",
                                         "settled",
                                         "timeout_s",
                                         "resync_quiet_s",
                                         "pause_s",
                                         "pause_after_set_s",
                                         "terminator",
                                         "identity",
                                         "acknowledge",
                                         "line_hz",
                                         "watchdog_s",
                                         "slots",
                                         "log",
                                         "commands",
                                         "absent",
                                         "answers",
                                         "channels",
                                         "notes",
                                         NULL };
    static const char *const FORMAT[] = { "nightbench-dialect", NULL };
    json_only(root, KNOWN);
    json_choice(root, "format", true, FORMAT, 0);
    json_integer(root, "version", true, 1, 1, 1);
    copy_text(root, "name", true, d->name, sizeof d->name);
    copy_text(root, "vendor", true, d->vendor, sizeof d->vendor);
    snprintf(d->tested, sizeof d->tested, "%s", TESTED[json_choice(root, "tested", true, TESTED, 0)]);
    json_string(root, "source", true, "");
    const char *due = json_string(root, "calibration_due", false, "");
    int64_t ignored;
    if (*due && !dialect_due_ns(due, &ignored)) {
        struct json_at at = json_member(root, "calibration_due", false);
        json_problem(&at, "YYYY-MM-DD", "'%s' is no date", due);
    }
    snprintf(d->calibration_due, sizeof d->calibration_due, "%s", due);
    d->class = CLASS_OF[json_choice(root, "class", true, CLASSES, 0)];
    d->mode_with_reading = json_boolean(root, "mode_with_reading", false, false);
    d->nplc_s = 1 / json_double(root, "line_hz", false, 45, 440, 50);
    d->watchdog_s = json_double(root, "watchdog_s", false, DIALECT_WATCHDOG_MIN_S, 3600, NAN);
    d->trip_mask = (unsigned)json_integer(root, "trip_mask", false, 0, 0xffff, 0);
    read_mask(root, "mode", "limiting", &d->mode_mask, &d->mode_limiting);
    read_mask(root, "settled", "is", &d->settled_mask, &d->settled_is);
    read_talk(root, d);
    read_slots(root, d);
    read_log(root, d);
}

static void read_dialect(const struct json_at *root, void *into)
{
    struct dialect *d = into;
    read_header(root, d);
    read_commands(root, d);
    read_answers(root, d);
    read_channels(root, d);
    dialect_check(root, d);
}

int dialect_load(const char *path, struct dialect **ret, struct json_problems *problems, struct error *err)
{
    struct dialect *d = calloc(1, sizeof *d);
    if (!d)
        return error_set(err, ERR_MEMORY, "dialect %s", path);
    int code = json_read_file(path, read_dialect, d, problems, err);
    if (code) {
        free(d);
        return code;
    }
    *ret = d;
    return 0;
}

bool dialect_needs_select(const struct dialect *dialect, int command)
{
    const char *text = dialect->command[command];
    return RULES[command].takes_channel && command != DIALECT_SELECT && *text && !strstr(text, "{ch}") &&
           dialect->answer[command].bit_count == 0;
}
